"""Inference by optimisation, held to the closed form of a linear decoder."""

import pytest
import torch
from torch import nn

from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.inference import OCCLUSIONS, complete, hide, infer, occluded, reconstruct
from a2i_lib.models import CVAE, AttributeClassifier, DisCVAE
from a2i_lib.models.vae import LatentImageModel


class Linear(LatentImageModel):
    """x = A z + b, with a prior that depends on y."""

    def __init__(self, latent: int = 4, size: int = 4) -> None:
        super().__init__()
        self.latent, self.size = latent, size
        self.layer = nn.Linear(latent, 3 * size * size)
        nn.init.normal_(self.layer.weight, std=0.1)

    def decode(self, z, y):
        return self.layer(z).unflatten(1, (3, self.size, self.size))

    def prior(self, y):
        return DiagonalGaussian(y.repeat(1, self.latent) * 0.5, 0.2 * y.repeat(1, self.latent))


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return Linear()


def ridge(model, x, y, observed, sigma):
    """The minimiser of eq. 10, solved in float64."""
    a, b = model.layer.weight.double(), model.layer.bias.double()
    p = model.prior(y)
    found = []
    for i in range(len(x)):
        w = observed[i].expand_as(x[i]).flatten().double()
        precision = torch.diag(torch.exp(-p.log_var[i].double()))
        left = a.T @ (w[:, None] * a) + sigma**2 * precision
        right = a.T @ (w * (x[i].flatten().double() - b)) + sigma**2 * precision @ p.mu[i].double()
        found.append(torch.linalg.solve(left, right))
    return torch.stack(found)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_linear_decoder_gives_the_ridge_solution(linear, hidden):
    linear.double()
    x, y = torch.rand(3, 3, 4, 4).double(), torch.tensor([[1.0], [-1.0], [0.3]]).double()
    observed = torch.ones(3, 1, 4, 4)
    if hidden:
        observed[:, :, :, 2:] = 0
    # a rate that Adam can settle with; 0.3 circles the minimum at about 1e-3
    found = infer(linear, x, y, observed, steps=6000, lr=0.01, sigma=0.3, tolerance=1e-10)
    torch.testing.assert_close(found.z, ridge(linear, x, y, observed, 0.3), atol=1e-4, rtol=0)
    assert bool(found.stopped.all())


def test_images_do_not_disturb_one_another(linear):
    x, y = torch.rand(4, 3, 4, 4), torch.randn(4, 1)
    together = infer(linear, x, y, steps=30, sigma=0.3)
    alone = [infer(linear, x[i : i + 1], y[i : i + 1], steps=30, sigma=0.3) for i in range(4)]
    torch.testing.assert_close(together.z, torch.cat([one.z for one in alone]))
    assert together.energy.shape == (31, 4)
    torch.testing.assert_close(together.lowest, together.energy.min(0).values)


def test_the_best_point_is_returned_not_the_last(linear):
    x, y = torch.rand(2, 3, 4, 4), torch.zeros(2, 1)
    found = infer(linear, x, y, steps=20, lr=3.0, sigma=0.3)
    error = (linear.decode(found.z, y) - x).square().flatten(1).sum(1)
    energy = error + 0.3**2 * found.z.square().sum(1)
    torch.testing.assert_close(energy.detach(), found.lowest, rtol=1e-4, atol=1e-4)


def test_more_starts_never_end_higher():
    torch.manual_seed(1)
    model = CVAE(3, latent=4, width=0.125, size=16, dropout=0.0)
    x, y = torch.rand(3, 3, 16, 16), torch.randn(3, 3)
    generator = torch.Generator().manual_seed(0)
    one = infer(model, x, y, steps=40, sigma=0.1)
    many = infer(model, x, y, steps=40, sigma=0.1, restarts=3, generator=generator)
    assert bool((many.lowest <= one.lowest + 1e-3).all())
    start = infer(model, x, y, steps=1, sigma=0.1, start="posterior")
    q = model.eval().posterior(x, y).mu
    torch.testing.assert_close(
        start.energy[0], infer(model, x, y, steps=1, sigma=0.1, start=q.detach()).energy[0]
    )


def test_no_start_sees_what_is_hidden():
    torch.manual_seed(2)
    model = DisCVAE(3, latent_f=4, latent_b=2, width=0.125, size=16)
    x, y, mask = torch.rand(2, 3, 16, 16), torch.randn(2, 3), torch.ones(2, 1, 16, 16)
    observed = occluded("half", 2, 16)
    other, torn = torch.where(observed > 0, x, torch.rand_like(x)), mask * observed
    one, two = (
        infer(model, picture, y, observed, steps=2, sigma=0.1, start="posterior", mask=shape)
        for picture, shape in ((x, mask), (other, torn))
    )
    assert torch.equal(one.z, two.z)
    seen = infer(model, other, y, steps=2, sigma=0.1, start="posterior", mask=mask)
    assert not torch.equal(one.energy[0], seen.energy[0])


def test_the_model_comes_back_as_it_was():
    model = CVAE(3, latent=4, width=0.125, size=16).train()
    model.mu.bias.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    infer(model, torch.rand(2, 3, 16, 16), torch.zeros(2, 3), steps=3, sigma=0.1)
    assert model.training and not model.mu.bias.requires_grad and model.mu.weight.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_completion_keeps_what_was_seen(linear):
    x, y = torch.rand(2, 3, 4, 4), torch.zeros(2, 1)
    observed = torch.ones(2, 1, 4, 4)
    observed[:, :, :2] = 0
    found = infer(linear, x, y, observed, steps=50, sigma=0.3)
    completed, whole = complete(linear, x, y, observed, found), reconstruct(linear, found, y)
    assert torch.equal(completed[:, :, 2:], x[:, :, 2:])
    assert torch.equal(completed[:, :, :2], whole[:, :, :2])


def test_what_is_hidden_cannot_matter(linear):
    x, y = torch.rand(1, 3, 4, 4), torch.zeros(1, 1)
    observed = torch.ones(1, 1, 4, 4)
    observed[..., 2:] = 0
    other = x.clone()
    other[..., 2:] = torch.rand(1, 3, 4, 2)
    a, b = (infer(linear, image, y, observed, steps=20, sigma=0.3) for image in (x, other))
    assert torch.equal(a.z, b.z)


def test_what_is_hidden_is_grey():
    x, observed = torch.rand(1, 3, 32, 32), occluded("half", 1, 32)
    other = torch.where(observed > 0, x, 0.1)
    assert torch.equal(hide(x, observed), hide(other, observed))
    assert torch.equal(hide(x, observed)[..., :16], x[..., :16])
    assert torch.equal(hide(x, observed)[..., 16:], torch.full((1, 3, 32, 16), 0.5))


@pytest.mark.parametrize("kind", [*OCCLUSIONS, "8x8", "16x16"])
def test_occlusions_hide_a_part_and_scale_with_the_picture(kind):
    small, large = (1 - occluded(kind, 5, size, seed=3) for size in (64, 128))
    share = small.flatten(1).mean(1)
    assert bool((share > 0).all()) and bool((share <= 0.5).all())
    torch.testing.assert_close(share, large.flatten(1).mean(1))
    assert torch.equal(occluded(kind, 2, 64, seed=3), occluded(kind, 5, 64, seed=3)[:2])


def test_bad_input_is_named(linear):
    x, y = torch.rand(2, 3, 4, 4), torch.zeros(2, 1)
    hidden = torch.ones(2, 1, 4, 4)
    hidden[1] = 0
    with pytest.raises(ValueError, match="nothing is observed of image 1"):
        infer(linear, x, y, hidden, sigma=0.3)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        infer(linear, x * 2 - 1, y, sigma=0.3)
    with pytest.raises(TypeError, match="AttributeClassifier has no decoder"):
        infer(AttributeClassifier(3, width=0.125, size=16), x, y, sigma=0.3)
    model = CVAE(3, latent=4, width=0.125, size=16)
    with pytest.raises(ValueError, match=r"y is \(2, 1\), expected \(2, 3\)"):
        infer(model, torch.rand(2, 3, 16, 16), y, sigma=0.3)
    with pytest.raises(ValueError, match="unknown start 'middle'"):
        infer(linear, x, y, sigma=0.3, start="middle")
    with pytest.raises(ValueError, match="unknown occlusion 'nose'"):
        occluded("nose", 1)
