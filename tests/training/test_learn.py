"""All that is learnt from a data set, and that the exported graph says what was measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from rich.console import Console

from training.config import Balance, Head, Pooling, Precision
from training.fitting.devices import prepare_devices
from training.fitting.layout import joined
from training.fitting.learn import learn
from training.fitting.train import Task
from training.pipeline.prepare import Prepared, prepare, split_of
from training.pipeline.views import KeptViews

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from training.config import TrainConfig
    from training.fitting.learn import Learnt

pytestmark = pytest.mark.timeout(300)  # TensorFlow takes its time where processors are shared

# Bars and dots are of one kind, frame is of another; nobody is of the third.
MARKS = np.array([[True, False, False], [True, False, False], [False, True, False]])


def prepared_of(data: Path, config: TrainConfig, work: Path) -> Prepared:
    return prepare(data=data, stored=data, config=config, work=work, console=Console(quiet=True))


def learnt_of(prepared: Prepared, *, marks: np.ndarray | None) -> Learnt:
    frames, config = prepared.frames, prepared.config
    split = split_of(frames, is_tested=True)
    task = Task(
        examples=prepared.examples,
        labels=frames.labels,
        streams=frames.streams,
        train=split.train,
        validation=split.validation,
        games=len(frames.games),
    )
    return learn(
        task,
        config=config,
        devices=prepare_devices(config.fitting.precision),
        marks=marks,
        directory=None,
        progress=lambda epoch: None,
        layout_rows=split.train,
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def prepared(tiny_data: Path, tiny_config: TrainConfig, work: Path) -> Prepared:
    return prepared_of(tiny_data, tiny_config, work)


@pytest.fixture(scope="module")
def learnt(prepared: Prepared) -> Learnt:
    return learnt_of(prepared, marks=MARKS)


def test_the_exported_graph_says_what_was_measured(prepared: Prepared, learnt: Learnt) -> None:
    rows = np.arange(0, len(prepared.frames), 2)
    asked = learnt.ask(prepared.examples.plain, rows)
    assert asked.layout is not None
    assert asked.genres is not None
    whole = learnt.whole()
    assert whole.output.shape == (None, 3 + 3)
    said = np.asarray(whole.predict_on_batch(np.stack([prepared.frames.picture(int(row)) for row in rows])))
    weight = prepared.config.layout.weight if prepared.config.layout else 0.0
    # What is kept of the stem is float16, what the graph passes on is float32.
    np.testing.assert_allclose(said[:, :3], asked.joined(weight), atol=0.15)
    np.testing.assert_allclose(said[:, 3:], asked.genres, atol=0.01)
    np.testing.assert_allclose(joined(asked.appearance, asked.layout, weight=weight), asked.joined(weight))
    np.testing.assert_array_equal(learnt.logits(prepared.examples.plain, rows), asked.joined(weight))


def test_nothing_is_said_of_no_frames(prepared: Prepared, learnt: Learnt) -> None:
    asked = learnt.ask(prepared.examples.plain, np.zeros(0, dtype=np.int64))
    assert asked.appearance.shape == (0, 3)
    assert asked.genres is not None
    assert asked.genres.shape == (0, 3)


def test_views_are_computed_once_and_shared_by_all_heads(
    tiny_data: Path, tiny_config: TrainConfig, prepared: Prepared, work: Path
) -> None:
    assert isinstance(prepared.examples, KeptViews)
    before = {path.name: path.stat().st_mtime_ns for path in (work / "views").iterdir()}
    assert len(before) == 3  # plain, with overlays, one augmented view
    other = dataclasses.replace(
        tiny_config,
        head=Head(pooling=Pooling.AVERAGE, layers=2, units=9),
        fitting=dataclasses.replace(tiny_config.fitting, balance=Balance.NONE, learning_rate=1e-3),
    )
    prepared_of(tiny_data, other, work)
    assert {path.name: path.stat().st_mtime_ns for path in (work / "views").iterdir()} == before
    prepared_of(tiny_data, dataclasses.replace(tiny_config, input_height_px=54, input_width_px=96), work)
    assert len(list((work / "views").iterdir())) == 6


def test_a_view_is_half_written_under_another_name(
    tiny_data: Path, tiny_config: TrainConfig, prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was killed in the middle of computing is not taken for whole."""
    assert isinstance(prepared.examples, KeptViews)
    # The larger one is this configuration's.
    path = max((work / "views").glob("view-1-*"), key=lambda path: path.stat().st_size)
    whole = np.load(path)
    path.unlink()
    path.with_suffix(".part.npy").write_bytes(b"half of it")
    again = prepared_of(tiny_data, tiny_config, work).examples
    assert isinstance(again, KeptViews)
    np.testing.assert_array_equal(np.load(path), whole)
    assert not list((work / "views").glob("*.part.npy"))


@pytest.fixture
def mixed() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed")
def test_what_was_trained_in_mixed_precision_is_exported_in_float32(
    tiny_data: Path, scratch_config: TrainConfig, work: Path
) -> None:
    fitting = dataclasses.replace(scratch_config.fitting, precision=Precision.MIXED_BFLOAT16, epochs=1)
    prepared = prepared_of(tiny_data, dataclasses.replace(scratch_config, fitting=fitting), work)
    learnt = learnt_of(prepared, marks=None)
    inner = learnt.fitted.network.tail.get_layer("map").compute_dtype
    assert inner == "bfloat16"
    whole = learnt.whole()
    tail = whole.get_layer("tail")
    assert {layer.compute_dtype for layer in tail.layers} == {"float32"}
    rows = np.arange(10)
    said = np.asarray(whole.predict_on_batch(prepared.examples.plain(rows)))
    assert said.dtype == np.float32
    asked = learnt.ask(prepared.examples.plain, rows)
    assert asked.appearance.dtype == np.float32
    # bfloat16 has three digits.
    np.testing.assert_allclose(said, asked.appearance, atol=0.15)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
