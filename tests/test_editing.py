"""Modification on linear models, where every step can be followed by hand."""

import pytest
import torch

from a2i_lib.attributes import Attribute, AttributeSchema, UnknownAttribute
from a2i_lib.editing import (
    linear_path,
    modify,
    progression_targets,
    redecode,
    single_changes,
    spherical_path,
)
from a2i_lib.gaussians import DiagonalGaussian
from a2i_lib.models import CGAN, CVAE, ConditionalPriorCVAE, DisCVAE
from a2i_lib.models.vae import LatentImageModel

K, Z = 3, 2


class Linear(LatentImageModel):
    """f(y) = F y, h(x, y) = H x + S y, decode(z, y) = G z + D y: what y reaches is chosen."""

    def __init__(self, *, prior: bool, sees_y: bool, decoder: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.latent = Z
        self.f = torch.randn(Z, K, generator=draw) * prior
        self.s = torch.randn(Z, K, generator=draw) * sees_y
        self.d = torch.randn(12, K, generator=draw) * decoder
        self.h, self.g = torch.randn(Z, 12, generator=draw), torch.randn(12, Z, generator=draw)

    def prior(self, y):
        return DiagonalGaussian(y @ self.f.T, torch.zeros(len(y), Z))

    def posterior(self, x, y):
        return DiagonalGaussian(x.flatten(1) @ self.h.T + y @ self.s.T, torch.zeros(len(y), Z))

    def decode(self, z, y):
        return (z @ self.g.T + y @ self.d.T).view(-1, 3, 2, 2)


def problem():
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(4, 3, 2, 2, generator=draw)
    y = torch.tensor([[1.0, -1, -1]]).repeat(4, 1)
    return x, y, torch.tensor([[1.0, 1, -1]]).repeat(4, 1)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_modification_is_section_4_5_2(strength):
    model, (x, y, y_new) = Linear(prior=True, sees_y=True, decoder=True), problem()
    step = torch.tensor([0.0, 2, 0]) * strength  # of y, for every row
    asked = y + step
    z = x.flatten(1) @ model.h.T + asked @ model.s.T + step @ model.f.T
    expected = model.decode(z, asked)
    torch.testing.assert_close(modify(model, x, y, y_new, strength=strength), expected)


def test_what_the_encoder_is_told_can_be_chosen():
    model, (x, y, y_new) = Linear(prior=True, sees_y=True, decoder=False), problem()
    told_old = modify(model, x, y, y_new, seen=y)
    torch.testing.assert_close(
        told_old - modify(model, x, y, y), ((y_new - y) @ model.f.T @ model.g.T).view_as(x)
    )
    assert not torch.allclose(told_old, modify(model, x, y, y_new))


def test_a_prior_that_knows_no_y_adds_nothing():
    model, (x, y, y_new) = Linear(prior=False, sees_y=False, decoder=True), problem()
    torch.testing.assert_close(modify(model, x, y, y_new), redecode(model, x, y, y_new))


def test_a_decoder_that_knows_no_y_needs_the_prior():
    model, (x, y, y_new) = Linear(prior=True, sees_y=False, decoder=False), problem()
    torch.testing.assert_close(redecode(model, x, y, y_new), modify(model, x, y, y))
    assert not torch.allclose(modify(model, x, y, y_new), modify(model, x, y, y))


@pytest.mark.parametrize("edit", [modify, redecode])
@pytest.mark.parametrize("kind", [CVAE, ConditionalPriorCVAE, DisCVAE])
def test_every_model_with_latents_can_be_asked(kind, edit):
    torch.manual_seed(0)
    latents = {"latent_f": 4, "latent_b": 4} if kind is DisCVAE else {"latent": 8}
    model = kind(K, width=0.125, size=32, **latents).eval()
    x, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    y, y_new = -torch.ones(2, K), torch.ones(2, K)
    still, made = edit(model, x, y, y, mask), edit(model, x, y, y_new, mask)
    reconstruction = model.decode(model.encode(x, y, mask), y)
    assert made.shape == x.shape and not made.requires_grad
    torch.testing.assert_close(still, reconstruction)
    torch.testing.assert_close(edit(model, x, y, y_new, mask, strength=0.0), reconstruction)
    assert not torch.allclose(made, still)


def test_a_gan_says_why_it_cannot_edit():
    model = CGAN(K, latent=4, width=0.05, size=32)
    x, y = torch.rand(2, 3, 32, 32), torch.ones(2, K)
    for edit in (modify, redecode):
        with pytest.raises(AttributeError, match="CGAN.*recognition model"):
            edit(model, x, y, -y)


@pytest.fixture
def schema():
    return AttributeSchema([Attribute(name) for name in ("Male", "Young", "Eyeglasses", "Hat")])


def test_single_changes_stand_in_the_papers_order(schema):
    y = single_changes(schema, ("Male", "Young"), ["Eyeglasses", "Hat", {"Hat": 3.0}])
    assert y.shape == (4, 4, 4)
    assert y[:, 0, :2].tolist() == [[-1, 1], [-1, -1], [1, 1], [1, -1]]
    assert (y[..., :2] == y[:, :1, :2]).all()  # a change leaves the row's two alone
    assert y[:, :, 2].tolist() == [[-1, 1, -1, -1]] * 4
    assert y[:, :, 3].tolist() == [[-1, -1, 1, 3]] * 4


def test_single_changes_keep_the_base(schema):
    base = schema.encode("Hat")
    y = single_changes(schema, ("Male", "Young"), ["Eyeglasses"], base)
    assert (y[..., 3] == 1).all()
    mild = single_changes(schema, ("Male", "Young"), [], levels=(-0.5, 2.0))
    assert mild[:, 0, :2].tolist() == [[-0.5, 2], [-0.5, -0.5], [2, 2], [2, -0.5]]
    with pytest.raises(UnknownAttribute, match="Eyeglasses"):
        single_changes(schema, ("Male", "Young"), ["Eyeglass"])


def test_without_noise_the_sample_is_the_priors_mean():
    model, (_, y, _) = Linear(prior=True, sees_y=True, decoder=True), problem()
    torch.testing.assert_close(model.sample(y, temperature=0.0), model.decode(model.prior(y).mu, y))


def test_progression_moves_one_attribute(schema):
    targets = progression_targets(schema, schema.encode("Male"), "Hat", 5)
    assert targets[:, 3].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert (targets[:, :3] == targets[:1, :3]).all()


def test_paths_keep_their_ends_and_arcs_their_length():
    a, b = torch.tensor([2.0, 0, 0]), torch.tensor([0, 2.0, 0])
    for path in (linear_path, spherical_path):
        torch.testing.assert_close(path(a, b, 5)[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(spherical_path(a, b, 5).norm(dim=1), torch.full((5,), 2.0))
    assert float(linear_path(a, b, 5)[2].norm()) < 1.5
