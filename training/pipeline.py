"""Decode once, into uint8 memory-mapped shards; read batches of them with `keras.utils.PyDataset`.

Decoding JPEG is what keeps a training waiting, a memory map of decoded frames is not. Nothing here knows which
backend Keras runs on.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from core.errors import DataSetError
from core.frames import IMAGE_CONVENTION, decode_jpeg, to_stored
from training.folders import FrameFile, Listing, without

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.games import Game
    from training.split import Part, Rows

Pictures: TypeAlias = npt.NDArray[np.uint8]
"""uint8[n, 180, 320, 3], RGB."""
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
    shards: tuple[Pictures, ...]
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


class FrameBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Training examples, drawn so that every game and every stream of it counts the same, however long it was recorded.

    Each item is (activations float32[batch, ...], targets float32[batch, games]). `views[0]` holds the frames
    as they are, the others augmented views of the same frames in the same order. The first `blended_share` of
    a batch are blends of two games' activations, with a target that is the same for every game.
    """

    def __init__(
        self,
        views: Sequence[Activations],
        *,
        labels: Labels,
        streams: npt.NDArray[np.str_],
        rows: Rows,
        games: int,
        batch_size: int,
        plain_share: float,
        blended_share: float,
        seed: int,
    ) -> None:
        super().__init__()
        self._views = views
        self._rows_of_streams_of_games = [
            [
                of_game[streams[of_game] == stream]
                for of_game in [rows[labels[rows] == game]]
                for stream in np.unique(streams[of_game])
            ]
            for game in range(games)
        ]
        self._examples = len(rows)
        self._batch_size = batch_size
        self._plain_share = plain_share
        self._blended = round(blended_share * batch_size)
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        """Batches in an epoch, which shows as many examples as there are frames."""
        return max(1, self._examples // self._batch_size)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One batch; depends on the seed, the epoch and `index` alone, in whatever order batches are asked for."""
        rng = np.random.default_rng([self._seed, self._epoch, index])
        games = rng.integers(len(self._rows_of_streams_of_games), size=self._batch_size)
        examples = []
        for game in games:
            streams = self._rows_of_streams_of_games[game]
            stream = streams[rng.integers(len(streams))]
            row = stream[rng.integers(len(stream))]
            plain = len(self._views) == 1 or rng.random() < self._plain_share
            view = 0 if plain else int(rng.integers(1, len(self._views)))
            examples.append(self._views[view][row])
        activations = np.stack(examples).astype(np.float32)
        targets = np.eye(len(self._rows_of_streams_of_games), dtype=np.float32)[games]
        plain_activations = activations.copy()
        for place in range(self._blended):
            partners = np.flatnonzero(games != games[place])
            if partners.size:
                share = np.float32(rng.uniform(0.35, 0.65))
                other = plain_activations[rng.choice(partners)]
                activations[place] = share * plain_activations[place] + (1 - share) * other
                targets[place] = 1.0 / targets.shape[1]
        return activations, targets

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's draws."""
        self._epoch += 1


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
