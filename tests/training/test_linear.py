"""A linear machine on a frozen network, measured in the trials of `protocols` beside the networks."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from core.errors import TrainingError
from training import linear as module
from training.config import TrainConfig
from training.data.folders import list_frames
from training.linear import measure_linear
from training.pipeline.prepare import Prepared
from training.pipeline.shards import Pictures, pack
from training.protocols import trials

if TYPE_CHECKING:
    from pathlib import Path

    from training.scoring.figures import LinearFigures

pytestmark = pytest.mark.timeout(300)  # TensorFlow takes its time where processors are shared


@pytest.fixture(scope="module")
def prepared(tiny_data: Path, tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    listing = list_frames(tiny_data)
    frames = pack(listing, tmp_path_factory.mktemp("packed"), progress=lambda done, total: None)
    examples = Pictures(frames=frames, augment=None, plain_share=1.0)
    return Prepared(config=tiny_config, listing=listing, frames=frames, examples=examples)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def measured(prepared: Prepared, work: Path) -> LinearFigures | None:
    planned = trials(prepared.frames, authors=(("dots", "stream1"),))
    return measure_linear(planned, prepared, work=work, console=Console(quiet=True))


def test_it_is_measured_in_every_trial_and_looks_at_each_frame_once(
    prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(prepared, work)
    assert found is not None
    assert found.name == "linear SVM on MobileNetV2"
    assert (found.by_stream.frames, found.by_stream.streams, len(found.parts)) == (60, 15, 5)
    # A random network sees colour, and each game has its own.
    assert found.by_stream.frames_right > 0.6
    assert found.by_random_frame.frames_right >= found.by_stream.frames_right - 0.2
    assert (found.authors["dots-stream1"].frames, found.overlaid.streams) == (4, 15)
    assert 0.0 <= found.stream_auroc <= 1.0

    monkeypatch.setattr(module, "frozen_network", lambda config: pytest.fail("the frames were embedded again"))
    assert measured(prepared, work) == found


def test_a_network_from_scratch_has_none_beside_it(
    prepared: Prepared, scratch_config: TrainConfig, tmp_path: Path
) -> None:
    assert measured(dataclasses.replace(prepared, config=scratch_config), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_kept_is_one_sentence(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("no folder")
    with pytest.raises(TrainingError, match=r"cannot be kept in .*embeddings"):
        measured(prepared, tmp_path)
