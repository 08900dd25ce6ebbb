"""A small network from scratch: 16, 32 and 64 filters, one dense layer (P1 of docs/training.md)."""

from __future__ import annotations

from training.config import Block, Fitting, Head, Pooling, Scratch, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Scratch(blocks=(Block(filters=16), Block(filters=32), Block(filters=64))),
        input_height_px=180,
        input_width_px=320,
        head=Head(pooling=Pooling.FLATTEN, layers=1, units=64, dropout=0.5),
        fitting=Fitting(batch_size=32, epochs=10, learning_rate=1e-3),
        augment=None,
    )
