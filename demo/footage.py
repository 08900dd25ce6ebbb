"""Where films come from: a bundled clip's file, pictures that were drawn, a film made smaller, a sound track.

Everything here blocks and encodes on the caller's thread; ``demo/studio.py`` calls it in threads.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYFRAME_INTERVAL_S = 2

RgbPicture: TypeAlias = npt.NDArray[np.uint8]
"""uint8, shape (height, width, 3), in the order red, green, blue."""

_SOUND_RATE_HZ = 48_000
_SOUND_BITS_PER_S = 128_000


def bundled_clip(name: str) -> bytes:
    """The film of a clip in ``demo/clips/``.

    Raises:
        FileNotFoundError: there is no such clip.
    """
    return (Path(__file__).parent / "clips" / f"{name}.mp4").read_bytes()


def film_of(pictures: Iterable[RgbPicture], *, width_px: int, height_px: int, fps: int) -> bytes:
    """Encode pictures as a film, quickly rather than well.

    Args:
        pictures: all of the size below.
        width_px: of the pictures.
        height_px: of the pictures.
        fps: pictures a second.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "26", "sc_threshold": "0"}
        stream.gop_size = fps * KEYFRAME_INTERVAL_S
        for picture in pictures:
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def shrink_to_160p(film: bytes) -> bytes:
    """Encode a film anew with 160 lines and keyframes where it had them, so that both cut alike."""
    width_px, height_px = 284, 160
    buffer = io.BytesIO()
    with (
        av.open(io.BytesIO(film), "r", options={"ignore_editlist": "1"}) as source,
        av.open(buffer, "w", format="mp4") as target,
    ):
        video = source.streams.video[0]
        video.thread_type = "AUTO"
        stream = target.add_stream("libx264", rate=Fraction(video.average_rate or 30))
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        stream.time_base = Fraction(video.time_base or 0)
        stream.options = {"preset": "ultrafast", "crf": "28", "sc_threshold": "0", "forced-idr": "1"}
        stream.gop_size = 100_000  # no keyframes but the forced ones
        for frame in source.decode(video):
            small = frame.reformat(width=width_px, height=height_px, format="yuv420p")
            small.pict_type = PictureType.I if frame.key_frame else PictureType.NONE
            target.mux(stream.encode(small))
        target.mux(stream.encode(None))
    return buffer.getvalue()


def room_tone(duration_s: float) -> bytes:
    """A sound track of soft noise: real segments carry AAC between their pictures, so these do too."""
    samples = np.random.default_rng(7).normal(0.0, 0.01, round(duration_s * _SOUND_RATE_HZ))
    tone = np.repeat(samples.astype(np.float32)[np.newaxis], 2, axis=0)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        stream = target.add_stream("aac", rate=_SOUND_RATE_HZ, layout="stereo")
        stream.bit_rate = _SOUND_BITS_PER_S
        stream.options = {"aac_coder": "fast"}
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone), format="fltp", layout="stereo")
        frame.sample_rate = _SOUND_RATE_HZ
        frame.pts = 0
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return buffer.getvalue()
