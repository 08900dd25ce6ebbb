"""A night that is handed out: nothing is lost or handed out twice, whatever becomes of the night and its workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.collection import handing_out
from core.collection.collector import Ended, NightProgress, NightSummary, Phase
from core.collection.gathering import Gathered
from core.collection.handing_out import Coordinator, carry_out
from core.collection.picks import Outcome
from core.collection.taking import PickResult
from core.errors import DirectoryProblem, StorageError, StorageFull
from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.records import Pick, PlannedPick
from tests.core.collection.listing import category, planned
from tests.core.collection.queue_in_memory import BEGINNINGS, QueueInMemory

CHESS, PINGUS = category("Chess"), category("Pingus")
TWO_GAMES = (
    planned(0, CHESS),
    planned(1, CHESS),
    planned(2, CHESS, spare=True),
    planned(3, CHESS, spare=True),
    planned(4, PINGUS),
)


class Listener:
    def __init__(self) -> None:
        self.heard: list[NightProgress] = []

    def progressed(self, progress: NightProgress) -> None:
        self.heard.append(progress)


class Night:
    """A night's run, the queue, and as many workers as a test wants."""

    def __init__(self, nights: NightStore, run_id: int) -> None:
        self.nights = nights
        self.run_id = run_id
        self.queue = QueueInMemory()
        self.listener = Listener()
        self.stop = asyncio.Event()
        self.plans = 0

    async def collect(
        self, *picks: PlannedPick, until: datetime | None = None, outage_s: float = 60.0, failed: int = 0
    ) -> NightSummary:
        async def plan() -> Gathered:
            self.plans += 1
            return Gathered(picks=picks, listed=2, failed=failed)

        return await self.coordinator(outage_s).collect(
            self.run_id, plan=plan, stop=self.stop, until=until, listener=self.listener
        )

    def coordinator(self, outage_s: float = 60.0) -> Coordinator:
        return Coordinator(self.queue, self.nights, look_s=0.01, outage_s=outage_s)

    async def begun(self, number: int = 1) -> list[int]:
        """Take so many picks, as soon as they are there."""
        taken: list[int] = []
        async with asyncio.timeout(20):
            while len(taken) < number:
                pick_id = self.queue.begin()
                if pick_id is None:
                    await asyncio.sleep(0.01)
                else:
                    taken.append(pick_id)
        return taken

    async def ended(self, pick_id: int, outcome: str = "captured") -> None:
        """As a worker does it: first the outcome, then the queue."""
        await self.nights.pick_done(pick_id, outcome)
        self.queue.done(pick_id)

    async def position(self, pick_id: int) -> int:
        pick = await self.nights.pick(pick_id)
        assert pick is not None
        return pick.planned.position

    async def outcomes(self) -> list[str | None]:
        return [pick.outcome for pick in await self.nights.picks(self.run_id)]

    @asynccontextmanager
    async def worker(self, outcome: Callable[[int], str] = lambda _: "captured") -> AsyncIterator[None]:
        """Does every pick; its outcome by its position."""

        async def work() -> None:
            while True:
                pick_id = self.queue.begin()
                if pick_id is not None:
                    await self.ended(pick_id, outcome(await self.position(pick_id)))
                await asyncio.sleep(0.005)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def night(tmp_path: Path) -> AsyncIterator[Night]:
    async with Database.at(f"sqlite:///{tmp_path}/store.db") as database:
        await database.migrate()
        nights = NightStore(database)
        run = await nights.claim("collection", datetime.now(UTC), holder="a", lease_s=600)
        assert run is not None
        yield Night(nights, run.id)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_all_picks_are_handed_out_in_order_and_no_spare_that_is_not_needed(night: Night) -> None:
    async with night.worker():
        summary = await night.collect(*TWO_GAMES)

    assert [await night.position(pick_id) for pick_id in night.queue.put_in] == [0, 1, 4]
    assert await night.outcomes() == ["captured", "captured", None, None, "captured"]
    assert (summary.ended, summary.streams, summary.games, summary.left) == (Ended.COMPLETE, 3, 2, 0)


async def test_a_spare_is_brought_in_for_each_that_came_to_nothing(night: Night) -> None:
    async with night.worker(lambda position: "offline" if position in (0, 2) else "captured"):
        summary = await night.collect(*TWO_GAMES)

    assert await night.outcomes() == ["offline", "captured", "offline", "captured", "captured"]
    assert (summary.streams, summary.failures, summary.failed) == (3, {"offline": 2}, 2)


async def test_who_listens_hears_what_is_in_hand_and_what_is_left(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES))
    first, second = await night.begun(2)
    await until(lambda: _heard(night, lambda progress: progress.in_hand == 2))
    progress = night.listener.heard[-1]
    assert (progress.phase, progress.wanted, progress.left, progress.games_open) == (Phase.COLLECTING, 3, 1, 2)

    await night.ended(first)
    await night.ended(second)
    (third,) = await night.begun()
    await night.ended(third)
    await collecting

    last = night.listener.heard[-1]
    assert (last.streams, last.settled, last.in_hand, last.left, last.games_open) == (3, 3, 0, 0, 0)
    assert last.latest == "login_4"
    assert night.listener.heard[0].phase is Phase.GATHERING


async def _heard(night: Night, what: Callable[[NightProgress], bool]) -> bool:
    return bool(night.listener.heard) and what(night.listener.heard[-1])


async def test_told_to_stop_it_takes_back_what_waits_and_finishes_what_is_in_hand(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES))
    (in_hand,) = await night.begun()

    night.stop.set()
    await until(lambda: _heard(night, lambda progress: progress.phase is Phase.FINISHING and progress.in_hand == 1))
    await asyncio.sleep(0.1)
    assert not collecting.done()
    assert night.queue.begin() is None
    await night.ended(in_hand)

    summary = await collecting
    assert (summary.ended, summary.streams, summary.left) == (Ended.STOPPED, 1, 2)
    assert await night.outcomes() == ["captured", None, None, None, None]


async def test_at_its_time_it_stops_as_if_told_to(night: Night) -> None:
    summary = await night.collect(*TWO_GAMES, until=datetime.now(UTC) + timedelta(seconds=0.2))

    assert (summary.ended, summary.left) == (Ended.OUT_OF_TIME, 3)
    assert night.queue.begin() is None


async def test_stopped_when_everything_is_done_already_it_is_complete(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS)))
    (only,) = await night.begun()
    night.stop.set()
    await night.ended(only)

    assert (await collecting).ended is Ended.COMPLETE


async def test_stopped_while_it_is_planned_nothing_is_handed_out(night: Night) -> None:
    asked = asyncio.Event()

    async def plan() -> Gathered:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    collecting = asyncio.create_task(night.coordinator().collect(night.run_id, plan=plan, stop=night.stop))
    await asked.wait()
    night.stop.set()

    summary = await collecting
    assert (summary.ended, summary.left) == (Ended.STOPPED, 0)
    assert await night.outcomes() == []


async def test_nothing_to_plan_from_is_what_the_caller_hears(night: Night) -> None:
    async def plan() -> Gathered:
        raise DirectoryProblem("Twitch does not answer.")

    with pytest.raises(DirectoryProblem):
        await night.coordinator().collect(night.run_id, plan=plan)


async def test_a_planning_that_runs_out_of_its_own_time_is_no_end_of_the_night(night: Night) -> None:
    async def plan() -> Gathered:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await night.coordinator().collect(night.run_id, plan=plan)


async def test_a_night_without_picks_is_complete(night: Night) -> None:
    summary = await night.collect(failed=2)

    assert (summary.ended, summary.streams, summary.categories_failed) == (Ended.COMPLETE, 0, 2)


async def test_broken_off_and_begun_again_it_goes_on_and_hands_nothing_out_twice(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES))
    done, in_hand = await night.begun(2)
    await night.ended(done)
    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting

    again = asyncio.create_task(night.collect(*TWO_GAMES))
    async with night.worker():
        await asyncio.sleep(0.1)
        assert not again.done()
        await night.ended(in_hand)
        summary = await again

    assert night.plans == 1
    assert len(night.queue.put_in) == len(set(night.queue.put_in)) == 3
    assert (summary.ended, summary.streams) == (Ended.COMPLETE, 3)


async def test_workers_go_on_while_nobody_hands_out(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES))
    await night.ended(*await night.begun())
    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting

    for _ in range(2):
        await night.ended(*await night.begun())

    assert [outcome for outcome in await night.outcomes() if outcome] == ["captured"] * 3
    assert (await night.collect()).ended is Ended.COMPLETE


async def test_what_a_dead_worker_had_is_anothers(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS)))
    (first,) = await night.begun()
    night.queue.die(first)

    (again,) = await night.begun()
    await night.ended(again)

    assert again == first
    assert (await collecting).streams == 1


async def test_a_pick_whose_workers_die_again_and_again_has_failed(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS), planned(1, CHESS, spare=True)))
    for _ in range(BEGINNINGS):
        (pick_id,) = await night.begun()
        assert await night.position(pick_id) == 0
        night.queue.die(pick_id)
    await night.ended(*await night.begun())

    assert (await collecting).failures == {"failed": 1}
    assert await night.outcomes() == ["failed", "captured"]


async def test_told_to_stop_it_does_not_wait_for_the_dead(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS)))
    (pick_id,) = await night.begun()
    night.queue.die(pick_id)
    night.stop.set()

    assert (await collecting).left == 1
    assert night.queue.begin() is None


async def test_failures_that_passed_are_counted(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS)))
    (pick_id,) = await night.begun()
    night.queue.failed(pick_id)
    await asyncio.sleep(0.1)
    await night.ended(*await night.begun())

    assert (await collecting).tried_again == 1


async def test_when_workers_cannot_store_it_ends_and_what_they_could_not_store_is_done_when_it_is_begun_again(
    night: Night,
) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES))
    broken, in_hand = await night.begun(2)
    night.queue.break_(broken)
    await until(lambda: _heard(night, lambda progress: progress.phase is Phase.FINISHING))
    assert not collecting.done()
    await night.ended(in_hand)
    summary = await collecting
    assert (summary.ended, summary.left) == (Ended.STORAGE, 2)
    assert "its log says why" in summary.problem

    async with night.worker():
        assert (await night.collect()).ended is Ended.COMPLETE


async def test_the_database_may_be_away_for_a_while_and_again(night: Night) -> None:
    collecting = asyncio.create_task(night.collect(planned(0, CHESS), outage_s=2.0))
    (pick_id,) = await night.begun()
    for _ in range(3):
        night.queue.fault = StorageError("The database server is starting.")
        await asyncio.sleep(0.8)
        night.queue.fault = None
        await asyncio.sleep(0.1)
    await night.ended(pick_id)

    assert (await collecting).ended is Ended.COMPLETE


@pytest.mark.parametrize("fault", [StorageError("The database is away."), StorageFull("The disk is full.")])
async def test_the_database_may_not_be_away_for_ever(night: Night, fault: StorageError) -> None:
    collecting = asyncio.create_task(night.collect(*TWO_GAMES, outage_s=0.1))
    await night.begun()
    night.queue.fault = fault

    summary = await collecting
    assert (summary.ended, summary.problem, summary.left) == (Ended.STORAGE, str(fault), 3)


async def test_it_says_so_when_nobody_takes_anything(
    night: Night, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handing_out, "_NOBODY_S", 0.1)
    with caplog.at_level(logging.WARNING):
        await night.collect(*TWO_GAMES, until=datetime.now(UTC) + timedelta(seconds=0.4))

    assert "3 picks wait, and no worker takes them" in caplog.text


# What a worker does with a pick


class Taker:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.taken: list[tuple[int, bool]] = []

    async def carry_out(self, pick: Pick, *, is_last_try: bool) -> PickResult:
        self.taken.append((pick.planned.position, is_last_try))
        return PickResult(outcome=self.outcome)


@pytest.mark.parametrize(
    ("outcome", "is_last_try", "is_done"),
    [
        (Outcome.CAPTURED, False, True),
        (Outcome.OFFLINE, False, True),
        (Outcome.UNREACHABLE, False, False),
        (Outcome.UNREACHABLE, True, True),
    ],
)
async def test_a_pick_is_done_with_unless_its_failure_may_pass(
    night: Night, outcome: Outcome, is_last_try: bool, is_done: bool
) -> None:
    taker = Taker(outcome)
    await night.nights.save_picks(night.run_id, TWO_GAMES)
    (first, *_) = await night.nights.picks(night.run_id)

    assert await carry_out(first.id, is_last_try, nights=night.nights, taker=taker) is is_done  # type: ignore[arg-type]
    assert taker.taken == [(0, is_last_try)]


async def test_a_pick_that_has_an_outcome_or_is_gone_is_left_alone(night: Night) -> None:
    taker = Taker(Outcome.CAPTURED)
    await night.nights.save_picks(night.run_id, TWO_GAMES)
    (first, *_) = await night.nights.picks(night.run_id)
    await night.nights.pick_done(first.id, "captured")

    for pick_id in (first.id, 4711):
        assert await carry_out(pick_id, False, nights=night.nights, taker=taker)  # type: ignore[arg-type]
    assert taker.taken == []
