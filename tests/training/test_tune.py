"""A search on real networks, as its user starts it; what it never looks at, and what a kill costs."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import DataSetError, TrainingError
from training import tune as verb
from training.__main__ import app
from training.config import Scratch, read_config
from training.pipeline.prepare import split_of
from training.pipeline.shards import Pictures
from training.search.search_space import search_space
from training.tune import TuneOptions, tune

if TYPE_CHECKING:
    from training.config import TrainConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(scratch_config: TrainConfig) -> TrainConfig:
    return dataclasses.replace(
        scratch_config, fitting=dataclasses.replace(scratch_config.fitting, epochs=2, batch_size=16)
    )


def options(data: Path, root: Path, **changes: Any) -> TuneOptions:
    asked: dict[str, Any] = {"trials": 2, **changes}
    return TuneOptions(data=data, stored=data, out=root / "best.json", work=root / "work", **asked)


@pytest.fixture(scope="module")
def searched(
    tiny_data: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[int], list[Any]]:
    """The folder of a search, the rows that its trials were shown, and the tasks they were given."""
    root = tmp_path_factory.mktemp("search")
    shown: list[int] = []
    tasks: list[Any] = []

    def plain(self: Pictures, rows: np.ndarray) -> np.ndarray:
        shown.extend(rows.tolist())
        return np.stack([self.frames.picture(int(row)) for row in rows])

    def training(self: Pictures, row: int, rng: np.random.Generator) -> np.ndarray:
        shown.append(row)
        return self.frames.picture(row)

    whole_fit = verb.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pictures, "plain", plain)
        patch.setattr(Pictures, "training", training)
        patch.setattr(verb, "fit", lambda task, **rest: tasks.append(task) or whole_fit(task, **rest))
        space = search_space(config, backbones=(), heights_px=(36,), most_epochs=2)
        tune(options(tiny_data, root, picture=root / "search.png", trials=3), space=space)
    return root, shown, tasks


def test_the_best_is_a_configuration_that_run_takes(searched: tuple[Path, list[int], list[Any]]) -> None:
    root, _, _ = searched
    best = read_config(root / "best.json")
    assert isinstance(best.network, Scratch)
    assert best.fitting.epochs in {1, 2}
    assert (root / "search.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in root.iterdir()} == {"best.json", "search.png", "work", "work-tune.db"}


def test_no_frame_of_the_test_is_ever_shown_or_asked(searched: tuple[Path, list[int], list[Any]]) -> None:
    _, shown, tasks = searched
    examples = tasks[0].examples
    split = split_of(examples.frames, is_tested=True)
    assert len(split.test)
    assert set(shown) == {*split.train.tolist(), *split.validation.tolist()}


def test_a_search_that_has_all_its_trials_is_told_again_without_training(
    searched: tuple[Path, list[int], list[Any]],
    tiny_data: Path,
    config: TrainConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, _, tasks = searched
    before = len(tasks)
    (root / "best.json").unlink()
    space = search_space(config, backbones=(), heights_px=(36,), most_epochs=2)
    tune(options(tiny_data, root, trials=3, is_json=True), space=space)
    found = json.loads(capsys.readouterr().out)
    assert len(tasks) == before
    assert found["trials"]["running"] == 0
    assert found["trials"]["complete"] + found["trials"]["pruned"] == 3
    assert 0.0 <= found["best"]["streams_right"] <= 1.0
    assert found["best"]["parameters"]["epochs"] == read_config(root / "best.json").fitting.epochs


def test_other_bounds_are_another_study(
    searched: tuple[Path, list[int], list[Any]], tiny_data: Path, config: TrainConfig
) -> None:
    root, _, _ = searched
    with pytest.raises(TrainingError, match="'study' is of other data, another preset or other bounds"):
        tune(options(tiny_data, root), space=search_space(config, backbones=(), heights_px=(36,), most_epochs=9))


def test_a_trial_that_fails_counts_with_its_reason_and_the_search_goes_on(
    tiny_data: Path,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole_fit, begun = verb.fit, []

    def fails_first(*given: Any, **rest: Any) -> Any:
        begun.append(rest["config"])
        if len(begun) == 1:
            raise TrainingError("The loss is no longer a number.")
        return whole_fit(*given, **rest)

    monkeypatch.setattr(verb, "fit", fails_first)
    space = search_space(config, backbones=(), heights_px=(36,), most_epochs=1)
    tune(options(tiny_data, tmp_path, is_json=True), space=space)
    found = json.loads(capsys.readouterr().out)
    assert found["trials"] == {"complete": 1, "pruned": 0, "failed": 1, "running": 0}
    assert found["failures"] == {"1": "The loss is no longer a number."}


def test_what_is_below_the_least_accuracy_after_its_first_epoch_is_given_up(
    tiny_data: Path, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing is learnt at this rate, and three games are no more than a third right.
    slow = dataclasses.replace(config, fitting=dataclasses.replace(config.fitting, learning_rate=1e-6))
    space = search_space(slow, backbones=(), heights_px=(36,), most_epochs=2)
    with pytest.raises(TrainingError, match="Not one of 1 trials came to its end"):
        tune(options(tiny_data, tmp_path, trials=1, least_accuracy=0.9), space=space)
    assert "epoch 1" in (told := capsys.readouterr().out)
    assert "epoch 2" not in told
    assert not (tmp_path / "best.json").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"trials": 0}, "one trial at least"), ({"least_accuracy": 50.0}, "is a share: 0 or more, and below 1")],
)
def test_what_cannot_be_asked_is_one_sentence(
    tiny_data: Path, config: TrainConfig, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    space = search_space(config, backbones=(), heights_px=(36,), most_epochs=1)
    with pytest.raises(TrainingError, match=sentence):
        tune(options(tiny_data, tmp_path, **changes), space=space)


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(
    tiny_data: Path, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "fit", lambda *_, **__: pytest.fail("something was trained"))
    (tmp_path / "file").write_text("")
    asked = dataclasses.replace(options(tiny_data, tmp_path), picture=tmp_path / "file" / "search.png")
    with pytest.raises(DataSetError, match="cannot be made: file exists"):
        tune(asked, space=search_space(config, backbones=(), heights_px=(36,), most_epochs=1))


def test_bad_input_at_the_command_line_is_one_sentence(tmp_path: Path) -> None:
    given = ["tune", "--data", str(tmp_path), "--out", str(tmp_path / "o.json"), "--backbone", "GameNet9000"]
    ended = CliRunner().invoke(app, given)
    assert isinstance(ended.exception, TrainingError)
    assert "no pretrained network 'GameNet9000'" in str(ended.exception)


@pytest.mark.slow
@pytest.mark.timeout(300)  # another process loads TensorFlow
def test_a_search_that_is_killed_in_the_middle_of_a_trial_goes_on_behind_its_last_epoch(
    tiny_data: Path, config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = dataclasses.replace(config, fitting=dataclasses.replace(config.fitting, epochs=30))
    (tmp_path / "config.json").write_text(long.to_json())
    given = [
        sys.executable, "-m", "training", "tune", "--data", str(tiny_data), "--config", str(tmp_path / "config.json"),
        "--out", str(tmp_path / "best.json"), "--work", str(tmp_path / "work"), "--trials", "1", "--epochs", "30",
        "--height", "36",
    ]  # fmt: skip
    state = tmp_path / "work" / "tune" / "study" / "trial-0000" / "state.json"
    with subprocess.Popen(given, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        while not state.exists():
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    before = [epoch["seconds"] for epoch in json.loads(state.read_text())["epochs"]]
    assert 1 <= len(before) < 30

    seen: list[float] = []
    whole_fit = verb.fit

    def ends_soon(task: Any, *, progress: Any, **rest: Any) -> Any:
        def told(epoch: Any) -> None:
            seen.append(epoch.seconds)
            progress(epoch)
            if len(seen) == len(before) + 1:
                raise TrainingError("That is enough of a test.")

        return whole_fit(task, progress=told, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "fit", ends_soon)
        with pytest.raises(TrainingError, match="Not one of 1 trials"):
            tune(
                options(tiny_data, tmp_path, trials=1),
                space=search_space(long, backbones=(), heights_px=(36,), most_epochs=30),
            )
    assert seen[:-1] == before
    assert "their processes have died: 1 trials" in capsys.readouterr().out
