"""What the stem makes of every frame and of its augmented views, computed once and kept.

The stem is never trained, so its activations are the same in every epoch, every rotation and every held-out
fold. Keeping them turns an epoch on two processor cores from minutes into seconds; the price is that a frame
has a fixed number of augmented views instead of a new one each time, and room: in memory as long as they fit in half
of what is free, mapped from the disk else.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from training.pipeline.augment import augment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

    from training.config import TrainConfig
    from training.data.split import Rows
    from training.pipeline.shards import Activations, Inputs, PackedFrames

_BATCH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptViews:
    """Examples that are a stem's activations.

    Attributes:
        views: float16[frames, height, width, channels] of the frames as they are, then of their augmented views.
        with_overlays: the same of the frames with the test's overlays.
        plain_share: share of the training examples that are of the frames as they are.
    """

    views: tuple[Activations, ...]
    with_overlays: Activations
    plain_share: float

    def plain(self, rows: Rows) -> Inputs:
        """float32[rows, height, width, channels]."""
        return self.views[0][rows].astype(np.float32)

    def overlaid(self, rows: Rows) -> Inputs:
        """float32[rows, height, width, channels]."""
        return self.with_overlays[rows].astype(np.float32)

    def training(self, row: int, rng: np.random.Generator) -> Inputs:
        """float16[height, width, channels]."""
        plain = len(self.views) == 1 or rng.random() < self.plain_share
        shown: Inputs = self.views[0 if plain else int(rng.integers(1, len(self.views)))][row]
        return shown


def kept_views(
    frames: PackedFrames,
    stem: keras.Model,
    directory: Path,
    *,
    config: TrainConfig,
    progress: Callable[[int, int], None],
) -> KeptViews:
    """Compute the activations of a data set, or find them.

    Args:
        frames: the data set.
        stem: of the network of `config`.
        directory: where activations are kept and looked for.
        config: says how many views, and what they look like.
        progress: is told how many of how many views are done.
    """
    draws: dict[str, Callable[[int], npt.NDArray[np.uint8]]] = {
        "plain": frames.picture,
        "overlaid": frames.overlaid_picture,
    }
    for view in range(1, config.views + 1):

        def augmented(row: int, view: int = view) -> npt.NDArray[np.uint8]:
            rng = np.random.default_rng([config.seed, view, row])
            return frames.picture(row) if config.augment is None else augment(frames.picture(row), rng, config.augment)

        draws[f"view-{view}"] = augmented
    paths = {}
    for done, (name, draw) in enumerate(draws.items()):
        progress(done, len(draws))
        paths[name] = _computed(frames, stem, directory, name=name, draw=draw, config=config)
    progress(len(draws), len(draws))
    # Whole if it may be: training reads rows in random order, which a system short of page cache fetches from disk.
    fits = sum(path.stat().st_size for path in paths.values()) < _free_bytes() / 2
    read = {name: np.load(path, mmap_mode=None if fits else "r") for name, path in paths.items()}
    return KeptViews(
        views=tuple(activations for name, activations in read.items() if name != "overlaid"),
        with_overlays=read["overlaid"],
        plain_share=config.plain_share,
    )


def _free_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        # Not every system says.
        return 8 * 1024**3


def _computed(
    frames: PackedFrames,
    stem: keras.Model,
    directory: Path,
    *,
    name: str,
    draw: Callable[[int], npt.NDArray[np.uint8]],
    config: TrainConfig,
) -> Path:
    path = directory / f"{name}-{_fingerprint(frames, config)}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npy")
        _compute(frames, stem, unfinished, draw)
        unfinished.rename(path)
    return path


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
        config.network,
        config.input_height_px,
        config.input_width_px,
        config.augment,
        config.seed,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
