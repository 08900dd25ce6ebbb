from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TrainingError
from training.config import Balance, Pretrained, preset, presets, read_config
from training.search.search_picture import End, Tried, search_picture
from training.search.search_space import SearchSpace, search_space

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainConfig
    from training.search.search_space import Value

SPACES = {name: search_space(preset(name), backbones=(), heights_px=(), most_epochs=10) for name in presets()}
WIDE = search_space(
    preset("mobilenet_v2", weights="none"),
    backbones=("MobileNetV2", "EfficientNetV2B0", "VGG16"),
    heights_px=(90, 180),
    most_epochs=6,
)


def drawn(space: SearchSpace, seed: int) -> tuple[TrainConfig, dict[str, Value]]:
    """A configuration as a search draws it, and its values."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    return space.chosen(trial), trial.params


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([*SPACES.values(), WIDE]))
def test_whatever_is_drawn_can_be_trained_and_stays_within_bounds(seed: int, space: SearchSpace) -> None:
    config, values = drawn(space, seed)
    assert 0 <= config.head.layers <= 3
    assert 0.0 <= config.head.dropout <= 0.9
    assert ("units" in values) == ("activation" in values) == (config.head.layers > 0)
    if config.head.layers:
        assert 6 <= config.head.units <= 2048
        assert config.head.activation in {"relu", "tanh"}
    assert config.input_width_px == round(config.input_height_px * 16 / 9)
    assert config.fitting.epochs + config.fitting.head_epochs <= space.longest
    assert config.seed == space.base.seed
    if isinstance(config.network, Pretrained):
        fitting = config.fitting
        assert fitting.learning_rate == pytest.approx(fitting.head_rate / 10)
        assert (fitting.epochs > 0) == values["fine_tuning"]
    # What trials do not differ in is the preset's.
    same = ("augment", "plain_share", "novelty_score", "known_refused", "streams_per_game", "frames_per_game")
    assert all(getattr(config, name) == getattr(space.base, name) for name in same)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_the_same_values_make_the_same_configuration_and_run_takes_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    config, values = drawn(WIDE, seed)
    assert WIDE.chosen(optuna.trial.FixedTrial(values)) == config
    path = tmp_path_factory.mktemp("best") / "best.json"
    path.write_text(config.to_json(is_portable=False))
    assert read_config(path) == config


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_search_begins_with_the_preset_itself(name: str) -> None:
    space = SPACES[name]
    first, base = space.chosen(optuna.trial.FixedTrial(space.first())), space.base
    assert first.network == base.network
    assert first.input_height_px == base.input_height_px
    assert dataclasses.replace(first.head, l2=base.head.l2) == base.head
    assert first.head.l2 <= max(base.head.l2, 1e-6)
    assert first.fitting.learning_rate == pytest.approx(base.fitting.learning_rate)
    assert first.fitting.epochs == min(base.fitting.epochs, 10)
    assert first.fitting.balance is base.fitting.balance
    assert first.fitting.label_smoothing == base.fitting.label_smoothing


def test_a_network_without_a_stem_keeps_no_views_and_no_layout() -> None:
    space = search_space(
        preset("starter", weights="local.weights.h5"),
        backbones=("MobileNetV2", "VGG16", "ResNet50"),
        heights_px=(180,),
        most_epochs=3,
    )
    assert [network.weights for network in space.networks] == ["local.weights.h5", "imagenet", "imagenet"]
    # As the preset of that name has it; only the last block is fine-tuned.
    assert space.networks[1].tuned_from == preset("vgg16").network.tuned_from  # type: ignore[union-attr]
    values = {**space.first(), "backbone": "ResNet50"}
    chosen = space.chosen(optuna.trial.FixedTrial(values))
    assert (chosen.views, chosen.layout, chosen.has_stem) == (0, None, False)
    assert space.chosen(optuna.trial.FixedTrial(space.first())).layout == preset("starter").layout


def test_a_layout_keeps_the_input_as_it_is_unless_sizes_are_named() -> None:
    assert SPACES["starter"].heights_px == (180,)
    assert SPACES["mobilenet_v2"].heights_px == (90, 135, 180)


def test_all_that_issue_and_predecessors_search_is_searched() -> None:
    names = {name for seed in range(30) for name in drawn(WIDE, seed)[1]}
    assert names == {
        "epochs", "units", "learning_rate", "dropout", "fine_tuning", "layers", "activation", "balance", "l2",
        "backbone", "height_px", "label_smoothing",
    }  # fmt: skip
    balances = {drawn(WIDE, seed)[0].fitting.balance for seed in range(30)}
    assert balances == set(Balance)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("scratch_p1", {"backbones": ("VGG16",)}, "trained from scratch and has no backbone"),
        ("starter", {"backbones": ("GameNet9000",)}, "no pretrained network 'GameNet9000'; there are: .*VGG16"),
        ("starter", {"heights_px": (720,)}, "720 pixels' height cannot be tried"),
        ("starter", {"heights_px": (16,)}, "16 pixels' height cannot be tried"),
        ("starter", {"most_epochs": 0}, "one epoch at least"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(name: str, changes: dict[str, object], sentence: str) -> None:
    asked = {"backbones": (), "heights_px": (), "most_epochs": 3, **changes}
    with pytest.raises(TrainingError, match=sentence):
        search_space(preset(name), **asked)  # type: ignore[arg-type]


def test_the_picture_of_a_search_is_the_same_each_time_and_takes_all_ends(tmp_path: Path) -> None:
    trials = [
        Tried(number=1, end=End.COMPLETE, merit=0.5, values={"units": 12, "activation": "relu", "fine_tuning": True}),
        Tried(number=2, end=End.PRUNED, merit=0.2, values={"units": 900, "activation": "tanh", "fine_tuning": False}),
        Tried(number=3, end=End.FAILED, merit=None, values={}),
    ]
    drawn_once = search_picture(trials, importances={"units": 0.9, "activation": 0.1})
    assert drawn_once.startswith(b"\x89PNG")
    assert drawn_once == search_picture(trials, importances={"units": 0.9, "activation": 0.1})
    assert drawn_once != search_picture(trials[:1], importances={})
    assert search_picture(trials[2:], importances={}).startswith(b"\x89PNG")
