"""Processes of the bot that share the chats over one PostgreSQL.

Each says every few seconds that it is here and what it hears, and is told who else is: from that everyone works out
alone what is whose (:mod:`bot.replicas.division`). Nothing is let go of before whoever is to have it says that it hears
it, and what two hear meanwhile is answered by the one that takes it first. So nothing is missed when a process comes or
goes; when one dies, what it heard is missed until the others have noticed.

When the database is away everything stays as it was, and what is heard is answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from bot.replicas.division import dealt
from bot.replicas.quick_questions import QuickQuestions
from core.errors import StorageError
from core.storage.records import Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine

log = logging.getLogger(__name__)

REPLICAS_CHANGED = "gamespotter_replicas"
"""Told through the database by whoever comes, goes, or serves something else."""

_BEATS = 6
"""In the lease's time, in which somebody dead is to be missed and replaced: so it is dead before."""

_DEAD_AFTER = 0.6
_TIDYING_S = 600.0
_LEAVING_S = 2.0


class KeepsLeases(Protocol):
    """What is needed of :class:`core.storage.leases.LeaseStore`."""

    async def renew(self, replica: Replica, *, silent_s: float) -> tuple[Replica, ...]:
        """Be here; who else is, the oldest first."""
        ...

    async def leave(self, replica_id: str) -> None:
        """Be gone."""
        ...

    async def take(self, event: str) -> bool:
        """Whether the caller is the first to take an event."""
        ...

    async def turn(self, name: str, *, gap_s: float) -> float:
        """Take the next turn; in how many seconds it is."""
        ...

    async def forget(self) -> None:
        """Remove what nobody needs any more."""
        ...


class TellsOthers(Protocol):
    """What is needed of :class:`core.storage.database.Database`."""

    async def tell(self, channel: str) -> None:
        """Wake all processes that hear."""
        ...

    def hear(self, channel: str, heard: Callable[[], None]) -> Coroutine[None, None, None]:
        """Listen until cancelled."""
        ...


class Replicas:
    """This process among those that share the chats; see :class:`bot.chat.sharing.Sharing`."""

    is_shared = True

    def __init__(
        self,
        leases: KeepsLeases,
        others: TellsOthers,
        *,
        holder: str,
        lease_s: float,
        questions: QuickQuestions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Be nowhere yet.

        Args:
            leases: where all of them are written down.
            others: wakes them.
            holder: names this process.
            lease_s: within which one that dies is missed and replaced.
            questions: what does not wait for the database.
            clock: seconds, never going back.
        """
        self._leases = leases
        self._others = others
        self._holder = holder
        self._beat_s = lease_s / _BEATS
        self._silent_s = lease_s * _DEAD_AFTER
        self._questions = questions if questions is not None else QuickQuestions()
        self._clock = clock
        self._living: tuple[Replica, ...] = (Replica(id=holder),)
        self._served: dict[str, frozenset[str]] = {}
        self._numbers: dict[str, int] = {}
        self._is_leaving = False
        self._told: Replica | None = None
        self._renewed_s: float | None = None
        self._lenient_until_s = 0.0
        self._lenient_from_s = 0.0
        self._is_away = False
        self._soon = asyncio.Event()
        self._changes = 0
        self._change = asyncio.Condition()

    @property
    def count(self) -> int:
        """Processes that are here, this one among them."""
        return len(self._living)

    @property
    def living(self) -> tuple[Replica, ...]:
        """Those that are here, the oldest first."""
        return self._living

    async def run(self) -> None:
        """Be here until cancelled, and then gone."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._others.hear(REPLICAS_CHANGED, self._soon.set), name="notices of replicas")
                group.create_task(self._tidy(), name="tidying up after replicas")
                while True:
                    await self.beat()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._beat_s):
                            await self._soon.wait()
                    self._soon.clear()
        finally:
            await self._leave()

    async def hand_over(self, *, within_s: float) -> None:
        """Let the others take over what is served here, and return when they have, or there is nobody.

        Args:
            within_s: that is waited for them.
        """
        self._is_leaving = True
        self._soon.set()
        since = self._changes
        try:
            async with asyncio.timeout(within_s):
                while self._mine() and any(not other.is_leaving for other in self._except_me()) and not self._is_away:
                    since = await self.changed(since)
        except TimeoutError:
            log.warning("The other replicas have not taken over all that is heard here.")

    async def beat(self) -> None:
        """Say that this process is here, and see who else is."""
        me = self._me()
        began_s = self._clock()
        silent_s = self._silent_s
        if self._renewed_s is not None and began_s - self._renewed_s > self._silent_s / 2:
            # The database was away, or this process was. The others may have been, too: they have as long again to
            # be heard of, rather than that the first to come back takes everything.
            self._lenient_from_s = self._renewed_s
            self._lenient_until_s = began_s + self._silent_s
        if began_s < self._lenient_until_s:
            silent_s += began_s - self._lenient_from_s
        try:
            async with asyncio.timeout(self._silent_s):
                living = await self._leases.renew(me, silent_s=silent_s)
                self._renewed_s = began_s
                if me != self._told:
                    self._told = me
                    await self._others.tell(REPLICAS_CHANGED)
        except (StorageError, TimeoutError) as error:
            if not self._is_away:
                said = str(error) or "the database does not answer in time."
                log.error("Who hears what stays as it is: %s", said)  # noqa: TRY400 - a sentence
                self._is_away = True
                await self._take_over(self._living)
            return
        self._is_away = False
        if living != self._living:
            await self._take_over(living)

    async def changed(self, since: int) -> int:
        """Wait until who is here, or what somebody serves, is another than it was."""
        async with self._change:
            await self._change.wait_for(lambda: self._changes > since)
        return self._changes

    def mine(self, names: Collection[str], *, among: int | None = None) -> frozenset[str]:
        """What of all that is shared this process is to hear now."""
        served = frozenset().union(*self._served.values())
        staying = [replica for replica in self._living if not replica.is_leaving and not self._leaves(replica)]
        if not staying:
            # All end, and nobody is to begin anything.
            return served & frozenset(names)
        able = {replica.id: replica for replica in staying[:among]}
        held = {replica.id: served if replica.id == self._holder else replica.serves for replica in staying}
        owners = dealt(names, list(able), held)
        return frozenset(
            name
            for name, owner in owners.items()
            if owner == self._holder or (name in served and name not in able[owner].serves)
        )

    def serves(self, kind: str, names: Collection[str]) -> None:
        """Tell the others what is heard here now."""
        served = frozenset(names)
        if self._served.get(kind, frozenset()) != served:
            self._served[kind] = served
            self._soon.set()

    def agreed(self, number: str, mine: int, *, insists: bool = False) -> int:
        """A number that all go by: the highest of those who are here."""
        told = [replica.numbers[number] for replica in (*self._living, self._me()) if number in replica.numbers]
        agreed = max([*told, mine] if insists or not told else told)
        if self._numbers.get(number) != agreed:
            self._numbers[number] = agreed
            self._soon.set()
        return agreed

    async def take(self, event: str) -> bool:
        """Whether this process is to answer an event."""
        return await self._questions.ask(lambda: self._leases.take(event), otherwise=lambda: True)

    async def turn(self, name: str, *, gap_s: float) -> None:
        """Wait for the next turn among all processes."""
        await asyncio.sleep(
            await self._questions.ask(lambda: self._leases.turn(name, gap_s=gap_s), otherwise=lambda: 0.0)
        )

    def _me(self) -> Replica:
        return Replica(
            id=self._holder,
            is_leaving=self._is_leaving,
            serves=frozenset().union(*self._served.values()),
            numbers=dict(self._numbers),
        )

    def _leaves(self, replica: Replica) -> bool:
        return self._is_leaving and replica.id == self._holder

    def _except_me(self) -> list[Replica]:
        return [replica for replica in self._living if replica.id != self._holder]

    def _mine(self) -> frozenset[str]:
        """What is served here and not by others."""
        return frozenset().union(*self._served.values()) - frozenset().union(*(o.serves for o in self._except_me()))

    async def _take_over(self, living: tuple[Replica, ...]) -> None:
        before, now = {one.id for one in self._living}, {one.id for one in living}
        if before != now:
            log.info("%d replica(s) share the chats: %s", len(now), ", ".join(one.id for one in living))
        self._living = living
        async with self._change:
            self._changes += 1
            self._change.notify_all()

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(_LEAVING_S):
                await self._leases.leave(self._holder)
                await self._others.tell(REPLICAS_CHANGED)
        except (StorageError, TimeoutError) as error:
            log.warning("The other replicas are not told that this one ends: %s", error)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDYING_S)
            try:
                await self._leases.forget()
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - a sentence
