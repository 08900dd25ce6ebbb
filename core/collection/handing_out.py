"""A night handed out: its picks lie in a queue, and workers on any number of machines take them from there.

Who hands out keeps nothing that is not in the queue and the stores. It looks at both every second and does what is
lacking: hands out what is due, brings in spares, takes back what is not begun when the night is to end. So the night
goes on when it is begun again, and workers go on while nobody looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from core.collection.collector import Ended, NightProgress, NightSummary, Phase
from core.collection.picks import Outcome, due, group_of
from core.errors import SchemaOutdated, StorageError, StorageFull
from core.storage.records import PickCounts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from core.collection.collector import NightListener
    from core.collection.gathering import Gathered
    from core.collection.taking import PickTaker
    from core.storage.nights import NightStore
    from core.storage.records import Pick

log = logging.getLogger(__name__)

T = TypeVar("T")

_NOBODY_S = 60.0
"""Without a worker that takes anything, until somebody is told."""


class Place(StrEnum):
    """Where a pick that was handed out is."""

    WAITING = "waiting"
    """For a worker."""
    IN_HAND = "in_hand"
    """A worker's, be it alive or not."""
    BROKEN = "broken"
    """Out of everybody's reach: workers could not store what came of it, again and again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedOut:
    """A pick in the queue.

    Attributes:
        pick_id: which.
        place: where it is.
        failures: how often its stream failed so far, in a way that may pass.
    """

    pick_id: int
    place: Place
    failures: int = 0


class PickQueue(Protocol):
    """Picks on their way to workers; it outlives who hands out and who takes.

    Every method raises StorageError if the queue cannot be used.
    """

    async def put(self, picks: Sequence[Pick]) -> None:
        """Hand picks out, in order; one that waits already is left as it is."""
        ...

    async def handed_out(self, run_id: int) -> tuple[HandedOut, ...]:
        """The picks of a run that are in the queue; what a worker is done with is not."""
        ...

    async def take_back(self, run_id: int) -> None:
        """Remove the picks of a run that no worker has begun."""
        ...

    async def remove_broken(self, run_id: int) -> None:
        """Remove the picks of a run that are out of reach, so that they can be handed out again."""
        ...

    async def rescue(self, give_up: Callable[[int], Awaitable[object]]) -> None:
        """Put back what silent workers had in hand.

        Args:
            give_up: called with the id of a pick whose workers died again and again; it then leaves the queue.
        """
        ...


async def carry_out(pick_id: int, is_last_try: bool, *, nights: NightStore, taker: PickTaker) -> bool:  # noqa: FBT001
    """Do a pick that was handed out, as a worker; a pick that has an outcome already is left alone.

    Returns:
        Whether it is done with; False: it failed in a way that may pass, and is still pending.

    Raises:
        StorageError: what came could not be stored; the pick is still pending.
    """
    pick = await nights.pick(pick_id)
    if pick is None or pick.outcome is not None:
        return True
    result = await taker.carry_out(pick, is_last_try=is_last_try)
    log.info("%s: %s, %d frames", pick.planned.stream.login, result.outcome.value, result.frames)
    return is_last_try or not result.outcome.may_pass


async def given_up(pick_id: int, *, nights: NightStore) -> None:
    """Write down that a pick failed, as its workers died again and again.

    Raises:
        StorageError: the database cannot be used.
    """
    await nights.pick_done(pick_id, Outcome.FAILED)


class Coordinator:
    """Carries out nights on workers; what :class:`core.collection.collector.Collector` does in its own process."""

    def __init__(
        self,
        queue: PickQueue,
        nights: NightStore,
        *,
        look_s: float = 1.0,
        outage_s: float = 120.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts; both stay the caller's to close.

        Args:
            queue: in which workers look for picks.
            nights: where a night's picks are kept.
            look_s: between two looks at what became of the picks.
            outage_s: that the database may be away for, as while its server starts anew.
            clock: the wall clock, UTC.
        """
        self._queue = queue
        self._nights = nights
        self._look_s = look_s
        self._outage_s = outage_s
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
        """Carry out the night of a job's run, or go on with it.

        Cancelled, it leaves what it handed out to the workers, for whoever goes on with the night.

        Args:
            run_id: of the claimed run.
            plan: decides what to sample; not asked when the run has picks already.
            stop: once set, no more streams are begun, and those in hand are finished.
            until: likewise, from this moment on.
            listener: hears how it goes.

        Raises:
            DirectoryProblem: there is nothing to be planned from.
        """
        began_at = self._clock()
        night = _Night(listener)
        limit_s = None if until is None else (until - began_at).total_seconds()
        watching = asyncio.create_task(night.watch(stop or asyncio.Event(), limit_s), name="night: until when")
        try:
            if await self._prepare(night, run_id, plan):
                await self._see_through(night, run_id)
        except StorageError as error:
            night.broke(str(error))
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        return night.summary(began_at, self._clock())

    async def _prepare(self, night: _Night, run_id: int, plan: Callable[[], Awaitable[Gathered]]) -> bool:
        """See that the night has picks; False when it was stopped before."""
        if not await self._nights.picks(run_id):
            night.tell()
            gathered = await night.unless_ending(plan)
            if gathered is None:
                return False
            night.categories_failed = gathered.failed
            await self._nights.save_picks(run_id, gathered.picks)
        await self._queue.remove_broken(run_id)
        return True

    async def _see_through(self, night: _Night, run_id: int) -> None:
        """Look again and again, until all is done."""
        now = asyncio.get_running_loop().time
        answered_at = now()
        while True:
            try:
                is_over = await self._look(night, run_id)
            except (StorageFull, SchemaOutdated):
                raise
            except StorageError as error:
                if now() - answered_at > self._outage_s:
                    raise
                log.warning("what became of the picks cannot be seen; it is tried again: %s", error)
                is_over = False
            else:
                answered_at = now()
            if is_over:
                return
            await night.pause(self._look_s)

    async def _look(self, night: _Night, run_id: int) -> bool:
        """See what became of the picks and do what is lacking; says whether nothing is left to wait for."""
        await self._queue.rescue(partial(given_up, nights=self._nights))
        is_ending = night.ending.is_set()
        if is_ending:
            await self._queue.take_back(run_id)
        # The queue before the picks: one that has left the queue in between has its outcome.
        in_queue = {entry.pick_id: entry for entry in await self._queue.handed_out(run_id)}
        picks = await self._nights.picks(run_id)
        wanted = due(picks)
        counts = await self._nights.pick_counts(run_id) if night.has_news(picks) else None
        if any(entry.place is Place.BROKEN for entry in in_queue.values()):
            night.broke("A worker could not store what it collected, again and again; its log says why.")
        elif not is_ending:
            await self._queue.put([pick for pick in wanted if pick.id not in in_queue])
        night.saw(picks, wanted, in_queue.values(), counts)
        if night.ending.is_set():
            # What was put or began to wait only now is taken back at the next look.
            return is_ending and all(entry.place is Place.BROKEN for entry in in_queue.values())
        return not wanted


class _Night:
    """A night under way, as it was last seen."""

    def __init__(self, listener: NightListener | None) -> None:
        self.categories_failed = 0
        self.ending = asyncio.Event()
        """No more streams are begun."""
        self._listener = listener
        self._planning: asyncio.Timeout | None = None
        self._begun = False
        self._why = Ended.COMPLETE
        self._problem = ""
        self._picks: Sequence[Pick] = ()
        self._wanted: Sequence[Pick] = ()
        self._counts = PickCounts(pending=0, outcomes={}, captures=0, frames=0, bytes_fetched=0)
        self._places: Counter[Place] = Counter()
        self._failures: dict[int, int] = {}
        self._outcomes: Counter[str] = Counter()
        self._latest: str | None = None
        self._alone_since: float | None = None

    async def watch(self, stop: asyncio.Event, limit_s: float | None) -> None:
        """End the night when it is told to, or its time is out."""
        try:
            async with asyncio.timeout(limit_s):
                await stop.wait()
            self._end(Ended.STOPPED)
        except TimeoutError:
            self._end(Ended.OUT_OF_TIME)

    async def unless_ending(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """What comes of the work; None, and it is broken off, when the night ends before."""
        if self.ending.is_set():
            return None
        broken_off = asyncio.timeout(None)
        try:
            async with broken_off:
                self._planning = broken_off
                return await work()
        except TimeoutError:
            if not broken_off.expired():
                raise
            return None
        finally:
            self._planning = None

    async def pause(self, seconds: float) -> None:
        """Wait; not as long when the night is told to end meanwhile."""
        if self.ending.is_set():
            await asyncio.sleep(seconds)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ending.wait()

    def has_news(self, picks: Sequence[Pick]) -> bool:
        """Whether picks have got outcomes since they were last seen."""
        return len(picks) != len(self._picks) or _outcomes(picks) != self._outcomes

    def saw(
        self,
        picks: Sequence[Pick],
        wanted: Sequence[Pick],
        in_queue: Collection[HandedOut],
        counts: PickCounts | None,
    ) -> None:
        was_pending = {pick.id for pick in self._picks if pick.outcome is None}
        settled = [pick for pick in picks if pick.outcome is not None and pick.id in was_pending]
        if settled:
            self._latest = settled[-1].planned.stream.login
        self._begun = True
        self._picks, self._wanted, self._counts = picks, wanted, counts or self._counts
        self._outcomes = _outcomes(picks)
        # The queue was looked at before: what has got its outcome since is in nobody's hand.
        pending = {pick.id for pick in picks if pick.outcome is None}
        self._places = Counter(entry.place for entry in in_queue if entry.pick_id in pending)
        for entry in in_queue:
            self._failures[entry.pick_id] = max(entry.failures, self._failures.get(entry.pick_id, 0))
        self._mind_nobody(is_moving=bool(settled or self._places[Place.IN_HAND] or not wanted))
        self.tell()

    def broke(self, problem: str) -> None:
        """Storing failed: the night ends."""
        if not self._problem:
            log.error("The night ends early: %s", problem)
        self._problem = self._problem or problem
        self._end(Ended.STORAGE)

    def tell(self) -> None:
        if self._listener is not None:
            self._listener.progressed(self._progress())

    def summary(self, began_at: datetime, ended_at: datetime) -> NightSummary:
        captured = {
            group_of(pick.planned) for pick in self._picks if pick.planned.is_game and pick.outcome == Outcome.CAPTURED
        }
        return NightSummary(
            started_at=began_at,
            finished_at=ended_at,
            # Told to stop with nothing left to do, it is complete all the same.
            ended=Ended.COMPLETE if self._begun and not self._wanted and not self._problem else self._why,
            problem=self._problem,
            games=len(captured),
            streams=self._outcomes[Outcome.CAPTURED],
            frames=self._counts.frames,
            failures=self._failed(),
            nothing_new=self._outcomes[Outcome.NOTHING_NEW],
            opted_out=self._outcomes[Outcome.OPTED_OUT],
            tried_again=sum(self._failures.values()),
            bytes_fetched=self._counts.bytes_fetched,
            left=len(self._wanted),
            categories_failed=self.categories_failed,
        )

    def _end(self, why: Ended) -> None:
        if not self.ending.is_set() or why is Ended.STORAGE:
            self._why = why
        self.ending.set()
        if self._planning is not None:
            self._planning.reschedule(asyncio.get_running_loop().time())
        self.tell()

    def _mind_nobody(self, *, is_moving: bool) -> None:
        """Say so, now and then, when picks wait and nobody takes them."""
        now = asyncio.get_running_loop().time()
        if is_moving or self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > _NOBODY_S:
            log.warning("%d picks wait, and no worker takes them: start some", self._places[Place.WAITING])
            self._alone_since = now

    def _progress(self) -> NightProgress:
        phase = Phase.COLLECTING if self._begun else Phase.GATHERING
        in_hand = self._places[Place.IN_HAND]
        return NightProgress(
            phase=Phase.FINISHING if self.ending.is_set() else phase,
            games=len({group_of(pick.planned) for pick in self._picks}),
            games_open=len({group_of(pick.planned) for pick in self._wanted}),
            wanted=sum(not pick.planned.spare for pick in self._picks),
            streams=self._outcomes[Outcome.CAPTURED],
            frames=self._counts.frames,
            failures=self._failed(),
            settled=self._outcomes.total(),
            in_hand=in_hand,
            left=max(0, len(self._wanted) - in_hand),
            bytes_fetched=self._counts.bytes_fetched,
            latest=self._latest,
        )

    def _failed(self) -> dict[str, int]:
        return {kind: number for kind, number in self._outcomes.most_common() if Outcome(kind).is_failure}


def _outcomes(picks: Sequence[Pick]) -> Counter[str]:
    return Counter(pick.outcome for pick in picks if pick.outcome is not None)
