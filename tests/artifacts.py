"""Small real model directories for tests."""

from __future__ import annotations

from pathlib import Path

from core.recognition.artifact import Artifact, Manifest, write_artifact
from tests.fakes import GAMES

NETWORKS = Path(__file__).parent / "data" / "networks"


def brightness_artifact(
    directory: Path, *, network: str = "brightness", labels: int = 3, threshold: float = 100.0
) -> Artifact:
    """A model that tells dark, middle and bright pictures apart as the three GAMES of ``tests.fakes``."""
    names = [*GAMES, *GAMES][:labels]
    manifest = Manifest.model_validate(
        {
            "version": "test-1",
            "labels": [{"id": f"{game.id}{row // 3 or ''}", "name": game.name} for row, game in enumerate(names)],
            "image": {
                "width_px": 320,
                "height_px": 180,
                "color": "RGB",
                "dtype": "uint8",
                "layout": "NHWC",
                "fit": "pad",
            },
            "temperature": 1.0,
            "unknown": {"score": "max_logit", "threshold": threshold},
            "data_set": {"name": "made up", "sha256": "0" * 64, "games": 3, "streams": 3, "frames": 3},
            "commit": "unknown",
            "created": "2026-11-21T10:00:00Z",
            "files": {"network.tflite": "0" * 64},
        }
    )
    return write_artifact(directory, manifest=manifest, files={"network.tflite": NETWORKS / f"{network}.tflite"})
