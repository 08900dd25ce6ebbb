from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import TrainingError
from training.config import (
    Balance,
    Block,
    Fitting,
    Head,
    LayoutConfig,
    Optimizer,
    Pooling,
    Pretrained,
    Schedule,
    Scratch,
    TrainConfig,
    preset,
    presets,
    read_config,
    with_weights,
)
from training.pipeline.augment import AugmentConfig

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", presets())
def test_a_preset_comes_back_from_its_json_as_it_was(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(preset(name).to_json())
    assert read_config(path) == preset(name)


def test_the_presets_are_those_of_the_documentation() -> None:
    assert set(presets()) == {
        "starter", "scratch_p1", "scratch_p2", "scratch_p5", "dropout_top", "dropout_each",
        "mobilenet_v2", "mobilenet_v3", "efficientnet_v2_b0", "efficientnet_v2_s", "inception_v3", "vgg16",
    }  # fmt: skip


def test_what_the_predecessors_trained_with_stands_in_their_presets() -> None:
    p5 = preset("scratch_p5").fitting
    assert (p5.optimizer, p5.schedule, p5.balance) == (Optimizer.SGD, Schedule.PLATEAU, Balance.WEIGHTED)
    assert (p5.plateau_patience, p5.plateau_factor, p5.smallest_rate) == (10, 0.1, 1e-6)
    assert (p5.min_delta, p5.patience) == (1e-4, 15)
    assert [block.filters for block in preset("scratch_p1").network.blocks] == [16, 32, 64]  # type: ignore[union-attr]
    assert [block.filters for block in preset("scratch_p2").network.blocks] == [128, 64, 32, 16]  # type: ignore[union-attr]
    assert preset("dropout_top").fitting.optimizer is Optimizer.ADADELTA
    assert all(block.dropout for block in preset("dropout_each").network.blocks)  # type: ignore[union-attr]


def test_the_file_of_weights_is_named_without_its_folder_unless_the_configuration_stays_here() -> None:
    config = preset("starter", weights="some/where/w.weights.h5")
    assert json.loads(config.to_json())["network"]["weights"] == "w.weights.h5"
    assert json.loads(config.to_json(is_portable=False))["network"]["weights"] == "some/where/w.weights.h5"


def test_a_network_from_scratch_takes_no_weights() -> None:
    with pytest.raises(TrainingError, match="trained from scratch and takes no pretrained weights"):
        preset("scratch_p1", weights="w.weights.h5")
    assert with_weights(preset("scratch_p1"), None) == preset("scratch_p1")


def changed(path: tuple[str, ...], value: object) -> str:
    content: dict[str, Any] = json.loads(preset("starter").to_json())
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("once upon a time", "is no configuration of a training"),
        ("{}", "network: Field required"),
        (changed(("fitting", "epochs"), "many"), "fitting.epochs: Input should be a valid integer"),
        (changed(("fitting", "epochs"), -3), "epochs is -3; it must be 0 at least"),
        (changed(("fitting", "optimizer"), "magic"), "fitting.optimizer: Input should be 'adam'"),
        (changed(("colour",), "red"), "colour: Unexpected keyword argument|colour: Extra"),
        (changed(("input_width_px",), 180), "180 × 180 pixels are not 16:9"),
        (changed(("head", "dropout"), 1.5), "head.dropout is 1.5"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(TrainingError, match=sentence) as refused:
        read_config(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read: No such file"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Fitting(epochs=0), "both 0: nothing would be trained"),
        (lambda: Fitting(batch_size=0), "batch_size is 0; it must be 1 at least"),
        (lambda: Fitting(learning_rate=0.0), "learning_rate is 0; it must be above 0"),
        (lambda: Fitting(learning_rate=float("nan")), "learning_rate is nan"),
        (lambda: Fitting(head_rate=-1.0), "head_rate is -1"),
        (lambda: Fitting(patience=0), "patience is 0"),
        (lambda: Fitting(label_smoothing=1.0), "label_smoothing is 1; it must be 0 or more, and below 1"),
        (lambda: Fitting(blended_share=-0.1), "blended_share is -0.1"),
        (lambda: Head(layers=-1), "head.layers is -1"),
        (lambda: Head(units=0), "head.units is 0"),
        (lambda: Head(l2=-1.0), "head.l2 is -1"),
        (lambda: Scratch(blocks=()), "one block of convolutions at least"),
        (lambda: Scratch(blocks=(Block(filters=0),)), "filters is 0"),
        (lambda: dataclasses.replace(preset("starter"), input_width_px=180), "320|16:9"),
        (lambda: dataclasses.replace(preset("scratch_p1"), views=2), "name both, or no views"),
        (lambda: dataclasses.replace(preset("starter"), augment=None), "name both, or no views"),
        (
            lambda: dataclasses.replace(preset("vgg16"), layout=LayoutConfig(grid=(3, 4), weight=1.0)),
            "this network has no stem",
        ),
    ],
)
def test_what_contradicts_itself_is_one_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        make()


def test_only_a_pretrained_network_with_a_named_end_has_a_stem() -> None:
    plain = TrainConfig(
        network=Pretrained(name="VGG16"),
        input_height_px=90,
        input_width_px=160,
        head=Head(pooling=Pooling.FLATTEN),
        fitting=Fitting(),
        augment=AugmentConfig(),
    )
    assert not plain.has_stem
    assert dataclasses.replace(plain, network=Pretrained(name="VGG16", stem_end="block3_pool")).has_stem
    assert not preset("scratch_p1").has_stem
