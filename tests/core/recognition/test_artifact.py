from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import ArtifactError
from core.frames import IMAGE_CONVENTION
from core.games import Game
from core.recognition.aggregate import NoveltyScore
from core.recognition.artifact import Artifact, Manifest, read_artifact, write_artifact

MANIFEST = {
    "version": "m-1",
    "labels": [{"id": "doom", "name": "Freedoom"}, {"id": "chess", "name": "Chess"}],
    "image": {"width_px": 320, "height_px": 180, "color": "RGB", "dtype": "uint8", "layout": "NHWC", "fit": "pad"},
    "temperature": 1.5,
    "unknown": {"score": "energy", "threshold": -3.0},
    "data_set": {"name": "a few", "sha256": "0" * 64, "games": 2, "streams": 4, "frames": 40},
    "commit": "unknown",
    "created": "2026-11-21T10:00:00Z",
    "files": {"network.tflite": "0" * 64},
}
FILES: dict[str, Path | bytes] = {"network.tflite": b"a network", "reports/report.html": b"<p>good</p>"}


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return write_artifact(tmp_path / "model", manifest=Manifest.model_validate(MANIFEST), files=FILES)


def change(artifact: Artifact, **fields: object) -> Path:
    path = artifact.directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return artifact.directory


def test_what_was_written_is_read_back(artifact: Artifact) -> None:
    read = read_artifact(artifact.directory)

    assert read == artifact
    assert read.network_path.read_bytes() == b"a network"
    assert read.rule.labels == (Game(id="doom", name="Freedoom"), Game(id="chess", name="Chess"))
    assert read.rule.temperature == 1.5
    assert read.rule.novelty_score is NoveltyScore.ENERGY
    assert read.rule.unknown_threshold == -3.0
    assert read.rule.model == "m-1"


def test_nothing_is_left_beside_a_written_model(artifact: Artifact) -> None:
    assert [path.name for path in artifact.directory.parent.iterdir()] == ["model"]


def test_a_model_is_never_written_over(artifact: Artifact) -> None:
    with pytest.raises(ArtifactError, match="never written over"):
        write_artifact(artifact.directory, manifest=artifact.manifest, files=FILES)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(MANIFEST)

    with pytest.raises(ArtifactError, match=r"names no network\.tflite"):
        write_artifact(tmp_path / "model", manifest=manifest, files={"other": b""})

    assert list(tmp_path.iterdir()) == []


def test_an_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no model in .*nowhere: the directory does not exist"):
        read_artifact(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"the directory has no manifest\.json"):
        read_artifact(tmp_path)


def test_a_missing_file_is_named(artifact: Artifact) -> None:
    (artifact.directory / "reports/report.html").unlink()

    with pytest.raises(ArtifactError, match=r"incomplete: reports/report\.html is missing"):
        read_artifact(artifact.directory)


def test_one_changed_byte_is_noticed(artifact: Artifact) -> None:
    artifact.network_path.write_bytes(b"a netw0rk")

    with pytest.raises(ArtifactError, match=r"corrupt: network\.tflite"):
        read_artifact(artifact.directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_named(artifact: Artifact) -> None:
    artifact.network_path.chmod(0)

    with pytest.raises(ArtifactError, match=r"cannot be read: network\.tflite: Permission denied"):
        read_artifact(artifact.directory)


def test_a_directory_in_place_of_a_file_is_named(artifact: Artifact) -> None:
    artifact.network_path.unlink()
    artifact.network_path.mkdir()

    with pytest.raises(ArtifactError, match=r"cannot be read: network\.tflite: Is a directory"):
        read_artifact(artifact.directory)


def test_another_image_convention_is_refused(artifact: Artifact) -> None:
    image = {**MANIFEST["image"], "color": "BGR", "height_px": 240}  # type: ignore[dict-item]

    with pytest.raises(ArtifactError, match=r"other pictures than this program takes: .*240 instead of 180.*BGR"):
        read_artifact(change(artifact, image=image))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": 2}, "manifest of format 2; this program reads format 1"),
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"temperature": "warm"}, "temperature: Input should be a valid number"),
        ({"labels": []}, "labels: Tuple should have at least 2 items"),
        ({"labels": [{"id": "a", "name": "A"}] * 2}, "the label 'a' is there twice"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"files": {}}, r"names no network\.tflite"),
        ({"files": {"../secret": "0" * 64}}, "leads out of the directory"),
        ({"files": {"/etc/passwd": "0" * 64}}, "leads out of the directory"),
        ({"unknown": {"score": "feeling", "threshold": 0.0}}, "unknown.score: Input should be"),
        ({"version": "a b/c"}, "version: String should match"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused_by_name(
    artifact: Artifact, fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        read_artifact(change(artifact, **fields))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b'{"format": 1}', b"[" * 99999])
def test_a_manifest_that_is_none_is_refused(artifact: Artifact, content: bytes) -> None:
    (artifact.directory / "manifest.json").write_bytes(content)

    with pytest.raises(ArtifactError):
        read_artifact(artifact.directory)


@given(cut=st.integers(0, 1500), put=st.binary(max_size=8))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_manifest_is_refused_or_still_true_to_its_files(artifact: Artifact, cut: int, put: bytes) -> None:
    path = artifact.directory / "manifest.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:cut] + put + whole[cut + len(put) :])
        try:
            read = read_artifact(artifact.directory)
        except ArtifactError:
            return
        assert set(read.manifest.files) == set(FILES)
    finally:
        path.write_bytes(whole)


def test_the_convention_of_a_manifest_has_the_fields_of_the_codes_own() -> None:
    assert set(MANIFEST["image"]) == set(IMAGE_CONVENTION.__dataclass_fields__)  # type: ignore[arg-type]
