"""The starter model: MobileNetV2 that a two-core machine trains in minutes."""

from __future__ import annotations

from core.recognition.aggregate import NoveltyScore
from training.augment import AugmentConfig
from training.config import TrainConfig


def config() -> TrainConfig:
    """What the committed starter model was trained with."""
    return TrainConfig(
        backbone="MobileNetV2",
        weights="imagenet",
        input_height_px=180,
        input_width_px=320,
        stem_end="block_12_add",
        views=5,
        plain_share=0.2,
        augment=AugmentConfig(),
        dropout=0.2,
        batch_size=32,
        head_epochs=1,
        head_rate=2e-3,
        epochs=3,
        learning_rate=1e-4,
        weight_decay=1e-2,
        average_momentum=0.99,
        patience=3,
        blended_share=0.15,
        novelty_score=NoveltyScore.MAX_PROBABILITY,
        layout_grid=(4, 5),
        layout_weight=80.0,
        known_refused=0.025,
        streams_per_game=3,
        frames_per_game=20,
        seed=0,
    )
