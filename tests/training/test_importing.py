"""Trees of folders -> the store: each picture once, whatever happens in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from core.errors import DataSetError
from core.frames import decode_jpeg
from core.games import NOT_A_GAME
from core.storage.frame_store import FolderFrameStore
from core.storage.labelled import LabelledCapture, LabelledStore
from core.storage.records import CaptureKind, LabelSource
from core.storage.tables import CaptureRow, FrameRow, LabelRow
from core.storage.upkeep import Upkeep
from tests.training.collected import NOON, Collected, jpeg, picture, put
from training.__main__ import app
from training.importing import ImportReport, ImportRule, import_tree

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Collected:
    return Collected(tmp_path / "store")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "tree"


def imported(tree: Path, store: Collected, **rule: object) -> ImportReport:
    return import_tree(tree, database=store.database, frames=store.frames, rule=ImportRule(**{"name": "mine"} | rule))


def captures(store: Collected) -> tuple[LabelledCapture, ...]:
    return store.ask(lambda database: LabelledStore(database).labelled()).captures


def frames(store: Collected) -> Counter[str]:
    """Labelled frames by ``game/broadcaster``."""
    return Counter(f"{one.game.id}/{one.broadcaster}" for one in captures(store) for _ in one.frames)


def test_a_folder_per_stream_or_a_prefix_per_stream(store: Collected, tree: Path) -> None:
    put(tree / "doom" / "anna" / "1.jpg", jpeg(1))
    put(tree / "doom" / "anna" / "2.jpg", jpeg(2))
    put(tree / "chess" / "bert_1.jpg", jpeg(3))
    (tree / "games.csv").write_text("slug,title\ndoom,Freedoom\n")
    report = imported(tree, store)
    assert (report.frames, report.streams, report.known, report.unreadable) == (3, 2, 0, [])
    assert frames(store) == {"doom/mine/doom/anna": 2, "chess/mine/chess/bert": 1}
    assert {(one.game.name, one.source) for one in captures(store)} == {
        ("Freedoom", LabelSource.IMPORT),
        ("chess", LabelSource.IMPORT),
    }


def test_parts_are_one_data_set_and_a_stream_in_two_of_them_is_one_stream(store: Collected, tree: Path) -> None:
    for number, (part, name) in enumerate(
        [("training", "anna_1"), ("validation", "anna_2"), ("training", "bert_1"), ("test", "carl_1")]
    ):
        put(tree / part / "Doom" / f"{name}.jpg", jpeg(number))
    imported(tree, store)
    assert frames(store) == {"doom/mine/doom/anna": 2, "doom/mine/doom/bert": 1, "doom/mine/doom/carl": 1}


def test_pictures_that_tell_no_stream_are_one_of_each_part_or_each_its_own(
    store: Collected, tree: Path, tmp_path: Path
) -> None:
    for number, place in enumerate(("train/Doom/1.jpg", "train/Doom/2.jpg", "val/Doom/1.jpg")):
        put(tree / place, jpeg(number))
    imported(tree, store)
    assert frames(store) == {"doom/mine/doom/train": 2, "doom/mine/doom/validation": 1}
    other = Collected(tmp_path / "other")
    imported(tree, other, each_file=True)
    assert frames(other) == {"doom/mine/doom/1": 2, "doom/mine/doom/2": 1}


def test_any_size_and_format_becomes_the_stored_size_and_a_stored_jpeg_stays_as_it_is(
    store: Collected, tree: Path
) -> None:
    as_it_is = jpeg(1)
    put(tree / "doom" / "s" / "1.jpg", as_it_is)
    put(tree / "doom" / "s" / "2.jpg", jpeg(2, width=1280, height=720))
    put(tree / "doom" / "s" / "3.png", bytes(cv2.imencode(".png", picture(3, width=640, height=480))[1]))
    imported(tree, store)
    kept = [path.read_bytes() for path in store.frames.rglob("*.jpg")]
    assert {decode_jpeg(data).shape for data in kept} == {(180, 320, 3)}
    assert as_it_is in kept
    assert len(kept) == 3


def test_done_again_it_brings_nothing_twice_and_only_what_is_new(store: Collected, tree: Path) -> None:
    put(tree / "doom" / "s" / "1.jpg", jpeg(1))
    imported(tree, store)
    again = imported(tree, store)
    assert (again.frames, again.known) == (0, 1)
    put(tree / "doom" / "s" / "2.jpg", jpeg(2))
    more = imported(tree, store)
    assert (more.frames, more.known) == (1, 1)
    assert frames(store) == {"doom/mine/doom/s": 2}


def test_a_folders_name_finds_the_game_that_is_there(store: Collected, tree: Path) -> None:
    store.capture("night", by="anna")  # of DOOM
    put(tree / "doom" / "s" / "1.jpg", jpeg(1))
    put(tree / "DOOM" / "t" / "1.jpg", jpeg(2))
    put(tree / "Not a game" / "t" / "1.jpg", jpeg(3))
    imported(tree, store)
    assert Counter(one.game.id for one in captures(store)) == {"doom": 3, NOT_A_GAME.id: 1}


def test_a_channel_is_the_same_broadcaster_everywhere(store: Collected, tree: Path) -> None:
    store.capture("night", by="anna")
    put(tree / "doom" / "Anna" / "1.jpg", jpeg(1))
    put(tree / "chess" / "Anna" / "1.jpg", jpeg(2))
    imported(tree, store, are_channels=True)
    assert {one.broadcaster for one in captures(store)} == {"anna"}


@pytest.mark.parametrize("are_channels", [True, False])
def test_who_opted_out_is_not_imported(store: Collected, tree: Path, are_channels: bool) -> None:
    store.opt_out("anna")
    put(tree / "doom" / "Anna" / "1.jpg", jpeg(1))
    put(tree / "doom" / "bert" / "1.jpg", jpeg(2))
    report = imported(tree, store, are_channels=are_channels)
    assert (report.frames, report.opted_out) == (1, 1)
    assert len(list(store.frames.rglob("*.jpg"))) == 1


def test_retention_and_the_size_cap_leave_imported_frames_alone(store: Collected, tree: Path) -> None:
    put(tree / "doom" / "s" / "1.jpg", jpeg(1))
    imported(tree, store)
    store.capture("night", by="anna")

    async def shrink(database):
        upkeep = Upkeep(database, FolderFrameStore(store.frames))
        await upkeep.expire(asked_before=NOON.replace(year=2100), nightly_before=NOON.replace(year=2100))
        await upkeep.shrink_to(0)

    store.ask(shrink)
    pixels = {one.key[:6]: [frame.has_pixels for frame in one.frames] for one in captures(store)}
    assert pixels == {"import": [True], "night": [False, False]}


def test_what_cannot_be_read_is_named_and_left_where_it_is(store: Collected, tree: Path) -> None:
    put(tree / "doom" / "s" / "1.jpg", jpeg(1))
    cut = put(tree / "doom" / "s" / "2.jpg", jpeg(2)[:-500])
    empty = put(tree / "doom" / "s" / "3.png", b"")
    text = put(tree / "doom" / "s" / "4.jpg", b"<html>not found</html>")
    report = imported(tree, store)
    assert report.frames == 1
    assert [(path, why) for path, why in report.unreadable] == [
        (cut, "it was cut short"),
        (empty, "it is empty"),
        (text, "it is no picture"),
    ]
    assert cut.exists()
    assert empty.exists()
    assert text.exists()


def test_bad_input_is_one_sentence(store: Collected, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="does not exist"):
        imported(tmp_path / "nowhere", store)
    tree.mkdir()
    with pytest.raises(DataSetError, match="nothing to import"):
        imported(tree, store)
    put(tree / "doom" / "s" / "1.jpg", b"")
    with pytest.raises(DataSetError, match="Not one of the 1 pictures"):
        imported(tree, store)


def test_the_verb_prints_figures_for_a_program(store: Collected, tree: Path) -> None:
    put(tree / "doom" / "s" / "1.jpg", jpeg(1))
    ended = CliRunner().invoke(app, ["import", str(tree), "--json", *store.options()])
    assert ended.exit_code == 0
    figures = {"frames": 1, "streams": 1, "known": 0, "opted_out_streams": 0, "unreadable": []}
    assert json.loads(ended.stdout) == figures


def test_killed_and_started_again_it_brings_everything_once(store: Collected, tree: Path) -> None:
    streams, pictures = 60, 4
    for stream in range(streams):
        for number in range(pictures):
            size = {"width": 1280, "height": 720}
            put(tree / f"game{stream % 3}" / f"s{stream}" / f"{number}.jpg", jpeg(pictures * stream + number, **size))
    command = [sys.executable, "-m", "training", "import", str(tree), *store.options()]
    killed = []
    for wanted in (5, 60, 130):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and len(list(store.frames.rglob("*.jpg"))) < wanted:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        killed.append(process.returncode == -signal.SIGKILL)
    assert all(killed)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr

    async def counts(database):
        async with database.reading() as session:
            return (
                await session.scalar(select(func.count()).select_from(CaptureRow)),
                await session.scalar(select(func.count()).select_from(LabelRow)),
                await session.scalar(select(func.count()).select_from(FrameRow)),
                await session.scalar(select(func.count(FrameRow.sha256.distinct()))),
                set(await session.scalars(select(CaptureRow.kind))),
            )

    total = streams * pictures
    assert store.ask(counts) == (streams, streams, total, total, {CaptureKind.IMPORTED})
    assert len(list(store.frames.rglob("*.jpg"))) == total
