"""What `tune` searches: the parameters, between which bounds, and the configuration that a choice of them makes.

Everything that is not searched stays as the preset has it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from core.errors import TrainingError
from training.config import STORED_SHAPE, Balance, Pretrained, preset, presets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.trial import BaseTrial

    from training.config import Scratch, TrainConfig

Value: TypeAlias = float | int | str | bool
"""Of a parameter."""

Choice = TypeVar("Choice", str, int)

LOGARITHMIC = frozenset({"l2", "learning_rate", "units"})
"""Parameters whose size counts, not their difference."""

_LARGEST_HEIGHT_PX = STORED_SHAPE[0]
_HEIGHTS_PX = (90, 135, 180)
_RATES = (1e-6, 1e-2)
_UNITS = (6, 2048)
_MOST_DROPOUT = 0.9
_MOST_LAYERS = 3
_MOST_SMOOTHING = 0.3
_PENALTIES = (1e-6, 1e-2)
_ACTIVATIONS = ("relu", "tanh")
_FINE_TUNED = 0.1
"""What the head's learning rate is multiplied with where pretrained layers are changed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpace:
    """What may be chosen.

    Attributes:
        base: gives everything that is not chosen.
        networks: pretrained networks to choose from; none where all is learnt from scratch.
        heights_px: of what the network sees, 16:9.
        most_epochs: of fine-tuning, or of the head alone where nothing is fine-tuned.
    """

    base: TrainConfig
    networks: tuple[Pretrained, ...]
    heights_px: tuple[int, ...]
    most_epochs: int

    @property
    def longest(self) -> int:
        """Epochs that a trial can come to."""
        return self.most_epochs + (self._head_epochs if self.networks else 0)

    @property
    def _head_epochs(self) -> int:
        return max(1, self.base.fitting.head_epochs)

    @property
    def _rates(self) -> tuple[float, float]:
        # Adadelta's rate, for one, is of another size than Adam's.
        return _RATES[0], max(_RATES[1], self.base.fitting.learning_rate)

    def chosen(self, trial: BaseTrial) -> TrainConfig:
        """The configuration of a trial's values.

        Raises:
            TrainingError: they do not go together.
        """
        network = self._network(trial)
        height_px = _one_of(trial, "height_px", self.heights_px)
        layers = trial.suggest_int("layers", 0, _MOST_LAYERS)
        head = dataclasses.replace(
            self.base.head,
            layers=layers,
            dropout=trial.suggest_float("dropout", 0.0, _MOST_DROPOUT),
            l2=trial.suggest_float("l2", *_PENALTIES, log=True),
        )
        if layers:
            head = dataclasses.replace(
                head,
                units=trial.suggest_int("units", *_UNITS, log=True),
                activation=str(trial.suggest_categorical("activation", _ACTIVATIONS)),
            )
        rate = trial.suggest_float("learning_rate", *self._rates, log=True)
        epochs = trial.suggest_int("epochs", 1, self.most_epochs)
        fitting = dataclasses.replace(
            self.base.fitting,
            epochs=epochs,
            learning_rate=rate,
            balance=Balance(trial.suggest_categorical("balance", tuple(one.value for one in Balance))),
            label_smoothing=trial.suggest_float("label_smoothing", 0.0, _MOST_SMOOTHING),
        )
        if isinstance(network, Pretrained):
            fine_tuned = bool(trial.suggest_categorical("fine_tuning", (True, False)))
            fitting = dataclasses.replace(
                fitting,
                head_rate=rate,
                learning_rate=rate * _FINE_TUNED,
                head_epochs=self._head_epochs if fine_tuned else epochs,
                epochs=epochs if fine_tuned else 0,
            )
        has_stem = isinstance(network, Pretrained) and network.stem_end is not None
        return dataclasses.replace(
            self.base,
            network=network,
            input_height_px=height_px,
            input_width_px=round(height_px * 16 / 9),
            head=head,
            fitting=fitting,
            views=self.base.views if has_stem else 0,
            layout=self.base.layout if has_stem else None,
        )

    def first(self) -> dict[str, Value]:
        """What comes nearest to the preset: the search begins with it, so as not to end with anything worse."""
        base, head, fitting = self.base, self.base.head, self.base.fitting
        epochs = fitting.epochs or fitting.head_epochs
        rate = fitting.learning_rate
        values: dict[str, Value] = {
            "layers": min(head.layers, _MOST_LAYERS),
            "dropout": min(head.dropout, _MOST_DROPOUT),
            "l2": _within(head.l2, _PENALTIES),
            "epochs": min(epochs, self.most_epochs),
            "balance": fitting.balance.value,
            "label_smoothing": min(fitting.label_smoothing, _MOST_SMOOTHING),
        }
        if head.layers:
            values["units"] = int(_within(head.units, _UNITS))
            values["activation"] = head.activation if head.activation in _ACTIVATIONS else _ACTIVATIONS[0]
        if isinstance(base.network, Pretrained):
            values["fine_tuning"] = fitting.epochs > 0
            rate = rate / _FINE_TUNED if fitting.epochs else fitting.head_rate
        if len(self.networks) > 1:
            values["backbone"] = self.networks[0].name
        if len(self.heights_px) > 1:
            values["height_px"] = min(self.heights_px, key=lambda height: abs(height - base.input_height_px))
        return {**values, "learning_rate": _within(rate, self._rates)}

    def _network(self, trial: BaseTrial) -> Pretrained | Scratch:
        if not self.networks:
            return self.base.network
        by_name = {network.name: network for network in self.networks}
        return by_name[_one_of(trial, "backbone", tuple(by_name))]


def search_space(
    base: TrainConfig, *, backbones: Sequence[str], heights_px: Sequence[int], most_epochs: int
) -> SearchSpace:
    """The space around a preset.

    Args:
        base: the preset.
        backbones: of `keras.applications`; empty for the preset's own.
        heights_px: of what the network sees; empty for the usual ones, or the preset's own where a layout, whose grid
            fits one size, goes with it.
        most_epochs: see `SearchSpace`.

    Raises:
        TrainingError: there is nothing like that to choose from.
    """
    if most_epochs < 1:
        raise TrainingError("A trial needs one epoch at least.")
    own = base.input_height_px
    heights = tuple(dict.fromkeys(heights_px)) or (
        (own,) if base.layout is not None else tuple(sorted({own, *_HEIGHTS_PX}))
    )
    for height in heights:
        # A network that sees more than is stored sees no more.
        if not 32 <= height <= max(_LARGEST_HEIGHT_PX, own):
            raise TrainingError(f"An input of {height} pixels' height cannot be tried: 32 to {_LARGEST_HEIGHT_PX} can.")
        dataclasses.replace(base, input_height_px=height, input_width_px=round(height * 16 / 9))
    if not isinstance(base.network, Pretrained):
        if backbones:
            raise TrainingError("This preset is trained from scratch and has no backbone to choose.")
        return SearchSpace(base=base, networks=(), heights_px=heights, most_epochs=most_epochs)
    names = tuple(dict.fromkeys(backbones)) or (base.network.name,)
    networks = tuple(_pretrained(name, base.network) for name in names)
    return SearchSpace(base=base, networks=networks, heights_px=heights, most_epochs=most_epochs)


def _pretrained(name: str, own: Pretrained) -> Pretrained:
    """A network by name: as the preset has it, else as one of the presets has it."""
    from training.fitting.network import BACKBONES  # noqa: PLC0415 (Keras takes seconds)

    if name not in BACKBONES:
        raise TrainingError(f"There is no pretrained network {name!r}; there are: {', '.join(BACKBONES)}.")
    if name == own.name:
        return own
    # A weights file fits one network only.
    weights = "none" if own.weights == "none" else "imagenet"
    for other in (preset(one).network for one in presets()):
        if isinstance(other, Pretrained) and other.name == name:
            return dataclasses.replace(other, weights=weights, stem_end=None)
    return Pretrained(name=name, weights=weights)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _one_of(trial: BaseTrial, name: str, choices: tuple[Choice, ...]) -> Choice:
    """What there is only one of is no parameter."""
    if len(choices) == 1:
        return choices[0]
    return choices[choices.index(trial.suggest_categorical(name, choices))]
