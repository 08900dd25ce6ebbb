from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.frames import (
    IMAGE_CONVENTION,
    RgbPicture,
    decode_jpeg,
    encode_jpeg,
    is_black,
    is_duplicate,
    perceptual_hash,
    to_stored,
)

STORED_SHAPE = (IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3)


def scene(seed: int, *, height_px: int = 180, width_px: int = 320) -> RgbPicture:
    """Large soft blobs of colour, as a camera or a game shows them; not noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(6, 10, 3), dtype=np.uint8)
    rows = np.arange(height_px) * 6 // height_px
    columns = np.arange(width_px) * 10 // width_px
    return np.ascontiguousarray(coarse[rows][:, columns])


@given(height_px=st.integers(1, 400), width_px=st.integers(1, 400))
@settings(max_examples=60)
def test_any_picture_is_brought_to_the_stored_size(height_px: int, width_px: int) -> None:
    stored = to_stored(scene(1, height_px=height_px, width_px=width_px))

    assert stored.shape == STORED_SHAPE
    assert stored.dtype == np.uint8


def test_red_stays_red_from_capture_to_file_and_back() -> None:
    red = np.zeros((360, 640, 3), dtype=np.uint8)
    red[..., 0] = 220

    returned = decode_jpeg(encode_jpeg(to_stored(red)))

    assert returned.shape == STORED_SHAPE
    assert np.abs(returned.astype(int).mean(axis=(0, 1)) - [220, 0, 0]).max() < 4


def test_a_widescreen_picture_fills_the_stored_size_without_a_seam() -> None:
    white = np.full((480, 853, 3), 255, dtype=np.uint8)

    assert to_stored(white).min() == 255


def test_a_4_to_3_picture_keeps_its_shape_between_black_bars() -> None:
    white = np.full((480, 640, 3), 255, dtype=np.uint8)

    stored = to_stored(white)

    assert stored[:, 40:280].min() == 255
    assert stored[:, :40].max() == 0
    assert stored[:, 280:].max() == 0


def test_a_portrait_picture_keeps_its_shape_between_black_bars() -> None:
    stored = to_stored(np.full((1280, 720, 3), 255, dtype=np.uint8))

    lit_columns = (stored.max(axis=(0, 2)) > 0).sum()
    assert lit_columns == round(180 * 9 / 16)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10, 10), dtype=np.uint8),
        np.zeros((10, 10, 4), dtype=np.uint8),
        np.zeros((0, 10, 3), dtype=np.uint8),
        np.zeros((10, 10, 3), dtype=np.float32),
    ],
)
def test_what_is_no_picture_is_refused(array: RgbPicture) -> None:
    with pytest.raises(ValueError, match="expected a uint8 picture"):
        to_stored(array)


def test_video_black_is_black_and_a_lamp_at_night_is_not() -> None:
    night = np.full(STORED_SHAPE, 3, dtype=np.uint8)
    assert is_black(night)

    night[100:112, 200:212] = 200

    assert not is_black(night)


def test_a_still_screen_coded_again_is_a_duplicate_and_a_moved_one_is_not() -> None:
    picture = scene(2)
    coding_noise = np.random.default_rng(0).choice([0, 0, 1], size=picture.shape).astype(np.uint8)
    moved_unit = picture.copy()
    moved_unit[80:110, 150:180] = 255 - moved_unit[80:110, 150:180]

    assert is_duplicate(picture, np.where(picture < 255, picture + coding_noise, picture))
    assert not is_duplicate(picture, np.roll(picture, 8, axis=1))
    assert not is_duplicate(picture, moved_unit)


def distance(one: RgbPicture, other: RgbPicture) -> int:
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


def test_similar_pictures_have_near_hashes_and_different_ones_far() -> None:
    for seed in range(20):
        picture = scene(seed)
        darker = (picture * 0.8).astype(np.uint8)
        assert distance(picture, decode_jpeg(encode_jpeg(darker, quality=40))) <= 6
        assert distance(picture, scene(seed + 100)) > 12


def test_a_hash_has_64_bits() -> None:
    assert all(0 <= perceptual_hash(scene(seed)) < 2**64 for seed in range(5))


@given(data=st.binary(max_size=300))
def test_bytes_that_are_no_jpeg_are_refused(data: bytes) -> None:
    for candidate in (data, b"\xff\xd8\xff\xe0" + data):
        with pytest.raises(ValueError, match="JPEG"):
            decode_jpeg(candidate)


def test_a_truncated_jpeg_is_refused_or_read_but_never_crashes() -> None:
    whole = encode_jpeg(scene(3))
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        with contextlib.suppress(ValueError):
            assert decode_jpeg(whole[:size]).shape == STORED_SHAPE
