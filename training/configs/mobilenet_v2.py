"""MobileNetV2, pretrained: its head alone first, then all of it at a tenth of the rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.fitting.transfer import transfer

if TYPE_CHECKING:
    from training.config import TrainConfig


def config() -> TrainConfig:
    """The whole of it."""
    return transfer("MobileNetV2")
