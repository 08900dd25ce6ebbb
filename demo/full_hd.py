"""A broadcast as large as real ones, for benchmarks: 1080p60 at 6 Mbit/s, and its 360p rendition.

Made from a small bundled clip, because no large one could be bundled: enlarged, with in-between pictures to reach
60 a second and with film grain, so that the encoder has fine detail to spend its bits on as it has in a real
broadcast. The clip is played once and then again from one second on, which gives other keyframes. Encoding takes
a minute or more; the result is kept in the user's cache directory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from demo.footage import KEYFRAME_INTERVAL_S, bundled_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_EDITION = 1
"""Part of the cache's name: raise it when anything below changes the films."""

_FPS = 60
_SOURCE_FPS = 30
_PLAYED_S = 20
_AGAIN_FROM_S = 1
_AGAIN_S = 18
_SOURCE_PICTURES = (_PLAYED_S + _AGAIN_S) * _SOURCE_FPS

_P1080_OPTIONS = {
    # Twitch's guidelines for broadcasters ask for 6000 kbit/s, constant, with a keyframe every two seconds.
    "preset": "superfast",
    "b": "5850k",
    "minrate": "5850k",
    "maxrate": "5850k",
    "bufsize": "5850k",
    "nal-hrd": "cbr",
    "sc_threshold": "0",
}
_P360_OPTIONS = {
    # With its sound, Twitch's transcodes of this size declare 630 kbit/s, constant.
    "preset": "fast",
    "b": "600k",
    "maxrate": "600k",
    "bufsize": "600k",
    "sc_threshold": "0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FullHdFilms:
    """The same 38 s in two qualities: MP4 files, a keyframe every 2 s."""

    p1080: bytes
    p360: bytes


def full_hd_films(clip: str, *, cache: Path | None = None) -> FullHdFilms:
    """The films of a clip: from the cache, or made now, which takes a minute or more.

    Args:
        clip: a bundled clip of 30 pictures a second.
        cache: the directory to keep films in; None takes the user's cache directory.

    Raises:
        FileNotFoundError: there is no such clip.
    """
    place = (cache if cache is not None else _user_cache()) / f"full-hd-{_EDITION}-{clip}"
    films = _read(place)
    if films is None:
        films = make_full_hd_films(bundled_clip(clip), progress=_show_progress)
        _write(place, films)
    return films


def make_full_hd_films(clip: bytes, *, progress: Callable[[float], None]) -> FullHdFilms:
    """Encode both films of a clip.

    Args:
        clip: MP4 with 30 pictures a second, at least 20 s.
        progress: is told the finished share, 0 to 1.
    """
    large, small = io.BytesIO(), io.BytesIO()
    grain = _grain()
    with (
        av.open(large, "w", format="mp4") as large_file,
        av.open(small, "w", format="mp4") as small_file,
    ):
        p1080 = _add_video(large_file, width_px=1920, height_px=1080, fps=_FPS, options=_P1080_OPTIONS)
        p360 = _add_video(small_file, width_px=640, height_px=360, fps=_SOURCE_FPS, options=_P360_OPTIONS)
        before: npt.NDArray[np.uint8] | None = None
        for index, frame in enumerate(_play(clip)):
            small_file.mux(p360.encode(_frame(_planes(frame, width_px=640, height_px=360))))
            picture = _planes(frame, width_px=1920, height_px=1080)
            between = picture if before is None else cv2.addWeighted(before, 0.5, picture, 0.5, 0.0)
            before = picture
            for step, drawn in enumerate((np.asarray(between, dtype=np.uint8), picture)):
                large_file.mux(p1080.encode(_frame(_grained(drawn, grain, 2 * index + step))))
            if index % _SOURCE_FPS == 0:
                progress(index / _SOURCE_PICTURES)
        large_file.mux(p1080.encode(None))
        small_file.mux(p360.encode(None))
    progress(1.0)
    return FullHdFilms(p1080=large.getvalue(), p360=small.getvalue())


def _play(clip: bytes) -> Iterator[av.VideoFrame]:
    for start_s, length_s in ((0, _PLAYED_S), (_AGAIN_FROM_S, _AGAIN_S)):
        first = start_s * _SOURCE_FPS
        with av.open(io.BytesIO(clip), "r", options={"ignore_editlist": "1"}) as source:
            for index, frame in enumerate(source.decode(source.streams.video[0])):
                if index >= first + length_s * _SOURCE_FPS:
                    break
                if index >= first:
                    yield frame


def _add_video(
    target: OutputContainer, *, width_px: int, height_px: int, fps: int, options: Mapping[str, str]
) -> VideoStream:
    stream = target.add_stream("libx264", rate=fps)
    stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
    stream.options = dict(options)
    stream.gop_size = fps * KEYFRAME_INTERVAL_S
    return stream


def _planes(frame: av.VideoFrame, *, width_px: int, height_px: int) -> npt.NDArray[np.uint8]:
    resized = frame.reformat(width=width_px, height=height_px, format="yuv420p")
    return np.asarray(resized.to_ndarray(), dtype=np.uint8)


def _frame(planes: npt.NDArray[np.uint8]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _grain() -> npt.NDArray[np.int8]:
    """Noise of brightness, larger than a picture so that it can be laid over it at many places."""
    noise = np.random.default_rng(11).normal(0.0, 2.0, (1080 + 64, 1920 + 64))
    return noise.round().astype(np.int8)


def _grained(planes: npt.NDArray[np.uint8], grain: npt.NDArray[np.int8], index: int) -> npt.NDArray[np.uint8]:
    top, left = (index * 37) % 64, (index * 23) % 64
    bright = planes[:1080]
    noisy = cv2.add(bright, grain[top : top + 1080, left : left + 1920], dtype=cv2.CV_8U)
    return np.concatenate((np.asarray(noisy, dtype=np.uint8), planes[1080:]))


# The cache: a directory a clip, with the checksums of its two files


def _user_cache() -> Path:
    """The directory of the XDG Base Directory Specification, on every system."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "gamespotter"


def _read(place: Path) -> FullHdFilms | None:
    """What the cache holds, or None when it is missing or was damaged."""
    try:
        sums = json.loads((place / "sha256.json").read_text("utf-8"))
        films = FullHdFilms(p1080=(place / "1080p60.mp4").read_bytes(), p360=(place / "360p30.mp4").read_bytes())
    except (OSError, ValueError):
        return None
    return films if sums == _sums(films) else None


def _write(place: Path, films: FullHdFilms) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{place.name}.", dir=place.parent) as name:
            beside = Path(name) / "films"
            beside.mkdir()
            (beside / "1080p60.mp4").write_bytes(films.p1080)
            (beside / "360p30.mp4").write_bytes(films.p360)
            (beside / "sha256.json").write_text(json.dumps(_sums(films)), "utf-8")
            shutil.rmtree(place, ignore_errors=True)
            beside.rename(place)
    except OSError as error:
        # Films that cannot be kept are as good as others; another process may just have kept its own.
        print(f"The 1080p60 films could not be kept in {place}: {error}", file=sys.stderr)


def _sums(films: FullHdFilms) -> dict[str, str]:
    return {
        "1080p60.mp4": hashlib.sha256(films.p1080).hexdigest(),
        "360p30.mp4": hashlib.sha256(films.p360).hexdigest(),
    }


def _show_progress(share: float) -> None:
    if not sys.stderr.isatty() and 0 < share < 1:
        return  # a log needs no moving figure
    end = "\n" if share >= 1 else ""
    print(f"\rMaking a 1080p60 broadcast (kept for the next time): {share:4.0%}", end=end, file=sys.stderr)
    sys.stderr.flush()
