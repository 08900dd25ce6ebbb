"""Small real model directories for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from core.games import Game
from core.recognition.artifact import Artifact, Manifest, write_artifact
from core.recognition.golden import golden_files
from core.recognition.runtime import Network
from tests.fakes import GAMES, RULE

NETWORKS = Path(__file__).parent / "data" / "networks"


def brightness_artifact(
    directory: Path,
    *,
    network: str = "brightness",
    labels: int = 3,
    threshold: float = 100.0,
    version: str = "test-1",
    games: Sequence[Game] = GAMES,
    files: Mapping[str, Path | bytes] = MappingProxyType({}),
) -> Artifact:
    """A model that tells dark, middle and bright pictures apart as the three GAMES of ``tests.fakes``.

    ``games`` in another order make it err: it calls the first dark, the second middle, the third bright.
    """
    names = [*games, *games][:labels]
    manifest = Manifest.model_validate(
        {
            "version": version,
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
    return write_artifact(
        directory, manifest=manifest, files={"network.tflite": NETWORKS / f"{network}.tflite", **files}
    )


def golden_brightness_files() -> dict[str, bytes]:
    """A golden set for the model above: a dark, a middle and a bright picture as the three GAMES."""
    shades = zip(GAMES, (10, 120, 250), strict=True)
    network = Network.of_content((NETWORKS / "brightness.tflite").read_bytes(), labels=3, threads=1)
    return golden_files(
        [(game.id, np.full((180, 320, 3), shade, np.uint8)) for game, shade in shades],
        rule=RULE,
        logits=network.logits,
    )
