"""A model directory with an untrained MobileNetV2, for timing while there is no trained one.

Its answers mean nothing; its speed is that of a trained one of the same size.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf
import typer

from core.frames import IMAGE_CONVENTION
from core.recognition.aggregate import NoveltyScore
from core.recognition.artifact import (
    DataSetSection,
    ImageSection,
    LabelSection,
    Manifest,
    UnknownSection,
    write_artifact,
)

_GAMES = 33
_NOTHING = "0" * 64


def main(directory: Path) -> None:
    """Write it."""
    convention = IMAGE_CONVENTION
    frames = keras.Input((convention.height_px, convention.width_px, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(frames)
    resized = keras.layers.Resizing(224, 224)(scaled)
    backbone = keras.applications.MobileNetV2(include_top=False, input_shape=(224, 224, 3), weights=None, pooling="avg")
    model = keras.Model(frames, keras.layers.Dense(_GAMES)(backbone(resized, training=False)))
    with tempfile.TemporaryDirectory() as place:
        network = Path(place) / "network.tflite"
        model.export(
            network,
            format="litert",
            verbose=False,
            optimizations=[tf.lite.Optimize.DEFAULT],
            target_spec={"supported_types": [tf.float16]},
        )
        manifest = Manifest(
            version="made-up",
            labels=tuple(LabelSection(id=f"game-{number}", name=f"Game {number}") for number in range(_GAMES)),
            image=ImageSection(
                width_px=convention.width_px,
                height_px=convention.height_px,
                color=convention.color,
                dtype=convention.dtype,
                layout=convention.layout,
                fit=convention.fit,
            ),
            temperature=1.0,
            unknown=UnknownSection(score=NoveltyScore.MAX_LOGIT, threshold=1e9),
            data_set=DataSetSection(name="nothing", sha256=_NOTHING, games=_GAMES, streams=1, frames=1),
            commit="unknown",
            created=datetime.now(UTC).isoformat(),
            files={"network.tflite": _NOTHING},
        )
        write_artifact(directory, manifest=manifest, files={"network.tflite": network})


if __name__ == "__main__":
    typer.run(main)
