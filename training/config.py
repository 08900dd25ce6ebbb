"""How to train, as one frozen value that is saved with the model."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import pkgutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from core.errors import TrainingError
from core.recognition.aggregate import NoveltyScore
from training import configs
from training.pipeline.augment import AugmentConfig

STORED_SHAPE = (180, 320)
"""Height and width of a stored frame; a network cannot see more than it."""


ACTIVATIONS = ("elu", "gelu", "leaky_relu", "relu", "selu", "silu", "swish", "tanh")
"""Of `keras.activations`, what dense layers may have."""


class Balance(StrEnum):
    """What is done about games of which there is more than of others."""

    DRAWN = "drawn"
    """Small games are oversampled: every game, and every stream of a game, is drawn equally often."""
    WEIGHTED = "weighted"
    """Every frame is shown once an epoch, and counts n / (games · frames of its game) (scikit-learn's "balanced")."""
    NONE = "none"
    """Every frame is shown once an epoch and counts the same."""


class Pooling(StrEnum):
    """How a feature map becomes a vector."""

    AVERAGE = "average"
    AVERAGE_AND_MAXIMUM = "average_and_maximum"
    """The mean says what most of the picture is like; the maximum finds the small thing that gives a game away."""
    FLATTEN = "flatten"


class Optimizer(StrEnum):
    """Of `keras.optimizers`."""

    ADAM = "adam"
    ADAMW = "adamw"
    """Decoupled weight decay (Loshchilov and Hutter, ICLR 2019)."""
    ADADELTA = "adadelta"
    SGD = "sgd"
    """With Nesterov's momentum of 0.9."""


class Schedule(StrEnum):
    """How the learning rate falls."""

    COSINE = "cosine"
    """Along a cosine to a twentieth, over all epochs."""
    PLATEAU = "plateau"
    """When what is monitored has not got better for `plateau_patience` epochs (Keras' ReduceLROnPlateau)."""
    CONSTANT = "constant"


class Monitor(StrEnum):
    """What decides which epoch is the best, and when to stop."""

    STREAMS = "streams"
    """Most validation streams named right, among equals most frames. The loss is no guide where streams are few: it
    goes on improving on those that resemble training while others are lost."""
    LOSS = "loss"
    """Lowest loss on validation frames."""


class Precision(StrEnum):
    """Keras' dtype policies. Mixed ones are for GPUs; on a processor they are slower."""

    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"
    MIXED_FLOAT16 = "mixed_float16"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Convolutions of 3 × 3 with ReLU, then maximum pooling of 2 × 2, then dropout."""

    filters: int
    convolutions: int = 1
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scratch:
    """A network whose every weight is learnt from the data set."""

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise TrainingError("A network from scratch needs one block of convolutions at least.")
        for block in self.blocks:
            _at_least("filters", block.filters, 1)
            _at_least("convolutions", block.convolutions, 1)
            _share("dropout", block.dropout)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A network of `keras.applications`.

    Attributes:
        name: as it is called there.
        weights: ``imagenet`` (Keras downloads them), ``none``, or the path of a local weights file.
        stem_end: name of the layer up to which everything stays as pretrained. What the stem makes of each view is
            computed once and kept, so that an epoch costs only the rest. None: frames pass through all of it each
            time, and each example is a new augmentation.
        tuned_from: name of the first layer that fine-tuning changes; None for all behind the stem.
    """

    name: str
    weights: str = "imagenet"
    stem_end: str | None = None
    tuned_from: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What is behind the last feature map.

    Attributes:
        pooling: feature map to vector.
        layers: dense layers before the last one.
        units: of each of these.
        activation: of each of these.
        batch_norm: behind each of these.
        l2: penalty on the weights of these and of the last layer.
        dropout: before the last layer.
    """

    pooling: Pooling = Pooling.AVERAGE
    layers: int = 0
    units: int = 256
    activation: str = "relu"
    batch_norm: bool = False
    l2: float = 0.0
    dropout: float = 0.2

    def __post_init__(self) -> None:
        _at_least("head.layers", self.layers, 0)
        _at_least("head.units", self.units, 1)
        _at_least("head.l2", self.l2, 0.0)
        _share("head.dropout", self.dropout)
        if self.activation not in ACTIVATIONS:
            raise TrainingError(f"There is no activation {self.activation!r}; there are: {', '.join(ACTIVATIONS)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitting:
    """How the weights are found.

    Attributes:
        batch_size: examples per step, over all devices.
        head_epochs: epochs of the head alone on a pretrained network that stays as it is; 0 skips that.
        head_rate: learning rate of those.
        epochs: most epochs of everything (of fine-tuning, where the network was pretrained).
        learning_rate: of those.
        optimizer: of those; the head alone is trained with Adam.
        weight_decay: of AdamW.
        average_momentum: of the moving average of the weights, which is what is validated and kept; 0 keeps the
            weights themselves.
        schedule: how `learning_rate` falls.
        plateau_patience: epochs, of `Schedule.PLATEAU`.
        plateau_factor: what the rate is multiplied with then.
        smallest_rate: it falls no further.
        monitor: what decides.
        min_delta: less than that is no improvement.
        patience: epochs without an improvement after which training ends.
        balance: of games.
        label_smoothing: share of each target that is spread over all games (Szegedy et al., CVPR 2016).
        blended_share: share of the examples that are blends of two games, whose target is every game alike: what is no
            game that the network knows should look like none (outlier exposure, Hendrycks et al., ICLR 2019, without
            foreign pictures).
        precision: of the arithmetic.
    """

    batch_size: int = 32
    head_epochs: int = 0
    head_rate: float = 1e-3
    epochs: int = 10
    learning_rate: float = 1e-3
    optimizer: Optimizer = Optimizer.ADAM
    weight_decay: float = 0.0
    average_momentum: float = 0.0
    schedule: Schedule = Schedule.CONSTANT
    plateau_patience: int = 10
    plateau_factor: float = 0.1
    smallest_rate: float = 1e-6
    monitor: Monitor = Monitor.LOSS
    min_delta: float = 1e-4
    patience: int = 15
    balance: Balance = Balance.DRAWN
    label_smoothing: float = 0.0
    blended_share: float = 0.0
    precision: Precision = Precision.FLOAT32

    def __post_init__(self) -> None:
        _at_least("batch_size", self.batch_size, 1)
        _at_least("head_epochs", self.head_epochs, 0)
        _at_least("epochs", self.epochs, 0)
        if self.epochs + self.head_epochs < 1:
            raise TrainingError("epochs and head_epochs are both 0: nothing would be trained.")
        _above("head_rate", self.head_rate, 0.0)
        _above("learning_rate", self.learning_rate, 0.0)
        _at_least("patience", self.patience, 1)
        _at_least("plateau_patience", self.plateau_patience, 1)
        _share("plateau_factor", self.plateau_factor)
        _share("average_momentum", self.average_momentum)
        _share("label_smoothing", self.label_smoothing)
        _share("blended_share", self.blended_share)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutConfig:
    """The discriminant on where things are on the screen; see `training.fitting.layout`.

    Attributes:
        grid: rows and columns it looks at.
        weight: of its cosines, which are added to the network's log-probabilities.
    """

    grid: tuple[int, int]
    weight: float


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One way to train; a preset in `training/configs/` gives all of it.

    Attributes:
        network: what looks at the pictures.
        input_height_px: what the stored frame is resized to inside the network.
        input_width_px: as above; the picture stays 16:9.
        head: what is behind the last feature map.
        fitting: how the weights are found.
        augment: what is done to training pictures; None shows them as they are.
        plain_share: share of the training examples that are shown without augmentation.
        views: augmented views of each frame that are kept, where the network has a stem.
        layout: needs a stem; None for none.
        novelty_score: what the unknown rule looks at.
        known_refused: share of known games' streams that the unknown rule may refuse.
        streams_per_game: fewer are refused.
        frames_per_game: fewer are refused.
        seed: of everything random.
    """

    network: Pretrained | Scratch
    input_height_px: int
    input_width_px: int
    head: Head
    fitting: Fitting
    augment: AugmentConfig | None = field(default_factory=AugmentConfig)
    plain_share: float = 0.2
    views: int = 0
    layout: LayoutConfig | None = None
    novelty_score: NoveltyScore = NoveltyScore.MAX_PROBABILITY
    known_refused: float = 0.025
    streams_per_game: int = 3
    frames_per_game: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("input_height_px", self.input_height_px, 32)
        if abs(self.input_width_px / self.input_height_px - 16 / 9) > 0.05:
            raise TrainingError(
                f"{self.input_width_px} × {self.input_height_px} pixels are not 16:9; no picture is to be squashed."
            )
        _share("plain_share", self.plain_share)
        _share("known_refused", self.known_refused)
        _at_least("views", self.views, 0)
        if self.layout is not None and not self.has_stem:
            raise TrainingError("The layout looks at what a stem makes of the frames, and this network has no stem.")
        if self.views and (not self.has_stem or self.augment is None):
            raise TrainingError("Views are kept of a stem's activations of augmented frames: name both, or no views.")

    @property
    def has_stem(self) -> bool:
        """Whether what the first layers make of the frames is computed once and kept."""
        return isinstance(self.network, Pretrained) and self.network.stem_end is not None

    @property
    def layout_weight(self) -> float:
        """Of the layout's cosines; 0 without a layout."""
        return 0.0 if self.layout is None else self.layout.weight

    def to_json(self, *, is_portable: bool = True) -> str:
        """The configuration as it is saved with the model: a weights file is named without its folder.

        Args:
            is_portable: if not, the weights file is named as it is here.
        """
        saved = self
        if is_portable and isinstance(self.network, Pretrained):
            named = dataclasses.replace(self.network, weights=Path(self.network.weights).name)
            saved = dataclasses.replace(self, network=named)
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
        TrainingError: there is none, or it is trained from scratch and weights were named.
    """
    if name not in presets():
        raise TrainingError(f"There is no preset {name!r}; there are: {', '.join(presets())}.")
    module = importlib.import_module(f"training.configs.{name}")
    return with_weights(cast("TrainConfig", module.config()), weights)


def read_config(path: Path, *, weights: str | None = None) -> TrainConfig:
    """A configuration from its JSON, as `TrainConfig.to_json` and the verb `tune` write it.

    Raises:
        TrainingError: the file cannot be read or is no configuration.
    """
    try:
        config = TypeAdapter(TrainConfig).validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{path} is no configuration of a training: {where}: {first['msg']}.") from error
    return with_weights(config, weights)


def with_weights(config: TrainConfig, weights: str | None) -> TrainConfig:
    """The configuration with other pretrained weights; None leaves it as it is.

    Raises:
        TrainingError: it is trained from scratch.
    """
    if weights is None:
        return config
    if not isinstance(config.network, Pretrained):
        raise TrainingError("This preset is trained from scratch and takes no pretrained weights.")
    return dataclasses.replace(config, network=dataclasses.replace(config.network, weights=weights))


def _at_least(name: str, value: float, least: float) -> None:
    if not math.isfinite(value) or value < least:
        raise TrainingError(f"{name} is {value:g}; it must be {least:g} at least.")


def _above(name: str, value: float, bound: float) -> None:
    if not math.isfinite(value) or value <= bound:
        raise TrainingError(f"{name} is {value:g}; it must be above {bound:g}.")


def _share(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise TrainingError(f"{name} is {value:g}; it must be 0 or more, and below 1.")
