"""A training without TensorFlow is finished where there is one, and gives the same model."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from core.errors import ArtifactError, TrainingError
from core.recognition.artifact import read_artifact
from core.recognition.runtime import Network
from training import finish as ending
from training import run as verb
from training.finish import Trained, finish, finish_unfinished
from training.run import RunOptions, run

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainConfig

pytestmark = pytest.mark.timeout(300)  # TensorFlow takes its time where processors are shared


@pytest.fixture(scope="module")
def trained(tiny_data: Path, scratch_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What `run` has when only the ending is left."""
    root = tmp_path_factory.mktemp("trained")
    kept: list[Trained] = []
    config = dataclasses.replace(scratch_config, fitting=dataclasses.replace(scratch_config.fitting, epochs=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "finish", lambda trained, **_: kept.append(trained))
        run(RunOptions(data=tiny_data, stored=tiny_data, out=root / "model", work=root / "work"), config=config)
    return kept[0]


@pytest.fixture(scope="module")
def unfinished(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("unfinished")
    find = importlib.util.find_spec
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ending.importlib.util, "find_spec", lambda name, *rest: None if name == "tensorflow" else find(name, *rest)
        )
        finish(trained, out=root / "model", console=Console(quiet=True))
    assert not (root / "model").exists()
    return root / "model.unfinished"


@pytest.fixture(scope="module")
def direct(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("direct") / "model"
    finish(trained, out=out, console=Console(quiet=True))
    return out


def test_finished_later_it_is_the_same_model(direct: Path, unfinished: Path, trained: Trained, tmp_path: Path) -> None:
    finish_unfinished(unfinished, out=tmp_path / "model")
    one, other = read_artifact(direct), read_artifact(tmp_path / "model")
    assert set(one.manifest.files) == set(other.manifest.files)
    assert dataclasses.astuple(one.rule) == dataclasses.astuple(other.rule)
    without_sums = [artifact.manifest.model_copy(update={"files": {}}) for artifact in (one, other)]
    assert without_sums[0] == without_sums[1]
    pictures = trained.compared[:8]
    logits = [Network(artifact, threads=1).logits(pictures) for artifact in (one, other)]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)
    for name in ("config.json", "log.csv"):
        assert (direct / name).read_bytes() == (tmp_path / "model" / name).read_bytes()
    goldens: list[Any] = [json.loads((root / "golden.json").read_text()) for root in (direct, tmp_path / "model")]
    assert [len(golden["frames"]) for golden in goldens] == [len(trained.golden)] * 2
    assert "same answer as Keras" in (tmp_path / "model" / "README.md").read_text()


def test_neither_is_ever_written_over(direct: Path, unfinished: Path, trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="already something at"):
        finish_unfinished(unfinished, out=direct)
    (tmp_path / "model.unfinished").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending.importlib.util, "find_spec", lambda *_: None)
        with pytest.raises(ArtifactError, match="finish it or delete it"):
            finish(trained, out=tmp_path / "model", console=Console(quiet=True))
    assert {path.name for path in tmp_path.iterdir()} == {"model.unfinished"}


@pytest.mark.parametrize("damage", ["draft.json", "network.keras", "nothing there"])
def test_what_is_not_whole_is_one_sentence(unfinished: Path, tmp_path: Path, damage: str) -> None:

    copy = tmp_path / "copy"
    if damage != "nothing there":
        shutil.copytree(unfinished, copy)
        (copy / damage).write_text("{}")
    with pytest.raises(TrainingError, match="not what a training without TensorFlow leaves, or not whole"):
        finish_unfinished(copy, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()
