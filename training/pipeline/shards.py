"""Decode once, into uint8 memory-mapped shards; read batches of them with `keras.utils.PyDataset`.

Decoding JPEG is what keeps a training waiting, a memory map of decoded frames is not. Nothing here knows which
backend Keras runs on.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from core.errors import DataSetError
from core.frames import IMAGE_CONVENTION, decode_jpeg, to_stored
from training.config import Balance
from training.data.folders import FrameFile, Listing, without
from training.pipeline.augment import augment
from training.pipeline.overlays import with_overlays

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.games import Game
    from training.data.split import Part, Rows
    from training.pipeline.augment import AugmentConfig

Inputs: TypeAlias = npt.NDArray[np.generic]
"""What a network takes: pictures, or a stem's activations."""
Labels: TypeAlias = npt.NDArray[np.int64]
"""int64[n]: numbers of games."""
Activations: TypeAlias = npt.NDArray[np.float16]
"""float16[n, height, width, channels]: what the stem made of n frames."""

_FRAMES_PER_SHARD = 1024
_INDEX = "index.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFrames:
    """A data set, decoded.

    Attributes:
        games: what the labels number, in the order of their ids.
        names: ``game/stream/file`` of each frame.
        streams: the stream of each frame.
        units: of each frame, what no split divides: its stream, or its broadcaster's unit.
        parts: that the data set gives each frame to; None where it gives none.
        labels: the game of each frame.
        shards: memory maps of the pictures, `_FRAMES_PER_SHARD` in each but the last.
        unreadable: files that were left out because they hold no readable picture.
        sha256: of the sorted list of the files' hashes: two equal data sets have one name.
    """

    games: tuple[Game, ...]
    names: tuple[str, ...]
    streams: npt.NDArray[np.str_]
    units: npt.NDArray[np.str_]
    parts: tuple[Part | None, ...]
    labels: Labels
    shards: tuple[npt.NDArray[np.uint8], ...]
    unreadable: tuple[str, ...]
    sha256: str

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.names)

    @property
    def game_ids(self) -> npt.NDArray[np.str_]:
        """The id of the game of each frame."""
        return np.array([game.id for game in self.games])[self.labels]

    def picture(self, row: int) -> npt.NDArray[np.uint8]:
        """uint8[180, 320, 3] of one frame."""
        return np.asarray(self.shards[row // _FRAMES_PER_SHARD][row % _FRAMES_PER_SHARD])

    def overlaid_picture(self, row: int) -> npt.NDArray[np.uint8]:
        """uint8[180, 320, 3] of one frame with the test's overlays on it; for judging alone."""
        return with_overlays(self.picture(row), stream=str(self.streams[row]), index=row)


def pack(listing: Listing, directory: Path, *, progress: Callable[[int, int], None]) -> PackedFrames:
    """Decode a listing into `directory`, or take what lies there if it was made from the same files.

    Args:
        listing: the files; one that cannot be decoded is left out and named in the result.
        directory: is made if it is missing.
        progress: is told how many of how many files are done.

    Raises:
        DataSetError: no file can be decoded.
    """
    directory.mkdir(parents=True, exist_ok=True)
    asked = _fingerprint(listing)
    index = _read_index(directory / _INDEX)
    if index is None or index.listing != asked:
        index = _decode(listing, directory, asked, progress)
    unreadable = frozenset(index.unreadable)
    kept = without(listing, frozenset(frame.path for frame in listing.frames if str(frame.path) in unreadable))
    if not kept.frames:
        raise DataSetError("Not one picture of the data set can be read.")
    number = {game.id: place for place, game in enumerate(kept.games)}
    shards = math.ceil(len(kept.frames) / _FRAMES_PER_SHARD)
    return PackedFrames(
        games=kept.games,
        names=tuple(f"{frame.stream}/{frame.path.name}" for frame in kept.frames),
        streams=np.array([frame.stream for frame in kept.frames]),
        units=np.array([frame.unit for frame in kept.frames]),
        parts=tuple(frame.part for frame in kept.frames),
        labels=np.array([number[frame.game] for frame in kept.frames], dtype=np.int64),
        shards=tuple(np.load(directory / _shard_name(shard), mmap_mode="r") for shard in range(shards)),
        unreadable=tuple(sorted(unreadable)),
        sha256=index.sha256,
    )


class Examples(Protocol):
    """What a network is shown, by the row of a frame: pictures, or what a stem made of them."""

    def plain(self, rows: Rows) -> Inputs:
        """[rows, ...]: the frames as they are."""
        ...

    def overlaid(self, rows: Rows) -> Inputs:
        """[rows, ...]: with the test's overlays on them; for judging alone."""
        ...

    def training(self, row: int, rng: np.random.Generator) -> Inputs:
        """[...]: one frame as it may be shown in training, augmented or not."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Examples that are pictures, uint8[180, 320, 3]; augmented anew each time they are shown.

    Attributes:
        frames: decoded.
        augment: what may be done to a picture; None for nothing.
        plain_share: share of the training examples that are shown as they are.
    """

    frames: PackedFrames
    augment: AugmentConfig | None
    plain_share: float

    def plain(self, rows: Rows) -> Inputs:
        """uint8[rows, 180, 320, 3]."""
        return np.stack([self.frames.picture(int(row)) for row in rows])

    def overlaid(self, rows: Rows) -> Inputs:
        """uint8[rows, 180, 320, 3]."""
        return np.stack([self.frames.overlaid_picture(int(row)) for row in rows])

    def training(self, row: int, rng: np.random.Generator) -> Inputs:
        """uint8[180, 320, 3]."""
        picture = self.frames.picture(row)
        if self.augment is None or rng.random() < self.plain_share:
            return picture
        return augment(picture, rng, self.augment)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Which part of every batch is this process's, where several train one network together."""

    process: int = 0
    processes: int = 1


class FrameBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Training examples in batches of (inputs [batch, ...], targets float32[batch, games], weights float32[batch]).

    With `Balance.DRAWN` every game, and every stream of it, is drawn equally often, however long it was recorded;
    else every frame is shown once an epoch. An epoch shows as many examples as there are frames, less an unfinished
    batch. The first `blended_share` of a batch are blends of two games, with a target that is the same for every game.

    A batch depends on the seed, the epoch and its number alone, in whatever order and from whatever thread batches
    are asked for, and whichever process asks for its share of it.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        labels: Labels,
        streams: npt.NDArray[np.str_],
        rows: Rows,
        games: int,
        batch_size: int,
        balance: Balance,
        blended_share: float,
        seed: int,
        first_epoch: int = 0,
        threads: int = 1,
        share: Share | None = None,
    ) -> None:
        super().__init__(workers=threads, max_queue_size=max(8, 2 * threads))
        self._examples = examples
        self._labels = labels
        self._rows = rows
        self._games = games
        self._rows_of_streams_of_games = [
            [
                of_game[streams[of_game] == stream]
                for of_game in [rows[labels[rows] == game]]
                for stream in np.unique(streams[of_game])
            ]
            for game in range(games)
        ]
        counts = np.maximum(np.bincount(labels[rows], minlength=games), 1)
        weighted = balance is Balance.WEIGHTED
        self._weights = (len(rows) / (games * counts) if weighted else np.ones(games)).astype(np.float32)
        self._balance = balance
        self._batch_size = min(batch_size, len(rows))
        self._blended = round(blended_share * self._batch_size)
        self._seed = seed
        self._epoch = first_epoch
        self._order = self._ordered()
        whole = share or Share()
        cuts = np.linspace(0, self._batch_size, whole.processes + 1).astype(int)
        self._mine = slice(int(cuts[whole.process]), int(cuts[whole.process + 1]))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return max(1, len(self._rows) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One batch, or this process's share of it."""
        rng = np.random.default_rng([self._seed, self._epoch, index])
        games, rows = self._drawn(rng) if self._balance is Balance.DRAWN else self._in_turn(index)
        # Each example has a generator of its own, so that a process draws its share only.
        seeds = rng.integers(2**63, size=self._batch_size)
        targets = np.eye(self._games, dtype=np.float32)[games]
        inputs = []
        for place in range(self._mine.start, self._mine.stop):
            mine = np.random.default_rng(seeds[place])
            shown = self._examples.training(int(rows[place]), mine)
            partners = np.flatnonzero(games != games[place]) if place < self._blended else np.zeros(0, dtype=int)
            if partners.size:
                partner = int(mine.choice(partners))
                # As the partner itself is shown in this batch.
                other = self._examples.training(int(rows[partner]), np.random.default_rng(seeds[partner]))
                shown = _blended(shown, other, share=float(mine.uniform(0.35, 0.65)))
                targets[place] = 1.0 / self._games
            inputs.append(shown)
        stacked = np.stack(inputs)
        if stacked.dtype == np.float16:
            stacked = stacked.astype(np.float32)
        return stacked, targets[self._mine], self._weights[games[self._mine]]

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's draws."""
        self._epoch += 1
        self._order = self._ordered()

    def _ordered(self) -> Rows:
        return np.random.default_rng([self._seed, self._epoch]).permutation(self._rows)

    def _in_turn(self, index: int) -> tuple[Labels, Rows]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._labels[rows], rows

    def _drawn(self, rng: np.random.Generator) -> tuple[Labels, Rows]:
        games = rng.integers(self._games, size=self._batch_size)
        rows = np.empty(self._batch_size, dtype=np.int64)
        for place, game in enumerate(games):
            streams = self._rows_of_streams_of_games[game]
            stream = streams[rng.integers(len(streams))]
            rows[place] = stream[rng.integers(len(stream))]
        return games, rows


def _blended(one: Inputs, other: Inputs, *, share: float) -> Inputs:
    blend = np.float32(share) * one.astype(np.float32) + np.float32(1 - share) * other.astype(np.float32)
    return np.asarray(np.rint(blend) if one.dtype == np.uint8 else blend, dtype=one.dtype)


class _Index(BaseModel):
    """What a directory of shards was made from."""

    listing: str
    sha256: str
    unreadable: tuple[str, ...]


def _shard_name(shard: int) -> str:
    return f"frames-{shard:04d}.npy"


def _read_index(path: Path) -> _Index | None:
    try:
        return _Index.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _fingerprint(listing: Listing) -> str:
    """Changes when a file is added, taken away, replaced or moved to another game or stream."""
    sum_ = hashlib.sha256(repr(IMAGE_CONVENTION).encode())
    for frame in listing.frames:
        state = frame.path.stat()
        sum_.update(f"{frame.stream}\0{frame.path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return sum_.hexdigest()


def _content(frame: FrameFile) -> bytes:
    data = frame.path.read_bytes()
    if frame.sha256 is not None and hashlib.sha256(data).hexdigest() != frame.sha256:
        raise ValueError("it is not the file that the manifest names")
    return data


def _decode(listing: Listing, directory: Path, asked: str, progress: Callable[[int, int], None]) -> _Index:
    (directory / _INDEX).unlink(missing_ok=True)
    hashes, unreadable = [], []
    waiting: list[npt.NDArray[np.uint8]] = []
    shard = 0
    for done, frame in enumerate(listing.frames, start=1):
        try:
            data = _content(frame)
            waiting.append(to_stored(decode_jpeg(data)))
            hashes.append(hashlib.sha256(data).hexdigest())
        except (OSError, ValueError):
            unreadable.append(str(frame.path))
        if len(waiting) == _FRAMES_PER_SHARD or (done == len(listing.frames) and waiting):
            np.save(directory / _shard_name(shard), np.stack(waiting))
            shard, waiting = shard + 1, []
        progress(done, len(listing.frames))
    whole = hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()
    index = _Index(listing=asked, sha256=whole, unreadable=tuple(unreadable))
    # Last, so that a directory that lacks it is known to be half made.
    (directory / _INDEX).write_text(index.model_dump_json())
    return index
