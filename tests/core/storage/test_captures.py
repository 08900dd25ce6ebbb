"""Captures go in once, whole, and come out as counts."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from core.collection.directory import Category
from core.errors import StorageError
from core.games import NOT_A_GAME, UNKNOWN, Game
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.records import (
    Broadcaster,
    BroadcastStream,
    KeptFrame,
    LabelSource,
    RejectedFrames,
)
from core.storage.tables import (
    BroadcasterRow,
    CaptureRow,
    FrameRow,
    GameAliasRow,
    GameRow,
    LabelRow,
    ModelRow,
    OptOutRow,
    RecognitionRow,
    StreamRow,
    Table,
)
from tests.core.storage.samples import (
    ANNA,
    BERT,
    CHESS,
    DOOM,
    NOON,
    asked,
    kept,
    nightly,
    picture,
    planned,
    recognition,
)


async def rows(database, table: type[Table]):
    async with database.reading() as session:
        return list(await session.scalars(select(table).order_by(*table.__table__.primary_key)))


async def total(database) -> int:
    """Rows of all tables together."""
    async with database.reading() as session:
        return sum(
            [await session.scalar(select(func.count()).select_from(table)) for table in Table.metadata.sorted_tables]
        )


async def a_pick(nights) -> tuple[int, int]:
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    await nights.save_picks(run.id, [planned(0)])
    (pick,) = await nights.pending_picks(run.id)
    return run.id, pick.id


class TestAdding:
    async def test_all_of_it_is_kept(self, captures, database, frames, nights):
        run_id, pick_id = await a_pick(nights)
        held = await kept(frames, picture("a"), picture("b"))
        capture_id = await captures.add(
            nightly(
                key="night-1",
                at=NOON + timedelta(microseconds=123456),
                rejected=RejectedFrames(adverts=1, black=2, duplicates=3, failed=4, waiting=5),
                bytes_fetched=5_000_000_000,
                frames=held,
                recognition=recognition(Game(id="doom", name="Freedoom")),
                job_run_id=run_id,
                pick_id=pick_id,
            )
        )
        (capture,) = await rows(database, CaptureRow)
        assert (capture.id, capture.key, capture.kind) == (capture_id, "night-1", "nightly")
        assert capture.at == NOON + timedelta(microseconds=123456)
        assert capture.at.utcoffset() == timedelta(0)
        assert (capture.rendition, capture.window_s, capture.bytes_fetched) == ("360p30", 26.0, 5_000_000_000)
        assert (capture.adverts, capture.black, capture.duplicates) == (1, 2, 3)
        assert (capture.failed, capture.waiting) == (4, 5)
        assert (capture.job_run_id, capture.pick_id) == (run_id, pick_id)
        there = await rows(database, FrameRow)
        assert [(row.sha256, row.size_bytes, row.perceptual_hash, row.at_s) for row in there] == [
            (frame.sha256, frame.size_bytes, frame.perceptual_hash, frame.at_s) for frame in held
        ]
        assert [row.position for row in there] == [0, 1]
        (broadcaster,) = await rows(database, BroadcasterRow)
        assert (broadcaster.platform_id, broadcaster.login, broadcaster.display_name) == ("1", "anna", "Anna")
        (stream,) = await rows(database, StreamRow)
        assert (stream.platform_id, stream.title, stream.language) == ("900", "hello", "en")
        (label,) = await rows(database, LabelRow)
        assert (label.capture_id, label.game_id, label.source) == (capture_id, "doom", LabelSource.DECLARED)

    async def test_a_key_that_is_there_adds_nothing(self, captures, database, frames):
        held = await kept(frames, picture("a"))
        first = await captures.add(nightly(key="k", frames=held))
        before = await total(database)
        again = await captures.add(nightly(key="k", broadcaster=BERT, declared=CHESS, frames=held))
        assert again == first
        assert await total(database) == before

    async def test_many_that_add_the_same_at_once_add_one(self, url, frames, database):
        held = await kept(frames, picture("a"))
        others = [Database.at(url) for _ in range(3)]
        stores = [CaptureStore(other, frames) for other in others]
        ids = await asyncio.gather(*(store.add(nightly(key="k", frames=held)) for store in stores for _ in range(5)))
        for other in others:
            await other.aclose()
        assert len(set(ids)) == 1
        assert len(await rows(database, CaptureRow)) == 1

    async def test_many_that_add_different_ones_of_one_stream_at_once(self, url, frames, database):
        held = await kept(frames, picture("a"))
        others = [Database.at(url) for _ in range(3)]
        stores = [CaptureStore(other, frames) for other in others]
        await asyncio.gather(
            *(
                store.add(nightly(key=f"{number}-{turn}", frames=held))
                for number, store in enumerate(stores)
                for turn in range(10)
            )
        )
        for other in others:
            await other.aclose()
        counts = {table: len(await rows(database, table)) for table in (CaptureRow, GameRow, BroadcasterRow, StreamRow)}
        assert counts == {CaptureRow: 30, GameRow: 1, BroadcasterRow: 1, StreamRow: 1}

    async def test_a_frame_whose_file_is_gone_is_not_named_by_a_row(self, captures, database, frames):
        held = await kept(frames, picture("a"), picture("b"))
        await frames.remove([held[1].sha256])
        with pytest.raises(StorageError, match="removed before it was added; take it again"):
            await captures.add(nightly(frames=held))
        assert await total(database) == 0
        await kept(frames, picture("b"))
        assert await captures.add(nightly(frames=held)) is not None

    async def test_what_fails_half_way_leaves_nothing(self, captures, database, frames):
        (frame,) = await kept(frames, picture("a"))
        before = await total(database)
        bad = KeptFrame(sha256=frame.sha256, size_bytes=0, perceptual_hash=0, at_s=0.0)
        with pytest.raises(StorageError):
            await captures.add(nightly(frames=(bad,)))
        assert await total(database) == before

    async def test_a_time_without_a_zone_is_refused(self, captures):
        with pytest.raises(StorageError, match="names no time zone"):
            await captures.add(nightly(at=NOON.replace(tzinfo=None)))

    async def test_a_capture_without_frames_is_kept_and_counts_no_stream(self, captures):
        assert await captures.add(nightly()) is not None
        summary = await captures.summary()
        assert (summary.captures, summary.frames, summary.streams) == (1, 0, 0)

    async def test_an_asked_capture_has_no_label_by_itself(self, captures, database):
        await captures.add(asked(declared=DOOM))
        assert await rows(database, LabelRow) == []
        (capture,) = await rows(database, CaptureRow)
        assert capture.declared_id == "doom"

    async def test_texts_that_databases_do_not_hold_are_kept_as_far_as_they_go(self, captures, database):
        odd = "a\0b\ud800 \N{VIDEO GAME}"
        await captures.add(
            nightly(
                broadcaster=Broadcaster(login="anna", platform_id="1", display_name=odd),
                stream=BroadcastStream(platform_id="1", title=odd, language="x" * 500),
                declared=Category(id="1", name=odd),
                rendition="r" * 500,
            )
        )
        (stream,) = await rows(database, StreamRow)
        assert stream.title == "ab? \N{VIDEO GAME}"

    @pytest.mark.parametrize("perceptual_hash", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
    async def test_every_hash_comes_back_as_it_went(self, captures, frames, perceptual_hash):
        (frame,) = await kept(frames, picture("a"))
        odd = KeptFrame(
            sha256=frame.sha256, size_bytes=frame.size_bytes, perceptual_hash=perceptual_hash, at_s=frame.at_s
        )
        await captures.add(nightly(frames=(odd,)))
        assert await captures.recent_hashes(ANNA, limit=5) == (perceptual_hash,)


class TestPicks:
    async def test_adding_marks_the_pick_captured(self, captures, nights, frames):
        _, pick_id = await a_pick(nights)
        await captures.add(nightly(pick_id=pick_id, frames=await kept(frames, picture("a"))))
        assert (await nights.pick(pick_id)).outcome == "captured"

    async def test_a_capture_without_frames_marks_it_nothing_new(self, captures, nights):
        _, pick_id = await a_pick(nights)
        await captures.add(nightly(pick_id=pick_id))
        assert (await nights.pick(pick_id)).outcome == "nothing_new"

    async def test_a_capture_that_was_added_before_a_kill_marks_its_pick(self, captures, nights, frames, database):
        _, pick_id = await a_pick(nights)
        held = await kept(frames, picture("a"))
        await captures.add(nightly(key="k", frames=held))
        await captures.add(nightly(key="k", frames=held, pick_id=pick_id))
        assert (await nights.pick(pick_id)).outcome == "captured"

    async def test_an_outcome_is_not_rewritten(self, captures, nights):
        _, pick_id = await a_pick(nights)
        await nights.pick_done(pick_id, "offline")
        await captures.add(nightly(pick_id=pick_id))
        assert (await nights.pick(pick_id)).outcome == "offline"

    async def test_a_failure_leaves_the_pick_pending(self, captures, nights):
        _, pick_id = await a_pick(nights)
        nothing = KeptFrame(sha256="0" * 64, size_bytes=1, perceptual_hash=0, at_s=0.0)
        with pytest.raises(StorageError):
            await captures.add(nightly(pick_id=pick_id, frames=(nothing,)))
        assert (await nights.pick(pick_id)).outcome is None


class TestGames:
    async def names(self, database) -> dict[str, tuple[str, str | None]]:
        return {row.id: (row.name, row.category_id) for row in await rows(database, GameRow)}

    async def test_a_category_is_one_game_however_often(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly())
        assert await self.names(database) == {"doom": ("DOOM", "101")}

    async def test_a_renamed_category_stays_the_game_and_keeps_its_old_name(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(declared=Category(id="101", name="DOOM (1993)")))
        assert await self.names(database) == {"doom": ("DOOM (1993)", "101")}
        assert {row.name for row in await rows(database, GameAliasRow)} == {"DOOM", "DOOM (1993)"}

    async def test_two_categories_of_one_name_are_two_games(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(declared=Category(id="202", name="Doom")))
        assert await self.names(database) == {"doom": ("DOOM", "101"), "doom_202": ("Doom", "202")}

    async def test_categories_that_swap_names_stay_who_they_are(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(declared=CHESS))
        await captures.add(nightly(declared=Category(id="101", name="Chess")))
        await captures.add(nightly(declared=Category(id="743", name="DOOM")))
        assert await self.names(database) == {"doom": ("Chess", "101"), "chess": ("DOOM", "743")}

    async def test_a_name_of_no_latin_letters_gets_an_id(self, captures, database):
        await captures.add(nightly(declared=Category(id="1", name="原神")))
        await captures.add(nightly(declared=Category(id="2", name="崩坏")))
        assert await self.names(database) == {"game": ("原神", "1"), "game_2": ("崩坏", "2")}

    async def test_a_model_s_label_and_a_category_of_the_same_name_are_one_game(self, captures, database):
        label = Game(id="counter_strike_2", name="Counter-Strike 2")
        await captures.add(asked(recognition=recognition(label)))
        await captures.add(nightly(declared=Category(id="32399", name="counter strike 2")))
        assert await self.names(database) == {"counter_strike_2": ("counter strike 2", "32399")}

    async def test_and_the_other_way_round(self, captures, database):
        await captures.add(nightly(declared=Category(id="32399", name="Counter-Strike 2")))
        await captures.add(asked(recognition=recognition(Game(id="counter_strike_2", name="Counter-Strike 2"))))
        assert await self.names(database) == {"counter_strike_2": ("Counter-Strike 2", "32399")}

    @pytest.mark.parametrize("category_first", [True, False])
    async def test_a_label_with_another_game_s_id_is_not_that_game(self, captures, database, category_first):
        """The starter model calls Freedoom ``doom``; Twitch's DOOM would be ``doom`` too."""
        additions = [nightly(), asked(recognition=recognition(Game(id="doom", name="Freedoom")))]
        for addition in additions if category_first else reversed(additions):
            await captures.add(addition)
        assert sorted(name for name, _ in (await self.names(database)).values()) == ["DOOM", "Freedoom"]

    async def test_of_two_games_of_one_name_a_label_means_the_one_of_its_id(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(declared=Category(id="202", name="Doom")))
        await captures.add(asked(recognition=recognition(Game(id="doom_202", name="Doom"))))
        (row,) = await rows(database, RecognitionRow)
        assert row.game_id == "doom_202"

    async def test_a_label_of_a_former_name_is_still_that_game(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(declared=Category(id="101", name="DOOM (1993)")))
        await captures.add(asked(recognition=recognition(Game(id="doom", name="DOOM"))))
        assert list(await self.names(database)) == ["doom"]

    async def test_no_category_takes_the_ids_of_what_is_no_game(self, captures, database):
        await captures.add(nightly(declared=Category(id="1", name="Unknown")))
        await captures.add(nightly(declared=Category(id="2", name="Not a game")))
        assert set(await self.names(database)) == {"unknown_1", "not_a_game_2"}
        await captures.add(asked(recognition=recognition(NOT_A_GAME)))
        names = await self.names(database)
        assert names["not_a_game"] == ("Not a game", None)
        await captures.add(nightly(declared=Category(id="3", name="Not a game")))
        assert set(await self.names(database)) == {"unknown_1", "not_a_game", "not_a_game_2", "not_a_game_3"}

    async def test_whether_it_is_a_game_is_as_last_said(self, captures, database):
        async def said():
            return (await rows(database, GameRow))[0].is_game

        await captures.add(asked(declared=CHESS))
        assert await said() is None
        await captures.add(nightly(declared=CHESS, is_game=True))
        await captures.add(asked(declared=CHESS, is_game=None))
        assert await said() is True
        await captures.add(nightly(declared=CHESS, is_game=False))
        assert await said() is False


class TestRecognitions:
    async def test_the_model_s_words_are_kept(self, captures, database):
        await captures.add(asked(recognition=recognition(Game(id="doom", name="Freedoom"))))
        (row,) = await rows(database, RecognitionRow)
        assert (row.model, row.game_id, row.best_id, row.votes, row.at) == ("starter-1", "doom", "doom", 2, NOON)
        assert (row.confidence, row.score, row.novelty) == (0.9, 5.6, 0.25)
        assert row.runners_up == [{"id": "crawl", "name": "Dungeon Crawl: Stone Soup", "confidence": 0.1}]
        assert row.frames == [
            {"id": "doom", "name": "Freedoom", "confidence": 0.9, "at_s": at_s} for at_s in (0.0, 2.0)
        ]

    async def test_unknown_is_no_game(self, captures, database):
        await captures.add(asked(recognition=recognition(UNKNOWN, best=Game(id="doom", name="Freedoom"))))
        (row,) = await rows(database, RecognitionRow)
        assert (row.game_id, row.best_id) == (None, "doom")
        assert [game.id for game in await rows(database, GameRow)] == ["doom"]

    async def test_a_model_is_written_down_once(self, captures, database):
        label = Game(id="doom", name="Freedoom")
        for number in range(3):
            await captures.add(asked(recognition=recognition(label, at=NOON + timedelta(days=number))))
        await captures.add(asked(recognition=recognition(label, model="starter-2")))
        assert [(row.version, row.first_seen_at) for row in await rows(database, ModelRow)] == [
            ("starter-1", NOON),
            ("starter-2", NOON),
        ]


class TestBroadcasters:
    async def who(self, database) -> list[tuple[str | None, str | None]]:
        return [(row.platform_id, row.login) for row in await rows(database, BroadcasterRow)]

    async def owners(self, database) -> list[str | None]:
        async with database.reading() as session:
            return list(
                await session.scalars(
                    select(BroadcasterRow.platform_id)
                    .join(CaptureRow, CaptureRow.broadcaster_id == BroadcasterRow.id)
                    .order_by(CaptureRow.id)
                )
            )

    async def test_one_known_by_login_is_completed_not_doubled(self, captures, database):
        await captures.add(asked())
        assert await self.who(database) == [(None, "anna")]
        await captures.add(nightly())
        await captures.add(asked(broadcaster=Broadcaster(login="ANNA")))
        assert await self.who(database) == [("1", "anna")]
        assert await self.owners(database) == ["1"] * 3

    async def test_a_new_login_is_followed(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(broadcaster=Broadcaster(login="anna_tv", platform_id="1")))
        (row,) = await rows(database, BroadcasterRow)
        assert (row.platform_id, row.login, row.display_name) == ("1", "anna_tv", "Anna")

    async def test_a_login_that_changed_hands_is_the_new_holder_s(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(broadcaster=Broadcaster(login="anna", platform_id="7"), stream=None))
        assert await self.who(database) == [("1", None), ("7", "anna")]
        await captures.add(asked())
        assert await self.owners(database) == ["1", "7", "7"]
        await captures.add(nightly(broadcaster=Broadcaster(login="anna_tv", platform_id="1")))
        assert await self.who(database) == [("1", "anna_tv"), ("7", "anna")]

    async def test_logins_that_are_swapped(self, captures, database):
        await captures.add(nightly(broadcaster=ANNA))
        await captures.add(nightly(broadcaster=BERT, stream=None))
        await captures.add(nightly(broadcaster=Broadcaster(login="bert", platform_id="1"), stream=None))
        assert await self.who(database) == [("1", "bert"), ("2", None)]
        await captures.add(nightly(broadcaster=Broadcaster(login="anna", platform_id="2"), stream=None))
        assert await self.who(database) == [("1", "bert"), ("2", "anna")]

    async def test_one_met_by_both_a_new_login_and_an_old_id_is_one(self, captures, database):
        """Otherwise the two could land on two sides of a split."""
        await captures.add(nightly())
        await captures.add(asked(broadcaster=Broadcaster(login="anna_tv"), stream=BroadcastStream(platform_id="901")))
        assert await self.who(database) == [("1", "anna"), (None, "anna_tv")]
        await captures.add(nightly(broadcaster=Broadcaster(login="anna_tv", platform_id="1")))
        assert await self.who(database) == [("1", "anna_tv")]
        assert await self.owners(database) == ["1"] * 3
        assert {row.broadcaster_id for row in await rows(database, StreamRow)} == {1}

    async def test_a_stream_is_one_row_with_its_last_title(self, captures, database):
        await captures.add(nightly())
        await captures.add(nightly(stream=BroadcastStream(platform_id="900", title="and on", language="de")))
        (stream,) = await rows(database, StreamRow)
        assert (stream.title, stream.language, stream.started_at) == ("and on", "de", NOON)


class TestOptOuts:
    async def test_nothing_is_kept_of_who_opted_out(self, captures, database, frames, nights):
        _, pick_id = await a_pick(nights)
        await captures.opt_out(ANNA, by="anna", at=NOON)
        before = await total(database)
        held = await kept(frames, picture("a"))
        assert await captures.add(nightly(frames=held, pick_id=pick_id)) is None
        assert await captures.add(asked()) is None
        assert await total(database) == before
        assert (await nights.pick(pick_id)).outcome == "opted_out"
        assert await captures.add(nightly(broadcaster=BERT)) is not None

    async def test_by_login_alone_is_enough_and_the_id_is_learned(self, captures, database):
        await captures.opt_out(Broadcaster(login="Anna"), by="keeper", at=NOON)
        assert await captures.add(nightly()) is None
        assert await captures.add(nightly(broadcaster=Broadcaster(login="anna_tv", platform_id="1"))) is None
        assert await captures.add(asked(broadcaster=Broadcaster(login="anna_tv"))) is None
        (row,) = await rows(database, OptOutRow)
        assert (row.platform_id, row.login) == ("1", "anna_tv")

    async def test_a_new_holder_of_the_login_has_not_opted_out(self, captures):
        await captures.opt_out(ANNA, by="anna", at=NOON)
        assert await captures.add(nightly(broadcaster=Broadcaster(login="anna", platform_id="7"))) is not None

    async def test_a_keeper_s_word_about_a_login_means_who_holds_it(self, captures):
        await captures.opt_out(ANNA, by="anna", at=NOON)
        await captures.opt_out(Broadcaster(login="anna"), by="keeper", at=NOON)
        assert await captures.add(nightly(broadcaster=Broadcaster(login="anna", platform_id="7"))) is None

    async def test_a_login_of_somebody_known_opts_their_id_out(self, captures):
        await captures.add(nightly())
        await captures.opt_out(Broadcaster(login="anna"), by="keeper", at=NOON)
        assert (await captures.opted_out()).platform_ids == {"1"}

    async def test_twice_is_once(self, captures, database):
        for broadcaster in (Broadcaster(login="anna"), ANNA, ANNA, Broadcaster(login="anna", platform_id="1")):
            await captures.opt_out(broadcaster, by="anna", at=NOON)
        assert len(await rows(database, OptOutRow)) == 1

    async def test_who_opted_out_is_said_in_a_form_to_ask(self, captures):
        assert not (await captures.opted_out()).covers(login="anna", platform_id="1")
        await captures.opt_out(ANNA, by="anna", at=NOON)
        await captures.opt_out(Broadcaster(login="clara"), by="clara", at=NOON)
        out = await captures.opted_out()
        assert (out.platform_ids, out.logins) == ({"1"}, {"clara"})
        assert out.covers(login="anna_tv", platform_id="1")
        assert out.covers(login="Anna", platform_id=None)
        assert out.covers(login="clara", platform_id="3")
        assert not out.covers(login="anna", platform_id="7")
        assert not out.covers(login="bert", platform_id="2")
        assert not out.covers(login="bert", platform_id=None)

    async def test_opting_out_while_a_capture_is_added(self, url, frames, database):
        """Whichever comes first: the capture is not kept after the opting out is done and forgotten."""
        held = await kept(frames, picture("a"))
        async with Database.at(url) as other:
            store, others = CaptureStore(database, frames), CaptureStore(other, frames)

            async def opt_out():
                await asyncio.sleep(0.02)
                await others.opt_out(ANNA, by="anna", at=NOON)

            async def add():
                ids = []
                while not ids or ids[-1] is not None:
                    ids.append(await store.add(nightly(frames=held)))
                return ids

            ids, _ = await asyncio.gather(add(), opt_out())
            assert len(await rows(database, CaptureRow)) == len(ids) - 1


class TestCounts:
    async def test_an_empty_store(self, captures):
        summary = await captures.summary()
        assert summary.games == ()
        assert (summary.captures, summary.frames, summary.size_bytes) == (0, 0, 0)
        assert (summary.smallest, summary.largest, summary.oldest_at, summary.newest_at) == (None, None, None, None)

    async def test_frames_streams_broadcasters_and_bytes_of_each_game(self, captures, frames):
        shared = picture("the same")
        size = len(shared)
        await captures.add(nightly(frames=await kept(frames, picture("a"), picture("b"), shared)))
        await captures.add(nightly(frames=await kept(frames, picture("c"))))
        await captures.add(
            nightly(
                broadcaster=BERT, stream=BroadcastStream(platform_id="901"), frames=await kept(frames, picture("d"))
            )
        )
        await captures.add(
            nightly(
                declared=CHESS,
                is_game=False,
                broadcaster=BERT,
                stream=BroadcastStream(platform_id="902"),
                at=NOON + timedelta(days=1),
                frames=await kept(frames, shared),
            )
        )
        await captures.add(asked(frames=await kept(frames, picture("e"), picture("f")), at=NOON - timedelta(days=1)))
        await captures.add(nightly(declared=Category(id="5", name="Árkanoid")))
        summary = await captures.summary()
        assert [count.game.name for count in summary.games] == ["Árkanoid", "Chess", "DOOM"]
        by_id = {count.game.id: count for count in summary.games}
        doom, chess, empty = by_id["doom"], by_id["chess"], by_id["arkanoid"]
        assert (doom.frames, doom.streams, doom.broadcasters, doom.size_bytes) == (5, 2, 2, 5 * size)
        assert (doom.category_id, doom.is_game) == ("101", True)
        assert (chess.frames, chess.streams, chess.broadcasters, chess.is_game) == (1, 1, 1, False)
        assert (empty.frames, empty.streams, empty.broadcasters, empty.size_bytes) == (0, 0, 0, 0)
        assert (summary.frames, summary.nightly_frames, summary.asked_frames) == (8, 6, 2)
        assert (summary.captures, summary.streams, summary.broadcasters) == (6, 4, 2)
        assert summary.size_bytes == 7 * size == await frames.size_bytes()
        assert (summary.oldest_at, summary.newest_at) == (NOON - timedelta(days=1), NOON + timedelta(days=1))
        assert summary.smallest.game.id == "chess"
        assert summary.largest.game.id == "doom"
        assert await captures.game_counts() == summary.games

    async def test_a_capture_counts_for_its_strongest_label(self, captures, database, frames):
        capture_id = await captures.add(nightly(frames=await kept(frames, picture("a"))))
        await captures.add(nightly(declared=CHESS))
        expected = {LabelSource.IMPORT: "chess", LabelSource.FLAG: "doom", LabelSource.KEEPER: "chess"}
        for source, game_id in expected.items():
            async with database.writing() as session:
                session.add(LabelRow(capture_id=capture_id, game_id=game_id, source=source, at=NOON))
            assert [count.game.id for count in await captures.game_counts() if count.frames] == [game_id]

    async def test_all_is_told_by_two_statements_however_many_games(self, captures, database):
        for number in range(12):
            await captures.add(nightly(declared=Category(id=f"{number}", name=f"Game {number}")))
        statements = []
        event.listen(
            database._engine.sync_engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: statements.append(statement),
        )
        await captures.summary()
        assert len([one for one in statements if one.lstrip().upper().startswith(("SELECT", "WITH"))]) == 2

    async def test_recent_hashes_are_of_nightly_frames_with_pixels_latest_first(self, captures, database, frames):
        early = await kept(frames, picture("a"), picture("b"))
        late = await kept(frames, picture("c"))
        await captures.add(nightly(frames=late, at=NOON + timedelta(hours=1)))
        await captures.add(nightly(frames=early))
        await captures.add(asked(frames=await kept(frames, picture("d"))))
        await captures.add(nightly(broadcaster=BERT, stream=None, frames=await kept(frames, picture("e"))))
        hashes = tuple(frame.perceptual_hash for frame in (*late, *reversed(early)))
        assert await captures.recent_hashes(ANNA, limit=10) == hashes
        assert await captures.recent_hashes(Broadcaster(login="Anna"), limit=2) == hashes[:2]
        assert await captures.recent_hashes(Broadcaster(login="nobody"), limit=2) == ()
        assert await captures.recent_hashes(Broadcaster(login="anna", platform_id="7"), limit=2) == ()
        async with database.writing() as session:
            (await session.get(FrameRow, 1)).removed_at = NOON
        assert await captures.recent_hashes(ANNA, limit=10) == hashes[1:]

    async def test_how_often_a_broadcaster_was_captured(self, captures):
        for hours in (0, 1, 2):
            await captures.add(nightly(at=NOON + timedelta(hours=hours)))
        await captures.add(nightly(broadcaster=BERT, stream=None))
        await captures.add(asked(at=NOON + timedelta(hours=5)))
        await captures.add(asked(broadcaster=Broadcaster(login="clara")))
        assert await captures.broadcasters_seen() == {"1": 3, "2": 1}
        assert await captures.captured_since(NOON + timedelta(hours=1)) == {"1": 2}
        assert await captures.captured_since(NOON + timedelta(hours=9)) == {}
