"""Training where there is no TensorFlow: the same verbs on JAX, as a person would run them."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from training.config import TrainConfig

ROOT = Path(__file__).parents[2]
# Compiling for a processor is what takes so long.
pytestmark = pytest.mark.timeout(450)
WITH_TENSORFLOW = ROOT / ".venv" / "bin" / "python"


def training(*words: str, python: str = sys.executable, backend: str = "jax") -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}
    return subprocess.Popen(
        [python, "-m", "training", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> str:
    with process:
        try:
            output, _ = process.communicate(timeout=400)
        finally:
            process.kill()
    assert process.returncode == 0, output
    return output


def losses(unfinished: Path) -> list[float]:
    with (unfinished / "files" / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def run_alone(tiny_data: Path, scratch_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("alone")
    (root / "config.json").write_text(scratch_config.to_json())
    output = told(
        training(
            *("run", "--data", str(tiny_data), "--config", str(root / "config.json")),
            *("--work", str(root / "work"), "--out", str(root / "model")),
        )
    )
    assert "JAX on the processor" in output
    assert f"python -m training finish {root / 'model.unfinished'}" in output
    return root / "model.unfinished"


def test_this_environment_has_no_tensorflow() -> None:
    assert importlib.util.find_spec("tensorflow") is None


def test_a_run_trains_and_leaves_all_that_makes_a_model(run_alone: Path) -> None:
    assert {path.name for path in run_alone.iterdir()} == {"draft.json", "files", "golden", "network.keras"}
    assert {"README.md", "config.json", "log.csv", "report.html"} <= {
        path.name for path in (run_alone / "files").iterdir()
    }
    assert losses(run_alone)[-1] < losses(run_alone)[0]


@pytest.mark.skipif(not WITH_TENSORFLOW.exists(), reason="the environment of `make test` is not there")
def test_where_tensorflow_is_the_bots_model_is_made_of_it(run_alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    output = told(
        training("finish", str(run_alone), "--out", str(out), python=str(WITH_TENSORFLOW), backend="tensorflow")
    )
    assert "the same answer as Keras on 100.0%" in output
    assert {"network.tflite", "manifest.json", "golden.json"} <= {path.name for path in out.iterdir()}


def test_a_pretrained_network_with_a_stem_trains(tiny_data: Path, tiny_config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(tiny_config.to_json())
    told(
        training(
            *("run", "--data", str(tiny_data), "--config", str(tmp_path / "config.json")),
            *("--work", str(tmp_path / "work"), "--out", str(tmp_path / "model")),
        )
    )
    assert len(losses(tmp_path / "model.unfinished")) == 2


def test_two_processes_train_to_the_loss_of_one(
    run_alone: Path, tiny_data: Path, scratch_config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(scratch_config.to_json())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    both = [
        training(
            *("run", "--data", str(tiny_data), "--config", str(tmp_path / "config.json")),
            *("--work", str(tmp_path / "work"), "--out", str(tmp_path / "model")),
            *("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(number)),
        )
        for number in range(2)
    ]
    outputs = [told(process) for process in both]
    assert all("2 × cpu in 2 processes" in output for output in outputs)
    assert losses(tmp_path / "model.unfinished") == pytest.approx(losses(run_alone), rel=1e-3)


def test_mixed_precision_trains(tiny_data: Path, scratch_config: TrainConfig, tmp_path: Path) -> None:
    fitting = dataclasses.replace(scratch_config.fitting, precision="mixed_bfloat16", epochs=1)
    (tmp_path / "config.json").write_text(dataclasses.replace(scratch_config, fitting=fitting).to_json())
    told(
        training(
            *("run", "--data", str(tiny_data), "--config", str(tmp_path / "config.json")),
            *("--work", str(tmp_path / "work"), "--out", str(tmp_path / "model")),
        )
    )
