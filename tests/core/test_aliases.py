from __future__ import annotations

import tomllib
from collections import Counter
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.aliases import AliasTable, plain, words


@pytest.fixture(scope="module")
def table() -> AliasTable:
    return AliasTable.bundled()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("GTA V", "gta5"),
        ("Pokémon", "POKEMON"),
        ("Half-Life 2", "half life II"),
        ("Don't Starve", "dont starve"),
        ("Final Fantasy XIV", "Final Fantasy 14"),
    ],
)
def test_names_are_compared_as_people_write_them(name: str, other: str) -> None:
    assert "".join(words(name)) == "".join(words(other))


@pytest.mark.parametrize(
    ("name", "other"),
    [("V Rising", "5 Rising"), ("Portal", "Portal 2"), ("Mega Man X", "Mega Man 10"), ("Doom", "Dome")],
)
def test_other_names_stay_other_names(name: str, other: str) -> None:
    assert words(name) != words(other)


def test_every_alias_leads_to_one_game() -> None:
    content = tomllib.loads(resources.files("core").joinpath("aliases.toml").read_text(encoding="utf-8"))
    entries = [*content["aliases"].items(), *content["classics"].items()]

    assert len(entries) >= 150
    counts = Counter(one for name, others in entries for one in {plain(name), *map(plain, others)})
    assert [name for name, count in counts.items() if count > 1] == []


def test_a_game_is_found_by_any_of_its_names(table: AliasTable) -> None:
    assert "OSRS" in table.of("Old School RuneScape")
    assert "Old School RuneScape" in table.of("osrs")
    assert table.of("A game that nobody made") == ()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Doom", "DOOM II: Hell on Earth"),
        ("Freedoom", "DOOM"),
        ("Chess", "chess.com"),
        ("Counter-Strike 2", "Counter-Strike"),
        ("CS:GO", "Counter-Strike 2"),
        ("FIFA 22", "EA Sports FC 25"),
        ("Minetest", "Luanti"),
        ("Call of Duty: Warzone", "Call of Duty: Black Ops 6"),
        ("Slay the Spire", "Slay the Spire II"),
        ("River Raid", "Retro"),
        ("DOOM", "Retro"),
        ("A small new thing", "Retro"),
        ("VALORANT", "Special Events"),
        ("SuperTux", "Games + Demos"),
        ("Not a game", "Just Chatting"),
        ("Just Chatting", "Music"),
        ("Extreme Tux Racer", "Tux Racer"),
        ("Grand Theft Auto V", "GTA RP"),
        ("2048", "2048"),
    ],
)
def test_what_nobody_would_call_wrong_is_the_same(table: AliasTable, name: str, other: str) -> None:
    assert table.same_for_viewers(name, other)
    assert table.same_for_viewers(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("VALORANT", "Just Chatting"),
        ("VALORANT", "Retro"),
        ("VALORANT", "Counter-Strike 2"),
        ("Minecraft", "Minetest"),
        ("RuneScape", "Rust"),
        ("2048", "1942"),
        ("F1 25", "FIFA 23"),
        ("Chess", "Checkers"),
        ("Not a game", "VALORANT"),
        ("Halo Infinite", "Hades"),
        ("Portal", "Portal Knights"),
    ],
)
def test_what_viewers_would_notice_is_not_the_same(table: AliasTable, name: str, other: str) -> None:
    assert not table.same_for_viewers(name, other)
    assert not table.same_for_viewers(other, name)


@given(name=st.text(), other=st.text())
def test_any_two_texts_can_be_compared_and_order_does_not_matter(table: AliasTable, name: str, other: str) -> None:
    assert table.same_for_viewers(name, name)
    assert table.same_for_viewers(name, other) == table.same_for_viewers(other, name)
