from itertools import combinations

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from a2i_lib.attributes import Attribute, AttributeSchema
from a2i_lib.evaluation.attributes import (
    appendix_c,
    balanced_accuracy,
    blur,
    expected_best,
    nearest_neighbours,
    one_of_each_group,
    raw_scores,
    read_back,
    read_neighbours,
    sample_accuracy,
    similarity,
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


def test_best_and_mean_come_from_the_same_samples():
    predicted = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0]])
    reference = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    found = similarity(predicted, reference)  # two predictions for each reference
    torch.testing.assert_close(found.squared, torch.tensor([[1.0, 8.0], [8.0, 5.0]]))
    torch.testing.assert_close(found.cosine, torch.tensor([[1.0, 0.0], [1.0, -(0.5**0.5)]]))
    row = found.row
    assert (row["squared_error"], row["mean_squared_error"]) == (3.0, 5.5)
    assert row["cosine"] == 1 and row["mean_cosine"] == pytest.approx((1 + 0 + 1 - 0.5**0.5) / 4)
    assert row["squared_error_se"] == pytest.approx(2.0)  # of 1 and 5
    with pytest.raises(ValueError, match="4 predictions for 3 references"):
        similarity(predicted, torch.ones(3, 2))


def test_one_prediction_is_its_own_best_and_mean():
    generator = torch.Generator().manual_seed(0)
    row = similarity(*torch.randn(2, 9, 4, generator=generator)).row
    assert row["cosine"] == row["mean_cosine"] and row["squared_error"] == row["mean_squared_error"]


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_expected_best_is_the_mean_over_all_subsets(n, largest):
    values = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    subsets = torch.stack([values[:, list(c)] for c in combinations(range(5), n)], 1)
    best = (subsets.amax(2) if largest else subsets.amin(2)).mean(1)
    torch.testing.assert_close(expected_best(values, n, largest), best)
    with pytest.raises(ValueError, match="the best of 6, from 5"):
        expected_best(values, 6)


def test_several_neighbours_come_closest_first_row_by_row():
    candidates = torch.tensor([[0.0], [1.0], [5.0], [9.0]])
    y = torch.tensor([[0.9], [8.0]])
    assert nearest_neighbours(y, candidates, 3).tolist() == [1, 0, 2, 3, 2, 1]


def test_pictures_are_read_in_the_order_of_their_requests():
    levels = torch.linspace(0, 1, 7)[:, None]

    def flat(part):  # two pictures for each request: as bright as asked, and half as bright
        return torch.cat([part, part / 2], 1).flatten()[:, None, None, None].expand(-1, 3, 4, 4)

    read = read_back(flat, Brightness(), levels, batch_size=3)
    expected = torch.stack([levels[:, 0], levels[:, 0] / 2], 1).flatten()
    torch.testing.assert_close(read[:, 0], expected)


def test_sample_accuracy_reads_one_sample_for_each_request():
    torch.manual_seed(0)
    model = CVAE(2, latent=4, width=0.125, size=16).eval()
    y = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(20, 1)
    found = sample_accuracy(model, Brightness(), y, torch.Generator().manual_seed(3))
    logits = Brightness()(model.sample(y, 1, torch.Generator().manual_seed(3)))
    torch.testing.assert_close(found, balanced_accuracy(logits, y))


class Corners(nn.Module):
    """Reads two pixels, without error: a regressor that sees every blur."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], x[:, 1, -1, -1]], 1)


def test_appendix_c_has_all_rows_and_the_regressor_reads_the_photographs():
    torch.manual_seed(0)
    model = CVAE(2, latent=4, width=0.125, size=16).eval()
    images = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8)
    y = Corners()(images.float() / 255)
    table = appendix_c(
        model, Corners(), (images, y), (images[:9], y[:9]), lambda v: v, 3, progress=False
    )
    assert set(table) == {"regressor", "regressor blur", "NN", "NN blur", "NN of n", "model"}
    for name in ("regressor", "NN"):  # the same rows in both splits
        assert table[name].squared.shape == (9, 1) and table[name].squared.max() < 1e-9
    for name in ("NN blur", "regressor blur"):
        torch.testing.assert_close(table[name].squared, table["NN blur"].squared)
        assert table[name].squared.mean() > 0.01
    assert (table["NN of n"].squared.diff(dim=1) >= 0).all()  # closest first
    assert table["NN of n"].squared[:, 0].max() < 1e-9 < table["NN of n"].squared[:, 1].min()
    row = table["model"].row
    assert table["model"].cosine.shape == (9, 3) and row["cosine"] > row["mean_cosine"]
    assert row["squared_error"] < row["mean_squared_error"]


def test_a_neighbour_is_near_in_the_units_of_the_comparison():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8)
    wanted = torch.randn(12, 2)
    y = Corners()(images.float() / 255)
    scale = torch.tensor([100.0, 1.0])
    errors = {}
    for name, units in (("as they are", lambda v: v), ("one attribute stretched", scale.mul)):
        read = read_neighbours(Corners(), (images, y), wanted, units, 2, progress=False)
        errors[name] = similarity(scale * read["NN"], scale * wanted).squared[:, 0]
        nearest = (units(wanted)[:, None] - units(y)).square().sum(2).argmin(1)
        torch.testing.assert_close(read["NN"], y[nearest])
    assert (errors["one attribute stretched"] <= errors["as they are"] + 1e-3).all()
    assert errors["one attribute stretched"].mean() < 0.9 * errors["as they are"].mean()


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
