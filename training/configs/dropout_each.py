"""A network from scratch with dropout behind each layer, class weights, no augmentation (P4's second)."""

from __future__ import annotations

from training.config import Balance, Block, Fitting, Head, Optimizer, Pooling, Scratch, TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return TrainConfig(
        network=Scratch(
            blocks=(
                Block(filters=32, dropout=0.1),
                Block(filters=32, dropout=0.1),
                Block(filters=64, dropout=0.1),
            )
        ),
        input_height_px=112,
        input_width_px=200,
        head=Head(pooling=Pooling.FLATTEN, layers=1, units=64, dropout=0.25),
        fitting=Fitting(
            batch_size=16, epochs=50, learning_rate=1.0, optimizer=Optimizer.ADADELTA, balance=Balance.WEIGHTED
        ),
        augment=None,
    )
