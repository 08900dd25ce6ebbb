from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.errors import DataSetError
from core.frames import encode_jpeg
from training.data.folders import Minima, check_minima, list_frames
from training.data.split import Part
from training.pipeline.shards import pack

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = encode_jpeg(np.full((36, 64, 3), 90, dtype=np.uint8))


def put(path: Path, content: bytes = PICTURE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_stream_is_a_folder_or_the_beginning_of_a_file_name(tmp_path: Path) -> None:
    put(tmp_path / "chess" / "anna" / "000.jpg")
    put(tmp_path / "doom" / "bob_the_first_000.jpg")
    put(tmp_path / "doom" / "bob_the_first_001.jpg")
    listing = list_frames(tmp_path)
    assert [frame.stream for frame in listing.frames] == ["chess/anna", "doom/bob_the_first", "doom/bob_the_first"]


def test_titles_come_from_the_table_of_games(tmp_path: Path) -> None:
    put(tmp_path / "frames" / "doom" / "s" / "1.jpg")
    put(tmp_path / "frames" / "chess" / "s" / "1.jpg")
    (tmp_path / "games.csv").write_text("slug,title,licence\ndoom,Freedoom,BSD\n")
    assert [(game.id, game.name) for game in list_frames(tmp_path).games] == [("chess", "chess"), ("doom", "Freedoom")]


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="does not exist"):
        list_frames(tmp_path / "nowhere")


def test_a_folder_without_pictures_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "chess").mkdir()
    with pytest.raises(DataSetError, match="no folder in it holds a JPEG"):
        list_frames(tmp_path)


def test_one_game_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    put(tmp_path / "chess" / "anna" / "1.jpg")
    with pytest.raises(DataSetError, match="one game only, chess"):
        list_frames(tmp_path)


def test_a_picture_of_no_stream_is_named(tmp_path: Path) -> None:
    put(tmp_path / "chess" / "1.jpg")
    with pytest.raises(DataSetError, match=r"1\.jpg belongs to no stream"):
        list_frames(tmp_path)


def test_every_game_that_is_too_small_is_named(tmp_path: Path) -> None:
    for stream in range(3):
        put(tmp_path / "chess" / f"s{stream}" / "1.jpg")
    put(tmp_path / "doom" / "s" / "1.jpg")
    with pytest.raises(DataSetError, match="chess has 3 of at least 20 frames; doom has 1 of at least 3 streams"):
        check_minima(list_frames(tmp_path), Minima())


def test_an_unreadable_picture_is_left_out_named_and_not_deleted(tmp_path: Path) -> None:
    put(tmp_path / "data" / "chess" / "s" / "1.jpg")
    put(tmp_path / "data" / "doom" / "s" / "1.jpg")
    broken = tmp_path / "data" / "doom" / "s" / "2.jpg"
    put(broken, b"\xff\xd8 cut short")
    frames = pack(list_frames(tmp_path / "data"), tmp_path / "work", progress=lambda done, total: None)
    assert frames.names == ("chess/s/1.jpg", "doom/s/1.jpg")
    assert frames.unreadable == (str(broken),)
    assert broken.exists()


def test_frames_are_decoded_once_and_again_when_a_file_changes(tmp_path: Path) -> None:
    put(tmp_path / "data" / "chess" / "s" / "1.jpg")
    put(tmp_path / "data" / "doom" / "s" / "1.jpg")
    told: list[int] = []

    def packed() -> None:
        pack(list_frames(tmp_path / "data"), tmp_path / "work", progress=lambda done, total: told.append(done))

    packed()
    packed()
    assert told == [1, 2]
    put(tmp_path / "data" / "doom" / "s" / "1.jpg", encode_jpeg(np.zeros((40, 64, 3), dtype=np.uint8)))
    packed()
    assert told == [1, 2, 1, 2]


def test_parts_of_folders_are_kept_where_no_stream_lies_in_two(tmp_path: Path) -> None:
    for place in ("training/doom/a_1", "validation/doom/b_1", "test/doom/c_1", "training/chess/a_1"):
        put(tmp_path / f"{place}.jpg")
    parts = {frame.stream: frame.part for frame in list_frames(tmp_path).frames}
    assert parts == {
        "doom/a": Part.TRAIN,
        "doom/b": Part.VALIDATION,
        "doom/c": Part.TEST,
        "chess/a": Part.TRAIN,
    }
    put(tmp_path / "test" / "doom" / "a_2.jpg")
    assert {frame.part for frame in list_frames(tmp_path).frames} == {None}
