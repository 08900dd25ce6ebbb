"""InceptionV3, pretrained, its head alone first, then all of it at a tenth of the rate."""

from __future__ import annotations

from training.config import Fitting, Head, Pooling, Pretrained, Schedule, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Pretrained(name="InceptionV3"),
        input_height_px=180,
        input_width_px=320,
        head=Head(pooling=Pooling.AVERAGE, layers=1, units=256, dropout=0.3),
        fitting=Fitting(
            batch_size=32,
            head_epochs=5,
            head_rate=1e-3,
            epochs=20,
            learning_rate=1e-4,
            schedule=Schedule.PLATEAU,
            plateau_patience=3,
            patience=6,
            label_smoothing=0.05,
            blended_share=0.1,
        ),
    )
