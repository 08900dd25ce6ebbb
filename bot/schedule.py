"""What happens by the clock: the nightly collection and the upkeep of what was collected.

APScheduler keeps the time in every replica, in memory. A run is a row claimed in the database, so that of any number
of replicas one does it; the claim is a lease, so that another goes on where the holder died. Every replica looks at the
last due time of every job when it starts and twice in a lease: that catches up what was missed while no replica ran,
and takes over what a dead one left.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar
from zoneinfo import ZoneInfo

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from core.errors import GameSpotterError, StorageError
from core.storage.records import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from core.storage.records import JobRun, Json

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOOK_BACK = (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366))
_BEGINNINGS = 20
"""Of one run, before it is taken for one that kills whoever does it."""

_FINISH_S = 5.0
"""To write down how a run ended when the whole bot ends."""


class ClaimsRuns(Protocol):
    """What the schedule needs of :class:`core.storage.nights.NightStore`."""

    async def claim(
        self, job: str, due_at: datetime, *, holder: str, lease_s: float, resume: bool = False
    ) -> JobRun | None:
        """The run, when it is this holder's to do."""
        ...

    async def renew(self, run: JobRun, *, holder: str, lease_s: float) -> bool:
        """Keep the run; False when another has it."""
        ...

    async def finish(self, run: JobRun, *, holder: str, state: RunState, result: Json) -> bool:
        """Write down how it ended; False when another has it."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Something to do by the clock.

    Attributes:
        name: in the table of job runs.
        cron: five fields: minute, hour, day, month, weekday.
        time_zone: that the fields are in.
        work: does it and returns what came of it; cancelled when the bot ends or the run is lost.
        caught_up_for: how long after its time a missed run is still worth doing.
        attempts: how often a run that failed is tried in all.
        again_after: between two attempts.
    """

    name: str
    cron: str
    time_zone: str
    work: Callable[[JobRun], Coroutine[None, None, Json]]
    caught_up_for: timedelta = timedelta(hours=12)
    attempts: int = 3
    again_after: timedelta = timedelta(minutes=10)


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
        lease_s: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Start nothing yet.

        Args:
            runs: where runs are claimed.
            jobs: all of them, by different names.
            holder: names this replica among all, also after a restart of the same host.
            lease_s: after which a run whose holder was not heard of is another's.
            clock: the wall clock, UTC.
        """
        self._runs = runs
        self._jobs = {job.name: job for job in jobs}
        self._holder = holder
        self._lease_s = lease_s
        self._clock = clock
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Keep the time until cancelled; runs under way are then given back for another replica to go on with."""
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
                while True:
                    name = await due.get()
                    if name not in self._busy:
                        self._busy.add(name)
                        group.create_task(self._look(self._jobs[name]), name=f"job {name}")
        finally:
            scheduler.shutdown(wait=False)

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
        except StorageError as error:
            log.error("The database does not answer; %s is tried again: %s", job.name, error)  # noqa: TRY400
        finally:
            self._busy.discard(job.name)

    async def _carry_out(self, job: Job, run: JobRun) -> None:
        log.info("%s of %s: attempt %d", job.name, run.due_at.isoformat(), run.attempt)
        working = asyncio.create_task(job.work(run), name=job.name)
        renewing = asyncio.create_task(self._keep(run), name=f"lease of {job.name}")
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                log.warning("%s of %s is another replica's now", job.name, run.due_at.isoformat())
                return
            error = working.exception()
            if error is None:
                await self._finish(run, RunState.DONE, working.result())
            else:
                await self._failed(job, run, error)
        except asyncio.CancelledError:
            # Given back rather than left to run out, so that another replica goes on at once.
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(_FINISH_S):
                    await _ended(working)
                    await self._finish(run, RunState.INTERRUPTED, {})
            raise
        finally:
            await _ended(renewing)
            await _ended(working)

    async def _failed(self, job: Job, run: JobRun, error: BaseException) -> None:
        """Try again later, by a lease that nobody holds up; or give up."""
        said = str(error) if isinstance(error, GameSpotterError) else type(error).__name__
        if run.attempt < job.attempts:
            log.warning("%s failed and is tried again in %s: %s", job.name, job.again_after, said)
            await self._runs.renew(run, holder=self._holder, lease_s=job.again_after.total_seconds())
        else:
            log.error("%s failed %d times and is given up: %s", job.name, run.attempt, said)
            await self._finish(run, RunState.FAILED, {"error": said})
        if not isinstance(error, GameSpotterError):
            log.error("%s", job.name, exc_info=error)

    async def _finish(self, run: JobRun, state: RunState, result: Json) -> None:
        await self._runs.finish(run, holder=self._holder, state=state, result=result)

    async def _keep(self, run: JobRun) -> None:
        """Renew the lease; returns when it is lost, also for want of an answer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease_s
        while True:
            await asyncio.sleep(self._lease_s / 3)
            asked_at = loop.time()
            try:
                async with asyncio.timeout_at(until):
                    if not await self._runs.renew(run, holder=self._holder, lease_s=self._lease_s):
                        return
                until = asked_at + self._lease_s
            except (StorageError, TimeoutError):
                if loop.time() + self._lease_s / 3 >= until:
                    return


async def _ended(task: asyncio.Task[_T]) -> None:
    """Cancel a task and wait for its end, whatever that is."""
    task.cancel()
    await asyncio.wait({task})
