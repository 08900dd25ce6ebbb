"""Fitting: it ends the same however often it was stopped, and stops when it should."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.errors import TrainingError
from training.config import (
    Block,
    Fitting,
    Head,
    Monitor,
    Optimizer,
    Precision,
    Pretrained,
    Schedule,
    Scratch,
    TrainConfig,
)
from training.data.folders import list_frames
from training.fitting.checkpoint import Phase
from training.fitting.devices import prepare_devices, within_memory
from training.fitting.network import build
from training.fitting.train import Fitted, Task, fit, write_log
from training.pipeline.prepare import split_of
from training.pipeline.shards import PackedFrames, Pictures, pack
from training.pipeline.views import KeptViews

if TYPE_CHECKING:
    from training.fitting.checkpoint import Epoch
    from training.pipeline.shards import Examples

ROOT = Path(__file__).parents[2]

# Nothing is ever an improvement: the rate falls behind epochs 3 and 5, and the sixth is the last.
PATIENT = TrainConfig(
    network=Scratch(blocks=(Block(filters=4, dropout=0.2),)),
    input_height_px=36,
    input_width_px=64,
    head=Head(layers=1, units=8, dropout=0.3),
    fitting=Fitting(
        batch_size=16,
        epochs=40,
        learning_rate=1e-2,
        optimizer=Optimizer.SGD,
        schedule=Schedule.PLATEAU,
        plateau_patience=2,
        plateau_factor=0.1,
        monitor=Monitor.LOSS,
        min_delta=1e9,
        patience=5,
        blended_share=0.2,
    ),
    plain_share=0.5,
)


class Stopped(Exception):
    """As a kill between two epochs."""


@pytest.fixture(scope="module")
def frames(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedFrames:
    return pack(list_frames(tiny_data), tmp_path_factory.mktemp("frames"), progress=lambda done, total: None)


def task_of(frames: PackedFrames, config: TrainConfig) -> Task:
    split = split_of(frames, is_tested=True)
    return Task(
        examples=Pictures(frames=frames, augment=config.augment, plain_share=config.plain_share),
        labels=frames.labels,
        streams=frames.streams,
        train=split.train,
        validation=split.validation,
        games=len(frames.games),
    )


def fitted(
    frames: PackedFrames,
    config: TrainConfig,
    directory: Path | None = None,
    *,
    stop: int = 0,
    examples: Examples | None = None,
) -> Fitted:
    """A training; with `stop`, one that is stopped behind that epoch."""

    def told(epoch: Epoch) -> None:
        if epoch.number == stop:
            raise Stopped

    devices = prepare_devices(config.fitting.precision)
    task = task_of(frames, config)
    if examples is not None:
        task = dataclasses.replace(task, examples=examples)
    return fit(task, config=config, devices=devices, directory=directory, progress=told)


def same(one: Fitted, other: Fitted) -> None:
    """The same way, but for the time it took, and the same end."""
    assert [epoch.phase for epoch in one.epochs] == [epoch.phase for epoch in other.epochs]
    for ours, theirs in zip(one.epochs, other.epochs, strict=True):
        told = [
            [epoch.number, epoch.loss, epoch.learning_rate, epoch.validation_loss, epoch.validation_streams_right]
            for epoch in (ours, theirs)
        ]
        assert told[0] == pytest.approx(told[1], rel=1e-4)
    assert one.best_epoch == other.best_epoch
    for ours, theirs in zip(one.network.tail.get_weights(), other.network.tail.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


pytestmark = pytest.mark.timeout(300)  # TensorFlow takes its time where processors are shared


@pytest.fixture(scope="module")
def patient(frames: PackedFrames) -> Fitted:
    return fitted(frames, PATIENT)


def test_the_rate_falls_on_a_plateau_and_patience_ends(patient: Fitted) -> None:
    rates = [epoch.learning_rate for epoch in patient.epochs]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 1e-3, 1e-3, 1e-4])
    assert patient.best_epoch == 1 + int(np.argmin([epoch.validation_loss for epoch in patient.epochs]))


def test_stopped_in_the_middle_of_patience_and_behind_a_fall_of_the_rate_it_ends_the_same(
    frames: PackedFrames, patient: Fitted, tmp_path: Path
) -> None:
    for stop in (2, 4):
        with pytest.raises(Stopped):
            fitted(frames, PATIENT, tmp_path / "way", stop=stop)
    same(fitted(frames, PATIENT, tmp_path / "way"), patient)


KILLED = """
import pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tests.training.test_train import PATIENT, fitted
fitted(pickle.loads(Path(sys.argv[1]).read_bytes()), PATIENT, Path(sys.argv[2]))
"""


def test_killed_at_any_moment_it_ends_the_same(frames: PackedFrames, patient: Fitted, tmp_path: Path) -> None:
    (tmp_path / "frames").write_bytes(pickle.dumps(frames))
    state = tmp_path / "way" / "state.json"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "frames"), str(tmp_path / "way"), str(ROOT)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    ) as child:
        while not state.exists():
            assert child.poll() is None
            time.sleep(0.005)
        time.sleep(random.Random(1).uniform(0.0, 0.3))
        child.send_signal(signal.SIGKILL)
    same(fitted(frames, PATIENT, tmp_path / "way"), patient)


def test_a_training_that_is_over_is_only_told_again(frames: PackedFrames, tmp_path: Path) -> None:
    short = dataclasses.replace(PATIENT, fitting=dataclasses.replace(PATIENT.fitting, epochs=1))
    first = fitted(frames, short, tmp_path / "way")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "way").iterdir()}
    again = fitted(frames, short, tmp_path / "way")
    assert again.epochs == first.epochs
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "way").iterdir()} == before


def test_another_configuration_begins_anew(frames: PackedFrames, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fitted(frames, PATIENT, tmp_path / "way", stop=2)
    other = dataclasses.replace(PATIENT, seed=1)
    with pytest.raises(Stopped):
        fitted(frames, other, tmp_path / "way", stop=1)
    assert json.loads((tmp_path / "way" / "state.json").read_text())["best"] == 1


def test_a_corrupt_checkpoint_is_one_sentence(frames: PackedFrames, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fitted(frames, PATIENT, tmp_path / "way", stop=1)
    running = tmp_path / "way" / "epoch-0001.npz"
    running.write_bytes(running.read_bytes()[:100])
    with pytest.raises(TrainingError, match="delete that folder to begin this training anew"):
        fitted(frames, PATIENT, tmp_path / "way")


# The head, then the last block less batch norm, on a falling rate, with averaged weights.
TWO_PHASES = TrainConfig(
    network=Pretrained(name="MobileNetV2", weights="none", stem_end="block_14_add", tuned_from="block_16_expand"),
    input_height_px=36,
    input_width_px=64,
    head=Head(dropout=0.2),
    fitting=Fitting(
        batch_size=16,
        head_epochs=2,
        head_rate=1e-2,
        epochs=2,
        learning_rate=1e-3,
        optimizer=Optimizer.ADAMW,
        weight_decay=1e-2,
        average_momentum=0.9,
        schedule=Schedule.COSINE,
        monitor=Monitor.STREAMS,
        min_delta=0.0,
    ),
    augment=None,
)


@pytest.fixture(scope="module")
def activations(frames: PackedFrames) -> KeptViews:
    stem = build(TWO_PHASES, games=3).stem
    assert stem is not None
    plain = stem.predict_on_batch(np.stack([frames.picture(row) for row in range(len(frames))])).astype(np.float16)
    return KeptViews(views=(plain,), with_overlays=plain, plain_share=1.0)


@pytest.mark.slow
def test_stopped_in_each_phase_a_fine_tuning_ends_the_same(
    frames: PackedFrames, activations: KeptViews, tmp_path: Path
) -> None:
    tuned = fitted(frames, TWO_PHASES, examples=activations)
    assert [epoch.phase for epoch in tuned.epochs] == [Phase.HEAD, Phase.HEAD, Phase.WHOLE, Phase.WHOLE]
    for stop in (1, 3):
        with pytest.raises(Stopped):
            fitted(frames, TWO_PHASES, tmp_path / "way", stop=stop, examples=activations)
    same(fitted(frames, TWO_PHASES, tmp_path / "way", examples=activations), tuned)


def test_a_loss_that_is_no_number_ends_with_one_sentence(frames: PackedFrames) -> None:
    wild = dataclasses.replace(PATIENT.fitting, learning_rate=1e25)
    with pytest.raises(TrainingError, match="no longer a number: the learning rate is too high"):
        fitted(frames, dataclasses.replace(PATIENT, fitting=wild))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."),
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"),
    ],
)
def test_what_does_not_fit_in_memory_is_one_sentence(error: Exception) -> None:
    with pytest.raises(TrainingError, match="does not fit in memory: choose a smaller batch_size"), within_memory():
        raise error


@pytest.mark.parametrize("error", [TrainingError("Something else."), ValueError("x"), KeyboardInterrupt()])
def test_any_other_error_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, within_memory():
        raise error
    assert raised.value is error


def test_tensorboard_gets_its_logs(frames: PackedFrames, tmp_path: Path) -> None:
    config = dataclasses.replace(PATIENT, fitting=dataclasses.replace(PATIENT.fitting, epochs=1))
    fit(
        task_of(frames, config),
        config=config,
        devices=prepare_devices(Precision.FLOAT32),
        directory=None,
        progress=lambda epoch: None,
        tensorboard=tmp_path,
    )
    assert list((tmp_path / "whole").rglob("events.out.tfevents.*"))


def test_the_log_has_a_line_an_epoch(patient: Fitted) -> None:
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(write_log(patient.epochs))))
    assert [int(row["number"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "learning_rate", "validation_loss", "validation_streams_right", "seconds"} <= set(rows[0])
