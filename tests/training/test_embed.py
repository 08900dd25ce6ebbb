"""Embeddings of frames: of all that can be read, as the network that names the game sees them."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from core.errors import ArtifactError, DataSetError
from core.recognition.artifact import read_artifact
from training.data.folders import list_frames
from training.embed import embed
from training.run import RunOptions, run
from training.scoring.answers import picture_of

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainConfig

pytestmark = pytest.mark.timeout(300)  # TensorFlow takes its time where processors are shared


@pytest.fixture(scope="module")
def model(tiny_data: Path, scratch_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kept")
    config = dataclasses.replace(scratch_config, fitting=dataclasses.replace(scratch_config.fitting, epochs=1))
    options = RunOptions(
        data=tiny_data, stored=tiny_data, out=root / "model", work=root / "work", keeps_keras=True, version="kept-1"
    )
    run(options, config=config)
    return root / "model"


def test_the_games_logits_follow_from_a_frame_s_embedding(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    embed(model, data=tiny_data, stored=tiny_data, out=tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as kept:
        embeddings, files, games = kept["embeddings"], kept["files"], kept["games"]
        streams, parts = kept["streams"], kept["parts"]
    frames = list_frames(tiny_data).frames
    assert files.tolist() == [str(frame.path) for frame in frames]
    assert games.tolist() == [frame.game for frame in frames]
    assert streams.tolist() == [frame.stream for frame in frames]
    assert set(parts.tolist()) == {""}
    whole = keras.models.load_model(model / "network.keras", compile=False)
    kernel, bias = whole.get_layer("tail").get_layer("logits").get_weights()
    assert embeddings.shape == (len(frames), len(kernel))
    assert embeddings.dtype == np.float32
    shown = np.stack([picture_of(frame) for frame in frames[:8]])
    said = whole.predict_on_batch(shown)[:, : len(bias)]
    np.testing.assert_allclose(embeddings[:8] @ kernel + bias, said, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_read_is_left_out_and_counted(
    model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    spoiled = list_frames(tmp_path / "data").frames[3].path
    spoiled.write_bytes(b"no picture")
    found = embed(model, data=tmp_path / "data", stored=tmp_path, out=tmp_path / "some.npz")
    assert str(spoiled) not in found.files.tolist()
    assert len(found.embeddings) == len(found.files) == 59
    assert "59 frames" in (said := capsys.readouterr().out.replace("\n", ""))
    assert "1 cannot be read" in said


def test_a_model_without_a_network_for_keras_says_how_to_have_one(model: Path, tiny_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (copy / "network.keras").unlink()
    manifest = (copy / "manifest.json").read_text()
    kept = read_artifact(model).manifest.files["network.keras"]
    without = "\n".join(line for line in manifest.splitlines() if kept not in line)
    (copy / "manifest.json").write_text(without.replace(",\n  }", "\n  }"))
    with pytest.raises(ArtifactError, match="run --keras"):
        embed(copy, data=tiny_data, stored=tiny_data, out=tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize(
    ("out", "wrong"), [("all.csv", r"ends so instead of all\.csv"), ("no/all.npz", "no such file")]
)
def test_where_nothing_can_be_written_is_one_sentence(
    model: Path, tiny_data: Path, tmp_path: Path, out: str, wrong: str
) -> None:
    with pytest.raises(DataSetError, match=wrong):
        embed(model, data=tiny_data, stored=tiny_data, out=tmp_path / out)
