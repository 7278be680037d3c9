"""One picture at a time: from the bytes of a file to the pixels of a data set.

Whatever a camera or an editor may have written comes out as 8-bit RGB, upright; what cannot be read
is a `ValueError` that says why in a few words, without numbers that differ from file to file, so
that equal reasons can be counted.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 90_000_000  # 270 MB once decoded; Pillow itself warns from about here on
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def open_picture(data: bytes | str | os.PathLike[str], mask: bool = False) -> Image.Image:
    """Decodes a picture, from its bytes or from a file.

    It is turned upright by its EXIF orientation. 16 bits a channel are scaled to 8. What is
    transparent is laid on white, as viewers and browsers show it: the colour stored under it means
    nothing, and is often black or rubbish.

    Args:
        mask: give mode L instead of RGB, and let what is transparent be 0, not on the subject.

    Raises:
        ValueError: no bytes, no image, a truncated or damaged one, one of more than `MAX_PIXELS`.
        OSError: the file cannot be read.
    """
    if not isinstance(data, bytes):
        data = Path(data).read_bytes()
    if not data:
        raise ValueError("no image bytes")
    picture = _decode(data)
    try:
        return _eight_bit(_upright(picture), mask)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"damaged image ({type(error).__name__})") from None


def to_pixels(picture: Image.Image, size: int, mask: bool = False) -> np.ndarray:
    """A square picture at a size of the data set's: uint8, (size, size, 3).

    A mask becomes (size, size), cut to 0 and 255 after resizing.

    Raises:
        ValueError: the picture is not square.
    """
    if picture.width != picture.height:
        raise ValueError(f"{picture.width}x{picture.height} pixels, expected a square")
    picture = picture.convert("L" if mask else "RGB")
    # Cropped before it comes here: `resize(box=...)` would look outside the box.
    if picture.width != size:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if mask else pixels


def _decode(data: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        picture.load()
        return picture
    except UnidentifiedImageError:
        raise ValueError("bytes that are no image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise ValueError(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except Exception as error:  # whatever a decoder may raise over damaged bytes
        if "truncated" in str(error).lower():
            raise ValueError("truncated image") from None
        raise ValueError(f"damaged image ({type(error).__name__})") from None


def _upright(picture: Image.Image) -> Image.Image:
    """By its EXIF orientation; EXIF that cannot be read is no reason to lose the picture."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _eight_bit(picture: Image.Image, mask: bool) -> Image.Image:
    mode = "L" if mask else "RGB"
    if picture.mode in SIXTEEN_BIT:
        return _scaled(picture).convert(mode)
    if picture.mode == "F":
        raise ValueError("floating-point pixels")
    if "transparency" in picture.info or set(picture.getbands()) & {"A", "a"}:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "black" if mask else "white")
        picture = Image.alpha_composite(ground, picture)
    return picture if picture.mode == mode else picture.convert(mode)


def _scaled(picture: Image.Image) -> Image.Image:
    """16-bit grey, 0 to 65535, as mode L; Pillow's `convert` would clip at 255."""
    values = np.asarray(picture).astype(np.int64)
    if values.size and not 0 <= values.min() <= values.max() <= 65535:
        raise ValueError("pixels of more than 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
