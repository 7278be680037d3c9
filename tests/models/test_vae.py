import pytest
import torch

from a2i_lib.models import VAE, build


@pytest.fixture(scope="module")
def model() -> VAE:
    torch.manual_seed(0)
    return VAE(latent=8, width=0.125, size=32).eval()


def test_shapes_and_ranges(model):
    x = torch.rand(3, 3, 32, 32)
    out = model(x, torch.zeros(3, 5))
    assert out.x_hat.shape == x.shape and out.z.shape == (3, 8) and out.q.kl(out.p).shape == (3,)
    assert 0 <= out.x_hat.min() and out.x_hat.max() <= 1


def test_the_posterior_starts_at_unit_variance(model):
    q = model.posterior(torch.rand(3, 3, 32, 32))
    assert torch.equal(q.log_var, torch.zeros(3, 8))


def test_samples_repeat_with_their_seed_and_come_row_by_row(model):
    y = torch.zeros(2, 5)
    first = model.sample(y, 3, torch.Generator().manual_seed(1))
    again = model.sample(y, 3, torch.Generator().manual_seed(1))
    other = model.sample(y, 3, torch.Generator().manual_seed(2))
    assert first.shape == (6, 3, 32, 32) and torch.equal(first, again)
    assert not torch.equal(first, other)


def test_attributes_are_ignored(model):
    z = torch.randn(2, 8)
    assert torch.equal(model.decode(z, torch.ones(2, 5)), model.decode(z, -torch.ones(2, 5)))


def test_an_unknown_model_is_answered_with_the_closest():
    with pytest.raises(ValueError, match="did you mean 'cvae'"):
        build("cvaee", 3, 32)
