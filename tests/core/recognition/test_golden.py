from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import ArtifactError
from core.recognition.artifact import Artifact, read_artifact, write_artifact
from core.recognition.golden import (
    GOLDEN_NAME,
    chances_of,
    farthest_from_recorded,
    golden_files,
    read_golden,
    right_answers,
)
from core.recognition.runtime import Network
from tests.artifacts import brightness_artifact
from tests.fakes import GAMES

PICTURES = [
    (game.id, np.full((180, 320, 3), shade, np.uint8)) for game, shade in zip(GAMES, (10, 120, 250), strict=True)
]


def with_golden(tmp_path: Path, *, changed: dict[str, bytes] | None = None) -> Artifact:
    plain = brightness_artifact(tmp_path / "plain")
    network = Network(plain, threads=1)
    files = golden_files(PICTURES, rule=plain.rule, logits=network.logits) | (changed or {})
    return write_artifact(
        tmp_path / "golden", manifest=plain.manifest, files={"network.tflite": plain.network_path, **files}
    )


def test_what_a_network_said_of_its_golden_frames_it_says_again(tmp_path: Path) -> None:
    artifact = with_golden(tmp_path)

    golden = read_golden(read_artifact(artifact.directory))

    assert golden is not None
    assert golden.games == tuple(game.id for game in GAMES)
    chances = chances_of(Network(artifact, threads=1).logits(golden.pictures), artifact.rule)
    assert farthest_from_recorded(golden, chances) < 1e-5
    labels = artifact.rule.labels
    assert right_answers(golden, chances, labels=labels, among=set(golden.games)) == 3
    assert right_answers(golden, chances, labels=labels, among={GAMES[0].id}) == 1
    assert right_answers(golden, chances[::-1], labels=labels, among=set(golden.games)) == 1


def test_a_network_that_is_no_artifacts_yet_says_the_same(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "plain")
    pictures = np.stack([picture for _, picture in PICTURES])

    early = Network.of_content(artifact.network_path.read_bytes(), labels=3, threads=1)

    np.testing.assert_allclose(early.logits(pictures), Network(artifact, threads=1).logits(pictures), atol=1e-6)
    with pytest.raises(ArtifactError, match="2 labels and 2 genres"):
        Network.of_content(artifact.network_path.read_bytes(), labels=2, genres=2, threads=1)


def test_a_model_need_not_have_a_golden_set(tmp_path: Path) -> None:
    assert read_golden(brightness_artifact(tmp_path / "plain")) is None


def faulty(**frame: object) -> dict[str, bytes]:
    frames = [{"file": "golden/0001.jpg", "game": "chess", "probabilities": [0.5, 0.25, 0.25]} | frame]
    return {GOLDEN_NAME: json.dumps({"format": 1, "frames": frames}).encode()}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({GOLDEN_NAME: b"{}"}, "not as it is written"),
        ({GOLDEN_NAME: b"not JSON"}, "not as it is written"),
        (faulty(probabilities=[0.5, 0.5]), "2 probabilities"),
        (faulty(probabilities=[2.0, 0.0, 0.0]), "not as it is written"),
        (faulty(file="golden/0009.jpg"), "which the manifest does not"),
        (faulty(file="../../secret.jpg"), "not as it is written"),
        ({"golden/0002.jpg": b"no picture"}, "not a JPEG"),
    ],
)
def test_a_faulty_golden_set_is_refused_with_a_sentence(tmp_path: Path, changed: dict[str, bytes], said: str) -> None:
    artifact = with_golden(tmp_path, changed=changed)

    with pytest.raises(ArtifactError, match=said):
        read_golden(artifact)


def test_a_golden_set_has_frames(tmp_path: Path) -> None:
    plain = brightness_artifact(tmp_path / "plain")

    with pytest.raises(ValueError, match="not 0"):
        golden_files([], rule=plain.rule, logits=Network(plain, threads=1).logits)
