"""The collection: as the schedule has it every night, and as a keeper begins it by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from bot.claims import LEASE_S, under_lease
from bot.schedule import Ending
from core.collection.collector import Ended
from core.collection.gathering import gather
from core.errors import GameSpotterError, StorageError
from core.storage.records import RunState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from core.collection.collector import NightListener, NightSummary
    from core.collection.directory import StreamDirectory
    from core.collection.gathering import Gathered
    from core.collection.picks import PickRules
    from core.storage.captures import CaptureStore
    from core.storage.nights import NightStore
    from core.storage.records import JobRun

COLLECTION = "collection"
"""The job's name in the table of job runs."""

_A_NIGHT = timedelta(hours=12)
"""After which the streams that a broken-off collection meant to sample are others, and it begins anew."""


class CollectionUnderWay(GameSpotterError):
    """Another process collects just now."""


class CarriesOutNights(Protocol):
    """What is needed of :class:`core.collection.collector.Collector`, here or on workers."""

    async def collect(
        self,
        run_id: int,
        *,
        plan: Callable[[], Awaitable[Gathered]],
        stop: asyncio.Event | None = None,
        until: datetime | None = None,
        listener: NightListener | None = None,
    ) -> NightSummary:
        """Carry out the night of a claimed run."""
        ...


class Nightly:
    """Collects: decides what, holds the claim, and writes down what came of it."""

    def __init__(
        self,
        *,
        directory: StreamDirectory,
        captures: CaptureStore,
        nights: NightStore,
        collector: CarriesOutNights,
        rules: PickRules,
        time_zone: str,
        holder: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts; all stay the caller's to close.

        Args:
            directory: says what is live.
            captures: says what there is already.
            nights: where runs are claimed.
            collector: carries out what was decided.
            rules: how much of what.
            time_zone: in which a broadcaster's day begins.
            holder: names this process.
            clock: the wall clock, UTC.
        """
        self._directory = directory
        self._captures = captures
        self._nights = nights
        self._collector = collector
        self._rules = rules
        self._zone = ZoneInfo(time_zone)
        self._holder = holder
        self._clock = clock

    async def scheduled(self, run: JobRun, *, stop: asyncio.Event) -> Ending:
        """A run that the schedule has claimed.

        Raises:
            DirectoryProblem: there is nothing to be planned from.
            StorageError: what came could not be stored; what is stored stays, and the run can be gone on with.
        """
        summary = await self._collect(run, rules=self._rules, stop=stop)
        if summary.ended is Ended.STORAGE:
            raise StorageError(summary.problem)
        return _ending(summary)

    async def by_hand(
        self,
        *,
        games: int | None = None,
        streams: int | None = None,
        stop: asyncio.Event,
        until: datetime | None = None,
        listener: NightListener | None = None,
    ) -> NightSummary:
        """Collect now: go on with what was broken off this night, or begin.

        Args:
            games: at most, in place of the settings'.
            streams: of each game, in place of the settings'.
            stop: once set, no more streams are begun.
            until: likewise, from this moment on.
            listener: hears how it goes.

        Raises:
            CollectionUnderWay: by another process.
            DirectoryProblem: there is nothing to be planned from.
            StorageError: the database cannot be used.
            LeaseLost: another process took over.
        """
        run = await self._claim()
        rules = self._rules
        if games is not None:
            rules = replace(rules, games=games)
        if streams is not None:
            # As many attempts for each stream as the settings have.
            attempts = -(-streams * rules.attempts // rules.streams)
            rules = replace(rules, streams=streams, attempts=max(streams, attempts))
        try:
            summary = await under_lease(
                self._nights,
                run,
                self._collect(run, rules=rules, stop=stop, until=until, listener=listener),
                holder=self._holder,
            )
        except GameSpotterError:
            # Nothing was begun, or it can be gone on with: nobody needs to wait for the lease to run out.
            await self._nights.finish(run, holder=self._holder, state=RunState.INTERRUPTED, result={})
            raise
        ending = _ending(summary)
        await self._nights.finish(run, holder=self._holder, state=ending.state, result=ending.result)
        return summary

    async def _claim(self) -> JobRun:
        now = self._clock()
        last = await self._nights.last_run(COLLECTION)
        if last is not None and last.state in (RunState.RUNNING, RunState.INTERRUPTED) and now - last.due_at < _A_NIGHT:
            run = await self._nights.claim(COLLECTION, last.due_at, holder=self._holder, lease_s=LEASE_S, resume=True)
            if run is None:
                since = last.started_at.isoformat(sep=" ", timespec="minutes")
                host = last.holder.partition(":")[0]
                raise CollectionUnderWay(
                    f"A collection is under way already, on {host} since {since}. If it died, try again in a minute."
                )
            return run
        run = await self._nights.claim(COLLECTION, now, holder=self._holder, lease_s=LEASE_S)
        if run is None:
            raise CollectionUnderWay("Another collection has begun at this very moment.")
        return run

    async def _collect(
        self,
        run: JobRun,
        *,
        rules: PickRules,
        stop: asyncio.Event,
        until: datetime | None = None,
        listener: NightListener | None = None,
    ) -> NightSummary:
        plan = partial(
            gather,
            self._directory,
            self._captures,
            rules=rules,
            now=self._clock().astimezone(self._zone),
            seed=int(run.due_at.timestamp()),
        )
        return await self._collector.collect(run.id, plan=plan, stop=stop, until=until, listener=listener)


def _ending(summary: NightSummary) -> Ending:
    """Stopped before its end, a night can be gone on with; out of time, it is over."""
    unfinished = summary.ended in (Ended.STOPPED, Ended.STORAGE)
    return Ending(state=RunState.INTERRUPTED if unfinished else RunState.DONE, result=summary.to_json())
