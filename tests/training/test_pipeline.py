"""Decoding once, and batches that depend on seed, epoch and number alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataSetError
from core.frames import encode_jpeg
from training.config import Balance
from training.data.folders import list_frames
from training.pipeline.prepare import split_of
from training.pipeline.shards import FrameBatches, PackedFrames, Pictures, Share, pack

if TYPE_CHECKING:
    from pathlib import Path

    from training.data.split import Rows

GAMES = 3
# Streams of very different length, and games as well: 20, 8 and 3 frames.
LABELS = np.repeat([0, 1, 2], [20, 8, 3])
STREAMS = np.array(["a/1"] * 17 + ["a/2"] * 3 + ["b/1"] * 4 + ["b/2"] * 4 + ["c/1"] * 3)


@dataclass
class Numbered:
    """Examples that are the number of their row, and a draw."""

    shown: list[int] = field(default_factory=list)

    def plain(self, rows: Rows) -> np.ndarray:
        return rows[:, None].astype(np.float32)

    overlaid = plain

    def training(self, row: int, rng: np.random.Generator) -> np.ndarray:
        self.shown.append(row)
        return np.array([row, rng.random()], dtype=np.float32)


def batches(
    balance: Balance = Balance.DRAWN, *, rows: Rows | None = None, seed: int = 0, **changes: object
) -> FrameBatches:
    asked: dict[str, object] = {"batch_size": 10, "blended_share": 0.0, **changes}
    return FrameBatches(
        asked.pop("examples", Numbered()),  # type: ignore[arg-type]
        labels=LABELS,
        streams=STREAMS,
        rows=np.arange(len(LABELS)) if rows is None else rows,
        games=GAMES,
        balance=balance,
        seed=seed,
        **asked,  # type: ignore[arg-type]
    )


balances = st.sampled_from(list(Balance))
shares = st.sampled_from([0.0, 0.3, 0.9])


@settings(max_examples=40)
@given(balances, shares, st.integers(0, 2**31), st.integers(1, 40))
def test_a_batch_has_its_size_and_each_example_its_target(
    balance: Balance, blended: float, seed: int, size: int
) -> None:
    drawn = batches(balance, seed=seed, batch_size=size, blended_share=blended)
    inputs, targets, weights = drawn[len(drawn) - 1]
    size = min(size, len(LABELS))
    assert len(inputs) == len(targets) == len(weights) == size
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, rtol=1e-6)
    sure = targets.max(axis=1) == 1.0
    # Only the first may be blends, whose target is every game alike.
    assert sure[round(blended * size) :].all()
    np.testing.assert_allclose(targets[~sure], 1.0 / GAMES, rtol=1e-6)
    rows = inputs[sure, 0].astype(int)
    assert (LABELS[rows] == targets[sure].argmax(axis=1)).all()


@settings(max_examples=25)
@given(balances, shares, st.integers(0, 2**31), st.randoms())
def test_a_batch_is_the_same_whatever_the_order_and_the_thread(balance, blended, seed, chance) -> None:
    one, other = (batches(balance, seed=seed, batch_size=6, blended_share=blended) for _ in range(2))
    in_order = [one[number] for number in range(len(one))]
    numbers = list(range(len(other)))
    chance.shuffle(numbers)
    with ThreadPoolExecutor(max_workers=4) as threads:
        shuffled = dict(zip(numbers, threads.map(other.__getitem__, numbers), strict=True))
    for number, batch in enumerate(in_order):
        for ours, theirs in zip(batch, shuffled[number], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=25)
@given(balances, shares, st.integers(0, 2**31), st.integers(1, 5), st.integers(5, 20))
def test_the_shares_of_several_processes_make_up_the_whole_batch(balance, blended, seed, processes, size) -> None:
    whole = batches(balance, seed=seed, batch_size=size, blended_share=blended)[0]
    parts = [
        batches(
            balance,
            seed=seed,
            batch_size=size,
            blended_share=blended,
            share=Share(process=process, processes=processes),
        )[0]
        for process in range(processes)
    ]
    for place, ours in enumerate(whole):
        np.testing.assert_array_equal(ours, np.concatenate([part[place] for part in parts]))


def test_a_later_epoch_draws_anew_and_is_reached_directly_as_well() -> None:
    through, direct = batches(), batches(first_epoch=2)
    first = through[0][0]
    through.on_epoch_end()
    through.on_epoch_end()
    assert (through[0][0] != first).any()
    np.testing.assert_array_equal(through[0][0], direct[0][0])


def test_drawn_shows_every_game_and_every_stream_of_it_as_often_as_the_others() -> None:
    drawn = batches(Balance.DRAWN, batch_size=30)
    rows = []
    for _ in range(200):
        rows += drawn[0][0][:, 0].astype(int).tolist()
        drawn.on_epoch_end()
    games = np.bincount(LABELS[rows], minlength=GAMES) / len(rows)
    np.testing.assert_allclose(games, 1 / 3, atol=0.03)
    of_first = [STREAMS[row] for row in rows if LABELS[row] == 0]
    assert of_first.count("a/1") / len(of_first) == pytest.approx(0.5, abs=0.05)
    assert set(drawn[0][2].tolist()) == {1.0}


@pytest.mark.parametrize("balance", [Balance.NONE, Balance.WEIGHTED])
def test_in_turn_shows_every_frame_once_an_epoch(balance: Balance) -> None:
    drawn = batches(balance, batch_size=31)
    assert sorted(drawn[0][0][:, 0].astype(int).tolist()) == list(range(31))
    in_parts = batches(balance, batch_size=10)
    rows = [int(row) for number in range(len(in_parts)) for row in in_parts[number][0][:, 0]]
    assert len(rows) == len(set(rows)) == 30


def test_weights_make_every_game_count_the_same() -> None:
    inputs, _, weights = batches(Balance.WEIGHTED, batch_size=31)[0]
    labels = LABELS[inputs[:, 0].astype(int)]
    sums = [float(weights[labels == game].sum()) for game in range(GAMES)]
    assert sums == pytest.approx([31 / 3] * 3, rel=1e-5)


def test_nothing_but_the_rows_that_are_trained_on_is_ever_drawn_not_even_into_a_blend() -> None:
    examples = Numbered()
    rows = np.flatnonzero(~np.isin(STREAMS, ["a/2", "b/1"]))
    for balance in Balance:
        drawn = batches(balance, rows=rows, examples=examples, blended_share=0.9, batch_size=7)
        for number in range(len(drawn)):
            drawn[number]
    assert examples.shown
    assert set(examples.shown) <= set(rows.tolist())


# The files


@pytest.fixture(scope="module")
def packed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PackedFrames:
    return pack(list_frames(tiny_data), tmp_path_factory.mktemp("packed"), progress=lambda done, total: None)


def test_a_picture_comes_through_unscrambled(tmp_path: Path) -> None:
    """Red left, green right, and a blue bar on top: channels, rows and columns stay where they were."""
    picture = np.zeros((180, 320, 3), dtype=np.uint8)
    picture[:, :160, 0], picture[:, 160:, 1] = 200, 150
    picture[:20] = [0, 0, 250]
    for game in ("one", "two"):
        path = tmp_path / "data" / game / "s1" / "1.png"
        path.parent.mkdir(parents=True)
        # A format without loss, so that every pixel can be asked for.
        cv2.imwrite(
            str(path.with_suffix(".jpg")), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100]
        )
    frames = pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=lambda done, total: None)
    shown = Pictures(frames=frames, augment=None, plain_share=0.0)
    drawn = FrameBatches(
        shown,
        labels=frames.labels,
        streams=frames.streams,
        rows=np.arange(2),
        games=2,
        batch_size=2,
        balance=Balance.NONE,
        blended_share=0.0,
        seed=0,
    )
    for inputs in (shown.plain(np.arange(2)), drawn[0][0]):
        assert inputs.shape == (2, 180, 320, 3)
        assert inputs.dtype == np.uint8
        for one in inputs:
            assert np.abs(one[60:, 20:140].astype(int) - [200, 0, 0]).max() <= 4
            assert np.abs(one[60:, 180:300].astype(int) - [0, 150, 0]).max() <= 4
            assert np.abs(one[:12].astype(int) - [0, 0, 250]).max() <= 4


def test_what_was_decoded_once_is_only_mapped_again(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(list_frames(tiny_data), tmp_path, progress=lambda done, total: None)
    monkeypatch.setattr("training.pipeline.shards.decode_jpeg", lambda data: pytest.fail("decoded again"))
    again = pack(list_frames(tiny_data), tmp_path, progress=lambda done, total: None)
    assert again.sha256 == first.sha256
    assert again.names == first.names
    assert isinstance(again.shards[0], np.memmap)
    np.testing.assert_array_equal(again.picture(7), first.picture(7))


def test_decoding_that_was_stopped_begins_anew_and_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    for game in ("one", "two"):
        for number in range(2):
            path = tmp_path / "data" / game / "s1" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_jpeg(np.full((180, 320, 3), 50 * number, np.uint8)))

    class Stopped(Exception):
        pass

    def stopped(done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=stopped)
    first = pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=lambda done, total: None)
    assert len(first) == 4
    changed = tmp_path / "data" / "one" / "s1" / "0.jpg"
    changed.write_bytes(encode_jpeg(np.full((180, 320, 3), 240, np.uint8)))
    os.utime(changed, ns=(1, 1))
    again = pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=lambda done, total: None)
    assert again.sha256 != first.sha256
    assert again.picture(0).mean() > 230


def test_what_is_no_picture_is_left_out_and_named_and_nothing_left_is_told(tmp_path: Path) -> None:
    for game in ("one", "two"):
        path = tmp_path / "data" / game / "s1" / "1.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_jpeg(np.full((180, 320, 3), 9, np.uint8)))
    broken = tmp_path / "data" / "one" / "s1" / "2.jpg"
    broken.write_text("no picture")
    frames = pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=lambda done, total: None)
    assert frames.unreadable == (str(broken),)
    assert len(frames) == 2
    assert broken.exists()
    for game in ("one", "two"):
        (tmp_path / "data" / game / "s1" / "1.jpg").write_text("nor this")
    with pytest.raises(DataSetError, match="Not one picture"):
        pack(list_frames(tmp_path / "data"), tmp_path / "packed", progress=lambda done, total: None)


def test_the_split_comes_first_and_no_copy_of_a_test_stream_is_made(packed: PackedFrames) -> None:
    split = split_of(packed, is_tested=True)
    parts = [set(packed.streams[rows].tolist()) for rows in (split.train, split.validation, split.test)]
    assert all(parts)
    assert sum(len(part) for part in parts) == len(set.union(*parts))
    seen: set[int] = set()

    class Watched:
        plain = overlaid = None

        def training(self, row: int, rng: np.random.Generator) -> np.ndarray:
            seen.add(row)
            return np.zeros(1, np.float32)

    drawn = FrameBatches(
        Watched(),  # type: ignore[arg-type]
        labels=packed.labels,
        streams=packed.streams,
        rows=split.train,
        games=3,
        batch_size=8,
        balance=Balance.DRAWN,
        blended_share=0.5,
        seed=0,
    )
    for _ in range(10):
        for number in range(len(drawn)):
            drawn[number]
        drawn.on_epoch_end()
    assert seen == set(split.train.tolist())
