from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.frames import encode_jpeg
from core.recognition.aggregate import NoveltyScore
from training.config import (
    Block,
    Fitting,
    Head,
    LayoutConfig,
    Monitor,
    Optimizer,
    Pooling,
    Pretrained,
    Schedule,
    Scratch,
    TrainConfig,
)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three games of five streams of four frames: each game has its interface and ground, each stream its ink."""
    root = tmp_path_factory.mktemp("games")
    for game, name in enumerate(("bars", "dots", "frame")):
        for stream in range(5):
            rng = np.random.default_rng([game, stream])
            # A random network sees little but colour, so each game has its own.
            ground = np.roll([120, 30, 30], game) + rng.integers(-15, 15, size=3)
            ink = tuple(int(level) for level in rng.integers(150, 255, size=3))
            for number in range(4):
                picture = np.full((180, 320, 3), ground.astype(np.uint8))
                picture += rng.integers(0, 30, size=picture.shape).astype(np.uint8)
                if name == "bars":
                    for top in range(0, 180, 24):
                        cv2.rectangle(picture, (0, top), (319, top + 10), ink, -1)
                elif name == "dots":
                    for _ in range(30):
                        middle = (int(rng.integers(320)), int(rng.integers(180)))
                        cv2.circle(picture, middle, 9, ink, -1)
                else:
                    cv2.rectangle(picture, (8, 8), (311, 171), ink, 14)
                path = root / name / f"stream{stream}" / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encode_jpeg(picture))
    return root


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    return TrainConfig(
        network=Pretrained(name="MobileNetV2", weights="none", stem_end="block_2_add"),
        input_height_px=72,
        input_width_px=128,
        head=Head(pooling=Pooling.AVERAGE_AND_MAXIMUM, dropout=0.0),
        fitting=Fitting(
            batch_size=8,
            head_epochs=1,
            head_rate=1e-4,
            epochs=1,
            learning_rate=1e-5,
            optimizer=Optimizer.ADAMW,
            average_momentum=0.5,
            schedule=Schedule.COSINE,
            monitor=Monitor.STREAMS,
            min_delta=0.0,
            patience=1,
            blended_share=0.25,
        ),
        plain_share=0.5,
        views=1,
        layout=LayoutConfig(grid=(3, 4), weight=80.0),
        novelty_score=NoveltyScore.MAX_LOGIT,
        known_refused=0.1,
        streams_per_game=3,
        frames_per_game=10,
    )


@pytest.fixture(scope="session")
def scratch_config() -> TrainConfig:
    return TrainConfig(
        network=Scratch(blocks=(Block(filters=8), Block(filters=8))),
        input_height_px=36,
        input_width_px=64,
        head=Head(pooling=Pooling.AVERAGE_AND_MAXIMUM, layers=1, units=16, dropout=0.0),
        fitting=Fitting(batch_size=8, epochs=4, learning_rate=3e-3),
        augment=None,
        novelty_score=NoveltyScore.MAX_LOGIT,
        known_refused=0.1,
        frames_per_game=10,
    )
