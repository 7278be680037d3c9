import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Independent, Normal

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.objectives import attribute_loss, gaussian_nll, negative_elbo, squared_error


def images(seed: int) -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_recon_is_the_exact_negative_log_density():
    x, x_hat = images(0), images(1)
    reference = -Independent(Normal(x_hat.double(), 0.3), 3).log_prob(x.double())
    torch.testing.assert_close(gaussian_nll(x, x_hat, 0.3).double(), reference, rtol=1e-5, atol=0)


def test_terms_are_per_image_and_unreduced():
    x, x_hat = images(0), images(1)
    q = DiagonalGaussian(torch.randn(4, 5), torch.randn(4, 5))
    loss = negative_elbo(x, x_hat, q, None, sigma=0.2, kl_weight=0.5)
    assert loss.total.shape == (4,) and all(v.shape == (4,) for v in loss.terms.values())
    torch.testing.assert_close(loss.total, loss.terms["recon"] + 0.5 * q.kl())
    alone = negative_elbo(x[:1], x_hat[:1], q[:1], None, sigma=0.2, kl_weight=0.5)
    torch.testing.assert_close(alone.total, loss.total[:1])
    torch.testing.assert_close(squared_error(x, x_hat)[2], F.mse_loss(x[2], x_hat[2]) * 3 * 64)


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma"):
        gaussian_nll(images(0), images(1), 0.0)


def test_attribute_loss_takes_each_kind_its_own_way():
    prediction = torch.tensor([[2.0, 1.5]])
    y = torch.tensor([[-1.0, 0.5]])
    loss = attribute_loss(prediction, y, torch.tensor([False, True])).total
    expected = F.softplus(torch.tensor(2.0)) + 1.0
    torch.testing.assert_close(loss, expected[None])
