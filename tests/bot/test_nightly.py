"""A collection, as the schedule has it and by hand: what is claimed, gone on with, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.claims import LEASE_S
from bot.nights.nightly import COLLECTION, CollectionUnderWay, Nightly
from core.collection.collector import Collector, Ended
from core.collection.picks import PickRules
from core.collection.taking import PickTaker
from core.errors import DirectoryProblem, StorageError
from core.storage.records import JobRun, JobRunRecord, RunState
from core.streams.reference import TWITCH_URL_TEMPLATE
from tests.core.collection.listing import category, live_stream
from tests.core.collection.stage import Stores, lively, open_stores
from tests.fakes import FakeDirectory, FakeSampler

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)
GAMES = 3
STREAMS = 4


@dataclass
class Evening:
    """A directory of three games with four streams each, and the stores of one machine."""

    stores: Stores
    now: datetime = NOW
    sampler: FakeSampler = field(default_factory=FakeSampler)
    directory: FakeDirectory = field(default_factory=FakeDirectory)

    def nightly(self, *, holder: str = "here:1", streams: int = 2, attempts: int = 3) -> Nightly:
        taker = PickTaker(
            sampler=self.sampler,
            frames=self.stores.frames,
            captures=self.stores.captures,
            nights=self.stores.nights,
            url_template=TWITCH_URL_TEMPLATE,
            store_tries=1,
        )
        return Nightly(
            directory=self.directory,
            captures=self.stores.captures,
            nights=self.stores.nights,
            collector=Collector(taker, self.stores.nights, parallel=2),
            rules=PickRules(games=GAMES, min_live_streams=1, streams=streams, attempts=attempts),
            time_zone="Europe/Berlin",
            holder=holder,
            clock=lambda: self.now,
        )

    async def last(self) -> JobRunRecord:
        run = await self.stores.nights.last_run(COLLECTION)
        assert run is not None
        return run

    async def claimed(self, *, holder: str = "here:1") -> JobRun:
        run = await self.stores.nights.claim(COLLECTION, self.now, holder=holder, lease_s=LEASE_S)
        assert run is not None
        return run

    async def stopped_after(self, streams: int) -> None:
        """A collection by hand that is told to stop when so many streams have been looked at."""
        stop = asyncio.Event()
        self.sampler.gate.clear()
        collecting = asyncio.create_task(self.nightly().by_hand(stop=stop))
        async with asyncio.timeout(20):
            while len(self.sampler.asked) < streams:
                await asyncio.sleep(0.01)
        stop.set()
        self.sampler.gate.set()
        assert (await collecting).ended is Ended.STOPPED


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with open_stores(tmp_path) as stores:
        await stores.database.prepare()
        made = Evening(stores)
        for number in range(GAMES * STREAMS):
            stream = live_stream(number, category(f"game {number // STREAMS}"))
            made.directory.streams.append(stream)
            made.sampler.frames[stream.login] = lively(number, frames=3)
        yield made


def never() -> asyncio.Event:
    return asyncio.Event()


async def test_a_collection_by_hand_is_a_run_with_its_summary(evening: Evening) -> None:
    summary = await evening.nightly().by_hand(stop=never())

    assert (summary.ended, summary.streams, summary.frames) == (Ended.COMPLETE, 6, 18)
    run = await evening.last()
    assert (run.state, run.due_at) == (RunState.DONE, NOW)
    assert run.result == summary.to_json()


async def test_games_and_streams_are_taken_in_place_of_the_settings(evening: Evening) -> None:
    summary = await evening.nightly().by_hand(games=1, streams=4, stop=never())

    assert (summary.games, summary.streams) == (1, 4)


async def test_spares_grow_with_the_streams_that_are_asked_for(evening: Evening) -> None:
    await evening.nightly(streams=2, attempts=3).by_hand(games=1, streams=1, stop=never())
    (planned,) = await evening.stores.rows("SELECT count(*) FROM picks")

    assert planned == (2,), "one stream and its spare: two picks for a stream, as three are for two, rounded up"


async def test_what_was_stopped_is_gone_on_with_under_the_same_run(evening: Evening) -> None:
    await evening.stopped_after(2)
    first = await evening.last()
    assert first.state is RunState.INTERRUPTED
    evening.now += timedelta(hours=1)

    summary = await evening.nightly(holder="here:2").by_hand(stop=never())

    assert (summary.ended, summary.streams) == (Ended.COMPLETE, 6)
    second = await evening.last()
    assert (second.due_at, second.state) == (first.due_at, RunState.DONE)
    assert len(evening.sampler.asked) == len(set(evening.sampler.asked)) == 6


async def test_what_was_stopped_long_ago_is_left_and_a_new_one_begun(evening: Evening) -> None:
    await evening.stopped_after(2)
    evening.now += timedelta(hours=12)

    await evening.nightly().by_hand(stop=never())

    assert (await evening.last()).due_at == NOW + timedelta(hours=12)


async def test_nothing_is_begun_beside_a_collection_that_is_under_way(evening: Evening) -> None:
    await evening.claimed(holder="elsewhere:7")

    with pytest.raises(CollectionUnderWay, match=r"under way already, on elsewhere since 20.*try again in a minute"):
        await evening.nightly().by_hand(stop=never())

    assert evening.directory.asked == []


async def test_the_one_of_a_process_that_died_is_taken_over(evening: Evening) -> None:
    run = await evening.stores.nights.claim(COLLECTION, NOW, holder="dead:1", lease_s=0.01)
    assert run is not None
    await asyncio.sleep(0.05)

    summary = await evening.nightly().by_hand(stop=never())

    assert summary.ended is Ended.COMPLETE
    assert (await evening.last()).due_at == NOW


async def test_a_directory_that_fails_leaves_a_run_that_can_be_gone_on_with_at_once(evening: Evening) -> None:
    evening.directory.problems["top_categories"] = DirectoryProblem("Twitch does not answer.")
    with pytest.raises(DirectoryProblem):
        await evening.nightly().by_hand(stop=never())
    assert (await evening.last()).state is RunState.INTERRUPTED

    del evening.directory.problems["top_categories"]
    assert (await evening.nightly(holder="here:2").by_hand(stop=never())).ended is Ended.COMPLETE


async def test_a_scheduled_run_ends_with_its_summary(evening: Evening) -> None:
    ending = await evening.nightly().scheduled(await evening.claimed(), stop=never())

    assert ending.state is RunState.DONE
    assert ending.result["frames"] == 18


async def test_a_scheduled_run_that_is_stopped_can_be_gone_on_with(evening: Evening) -> None:
    stop = asyncio.Event()
    stop.set()

    ending = await evening.nightly().scheduled(await evening.claimed(), stop=stop)

    assert ending.state is RunState.INTERRUPTED


async def test_a_scheduled_run_that_can_store_nothing_fails_with_the_stores_sentence(
    evening: Evening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put(_data: bytes) -> None:
        raise StorageError("There is no room left for frames; make some.")

    monkeypatch.setattr(evening.stores.frames, "put", put)

    with pytest.raises(StorageError, match="no room left"):
        await evening.nightly().scheduled(await evening.claimed(), stop=never())
