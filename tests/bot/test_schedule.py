from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.schedule import Ending, Job, Schedule, last_due
from core.errors import DirectoryProblem
from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.records import JobRun, JobRunRecord, RunState

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DUE = datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[NightStore]:
    database = Database.at(f"sqlite:///{tmp_path / 'runs.db'}")
    await database.prepare()
    yield NightStore(database)
    await database.aclose()


def job(work: Callable[[JobRun], Awaitable[Ending]], **other: object) -> Job:
    return Job(name="nightly", cron="0 3 * * *", time_zone="UTC", work=work, **other)  # type: ignore[arg-type]


@asynccontextmanager
async def replica(
    runs: NightStore, *jobs: Job, holder: str = "one", lease_s: float = 0.6, now: datetime = NOON
) -> AsyncIterator[asyncio.Task[None]]:
    schedule = Schedule(runs, jobs, holder=holder, lease_s=lease_s, clock=lambda: now)
    task = asyncio.create_task(schedule.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def record(runs: NightStore) -> JobRunRecord:
    found = await runs.last_run("nightly")
    assert found is not None
    return found


async def is_over(runs: NightStore) -> bool:
    found = await runs.last_run("nightly")
    return found is not None and found.state is not RunState.RUNNING


async def is_in(runs: NightStore, state: RunState) -> bool:
    return (await record(runs)).state is state


async def test_a_run_that_was_missed_is_caught_up_at_the_start(runs: NightStore) -> None:
    done: list[JobRun] = []

    async def work(run: JobRun) -> Ending:
        done.append(run)
        return Ending(state=RunState.DONE, result={"frames": 7})

    async with replica(runs, job(work)):
        await until(lambda: is_over(runs))

    (run,) = done
    assert (run.due_at, run.resumed) == (DUE, False)
    found = await record(runs)
    assert (found.state, found.result) == (RunState.DONE, {"frames": 7})


async def test_a_run_that_was_missed_too_long_ago_is_not(runs: NightStore) -> None:
    async def work(run: JobRun) -> Ending:
        raise AssertionError

    async with replica(runs, job(work, caught_up_for=timedelta(hours=1)), lease_s=0.1):
        await asyncio.sleep(0.3)

    assert await runs.last_run("nightly") is None


async def test_of_many_replicas_one_does_a_run(runs: NightStore) -> None:
    done: list[JobRun] = []

    async def work(run: JobRun) -> Ending:
        done.append(run)
        await asyncio.sleep(0.5)
        return Ending(state=RunState.DONE, result={})

    async with replica(runs, job(work), holder="a", lease_s=0.3), replica(runs, job(work), holder="b", lease_s=0.3):
        await until(lambda: is_over(runs))
        await asyncio.sleep(0.5)

    assert len(done) == 1


async def test_a_run_of_a_replica_that_died_is_another_ones(runs: NightStore) -> None:
    assert await runs.claim("nightly", DUE, holder="dead", lease_s=0.5) is not None
    done: list[JobRun] = []

    async def work(run: JobRun) -> Ending:
        done.append(run)
        return Ending(state=RunState.DONE, result={})

    async with replica(runs, job(work)):
        await until(lambda: is_over(runs))

    assert [(run.attempt, run.resumed) for run in done] == [(2, True)]


async def test_a_replica_that_lost_its_lease_stops_working(runs: NightStore) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(run: JobRun) -> Ending:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Ending(state=RunState.DONE, result={})

    async with replica(runs, job(work)):
        await begun.wait()
        found = await record(runs)
        stolen = JobRun(id=found.id, job=found.job, due_at=found.due_at, attempt=found.attempt, resumed=False)
        assert await runs.finish(stolen, holder="one", state=RunState.FAILED, result={})
        async with asyncio.timeout(10):
            await ended.wait()

    assert (await record(runs)).state is RunState.FAILED


async def test_a_replica_that_ends_gives_its_run_back(runs: NightStore) -> None:
    begun = asyncio.Event()
    attempts: list[int] = []

    async def work(run: JobRun) -> Ending:
        attempts.append(run.attempt)
        if run.attempt == 1:
            begun.set()
            await asyncio.Event().wait()
        return Ending(state=RunState.DONE, result={})

    async with replica(runs, job(work), lease_s=600):
        await begun.wait()
    assert (await record(runs)).state is RunState.INTERRUPTED
    async with replica(runs, job(work), holder="two", lease_s=600):
        await until(lambda: is_in(runs, RunState.DONE))

    assert attempts == [1, 2]
    assert (await record(runs)).state is RunState.DONE


async def test_a_bot_that_is_told_to_stop_lets_a_run_come_to_its_end(runs: NightStore) -> None:
    begun, stop = asyncio.Event(), asyncio.Event()

    async def work(run: JobRun) -> Ending:
        begun.set()
        await stop.wait()
        await asyncio.sleep(0.1)
        return Ending(state=RunState.INTERRUPTED, result={"left": 3})

    schedule = Schedule(runs, [job(work)], holder="one", clock=lambda: NOON)
    task = asyncio.create_task(schedule.run(stop=stop))
    await begun.wait()
    stop.set()
    async with asyncio.timeout(10):
        await task

    found = await record(runs)
    assert (found.state, found.result) == (RunState.INTERRUPTED, {"left": 3})


@pytest.mark.parametrize("error", [DirectoryProblem("Twitch is away."), ValueError("secret")])
async def test_a_run_that_fails_is_tried_again_and_then_given_up(runs: NightStore, error: Exception) -> None:
    attempts: list[int] = []

    async def work(run: JobRun) -> Ending:
        attempts.append(run.attempt)
        raise error

    async with replica(runs, job(work, again_after=timedelta(seconds=0.1)), lease_s=0.3):
        await until(lambda: is_over(runs))

    assert attempts == [1, 2, 3]
    found = await record(runs)
    said = "Twitch is away." if isinstance(error, DirectoryProblem) else "ValueError"
    assert (found.state, found.result) == (RunState.FAILED, {"error": said})


async def test_a_run_that_kills_whoever_does_it_is_given_up(runs: NightStore) -> None:
    for number in range(20):
        assert await runs.claim("nightly", DUE, holder=f"dead {number}", lease_s=0.0) is not None

    async def work(run: JobRun) -> Ending:
        raise AssertionError

    async with replica(runs, job(work)):
        await until(lambda: is_over(runs))

    assert (await record(runs)).state is RunState.FAILED


async def test_a_job_runs_when_its_time_comes(runs: NightStore) -> None:
    done = asyncio.Event()

    async def work(run: JobRun) -> Ending:
        done.set()
        return Ending(state=RunState.DONE, result={})

    # The wall clock here: every second minute is due at once, the odd ones within a minute.
    every_minute = Job(name="nightly", cron="* * * * *", time_zone="UTC", work=work)
    schedule = Schedule(runs, [every_minute], holder="one")
    task = asyncio.create_task(schedule.run())
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    await asyncio.wait({task})


def test_the_last_due_time_is_told_in_the_time_zone_of_the_job() -> None:
    assert last_due("0 3 * * *", "UTC", NOON) == DUE
    assert last_due("0 3 * * *", "Europe/Berlin", NOON) == DUE - timedelta(hours=1)
    assert last_due("30 4 * * mon", "UTC", NOON) == datetime(2026, 11, 16, 4, 30, tzinfo=UTC)
    assert last_due("0 0 29 2 *", "UTC", NOON) is None  # two years ago


def test_a_time_that_comes_twice_when_the_clocks_are_put_back_is_due_once() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)

    for minutes in (0, 30, 60, 90, 600):
        assert last_due("30 2 * * *", "Europe/Berlin", first + timedelta(minutes=minutes)) == first


def test_a_time_that_the_clocks_skip_is_due_all_the_same() -> None:
    due = last_due("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=UTC))

    assert due is not None
    assert due.date() == datetime(2026, 3, 29, tzinfo=UTC).date()


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_replica_finds_the_same_due_time(now: datetime) -> None:
    due = last_due("0 3 * * *", "UTC", now)

    assert due is not None
    assert due <= now < due + timedelta(days=1)
    assert last_due("0 3 * * *", "UTC", due) == due
