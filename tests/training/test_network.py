"""Every network that can be named is built, takes stored frames, and trains what it says."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from core.errors import TrainingError
from training.config import Block, Head, Pooling, Pretrained, Scratch, TrainConfig, preset, presets
from training.fitting.network import BACKBONES, FEATURES, LOGITS, MAP, build, let_train

if TYPE_CHECKING:
    from training.fitting.network import Network

GAMES = 4

pytestmark = pytest.mark.timeout(300)  # large networks take their time where processors are shared


def without_weights(name: str) -> TrainConfig:
    config = preset(name)
    return preset(name, weights="none") if isinstance(config.network, Pretrained) else config


def trainable(network: Network) -> set[str]:
    return {weight.path for weight in network.tail.trainable_weights}


@pytest.fixture(autouse=True)
def cleared() -> None:
    keras.backend.clear_session()


@pytest.mark.parametrize("name", presets())
def test_a_preset_builds_and_its_phases_train_what_they_should(name: str) -> None:
    config = without_weights(name)
    network = build(config, games=GAMES)
    takes = network.tail if network.stem is None else network.stem
    assert takes.input.shape == (None, 180, 320, 3)
    assert takes.input.dtype == "uint8"
    assert network.tail.output.shape == (None, GAMES)
    assert len(network.tail.get_layer(MAP).output.shape) == 4
    assert len(network.tail.get_layer(FEATURES).output.shape) == 2
    assert network.tail.get_layer(LOGITS).output.dtype == "float32"
    if isinstance(config.network, Scratch):
        let_train(network, config, backbone=True)
        assert not [weight for weight in network.tail.weights if weight.path not in trainable(network)]
        return

    inside = config.network.name.lower() if network.stem is None else "backbone"
    of_backbone = {weight.path for weight in network.tail.get_layer(inside).weights}
    let_train(network, config, backbone=False)
    head = trainable(network)
    assert head
    assert not head & of_backbone
    let_train(network, config, backbone=True)
    tuned = trainable(network)
    assert head < tuned
    norms = {
        weight.path
        for layer in network.tail.get_layer(inside).layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    }
    assert not tuned & norms


def test_vgg16_is_tuned_from_its_last_block_on() -> None:
    config = without_weights("vgg16")
    network = build(config, games=GAMES)
    let_train(network, config, backbone=True)
    blocks = {path.split("/")[-2].split("_")[0] for path in trainable(network) if "block" in path}
    assert blocks == {"block5"}


def test_the_wide_network_has_as_many_weights_as_its_predecessor() -> None:
    network = build(without_weights("scratch_p5"), games=33)
    assert 22.5e6 < network.tail.count_params() < 24.5e6


def test_a_network_keeps_the_pictures_shape() -> None:
    config = without_weights("scratch_p1")
    resized = [layer for layer in build(config, games=2).tail.layers if isinstance(layer, keras.layers.Resizing)]
    shapes = {layer.output.shape[1:3] for layer in resized} or {(180, 320)}
    assert all(abs(width / height - 16 / 9) < 0.05 for height, width in shapes)


@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16", "EfficientNetV2B0"])
def test_pixels_are_scaled_as_the_networks_own_preprocessing_does(name: str) -> None:
    config = dataclasses.replace(
        without_weights("mobilenet_v2"), network=Pretrained(name=name, weights="none"), input_height_px=180
    )
    network = build(config, games=2).tail
    inside = network.get_layer(name.lower())
    scaled = keras.Model(network.input, inside._inbound_nodes[-1].input_tensors[0])
    picture = np.random.default_rng(0).integers(0, 256, size=(1, 180, 320, 3)).astype(np.uint8)
    module = {"MobileNetV2": "mobilenet_v2", "VGG16": "vgg16", "EfficientNetV2B0": "efficientnet_v2"}[name]
    expected = getattr(keras.applications, module).preprocess_input(picture.astype(np.float32))
    np.testing.assert_allclose(np.asarray(scaled.predict_on_batch(picture)), expected, atol=1e-4)


def scratch(head: Head) -> TrainConfig:
    return TrainConfig(
        network=Scratch(blocks=(Block(filters=4, convolutions=2, dropout=0.1),)),
        input_height_px=36,
        input_width_px=64,
        head=head,
        fitting=preset("scratch_p1").fitting,
        augment=None,
    )


@pytest.mark.parametrize(
    ("head", "width"),
    [
        (Head(pooling=Pooling.AVERAGE), 4),
        (Head(pooling=Pooling.AVERAGE_AND_MAXIMUM), 8),
        (Head(pooling=Pooling.FLATTEN), 18 * 32 * 4),
        (Head(layers=2, units=7, activation="tanh", batch_norm=True, l2=1e-3), 7),
    ],
)
def test_a_head_is_as_it_is_configured(head: Head, width: int) -> None:
    tail = build(scratch(head), games=3).tail
    assert tail.get_layer(FEATURES).output.shape == (None, width)
    kinds = [type(layer).__name__ for layer in tail.layers]
    assert kinds.count("Dense") == head.layers + 1
    assert kinds.count("BatchNormalization") == (head.layers if head.batch_norm else 0)
    assert bool(tail.losses) == bool(head.l2)


def test_the_same_seed_builds_the_same_weights_and_another_builds_others() -> None:
    one, same, other = (
        build(dataclasses.replace(scratch(Head()), seed=seed), games=3).tail.get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(one, same, strict=True))
    assert not all(np.array_equal(ours, theirs) for ours, theirs in zip(one, other, strict=True))


def test_every_name_is_one_of_keras() -> None:
    assert all(callable(getattr(keras.applications, name)) for name in BACKBONES)


def test_a_layer_to_tune_from_that_is_not_there_is_one_sentence() -> None:
    config = without_weights("mobilenet_v2")
    wrong = dataclasses.replace(config, network=dataclasses.replace(config.network, tuned_from="block_99"))
    network = build(wrong, games=2)
    with pytest.raises(TrainingError, match="has no layer 'block_99'"):
        let_train(network, wrong, backbone=True)


def test_a_file_that_holds_no_weights_is_one_sentence(tmp_path) -> None:
    path = tmp_path / "wrong.weights.h5"
    path.write_text("no weights")
    with pytest.raises(TrainingError, match="MobileNetV2 cannot be loaded from"):
        build(preset("mobilenet_v2", weights=str(path)), games=2)
