"""A night carried out: its picks, many at once under a bound, each by the taker.

What a process keeps of a night is the list of its picks, of a few hundred at most, and the pictures of the streams in
hand. All else is in the stores: a night that broke off anywhere goes on with the picks that have no outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import repeat
from typing import TYPE_CHECKING, Protocol, TypeVar

from core.collection.picks import Agenda, Outcome, group_of
from core.errors import StorageError
from core.storage.records import RejectedFrames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from core.collection.gathering import Gathered
    from core.collection.taking import PickResult, PickTaker
    from core.storage.nights import NightStore
    from core.storage.records import Json, Pick, PickCounts

log = logging.getLogger(__name__)

T = TypeVar("T")


class Phase(StrEnum):
    """What a night is at."""

    GATHERING = "gathering"
    """Asks what is live."""
    COLLECTING = "collecting"
    FINISHING = "finishing"
    """Begins no more streams, and finishes those in hand."""


class Ended(StrEnum):
    """Why a night ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    OUT_OF_TIME = "out_of_time"
    STORAGE = "storage"
    """What it collects could not be stored any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NightProgress:
    """How far a night is, what was done before it was broken off included.

    Attributes:
        phase: what it is at.
        games: that are sampled, the negative class as one of them.
        games_open: of these, not done yet.
        wanted: streams that the night set out for.
        streams: that gave frames.
        frames: kept.
        failures: by outcome, of picks that are given up.
        settled: picks that have an outcome, whatever it is.
        in_hand: streams that are being sampled.
        left: picks that are still to be begun, as far as can be told.
        bytes_fetched: of streams that gave something.
        latest: login of the stream that was done last.
    """

    phase: Phase
    games: int = 0
    games_open: int = 0
    wanted: int = 0
    streams: int = 0
    frames: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    settled: int = 0
    in_hand: int = 0
    left: int = 0
    bytes_fetched: int = 0
    latest: str | None = None


class NightListener(Protocol):
    """Hears how a night goes; must return at once."""

    def progressed(self, progress: NightProgress) -> None:
        """Something has changed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class NightSummary:
    """What came of a night, of all attempts at it.

    Attributes:
        started_at: this attempt.
        finished_at: this attempt.
        ended: why.
        problem: of the storage, one sentence; empty without one.
        games: of which a stream gave frames; what is no game does not count.
        streams: that gave frames.
        frames: kept.
        failures: picks that were given up, by outcome, the most frequent first.
        nothing_new: streams all of whose pictures were there already.
        opted_out: broadcasters who opted out after the night was planned.
        tried_again: tries of this attempt at picks that had failed before.
        rejected: frames that this attempt did not keep.
        bytes_fetched: of streams that gave something.
        left: picks that were not done, without spares.
        categories_failed: whose live streams could not be listed.
    """

    started_at: datetime
    finished_at: datetime
    ended: Ended
    problem: str = ""
    games: int = 0
    streams: int = 0
    frames: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    nothing_new: int = 0
    opted_out: int = 0
    tried_again: int = 0
    rejected: RejectedFrames = field(default_factory=RejectedFrames)
    bytes_fetched: int = 0
    left: int = 0
    categories_failed: int = 0

    @property
    def failed(self) -> int:
        """Picks that were given up."""
        return sum(self.failures.values())

    def to_json(self) -> dict[str, Json]:
        """For the row of the job's run."""
        rejected = self.rejected
        return {
            "started_at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "ended": self.ended.value,
            "problem": self.problem or None,
            "games": self.games,
            "streams": self.streams,
            "frames": self.frames,
            "failed": self.failed,
            "failures": dict(self.failures),
            "nothing_new": self.nothing_new,
            "opted_out": self.opted_out,
            "tried_again": self.tried_again,
            "rejected": {
                "adverts": rejected.adverts,
                "black": rejected.black,
                "duplicates": rejected.duplicates,
                "failed": rejected.failed,
                "waiting": rejected.waiting,
            },
            "bytes_fetched": self.bytes_fetched,
            "left": self.left,
            "categories_failed": self.categories_failed,
        }


class Collector:
    """Carries out nights."""

    def __init__(
        self,
        taker: PickTaker,
        nights: NightStore,
        *,
        parallel: int = 8,
        tries: int = 3,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts; all stay the caller's to close.

        Args:
            taker: carries out single picks.
            nights: where a night's picks are kept.
            parallel: streams at the same time.
            tries: of a pick whose failures may pass, in all.
            clock: the wall clock, UTC.
        """
        self._taker = taker
        self._nights = nights
        self._parallel = parallel
        self._tries = tries
        self._clock = clock

    async def collect(
        self,
        run_id: int,
        *,
        plan: Callable[[], Awaitable[Gathered]],
        stop: asyncio.Event | None = None,
        until: datetime | None = None,
        listener: NightListener | None = None,
    ) -> NightSummary:
        """Carry out the night of a run: go on with its picks if it has any, else plan it.

        Storage that fails ends the night in order: streams in hand are finished, as far as that goes, what is stored
        stays, and the summary says why.

        Args:
            run_id: of the claimed run.
            plan: decides what to sample; asked only if the run has no picks yet.
            stop: once set, no more streams are begun.
            until: likewise, from this moment on.
            listener: hears how it goes.

        Raises:
            DirectoryProblem: there is nothing to be planned from.
        """
        began_at = self._clock()
        night = _Night(stop=asyncio.Event() if stop is None else stop, listener=listener)
        limit_s = None if until is None else (until - began_at).total_seconds()
        watching = asyncio.create_task(night.watch(limit_s), name="night: until when")
        try:
            if await self._prepare(night, run_id, plan):
                async with asyncio.TaskGroup() as group:
                    for _ in repeat(None, self._parallel):
                        group.create_task(self._work(night), name="night: one stream after another")
        except StorageError as error:
            night.broke(error)
        finally:
            await _cancelled(watching)
        return night.summary(began_at, self._clock())

    async def _prepare(self, night: _Night, run_id: int, plan: Callable[[], Awaitable[Gathered]]) -> bool:
        """Find or plan the night's picks; False when the night was stopped before."""
        picks = await self._nights.picks(run_id)
        if not picks:
            night.tell()
            gathered = await _unless(night.ending, plan)
            if gathered is None:
                return False
            night.categories_failed = gathered.failed
            await self._nights.save_picks(run_id, gathered.picks)
            picks = await self._nights.picks(run_id)
        night.begin(Agenda(picks, tries=self._tries), picks, await self._nights.pick_counts(run_id))
        return True

    async def _work(self, night: _Night) -> None:
        while (pick := night.next()) is not None:
            try:
                result = await self._taker.carry_out(pick, is_last_try=night.agenda.is_last_try(pick))
            except StorageError as error:
                night.broke(error, pick)
                return
            night.ended(pick, result)


class _Night:
    """A night under way: who does what next, what was done, whether it is to end."""

    def __init__(self, *, stop: asyncio.Event, listener: NightListener | None) -> None:
        self.agenda = Agenda(())
        self.categories_failed = 0
        self.ending = asyncio.Event()
        """No more streams are begun."""
        self._stop = stop
        self._listener = listener
        self._begun = False
        self._why = Ended.COMPLETE
        self._problem = ""
        self._in_hand = 0
        self._given_back = 0
        self._groups: set[str] = set()
        self._games: set[str] = set()
        self._wanted = 0
        self._outcomes: Counter[str] = Counter()
        self._frames = 0
        self._bytes_fetched = 0
        self._tried_again = 0
        self._rejected: Counter[str] = Counter()
        self._latest: str | None = None

    def begin(self, agenda: Agenda, picks: Sequence[Pick], counts: PickCounts) -> None:
        self.agenda = agenda
        self._begun = True
        self._groups = {group_of(pick.planned) for pick in picks}
        self._games = {
            group_of(pick.planned) for pick in picks if pick.planned.is_game and pick.outcome == Outcome.CAPTURED
        }
        self._wanted = sum(not pick.planned.spare for pick in picks)
        self._outcomes.update(pick.outcome for pick in picks if pick.outcome is not None)
        self._frames = counts.frames
        self._bytes_fetched = counts.bytes_fetched
        self.tell()

    async def watch(self, limit_s: float | None) -> None:
        """End the night when it is told to, or its time is out."""
        try:
            async with asyncio.timeout(limit_s):
                await self._stop.wait()
            self._end(Ended.STOPPED)
        except TimeoutError:
            self._end(Ended.OUT_OF_TIME)

    def next(self) -> Pick | None:
        """The next pick to take; None when none waits, or the night ends.

        Nobody need wait for what those in hand may still bring in: that is one spare or one more try each, and who had
        the pick in hand takes it.
        """
        if self._stop.is_set() and not self.ending.is_set():  # a moment ago: the watch has not had its turn
            self._end(Ended.STOPPED)
        pick = None if self.ending.is_set() else self.agenda.take()
        if pick is not None:
            self._in_hand += 1
            self.tell()
        return pick

    def ended(self, pick: Pick, result: PickResult) -> None:
        self._in_hand -= 1
        if self.agenda.ended(pick, result.outcome):
            self._outcomes[result.outcome.value] += 1
        else:
            self._tried_again += 1
        if result.outcome is Outcome.CAPTURED and pick.planned.is_game:
            self._games.add(group_of(pick.planned))
        self._frames += result.frames
        self._bytes_fetched += result.bytes_fetched
        self._rejected.update(
            adverts=result.rejected.adverts,
            black=result.rejected.black,
            duplicates=result.rejected.duplicates,
            failed=result.rejected.failed,
            waiting=result.rejected.waiting,
        )
        self._latest = pick.planned.stream.login
        self.tell()

    def broke(self, error: StorageError, pick: Pick | None = None) -> None:
        """Storing failed: the night ends, and a pick in hand stays pending."""
        if pick is not None:
            self._in_hand -= 1
            self._given_back += 1
        self._problem = self._problem or str(error)
        log.error("The night ends early: %s", error)
        self._end(Ended.STORAGE)

    def tell(self) -> None:
        if self._listener is not None:
            self._listener.progressed(self._progress())

    def summary(self, began_at: datetime, ended_at: datetime) -> NightSummary:
        left = self.agenda.waiting + self._given_back
        ended = self._why
        if self._problem:
            ended = Ended.STORAGE
        elif self._begun and not left:
            ended = Ended.COMPLETE  # also when it was told to stop with nothing left to do
        return NightSummary(
            started_at=began_at,
            finished_at=ended_at,
            ended=ended,
            problem=self._problem,
            games=len(self._games),
            streams=self._outcomes[Outcome.CAPTURED],
            frames=self._frames,
            failures=self._failures(),
            nothing_new=self._outcomes[Outcome.NOTHING_NEW],
            opted_out=self._outcomes[Outcome.OPTED_OUT],
            tried_again=self._tried_again,
            rejected=RejectedFrames(**self._rejected),
            bytes_fetched=self._bytes_fetched,
            left=left,
            categories_failed=self.categories_failed,
        )

    def _end(self, why: Ended) -> None:
        if not self.ending.is_set():
            self._why = why
        self.ending.set()
        self.tell()

    def _progress(self) -> NightProgress:
        phase = Phase.COLLECTING if self._begun else Phase.GATHERING
        return NightProgress(
            phase=Phase.FINISHING if self.ending.is_set() else phase,
            games=len(self._groups),
            games_open=self.agenda.open_groups,
            wanted=self._wanted,
            streams=self._outcomes[Outcome.CAPTURED],
            frames=self._frames,
            failures=self._failures(),
            settled=self._outcomes.total(),
            in_hand=self._in_hand,
            left=self.agenda.waiting,
            bytes_fetched=self._bytes_fetched,
            latest=self._latest,
        )

    def _failures(self) -> dict[str, int]:
        return {kind: number for kind, number in self._outcomes.most_common() if Outcome(kind).is_failure}


async def _unless(ending: asyncio.Event, work: Callable[[], Awaitable[T]]) -> T | None:
    """What comes of the work; None, and it is broken off, when the night ends before."""
    if ending.is_set():
        return None
    working = asyncio.ensure_future(work())
    waiting = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await _cancelled(waiting)
        await _cancelled(working)


async def _cancelled(task: asyncio.Future[T]) -> None:
    """Cancel a task and wait for its end, whatever that is."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at, so that nobody is told that nobody did
