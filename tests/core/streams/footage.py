"""Real H.264 segments, made in memory."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

WIDTH_PX, HEIGHT_PX = 640, 360


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A segment of one group of pictures, and the picture that its keyframe shows (before coding)."""

    init: bytes
    data: bytes
    picture: np.ndarray


@functools.cache
def picture(seed: int, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> np.ndarray:
    """Coloured blocks: unlike any other seed's, and coded in a few kilobytes."""
    if seed < 0:
        return np.zeros((height_px, width_px, 3), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 255, (height_px // 20 + 1, width_px // 20 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(20, 0).repeat(20, 1)[:height_px, :width_px])


@functools.cache
def transport_stream(
    seed: int = 1, *, pictures: int = 24, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX, codec: str = "libx264"
) -> Segment:
    data = _coded("mpegts", {}, seed, pictures, width_px, height_px, codec)
    return Segment(init=b"", data=data, picture=picture(seed, width_px, height_px))


@functools.cache
def fragment(seed: int = 1, *, pictures: int = 24, flags: str = "frag_keyframe") -> Segment:
    movflags = f"{flags}+empty_moov+default_base_moof"
    data = _coded("mp4", {"movflags": movflags}, seed, pictures, WIDTH_PX, HEIGHT_PX, "libx264")
    cut = data.index(b"moof") - 4
    end = data.rindex(b"mfra") - 4
    return Segment(init=data[:cut], data=data[cut:end], picture=picture(seed))


def _coded(
    container: str, options: dict[str, str], seed: int, pictures: int, width_px: int, height_px: int, codec: str
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options) as output:
        video = output.add_stream(
            codec,
            rate=12,
            options={
                "g": "24",
                "sc_threshold": "0",
                "threads": "1",
                "preset": "veryfast",
            },
        )
        video.width, video.height, video.pix_fmt = width_px, height_px, "yuv420p"
        sound = output.add_stream("aac", rate=48_000)
        first = picture(seed, width_px, height_px)
        for index in range(pictures):
            shown = av.VideoFrame.from_ndarray(np.roll(first, index * 4, axis=1), format="rgb24")
            shown.pts = index
            output.mux(video.encode(shown))
            for part in range(4):
                heard = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
                heard.sample_rate = 48_000
                heard.pts = (index * 4 + part) * 1024
                for plane in heard.planes:
                    plane.update(bytes(plane.buffer_size))
                output.mux(sound.encode(heard))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    return buffer.getvalue()


def annex_b(seed: int, *, pictures: int = 3) -> list[bytes]:
    """Access units as the encoder gives them: parameter sets with the first, no delimiters."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
    encoder.time_base = Fraction(1, 12)
    encoder.options = {"tune": "zerolatency", "threads": "1", "x264-params": "slices=3"}
    units = []
    for index in range(pictures):
        shown = av.VideoFrame.from_ndarray(np.roll(picture(seed), index * 4, axis=1), format="rgb24")
        shown.pts = index
        units += [bytes(packet) for packet in encoder.encode(shown)]
    return units + [bytes(packet) for packet in encoder.encode(None)]
