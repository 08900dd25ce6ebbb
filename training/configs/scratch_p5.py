"""A wide network from scratch, 24 million weights, Nesterov's momentum, a falling rate (P5 of docs/training.md)."""

from __future__ import annotations

from training.config import Balance, Block, Fitting, Head, Optimizer, Pooling, Schedule, Scratch, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Scratch(
            blocks=(
                Block(filters=32, convolutions=2, dropout=0.25),
                Block(filters=64, convolutions=2, dropout=0.25),
            )
        ),
        input_height_px=81,
        input_width_px=144,
        head=Head(pooling=Pooling.FLATTEN, layers=1, units=512, dropout=0.5),
        fitting=Fitting(
            batch_size=64,
            epochs=100,
            learning_rate=1e-2,
            optimizer=Optimizer.SGD,
            schedule=Schedule.PLATEAU,
            plateau_patience=10,
            plateau_factor=0.1,
            smallest_rate=1e-6,
            min_delta=1e-4,
            patience=15,
            balance=Balance.WEIGHTED,
        ),
        augment=None,
    )
