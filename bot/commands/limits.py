"""What keeps askers from costing more than they need: one look at a stream is shared by all who ask for it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from async_lru import alru_cache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bot.commands.answer import Answer
    from core.streams.reference import StreamRef

_REMEMBERED_CHANNELS = 4096


class SharedLooks:
    """One look at a stream for everybody who asks while it lasts, and for a while after.

    An asker who gives up does not take the look from the others; when the last one gives up it is cancelled. A look
    that raised is forgotten, so that the next asker tries anew.
    """

    def __init__(self, look: Callable[[StreamRef], Awaitable[Answer]], *, reuse_s: float) -> None:
        """Share the results of ``look`` while it runs and for ``reuse_s`` seconds after."""

        @alru_cache(maxsize=_REMEMBERED_CHANNELS, ttl=reuse_s)
        async def timed_look(ref: StreamRef) -> tuple[Answer, float]:
            answer = await look(ref)
            return answer, time.monotonic()

        self._timed_look = timed_look

    async def ask(self, ref: StreamRef) -> Answer:
        """Look, or join the look under way, or remember; raises whatever the look raises."""
        asked_at_s = time.monotonic()
        answer, looked_at_s = await self._timed_look(ref)
        return replace(answer, age_s=max(0.0, asked_at_s - looked_at_s))

    async def aclose(self) -> None:
        """Cancel the looks under way and wait for their ends."""
        await self._timed_look.cache_close()
