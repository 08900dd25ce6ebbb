"""How fast training gets its pictures, beside Keras' way with P2's settings: `python benchmarks/pipeline.py`.

P2's way: JPEG files of 240 × 240 through `keras.utils.image_dataset_from_directory` in batches of 16, a shuffle of 250
and a prefetch of 1, decoded anew every epoch. Ours: the same pictures as 320 × 180 in uint8 shards that were decoded
once, read by `FrameBatches`; as they are, and augmented. Both are only read, then a small network trains on them. What
it waits for data is the share of a step's time that goes away when it is given one and the same batch again and again.

The pictures are those of the demo's clips, every tenth frame. Both sides take turns within each round; medians.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import av
import cv2
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from core.quiet import quiet_native_stderr

if TYPE_CHECKING:
    import tensorflow as tf

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_native_stderr():
    import keras

    from training.config import Balance
    from training.data.folders import list_frames
    from training.pipeline.augment import AugmentConfig
    from training.pipeline.shards import FrameBatches, PackedFrames, Pictures, pack

Batch: TypeAlias = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]
CLIPS = Path(__file__).parents[1] / "demo" / "clips"
BATCH = 16
SHUFFLE = 250
SIDE_PX = 240
EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to read, and what it came to in each round."""

    name: str
    read: list[float]
    trained: list[float]
    waited: list[float]


def write_pictures(stored: Path, squashed: Path) -> int:
    """The clips' pictures as both ways keep them; how many there are."""
    count = 0
    for clip in sorted(CLIPS.glob("*.mp4")):
        game, stream = clip.stem.split("__")
        with av.open(str(clip)) as video:
            for number, frame in enumerate(itertools.islice(video.decode(video=0), 0, None, EVERY)):
                picture = frame.to_ndarray(format="bgr24")
                for path, size in (
                    (stored / game / stream / f"{number:04}.jpg", (320, 180)),
                    (squashed / game / f"{stream}_{number:04}.jpg", (SIDE_PX, SIDE_PX)),
                ):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
                count += 1
    return count


def as_p2(squashed: Path) -> tf.data.Dataset:
    """The data set as P2 reads it."""
    dataset = keras.utils.image_dataset_from_directory(
        squashed, image_size=(SIDE_PX, SIDE_PX), batch_size=None, seed=123, label_mode="categorical", verbose=False
    )
    return dataset.shuffle(SHUFFLE).batch(BATCH, drop_remainder=True).prefetch(1)


def as_we_do(frames: PackedFrames, *, augmented: bool) -> FrameBatches:
    """The data set as `training run` reads it, with as many threads as there are processors."""
    return FrameBatches(
        Pictures(frames=frames, augment=AugmentConfig() if augmented else None, plain_share=0.0),
        labels=frames.labels,
        streams=frames.streams,
        rows=np.arange(len(frames)),
        games=len(frames.games),
        batch_size=BATCH,
        balance=Balance.NONE,
        blended_share=0.0,
        seed=0,
        threads=os.cpu_count() or 1,
    )


class Again(keras.utils.PyDataset):
    """One batch, as often as an epoch has batches: what training takes when it never waits."""

    def __init__(self, batch: Batch, count: int) -> None:
        super().__init__()
        self._batch = batch
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Batch:
        return self._batch


def read(batches: tf.data.Dataset | FrameBatches) -> Batch:
    """Read an epoch and nothing else; its last batch."""
    if isinstance(batches, FrameBatches):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            *_, (inputs, targets, _) = pool.map(batches.__getitem__, range(len(batches)))
        return inputs, targets
    *_, last = ((np.asarray(pictures), np.asarray(targets)) for pictures, targets in batches)
    return last


def network(shape: tuple[int, ...], games: int) -> keras.Model:
    """P4's first network, on pictures of either shape scaled to its own size."""
    frames = keras.Input(shape, dtype="uint8")
    seen = keras.layers.Resizing(112, 200)(keras.layers.Rescaling(1 / 255)(frames))
    for filters in (32, 32, 64):
        seen = keras.layers.MaxPooling2D()(keras.layers.Conv2D(filters, 3, activation="relu")(seen))
    logits = keras.layers.Dense(games)(keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(seen)))
    model = keras.Model(frames, logits)
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


def measure(side: Side, batches: tf.data.Dataset | FrameBatches, model: keras.Model) -> None:
    """Read an epoch, train on one, and train as many steps on one batch."""
    steps = len(batches)
    began = time.perf_counter()
    batch = read(batches)
    side.read.append(steps * BATCH / (time.perf_counter() - began))
    again = Again(batch, steps)
    # Once unmeasured: the first step of either kind is also its compilation.
    model.fit(again, verbose=0, steps_per_epoch=1)
    took = []
    for data in (batches, again):
        began = time.perf_counter()
        model.fit(data, verbose=0)
        took.append(time.perf_counter() - began)
    side.trained.append(steps * BATCH / took[0])
    side.waited.append(max(0.0, 1 - took[1] / took[0]))


def main(rounds: Annotated[int, typer.Option(min=1)] = 3) -> None:
    """Print images per second of both ways, read alone and in training, and what the network waits."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        stored, squashed, shards = (Path(folder) / name for name in ("stored", "squashed", "shards"))
        count = write_pictures(stored, squashed)
        began = time.perf_counter()
        frames = pack(list_frames(stored), shards, progress=lambda done, total: None)
        packed_s = time.perf_counter() - began
        games = len(frames.games)
        p2 = Side(name="image_dataset_from_directory, P2's settings", read=[], trained=[], waited=[])
        ours = Side(name="uint8 shards, FrameBatches", read=[], trained=[], waited=[])
        augmented = Side(name="the same, each picture augmented", read=[], trained=[], waited=[])
        square, wide = network((SIDE_PX, SIDE_PX, 3), games), network((180, 320, 3), games)
        for _ in range(rounds):
            measure(p2, as_p2(squashed), square)
            measure(ours, as_we_do(frames, augmented=False), wide)
            measure(augmented, as_we_do(frames, augmented=True), wide)
    table = Table("", "read, images/s", "times P2's", "in training, images/s", "waits for data")
    for side in (p2, ours, augmented):
        read, trained, waited = (statistics.median(each) for each in (side.read, side.trained, side.waited))
        table.add_row(
            *(side.name, f"{read:,.0f}", f"{read / statistics.median(p2.read):.1f}"),
            *(f"{trained:,.0f}", f"{waited:.0%}"),
        )
    console.print(table)
    console.print(
        f"{count} pictures, batches of {BATCH}, {os.cpu_count()} processors, Keras on {keras.backend.backend()}; "
        f"decoding them into shards, once, took {packed_s:.1f} s ({count / packed_s:,.0f} a second)",
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
