"""A stranger's file to a picture: its kind and size are known before a single pixel is decoded."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bot.web import refusals
from core.frames import to_stored

if TYPE_CHECKING:
    from core.frames import RgbPicture

_KINDS = ("JPEG", "PNG", "WEBP")
"""No others are tried: each is a decoder that strangers can reach."""

_LARGEST_SIDE_PX = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureLimits:
    """How large a picture may be.

    Attributes:
        file_bytes: of the file.
        pixels: width times height, as the file's head says.
    """

    file_bytes: int
    pixels: int


def read_picture(data: bytes, *, limits: PictureLimits) -> RgbPicture:
    """Decode a JPEG, PNG or WebP file of whatever size to the stored size; blocks for some milliseconds.

    Returns:
        uint8 RGB, shape (180, 320, 3).

    Raises:
        Refusal: the file is of another kind, larger than it may be, or broken.
    """
    if not data:
        raise refusals.not_usable("The file in img is empty.")
    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as opened:
            width_px, height_px = opened.size
            if width_px * height_px > limits.pixels or max(width_px, height_px) > _LARGEST_SIDE_PX:
                raise refusals.too_large(
                    f"The picture is {width_px} × {height_px}; at most {limits.pixels:,} pixels are taken."
                )
            # A JPEG can be decoded at half its size, or a quarter, for that much less work: still no smaller than
            # what it is brought to.
            opened.draft("RGB", (640, 360))
            picture = np.asarray(_flat(ImageOps.exif_transpose(opened)), dtype=np.uint8)
    except UnidentifiedImageError:
        raise refusals.wrong_type("The file in img must be a JPEG, PNG or WebP picture.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow's own limit, above ours; a warning where the process takes these for errors.
        raise refusals.too_large(f"At most {limits.pixels:,} pixels are taken.") from None
    except (OSError, ValueError, SyntaxError, struct.error, IndexError, KeyError, TypeError):
        # What Pillow's readers raise of broken files, each its own.
        raise refusals.not_usable("The picture in img is broken.") from None
    return to_stored(picture)


def _flat(picture: Image.Image) -> Image.Image:
    """Three channels; what is transparent shows black, as the rest of the stored picture is."""
    if picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info:
        with_alpha = picture.convert("RGBA")
        ground = Image.new("RGBA", with_alpha.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, with_alpha).convert("RGB")
    return picture.convert("RGB")
