"""How games' names are compared, and what a game is called by."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.storage.naming import RESERVED_IDS, folded, free_id, slug
from core.storage.tables import plain, to_signed, to_unsigned


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Counter-Strike 2", "counter strike 2"),
        ("Montezuma's Revenge", "Montezuma’s  REVENGE"),
        ("Ms. Pac-Man", "ms pac man"),
        ("ＤＯＯＭ", "Doom"),
        ("Pokémon Red", "POKE\u0301MON RED"),
        ("Straße", "STRASSE"),
    ],
)
def test_spellings_of_one_name_are_one(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Portal", "Portal 2"), ("DOOM", "Freedoom"), ("!!!", "???"), ("原神", "崩坏"), ("Halo", "Hello")],
)
def test_different_names_are_different(one, other):
    assert folded(one) != folded(other)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("Counter-Strike 2", "counter_strike_2"),
        ("Montezuma's Revenge", "montezumas_revenge"),
        ("Games + Demos", "games_demos"),
        ("Pokémon Red/Blue", "pokemon_red_blue"),
        ("原神", "game"),
        ("...", "game"),
    ],
)
def test_a_name_as_an_id(name, id_):
    assert slug(name) == id_


@given(st.text())
def test_any_name_folds_to_something_stable(name):
    once = folded(name)
    assert folded(once) == once
    assert bool(once) == bool(name.strip()) or not once


@given(st.text())
def test_any_name_gives_an_id_for_files_and_labels(name):
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", slug(name))
    assert len(slug(name)) <= 80


@given(
    st.sampled_from(["doom", "unknown", "not_a_game", "a"]),
    st.sets(st.sampled_from(["doom", "doom_7", "doom_7_2", "doom_2", "a", "a_2", "unknown_7"])),
    st.sampled_from(["", "7"]),
)
def test_a_free_id_is_free(wanted, taken, suffix):
    found = free_id(wanted, taken=taken, suffix=suffix)
    assert found not in taken
    assert found not in RESERVED_IDS
    assert found.startswith(wanted)
    if wanted not in taken and wanted not in RESERVED_IDS:
        assert found == wanted


def test_a_clash_is_told_apart_by_the_category():
    assert free_id("doom", taken={"doom"}, suffix="1234") == "doom_1234"
    assert free_id("unknown", taken=set(), suffix="12") == "unknown_12"


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_64_bits_survive_the_sign(bits):
    assert -(2**63) <= to_signed(bits) < 2**63
    assert to_unsigned(to_signed(bits)) == bits


@pytest.mark.parametrize("bits", [-1, 2**64])
def test_what_is_not_64_bits_is_refused(bits):
    with pytest.raises(ValueError, match="64 bits"):
        to_signed(bits)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_kept(text):
    kept = plain(text)
    assert "\0" not in kept
    kept.encode("utf-8")
    assert plain(kept) == kept
