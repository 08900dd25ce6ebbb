from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TrainingError
from training.pipeline.augment import AugmentConfig, augment, content_box, trim_border
from training.pipeline.overlays import covered_share, with_overlays

GAME = np.random.default_rng(3).integers(40, 255, size=(180, 320, 3)).astype(np.uint8)


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_a_view_has_the_frames_shape_and_the_frame_stays_as_it_was(seed: int) -> None:
    frame = GAME.copy()
    view = augment(frame, np.random.default_rng(seed), AugmentConfig())
    assert view.shape == GAME.shape
    assert view.dtype == np.uint8
    assert (frame == GAME).all()


def test_the_same_seed_gives_the_same_view_and_another_gives_another() -> None:
    first, again, other = (augment(GAME, np.random.default_rng(seed), AugmentConfig()) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_nothing_is_flipped_or_turned_unless_it_is_asked_for() -> None:
    left_bright = np.zeros((180, 320, 3), dtype=np.uint8)
    left_bright[60:120, :100] = 230
    plain = AugmentConfig(webcam=0, chat=0, alert=0, erase=0, add_border=0, trim_border=0)
    for seed in range(40):
        view = augment(left_bright, np.random.default_rng(seed), plain).astype(float)
        assert view[:, :160].mean() >= view[:, 160:].mean()


def test_a_flip_is_a_mirror_image_and_a_turn_keeps_the_middle_in_place() -> None:
    off = {field.name: 0.0 for field in dataclasses.fields(AugmentConfig) if field.name != "smallest_crop"}
    rng = np.random.default_rng(0)
    assert (augment(GAME, rng, AugmentConfig(**{**off, "flip": 1.0})) == GAME[:, ::-1]).all()

    cross = np.zeros((180, 320, 3), dtype=np.uint8)
    cross[80:100, 60:260] = 200
    turned = augment(cross, rng, AugmentConfig(**{**off, "rotate": 1.0, "largest_turn_degrees": 30.0}))
    assert turned[85:95, 155:165].min() > 150
    assert (turned != cross).any()


def test_what_is_off_draws_nothing_so_that_the_other_changes_stay_what_they_were() -> None:
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    nothing = {field.name: 0.0 for field in dataclasses.fields(AugmentConfig)}
    augment(GAME, rng, AugmentConfig(**nothing))
    same.random(9)
    assert rng.random() == same.random()


@pytest.mark.parametrize(
    ("change", "sentence"), [({"flip": 1.5}, "augment.flip is 1.5"), ({"webcam": -1.0}, "augment.webcam is -1")]
)
def test_odds_that_are_none_are_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        AugmentConfig(**change)


def test_black_borders_are_found_and_do_not_survive_trimming() -> None:
    pillarboxed = np.zeros((180, 320, 3), dtype=np.uint8)
    pillarboxed[:, 40:280] = GAME[:, 40:280]
    assert content_box(pillarboxed) == (0, 180, 40, 280)
    for seed in range(20):
        trimmed = trim_border(pillarboxed, np.random.default_rng(seed))
        assert (trimmed != pillarboxed).any() or (trimmed[:, :40] == 0).all()
    assert any(trim_border(pillarboxed, np.random.default_rng(seed))[:, :40].any() for seed in range(20))


def test_the_tests_overlays_are_the_same_every_time() -> None:
    assert (with_overlays(GAME, stream="a/1", index=4) == with_overlays(GAME, stream="a/1", index=4)).all()


def test_two_streams_have_different_layouts_and_two_moments_differ() -> None:
    assert (with_overlays(GAME, stream="a/1", index=4) != with_overlays(GAME, stream="a/2", index=4)).any()
    assert (with_overlays(GAME, stream="a/1", index=4) != with_overlays(GAME, stream="a/1", index=5)).any()


@pytest.mark.parametrize("stream", [f"game/{number}" for number in range(12)])
def test_no_frame_goes_without_an_overlay_and_none_is_hidden_by_them(stream: str) -> None:
    assert 0.03 < covered_share(GAME, with_overlays(GAME, stream=stream, index=0)) < 0.6
