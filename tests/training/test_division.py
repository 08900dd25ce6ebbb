"""No two pictures of different parts are nearly the same, whoever shows them."""

from __future__ import annotations

import random
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.division import DivisionRule, Picture, divide
from training.data.duplicates import near_pairs
from training.data.split import Part

RULE = DivisionRule()


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@st.composite
def hashes(draw: st.DrawFn) -> list[int]:
    """Hashes of which many lie a few bits from another, at the edge of what is near."""
    found = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 40))):
        bits = draw(st.lists(st.integers(0, 63), max_size=6))
        found.append(draw(st.sampled_from(found)) ^ sum(1 << bit for bit in set(bits)))
    return found


@st.composite
def pictures(draw: st.DrawFn) -> list[Picture]:
    return [
        Picture(broadcaster=f"b{draw(st.integers(0, 12))}", game=f"g{draw(st.integers(0, 3))}", perceptual_hash=hashed)
        for hashed in draw(hashes())
    ]


@settings(deadline=None)
@given(hashes(), st.integers(0, 8), st.randoms(use_true_random=False))
def test_near_pairs_are_those_that_comparing_all_with_all_finds(
    found: list[int], bits: int, chance: random.Random
) -> None:
    owners = [chance.randrange(4) for _ in found]
    pairs = near_pairs(np.array(found, dtype=np.uint64), np.array(owners), bits=bits)
    expected = {
        (one, other)
        for one, other in combinations(range(len(found)), 2)
        if owners[one] != owners[other] and distance(found[one], found[other]) <= bits
    }
    listed = [tuple(pair) for pair in pairs.tolist()]
    assert set(listed) == expected
    assert len(listed) == len(expected)


@settings(max_examples=300)
@given(pictures())
def test_nothing_nearly_the_same_is_in_two_parts(given_pictures: list[Picture]) -> None:
    parts = divide(given_pictures, RULE).parts
    for one, other in combinations(range(len(parts)), 2):
        if parts[one] is None or parts[other] is None or parts[one] is parts[other]:
            continue
        near = distance(given_pictures[one].perceptual_hash, given_pictures[other].perceptual_hash)
        assert near > RULE.near_bits


@settings(deadline=None)
@given(pictures())
def test_a_broadcaster_and_a_unit_are_in_one_part(given_pictures: list[Picture]) -> None:
    division = divide(given_pictures, RULE)
    part_of: dict[str, Part] = {}
    for picture, part in zip(given_pictures, division.parts, strict=True):
        if part is not None:
            assert part_of.setdefault(division.units[picture.broadcaster], part) is part


@settings(deadline=None)
@given(pictures(), st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_makes_no_difference(given_pictures: list[Picture], chance: random.Random) -> None:
    straight = divide(given_pictures, RULE)
    order = list(range(len(given_pictures)))
    chance.shuffle(order)
    shuffled = divide([given_pictures[place] for place in order], RULE)
    assert shuffled.units == straight.units
    assert list(shuffled.parts) == [straight.parts[place] for place in order]


def many(broadcasters: int, *, game: str = "doom", prefix: str = "b") -> list[Picture]:
    """One picture each, far from each other."""
    chance = random.Random(f"{game}{prefix}")
    return [
        Picture(broadcaster=f"{prefix}{number}", game=game, perceptual_hash=chance.getrandbits(64))
        for number in range(broadcasters)
    ]


def test_who_was_tested_stays_tested_when_others_come() -> None:
    before = many(400)
    after = before + many(400, prefix="new")
    old, new = divide(before, RULE).parts, divide(after, RULE).parts
    assert new[: len(old)] == old
    assert 40 < old.count(Part.TEST) < 80
    assert 40 < old.count(Part.VALIDATION) < 80


@pytest.mark.parametrize("broadcasters", [3, 4, 6])
def test_a_small_game_is_in_every_part(broadcasters: int) -> None:
    for number in range(20):
        parts = divide(many(broadcasters, game=f"game{number}"), RULE).parts
        assert set(parts) == set(Part)


def test_those_who_share_pictures_are_one_unit_and_lose_nothing() -> None:
    found = many(30)
    shared = [Picture(broadcaster=name, game="doom", perceptual_hash=7) for name in ("b1", "b2")]
    division = divide(found + shared, RULE)
    assert division.units["b1"] == division.units["b2"] == "b1"
    assert None not in division.parts


def test_a_screen_that_all_show_makes_no_unit_of_all_and_stays_where_it_is_trained_on() -> None:
    found = many(30)
    screens = [
        Picture(broadcaster=f"b{number}", game="doom", perceptual_hash=0b1111 << (number % 3)) for number in range(30)
    ]
    division = divide(found + screens, RULE)
    assert len(set(division.units.values())) >= 3
    assert set(division.parts[: len(found)]) == set(Part)
    assert set(division.parts[len(found) :]) == {Part.TRAIN, None}


def test_a_hundred_thousand_pictures_take_seconds() -> None:
    chance = np.random.default_rng(0)
    centres = chance.integers(0, 2**63, size=20_000, dtype=np.uint64)
    found = [
        Picture(
            broadcaster=f"b{owner}",
            game=f"g{owner % 200}",
            # A broadcaster's pictures lie about a few scenes of their own, and one in fifty is a screen of the game.
            perceptual_hash=int(centres[owner % 200 if number % 50 == 0 else (owner * 5 + number % 5) % 20_000])
            ^ (1 << int(chance.integers(64))),
        )
        for owner in range(4000)
        for number in range(25)
    ]
    began = time.process_time()
    division = divide(found, RULE)
    assert time.process_time() - began < 20
    assert division.parts.count(None) < 0.1 * len(found)
