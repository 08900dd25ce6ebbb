"""A network from scratch with dropout before the last layer and augmentation (P4's first model)."""

from __future__ import annotations

from training.config import Block, Fitting, Head, Optimizer, Pooling, Scratch, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Scratch(blocks=(Block(filters=32), Block(filters=32), Block(filters=64))),
        input_height_px=112,
        input_width_px=200,
        head=Head(pooling=Pooling.FLATTEN, layers=1, units=64, dropout=0.5),
        # Keras' Adadelta begins a thousand times slower than the one that P4 used.
        fitting=Fitting(batch_size=16, epochs=50, learning_rate=1.0, optimizer=Optimizer.ADADELTA),
    )
