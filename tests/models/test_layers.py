"""Layer sizes against Attribute2Image, section 5 and appendix B, and CMMA, section 4.1; the folded
upsampling against the plain one.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from a2i_lib.models.layers import ImageDecoder, ImageEncoder, UpConv, ValidDecoder, ValidEncoder


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


def sizes_after_convolutions(stack: nn.Sequential, x: torch.Tensor) -> list[int]:
    heights = []
    for layer in stack:
        x = layer(x)
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, UpConv)):
            heights.append(x.shape[-1])
    return heights


def test_cmmas_convolutions_shrink_to_4800_numbers_and_grow_back():
    with torch.device("meta"):
        encoder, decoder = ValidEncoder(), ValidDecoder(500)
        assert convolutions(encoder) == [(192, 5), (96, 5), (48, 4)]
        assert sizes_after_convolutions(encoder.stack, torch.empty(1, 3, 64, 64)) == [
            60, 30, 26, 13, 10,
        ]  # fmt: skip
        assert encoder.features == 4800 == decoder.dense.out_features
        assert convolutions(decoder) == [(96, 3), (192, 3), (6, 5)]
        assert sizes_after_convolutions(decoder.stack, torch.empty(1, 48, 10, 10)) == [18, 34, 64]
        assert decoder(torch.empty(2, 500)).shape == (2, 6, 64, 64)
    kinds = [type(layer).__name__ for layer in encoder.stack]
    assert kinds == ["Conv2d", "MaxPool2d", "ReLU"] * 2 + ["Conv2d", "ReLU", "Flatten"]


@pytest.mark.parametrize("size", [32, 40, 64])
def test_unpadded_convolutions_at_any_width_and_size(size):
    encoder = ValidEncoder(0.125, size)
    assert encoder(torch.rand(1, 3, size, size)).shape == (1, encoder.features)
    decoder = ValidDecoder(10, 0.125, size, outputs=3, norm=True)
    assert decoder(torch.randn(2, 10)).shape == (2, 3, size, size)


@pytest.mark.parametrize("size", [24, 36, 63])
@pytest.mark.parametrize("kind", [ValidEncoder, lambda size: ValidDecoder(10, size=size)])
def test_sizes_that_unpadded_convolutions_cannot_have(kind, size):
    with pytest.raises(ValueError, match=rf"multiple of 8 from 32 on .*: {size}"):
        kind(size=size)


@pytest.mark.parametrize(("kernel", "padding"), [(5, 2), (5, 0), (3, 0), (3, 2), (1, 0)])
def test_folded_upsampling_equals_the_plain_one(kernel, padding):
    torch.manual_seed(0)
    layer = UpConv(6, 5, kernel, padding).double()
    x = torch.randn(2, 6, 8, 7, dtype=torch.float64, requires_grad=True)
    plain = F.conv2d(F.interpolate(x, scale_factor=2), layer.weight, layer.bias, padding=padding)
    torch.testing.assert_close(layer(x), plain, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(plain)
    ours = torch.autograd.grad((layer(x) * weights).sum(), [x, layer.weight])
    theirs = torch.autograd.grad((plain * weights).sum(), [x, layer.weight])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kernel", "padding"), [(4, 0), (5, 1)])
def test_what_cannot_be_folded_is_refused(kernel, padding):
    with pytest.raises(ValueError, match="must be odd"):
        UpConv(2, 2, kernel, padding)
