import pytest
import torch

from a2i_lib.models import AttributeClassifier


def test_it_learns_a_plain_rule():
    torch.manual_seed(0)
    y = torch.randint(0, 2, (256, 2)) * 2.0 - 1
    x = torch.rand(256, 3, 16, 16) * 0.2
    x[:, 0] += 0.4 * (y[:, 0, None, None] > 0)
    x[:, 2, :8] += 0.4 * (y[:, 1, None, None] > 0)
    model = AttributeClassifier(2, width=0.125, size=16)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        loss = torch.nn.functional.soft_margin_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(((model.eval()(x) > 0) == (y > 0)).float().mean()) > 0.99


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="multiple of 16"):
        AttributeClassifier(2, size=20)
