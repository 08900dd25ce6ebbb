"""The table of genres is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import DataSetError
from core.games import Game
from training.data.genres import GenreTable, read_genres

STARTER = Path(__file__).parents[2] / "models" / "starter" / "manifest.json"
SMALL = """
[genres]
platformer = "platformer"
pixel_art = "pixel art"
[games]
"Celeste" = ["platformer", "pixel_art"]
"Super Mario 64" = ["platformer"]
"""


@pytest.fixture(scope="module")
def bundled() -> GenreTable:
    return GenreTable.bundled()


def test_every_game_of_the_starter_model_has_genres(bundled: GenreTable) -> None:
    games = [Game(id=one["id"], name=one["name"]) for one in json.loads(STARTER.read_text(encoding="utf-8"))["labels"]]
    assert bundled.targets(games).any(axis=1).all()


def test_the_table_knows_many_games_of_a_short_list_of_genres(bundled: GenreTable) -> None:
    assert len(bundled) >= 133
    assert 18 <= len(bundled.genres) <= 25


def test_a_game_is_found_by_its_other_names(bundled: GenreTable) -> None:
    assert [genre.id for genre in bundled.of("LoL")] == ["moba", "strategy"]
    assert bundled.of("Minetest") == bundled.of("Luanti") != ()


def test_a_game_that_is_not_in_the_table_has_no_genre(bundled: GenreTable) -> None:
    assert bundled.of("Some Game That Nobody Made") == ()


def test_targets_are_a_row_a_game_and_a_column_a_genre() -> None:
    table = read_genres(SMALL)
    games = [Game(id="m64", name="super mario 64"), Game(id="celeste", name="Celeste")]
    assert table.targets(games).tolist() == [[True, False], [True, True]]
    assert [genre.name for genre in table.of("CELESTE")] == ["platformer", "pixel art"]


def test_all_games_that_the_table_lacks_are_named() -> None:
    with pytest.raises(DataSetError, match="lacks Doom, Quake"):
        read_genres(SMALL).targets([Game(id="d", name="Doom"), Game(id="q", name="Quake")])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('"Portal" = ["puzzle"]', "Portal: no genre on the list is called puzzle"),
        ('"Portal" = []', "Portal: needs one genre"),
        ('"Portal" = ["platformer", "platformer"]', "Portal: needs one genre at least, each once"),
        ('"CELESTE" = ["platformer"]', "CELESTE: is there already"),
        ('"Portal" = "platformer"', "see Portal"),
        ('"Portal" = [1]', "see Portal"),
        ('"Celeste" = ["platformer"]', "no TOML"),
        ("[more]", "two parts"),
    ],
)
def test_a_mistake_in_the_table_is_told(more: str, told: str) -> None:
    with pytest.raises(DataSetError, match=told):
        read_genres(SMALL + more)


def test_all_mistakes_are_told_at_once() -> None:
    text = SMALL.replace("[games]", 'puzzle = "puzzle"\n[games]') + '"Doom" = []\n"Quake" = ["shooter"]\n'
    with pytest.raises(DataSetError) as caught:
        read_genres(text)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:]] == ["Doom", "Quake", "puzzle"]


def test_every_genre_is_of_more_than_one_game(bundled: GenreTable) -> None:
    text = (Path(__file__).parents[2] / "training" / "data" / "genres.toml").read_text(encoding="utf-8")
    for genre in bundled.genres:
        assert text.count(f'"{genre.id}"') >= 3, genre.id
