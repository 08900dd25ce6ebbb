"""What is not to be kept goes, rows and files, and nothing else does."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.collection.directory import Category
from core.errors import StorageError
from core.games import Game
from core.storage.records import (
    Broadcaster,
    BroadcastStream,
    CaptureKind,
    FlagReason,
    FlagState,
    Forgotten,
    Removed,
    RunState,
    SyncReport,
)
from core.storage.tables import (
    BroadcasterRow,
    CaptureRow,
    FlagRow,
    FrameRow,
    GameAliasRow,
    GameRow,
    OptOutRow,
    PickRow,
    RecognitionRow,
    StreamRow,
)
from core.storage.upkeep import HeldCapture, captures_to_drop
from tests.core.storage.samples import (
    ANNA,
    BERT,
    CHESS,
    NOON,
    asked,
    kept,
    live,
    nightly,
    picture,
    planned,
    recognition,
)

SIZE = len(picture("any"))
DAY = timedelta(days=1)


async def rows(database, table):
    async with database.reading() as session:
        return list(await session.scalars(select(table).order_by(*table.__table__.primary_key)))


async def files(frames) -> set[str]:
    return {frame.sha256 async for frame in frames.iterate()}


async def needed(database) -> set[str]:
    """Files that some row needs."""
    return {row.sha256 for row in await rows(database, FrameRow) if row.removed_at is None}


async def flag(database, capture_id: int, state: FlagState, *, game_id: str = "doom") -> None:
    async with database.writing() as session:
        session.add(
            FlagRow(
                capture_id=capture_id,
                game_id=game_id,
                state=state,
                reason=FlagReason.KEEPER,
                platform="console",
                by_id="mod",
                by_name="mod",
                moderates_channel=False,
                place="",
                server="",
                at=NOON,
                state_at=NOON,
            )
        )


def age(tmp_path, *, by_s: float = 7200) -> None:
    then = time.time() - by_s
    for path in (tmp_path / "frames").rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


@pytest.fixture
async def add(captures, frames):
    """Add a capture of new pictures; says its id and files."""

    async def add(build=nightly, *, pictures: int = 2, **changes):
        held = await kept(frames, *(picture() for _ in range(pictures)))
        capture_id = await captures.add(build(frames=held, **changes))
        return capture_id, {frame.sha256 for frame in held}

    return add


class TestExpiring:
    async def test_each_kind_has_its_own_time(self, add, upkeep, database, frames, tmp_path):
        await add(at=NOON - DAY)
        _, late = await add(at=NOON)
        await add(asked, at=NOON)
        _, late_asked = await add(asked, at=NOON + DAY)
        age(tmp_path)
        before = datetime.now(UTC)
        removed = await upkeep.expire(asked_before=NOON + DAY, nightly_before=NOON)
        assert removed == Removed(frames=4, files=4, size_bytes=4 * SIZE)
        assert await files(frames) == late | late_asked == await needed(database)
        gone = [row for row in await rows(database, FrameRow) if row.removed_at is not None]
        assert len(gone) == 4
        assert all(before <= row.removed_at <= datetime.now(UTC) for row in gone)
        assert len(await rows(database, CaptureRow)) == 4

    async def test_again_removes_nothing_and_rewrites_nothing(self, add, upkeep, database, tmp_path):
        await add(at=NOON - DAY)
        age(tmp_path)
        await upkeep.expire(asked_before=None, nightly_before=NOON)
        before = [row.removed_at for row in await rows(database, FrameRow)]
        assert await upkeep.expire(asked_before=None, nightly_before=NOON) == Removed()
        assert [row.removed_at for row in await rows(database, FrameRow)] == before

    async def test_none_keeps_a_kind(self, add, upkeep):
        await add(at=NOON - DAY)
        await add(asked, at=NOON - DAY)
        assert await upkeep.expire(asked_before=None, nightly_before=None) == Removed()

    @pytest.mark.parametrize(
        ("state", "stays"),
        [
            (FlagState.OPEN, True),
            (FlagState.ACCEPTED, True),
            (FlagState.REJECTED, False),
            (FlagState.WITHDRAWN, False),
        ],
    )
    async def test_a_flag_that_stands_keeps_the_pixels(self, add, upkeep, database, tmp_path, state, stays):
        capture_id, sha256s = await add(at=NOON - DAY)
        await flag(database, capture_id, state)
        age(tmp_path)
        removed = await upkeep.expire(asked_before=NOON, nightly_before=NOON)
        assert removed.frames == (0 if stays else 2)
        assert await needed(database) == (sha256s if stays else set())

    async def test_a_file_that_another_capture_needs_stays(self, captures, upkeep, frames, tmp_path):
        shared = await kept(frames, picture("shared"))
        await captures.add(nightly(frames=shared, at=NOON - DAY))
        await captures.add(nightly(frames=shared, at=NOON))
        age(tmp_path)
        removed = await upkeep.expire(asked_before=None, nightly_before=NOON)
        assert (removed.frames, removed.files) == (1, 0)
        assert await files(frames) == {shared[0].sha256}
        assert (await upkeep.expire(asked_before=None, nightly_before=NOON + DAY)).files == 1

    async def test_a_file_put_this_very_minute_is_left_to_the_sweep(self, add, upkeep, frames, tmp_path):
        await add(at=NOON - DAY)
        removed = await upkeep.expire(asked_before=None, nightly_before=NOON)
        assert (removed.frames, removed.files) == (2, 0)
        assert (await upkeep.sweep()).files == 0
        age(tmp_path)
        assert (await upkeep.sweep()).files == 2

    async def test_more_than_one_batch(self, captures, upkeep, frames, tmp_path, monkeypatch, database):
        monkeypatch.setattr("core.storage.upkeep._BATCH", 3)
        for _ in range(8):
            await captures.add(nightly(frames=await kept(frames, picture(), picture())))
        age(tmp_path)
        removed = await upkeep.expire(asked_before=None, nightly_before=NOON + DAY)
        assert (removed.frames, removed.files) == (16, 16)
        assert await files(frames) == set()

    async def test_a_whole_batch_of_flagged_captures_keeps_nobody_else(self, add, upkeep, database, monkeypatch):
        monkeypatch.setattr("core.storage.upkeep._BATCH", 2)
        for hours in range(4):
            capture_id, _ = await add(at=NOON + timedelta(hours=hours))
            if hours < 3:
                await flag(database, capture_id, FlagState.OPEN)
        assert (await upkeep.expire(asked_before=None, nightly_before=NOON + DAY)).frames == 2

    async def test_picks_of_old_nights_go_those_of_running_ones_stay(self, upkeep, nights, database):
        for days, state in ((-2, RunState.DONE), (-1, None), (1, RunState.DONE)):
            run = await nights.claim("night", NOON + days * DAY, holder="a", lease_s=60)
            await nights.save_picks(run.id, [planned(0)])
            if state is not None:
                await nights.finish(run, holder="a", state=state, result=None)
        await upkeep.expire(asked_before=NOON, nightly_before=NOON)
        assert len(await rows(database, PickRow)) == 2
        assert len(await nights.runs(limit=9)) == 3

    async def test_an_interruption_between_rows_and_files_is_made_good_by_the_sweep(
        self, add, upkeep, frames, database, tmp_path, monkeypatch
    ):
        await add(at=NOON - DAY)
        age(tmp_path)

        async def killed(*_args, **_kwargs):
            raise asyncio.CancelledError

        with monkeypatch.context() as patch:
            patch.setattr(upkeep, "_remove_files", killed)
            with pytest.raises(asyncio.CancelledError):
                await upkeep.expire(asked_before=None, nightly_before=NOON)
        assert await needed(database) == set()
        assert len(await files(frames)) == 2
        assert (await upkeep.sweep()).files == 2
        assert await files(frames) == set()


class TestShrinking:
    async def test_the_oldest_of_the_largest_game_go_first(self, add, upkeep, captures, frames, tmp_path):
        for hours in range(3):
            await add(at=NOON + timedelta(hours=hours))
        await add(declared=CHESS, at=NOON - DAY)
        await add(asked, at=NOON - 2 * DAY)
        age(tmp_path)
        removed = await upkeep.shrink_to(6 * SIZE)
        assert removed == Removed(frames=4, files=4, size_bytes=4 * SIZE)
        counts = {count.game.id: count.frames for count in await captures.game_counts()}
        assert counts == {"doom": 2, "chess": 2}
        assert (await captures.summary()).oldest_at == NOON - 2 * DAY
        assert await frames.size_bytes() == 6 * SIZE

    async def test_enough_room_removes_nothing(self, add, upkeep):
        await add()
        assert await upkeep.shrink_to(2 * SIZE) == Removed()

    async def test_asked_ones_go_when_no_nightly_one_is_left(self, add, upkeep, captures, tmp_path):
        await add(asked)
        await add()
        age(tmp_path)
        assert (await upkeep.shrink_to(0)).files == 4
        assert (await captures.summary()).frames == 0

    async def test_flagged_ones_stay_though_it_is_too_much(self, add, upkeep, database, tmp_path):
        capture_id, sha256s = await add()
        await flag(database, capture_id, FlagState.OPEN)
        await add()
        age(tmp_path)
        assert (await upkeep.shrink_to(0)).files == 2
        assert await needed(database) == sha256s

    async def test_what_captures_share_comes_free_with_the_last(self, captures, upkeep, frames, tmp_path):
        shared = await kept(frames, picture("shared"), picture("too"))
        for hours in range(4):
            await captures.add(nightly(frames=shared, at=NOON + timedelta(hours=hours)))
        await captures.add(nightly(frames=await kept(frames, picture("own")), at=NOON + DAY))
        age(tmp_path)
        removed = await upkeep.shrink_to(2 * SIZE)
        assert await frames.size_bytes() <= 2 * SIZE
        assert removed.frames == 8


HELD = st.lists(
    st.builds(
        HeldCapture,
        id=st.integers(),
        kind=st.sampled_from(CaptureKind),
        game_id=st.sampled_from([None, "a", "b", "c"]),
        at=st.integers(0, 10).map(lambda days: NOON + days * DAY),
        frames=st.integers(1, 13),
        size_bytes=st.integers(1, 100),
        flagged=st.booleans(),
    ),
    unique_by=lambda capture: capture.id,
    max_size=20,
)


def may_go(capture: HeldCapture) -> bool:
    return not capture.flagged and capture.kind is not CaptureKind.IMPORTED


class TestWhatToDrop:
    @given(HELD, st.integers(-10, 1500))
    def test_enough_and_no_more(self, held, free_bytes):
        dropped = captures_to_drop(held, free_bytes=free_bytes)
        by_id = {capture.id: capture for capture in held}
        assert len(set(dropped)) == len(dropped)
        assert all(may_go(by_id[one]) for one in dropped)
        freed = [by_id[one].size_bytes for one in dropped]
        if sum(freed) < free_bytes:
            assert set(dropped) == {capture.id for capture in held if may_go(capture)}
        assert sum(freed[:-1]) < max(free_bytes, 1)

    @given(HELD, st.integers(1, 1500))
    def test_nightly_before_asked_old_before_new_large_before_small(self, held, free_bytes):
        by_id = {capture.id: capture for capture in held}
        left = dict(by_id)
        for one in captures_to_drop(held, free_bytes=free_bytes):
            capture = by_id[one]
            free = [other for other in left.values() if may_go(other)]
            nightly_ones = [other for other in free if other.kind is CaptureKind.NIGHTLY]
            if capture.kind is CaptureKind.ASKED:
                assert nightly_ones == []
                assert capture.at == min(other.at for other in free)
            else:
                assert capture.at == min(other.at for other in nightly_ones if other.game_id == capture.game_id)
                frames = {
                    game_id: sum(
                        other.frames
                        for other in left.values()
                        if other.game_id == game_id and other.kind is CaptureKind.NIGHTLY
                    )
                    for game_id in {other.game_id for other in nightly_ones}
                }
                assert frames[capture.game_id] == max(frames.values())
            del left[one]

    @given(HELD, st.integers(1, 1500))
    def test_the_order_of_the_list_does_not_matter(self, held, free_bytes):
        assert captures_to_drop(held, free_bytes=free_bytes) == captures_to_drop(held[::-1], free_bytes=free_bytes)


class TestSweeping:
    async def test_files_without_a_row_go_once_they_are_old(self, add, upkeep, frames, tmp_path):
        _, sha256s = await add()
        await kept(frames, picture(), picture())
        assert await upkeep.sweep() == SyncReport()
        age(tmp_path)
        expected = SyncReport(files=2, size_bytes=2 * SIZE)
        assert await upkeep.sweep(dry_run=True) == expected
        assert len(await files(frames)) == 4
        assert await upkeep.sweep() == expected
        assert await files(frames) == sha256s
        assert await upkeep.sweep() == SyncReport()

    async def test_half_written_files_go_once_they_are_old(self, add, upkeep, frames, tmp_path):
        await add()
        (tmp_path / "frames" / ".unfinished-1").write_bytes(b"half")
        assert await upkeep.sweep() == SyncReport()
        age(tmp_path)
        assert (await upkeep.sweep(dry_run=True)).unfinished == 1
        assert (await upkeep.sweep()).unfinished == 1
        assert (await upkeep.sweep()).unfinished == 0

    async def test_more_than_one_batch(self, upkeep, frames, tmp_path, monkeypatch):
        monkeypatch.setattr("core.storage.upkeep._BATCH", 3)
        await kept(frames, *(picture() for _ in range(10)))
        age(tmp_path)
        assert (await upkeep.sweep()).files == 10

    async def test_beside_captures_that_are_added_no_row_loses_its_file(
        self, captures, upkeep, frames, database, tmp_path, monkeypatch
    ):
        """With no grace at all, as though every capture took an hour from its files to its row."""

        async def none(**_settings):
            return 0

        monkeypatch.setattr("core.storage.upkeep._SWEEP_IDLE_S", 0.0)
        monkeypatch.setattr(frames, "remove_unfinished", none)
        lost = 0
        stop = asyncio.Event()

        async def collect(number):
            nonlocal lost
            for turn in range(15):
                held = await kept(frames, *(picture(number, turn, one) for one in range(3)), picture("shared"))
                try:
                    await captures.add(nightly(frames=held))
                except StorageError:
                    lost += 1

        async def sweep():
            while not stop.is_set():
                await upkeep.sweep()
                await asyncio.sleep(0)

        sweeping = asyncio.create_task(sweep())
        await asyncio.gather(*(collect(number) for number in range(4)))
        stop.set()
        await sweeping
        assert await needed(database) <= await files(frames)
        assert len(await rows(database, CaptureRow)) == 60 - lost > 0


class TestSyncing:
    async def test_rows_whose_file_is_gone_go_and_what_is_left_without_goes_with_them(
        self, add, upkeep, frames, database, tmp_path
    ):
        one, ones = await add()
        _, twos = await add(declared=CHESS)
        third, threes = await add(declared=Category(id="3", name="Third"))
        await kept(frames, picture())
        age(tmp_path)
        first, *_ = sorted(ones)
        await frames.remove({first} | twos)
        expected = SyncReport(games=1, frames=3, captures=1, files=1, size_bytes=SIZE)
        assert await upkeep.sync(dry_run=True) == expected
        assert len(await rows(database, FrameRow)) == 6
        assert len(await rows(database, GameRow)) == 3
        assert await upkeep.sync() == expected
        assert {row.id for row in await rows(database, CaptureRow)} == {one, third}
        assert {row.id for row in await rows(database, GameRow)} == {"doom", "third"}
        assert await needed(database) == await files(frames) == (ones - {first}) | threes
        assert await upkeep.sync() == SyncReport()

    async def test_provenance_without_pixels_stays(self, add, upkeep, database, tmp_path):
        await add(at=NOON - DAY)
        await add()
        age(tmp_path)
        await upkeep.expire(asked_before=None, nightly_before=NOON)
        assert await upkeep.sync() == SyncReport()
        assert len(await rows(database, FrameRow)) == 4

    async def test_a_capture_that_never_had_frames_stays(self, captures, upkeep, database):
        await captures.add(nightly())
        assert await upkeep.sync() == SyncReport()
        assert len(await rows(database, CaptureRow)) == 1

    async def test_a_flagged_capture_stays_and_its_game_too(self, add, upkeep, frames, database, tmp_path):
        capture_id, sha256s = await add()
        await add(declared=CHESS)
        await flag(database, capture_id, FlagState.REJECTED)
        await frames.remove(sha256s)
        report = await upkeep.sync()
        assert (report.frames, report.captures, report.games) == (2, 0, 0)

    async def test_a_game_that_a_recognition_names_stays(self, add, captures, upkeep, frames, database):
        _, sha256s = await add()
        await captures.add(asked(recognition=recognition(Game(id="doom", name="DOOM"))))
        await add(declared=CHESS)
        await frames.remove(sha256s)
        report = await upkeep.sync()
        assert (report.captures, report.games) == (1, 0)
        assert len(await rows(database, RecognitionRow)) == 1

    async def test_a_recognition_of_a_capture_without_frames_goes_with_it(self, add, upkeep, frames, database):
        _, sha256s = await add(recognition=recognition(Game(id="crawl", name="Crawl")))
        await add(declared=CHESS)
        await frames.remove(sha256s)
        report = await upkeep.sync()
        assert (report.captures, report.games) == (1, 2)
        assert await rows(database, RecognitionRow) == []

    async def test_a_game_with_another_name_stays(self, upkeep, database):
        """Somebody cared to write it down."""
        async with database.writing() as session:
            session.add_all([GameRow(id=name, name=name, added_at=NOON) for name in ("doom", "chess")])
            await session.flush()
            session.add(GameAliasRow(game_id="doom", name="doom", folded="doom"))
            session.add(GameAliasRow(game_id="doom", name="The Ultimate Doom", folded="the ultimate doom"))
            session.add(GameAliasRow(game_id="chess", name="chess", folded="chess"))
        assert (await upkeep.sync()).games == 1
        assert [row.id for row in await rows(database, GameRow)] == ["doom"]

    async def test_a_directory_that_is_not_mounted_costs_nothing(self, add, upkeep, database, frames, tmp_path):
        await add()
        (tmp_path / "frames").rename(tmp_path / "elsewhere")
        for dry_run in (True, False):
            with pytest.raises(StorageError, match=r"Not one of the 2 frames .* is right and mounted\.$"):
                await upkeep.sync(dry_run=dry_run)
        assert len(await rows(database, FrameRow)) == 2
        assert (await upkeep.sync(even_if_empty=True)).frames == 2
        assert await rows(database, CaptureRow) == []

    async def test_a_file_that_comes_back_in_between_keeps_its_row(
        self, captures, upkeep, frames, database, monkeypatch
    ):
        held = await kept(frames, picture("a"), picture("b"))
        await captures.add(nightly(frames=held))
        await frames.remove([held[0].sha256])
        looked = upkeep._missing_files

        async def look(**settings):
            missing = await looked(**settings)
            await frames.put(picture("a"))
            return missing

        monkeypatch.setattr(upkeep, "_missing_files", look)
        assert (await upkeep.sync()).frames == 0
        assert len(await rows(database, FrameRow)) == 2

    async def test_more_than_one_batch(self, add, upkeep, frames, database, monkeypatch):
        monkeypatch.setattr("core.storage.upkeep._BATCH", 3)
        gone = set()
        for _ in range(5):
            _, sha256s = await add(pictures=4)
            gone |= sha256s
        await add(declared=CHESS)
        await frames.remove(gone)
        report = await upkeep.sync()
        assert (report.frames, report.captures, report.games) == (20, 5, 1)


class TestForgetting:
    async def test_every_row_and_file_of_them_goes_and_only_theirs(
        self, add, captures, upkeep, frames, database, nights
    ):
        run = await nights.claim("night", NOON, holder="a", lease_s=60)
        await nights.save_picks(run.id, [planned(1), planned(2)])
        capture_id, _ = await add(recognition=recognition(Game(id="doom", name="DOOM")), job_run_id=run.id)
        await flag(database, capture_id, FlagState.ACCEPTED)
        await add(asked)
        _, berts = await add(broadcaster=BERT, stream=BroadcastStream(platform_id="901"))
        forgotten = await upkeep.forget(Broadcaster(login="Anna"), by="keeper", at=NOON)
        assert forgotten == Forgotten(known=True, captures=2, frames=4, files=4, size_bytes=4 * SIZE)
        assert await files(frames) == berts == await needed(database)
        assert [row.login for row in await rows(database, BroadcasterRow)] == ["bert"]
        assert [row.platform_id for row in await rows(database, StreamRow)] == ["901"]
        assert len(await rows(database, CaptureRow)) == 1
        assert await rows(database, RecognitionRow) == await rows(database, FlagRow) == []
        assert [pick.planned.stream.broadcaster_id for pick in await nights.picks(run.id)] == ["2"]
        (out,) = await rows(database, OptOutRow)
        assert (out.platform_id, out.login, out.by, out.at) == ("1", "anna", "keeper", NOON)
        assert await captures.add(nightly()) is None

    async def test_nobody_of_that_name_is_opted_out_all_the_same(self, captures, upkeep):
        forgotten = await upkeep.forget(ANNA, by="anna", at=NOON)
        assert forgotten == Forgotten(known=False, captures=0, frames=0, files=0, size_bytes=0)
        assert await captures.add(nightly()) is None

    async def test_again_finds_nothing(self, add, upkeep, database):
        await add()
        await upkeep.forget(ANNA, by="anna", at=NOON)
        assert not (await upkeep.forget(ANNA, by="anna", at=NOON)).known
        assert len(await rows(database, OptOutRow)) == 1

    async def test_frames_without_pixels_go_too(self, add, upkeep, database, tmp_path):
        await add(at=NOON - DAY)
        age(tmp_path)
        await upkeep.expire(asked_before=None, nightly_before=NOON)
        forgotten = await upkeep.forget(ANNA, by="anna", at=NOON)
        assert (forgotten.frames, forgotten.files) == (2, 0)
        assert await rows(database, FrameRow) == []

    async def test_a_file_that_somebody_else_s_capture_needs_stays(self, captures, upkeep, frames):
        shared = await kept(frames, picture("shared"))
        await captures.add(nightly(frames=shared))
        await captures.add(nightly(frames=shared, broadcaster=BERT, stream=None))
        assert (await upkeep.forget(ANNA, by="anna", at=NOON)).files == 0
        assert (await upkeep.forget(BERT, by="bert", at=NOON)).files == 1

    async def test_the_login_s_former_holder_is_not_forgotten(self, add, upkeep, database):
        await add()
        await add(broadcaster=Broadcaster(login="anna", platform_id="7"), stream=None)
        await upkeep.forget(Broadcaster(login="anna"), by="keeper", at=NOON)
        assert [row.platform_id for row in await rows(database, BroadcasterRow)] == ["1"]

    async def test_a_pick_under_way_comes_to_nothing(self, captures, upkeep, nights, frames, database):
        run = await nights.claim("night", NOON, holder="a", lease_s=60)
        await nights.save_picks(run.id, [planned(5)])
        (pick,) = await nights.pending_picks(run.id)
        held = await kept(frames, picture())
        stream = live(5)
        them = Broadcaster(login=stream.login, platform_id=stream.broadcaster_id)
        await upkeep.forget(them, by="them", at=NOON)
        assert await captures.add(nightly(broadcaster=them, frames=held, pick_id=pick.id)) is None
        assert await nights.pending_picks(run.id) == ()
        assert not await nights.pick_done(pick.id, "captured")

    async def test_forgetting_while_they_are_captured_leaves_nothing(
        self, captures, upkeep, frames, database, tmp_path
    ):
        async def collect():
            added = 0
            while added is not None:
                # A picture that was forgotten in between is taken again.
                with suppress(StorageError):
                    added = await captures.add(nightly(frames=await kept(frames, picture(), picture("same"))))

        async def forget():
            await asyncio.sleep(0.05)
            await upkeep.forget(ANNA, by="anna", at=NOON)

        await asyncio.gather(collect(), collect(), forget())
        assert await rows(database, CaptureRow) == await rows(database, FrameRow) == []
        age(tmp_path)
        await upkeep.sweep()
        assert await files(frames) == set()
