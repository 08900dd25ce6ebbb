"""The network: what looks at the pictures, pretrained or from scratch, and what names the game.

Its input is the stored frame as it is, uint8-valued RGB [n, 180, 320, 3]; resizing and scaling are its first layers.
Its output is one raw logit per game. `join` adds what the layout of the screen says, and the genres. Batch norm of
pretrained layers is in inference mode everywhere and always (they are called with `training=False`): a few thousand
frames of neighbouring scenes are no sample to estimate its statistics from.

Layers of a tail that others look for by name: ``map`` gives the last feature map, ``features`` the vector before the
last layer, ``logits`` the logits. Nothing here knows which backend Keras runs on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from core.errors import TrainingError
from core.frames import IMAGE_CONVENTION
from training.config import STORED_SHAPE, Pooling, Pretrained, Scratch

if TYPE_CHECKING:
    from training.config import Head, TrainConfig
    from training.fitting.genre_head import GenreHead
    from training.fitting.layout import Layout

MAP, FEATURES, LOGITS, TAIL = "map", "features", "logits", "tail"

_BACKBONE = "backbone"


class Scaling(StrEnum):
    """What a network of `keras.applications` takes pixels as (its `preprocess_input`)."""

    SIGNED = "signed"
    """-1 to 1."""
    WITHIN = "within"
    """0 to 255: the network scales them itself."""
    CAFFE = "caffe"
    """BGR less ImageNet's means, as VGG and the first ResNets were trained."""


_CAFFE_MEANS_BGR = (103.939, 116.779, 123.68)

BACKBONES: dict[str, Scaling] = {
    "ConvNeXtTiny": Scaling.WITHIN,
    "EfficientNetB0": Scaling.WITHIN,
    "EfficientNetB3": Scaling.WITHIN,
    "EfficientNetV2B0": Scaling.WITHIN,
    "EfficientNetV2S": Scaling.WITHIN,
    "InceptionResNetV2": Scaling.SIGNED,
    "InceptionV3": Scaling.SIGNED,
    "MobileNetV2": Scaling.SIGNED,
    "MobileNetV3Large": Scaling.WITHIN,
    "MobileNetV3Small": Scaling.WITHIN,
    "ResNet50": Scaling.CAFFE,
    "ResNet50V2": Scaling.SIGNED,
    "VGG16": Scaling.CAFFE,
    "Xception": Scaling.SIGNED,
}
"""The networks that can be named, and how each takes its pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """The two halves; they share no weights.

    Attributes:
        stem: uint8-valued frames [n, 180, 320, 3] -> activations; never trained. None where all is trained.
        tail: activations, or frames where there is no stem -> logits [n, games]; what is trained.
    """

    stem: keras.Model | None
    tail: keras.Model


def build(config: TrainConfig, *, games: int) -> Network:
    """Build the network of a configuration, under Keras' dtype policy of the moment.

    Args:
        config: names the network, its weights, its input size and its head.
        games: how many logits there are.

    Raises:
        TrainingError: there is no such network or layer, or the weights cannot be had or do not fit.
    """
    # Random weights must be the same ones each time: a stem that is computed once belongs to tails built later.
    keras.utils.set_random_seed(config.seed)
    if isinstance(config.network, Scratch):
        taken = _frames()
        return Network(
            stem=None, tail=_tail(taken, _from_scratch(config.network, _scaled_to_one(taken, config)), config, games)
        )
    pretrained = config.network
    backbone = _backbone(pretrained, (config.input_height_px, config.input_width_px, 3))
    if pretrained.stem_end is None:
        taken = _frames()
        scaled = _scaled(taken, config, BACKBONES[pretrained.name])
        return Network(stem=None, tail=_tail(taken, backbone(scaled, training=False), config, games))
    seam = _layer(backbone, pretrained.stem_end).output
    low = keras.Model(backbone.input, seam, name="low")
    high = keras.Model(seam, backbone.output, name=_BACKBONE)
    low.trainable = False
    frames = _frames()
    stem = keras.Model(frames, low(_scaled(frames, config, BACKBONES[pretrained.name]), training=False), name="stem")
    activations = keras.Input(seam.shape[1:], name="activations")
    return Network(stem=stem, tail=_tail(activations, high(activations, training=False), config, games))


def join(network: Network, *, layout: Layout | None, weight: float, genres: GenreHead | None) -> keras.Model:
    """The network as it is exported: frames -> the logits of `layout.joined`, then those of the genres.

    Args:
        network: trained.
        layout: needs a stem; None adds nothing.
        weight: of the layout's cosines.
        genres: a second head on the tail's features; None gives the games' logits alone.
    """
    frames = network.tail.input if network.stem is None else network.stem.input
    taken = frames if network.stem is None else network.stem.output
    inside = keras.Model(network.tail.input, [network.tail.output, network.tail.get_layer(FEATURES).output], name=TAIL)
    logits, features = inside(taken)
    if layout is not None:
        _, height, width, _ = taken.shape
        down, across = layout.grid
        cells = keras.layers.Flatten()(keras.layers.AveragePooling2D((height // down, width // across))(taken))
        whiten = keras.layers.Dense(layout.whitening.shape[1], name="whiten")
        compare = keras.layers.Dense(layout.directions.shape[1], use_bias=False, name="compare")
        cosines = compare(keras.layers.UnitNormalization()(whiten(cells)))
        whiten.set_weights([layout.whitening, -layout.offset])
        compare.set_weights([layout.directions * weight])
        logits = keras.layers.Add(name="joined")([keras.ops.log_softmax(logits, axis=-1), cosines])
    if genres is None:
        return keras.Model(frames, logits, name="whole")
    mark = keras.layers.Dense(genres.kernel.shape[1], name="genres")
    marks = mark(features)
    mark.set_weights([genres.kernel, genres.bias])
    return keras.Model(frames, keras.layers.Concatenate(name="answers")([logits, marks]), name="whole")


def features_of(whole: keras.Model) -> keras.Model:
    """Of a network as `join` made it: frames -> what its tail sees before it names a game, float32[n, features]."""
    tail = whole.get_layer(TAIL)
    # As a step of the whole: as a model of its own, which it is too, it would tell what it makes of its own input.
    _, features = keras.Operation.output.__get__(tail)
    return keras.Model(whole.input, features)


def let_train(network: Network, config: TrainConfig, *, backbone: bool) -> None:
    """Choose what the next `compile` trains: the head alone, or also the pretrained layers but for batch norm.

    Raises:
        TrainingError: there is no layer as `Pretrained.tuned_from` names.
    """
    if isinstance(config.network, Scratch):
        network.tail.trainable = True
        return
    high = network.tail.get_layer(_BACKBONE if config.has_stem else config.network.name.lower())
    high.trainable = backbone
    first = config.network.tuned_from
    if first is not None:
        _layer(high, first)
    is_before = first is not None
    for layer in high.layers:
        is_before = is_before and layer.name != first
        if is_before or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _frames() -> keras.KerasTensor:
    return keras.Input((IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3), dtype="uint8", name="frames")


def _resized(pixels: keras.KerasTensor, config: TrainConfig) -> keras.KerasTensor:
    size = (config.input_height_px, config.input_width_px)
    return pixels if size == STORED_SHAPE else keras.layers.Resizing(*size, interpolation="bilinear")(pixels)


def _scaled_to_one(frames: keras.KerasTensor, config: TrainConfig) -> keras.KerasTensor:
    return _resized(keras.layers.Rescaling(1.0 / 255.0)(frames), config)


def _scaled(frames: keras.KerasTensor, config: TrainConfig, scaling: Scaling) -> keras.KerasTensor:
    if scaling is Scaling.SIGNED:
        return _resized(keras.layers.Rescaling(1.0 / 127.5, offset=-1.0)(frames), config)
    pixels = _resized(keras.layers.Rescaling(1.0)(frames), config)
    if scaling is Scaling.WITHIN:
        return pixels
    return keras.layers.Rescaling(1.0, offset=[-mean for mean in _CAFFE_MEANS_BGR])(pixels[..., ::-1])


def _from_scratch(network: Scratch, pixels: keras.KerasTensor) -> keras.KerasTensor:
    seen = pixels
    for block in network.blocks:
        for _ in range(block.convolutions):
            seen = keras.layers.Conv2D(block.filters, 3, padding="same", activation="relu")(seen)
        seen = keras.layers.MaxPooling2D()(seen)
        if block.dropout:
            seen = keras.layers.Dropout(block.dropout)(seen)
    return seen


def _tail(taken: keras.KerasTensor, top: keras.KerasTensor, config: TrainConfig, games: int) -> keras.Model:
    head = config.head
    features = keras.layers.Identity(name=FEATURES)(_dense(_pooled(keras.layers.Identity(name=MAP)(top), head), head))
    dropped = keras.layers.Dropout(head.dropout)(features) if head.dropout else features
    # In float32 whatever the policy: a softmax of rounded logits does not calibrate.
    logits = keras.layers.Dense(games, kernel_regularizer=_penalty(head), dtype="float32", name=LOGITS)(dropped)
    return keras.Model(taken, logits, name=TAIL)


def _pooled(top: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    match head.pooling:
        case Pooling.AVERAGE:
            return keras.layers.GlobalAveragePooling2D()(top)
        case Pooling.AVERAGE_AND_MAXIMUM:
            both = [keras.layers.GlobalAveragePooling2D()(top), keras.layers.GlobalMaxPooling2D()(top)]
            return keras.layers.Concatenate()(both)
        case Pooling.FLATTEN:
            return keras.layers.Flatten()(top)


def _dense(features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    for _ in range(head.layers):
        features = keras.layers.Dense(head.units, kernel_regularizer=_penalty(head))(features)
        if head.batch_norm:
            features = keras.layers.BatchNormalization()(features)
        features = keras.layers.Activation(head.activation)(features)
    return features


def _penalty(head: Head) -> keras.Regularizer | None:
    return keras.regularizers.L2(head.l2) if head.l2 else None


def _layer(model: keras.Model, name: str) -> keras.layers.Layer:
    try:
        return model.get_layer(name)
    except ValueError as error:
        raise TrainingError(f"The network {model.name} has no layer {name!r}.") from error


def _backbone(pretrained: Pretrained, size: tuple[int, int, int]) -> keras.Model:
    name, weights = pretrained.name, pretrained.weights
    if name not in BACKBONES:
        raise TrainingError(f"There is no pretrained network {name!r}; there are: {', '.join(BACKBONES)}.")
    make = getattr(keras.applications, name)
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
    # Only now: some networks of Keras look their weights up by the name that they are given.
    backbone.name = name.lower()
    return backbone
