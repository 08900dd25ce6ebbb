from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from core.games import Game
from training.config import Balance
from training.data.folders import list_frames
from training.data.genres import Genre, GenreTable
from training.fitting.calibrate import fit_temperature
from training.pipeline.shards import FrameBatches, PackedFrames, pack
from training.protocols import Outcome, figures, linear_figures, near_ones, trials
from training.scoring.figures import ProtocolFigures, TestFigures
from training.scoring.scores import Answers, concatenated, frame_answers, reliability
from training.scoring.tables import print_protocols

if TYPE_CHECKING:
    from training.config import TrainConfig


@pytest.fixture(scope="module")
def frames(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedFrames:
    return pack(list_frames(tiny_data), tmp_path_factory.mktemp("packed"), progress=lambda done, total: None)


def ideal(frames: PackedFrames, *, spoil: str = "") -> dict[str, Outcome]:
    """Answers of networks that are always right and unsure of what they do not know, but for one stream."""
    outcomes = {}
    for trial in trials(frames, authors=()):
        known = tuple(game for game in frames.games if game.id not in trial.held_out)
        ids = [game.id for game in known]
        test = np.array([row for row in trial.split.test if frames.game_ids[row] in ids], dtype=np.int64)
        held_out = np.flatnonzero(np.isin(frames.game_ids, trial.held_out))
        right = np.array([ids.index(game) for game in frames.game_ids[test]], dtype=np.int64)
        right = np.where(frames.streams[test] == spoil, (right + 1) % len(ids), right)
        # Not all alike: a temperature needs a right answer that is less sure than another.
        logits = 8 * np.eye(len(ids), dtype=np.float32)[right] + np.linspace(0, 1, len(test), dtype=np.float32)[:, None]
        outcomes[trial.name] = Outcome(
            labels=known,
            test_rows=test,
            test=logits,
            overlaid=logits,
            held_out_rows=held_out,
            held_out=np.zeros((len(held_out), len(ids)), dtype=np.float32),
            best_epoch=1,
        )
    return outcomes


def test_of_perfect_answers_every_figure_is_perfect(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    measured = figures(frames, ideal(frames), config=tiny_config)
    assert measured.by_stream.all.frames_right == measured.by_stream.all.streams_right == 1.0
    assert measured.by_stream.all.streams == 15
    assert measured.by_stream.wrong_streams == ()
    assert measured.unknown.stream_auroc == 1.0
    assert measured.unknown.held_out_refused == 1.0


def test_one_wrong_stream_is_counted_and_named(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    measured = figures(frames, ideal(frames, spoil="dots/stream3"), config=tiny_config)
    assert measured.by_stream.all.streams_right == pytest.approx(14 / 15)
    assert measured.by_stream.wrong_streams == ("dots/stream3 taken for frame",)
    dots = next(game for game in measured.by_stream.games if game.id == "dots")
    assert dots.shares.streams_right == pytest.approx(0.8)
    assert dots.taken_for == ("frame",)


def with_logits(outcome: Outcome, **logits: np.ndarray | None) -> Outcome:
    return dataclasses.replace(outcome, **logits)


def test_confidence_is_judged_by_the_temperature_of_the_other_rotations(
    frames: PackedFrames, tiny_config: TrainConfig
) -> None:
    outcomes = ideal(frames, spoil="dots/stream3")
    wrong = next(
        name for name, one in outcomes.items() if "dots/stream3" in frames.streams[one.test_rows] and "rotation" in name
    )
    # Surely wrong in one rotation alone: of it the others know nothing, and are as cold as ever.
    test = measured_by(frames, outcomes, tiny_config)
    rotations = {name: one for name, one in outcomes.items() if "rotation" in name}
    others = {name: one for name, one in rotations.items() if name != wrong}

    def temperature(of: dict[str, Outcome]) -> float:
        rows = np.concatenate([one.test_rows for one in of.values()])
        logits = np.concatenate([one.test for one in of.values()])
        return fit_temperature(logits, labels=frames.labels[rows], streams=frames.streams[rows])

    def answers(temperature_of: dict[str, float]) -> Answers:
        return concatenated(
            [
                frame_answers(one.test, labels=frames.labels[one.test_rows], temperature=temperature_of[name])
                for name, one in rotations.items()
            ]
        )

    crossed = {
        name: temperature({other: one for other, one in rotations.items() if other != name}) for name in rotations
    }
    assert crossed[wrong] == temperature(others) < temperature(rotations)
    assert test.of_frames is not None
    assert test.of_frames.ece == pytest.approx(reliability(answers(crossed)).ece)
    assert test.of_frames.ece > reliability(answers(dict.fromkeys(rotations, temperature(rotations)))).ece
    assert test.of_frames.ece_uncalibrated == pytest.approx(reliability(answers(dict.fromkeys(rotations, 1.0))).ece)


def measured_by(frames: PackedFrames, outcomes: dict[str, Outcome], config: TrainConfig) -> TestFigures:
    return figures(frames, outcomes, config=config, kinds=KINDS).by_stream


def test_frames_and_streams_are_scored_plain_and_with_overlays(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    outcomes = ideal(frames)
    # With overlays everything looks like the first game.
    blind = {
        name: with_logits(one, overlaid=one.overlaid * 0 + np.eye(len(one.labels), dtype=np.float32)[0])
        for name, one in outcomes.items()
    }
    test = measured_by(frames, blind, tiny_config)
    assert test.of_frames is not None
    assert test.of_streams is not None
    assert test.overlaid_frames is not None
    assert test.overlaid_streams is not None
    assert (test.of_frames.macro_f1, test.of_streams.accuracy, test.of_streams.top_3) == (1.0, 1.0, 1.0)
    assert test.overlaid_frames.accuracy == test.overlaid_streams.accuracy == pytest.approx(1 / 3)
    assert (test.of_frames.count, test.overlaid_streams.count) == (60, 15)
    assert [curve.area for curve in test.of_frames.roc] == [1.0, 1.0, 1.0]


def test_random_frames_and_the_commonest_game_stand_beside(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    measured = figures(frames, ideal(frames), config=tiny_config, kinds=KINDS)
    assert measured.of_random_frames is not None
    assert measured.of_random_frames.accuracy == 1.0
    (null,) = measured.nulls
    assert null.of_streams is not None
    # As many streams of each game: whichever of the three is answered.
    assert null.of_streams.accuracy == pytest.approx(1 / 3)
    assert null.of_streams.count == 15


KINDS = GenreTable(
    genres=[Genre(id=name, name=name) for name in ("shooter", "puzzle")],
    games={"bars": ["shooter"], "dots": ["shooter"], "frame": ["puzzle"]},
)


def test_near_games_are_told_apart_from_far_ones(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    outcomes = ideal(frames)
    # The shooters look like one another when they are held out, the puzzle like nothing.
    near = {
        name: with_logits(one, held_out=one.held_out + 9)
        if {"frame"} - {game.id for game in one.labels} == set()
        else one
        for name, one in outcomes.items()
    }
    unknown = figures(frames, near, config=tiny_config, kinds=KINDS).unknown
    assert {game.id: game.near for game in unknown.games} == {"bars": ("dots",), "dots": ("bars",), "frame": ()}
    assert unknown.near is not None
    assert unknown.far is not None
    assert (unknown.near.games, unknown.far.games) == (("bars", "dots"), ("frame",))
    assert (unknown.near.stream_auroc, unknown.far.stream_auroc) == (0.0, 1.0)
    assert (unknown.near.refused, unknown.far.refused) == (0.0, 1.0)
    assert (unknown.near.streams, unknown.far.streams) == (10, 5)
    assert unknown.stream_auroc == pytest.approx(1 / 3)


def test_a_game_that_nobody_put_into_the_table_is_neither_near_nor_far(
    frames: PackedFrames, tiny_config: TrainConfig
) -> None:
    unknown = figures(frames, ideal(frames), config=tiny_config).unknown
    assert {game.near for game in unknown.games} == {None}
    assert unknown.near is None
    assert unknown.far is None


def test_two_thirds_of_the_genres_in_common_are_near() -> None:
    names = {"a": "xy", "b": "xy", "c": "xyz", "d": "x", "e": "xyzw"}
    genres = [Genre(id=name, name=name) for name in "xyzw"]
    table = GenreTable(genres=genres, games={name: list(ids) for name, ids in names.items()})
    games = {name: Game(id=name, name=name) for name in (*names, "f")}
    known = [games[name] for name in "bcdef"]
    assert near_ones(games["a"], known, table) == ("b", "c")
    assert near_ones(games["e"], known, table) == ("c", "e")
    assert near_ones(games["f"], known, table) is None


def test_genres_are_answered_by_thresholds_of_the_other_folds(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    def heads(one: Outcome) -> Outcome:
        def logits(rows: np.ndarray) -> np.ndarray:
            # A chance of 0.3 of what is right and of 0.1 of what is not.
            marks = KINDS.targets(frames.games)[frames.labels[rows]]
            return np.where(marks, np.log(0.3 / 0.7), np.log(0.1 / 0.9)).astype(np.float32)

        return dataclasses.replace(
            one,
            genres=KINDS.genres,
            test_genres=logits(one.test_rows),
            held_out_genres=logits(one.held_out_rows),
        )

    outcomes = {name: heads(one) for name, one in ideal(frames).items()}
    found = figures(frames, outcomes, config=tiny_config, kinds=KINDS).genres

    assert found is not None
    assert found.known.exact == found.known.top_class == 1.0
    # The only puzzle is held out in one fold: the others show none, so that its threshold stays at a half.
    shooter, puzzle = found.held_out.genres
    assert (shooter.recall, shooter.precision, puzzle.recall) == (1.0, 1.0, 0.0)
    assert (found.held_out.count, found.held_out.top_class) == (15, 1.0)
    assert found.held_out.exact == pytest.approx(2 / 3)
    assert found.held_out.hamming_loss == pytest.approx(5 / 30)
    assert found.thresholds == {"shooter": pytest.approx(0.3), "puzzle": pytest.approx(0.3)}
    assert found.held_out.null_hamming_none == 0.5


def test_without_a_head_for_genres_nothing_is_told_of_them(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    assert figures(frames, ideal(frames), config=tiny_config, kinds=KINDS).genres is None


def test_all_of_it_is_printed_and_so_are_figures_of_before(frames: PackedFrames, tiny_config: TrainConfig) -> None:
    console = Console(width=200, file=io.StringIO())
    found = figures(frames, ideal(frames), config=tiny_config, kinds=KINDS)
    print_protocols(found, console)
    linear = linear_figures(frames, ideal(frames, spoil="dots/stream3"), name="linear machine")
    print_protocols(found.model_copy(update={"linear": linear}), console)
    old = Path(__file__).parents[2] / "models" / "starter" / "figures.json"
    plain = ProtocolFigures.model_validate_json(old.read_bytes())
    without = plain.model_copy(update={"of_random_frames": None, "genres": None, "nulls": ()})
    print_protocols(without, console)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    for part in (
        "near ones (2 games)",
        "far ones (1 games)",
        "random frames (flatters)",
        "held out",
        "the commonest",
        "frames  linear",
    ):
        assert part in told


def test_no_trial_trains_on_what_it_is_judged_on(frames: PackedFrames) -> None:
    for trial in trials(frames, authors=()):
        assert not set(trial.split.train) & set(trial.split.test)
        if trial.name != "random-frames":
            assert not set(frames.streams[trial.split.train]) & set(frames.streams[trial.split.test])


class Numbered:
    """Examples that tell their row, and by a half whether they are augmented."""

    def plain(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows, dtype=np.float16)[:, None]

    overlaid = plain

    def training(self, row: int, rng: np.random.Generator) -> np.ndarray:
        return np.array([row + 0.5 * rng.integers(2)], dtype=np.float16)


def batches(frames: PackedFrames, *, blended: float, rows: np.ndarray) -> FrameBatches:
    return FrameBatches(
        Numbered(),
        labels=frames.labels,
        streams=frames.streams,
        rows=rows,
        games=3,
        batch_size=16,
        balance=Balance.DRAWN,
        blended_share=blended,
        seed=0,
    )


def test_a_batch_shows_only_its_rows_each_with_its_own_game(frames: PackedFrames) -> None:
    rows = np.arange(0, len(frames), 2)
    for index in range(2):
        activations, targets, _ = batches(frames, blended=0.0, rows=rows)[index]
        shown = np.floor(activations[:, 0]).astype(int)
        assert set(shown) <= set(rows)
        assert (frames.labels[shown] == targets.argmax(axis=1)).all()


def test_blends_of_two_games_are_to_look_like_none(frames: PackedFrames) -> None:
    _, targets, _ = batches(frames, blended=0.25, rows=np.arange(len(frames)))[0]
    assert targets[:4] == pytest.approx(np.full((4, 3), 1 / 3))
    assert (targets[4:].max(axis=1) == 1.0).all()


def test_an_epoch_shows_other_examples_than_the_one_before(frames: PackedFrames) -> None:
    sequence = batches(frames, blended=0.0, rows=np.arange(len(frames)))
    first, again = sequence[0][0], sequence[0][0]
    sequence.on_epoch_end()
    assert (first == again).all()
    assert (sequence[0][0] != first).any()


def test_a_mistake_on_the_command_line_is_one_sentence_and_status_1(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "run",
        "--data",
        str(tmp_path / "none"),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr
