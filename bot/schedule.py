"""What happens by the clock: the nightly collection and the upkeep of what was collected.

APScheduler keeps the time in every replica, in memory. A run is a row claimed in the database, so that of any number
of replicas one does it; the claim is a lease, so that another goes on where the holder died. Every replica looks at the
last due time of every job when it starts and twice in a lease: that catches up what was missed while no replica ran,
and takes over what a dead one left.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.claims import LEASE_S, LeaseLost, under_lease
from core.errors import GameSpotterError, StorageError
from core.storage.records import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from bot.claims import ClaimsRuns
    from core.storage.records import JobRun, Json

log = logging.getLogger(__name__)

_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366))
_BEGINNINGS = 20
"""Of one run, before it is taken for one that kills whoever does it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ended.

    Attributes:
        state: DONE, or INTERRUPTED where it is to be gone on with.
        result: what came of it.
    """

    state: RunState
    result: Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Something to do by the clock.

    Attributes:
        name: in the table of job runs.
        cron: five fields: minute, hour, day, month, weekday.
        time_zone: that the fields are in.
        work: does it; cancelled when the bot ends or the run is lost.
        caught_up_for: how long after its time a missed run is still worth doing.
        attempts: how often a run that failed is tried in all.
        again_after: between two attempts.
    """

    name: str
    cron: str
    time_zone: str
    work: Callable[[JobRun], Coroutine[None, None, Ending]]
    caught_up_for: timedelta = timedelta(hours=12)
    attempts: int = 3
    again_after: timedelta = timedelta(minutes=10)


class CountsRuns(Protocol):
    """What is needed of :class:`bot.operation.figures.Figures`."""

    def job_ended(self, job: str, outcome: str, *, elapsed_s: float, at_s: float) -> None:
        """A run of a job ended."""
        ...


def last_due(cron: str, time_zone: str, now: datetime) -> datetime | None:
    """The latest time, not after ``now``, that a cron expression names; UTC. None when there was none for a year."""
    trigger = CronTrigger.from_crontab(cron, timezone=ZoneInfo(time_zone))
    for back in _LOOK_BACK:
        found: datetime | None = None
        moment: datetime | None = trigger.get_next_fire_time(None, now - back)
        while moment is not None and moment <= now:
            found = moment
            # In UTC: local time minds no clock that is put back, and would find the same moment for ever.
            moment = trigger.get_next_fire_time(None, moment.astimezone(UTC) + timedelta(microseconds=1))
        if found is not None:
            # Of an hour that comes twice, the first: a night has one run.
            return found.replace(fold=0).astimezone(UTC)
    return None


class Schedule:
    """Runs jobs when they are due, each due time once among all replicas."""

    def __init__(
        self,
        runs: ClaimsRuns,
        jobs: Sequence[Job],
        *,
        holder: str,
        lease_s: float = LEASE_S,
        figures: CountsRuns | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start nothing yet.

        Args:
            runs: where runs are claimed.
            jobs: all of them, by different names.
            holder: names this replica among all.
            lease_s: after which a run whose holder was not heard of is another's.
            figures: where runs are counted; None counts nothing.
            clock: the wall clock, UTC.
        """
        self._runs = runs
        self._jobs = {job.name: job for job in jobs}
        self._holder = holder
        self._lease_s = lease_s
        self._figures = figures
        self._clock = clock
        self._busy: set[str] = set()

    async def run(self, *, stop: asyncio.Event | None = None) -> None:
        """Keep the time until told to stop, and then until the runs under way have ended.

        Cancelled, it gives runs under way back, for another replica to go on with.

        Args:
            stop: once set, nothing more is begun.
        """
        stop = asyncio.Event() if stop is None else stop
        due: asyncio.Queue[str] = asyncio.Queue()
        scheduler = AsyncIOScheduler(
            job_defaults={"coalesce": True, "misfire_grace_time": 3600, "max_instances": 1}, timezone=UTC
        )
        for job in self._jobs.values():
            # The scheduler only says when: what it would start itself, nobody would wait for.
            trigger = CronTrigger.from_crontab(job.cron, timezone=ZoneInfo(job.time_zone))
            scheduler.add_job(due.put_nowait, trigger, args=(job.name,), name=job.name)
            look_again = IntervalTrigger(seconds=self._lease_s / 2, timezone=UTC)
            scheduler.add_job(due.put_nowait, look_again, args=(job.name,), name=f"{job.name}: left over")
            due.put_nowait(job.name)
        scheduler.start()
        try:
            async with asyncio.TaskGroup() as group:
                beginning = group.create_task(self._begin(due, group), name="what is due")
                await stop.wait()
                beginning.cancel()
        finally:
            scheduler.shutdown(wait=False)

    async def _begin(self, due: asyncio.Queue[str], group: asyncio.TaskGroup) -> None:
        while True:
            name = await due.get()
            if name not in self._busy:
                self._busy.add(name)
                group.create_task(self._look(self._jobs[name]), name=f"job {name}")

    async def _look(self, job: Job) -> None:
        """Do the last due run of a job, if it is still to be done and ours to do."""
        try:
            now = self._clock()
            due_at = last_due(job.cron, job.time_zone, now)
            if due_at is None or now - due_at > job.caught_up_for:
                return
            run = await self._runs.claim(job.name, due_at, holder=self._holder, lease_s=self._lease_s, resume=True)
            if run is None:
                return
            if run.attempt > _BEGINNINGS:
                log.error("%s of %s was begun %d times and never ended", job.name, due_at.isoformat(), _BEGINNINGS)
                await self._finish(run, RunState.FAILED, {"error": "begun again and again"})
            else:
                await self._carry_out(job, run)
        except LeaseLost as error:
            log.warning("%s", error)
        except StorageError as error:
            log.error("The database does not answer; %s is tried again: %s", job.name, error)  # noqa: TRY400
        finally:
            self._busy.discard(job.name)

    async def _carry_out(self, job: Job, run: JobRun) -> None:
        log.info("%s of %s: attempt %d", job.name, run.due_at.isoformat(), run.attempt)
        began_at, outcome = self._clock(), "cancelled"
        try:
            ending = await under_lease(self._runs, run, job.work(run), holder=self._holder, lease_s=self._lease_s)
        except LeaseLost:
            outcome = "lease_lost"
            raise
        except GameSpotterError as error:
            outcome = "failed"
            await self._failed(job, run, str(error))
        except Exception as error:
            outcome = "failed"
            log.exception("%s", job.name)
            await self._failed(job, run, type(error).__name__)
        else:
            outcome = ending.state.value
            await self._finish(run, ending.state, ending.result)
            log.info("%s of %s: %s %s", job.name, run.due_at.isoformat(), ending.state, ending.result)
        finally:
            now = self._clock()
            elapsed_s = (now - began_at).total_seconds()
            if self._figures is not None:
                self._figures.job_ended(job.name, outcome, elapsed_s=elapsed_s, at_s=now.timestamp())

    async def _failed(self, job: Job, run: JobRun, said: str) -> None:
        """Try again later, by a lease that nobody holds up; or give up."""
        if run.attempt < job.attempts:
            log.warning("%s failed and is tried again in %s: %s", job.name, job.again_after, said)
            await self._runs.renew(run, holder=self._holder, lease_s=job.again_after.total_seconds())
        else:
            log.error("%s failed %d times and is given up: %s", job.name, run.attempt, said)
            await self._finish(run, RunState.FAILED, {"error": said})

    async def _finish(self, run: JobRun, state: RunState, result: Json) -> None:
        await self._runs.finish(run, holder=self._holder, state=state, result=result)
