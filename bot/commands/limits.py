"""What keeps askers from costing more than they need.

One look at a stream is shared by all who ask for it; so many looks are under way at once, and so many wait; and nobody
asks more often than the cooldowns allow.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from async_lru import alru_cache
from cachetools import TTLCache

from core.errors import GameSpotterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.commands.answer import Answer
    from bot.commands.request import Asker, Place
    from core.streams.reference import StreamRef

_REMEMBERED_CHANNELS = 4096
_TIMED_LOOKS = 32
"""What the last so many took is what the next will."""

_FIRST_GUESS_S = 5.0
"""That a look takes, before one has been timed."""

_REMEMBERED_ASKERS = 20_000
_REMEMBERED_PLACES = 5_000


class Busy(GameSpotterError):
    """As many looks wait as may; nothing was begun.

    Attributes:
        seconds: after which there should be room again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"all places are taken for some {seconds:.0f} s")
        self.seconds = seconds


class SharedLooks:
    """One look at a stream for everybody who asks while it lasts, and for a while after.

    An asker who gives up does not take the look from the others; when the last one gives up it is cancelled. A look
    that raised is forgotten, so that the next asker tries anew.
    """

    def __init__(
        self,
        look: Callable[[StreamRef], Awaitable[Answer]],
        *,
        reuse_s: float,
        at_once: int | None = None,
        waiting: int = 0,
    ) -> None:
        """Share the results of ``look`` while it runs and for ``reuse_s`` seconds after.

        Args:
            look: looks at a stream.
            reuse_s: how long what came of it is given again.
            at_once: looks under way at the same time; None for any number.
            waiting: looks that wait for one of these to end, first come, first served; more are refused.
        """
        self._look = look
        self._at_once = at_once
        self._most_waiting = waiting
        self._hands = asyncio.Semaphore(at_once) if at_once is not None else None
        self._waiting = 0
        self._took_s: deque[float] = deque(maxlen=_TIMED_LOOKS)

        @alru_cache(maxsize=_REMEMBERED_CHANNELS, ttl=reuse_s)
        async def timed_look(ref: StreamRef) -> tuple[Answer, float]:
            answer = await self._in_turn(ref)
            return answer, time.monotonic()

        self._timed_look = timed_look

    @property
    def waiting(self) -> int:
        """Looks that have not begun."""
        return self._waiting

    async def ask(self, ref: StreamRef) -> Answer:
        """Look, or join the look under way or waiting, or remember.

        Raises:
            Busy: it would be a look more than may wait; who joins one is never refused.
            Exception: whatever the look raises.
        """
        asked_at_s = time.monotonic()
        answer, looked_at_s = await self._timed_look(ref)
        return replace(answer, age_s=max(0.0, asked_at_s - looked_at_s))

    async def aclose(self) -> None:
        """Cancel the looks under way and wait for their ends."""
        await self._timed_look.cache_close()

    async def _in_turn(self, ref: StreamRef) -> Answer:
        if self._hands is None:
            return await self._look(ref)
        if self._hands.locked() and self._waiting >= self._most_waiting:
            raise Busy(self._room_in_s())
        self._waiting += 1
        try:
            await self._hands.acquire()
        finally:
            self._waiting -= 1
        began_s = time.monotonic()
        try:
            return await self._look(ref)
        finally:
            # One that was given up says how long people wait, not how long a look takes: it counts, too, because the
            # hands were bound that long.
            self._took_s.append(time.monotonic() - began_s)
            self._hands.release()

    def _room_in_s(self) -> float:
        """When all that wait now have had their turn, going by how long the last looks took."""
        one_s = sum(self._took_s) / len(self._took_s) if self._took_s else _FIRST_GUESS_S
        return max(1.0, one_s * (self._waiting + 1) / (self._at_once or 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowed:
    """Go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Not now.

    Attributes:
        seconds: until it is allowed again.
        tell: whether this is the first refusal of this cooldown; the others are to be silent.
    """

    seconds: float
    tell: bool


Permission: TypeAlias = Allowed | Wait


@dataclass(slots=True)
class _Pause:
    until_s: float
    told: bool = False


@dataclass(slots=True)
class _Window:
    asks_s: deque[float]
    told: bool = False


class Cooldowns:
    """Who may ask again when: each person after a while, each place so often in a while.

    Moderators are neither held up nor counted. What is refused does not count, so that nobody who goes on asking waits
    longer for it. Of the people and places that asked longest ago no more is remembered than fits.
    """

    def __init__(
        self,
        *,
        user_s: float,
        place_s: float,
        place_asks: int,
        remembered_askers: int = _REMEMBERED_ASKERS,
        remembered_places: int = _REMEMBERED_PLACES,
    ) -> None:
        """Allow everybody everything at first.

        Args:
            user_s: from one ask of a person to the next; 0 for no limit.
            place_s: the window in which a place's asks are counted; 0 for no limit.
            place_asks: asks of a place in one window.
            remembered_askers: people at most.
            remembered_places: places at most.
        """
        self._now_s = 0.0
        self._user_s = user_s
        self._place_s = place_s
        self._place_asks = place_asks
        self._askers: TTLCache[str, _Pause] = TTLCache(remembered_askers, user_s, timer=self._clock)
        self._places: TTLCache[str, _Window] = TTLCache(remembered_places, place_s, timer=self._clock)

    async def ask(self, asker: Asker, place: Place) -> Permission:
        """Whether this person may ask here now; if so, it is counted."""
        return self.check(asker, place, time.monotonic())

    def check(self, asker: Asker, place: Place, now: float) -> Permission:
        """Whether this person may ask here now; if so, it is counted.

        Args:
            asker: who.
            place: where.
            now: seconds of a clock that never goes back.
        """
        if asker.moderates:
            return Allowed()
        self._now_s = max(now, self._now_s)
        pause = self._askers.get(asker.key) if self._user_s > 0 else None
        if pause is not None:
            tell, pause.told = not pause.told, True
            return Wait(seconds=pause.until_s - self._now_s, tell=tell)
        if self._place_s > 0:
            window = self._places.get(place.key, _Window(asks_s=deque()))
            while window.asks_s and window.asks_s[0] <= self._now_s - self._place_s:
                window.asks_s.popleft()
            if len(window.asks_s) >= self._place_asks:
                tell, window.told = not window.told, True
                return Wait(seconds=window.asks_s[0] + self._place_s - self._now_s, tell=tell)
            window.asks_s.append(self._now_s)
            window.told = False
            self._places[place.key] = window  # anew, so that it lives as long as its last ask counts
        if self._user_s > 0:
            self._askers[asker.key] = _Pause(until_s=self._now_s + self._user_s)
        return Allowed()

    def _clock(self) -> float:
        return self._now_s
