"""One small training, from JPEG files to an artifact that the bot's own runtime answers with."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.errors import ArtifactError, TrainingError
from core.frames import decode_jpeg
from core.recognition.aggregate import aggregate
from core.recognition.artifact import Artifact, read_artifact
from core.recognition.runtime import Network
from training.config import Pretrained, TrainConfig, preset, presets
from training.fitting import network
from training.run import RunOptions, run

if TYPE_CHECKING:
    from pathlib import Path

# On a busy machine TensorFlow takes minutes for what follows.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tiny_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    root = tmp_path_factory.mktemp("trained")
    options = RunOptions(data=tiny_data, stored=tiny_data, out=root / "model", work=root / "work", version="tiny-1")
    run(options, config=tiny_config)
    return read_artifact(root / "model")


def test_the_bots_runtime_names_the_games_with_it(trained: Artifact, tiny_data: Path) -> None:
    runtime = Network(trained, threads=1)
    for game in ("bars", "dots", "frame"):
        files = sorted((tiny_data / game).rglob("*.jpg"))
        pictures = np.stack([decode_jpeg(path.read_bytes()) for path in files])
        verdict = aggregate(runtime.logits(pictures), at_s=[0.0] * len(files), rule=trained.rule)
        assert verdict.best.game.id == game


def test_the_manifest_says_what_it_was_trained_on(trained: Artifact) -> None:
    assert [label.id for label in trained.manifest.labels] == ["bars", "dots", "frame"]
    assert (trained.manifest.data_set.games, trained.manifest.data_set.streams) == (3, 15)
    assert trained.manifest.data_set.frames == 60


def test_report_card_log_and_configuration_lie_beside_it(trained: Artifact, tiny_config: TrainConfig) -> None:
    files = trained.manifest.files
    assert {"README.md", "config.json", "log.csv", "network.tflite", "report.html", "golden.json"} <= set(files)
    card = (trained.directory / "README.md").read_text()
    assert "| bars | 5 | 1 | 20 |" in card
    report = (trained.directory / "report.html").read_text()
    assert "data:image/png;base64," in report
    assert 'src="http' not in report
    for heading in (
        "The surest mistakes",
        "What it looks at",
        "How sure, and how often right",
        "What training changes",
    ):
        assert heading in report
    assert json.loads((trained.directory / "config.json").read_text())["network"]["name"] == "MobileNetV2"


def test_a_model_is_never_written_over(
    trained: Artifact, tiny_data: Path, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="never written over"):
        run(RunOptions(data=tiny_data, stored=tiny_data, out=trained.directory, work=tmp_path), config=tiny_config)


def test_figures_that_are_none_are_refused_before_anything_is_trained(
    tiny_data: Path, tiny_config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "figures.json").write_text("{}")
    options = RunOptions(
        data=tiny_data, stored=tiny_data, out=tmp_path / "model", work=tmp_path, figures=tmp_path / "figures.json"
    )
    with pytest.raises(TrainingError, match="holds no figures"):
        run(options, config=tiny_config)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "GameNet9000"}, "no pretrained network 'GameNet9000'"),
        ({"stem_end": "block_99"}, "no layer 'block_99'"),
        ({"weights": "missing.weights.h5"}, "missing.weights.h5"),
    ],
)
def test_a_network_that_cannot_be_built_is_one_sentence(
    tiny_config: TrainConfig, change: dict[str, str], sentence: str
) -> None:
    config = dataclasses.replace(tiny_config, network=dataclasses.replace(tiny_config.network, **change))
    with pytest.raises(TrainingError, match=sentence):
        network.build(config, games=3)


def test_the_presets_are_found_by_name_and_an_unknown_one_is_told() -> None:
    assert "starter" in presets()
    starter = preset("starter", weights="none").network
    assert isinstance(starter, Pretrained)
    assert starter.weights == "none"
    with pytest.raises(TrainingError, match=r"there are: .*starter"):
        preset("nonsense")
