"""A linear SVM on embeddings, measured on the streams that the models are measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import training.scoring.embeddings as module
from core.errors import DataSetError, TrainingError
from core.games import Game
from training.config import TrainConfig
from training.data.folders import FrameFile, list_frames
from training.evaluate import chosen
from training.scoring.answers import Said
from training.scoring.baselines import SupportVectors, answered, fit_and_ask
from training.scoring.scores import score


def test_what_lies_apart_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    middles = {"a": 0.0, "b": 5.0, "c": 10.0}
    games = [game for game in middles for _ in range(20)]
    learnt = np.array([[middles[game], -(middles[game] ** 2)] for game in games]) + rng.normal(0, 0.3, (60, 2))
    margins = fit_and_ask(learnt.astype(np.float32), games=games, asked=np.array([[5, -25], [0, 0]], dtype=np.float32))
    assert {name: values.argmax() for name, values in margins.items() if name != "c"} == {"a": 1, "b": 0}


def test_of_two_games_each_has_a_margin() -> None:
    learnt = np.array([[0.0], [1.0], [9.0], [10.0]], dtype=np.float32)
    margins = fit_and_ask(learnt, games=["a", "a", "b", "b"], asked=np.array([[0.5], [9.5]], dtype=np.float32))
    assert (margins["a"] == -margins["b"]).all()
    assert (margins["b"] > 0).tolist() == [False, True]


def test_one_game_is_nothing_to_learn_from() -> None:
    with pytest.raises(DataSetError, match="one game only"):
        fit_and_ask(np.zeros((2, 3), dtype=np.float32), games=["a", "a"], asked=np.zeros((1, 3), dtype=np.float32))


def frame(game: str, stream: str, number: int = 0) -> FrameFile:
    return FrameFile(path=Path(f"{stream}/{number}.jpg"), game=game, stream=stream, unit=stream)


def test_a_stream_is_answered_by_the_mean_of_its_frames_and_a_game_that_was_not_learnt_never() -> None:
    frames = [frame("a", "a/1", 0), frame("a", "a/1", 1), frame("c", "c/1")]
    games = [Game(id=name, name=name) for name in "abc"]
    of_frames, of_streams = answered(
        {"a": np.array([2.0, -1.0, 0.0]), "b": np.array([0.0, 0.0, 1.0])}, frames=frames, games=games
    )
    assert of_frames.ranked[:, 0].tolist() == [0, 1, 1]
    assert of_streams.ranked[:, 0].tolist() == [0, 1]
    assert (score(of_frames).accuracy, score(of_streams).accuracy) == (pytest.approx(1 / 3), 0.5)


def test_it_learns_the_training_part_and_keeps_what_it_saw(
    tiny_data: Path, tiny_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = chosen(list_frames(tiny_data), "test")
    said = Said(frames=parts.test, logits=(), unreadable=())
    svm = SupportVectors(tiny_config, work=tmp_path, console=Console(quiet=True))

    found = svm(parts, said)

    assert found.name == "SVM on MobileNetV2"
    assert found.of_frames is not None
    assert found.of_streams is not None
    assert (found.of_frames.count, found.of_streams.count) == (12, 3)
    # A random network sees colour, and each game has its own.
    assert found.of_frames.accuracy > 0.6
    monkeypatch.setattr(module, "picture_of", lambda frame: pytest.fail("a frame was decoded again"))
    assert svm(parts, said) == found


def test_where_it_cannot_be_had_one_sentence_says_why(
    tiny_data: Path, tiny_config: TrainConfig, scratch_config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="trained from scratch"):
        SupportVectors(scratch_config, work=tmp_path, console=Console(quiet=True))
    parts = chosen(list_frames(tiny_data), "all")
    svm = SupportVectors(tiny_config, work=tmp_path, console=Console(quiet=True))
    with pytest.raises(DataSetError, match="nothing to be trained on: all of the data is evaluated"):
        svm(parts, Said(frames=parts.test, logits=(), unreadable=()))


def test_a_folder_in_which_nothing_can_be_kept_is_one_sentence(
    tiny_data: Path, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "embeddings").write_text("no folder")
    parts = chosen(list_frames(tiny_data), "test")
    said = Said(frames=parts.test, logits=(), unreadable=())
    svm = SupportVectors(tiny_config, work=tmp_path, console=Console(quiet=True))
    with pytest.raises(TrainingError, match=r"cannot be kept in .*embeddings \(File exists\)"):
        svm(parts, said)
