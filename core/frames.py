"""One image convention from capture to prediction: RGB, uint8, height × width × 3, at the stored size.

Everything that carries a picture through this project carries it like this: the sampler decodes to it, JPEG
files on disk hold it, training reads it and the network takes it. A network's artifact names the convention it was
trained with, and the recognizer refuses one that differs from :data:`IMAGE_CONVENTION`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

RgbPicture: TypeAlias = npt.NDArray[np.uint8]
"""uint8, shape (height, width, 3), channels in the order red, green, blue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConvention:
    """How a picture is laid out in memory, and how any other picture is brought into this form.

    Attributes:
        width_px: of a stored picture.
        height_px: of a stored picture.
        color: order of the channels.
        dtype: of one value.
        layout: of a batch, in the letters N(umber) H(eight) W(idth) C(hannels).
        fit: ``pad`` keeps the aspect ratio and fills with black, as a streamer's own pillarbox does.
    """

    width_px: int
    height_px: int
    color: str
    dtype: str
    layout: str
    fit: str


IMAGE_CONVENTION = ImageConvention(width_px=320, height_px=180, color="RGB", dtype="uint8", layout="NHWC", fit="pad")

_BLACK_MEAN = 8.0
"""A picture whose brightest block stays below this, of 255, shows nothing (video black decodes to 0 to 5)."""

_DUPLICATE_MEAN_DIFFERENCE = 0.5
"""Mean absolute difference, of 255, below which two pictures are the same one coded twice. Two seconds of the slowest
strategy games change 0.6 to 1.0; the same segment met again in a loop changes nothing."""

_JPEG_QUALITY = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One sampled picture.

    Attributes:
        picture: uint8 RGB of the stored size, shape (180, 320, 3).
        at_s: seconds from the start of the playlist's live window to this picture.
    """

    picture: RgbPicture
    at_s: float


def to_stored(picture: RgbPicture) -> RgbPicture:
    """Bring a picture of any size to the stored size: area resize, aspect ratio kept, the rest black.

    Args:
        picture: uint8 RGB, shape (height, width, 3).

    Returns:
        uint8 RGB, shape (180, 320, 3), C-contiguous.

    Raises:
        ValueError: the array is no such picture.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        msg = f"expected a uint8 picture of shape (height, width, 3), got {picture.dtype} {picture.shape}"
        raise ValueError(msg)
    height_px, width_px = picture.shape[:2]
    goal = IMAGE_CONVENTION
    scale = min(goal.width_px / width_px, goal.height_px / height_px)
    # A width of 853 for 480p is 16:9 rounded: a one-pixel black seam there would be an artefact of ours.
    inner_width_px = _snap(round(width_px * scale), goal.width_px)
    inner_height_px = _snap(round(height_px * scale), goal.height_px)
    if (width_px, height_px) == (inner_width_px, inner_height_px):
        resized = picture
    else:
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = np.asarray(
            cv2.resize(picture, (inner_width_px, inner_height_px), interpolation=interpolation),
            dtype=np.uint8,
        )
    if (inner_width_px, inner_height_px) == (goal.width_px, goal.height_px):
        return np.ascontiguousarray(resized)
    stored = np.zeros((goal.height_px, goal.width_px, 3), dtype=np.uint8)
    left_px = (goal.width_px - inner_width_px) // 2
    top_px = (goal.height_px - inner_height_px) // 2
    stored[top_px : top_px + inner_height_px, left_px : left_px + inner_width_px] = resized
    return stored


def _snap(size_px: int, goal_px: int) -> int:
    return goal_px if goal_px - size_px <= 2 else max(1, size_px)


def is_black(picture: RgbPicture) -> bool:
    """Whether a stored picture shows nothing: no part of it is brighter than video black.

    Judged on 16 × 9 blocks rather than on the whole: a night scene is dark on average and lit somewhere.
    """
    blocks = cv2.resize(picture, (16, 9), interpolation=cv2.INTER_AREA)
    return float(np.max(blocks)) < _BLACK_MEAN


def is_duplicate(picture: RgbPicture, other: RgbPicture) -> bool:
    """Whether two stored pictures are the same one coded twice, as on a still screen or in a looped clip."""
    return cv2.norm(picture, other, cv2.NORM_L1) / picture.size < _DUPLICATE_MEAN_DIFFERENCE


def perceptual_hash(picture: RgbPicture) -> int:
    """64-bit DCT hash of a picture; similar pictures have hashes of small Hamming distance.

    The low 8 × 8 frequencies of a 32 × 32 grey picture against their median, as pHash does it: Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section 3.2.1.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def encode_jpeg(picture: RgbPicture, *, quality: int = _JPEG_QUALITY) -> bytes:
    """Write a uint8 RGB picture as JPEG.

    Raises:
        ValueError: the array cannot be written as a JPEG.
    """
    try:
        written, data = cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
    except cv2.error as error:
        raise ValueError("not a picture that JPEG can hold") from error
    if not written:
        raise ValueError("not a picture that JPEG can hold")
    return bytes(data)


def decode_jpeg(data: bytes) -> RgbPicture:
    """Read a JPEG file's bytes as uint8 RGB, shape (height, width, 3).

    Raises:
        ValueError: the bytes are no readable JPEG.
    """
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("not a JPEG file")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError("not a readable JPEG file") from error
    if bgr is None:
        raise ValueError("not a readable JPEG file")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
