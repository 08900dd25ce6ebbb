"""Cooldowns that are the same in every replica, and outlive a restart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from cachetools import TLRUCache

from bot.commands.limits import Allowed, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.commands.limits import Cooldowns, Permission
    from bot.commands.request import Asker, Place
    from bot.replicas.quick_questions import QuickQuestions

_REMEMBERED = 20_000


class KeepsCooldowns(Protocol):
    """What is needed of :class:`core.storage.leases.CooldownStore`."""

    async def ask(
        self, asker: str, place: str, *, asker_s: float, place_s: float, place_asks: int
    ) -> tuple[float, bool]:
        """Count an ask, or say how long to wait, and whether to tell."""
        ...


class SharedCooldowns:
    """Asks the database once for each ask, and not even that for who was told to wait.

    Where the database does not answer, this process's own cooldowns go on: they know what it allowed before.
    """

    def __init__(
        self,
        store: KeepsCooldowns,
        own: Cooldowns,
        *,
        user_s: float,
        place_s: float,
        place_asks: int,
        questions: QuickQuestions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet.

        Args:
            store: what all share.
            own: with the same limits.
            user_s: from one ask of a person to the next; 0 for no limit.
            place_s: the window in which a place's asks are counted; 0 for no limit.
            place_asks: asks of a place in one window.
            questions: what does not wait for the database.
            clock: seconds, never going back.
        """
        self._store = store
        self._own = own
        self._user_s = user_s
        self._place_s = place_s
        self._place_asks = place_asks
        self._questions = questions
        self._clock = clock
        self._refused: TLRUCache[tuple[str, str], float] = TLRUCache(
            _REMEMBERED, ttu=lambda _, until_s, __: until_s, timer=clock
        )

    async def ask(self, asker: Asker, place: Place) -> Permission:
        """Whether this person may ask here now; if so, it is counted."""
        if asker.moderates:
            return Allowed()
        refused_until_s = self._refused.get((asker.key, place.key))
        if refused_until_s is not None:
            return Wait(seconds=refused_until_s - self._clock(), tell=False)
        return await self._questions.ask(
            lambda: self._shared(asker, place), otherwise=lambda: self._own.check(asker, place, self._clock())
        )

    async def _shared(self, asker: Asker, place: Place) -> Permission:
        wait_s, tell = await self._store.ask(
            f"asker {asker.key}",
            f"place {place.key}",
            asker_s=self._user_s,
            place_s=self._place_s,
            place_asks=self._place_asks,
        )
        if wait_s > 0:
            self._refused[asker.key, place.key] = self._clock() + wait_s
            return Wait(seconds=wait_s, tell=tell)
        # Counted here, too, for when the database is away. It may know of fewer asks, but not of more.
        self._own.check(asker, place, self._clock())
        return Allowed()
