"""Reading pictures that others wrote: any common format, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from core.frames import IMAGE_CONVENTION

if TYPE_CHECKING:
    from core.frames import RgbPicture

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_picture(data: bytes) -> RgbPicture:
    """A picture file's content as uint8 RGB, shape (height, width, 3).

    Raises:
        ValueError: it is no picture that can be read, or was cut short; says which.
    """
    if not data:
        raise ValueError("it is empty")
    # OpenCV fills what is missing of a JPEG with grey and says nothing.
    if data.startswith(_JPEG_START) and not data.rstrip(b"\0 \r\n").endswith(_JPEG_END):
        raise ValueError("it was cut short")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError("it is no picture") from error
    if bgr is None:
        raise ValueError("it is no picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def is_stored_jpeg(data: bytes, picture: RgbPicture) -> bool:
    """Whether a file is as the frame store keeps them already, so that it need not be coded again."""
    return data.startswith(_JPEG_START) and picture.shape == (IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3)
