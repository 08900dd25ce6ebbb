from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import ArtifactError
from core.recognition.artifact import Manifest, write_artifact
from core.recognition.runtime import Network
from tests.artifacts import brightness_artifact


def pictures(*brightness: int) -> np.ndarray:
    return np.stack([np.full((180, 320, 3), value, dtype=np.uint8) for value in brightness])


def test_every_picture_gets_a_row_of_logits_whatever_their_number(tmp_path: Path) -> None:
    network = Network(brightness_artifact(tmp_path / "model"), threads=1)

    for count in (1, 4, 13, 3, 64):
        shades = np.linspace(0, 255, count).astype(int)
        logits = network.logits(pictures(*shades))
        assert logits.shape == (count, 3)
        assert logits.dtype == np.float32
        assert list(logits.argmax(axis=1)) == [0 if shade < 85 else 1 if shade < 170 else 2 for shade in shades]


def test_a_picture_has_the_same_logits_alone_and_in_company(tmp_path: Path) -> None:
    network = Network(brightness_artifact(tmp_path / "model"), threads=2)

    together = network.logits(pictures(10, 100, 200, 250, 30))
    alone = np.concatenate([network.logits(pictures(value)) for value in (10, 100, 200, 250, 30)])

    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    good = brightness_artifact(tmp_path / "good")
    for name, content in {"text": b"not a network", "cut": good.network_path.read_bytes()[:500], "none": b""}.items():
        manifest = Manifest.model_validate(good.manifest.model_dump())
        bad = write_artifact(tmp_path / name, manifest=manifest, files={"network.tflite": content})
        with pytest.raises(ArtifactError, match="cannot be loaded"):
            Network(bad, threads=1)


def test_a_network_for_other_pictures_is_refused(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "model", network="other_size")

    with pytest.raises(ArtifactError, match=r"takes uint8 \(240, 320, 3\) instead of uint8 \(180, 320, 3\)"):
        Network(artifact, threads=1)


def test_a_network_that_wants_other_numbers_is_refused(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "model", network="float_input")

    with pytest.raises(ArtifactError, match="takes float32"):
        Network(artifact, threads=1)


def test_a_network_with_more_outputs_than_labels_is_refused(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "model", labels=2)

    with pytest.raises(ArtifactError, match=r"gives float32 \(3,\) for a picture, but the manifest has 2 labels"):
        Network(artifact, threads=1)


def test_loading_writes_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Network(brightness_artifact(tmp_path / "model"), threads=1).logits(pictures(1))

    assert capfd.readouterr().err == ""


def test_a_loaded_network_does_not_need_its_file_any_more(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "model")
    program = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from core.recognition.artifact import read_artifact
        from core.recognition.runtime import Network
        network = Network(read_artifact(Path(sys.argv[1])), threads=1)
        (Path(sys.argv[1]) / "network.tflite").write_bytes(b"")
        print(network.logits(np.full((20, 180, 320, 3), 255, np.uint8)).argmax(axis=1).max())
    """

    # In a process of its own: a network that lay in the file would end it with SIGBUS.
    ran = subprocess.run(
        [sys.executable, "-c", program, str(artifact.directory)], check=False, capture_output=True, text=True
    )

    assert (ran.returncode, ran.stdout.strip()) == (0, "2"), ran.stderr
