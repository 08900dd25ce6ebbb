"""Which stream is trained on, which one decides when to stop, and which one is only ever judged; pure.

The unit is the stream, or the broadcaster where it is known whose it is: a stream's frames resemble each other (one
level, one overlay, one webcam), so a frame whose neighbour was trained on tells how well a network remembers.
`by_random_frame` makes exactly that mistake on purpose, to print its figure beside the honest one.

Streams are put in the order of a hash of their names and dealt out in turn, game by game, so that every game
gets its share of every part however few streams it has. The result depends on nothing but the names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from core.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Rows: TypeAlias = npt.NDArray[np.int64]
"""int64[n]: numbers of frames in the order of the listing, ascending."""

ROTATIONS = 5
"""In so many hands a data set without parts is dealt; the first one is its test part."""


class Part(StrEnum):
    """What a part of a data set is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Three parts of a data set that share no frame and, but for `by_random_frame`, no stream."""

    train: Rows
    validation: Rows
    test: Rows


def by_stream(streams: Sequence[str], games: Sequence[str], *, rotation: int, rotations: int) -> Split:
    """Deal every game's streams into `rotations` hands; one is the test, one stream of the rest is validation.

    Over all rotations every stream is in the test exactly once.

    Args:
        streams: the stream of each frame, or what else is not to be divided; it may show several games.
        games: the game of each frame.
        rotation: which hand is the test, 0 to `rotations` - 1.
        rotations: how many hands there are; at least 2.

    Raises:
        DataSetError: a game would be missing in one of the parts.
    """
    hand_of: dict[str, int] = {}
    validation: set[str] = set()
    for game, names in _streams_of_games(streams, games).items():
        # Games begin at different hands, so that six streams in five hands do not all make hand 0 the large one.
        first = _hash(game) % rotations
        hands = {name: hand_of.get(name, (first + place) % rotations) for place, name in enumerate(names)}
        hand_of.update(hands)
        rest = [name for name in names if hands[name] != rotation]
        if len(rest) == len(names):
            # Fewer streams than hands: this game sits this rotation's test out.
            validation.add(rest[rotation % len(rest)])
            continue
        if len(rest) < 2:
            raise DataSetError(f"{game} has too few streams to be in training, validation and test.")
        after = [name for name in rest if hands[name] == (rotation + 1) % rotations]
        if validation.isdisjoint(rest):
            validation.add((after or rest)[0])
    tested = {name for name, hand in hand_of.items() if hand == rotation}
    return _with_all_games_trained(_parts(streams, validation=validation, test=tested), games)


def all_but_validation(streams: Sequence[str], games: Sequence[str]) -> Split:
    """For a model that will be used: one stream of each game decides when to stop, all others are trained on."""
    validation: set[str] = set()
    for names in _streams_of_games(streams, games).values():
        if validation.isdisjoint(names):
            validation.add(names[0])
    return _with_all_games_trained(_parts(streams, validation=validation, test=set()), games)


def as_given(parts: Sequence[Part | None], games: Sequence[str]) -> Split | None:
    """The split that the data set brings with it; None when it brings none, or only some of the parts.

    Args:
        parts: of each frame.
        games: the game of each frame.

    Raises:
        DataSetError: a game is not trained on, or not validated.
    """
    given = np.array([part or "" for part in parts])
    if set(given.tolist()) != {part.value for part in Part}:
        return None
    split = Split(**{part.value: np.flatnonzero(given == part.value) for part in Part})
    for rows, name in ((split.train, "training"), (split.validation, "validation")):
        missing = sorted(set(games) - {games[row] for row in rows})
        if missing:
            raise DataSetError(f"The data set's {name} part has no frame of {', '.join(missing)}.")
    return split


def by_random_frame(frames: Sequence[str], *, rotation: int, rotations: int) -> Split:
    """The careless split: every frame for itself, by the hash of its name.

    Args:
        frames: a unique name of each frame.
        rotation: as in `by_stream`.
        rotations: as in `by_stream`.
    """
    hands = np.array([_hash(name) % rotations for name in frames])
    test, validation = hands == rotation, hands == (rotation + 1) % rotations
    return Split(
        train=np.flatnonzero(~test & ~validation), validation=np.flatnonzero(validation), test=np.flatnonzero(test)
    )


def by_author(split: Split, streams: Sequence[str], *, game: str, tested: str) -> Split:
    """A split in which all streams of one author of one game are the test, and no other stream is.

    Args:
        split: decides about all streams but this game's; what it tests is trained on here.
        streams: the stream of each frame.
        game: the game that several authors recorded.
        tested: what the names of the tested author's streams begin with.

    Raises:
        DataSetError: one of the two sides would be empty.
    """
    test = np.array([name.startswith(f"{game}/{tested}") for name in streams])
    other = sorted(
        {name for name in streams if name.startswith(f"{game}/") and not name.startswith(f"{game}/{tested}")}
    )
    if not test.any() or len(other) < 2:
        raise DataSetError(f"{game} has no streams of {tested!r} to test on, or too few of others to train on.")
    of_game = np.array([name.startswith(f"{game}/") for name in streams])
    chosen = min(other, key=_hash)
    validation = np.zeros(len(streams), dtype=bool)
    validation[split.validation] = True
    validation = np.where(of_game, np.array([name == chosen for name in streams]), validation)
    return Split(
        train=np.flatnonzero(~test & ~validation), validation=np.flatnonzero(validation), test=np.flatnonzero(test)
    )


def held_out_games(games: Sequence[str], *, fold: int, folds: int) -> tuple[str, ...]:
    """The games that a fold never trains on: every `folds`-th in alphabetical order.

    Related games often share the beginning of their names, so this spreads a family over the folds: each of
    its members is held out while the others are known, which is the hard case.
    """
    return tuple(sorted(set(games))[fold::folds])


def _with_all_games_trained(split: Split, games: Sequence[str]) -> Split:
    missing = sorted(set(games) - {games[row] for row in split.train})
    if missing:
        raise DataSetError(f"{missing[0]} has too few streams to be in training, validation and test.")
    return split


def _parts(streams: Sequence[str], *, validation: set[str], test: set[str]) -> Split:
    names = np.asarray(streams)
    is_test = np.isin(names, sorted(test))
    is_validation = np.isin(names, sorted(validation))
    return Split(
        train=np.flatnonzero(~is_test & ~is_validation),
        validation=np.flatnonzero(is_validation),
        test=np.flatnonzero(is_test),
    )


def _streams_of_games(streams: Sequence[str], games: Sequence[str]) -> Mapping[str, list[str]]:
    found: dict[str, set[str]] = {}
    for stream, game in zip(streams, games, strict=True):
        found.setdefault(game, set()).add(stream)
    return {game: sorted(names, key=_hash) for game, names in sorted(found.items())}


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
