from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest

from core.errors import TrainingError
from core.frames import decode_jpeg
from core.games import Game
from training.fitting.network import Network
from training.pipeline.augment import AugmentConfig
from training.reports.look import drawn_over, first_filters, grad_cam, looks
from training.scoring.judged import JudgedFrames

RED, BLUE = 0, 1
GAMES = (Game(id="red", name="Red"), Game(id="blue", name="Blue"))
ROOT = Path(__file__).parents[2]


def eyes(*, has_stem: bool = False) -> Network:
    """Answers how red and how blue a frame is: its first convolution sees the one or the other."""
    frames = keras.Input((180, 320, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255.0)(frames)
    taken = keras.Input((180, 320, 3)) if has_stem else frames
    see = keras.layers.Conv2D(2, 3, strides=4, padding="same", use_bias=False, activation="relu")
    seen = see(taken if has_stem else scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Identity(name="map")(seen))
    name = keras.layers.Dense(2, name="logits")
    tail = keras.Model(taken, name(keras.layers.Identity(name="features")(pooled)), name="tail")
    kernel = np.zeros((3, 3, 3, 2), dtype=np.float32)
    kernel[..., :, RED] = np.array([1, -1, -1]) / 9
    kernel[..., :, BLUE] = np.array([-1, -1, 1]) / 9
    see.set_weights([kernel])
    name.set_weights([np.eye(2, dtype=np.float32), np.zeros(2, dtype=np.float32)])
    return Network(stem=keras.Model(frames, scaled) if has_stem else None, tail=tail)


def frame() -> np.ndarray:
    """Red at the left top, blue at the right bottom."""
    picture = np.full((180, 320, 3), 90, dtype=np.uint8)
    picture[20:60, 30:90] = (255, 20, 20)
    picture[120:160, 230:290] = (20, 20, 255)
    return picture


def test_the_heat_lies_where_the_evidence_for_the_asked_game_is() -> None:
    heats = grad_cam(eyes(), np.stack([frame(), frame()]), classes=np.array([RED, BLUE]))

    assert heats.shape == (2, 45, 80)
    for heat, (rows, columns) in zip(
        heats, ((slice(4, 16), slice(7, 24)), (slice(29, 41), slice(57, 74))), strict=True
    ):
        assert heat.max() == 1
        assert heat[rows, columns].sum() > 0.98 * heat.sum()


def test_a_frame_that_says_nothing_for_the_game_has_no_heat() -> None:
    grey = np.full((1, 180, 320, 3), 90, dtype=np.uint8)

    assert not grad_cam(eyes(), grey, classes=np.array([RED])).any()


def test_the_heat_is_the_same_whatever_else_is_asked_about_at_once() -> None:
    pictures = np.stack([frame()] * 17 + [frame()[::-1]])

    together = grad_cam(eyes(), pictures, classes=np.full(18, RED))
    alone = grad_cam(eyes(), pictures[17:], classes=np.array([RED]))
    np.testing.assert_allclose(together[17], alone[0], atol=1e-5)


def test_a_stem_is_passed_through_first() -> None:
    asked = {"pictures": frame()[None], "classes": np.array([BLUE])}
    np.testing.assert_allclose(grad_cam(eyes(has_stem=True), **asked), grad_cam(eyes(), **asked), atol=1e-5)


def test_a_network_without_a_map_is_told_in_a_sentence() -> None:
    frames = keras.Input((180, 320, 3), dtype="uint8")
    flat = keras.Model(frames, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(frames)))

    with pytest.raises(TrainingError, match="no layers 'map' and 'logits'"):
        grad_cam(Network(stem=None, tail=flat), frame()[None], classes=np.array([0]))


def test_what_is_hot_keeps_its_colour_and_the_rest_is_grey_and_dark() -> None:
    heat = np.zeros((45, 80), dtype=np.float32)
    heat[5:15, 8:22] = 1

    drawn = drawn_over(frame(), heat).astype(int)
    assert drawn.shape == (180, 320, 3)
    hot, cold = drawn[40, 60], drawn[140, 260]
    assert hot.max() - hot.min() > 60
    assert cold.max() - cold.min() <= 1
    assert cold.max() < 60


def test_the_first_filters_are_shown_each_on_its_own_scale() -> None:
    png = first_filters(eyes())

    assert png is not None
    grid = (matplotlib.image.imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)
    assert grid.shape == (6 + 24 + 6, 2 * (24 + 6) + 6, 3)
    assert grid[10, 10].tolist() == [255, 0, 0]
    assert grid[10, 40].tolist() == [0, 0, 255]


def test_filters_are_found_inside_a_stem_and_a_network_without_any_has_none() -> None:
    whole = eyes()
    frames = keras.Input((180, 320, 3), dtype="uint8")
    nested = Network(stem=keras.Model(frames, whole.tail(frames)), tail=keras.Sequential([keras.layers.Dense(2)]))
    blind = Network(stem=None, tail=keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))

    assert first_filters(nested) == first_filters(whole)
    assert first_filters(blind) is None


def test_only_games_whose_pictures_may_be_passed_on_are_looked_at() -> None:
    red = frame()
    red[120:160] = 90
    pictures = [red, red, frame()]
    judged = JudgedFrames(
        games=GAMES,
        logits=np.array([[2, 0], [4, 0], [0, 1]], dtype=np.float32),
        labels=np.array([RED, RED, BLUE]),
        streams=np.array(["red/1", "red/2", "blue/1"]),
        temperature=1.0,
        picture=lambda place: pictures[place],
        withheld=frozenset({"blue"}),
    )

    (seen,) = looks(eyes(), judged, of="test frames", augment=None, seed=0).attention
    assert (seen.shown, seen.answered, seen.stream) == ("Red", "Red", "red/2")
    assert seen.confidence == pytest.approx(1 / (1 + np.exp(-4)))
    drawn = decode_jpeg(seen.heat).astype(int)
    assert drawn[40, 60].sum() > 2 * drawn[140, 60].sum()


def test_everything_that_can_be_shown_is_looked_at_and_mistakes_show_what_misled() -> None:
    judged = JudgedFrames(
        games=GAMES,
        logits=np.array([[0, 3], [2, 0], [5, 0]], dtype=np.float32),
        labels=np.array([RED, BLUE, RED]),
        streams=np.array(["red/1", "blue/1", "red/2"]),
        temperature=1.0,
        picture=lambda _: frame(),
        withheld=frozenset({"blue"}),
    )

    seen = looks(eyes(), judged, of="test frames", augment=AugmentConfig(), seed=0)

    assert [(one.shown, one.answered) for one in seen.mistakes] == [("Red", "Blue"), ("Blue", "Red")]
    misled, withheld = seen.mistakes
    assert misled.heat is not None
    drawn = decode_jpeg(misled.heat).astype(int)
    assert drawn[140, 260].max() - drawn[140, 260].min() > 60
    assert (withheld.frame, withheld.heat) == (None, None)
    assert len(seen.attention) == 1
    assert seen.filters is not None
    assert seen.augmented[0].name == "as it is"
    assert looks(eyes(), judged, of="test frames", augment=None, seed=0).augmented == ()


def test_where_nothing_may_be_shown_only_the_filters_are() -> None:
    judged = JudgedFrames(
        games=GAMES,
        logits=np.zeros((0, 2), dtype=np.float32),
        labels=np.zeros(0, dtype=np.int64),
        streams=np.zeros(0, dtype=np.str_),
        temperature=1.0,
        picture=lambda _: frame(),
        withheld=frozenset(),
    )
    seen = looks(eyes(), judged, of="test frames", augment=AugmentConfig(), seed=0)

    assert (seen.attention, seen.mistakes, seen.augmented) == ((), (), ())
    assert seen.filters is not None


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="all of this ran on JAX already")
def test_all_of_this_holds_on_jax() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
