"""Pictures as cameras and editors write them, and as they should not be."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from sources import png

from a2i_lib.data import pictures
from a2i_lib.data.pictures import open_picture, to_pixels

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
CORNERS = np.zeros((16, 16, 3), dtype=np.uint8)  # red, green | blue, white
CORNERS[:8, :8], CORNERS[:8, 8:], CORNERS[8:, :8] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
CORNERS[8:, 8:] = 250


def written(picture, format="PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def png_file(*chunks):
    """A PNG of these (kind, content)."""
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pixels(data, **options):
    picture = open_picture(data, **options)
    assert picture.mode == ("L" if options.get("mask") else "RGB")
    return np.asarray(picture)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_plain_pictures_come_out_as_they_went_in(tmp_path, format):
    options = {"lossless": True} if format == "WEBP" else {}
    data = written(Image.fromarray(NOISE), format, **options)
    np.testing.assert_array_equal(pixels(data), NOISE)
    (tmp_path / "picture").write_bytes(data)
    np.testing.assert_array_equal(pixels(tmp_path / "picture"), NOISE)
    np.testing.assert_array_equal(pixels(str(tmp_path / "picture")), NOISE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_exif_orientation_is_undone(orientation, format):
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"} | {
        6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"
    }  # fmt: skip
    stored = Image.fromarray(CORNERS)
    if orientation > 1:  # stored so that the reader's transposition brings it back
        stored = stored.transpose(Image.Transpose[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = written(stored, format, exif=exif, **({"subsampling": 0} if format == "JPEG" else {}))
    assert np.abs(pixels(data).astype(int) - CORNERS).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_does_not_cost_the_picture():
    data = written(Image.fromarray(NOISE), exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish")
    np.testing.assert_array_equal(pixels(data), NOISE)


def test_grey_black_and_white_and_palette():
    grey = Image.fromarray(NOISE[..., 0])
    np.testing.assert_array_equal(pixels(written(grey))[..., 2], NOISE[..., 0])
    halves = np.where(NOISE[..., 0] > 127, 255, 0)
    two = Image.fromarray(halves.astype(np.uint8)).convert("1")
    np.testing.assert_array_equal(pixels(written(two))[..., 1], halves)
    palette = Image.fromarray(CORNERS).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    for format in ("PNG", "GIF"):
        np.testing.assert_array_equal(pixels(written(palette, format)), CORNERS)


def test_cmyk():
    ink = Image.fromarray(CORNERS).convert("CMYK")
    for format, options in (("TIFF", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        assert np.abs(pixels(written(ink, format, **options)).astype(int) - CORNERS).max() < 12


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(format):
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    data = written(Image.fromarray(deep), format)
    wanted = np.arange(256).reshape(16, 16)
    np.testing.assert_array_equal(pixels(data), np.repeat(wanted[..., None], 3, 2))
    np.testing.assert_array_equal(pixels(data, mask=True), wanted)


def test_sixteen_bit_colour():
    deep = (CORNERS.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    size = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    data = png_file((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    np.testing.assert_array_equal(pixels(data), CORNERS)


def test_what_is_transparent_is_laid_on_white():
    seen = NOISE[..., :1].repeat(4, 2)
    seen[..., 3] = np.where(np.arange(16) < 8, 255, 0)  # the right half is not seen
    rgba = Image.fromarray(seen)
    for picture in (rgba, rgba.convert("LA")):
        out = pixels(written(picture))
        np.testing.assert_array_equal(out[:, :8, 0], NOISE[:, :8, 0])
        assert (out[:, 8:] == 255).all()
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert pixels(written(half)).mean() == 127
    mask = Image.new("LA", (4, 4), (255, 0))
    assert pixels(written(mask), mask=True).max() == 0


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_colour(format):
    palette = Image.fromarray(CORNERS).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    out = pixels(written(palette, format, transparency=palette.getpixel((0, 0))))
    assert (out[:8, :8] == 255).all() and (out[:8, 8:] == CORNERS[:8, 8:]).all()


def test_one_pixel():
    assert pixels(png([[[1, 2, 3]]])).tolist() == [[[1, 2, 3]]]
    large = to_pixels(open_picture(png([[[1, 2, 3]]])), 8)
    assert large.shape == (8, 8, 3) and (large == [1, 2, 3]).all()


JPEG = written(Image.fromarray(NOISE), "JPEG")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no image bytes"),
        (b"\0", "bytes that are no image"),
        (b"<html>quota exceeded</html>", "bytes that are no image"),
        (JPEG[: len(JPEG) // 2], "truncated image"),
        (png(NOISE)[:400], "truncated image"),
        (png(NOISE)[:60] + bytes(40) + png(NOISE)[100:], "damaged image|truncated image"),
        (written(Image.fromarray(NOISE[..., 0].astype(np.float32)), "TIFF"), "floating-point"),
        (written(Image.fromarray(NOISE[..., 0] * np.int32(70_000)), "TIFF"), "more than 16 bits"),
    ],
)
def test_what_cannot_be_read_says_why(data, message):
    with pytest.raises(ValueError, match=message):
        open_picture(data)


def test_every_truncation_is_a_value_error():
    for data in (JPEG, png(NOISE)):
        for end in range(0, len(data) - 20, 7):
            with pytest.raises(ValueError, match="^(no image bytes|bytes that|truncated|damaged)"):
                open_picture(data[:end])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_bytes_give_a_picture_or_a_value_error():
    generator = np.random.default_rng(1)
    formats = [written(Image.fromarray(CORNERS), f) for f in ("JPEG", "PNG", "TIFF", "GIF", "WEBP")]
    for k in range(300):
        data = np.frombuffer(formats[k % 5], dtype=np.uint8).copy()
        data[generator.integers(0, len(data), 3)] = generator.integers(0, 256, 3)
        try:
            open_picture(data.tobytes())
        except ValueError:
            pass


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_bomb_is_refused_before_it_is_unpacked(side):
    """A PNG that says it is huge and is empty; Pillow warns of the first, refuses the second."""
    size = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = png_file((b"IHDR", size), (b"IDAT", b""))
    with pytest.raises(ValueError, match="more than 90 million pixels"):
        open_picture(bomb)


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 256)
    open_picture(png(NOISE))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 255)
    with pytest.raises(ValueError, match="pixels"):
        open_picture(png(NOISE))


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_picture(tmp_path / "gone.jpg")


def test_a_picture_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="16x8 pixels, expected a square"):
        to_pixels(Image.new("RGB", (16, 8)), 8)


def test_resizing_is_pillows_lanczos_and_the_same_size_is_untouched():
    picture = Image.fromarray(NOISE)
    np.testing.assert_array_equal(to_pixels(picture, 16), NOISE)
    wanted = np.asarray(picture.resize((7, 7), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(to_pixels(picture, 7), wanted)


def test_masks_are_two_valued():
    ramp = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    mask = to_pixels(ramp, 256, mask=True)
    assert mask.shape == (256, 256) and (mask[0] == np.where(np.arange(256) > 127, 255, 0)).all()
    assert set(np.unique(to_pixels(ramp, 9, mask=True))) == {0, 255}
