"""What is a waiting screen and what is a near-duplicate, on drawn screens and on the bundled clips."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import demo
from core.collection.waiting import is_recognised, is_waiting_screen, moving_share, new_pictures
from core.frames import RgbPicture, is_duplicate, perceptual_hash, to_stored
from core.games import UNKNOWN, Game
from core.recognition.aggregate import aggregate
from demo.footage import film_of
from tests.core.collection.listing import category
from tests.fakes import GAMES, RULE, BrightnessNetwork

CLIPS = Path(demo.__file__).parent / "clips"
GAMES_ON_FILM = sorted(path.stem for path in CLIPS.glob("*.mp4"))

Drawer = Callable[[RgbPicture, float], None]


def keyframes(film: bytes) -> list[RgbPicture]:
    """One picture every two seconds, as the sampler has them."""
    with av.open(io.BytesIO(film)) as source:
        source.streams.video[0].codec_context.skip_frame = "NONKEY"
        return [to_stored(np.asarray(picture.to_ndarray(format="rgb24"))) for picture in source.decode(video=0)]


@cache
def clip(name: str) -> list[RgbPicture]:
    return keyframes((CLIPS / f"{name}.mp4").read_bytes())


def as_sampled(pictures: list[RgbPicture]) -> tuple[list[RgbPicture], int]:
    kept: list[RgbPicture] = []
    for picture in pictures:
        if not any(is_duplicate(picture, other) for other in kept):
            kept.append(picture)
    return kept, len(pictures) - len(kept)


def screen(draw: Drawer, *, seed: int = 1) -> list[RgbPicture]:
    """26 s of a waiting screen: a smooth background, a line of text, and whatever is drawn on it; coded and decoded."""
    corners = np.random.default_rng(seed).integers(10, 200, (2, 2, 3), dtype=np.uint8)
    background = cv2.resize(corners, (640, 360), interpolation=cv2.INTER_LINEAR)
    cv2.putText(background, "STARTING SOON", (110, 150), cv2.FONT_HERSHEY_DUPLEX, 1.6, (255, 255, 255), 3, cv2.LINE_AA)

    def pictures() -> list[RgbPicture]:
        shown = []
        for at in range(26 * 5):
            picture = np.asarray(background.copy(), dtype=np.uint8)
            draw(picture, at / 5)
            shown.append(picture)
        return shown

    return keyframes(film_of(pictures(), width_px=640, height_px=360, fps=5))


def nothing(picture: RgbPicture, at_s: float) -> None:
    pass


def countdown(picture: RgbPicture, at_s: float) -> None:
    left_s = 300 - int(at_s)
    text = f"{left_s // 60}:{left_s % 60:02}"
    cv2.putText(picture, text, (250, 260), cv2.FONT_HERSHEY_DUPLEX, 1.6, (255, 255, 255), 3, cv2.LINE_AA)


def progress(picture: RgbPicture, at_s: float) -> None:
    cv2.rectangle(picture, (120, 260), (120 + int(15 * at_s), 285), (255, 220, 60), -1)


def spinner(picture: RgbPicture, at_s: float) -> None:
    cv2.ellipse(picture, (320, 260), (40, 40), 97 * at_s, 0, 270, (255, 255, 255), 8, cv2.LINE_AA)


def webcam_in_a_corner(picture: RgbPicture, at_s: float) -> None:
    picture[250:350, 460:630] = (90, 80, 70)
    x, y = 545 + int(9 * math.sin(0.7 * at_s)), 295 + int(4 * math.sin(1.1 * at_s))
    cv2.ellipse(picture, (x, y), (22, 30), 0, 0, 360, (200, 160, 130), -1, cv2.LINE_AA)


SCREENS = (nothing, countdown, progress, spinner, webcam_in_a_corner)


@pytest.mark.parametrize("draw", SCREENS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_still_screen_waits_although_a_small_part_of_it_moves(draw: Drawer, seed: int) -> None:
    pictures, duplicates = as_sampled(screen(draw, seed=seed))
    assert is_waiting_screen(pictures, duplicates=duplicates, recognised=False)


@pytest.mark.parametrize("name", GAMES_ON_FILM)
def test_no_game_waits(name: str) -> None:
    pictures, duplicates = as_sampled(clip(name))
    assert not is_waiting_screen(pictures, duplicates=duplicates, recognised=False)
    assert moving_share(pictures) > 0.1


def test_what_the_network_recognises_does_not_wait_however_still_it_is() -> None:
    board = clip("chess__s00")[0]
    assert is_waiting_screen([board], duplicates=12, recognised=False)
    assert not is_waiting_screen([board], duplicates=12, recognised=True)


def test_few_pictures_are_no_evidence() -> None:
    board = clip("chess__s00")[0]
    assert not is_waiting_screen([board], duplicates=6, recognised=False)
    assert not is_waiting_screen([board] * 7, duplicates=0, recognised=False)
    assert is_waiting_screen([board] * 8, duplicates=0, recognised=False)


def test_pictures_that_the_sampler_left_out_as_duplicates_do_not_change_what_moves() -> None:
    everything = screen(countdown)
    pictures, duplicates = as_sampled(everything)
    assert duplicates > 0
    assert moving_share(pictures) == pytest.approx(moving_share(everything), abs=0.005)


def test_the_network_says_what_the_broadcaster_says_whatever_the_spelling() -> None:
    network = BrightnessNetwork()
    dark = np.full((1, 180, 320, 3), 10, dtype=np.uint8)
    verdict = aggregate(network.logits(dark), at_s=[0.0], rule=RULE)
    assert verdict.game == GAMES[0] == Game(id="valorant", name="VALORANT")
    assert is_recognised(verdict, category("Valorant"))
    assert is_recognised(verdict, category("Valo-Rant!"))
    assert not is_recognised(verdict, category("Chess"))
    assert not is_recognised(None, category("Valorant"))
    unsure = aggregate(BrightnessNetwork(lead=-0.05).logits(dark), at_s=[0.0], rule=RULE)
    assert unsure.game == UNKNOWN
    assert not is_recognised(unsure, category("Valorant"))


# Near-duplicates

hashes = st.lists(st.integers(0, 2**64 - 1), max_size=12)


@given(hashes, hashes, st.data())
def test_of_pictures_that_are_alike_the_first_is_kept(first: list[int], known: list[int], data: st.DataObject) -> None:
    values = [*first, *(value ^ (1 << data.draw(st.integers(0, 63))) for value in first)]
    places = new_pictures(values, known)
    kept = [values[place] for place in places]
    assert all((one ^ other).bit_count() > 4 for at, one in enumerate(kept) for other in kept[:at])
    assert all((one ^ other).bit_count() > 4 for one in kept for other in known)
    for place, value in enumerate(values):
        earlier = [values[other] for other in places if other <= place]
        assert any((value ^ other).bit_count() <= 4 for other in [*earlier, *known])


def test_the_same_window_again_brings_nothing_new() -> None:
    values = [perceptual_hash(picture) for picture in clip("wesnoth__s00")]
    first = new_pictures(values, ())
    assert first
    assert new_pictures(values, [values[place] for place in first]) == ()


@pytest.mark.parametrize("name", ["doom__s01", "minetest__s01", "teeworlds__s00", "etr__s00"])
def test_moments_of_a_lively_game_are_all_new(name: str) -> None:
    values = [perceptual_hash(picture) for picture in clip(name)]
    assert len(new_pictures(values, ())) >= len(values) - 1


def test_the_same_picture_coded_again_is_not_new() -> None:
    picture = clip("minetest__s01")[0]
    written, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert written
    again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    assert new_pictures([perceptual_hash(again)], [perceptual_hash(picture)]) == ()
