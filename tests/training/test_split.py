from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataSetError
from training.data.split import (
    Part,
    all_but_validation,
    as_given,
    by_author,
    by_random_frame,
    by_stream,
    held_out_games,
)

ROTATIONS = 5


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """(stream, game) of each frame: some games, each with enough streams, each with some frames."""
    streams, games = [], []
    for game in range(draw(st.integers(2, 5))):
        for stream in range(draw(st.integers(3, 9))):
            for _ in range(draw(st.integers(1, 4))):
                streams.append(f"g{game}/s{stream}")
                games.append(f"g{game}")
    return streams, games


@given(data_sets())
def test_no_stream_is_in_two_parts_and_no_frame_is_lost(data_set: tuple[list[str], list[str]]) -> None:
    streams, games = data_set
    for rotation in range(ROTATIONS):
        split = by_stream(streams, games, rotation=rotation, rotations=ROTATIONS)
        train, validation, test = (
            {streams[row] for row in rows} for rows in (split.train, split.validation, split.test)
        )
        assert not train & validation
        assert not train & test
        assert not validation & test
        assert sorted([*split.train, *split.validation, *split.test]) == list(range(len(streams)))


@given(data_sets())
def test_every_game_is_trained_on_and_validated_in_every_rotation(data_set: tuple[list[str], list[str]]) -> None:
    streams, games = data_set
    for rotation in range(ROTATIONS):
        split = by_stream(streams, games, rotation=rotation, rotations=ROTATIONS)
        assert {games[row] for row in split.train} == set(games)
        assert {games[row] for row in split.validation} == set(games)


@given(data_sets())
def test_over_all_rotations_every_stream_is_tested_once(data_set: tuple[list[str], list[str]]) -> None:
    streams, games = data_set
    tested = [
        stream
        for rotation in range(ROTATIONS)
        for stream in {streams[row] for row in by_stream(streams, games, rotation=rotation, rotations=ROTATIONS).test}
    ]
    assert sorted(tested) == sorted(set(streams))


@given(data_sets(), st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_the_frames(data_set: tuple[list[str], list[str]], random) -> None:
    streams, games = data_set
    order = list(range(len(streams)))
    random.shuffle(order)
    shuffled = by_stream([streams[k] for k in order], [games[k] for k in order], rotation=0, rotations=ROTATIONS)
    straight = by_stream(streams, games, rotation=0, rotations=ROTATIONS)
    assert {streams[order[row]] for row in shuffled.test} == {streams[row] for row in straight.test}


def test_a_game_with_two_streams_cannot_be_in_three_parts() -> None:
    def deal_all() -> None:
        streams, games = ["a/1", "a/2", "a/3", "l/1", "l/2"], ["a", "a", "a", "lonely", "lonely"]
        for rotation in range(ROTATIONS):
            by_stream(streams, games, rotation=rotation, rotations=ROTATIONS)

    with pytest.raises(DataSetError, match="lonely"):
        deal_all()


@given(data_sets())
def test_a_shipped_model_keeps_one_stream_of_each_game_for_validation(data_set: tuple[list[str], list[str]]) -> None:
    streams, games = data_set
    split = all_but_validation(streams, games)
    assert len({streams[row] for row in split.validation}) == len(set(games))
    assert not split.test.size


def test_a_random_split_lets_a_streams_frames_straddle() -> None:
    names = [f"g/s/{frame}" for frame in range(200)]
    split = by_random_frame(names, rotation=0, rotations=ROTATIONS)
    assert split.train.size > split.test.size > 0
    assert split.validation.size > 0


def test_one_author_is_tested_and_nothing_of_that_author_is_trained_on() -> None:
    streams = ["cs/a_1", "cs/a_2", "cs/a_3", "cs/b_1", "cs/b_2", "x/1", "x/2", "x/3"]
    games = ["cs"] * 5 + ["x"] * 3
    split = by_author(by_stream(streams, games, rotation=0, rotations=5), streams, game="cs", tested="b")
    assert [streams[row] for row in split.test] == ["cs/b_1", "cs/b_2"]
    learnt = {streams[row] for row in [*split.train, *split.validation]}
    assert not any(stream.startswith("cs/b") for stream in learnt)
    assert any(streams[row].startswith("cs/a") for row in split.train)
    assert any(streams[row].startswith("cs/a") for row in split.validation)


def test_an_author_whom_nobody_knows_is_refused() -> None:
    streams, games = ["cs/a_1", "cs/a_2", "cs/a_3"], ["cs"] * 3
    with pytest.raises(DataSetError, match="'z'"):
        by_author(by_stream(streams, games, rotation=0, rotations=5), streams, game="cs", tested="z")


@given(st.sets(st.text("abc", min_size=1), min_size=5, max_size=20))
def test_every_game_is_held_out_in_exactly_one_fold(games: set[str]) -> None:
    folds = [held_out_games(sorted(games), fold=fold, folds=5) for fold in range(5)]
    assert sorted(game for fold in folds for game in fold) == sorted(games)


@st.composite
def shared_streams(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """(broadcaster, game) of each frame: most broadcasters show one game, some show others, too."""
    names, games = [], []
    for game in range(draw(st.integers(2, 4))):
        for stream in range(draw(st.integers(5, 9))):
            names.append(f"g{game}/s{stream}")
            games.append(f"g{game}")
    for name in draw(st.lists(st.sampled_from(sorted(set(names))), max_size=4)):
        names.append(name)
        games.append(draw(st.sampled_from(sorted(set(games)))))
    return names, games


@given(shared_streams())
def test_who_shows_several_games_is_in_one_part_of_all_of_them(data_set: tuple[list[str], list[str]]) -> None:
    names, games = data_set
    for rotation in range(ROTATIONS):
        split = by_stream(names, games, rotation=rotation, rotations=ROTATIONS)
        parts = [{names[row] for row in rows} for rows in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set(names))
        assert {games[row] for row in split.train} == set(games)


def test_parts_that_the_data_set_brings_are_kept() -> None:
    parts = [Part.TEST, Part.TRAIN, Part.VALIDATION, Part.TRAIN, Part.VALIDATION]
    split = as_given(parts, ["a", "a", "a", "b", "b"])
    assert split is not None
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([1, 3], [2, 4], [0])
    assert as_given([Part.TRAIN, None], ["a", "b"]) is None
    assert as_given([Part.TRAIN, Part.VALIDATION], ["a", "b"]) is None
    with pytest.raises(DataSetError, match="validation part has no frame of b"):
        as_given(parts[:4], ["a", "a", "a", "b"])
