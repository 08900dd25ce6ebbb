"""A night: how many at once, what stops it, what it goes on with, what it tells."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch

import pytest

from core.collection.collector import Collector, Ended, NightListener, NightSummary, Phase
from core.collection.gathering import Gathered
from core.collection.picks import Outcome
from core.collection.taking import PickTaker, SamplesStreams
from core.errors import (
    DirectoryProblem,
    StorageError,
    StreamOffline,
    StreamUnreachable,
)
from core.storage import frame_store
from core.storage.records import Pick, PlannedPick
from core.streams.reference import StreamRef
from core.streams.sampler import Sample
from tests.core.collection.listing import category, planned
from tests.core.collection.stage import Listener, Stores, lively, nothing_to_plan
from tests.core.collection.test_taking import NOW, URL
from tests.fakes import FakeSampler, sample_of

CHESS, PINGUS, CHATTING = category("Chess"), category("Pingus"), category("Just Chatting")


class ManyStreams(FakeSampler):
    """Everybody streams something of their own; counts how many are looked at in one moment."""

    def __init__(self) -> None:
        super().__init__()
        self.in_hand = 0
        self.most_in_hand = 0
        self.done: list[str] = []
        self.takes_s = 0.0

    async def sample(self, ref: StreamRef) -> Sample:
        self.in_hand += 1
        self.most_in_hand = max(self.most_in_hand, self.in_hand)
        try:
            self.frames.setdefault(ref.channel, lively(int(ref.channel.removeprefix("login_")), frames=8))
            await asyncio.sleep(self.takes_s)
            sample = await super().sample(ref)
            self.done.append(ref.channel)
            return sample
        finally:
            self.in_hand -= 1


def collector(stores: Stores, sampler: SamplesStreams, *, parallel: int = 4, tries: int = 3) -> Collector:
    taker = PickTaker(
        sampler=sampler,
        frames=stores.frames,
        captures=stores.captures,
        nights=stores.nights,
        url_template=URL,
        store_tries=1,
        clock=lambda: NOW,
    )
    return Collector(taker, stores.nights, parallel=parallel, tries=tries)


def plan_of(*picks: PlannedPick, failed: int = 0) -> Callable[[], asyncio.Future[Gathered]]:
    async def plan() -> Gathered:
        return Gathered(picks=picks, listed=2, failed=failed)

    return lambda: asyncio.ensure_future(plan())


def group(declared: object, start: int, *, wanted: int = 3, spares: int = 2, is_game: bool = True) -> list[PlannedPick]:
    return [
        planned(start + at, declared, spare=at >= wanted, is_game=is_game)  # type: ignore[arg-type]
        for at in range(wanted + spares)
    ]


async def test_a_night_is_planned_kept_and_carried_out(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    picks = [*group(CHESS, 0), *group(CHATTING, 5, is_game=False)]
    summary = await collector(stores, sampler).collect(run.id, plan=plan_of(*picks, failed=2))
    assert summary.ended is Ended.COMPLETE
    assert (summary.games, summary.streams, summary.frames) == (1, 6, 48)
    assert (summary.failed, summary.left, summary.categories_failed) == (0, 0, 2)
    assert summary.bytes_fetched == 6 * 1234
    # No spare was needed.
    assert await stores.outcomes(run.id) == [*["captured"] * 3, None, None] * 2
    assert sorted(sampler.asked) == [f"login_{at}" for at in (0, 1, 2, 5, 6, 7)]


async def test_the_summary_goes_into_the_row_of_the_run_and_says_it_all(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.problems = {"login_0": StreamOffline("x"), "login_1": StreamOffline("x"), "login_2": StreamUnreachable("x")}
    summary = await collector(stores, sampler).collect(run.id, plan=plan_of(*group(CHESS, 0)))
    written = json.loads(json.dumps(summary.to_json()))
    assert written["failures"] == {"offline": 2, "unreachable": 1}
    assert written["failed"] == 3
    assert (written["streams"], written["frames"], written["tried_again"]) == (2, 16, 2)
    assert written["ended"] == "complete"
    assert written["problem"] is None
    assert set(written) > {"started_at", "finished_at", "games", "bytes_fetched", "left", "rejected", "nothing_new"}


async def test_spares_are_taken_only_for_picks_of_their_group_that_came_to_nothing(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.problems["login_1"] = StreamOffline("x")
    picks = [*group(CHESS, 0), *group(PINGUS, 5)]
    summary = await collector(stores, sampler).collect(run.id, plan=plan_of(*picks))
    assert (summary.streams, dict(summary.failures)) == (6, {"offline": 1})
    assert await stores.outcomes(run.id) == [
        *("captured", "offline", "captured", "captured", None),
        *("captured", "captured", "captured", None, None),
    ]


async def test_as_many_streams_as_allowed_are_in_hand_and_no_more(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.gate.clear()
    working = asyncio.create_task(
        collector(stores, sampler, parallel=5).collect(run.id, plan=plan_of(*group(CHESS, 0, wanted=30)))
    )
    while len(sampler.asked) < 5:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert sampler.in_hand == 5
    sampler.gate.set()
    assert (await working).streams == 30
    assert sampler.most_in_hand == 5


async def test_there_are_no_more_tasks_than_streams_in_hand(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.takes_s = 0.01
    before, most = len(asyncio.all_tasks()), [0]

    class Counts:
        def progressed(self, progress: object) -> None:
            most[0] = max(most[0], len(asyncio.all_tasks()) - before)

    await collector(stores, sampler, parallel=3).collect(
        run.id, plan=plan_of(*group(CHESS, 0, wanted=40)), listener=Counts()
    )
    # The three that work, the one that watches the time, and what those of the libraries start for a moment.
    assert most[0] <= 8


class FailsAtFirst(ManyStreams):
    """Every stream fails so many times and then comes."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures: Counter[str] = Counter()
        self._failures = failures

    async def sample(self, ref: StreamRef) -> Sample:
        if self.failures[ref.channel] < self._failures:
            self.failures[ref.channel] += 1
            self.asked.append(ref.channel)
            raise StreamUnreachable(ref.channel)
        return await super().sample(ref)


async def test_what_fails_in_passing_is_tried_again_after_the_others_and_nothing_is_lost(stores: Stores) -> None:
    run, sampler = await stores.run(), FailsAtFirst(2)
    summary = await collector(stores, sampler, parallel=1).collect(run.id, plan=plan_of(*group(CHESS, 0)))
    assert (summary.streams, summary.failed, summary.tried_again) == (3, 0, 6)
    assert sampler.asked == [f"login_{at}" for at in (0, 1, 2)] * 3
    assert await stores.outcomes(run.id) == ["captured", "captured", "captured", None, None]


async def test_what_always_fails_is_given_up_after_three_tries(stores: Stores) -> None:
    run, sampler = await stores.run(), FailsAtFirst(99)
    summary = await collector(stores, sampler, parallel=2).collect(
        run.id, plan=plan_of(*group(CHESS, 0, wanted=1, spares=1))
    )
    assert (summary.streams, dict(summary.failures)) == (0, {"unreachable": 2})
    assert sampler.failures == {"login_0": 3, "login_1": 3}


# Stopping


async def test_a_stop_finishes_the_streams_in_hand_and_begins_no_more(stores: Stores) -> None:
    run, sampler, stop = await stores.run(), ManyStreams(), asyncio.Event()
    sampler.gate.clear()
    listener = Listener()
    working = asyncio.create_task(
        collector(stores, sampler).collect(
            run.id, plan=plan_of(*group(CHESS, 0, wanted=10)), stop=stop, listener=listener
        )
    )
    while len(sampler.asked) < 4:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.sleep(0.05)
    assert not working.done()
    assert listener.heard[-1].phase is Phase.FINISHING
    sampler.gate.set()
    summary = await working
    assert summary.ended is Ended.STOPPED
    assert (summary.streams, summary.left) == (4, 6)
    assert len(sampler.asked) == 4


async def test_started_again_a_night_goes_on_with_what_is_left_and_the_summary_is_of_all(stores: Stores) -> None:
    run, sampler, stop = await stores.run(), ManyStreams(), asyncio.Event()
    sampler.problems["login_0"] = StreamOffline("x")

    class StopsAfter:
        def progressed(self, progress: object) -> None:
            if len(sampler.done) >= 3:
                stop.set()

    night = collector(stores, sampler, parallel=1)
    picks = [*group(CHESS, 0), *group(PINGUS, 5)]
    first = await night.collect(run.id, plan=plan_of(*picks), stop=stop, listener=StopsAfter())
    assert first.ended is Ended.STOPPED
    assert (first.streams, first.left) == (3, 3)
    second = await night.collect(run.id, plan=nothing_to_plan)
    assert second.ended is Ended.COMPLETE
    assert (second.games, second.streams, second.frames) == (2, 6, 48)
    assert dict(second.failures) == {"offline": 1}
    assert second.bytes_fetched == 6 * 1234
    # Nobody was looked at twice.
    assert Counter(sampler.asked).most_common(1)[0][1] == 1


async def test_a_night_that_is_over_is_over(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    night = collector(stores, sampler)
    first = await night.collect(run.id, plan=plan_of(*group(CHESS, 0)))
    asked = list(sampler.asked)
    second = await night.collect(run.id, plan=nothing_to_plan)
    assert sampler.asked == asked
    assert (second.ended, second.streams, second.frames) == (Ended.COMPLETE, first.streams, first.frames)


async def test_a_stop_that_comes_when_nothing_is_left_changes_nothing(stores: Stores) -> None:
    run, sampler, stop = await stores.run(), ManyStreams(), asyncio.Event()
    sampler.gate.clear()
    working = asyncio.create_task(collector(stores, sampler).collect(run.id, plan=plan_of(*group(CHESS, 0)), stop=stop))
    while len(sampler.asked) < 3:
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.sleep(0.01)
    sampler.gate.set()
    assert (await working).ended is Ended.COMPLETE


@pytest.mark.parametrize("already", [True, False])
async def test_a_stop_ends_the_planning_too(stores: Stores, already: bool) -> None:
    run, stop = await stores.run(), asyncio.Event()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def plans_for_ever() -> Gathered:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    if already:
        stop.set()
    else:
        asyncio.get_running_loop().call_later(0.05, stop.set)
    summary = await collector(stores, ManyStreams()).collect(run.id, plan=plans_for_ever, stop=stop)
    assert (summary.ended, summary.streams) == (Ended.STOPPED, 0)
    assert begun.is_set() == cancelled.is_set() == (not already)
    assert await stores.nights.picks(run.id) == ()


async def test_no_stream_is_begun_after_the_time_that_was_given(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.takes_s = 0.05
    night = collector(stores, sampler, parallel=1)
    begins_at = night._clock()
    summary = await night.collect(
        run.id, plan=plan_of(*group(CHESS, 0, wanted=40)), until=begins_at + timedelta(seconds=0.5)
    )
    assert summary.ended is Ended.OUT_OF_TIME
    assert 1 <= summary.streams < 20
    assert summary.left == 40 - summary.streams
    over = await night.collect(run.id, plan=nothing_to_plan, until=begins_at)
    assert (over.ended, over.streams) == (Ended.OUT_OF_TIME, summary.streams)


async def test_cancelling_passes_through_and_leaves_the_streams_in_hand_pending(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.gate.clear()
    working = asyncio.create_task(collector(stores, sampler).collect(run.id, plan=plan_of(*group(CHESS, 0))))
    while len(sampler.asked) < 3:
        await asyncio.sleep(0.01)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert sampler.cancelled == 3
    assert await stores.outcomes(run.id) == [None] * 5


# What goes wrong


async def test_a_directory_that_answers_nothing_is_the_callers_to_hear(stores: Stores) -> None:
    run = await stores.run()

    async def plan() -> Gathered:
        raise DirectoryProblem("Twitch does not answer.")

    with pytest.raises(DirectoryProblem):
        await collector(stores, ManyStreams()).collect(run.id, plan=plan)
    assert await stores.nights.picks(run.id) == ()


async def test_a_night_without_anything_live_is_complete(stores: Stores) -> None:
    run = await stores.run()
    summary = await collector(stores, ManyStreams()).collect(run.id, plan=plan_of())
    assert (summary.ended, summary.streams, summary.left) == (Ended.COMPLETE, 0, 0)


async def test_a_mistake_of_ours_costs_one_stream(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.problems["login_1"] = ZeroDivisionError()
    summary = await collector(stores, sampler).collect(run.id, plan=plan_of(*group(CHESS, 0)))
    assert (summary.streams, dict(summary.failures)) == (3, {"failed": 1})
    assert "ZeroDivisionError" in caplog.text


async def test_a_full_disk_ends_the_night_in_order_and_keeps_what_is_kept(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.takes_s = 0.01
    night = collector(stores, sampler, parallel=3)
    room, write = [100], frame_store._write_whole

    def write_while_there_is_room(path: object, data: bytes) -> None:
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1
        write(path, data)  # type: ignore[arg-type]

    with patch("core.storage.frame_store._write_whole", write_while_there_is_room):
        summary = await night.collect(run.id, plan=plan_of(*group(CHESS, 0, wanted=30)))
    assert summary.ended is Ended.STORAGE
    assert "no room left" in summary.problem
    assert 9 <= summary.streams <= 12
    assert summary.streams + summary.left == 30
    assert len(sampler.asked) <= summary.streams + 3
    assert await stores.rows_without_file() == frozenset()
    assert (await stores.captures.summary()).frames == summary.frames == 8 * summary.streams
    again = await night.collect(run.id, plan=nothing_to_plan)
    assert (again.ended, again.streams, again.frames) == (Ended.COMPLETE, 30, 240)
    assert await stores.rows_without_file() == frozenset()


async def test_a_database_that_is_gone_ends_the_night_in_order(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()
    sampler.takes_s = 0.02
    listener = Listener()
    database = stores.home / "night.db"

    class LosesTheDatabase:
        def progressed(self, progress: object) -> None:
            listener.progressed(progress)  # type: ignore[arg-type]
            if len(sampler.done) == 6:
                for file in stores.home.glob("night.db*"):
                    file.write_bytes(b"no database any more" * 500)

    summary = await collector(stores, sampler, parallel=2).collect(
        run.id, plan=plan_of(*group(CHESS, 0, wanted=30)), listener=LosesTheDatabase()
    )
    assert summary.ended is Ended.STORAGE
    assert str(database) in summary.problem
    assert summary.problem.endswith(".")
    assert 1 <= summary.streams < 12
    assert len(sampler.asked) < 12
    assert listener.heard[-1].in_hand == 0


async def test_a_database_that_cannot_be_asked_at_the_start_ends_the_night_at_once(stores: Stores) -> None:
    run, sampler = await stores.run(), ManyStreams()

    async def picks(run_id: int) -> tuple[Pick, ...]:
        raise StorageError("The database does not answer.")

    with patch.object(stores.nights, "picks", picks):
        summary = await collector(stores, sampler).collect(run.id, plan=nothing_to_plan)
    assert (summary.ended, summary.problem) == (Ended.STORAGE, "The database does not answer.")


# What is told


async def told(stores: Stores, listener: NightListener) -> NightSummary:
    run, sampler = await stores.run(), ManyStreams()
    sampler.problems["login_1"] = StreamOffline("x")
    return await collector(stores, sampler, parallel=2).collect(
        run.id, plan=plan_of(*group(CHESS, 0), *group(PINGUS, 5)), listener=listener
    )


async def test_progress_counts_up_to_the_summary(stores: Stores) -> None:
    listener = Listener()
    summary = await told(stores, listener)
    heard = listener.heard
    assert heard[0].phase is Phase.GATHERING
    assert all(progress.phase is Phase.COLLECTING for progress in heard[1:])
    assert max(progress.in_hand for progress in heard) == 2
    assert [progress.streams for progress in heard] == sorted(progress.streams for progress in heard)
    last = heard[-1]
    assert (last.games, last.games_open, last.wanted) == (2, 0, 6)
    assert (last.streams, last.frames, last.settled) == (summary.streams, summary.frames, 7)
    assert (last.in_hand, last.left) == (0, 0)
    assert dict(last.failures) == dict(summary.failures) == {Outcome.OFFLINE: 1}
    assert last.latest is not None


@pytest.mark.slow
async def test_memory_holds_no_pictures_of_streams_that_are_done(stores: Stores) -> None:
    pictures: list[weakref.ref[object]] = []
    alive: list[int] = []

    class Forgets(ManyStreams):
        async def sample(self, ref: StreamRef) -> Sample:
            frames = lively(int(ref.channel.removeprefix("login_")), frames=8)
            pictures.extend(weakref.ref(frame.picture) for frame in frames)
            return sample_of(frames, channel=ref.channel)

    class Counts:
        def progressed(self, progress: object) -> None:
            gc.collect()
            alive.append(sum(reference() is not None for reference in pictures))

    run = await stores.run()
    await collector(stores, Forgets(), parallel=2).collect(
        run.id, plan=plan_of(*group(CHESS, 0, wanted=12)), listener=Counts()
    )
    assert max(alive) <= 2 * 8
    assert alive[-1] == 0
