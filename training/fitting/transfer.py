"""What the transfer presets have in common: a pretrained network, its head alone first, then more at a tenth of it."""

from __future__ import annotations

from training.config import Fitting, Head, Pretrained, Schedule, TrainConfig

_HEAD_RATE = 1e-3


def transfer(name: str, *, tuned_from: str | None = None) -> TrainConfig:
    """A way to train a network of `keras.applications` from its pretrained weights.

    Args:
        name: of the network.
        tuned_from: name of the first layer that fine-tuning changes; None for all.
    """
    return TrainConfig(
        network=Pretrained(name=name, tuned_from=tuned_from),
        input_height_px=180,
        input_width_px=320,
        head=Head(layers=1, units=256, dropout=0.3),
        fitting=Fitting(
            batch_size=32,
            head_epochs=5,
            head_rate=_HEAD_RATE,
            epochs=20,
            learning_rate=_HEAD_RATE / 10,
            schedule=Schedule.PLATEAU,
            plateau_patience=3,
            patience=6,
            label_smoothing=0.05,
            blended_share=0.1,
        ),
    )
