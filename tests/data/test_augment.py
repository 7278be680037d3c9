"""Each augmentation against a plain reference that treats one image at a time."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from a2i_lib.data.augment import Augment, Draw, look_up, sampling_grid, sharpen, tint

B, SIZE = 6, 20


@pytest.fixture
def x():
    x = torch.rand(B, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def draw():
    return Augment().draw(B, torch.Generator().manual_seed(2))


def test_flip_mirrors_the_images_that_were_drawn(x, draw):
    out, mask = Augment(flip=0.5).apply(x, x[:, :1], draw)
    flips = [bool(u < 0.5) for u in draw.flip]
    assert any(flips) and not all(flips)
    for i, flip in enumerate(flips):
        wanted = x[i].numpy()[:, :, ::-1] if flip else x[i].numpy()
        np.testing.assert_array_equal(out[i].numpy(), wanted)
        np.testing.assert_array_equal(mask[i].numpy(), wanted[:1])


def test_gain_multiplies_each_channel_and_stays_in_range(x, draw):
    out, _ = Augment(gain=0.03).apply(x, None, draw)
    for i in range(B):
        for c in range(3):
            gain = 1 + 0.03 * float(draw.gain[i, c])
            assert 0.97 <= gain <= 1.03
            wanted = np.clip(x[i, c].numpy() * gain, 0, 1)
            np.testing.assert_allclose(out[i, c].numpy(), wanted, atol=1e-6)


def test_tint_takes_any_memory_order(x):
    gain = torch.rand(B, 3)
    wanted = x * gain[:, :, None, None]
    torch.testing.assert_close(tint(x, gain), wanted)
    torch.testing.assert_close(tint(x.contiguous(), gain), wanted)


def test_residual_is_added_to_the_image(x, draw):
    out, _ = Augment(residual=1.5).apply(x, None, draw)
    inside = ndimage.uniform_filter(np.ones((SIZE, SIZE)), 5, mode="constant")
    for i in range(B):
        s = 1.5 * float(draw.residual[i])
        for c in range(3):
            image = x[i, c].numpy()
            blurred = ndimage.uniform_filter(image, 5, mode="constant") / inside
            wanted = np.clip(image + s * (image - blurred), 0, 1)
            np.testing.assert_allclose(out[i, c].numpy(), wanted, atol=1e-5)


def test_residual_leaves_flat_images_and_s_zero_alone(x):
    flat = torch.full((2, 3, 9, 9), 0.7)
    torch.testing.assert_close(sharpen(flat, torch.tensor([0.5, 1.5])), flat)
    torch.testing.assert_close(sharpen(x, torch.zeros(B)), x)


def test_rotation_is_counter_clockwise_about_the_centre(x):
    transforms = pytest.importorskip("torchvision.transforms.functional")
    angle = torch.tensor([-0.08, -0.03, 0.0, 0.02, 0.05, 0.08])
    out = look_up(x, sampling_grid(angle, torch.zeros(B, 2), SIZE, SIZE))
    for i in range(B):
        wanted = transforms.rotate(
            x[i], float(angle[i]) * 180 / np.pi, transforms.InterpolationMode.BILINEAR
        )
        inner = (slice(None), slice(3, -3), slice(3, -3))
        torch.testing.assert_close(out[i][inner], wanted[inner], atol=1e-4, rtol=0)


def test_crop_is_a_window_of_the_rescaled_image(x, draw):
    out, _ = Augment(crop=(24, SIZE)).apply(x, None, draw)
    for i in range(B):
        big = F.interpolate(x[i : i + 1], size=(24, 24), mode="bilinear", align_corners=False)[0]
        left, top = (int(u * 5) for u in draw.crop[i])
        wanted = big[:, top : top + SIZE, left : left + SIZE]
        torch.testing.assert_close(out[i], wanted, atol=1e-5, rtol=0)


def test_an_image_that_is_large_enough_is_only_cropped(x, draw):
    out, _ = Augment(crop=(SIZE, 16)).apply(x, None, draw)
    assert out.shape == (B, 3, 16, 16)
    for i in range(B):
        left, top = (int(u * 5) for u in draw.crop[i])
        wanted = x[i, :, top : top + 16, left : left + 16]
        torch.testing.assert_close(out[i], wanted, atol=1e-5, rtol=0)


def test_rotation_and_crop_together(x, draw):
    out, _ = Augment(rotation=0.08, crop=(24, SIZE)).apply(x, None, draw)
    v, u = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for i in range(B):
        theta = 0.08 * float(draw.rotation[i])
        left, top = (int(c * 5) for c in draw.crop[i])
        across = np.cos(theta) * u - np.sin(theta) * v + left + SIZE / 2  # in the 24x24 image
        down = np.sin(theta) * u + np.cos(theta) * v + top + SIZE / 2
        where = [down * SIZE / 24 - 0.5, across * SIZE / 24 - 0.5]
        for c in range(3):
            wanted = ndimage.map_coordinates(x[i, c].numpy(), where, order=1, mode="nearest")
            np.testing.assert_allclose(out[i, c].numpy(), wanted, atol=1e-4)


def test_the_mask_moves_with_its_image():
    """An image that shows its own mask still does so after everything that moves it."""
    mask = (torch.rand(32, 1, 64, 64, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    moves = Augment(flip=0.5, rotation=0.08, crop=(72, 64))
    out, moved = moves(mask.expand(-1, 3, -1, -1), mask, torch.Generator().manual_seed(4))
    assert not torch.equal(moved, mask)
    torch.testing.assert_close(out, moved.expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_a_threshold_keeps_the_mask_hard(x):
    mask = (x[:, :1] > 0.5).float()
    soft = Augment(rotation=0.08, crop=(24, SIZE))
    hard = Augment(rotation=0.08, crop=(24, SIZE), mask_threshold=0.5)
    _, softened = soft(x, mask, torch.Generator().manual_seed(5))
    _, cut = hard(x, mask, torch.Generator().manual_seed(5))
    assert set(cut.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(cut, (softened > 0.5).float())


def test_presets_are_the_papers():
    assert Augment.lfw() == Augment(flip=0.5, gain=0.03, residual=1.5)
    cub = Augment.cub()
    assert (cub.flip, cub.gain, cub.residual, cub.rotation) == (0.5, 0.03, 1.5, 0.08)
    assert cub.crop == (72, 64)


def test_result_is_in_range_and_channels_last_and_the_input_unchanged(x):
    before = x.clone()
    out, _ = Augment.cub(size=SIZE - 4)(x, None, torch.Generator().manual_seed(6))
    assert 0 <= out.min() and out.max() <= 1
    assert out.is_contiguous(memory_format=torch.channels_last)
    Augment.lfw()(x, None, torch.Generator().manual_seed(6))
    torch.testing.assert_close(x, before, atol=0, rtol=0)


def test_same_generator_same_result_and_other_switches_do_not_disturb(x):
    def run(augment: Augment) -> torch.Tensor:
        return augment(x, None, torch.Generator().manual_seed(7))[0]

    torch.testing.assert_close(run(Augment.lfw()), run(Augment.lfw()), atol=0, rtol=0)
    draws = [Augment.lfw().draw(4, torch.Generator().manual_seed(8)) for _ in range(2)]
    assert isinstance(draws[0], Draw) and torch.equal(draws[0].gain, draws[1].gain)
    flipped = run(Augment(flip=0.5))
    tinted = run(Augment(flip=0.5, gain=0.03))
    assert (flipped - tinted).abs().max() < 0.031  # the same flips, only the colours differ


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="probability"):
        Augment(flip=1.5)
    with pytest.raises(ValueError, match="cannot keep 72 of 64"):
        Augment(crop=(64, 72))


def test_softening_is_two_passes_of_the_box_and_zero_leaves_the_image():
    x = torch.rand(2, 3, 16, 16)
    draw = Augment().draw(2, torch.Generator().manual_seed(0))
    draw = dataclasses.replace(draw, soften=torch.tensor([0.0, 1.0]))
    soft, _ = Augment(soften=1.0).apply(x, None, draw)
    torch.testing.assert_close(soft[0], x[0])
    box = torch.nn.functional.avg_pool2d
    twice = box(box(x[1:], 5, 1, 2, count_include_pad=False), 5, 1, 2, count_include_pad=False)
    torch.testing.assert_close(soft[1:], twice)
