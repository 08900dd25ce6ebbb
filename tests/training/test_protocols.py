from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from training.folders import list_frames
from training.pipeline import FrameBatches, PackedFrames, pack
from training.protocols import Outcome, figures, trials

if TYPE_CHECKING:
    from pathlib import Path

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


def test_no_trial_trains_on_what_it_is_judged_on(frames: PackedFrames) -> None:
    for trial in trials(frames, authors=()):
        assert not set(trial.split.train) & set(trial.split.test)
        if trial.name != "random-frames":
            assert not set(frames.streams[trial.split.train]) & set(frames.streams[trial.split.test])


def batches(frames: PackedFrames, *, blended: float, rows: np.ndarray) -> FrameBatches:
    plain = np.arange(len(frames), dtype=np.float16)[:, None]
    return FrameBatches(
        [plain, plain + np.float16(0.5)],
        labels=frames.labels,
        streams=frames.streams,
        rows=rows,
        games=3,
        batch_size=16,
        plain_share=0.5,
        blended_share=blended,
        seed=0,
    )


def test_a_batch_shows_only_its_rows_each_with_its_own_game(frames: PackedFrames) -> None:
    rows = np.arange(0, len(frames), 2)
    for index in range(2):
        activations, targets = batches(frames, blended=0.0, rows=rows)[index]
        shown = np.floor(activations[:, 0]).astype(int)
        assert set(shown) <= set(rows)
        assert (frames.labels[shown] == targets.argmax(axis=1)).all()


def test_blends_of_two_games_are_to_look_like_none(frames: PackedFrames) -> None:
    _, targets = batches(frames, blended=0.25, rows=np.arange(len(frames)))[0]
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
