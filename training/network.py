"""The network: a stem that stays as it was pretrained, a tail that is fine-tuned, and both in one.

Its input is the stored frame as it is, uint8-valued RGB [n, 180, 320, 3]; resizing and scaling are its first
layers. Its output is one raw logit per game. `join` adds what the layout of the screen says. Batch norm is in
inference mode everywhere and always (the backbone is called with `training=False`): a few thousand frames of
neighbouring scenes are no sample to estimate its statistics from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from core.errors import TrainingError
from core.frames import IMAGE_CONVENTION

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.layout import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """The two halves; they share no weights.

    Attributes:
        stem: uint8-valued frames [n, 180, 320, 3] -> activations; never trained.
        tail: activations -> logits [n, games]; what is trained.
    """

    stem: keras.Model
    tail: keras.Model


def build(config: TrainConfig, *, games: int) -> Network:
    """Build the network of a configuration.

    Args:
        config: names backbone, weights, input size and where the stem ends.
        games: how many logits there are.

    Raises:
        TrainingError: there is no such backbone or layer, or the weights cannot be had or do not fit.
    """
    # A stem without pretrained weights is random, and must be the same one each time it is built.
    keras.utils.set_random_seed(config.seed)
    size = (config.input_height_px, config.input_width_px, 3)
    backbone = _backbone(config.backbone, config.weights, size)
    try:
        seam = backbone.get_layer(config.stem_end).output
    except ValueError as error:
        raise TrainingError(f"{config.backbone} has no layer {config.stem_end!r} where its stem could end.") from error
    low, high = keras.Model(backbone.input, seam, name="low"), keras.Model(seam, backbone.output, name="high")
    low.trainable = False

    frames = keras.Input((IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3), dtype="uint8", name="frames")
    scaled = keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(frames)
    resized = keras.layers.Resizing(config.input_height_px, config.input_width_px, interpolation="bilinear")(scaled)
    stem = keras.Model(frames, low(resized, training=False), name="stem")

    activations = keras.Input(seam.shape[1:], name="activations")
    top = high(activations, training=False)
    # The mean says what most of the picture is like; the maximum finds the small thing that gives a game away.
    features = keras.layers.Concatenate()(
        [keras.layers.GlobalAveragePooling2D()(top), keras.layers.GlobalMaxPooling2D()(top)]
    )
    logits = keras.layers.Dense(games, name="logits")(keras.layers.Dropout(config.dropout)(features))
    tail = keras.Model(activations, logits, name="tail")
    return Network(stem=stem, tail=tail)


def join(network: Network, layout: Layout, *, weight: float) -> keras.Model:
    """The network as it is exported: frames -> the logits of `training.layout.joined`."""
    activations = network.stem.output
    _, height, width, _ = activations.shape
    down, across = layout.grid
    cells = keras.layers.Flatten()(keras.layers.AveragePooling2D((height // down, width // across))(activations))
    whiten = keras.layers.Dense(layout.whitening.shape[1], name="whiten")
    compare = keras.layers.Dense(layout.directions.shape[1], use_bias=False, name="compare")
    cosines = compare(keras.layers.UnitNormalization()(whiten(cells)))
    whiten.set_weights([layout.whitening, -layout.offset])
    compare.set_weights([layout.directions * weight])
    appearance = keras.ops.log_softmax(network.tail(activations), axis=-1)
    return keras.Model(network.stem.input, keras.layers.Add(name="joined")([appearance, cosines]), name="whole")


def let_train(network: Network, *, backbone: bool) -> None:
    """Choose what the next `compile` trains: the last layer alone, or everything behind the stem but batch norm."""
    high = network.tail.get_layer("high")
    high.trainable = backbone
    for layer in high.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _backbone(name: str, weights: str, size: tuple[int, int, int]) -> keras.Model:
    make = getattr(keras.applications, name, None)
    if not callable(make):
        raise TrainingError(f"keras.applications has no network {name!r}.")
    source = weights if weights == "imagenet" else None
    try:
        backbone: keras.Model = make(include_top=False, input_shape=size, weights=source)
        if weights not in {"imagenet", "none"}:
            backbone.load_weights(Path(weights))
    except FileNotFoundError as error:
        raise TrainingError(f"There is no weights file {weights}.") from error
    except (ValueError, OSError) as error:
        what = "be downloaded" if weights == "imagenet" else f"be loaded from {weights}"
        raise TrainingError(f"The pretrained weights of {name} cannot {what}.") from error
    except Exception as error:
        # Keras wraps a failed download in a bare Exception.
        if weights != "imagenet" or type(error) is not Exception:
            raise
        raise TrainingError(
            f"The pretrained weights of {name} cannot be downloaded; give a local file instead."
        ) from error
    return backbone
