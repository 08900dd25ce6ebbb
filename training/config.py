"""How to train, as one frozen value that is saved with the model."""

from __future__ import annotations

import dataclasses
import importlib
import json
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from core.errors import TrainingError
from training import configs

if TYPE_CHECKING:
    from core.recognition.aggregate import NoveltyScore
    from training.augment import AugmentConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One way to train; a preset in `training/configs/` gives all of it.

    Attributes:
        backbone: name of a network in `keras.applications`.
        weights: ``imagenet`` (Keras downloads them), ``none``, or the path of a local weights file.
        input_height_px: what the stored frame is resized to inside the network.
        input_width_px: as above; keep 16:9.
        stem_end: name of the backbone layer up to which everything stays as pretrained. What the stem makes of
            each view is computed once and kept, so that an epoch costs only the rest.
        views: augmented views of each frame that are kept beside the frame as it is.
        plain_share: share of the training examples that are shown without augmentation.
        augment: what the views may look like.
        dropout: before the last layer.
        batch_size: examples per step.
        head_epochs: epochs of the last layer alone, before fine-tuning.
        head_rate: learning rate of those.
        epochs: most epochs of fine-tuning.
        learning_rate: of fine-tuning, decayed along a cosine.
        weight_decay: decoupled (Loshchilov and Hutter, ICLR 2019).
        average_momentum: of the moving average of the weights, which is what is validated and kept.
        patience: epochs without a better validation after which fine-tuning ends.
        blended_share: share of the training examples that are blends of two games, whose target is every game
            alike: what is no game that the network knows should look like none (outlier exposure, Hendrycks et
                al., ICLR 2019, without foreign pictures).
        novelty_score: what the unknown rule looks at.
        layout_grid: rows and columns of the grid that the layout's discriminant looks at.
        layout_weight: of its cosines, which are added to the fine-tuned network's log-probabilities.
        known_refused: share of known games' streams that the unknown rule may refuse.
        streams_per_game: fewer are refused.
        frames_per_game: fewer are refused.
        seed: of everything random.
    """

    backbone: str
    weights: str
    input_height_px: int
    input_width_px: int
    stem_end: str
    views: int
    plain_share: float
    augment: AugmentConfig
    dropout: float
    batch_size: int
    head_epochs: int
    head_rate: float
    epochs: int
    learning_rate: float
    weight_decay: float
    average_momentum: float
    patience: int
    blended_share: float
    novelty_score: NoveltyScore
    layout_grid: tuple[int, int]
    layout_weight: float
    known_refused: float
    streams_per_game: int
    frames_per_game: int
    seed: int

    def to_json(self) -> str:
        """The configuration as it is saved with the model; a weights file is named without its folder."""
        saved = dataclasses.replace(self, weights=Path(self.weights).name)
        return json.dumps(dataclasses.asdict(saved), indent=2) + "\n"


def presets() -> tuple[str, ...]:
    """The names of all presets."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(configs.__path__)))


def preset(name: str, *, weights: str | None = None) -> TrainConfig:
    """The preset of this name.

    Args:
        name: of a module in `training/configs`.
        weights: instead of the preset's own.

    Raises:
        TrainingError: there is none.
    """
    if name not in presets():
        raise TrainingError(f"There is no preset {name!r}; there are: {', '.join(presets())}.")
    module = importlib.import_module(f"training.configs.{name}")
    config = cast("TrainConfig", module.config())
    return config if weights is None else dataclasses.replace(config, weights=weights)
