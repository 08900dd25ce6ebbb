"""Which part of a data set each picture goes to, and which pictures go to none. Pure.

1. Broadcasters go to training, validation or test by a stable hash: who was tested stays tested in later data sets.
2. Broadcasters who share nearly equal pictures go together, as one unit; the strongest ties first, and no unit may come
   to hold more than a third of a game's broadcasters: a title screen that all of them show would make them one.
3. A game that a part lacks, and that has broadcasters to give, gets some there.
4. Where two parts still show nearly the same picture, the part that it matters less to gives it up: the test what was
   trained on, the validation what is trained on or tested.

So no two pictures of different parts are ever nearly the same.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.data.duplicates import near_pairs
from training.data.split import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from training.data.duplicates import Pairs

_ORDER = (Part.TRAIN, Part.TEST, Part.VALIDATION)
"""Who keeps a picture that two parts show: the first of them."""

_LARGEST_SHARE = 1 / 3


@dataclass(frozen=True, kw_only=True, slots=True)
class DivisionRule:
    """How to divide.

    Attributes:
        near_bits: pictures whose perceptual hashes differ by at most so many bits are nearly the same; see
            :mod:`core.collection.waiting` for what 4 means.
        test_share: of the broadcasters.
        validation_share: of the broadcasters.
    """

    near_bits: int = 4
    test_share: float = 0.15
    validation_share: float = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What the division looks at."""

    broadcaster: str
    game: str
    perceptual_hash: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """What became of the pictures, in their order.

    Attributes:
        parts: where each goes; None for those that are given up.
        units: by broadcaster: the name of the unit that they belong to, which is that of its first member.
    """

    parts: tuple[Part | None, ...]
    units: dict[str, str]


def divide(pictures: Sequence[Picture], rule: DivisionRule) -> Division:
    """Divide pictures; the result does not depend on their order."""
    if not pictures:
        return Division(parts=(), units={})
    names = sorted({picture.broadcaster for picture in pictures})
    number = {name: place for place, name in enumerate(names)}
    # A broadcaster's equal hashes are one item.
    items = sorted({(picture.perceptual_hash, number[picture.broadcaster]) for picture in pictures})
    owners = np.array([owner for _, owner in items], dtype=np.int64)
    hashes = np.array([hashed for hashed, _ in items], dtype=np.uint64)
    pairs = near_pairs(hashes, owners, bits=rule.near_bits)
    games: dict[int, set[str]] = defaultdict(set)
    for picture in pictures:
        games[number[picture.broadcaster]].add(picture.game)
    unit_of = _units(len(names), owners[pairs], games)
    games_of_units: dict[int, set[str]] = defaultdict(set)
    for owner, unit in enumerate(unit_of):
        games_of_units[unit] |= games[owner]
    part_of = _parts(games_of_units, names, rule)
    parts_of_items = np.array([_ORDER.index(part_of[unit_of[owner]]) for owner in owners])
    given_up = _given_up(pairs, parts_of_items)
    place_of = {item: place for place, item in enumerate(items)}

    def part(picture: Picture) -> Part | None:
        place = place_of[picture.perceptual_hash, number[picture.broadcaster]]
        return None if given_up[place] else _ORDER[parts_of_items[place]]

    return Division(
        parts=tuple(part(picture) for picture in pictures),
        units={name: names[unit_of[owner]] for owner, name in enumerate(names)},
    )


def _units(owners: int, ties: Pairs, games: dict[int, set[str]]) -> list[int]:
    """The unit of each owner, called by its first member: union-find, the strongest ties first."""
    of_game: dict[str, int] = defaultdict(int)
    for owner in range(owners):
        for game in games[owner]:
            of_game[game] += 1
    parent = list(range(owners))
    held: list[dict[str, int]] = [dict.fromkeys(games[owner], 1) for owner in range(owners)]

    def root(owner: int) -> int:
        while parent[owner] != owner:
            parent[owner] = parent[parent[owner]]
            owner = parent[owner]
        return owner

    tied, strength = np.unique(np.sort(ties, axis=1), axis=0, return_counts=True)
    for place in np.lexsort((tied[:, 1], tied[:, 0], -strength)):
        one, other = sorted((root(int(tied[place, 0])), root(int(tied[place, 1]))))
        if one == other:
            continue
        together = dict(held[one])
        for game, count in held[other].items():
            together[game] = together.get(game, 0) + count
        if all(count <= of_game[game] * _LARGEST_SHARE for game, count in together.items()):
            parent[other] = one
            held[one], held[other] = together, {}
    return [root(owner) for owner in range(owners)]


def _parts(games_of_units: dict[int, set[str]], names: Sequence[str], rule: DivisionRule) -> dict[int, Part]:
    drawn = {unit: _draw(names[unit]) for unit in games_of_units}

    def by_hash(unit: int) -> Part:
        if drawn[unit] < rule.test_share:
            return Part.TEST
        return Part.VALIDATION if drawn[unit] < rule.test_share + rule.validation_share else Part.TRAIN

    parts = {unit: by_hash(unit) for unit in games_of_units}
    units_of: dict[str, list[int]] = defaultdict(list)
    for unit in sorted(games_of_units, key=lambda unit: (drawn[unit], unit)):
        for game in games_of_units[unit]:
            units_of[game].append(unit)
    counts = {game: dict.fromkeys(Part, 0) for game in units_of}
    for unit, part in parts.items():
        for game in games_of_units[unit]:
            counts[game][part] += 1
    for game in sorted(units_of):
        for wanted in (Part.TRAIN, Part.VALIDATION, Part.TEST):
            if counts[game][wanted]:
                continue
            # Nobody whom another game, or this one, needs where they are.
            free = [
                unit for unit in units_of[game] if all(counts[other][parts[unit]] > 1 for other in games_of_units[unit])
            ]
            if not free:
                continue
            moved = max(free, key=lambda unit: counts[game][parts[unit]])
            for other in games_of_units[moved]:
                counts[other][parts[moved]] -= 1
                counts[other][wanted] += 1
            parts[moved] = wanted
    return parts


def _given_up(pairs: Pairs, parts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    given_up = np.zeros(len(parts), dtype=bool)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    for keeper in range(len(_ORDER)):
        for giver in range(keeper + 1, len(_ORDER)):
            one, other = both[:, 0], both[:, 1]
            meet = (parts[one] == keeper) & (parts[other] == giver) & ~given_up[one]
            given_up[other[meet]] = True
    return given_up


def _draw(name: str) -> float:
    """A number from 0 to 1 that a name always has."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, person=b"part").digest(), "big") / 2**64
