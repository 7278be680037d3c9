"""Layer sizes against Attribute2Image, section 5 and appendix B; the folded upsampling against the
plain one.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from a2i_lib.models.layers import ImageDecoder, ImageEncoder, UpConv


def convolutions(module: nn.Module) -> list[tuple[int, int]]:
    return [
        (m.weight.shape[0], m.weight.shape[-1])
        for m in module.modules()
        if isinstance(m, (nn.Conv2d, UpConv))
    ]


def linears(module: nn.Module) -> list[int]:
    return [m.out_features for m in module.modules() if isinstance(m, nn.Linear)]


def test_encoder_is_the_papers():
    encoder = ImageEncoder()
    assert convolutions(encoder) == [(64, 5), (128, 5), (256, 3), (256, 3), (1024, 4)]
    assert linears(encoder) == [1024]
    assert encoder(torch.rand(2, 3, 64, 64)).shape == (2, 1024)
    dropouts = [m.p for m in encoder.modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [0.5]


def test_decoder_is_the_papers_with_three_upsamplings():
    decoder = ImageDecoder(256)
    assert convolutions(decoder) == [(256, 3), (256, 5), (128, 5), (64, 5), (3, 5)]
    assert linears(decoder) == [256, 8 * 8 * 256]
    assert sum(isinstance(m, UpConv) for m in decoder.modules()) == 3
    image = decoder(torch.randn(2, 256))
    assert image.shape == (2, 3, 64, 64) and 0 <= image.min() and image.max() <= 1


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("width", [0.125, 0.25])
def test_any_width_and_size(width, size):
    encoder = ImageEncoder(width, size)
    assert encoder(torch.rand(1, 3, size, size)).shape == (1, encoder.features)
    assert ImageDecoder(10, width, size)(torch.randn(1, 10)).shape == (1, 3, size, size)


def test_a_size_that_does_not_halve_four_times_is_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        ImageEncoder(size=40)


def test_folded_upsampling_equals_the_plain_one():
    torch.manual_seed(0)
    layer = UpConv(6, 5).double()
    x = torch.randn(2, 6, 8, 7, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=2)
    torch.testing.assert_close(layer(x), plain, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(plain)
    ours = torch.autograd.grad((layer(x) * weights).sum(), [x, layer.weight])
    theirs = torch.autograd.grad((plain * weights).sum(), [x, layer.weight])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
