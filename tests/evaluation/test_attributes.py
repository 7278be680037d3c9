import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.evaluation.attributes import (
    appendix_c,
    balanced_accuracy,
    best_of,
    blur,
    nearest_neighbours,
    one_of_each_group,
    raw_scores,
    worst_first,
)
from a2i_lib.models import CVAE


@pytest.mark.parametrize("attributes", [1, 4])
def test_balanced_accuracy_matches_scikit_learn(attributes):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, attributes, generator=generator)
    y = (torch.rand(200, attributes, generator=generator) < 0.2) * 2.0 - 1
    ours = balanced_accuracy(logits, y)
    for k in range(attributes):
        theirs = balanced_accuracy_score(y[:, k] > 0, logits[:, k] > 0)
        assert float(ours[k]) == pytest.approx(theirs, abs=1e-6)


def test_an_attribute_that_never_varies_was_not_tested():
    y = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    values = balanced_accuracy(torch.ones(2, 2), y)
    assert torch.isnan(values[0]) and values[1] == 0.5
    assert [name for name, _ in worst_first(values, ["a", "b"])] == ["b", "a"]


def test_nearest_neighbours_and_units():
    candidates = torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]])
    assert nearest_neighbours(torch.tensor([[0.9, 1.3], [4.0, 9.0]]), candidates).tolist() == [1, 2]
    schema = AttributeSchema([Attribute("a", "score", mean=1.0, deviation=2.0), Attribute("b")])
    assert raw_scores(torch.tensor([[2.0, -1.0]]), schema).tolist() == [[5.0, -1.0]]


def test_blur_is_a_five_by_five_mean():
    x = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(blur(x)[0, 1, 4, 4], x[0, 1, 2:7, 2:7].mean())


class Brightness(nn.Module):
    """Predicts two attributes from the mean of an image: a regressor that cannot be wrong."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None] * torch.tensor([[1.0, -1.0]])


def test_best_of_ten_is_at_least_as_good_as_one():
    torch.manual_seed(0)
    model = CVAE(2, latent=4, width=0.125, size=16).eval()
    y = torch.randn(20, 2)
    one, ten = (
        best_of(model, Brightness(), y, lambda v: v, n, torch.Generator().manual_seed(1))
        for n in (1, 10)
    )
    assert ten.cosine.mean() >= one.cosine.mean() and ten.squared.mean() < one.squared.mean()
    assert ten.cosine.shape == (20,)


def test_appendix_c_has_all_rows_and_the_regressor_reads_the_photographs():
    torch.manual_seed(0)
    model = CVAE(2, latent=4, width=0.125, size=16).eval()
    images = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8)
    y = Brightness()(images.float() / 255)
    table = appendix_c(
        model, Brightness(), (images, y), (images[:9], y[:9]), lambda v: v, 3, progress=False
    )
    assert list(table) == ["regressor", "NN", "NN blur", "model"]
    assert table["regressor"].row["squared_error"] == pytest.approx(0, abs=1e-9)
    assert table["NN"].row["squared_error"] == pytest.approx(0, abs=1e-9)  # same rows in both


def test_one_member_of_each_group_is_read():
    schema = AttributeSchema(
        [Attribute(f"bill::{m}", "one-hot", "bill") for m in "abc"] + [Attribute("crest")]
    )
    logits = torch.tensor([[-3.0, -1.0, -2.0, -5.0], [4.0, 1.0, 3.0, 2.0]])
    expected = torch.tensor([[-2.0, 1.0, -1.0, -5.0], [1.0, -3.0, -1.0, 2.0]])
    torch.testing.assert_close(one_of_each_group(logits, schema), expected)
    y = torch.tensor([[-1.0, 1, -1, -1], [1.0, -1, -1, 1]])
    assert balanced_accuracy(logits, y, schema)[:2].tolist() == [1, 1]
    assert balanced_accuracy(logits, y)[1] == 0  # without the groups: never, and always wrongly
