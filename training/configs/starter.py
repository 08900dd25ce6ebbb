"""The starter model: MobileNetV2 that a two-core machine trains in minutes."""

from __future__ import annotations

from training.config import (
    Fitting,
    Head,
    LayoutConfig,
    Monitor,
    Optimizer,
    Pooling,
    Pretrained,
    Schedule,
    TrainConfig,
)


def config() -> TrainConfig:
    """What the committed starter model was trained with."""
    return TrainConfig(
        network=Pretrained(name="MobileNetV2", stem_end="block_12_add"),
        input_height_px=180,
        input_width_px=320,
        head=Head(pooling=Pooling.AVERAGE_AND_MAXIMUM, dropout=0.2),
        fitting=Fitting(
            batch_size=32,
            head_epochs=1,
            head_rate=2e-3,
            epochs=6,
            learning_rate=1e-4,
            optimizer=Optimizer.ADAMW,
            weight_decay=1e-2,
            average_momentum=0.99,
            schedule=Schedule.COSINE,
            monitor=Monitor.STREAMS,
            min_delta=0.0,
            patience=6,
            blended_share=0.15,
        ),
        views=5,
        layout=LayoutConfig(grid=(4, 5), weight=80.0),
    )
