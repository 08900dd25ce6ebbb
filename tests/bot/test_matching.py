from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.matching import Matcher, MatchKind
from core.aliases import AliasTable
from core.games import Game

NAMES = (
    "VALORANT",
    "Portal",
    "Portal 2",
    "Counter-Strike",
    "Counter-Strike 2",
    "Old School RuneScape",
    "League of Legends",
    "Grand Theft Auto V",
    "Dota 2",
    "World of Warcraft",
    "PUBG: BATTLEGROUNDS",
    "Pokémon Red/Blue",
    "The Battle for Wesnoth",
    "Freedoom",
    "Mega Man X",
    "The Legend of Zelda: Breath of the Wild",
    "The Legend of Zelda: Tears of the Kingdom",
    "Half-Life",
    "Half-Life 2",
    "Street Fighter 6",
    "Rust",
    "Chess",
    "Minecraft",
    "Minecraft Dungeons",
    "osu!",
    "Final Fantasy XIV Online",
    "Dark Souls",
    "Dark Souls II",
    "Dark Souls III",
    "Ōkami",
    "東方紅魔郷",
    "2048",
    "V Rising",
    "Shovel Knight: Treasure Trove",
    "!!!",
)
GAMES = tuple(Game(id=f"g{at}", name=name) for at, name in enumerate(NAMES))


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher.of(GAMES, AliasTable.bundled())


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("valorant", "VALORANT"),
        ("  VALORANT! ", "VALORANT"),
        ("val", "VALORANT"),
        ("osrs", "Old School RuneScape"),
        ("CS2", "Counter-Strike 2"),
        ("CS:GO", "Counter-Strike"),
        ("cs", "Counter-Strike"),
        ("counter strike 2", "Counter-Strike 2"),
        ("counterstrike2", "Counter-Strike 2"),
        ("counter strike", "Counter-Strike"),
        ("LoL", "League of Legends"),
        ("PUBG", "PUBG: BATTLEGROUNDS"),
        ("GTA V", "Grand Theft Auto V"),
        ("gta 5", "Grand Theft Auto V"),
        ("gta5", "Grand Theft Auto V"),
        ("grand theft auto 5", "Grand Theft Auto V"),
        ("Dota", "Dota 2"),
        ("wow", "World of Warcraft"),
        ("portal", "Portal"),
        ("Portal 2", "Portal 2"),
        ("portal ii", "Portal 2"),
        ("portal2", "Portal 2"),
        ("pokemon red blue", "Pokémon Red/Blue"),
        ("half life 2", "Half-Life 2"),
        ("half-life", "Half-Life"),
        ("SF6", "Street Fighter 6"),
        ("mine craft", "Minecraft"),
        ("minecraft", "Minecraft"),
        ("osu", "osu!"),
        ("ff14", "Final Fantasy XIV Online"),
        ("dark souls 3", "Dark Souls III"),
        ("dark souls", "Dark Souls"),
        ("botw", "The Legend of Zelda: Breath of the Wild"),
        ("okami", "Ōkami"),
        ("東方紅魔郷", "東方紅魔郷"),
        ("2048", "2048"),
        ("!!!", "!!!"),
    ],
)
def test_a_name_an_alias_or_the_same_written_another_way_is_certain(matcher: Matcher, typed: str, meant: str) -> None:
    match = matcher.match(typed)

    assert match.kind is MatchKind.CERTAIN
    assert match.game is not None
    assert match.game.name == meant


@pytest.mark.parametrize(
    ("typed", "candidates"),
    [
        ("valorent", ["VALORANT"]),
        ("mincraft", ["Minecraft"]),
        ("chss", ["Chess"]),
        ("wesnoth", ["The Battle for Wesnoth"]),
        ("battle of wesnoth", ["The Battle for Wesnoth"]),
        ("street fighter", ["Street Fighter 6"]),
        ("zelda", ["The Legend of Zelda: Breath of the Wild", "The Legend of Zelda: Tears of the Kingdom"]),
        ("portal 3", ["Portal 2", "Portal"]),
        ("portal 1", ["Portal", "Portal 2"]),
        ("dark soul 3", ["Dark Souls III", "Dark Souls II", "Dark Souls"]),
        ("doom", ["Freedoom"]),
        ("sktt", ["Shovel Knight: Treasure Trove"]),
        ("mega man 10", ["Mega Man X"]),
        ("5 rising", ["V Rising"]),
    ],
)
def test_what_is_only_like_a_name_is_asked_back(matcher: Matcher, typed: str, candidates: list[str]) -> None:
    match = matcher.match(typed)

    assert match.kind is MatchKind.UNSURE
    assert match.game is None
    assert [game.name for game in match.games] == candidates


@pytest.mark.parametrize("typed", ["", " ", "?", "r", "xyzzy", "just chatting", "3", "rst"])
def test_what_is_like_nothing_matches_nothing(matcher: Matcher, typed: str) -> None:
    match = matcher.match(typed)

    assert match.kind is MatchKind.NONE
    assert match.games == ()


def test_a_second_part_is_never_taken_for_the_first() -> None:
    for known, typed in (("Portal", "Portal 2"), ("Portal 2", "Portal"), ("FIFA 22", "FIFA 23"), ("2048", "2047")):
        assert Matcher({"g": (known, ())}).match(typed).kind is not MatchKind.CERTAIN


def test_two_games_of_one_name_are_asked_back() -> None:
    match = Matcher({"a": ("Prey", ()), "b": ("PREY", ())}).match("prey")

    assert match.kind is MatchKind.UNSURE
    assert {game.id for game in match.games} == {"a", "b"}


def test_a_games_own_name_counts_more_than_anothers_alias() -> None:
    matcher = Matcher({"a": ("Warzone", ("Rust",)), "b": ("Rust", ()), "c": ("Rusty", ("rust",))})

    assert matcher.match("rust").game == Game(id="b", name="Rust")


@given(typed=st.text())
def test_whatever_is_typed_there_are_few_candidates_and_no_fault(matcher: Matcher, typed: str) -> None:
    match = matcher.match(typed)

    assert len(match.games) <= 3
    assert len(set(match.games)) == len(match.games)
    assert (match.game is not None) == (match.kind is MatchKind.CERTAIN)
    assert (match.games == ()) == (match.kind is MatchKind.NONE)
    assert len(matcher.complete(typed)) <= 25


@given(name=st.sampled_from(NAMES), upper=st.booleans(), blanks=st.text(alphabet=" \t", max_size=3))
def test_every_game_is_certain_by_its_own_name(matcher: Matcher, name: str, upper: bool, blanks: str) -> None:
    game = matcher.match(blanks + (name.upper() if upper else name.lower()) + blanks).game

    assert game is not None
    assert game.name == name


@given(name=st.sampled_from([name for name in NAMES if len(name) > 5]), data=st.data())
def test_one_wrong_letter_in_a_long_name_still_finds_it_and_is_never_certain_of_another(
    matcher: Matcher, name: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(name) - 1))
    match = matcher.match(name[:at] + data.draw(st.sampled_from("qx")) + name[at + 1 :])

    if match.game is not None:
        assert match.game.name == name


@given(names=st.dictionaries(st.text(max_size=3), st.tuples(st.text(max_size=9), st.lists(st.text(max_size=9)))))
def test_games_may_be_called_anything(names: dict[str, tuple[str, list[str]]]) -> None:
    matcher = Matcher(names)

    assert len(matcher.games) == len(names)
    for name, aliases in names.values():
        for typed in (name, *aliases):
            matcher.match(typed)
            matcher.complete(typed)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("por", ["Portal", "Portal 2"]),
        ("dark souls 3", ["Dark Souls III"]),
        ("zel", ["The Legend of Zelda: Breath of the Wild", "The Legend of Zelda: Tears of the Kingdom"]),
        ("cs", ["Counter-Strike", "Counter-Strike 2"]),
        ("ligue of legends", ["League of Legends"]),
        ("minec", ["Minecraft", "Minecraft Dungeons"]),
        ("xyzzy", []),
    ],
)
def test_names_are_completed_best_first(matcher: Matcher, typed: str, first: list[str]) -> None:
    assert [game.name for game in matcher.complete(typed)] == first


def test_nothing_typed_completes_to_all_by_name(matcher: Matcher) -> None:
    assert matcher.complete("", limit=100) == matcher.games
    assert len(matcher.complete("")) == 25
    assert [game.name for game in matcher.games][:4] == ["!!!", "2048", "Chess", "Counter-Strike"]


def test_ten_thousand_games_are_completed_while_somebody_types() -> None:
    matcher = Matcher({str(at): (f"{NAMES[at % 30]} {NAMES[at % 29]} {at}", ()) for at in range(10_000)})
    began_s = time.perf_counter()
    matcher.complete("valorent")
    matcher.match("valorent port")

    assert time.perf_counter() - began_s < 1.0
