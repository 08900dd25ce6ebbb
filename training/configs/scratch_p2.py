"""A network from scratch that grows narrower: 128, 64, 32 and 16 filters (P2 of docs/training.md)."""

from __future__ import annotations

from training.config import Balance, Block, Fitting, Head, Pooling, Scratch, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Scratch(blocks=(Block(filters=128), Block(filters=64), Block(filters=32), Block(filters=16))),
        input_height_px=180,
        input_width_px=320,
        head=Head(pooling=Pooling.FLATTEN, layers=1, units=256, dropout=0.5),
        fitting=Fitting(batch_size=16, epochs=10, learning_rate=1e-3, balance=Balance.NONE),
        augment=None,
    )
