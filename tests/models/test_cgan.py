"""The GAN: sizes that mirror CMMA's, and plain answers where it has no posterior."""

import pytest
import torch
from torch import nn

from a2i_lib.evaluation.counterfactual import add_attribute, edit_error
from a2i_lib.evaluation.likelihood import log_weights
from a2i_lib.inference import infer
from a2i_lib.models import CGAN, CMMA
from a2i_lib.models.cgan import Discriminator
from a2i_lib.worlds import get_world


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CGAN(33, latent=6, width=0.125, size=32).eval()


def test_it_mirrors_cmma():
    with torch.device("meta"):
        cmma, generator, critic = CMMA(73), CGAN(73), CGAN(73).discriminator()
    assert generator.latent == 100
    assert generator.decoder.dense.weight.shape == (4800, 173)
    sizes = [tuple(layer.shape) for layer in cmma.encoder.parameters()]
    assert [tuple(layer.shape) for layer in critic.encoder.parameters()] == sizes
    convolutions = [
        [m.weight.shape for m in net.decoder.stack if hasattr(m, "fold")]
        for net in (cmma, generator)
    ]
    assert convolutions[0][:2] == convolutions[1][:2]
    assert convolutions[1][2] == (3, *convolutions[0][2][1:])


def test_samples_follow_noise_and_attributes(model):
    on, off = torch.ones(2, 33), -torch.ones(2, 33)

    def draw(y, seed, **options):
        return model.sample(y, 3, torch.Generator().manual_seed(seed), **options)

    images = draw(on, 0)
    assert images.shape == (6, 3, 32, 32) and 0 <= images.min() and images.max() <= 1
    assert torch.equal(images, draw(on, 0))
    assert not torch.allclose(images, draw(on, 1)) and not torch.allclose(images, draw(off, 0))
    still = draw(on, 0, temperature=0)
    torch.testing.assert_close(still, model(torch.zeros(6, 6), on[:1].expand(6, -1)))


def test_the_discriminator_weighs_image_and_attributes_together():
    torch.manual_seed(0)
    critic = Discriminator(5, width=0.125, size=32).eval()
    x, y = torch.rand(2, 3, 32, 32), torch.randn(2, 5).sign()
    table = torch.stack([critic(x, row.expand(2, -1)) for row in y])  # 2 attributes, 2 images
    assert table.shape == (2, 2)
    interaction = table[0, 0] - table[0, 1] - table[1, 0] + table[1, 1]
    assert abs(float(interaction)) > 1e-6  # not what x says plus what y says


def test_with_spectral_norm_no_layer_stretches_its_input():
    torch.manual_seed(0)
    critic = CGAN(5, width=0.125, size=32, dropout=0.0, spectral=True).discriminator()
    layers = [m for m in critic.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            layer.parametrizations.weight.original.mul_(30)
    for _ in range(40):  # in training mode, each pass comes closer to the largest singular value
        critic(torch.rand(4, 3, 32, 32), torch.randn(4, 5).sign())
    norms = torch.stack([torch.linalg.matrix_norm(m.weight.flatten(1), 2) for m in layers])
    torch.testing.assert_close(norms, torch.ones(5), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["posterior", "encode", "decode", "prior"])
def test_what_a_gan_lacks_it_says(model, name):
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=f"CGAN has no '{name}': a GAN"):
        getattr(model, name)


def test_tools_say_what_is_missing(model):
    world = get_world("faces")
    added = add_attribute(world, world.sample(6, 0), "Eyeglasses", 32)
    with pytest.raises(AttributeError, match="CGAN has no 'encode'"):
        edit_error(model, added)
    with pytest.raises(AttributeError, match="CGAN has no 'posterior'"):
        log_weights(model, added.x, added.y, 0.2, 1)
    with pytest.raises(TypeError, match="CGAN has no decoder"):
        infer(model, added.x, added.y, sigma=0.2)
    with pytest.raises(AttributeError, match="no attribute 'posteriors'"):
        model.posteriors  # noqa: B018
