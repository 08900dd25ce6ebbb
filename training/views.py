"""What the stem makes of every frame and of its augmented views, computed once and kept.

The stem is never trained, so its activations are the same in every epoch, every rotation and every held-out
fold. Keeping them turns an epoch on two processor cores from minutes into seconds; the price is that a frame
has a fixed number of augmented views instead of a new one each time.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from training.augment import augment
from training.overlays import with_overlays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

    from training.config import TrainConfig
    from training.pipeline import Activations, PackedFrames

_BATCH = 64


def training_views(
    frames: PackedFrames,
    stem: keras.Model,
    directory: Path,
    *,
    config: TrainConfig,
    progress: Callable[[int, int], None],
) -> tuple[Activations, ...]:
    """The frames as they are, then `config.views` augmented views of them; each in the order of the frames.

    Args:
        frames: the data set.
        stem: of the network of `config`.
        directory: where activations are kept and looked for.
        config: says how many views, and what they look like.
        progress: is told how many of how many views are done.
    """

    def plain(row: int) -> npt.NDArray[np.uint8]:
        return frames.picture(row)

    kept = [_kept(frames, stem, directory, name="plain", draw=plain, config=config)]
    progress(1, config.views + 1)
    for view in range(1, config.views + 1):

        def augmented(row: int, view: int = view) -> npt.NDArray[np.uint8]:
            return augment(frames.picture(row), np.random.default_rng([config.seed, view, row]), config.augment)

        kept.append(_kept(frames, stem, directory, name=f"view-{view}", draw=augmented, config=config))
        progress(view + 1, config.views + 1)
    return tuple(kept)


def overlaid_view(frames: PackedFrames, stem: keras.Model, directory: Path, *, config: TrainConfig) -> Activations:
    """The frames with the test's overlays on them; for `evaluate` alone."""

    def overlaid(row: int) -> npt.NDArray[np.uint8]:
        return with_overlays(frames.picture(row), stream=str(frames.streams[row]), index=row)

    return _kept(frames, stem, directory, name="overlaid", draw=overlaid, config=config)


def _kept(
    frames: PackedFrames,
    stem: keras.Model,
    directory: Path,
    *,
    name: str,
    draw: Callable[[int], npt.NDArray[np.uint8]],
    config: TrainConfig,
) -> Activations:
    path = directory / f"{name}-{_fingerprint(frames, config)}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npy")
        _compute(frames, stem, unfinished, draw)
        unfinished.rename(path)
    # Whole, not mapped: training reads rows in random order, which a system short of page cache fetches from disk.
    kept: Activations = np.load(path)
    return kept


def _compute(frames: PackedFrames, stem: keras.Model, path: Path, draw: Callable[[int], npt.NDArray[np.uint8]]) -> None:
    shape = (len(frames), *stem.output.shape[1:])

    def batch(start: int) -> npt.NDArray[np.uint8]:
        return np.stack([draw(row) for row in range(start, min(start + _BATCH, len(frames)))])

    header = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(np.dtype(np.float16))}
    # One batch is drawn while the one before is in the network; OpenCV lets go of the interpreter lock.
    # Written and not mapped: on a full disk writing fails with an exception, a mapping with SIGBUS.
    with path.open("wb") as file, ThreadPoolExecutor(max_workers=1) as drawer:
        np.lib.format.write_array_header_1_0(file, header)
        coming = drawer.submit(batch, 0)
        for start in range(0, len(frames), _BATCH):
            pictures = coming.result()
            if start + _BATCH < len(frames):
                coming = drawer.submit(batch, start + _BATCH)
            file.write(np.ascontiguousarray(stem.predict_on_batch(pictures), dtype=np.float16).tobytes())


def _fingerprint(frames: PackedFrames, config: TrainConfig) -> str:
    """Changes with the data set and with every part of the configuration that the stem or the views depend on."""
    parts = (
        frames.sha256,
        frames.names,
        config.backbone,
        config.weights,
        config.input_height_px,
        config.input_width_px,
        config.stem_end,
        config.augment,
        config.seed,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
