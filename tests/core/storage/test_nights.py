"""A due run is claimed by exactly one; what a holder who lost it says is not heard."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import StorageError
from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.records import PickCounts, RunState
from tests.core.storage.processes import at_once
from tests.core.storage.samples import CHESS, DOOM, NOON, kept, live, nightly, picture, planned

TOMORROW = NOON + timedelta(days=1)


async def test_a_due_run_is_claimed_once(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    assert (run.job, run.due_at, run.attempt, run.resumed) == ("night", NOON, 1, False)
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None
    assert await nights.claim("night", NOON, holder="a", lease_s=60) is None
    assert await nights.claim("night", TOMORROW, holder="b", lease_s=60) is not None
    assert await nights.claim("retention", NOON, holder="b", lease_s=60) is not None


async def test_of_many_at_once_exactly_one_gets_it(url):
    databases = [Database.at(url) for _ in range(6)]
    claims = await asyncio.gather(
        *(
            NightStore(database).claim("night", NOON, holder=f"{number}-{turn}", lease_s=60)
            for number, database in enumerate(databases)
            for turn in range(5)
        )
    )
    for database in databases:
        await database.aclose()
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_of_many_that_take_over_exactly_one_gets_it(url):
    databases = [Database.at(url) for _ in range(6)]
    await NightStore(databases[0]).claim("night", NOON, holder="dead", lease_s=-1)
    claims = await asyncio.gather(
        *(
            NightStore(database).claim("night", NOON, holder=f"{number}", lease_s=60)
            for number, database in enumerate(databases)
        )
    )
    for database in databases:
        await database.aclose()
    (run,) = [claim for claim in claims if claim is not None]
    assert (run.attempt, run.resumed) == (2, True)


async def test_of_many_processes_exactly_one_gets_it(url):
    body = """
        together()
        run = await NightStore(database).claim("night", NOON, holder=str(number), lease_s=60)
        print(run is not None)
    """
    assert sorted(await at_once(body, url)) == ["False", "False", "False", "True"]


async def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_is_not_heard(nights):
    old = await nights.claim("night", NOON, holder="a", lease_s=0.05)
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None
    await asyncio.sleep(0.1)
    new = await nights.claim("night", NOON, holder="b", lease_s=60)
    assert (new.id, new.attempt, new.resumed) == (old.id, 2, True)
    assert not await nights.renew(old, holder="a", lease_s=60)
    assert not await nights.finish(old, holder="a", state=RunState.DONE, result={"frames": 1})
    assert (await nights.last_run("night")).holder == "b"
    assert await nights.renew(new, holder="b", lease_s=60)
    assert await nights.finish(new, holder="b", state=RunState.DONE, result={"frames": 2})


async def test_the_same_process_that_lost_and_took_it_again_is_two_holders(nights):
    old = await nights.claim("night", NOON, holder="a", lease_s=-1)
    new = await nights.claim("night", NOON, holder="a", lease_s=60)
    assert not await nights.renew(old, holder="a", lease_s=60)
    assert await nights.renew(new, holder="a", lease_s=60)


async def test_a_renewed_lease_is_not_taken_over(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=0.05)
    assert not await nights.renew(run, holder="b", lease_s=60)
    assert await nights.renew(run, holder="a", lease_s=60)
    await asyncio.sleep(0.1)
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None


async def test_a_lease_that_ran_out_unnoticed_can_be_renewed(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=-1)
    assert await nights.renew(run, holder="a", lease_s=60)
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED])
async def test_a_run_that_is_over_is_over(nights, state):
    run = await nights.claim("night", NOON, holder="a", lease_s=-1)
    assert await nights.finish(run, holder="a", state=state, result=None)
    assert not await nights.renew(run, holder="a", lease_s=60)
    assert not await nights.finish(run, holder="a", state=RunState.FAILED, result=None)
    assert await nights.claim("night", NOON, holder="b", lease_s=60, resume=True) is None


async def test_an_interrupted_run_is_resumed_by_who_asks_to(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=600)
    await nights.finish(run, holder="a", state=RunState.INTERRUPTED, result={"frames": 3})
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None
    again = await nights.claim("night", NOON, holder="b", lease_s=60, resume=True)
    assert (again.id, again.attempt, again.resumed) == (run.id, 2, True)
    record = await nights.last_run("night")
    assert (record.state, record.finished_at) == (RunState.RUNNING, None)


async def test_a_run_does_not_end_as_running(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    with pytest.raises(ValueError, match="running"):
        await nights.finish(run, holder="a", state=RunState.RUNNING, result=None)


async def test_the_same_moment_in_another_zone_is_the_same_run(nights):
    assert await nights.claim("night", NOON.astimezone(ZoneInfo("Asia/Tokyo")), holder="a", lease_s=60)
    assert await nights.claim("night", NOON, holder="b", lease_s=60) is None


async def test_runs_are_told_latest_first(nights):
    assert await nights.last_run("night") is None
    for days in (0, 2, 1):
        run = await nights.claim("night", NOON + timedelta(days=days), holder="a", lease_s=60)
    await nights.finish(
        run, holder="a", state=RunState.DONE, result={"frames": [1, {"of": None}], "text": "\N{SNOWMAN}"}
    )
    await nights.claim("retention", NOON + timedelta(days=9), holder="a", lease_s=60)
    last = await nights.last_run("night")
    assert (last.due_at, last.state, last.result, last.finished_at) == (
        NOON + timedelta(days=2),
        RunState.RUNNING,
        None,
        None,
    )
    jobs = await nights.runs(limit=10)
    assert [(one.job, (one.due_at - NOON).days) for one in jobs] == [
        ("retention", 9),
        ("night", 2),
        ("night", 1),
        ("night", 0),
    ]
    assert len(await nights.runs(limit=2)) == 2
    done = next(one for one in jobs if one.state is RunState.DONE)
    assert done.result == {"frames": [1, {"of": None}], "text": "\N{SNOWMAN}"}
    now = datetime.now(UTC)
    assert abs(done.finished_at - now) < timedelta(minutes=1)
    assert timedelta(0) < done.lease_until - now < timedelta(seconds=61)


async def test_picks_come_back_as_they_went(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    picks = [planned(0), planned(1, category=CHESS), planned(2, spare=True)]
    assert await nights.save_picks(run.id, picks)
    pending = await nights.pending_picks(run.id)
    assert [pick.planned for pick in pending] == picks
    assert {(pick.run_id, pick.outcome) for pick in pending} == {(run.id, None)}
    assert await nights.pick(pending[1].id) == pending[1]
    assert await nights.pick(9999) is None


async def test_a_stream_that_declares_nothing_or_another_category(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    picks = [replace(planned(0), stream=live(0, category=None)), replace(planned(1), stream=live(1, category=CHESS))]
    await nights.save_picks(run.id, picks)
    assert [pick.planned for pick in await nights.picks(run.id)] == picks


async def test_picks_are_saved_once(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    assert not await nights.save_picks(run.id, [])
    assert await nights.save_picks(run.id, [planned(0), planned(1)])
    assert not await nights.save_picks(run.id, [planned(0), planned(5)])
    assert [pick.planned.position for pick in await nights.picks(run.id)] == [0, 1]


async def test_two_that_save_picks_at_once_save_one_list(url, nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    async with Database.at(url) as other:
        saved = await asyncio.gather(
            *(
                store.save_picks(run.id, [planned(number) for number in range(50)])
                for store in (nights, NightStore(other))
            )
        )
    assert sorted(saved) == [False, True]
    assert len(await nights.picks(run.id)) == 50


async def test_picks_of_a_run_that_is_not_there(nights):
    with pytest.raises(StorageError):
        await nights.save_picks(77, [planned(0)])


async def test_an_outcome_is_written_once(nights):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    await nights.save_picks(run.id, [planned(0), planned(1)])
    first, second = await nights.pending_picks(run.id)
    assert await nights.pick_done(first.id, "offline")
    assert not await nights.pick_done(first.id, "black")
    assert not await nights.pick_done(9999, "black")
    assert (await nights.pick(first.id)).outcome == "offline"
    assert await nights.pending_picks(run.id) == (second,)


async def test_how_far_a_run_is(nights, captures, frames):
    run = await nights.claim("night", NOON, holder="a", lease_s=60)
    assert await nights.pick_counts(run.id) == PickCounts(pending=0, outcomes={}, captures=0, frames=0, bytes_fetched=0)
    await nights.save_picks(run.id, [planned(number, category=DOOM) for number in range(5)])
    picks = await nights.pending_picks(run.id)
    await nights.pick_done(picks[0].id, "offline")
    await nights.pick_done(picks[1].id, "offline")
    held = await kept(frames, picture("a"), picture("b"))
    await captures.add(nightly(frames=held, pick_id=picks[2].id, job_run_id=run.id, bytes_fetched=3_000_000_000))
    await captures.add(nightly(pick_id=picks[3].id, job_run_id=run.id, bytes_fetched=1))
    await captures.add(nightly(frames=held))
    counts = await nights.pick_counts(run.id)
    assert (counts.pending, counts.captures, counts.frames, counts.bytes_fetched) == (1, 2, 2, 3_000_000_001)
    assert counts.outcomes == {"offline": 2, "captured": 1, "nothing_new": 1}
