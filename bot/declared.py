"""What broadcasters say of themselves: asked beside each look, briefly remembered, never in its way."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from async_lru import alru_cache

from core.errors import DirectoryProblem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from core.collection.directory import Category, Channel

log = logging.getLogger(__name__)

_REMEMBERED_CHANNELS = 4096


class KnowsChannels(Protocol):
    """What is needed of :class:`core.collection.directory.StreamDirectory`."""

    async def channels(self, logins: Collection[str]) -> Mapping[str, Channel]:
        """Channels by login, of those that there are."""
        ...


class DeclaredCategories:
    """Asks the directory what a channel declares; what it cannot tell in time is not known."""

    def __init__(self, directory: KnowsChannels, *, timeout_s: float = 1.0, reuse_s: float = 20.0) -> None:
        """Keep the directory, which stays the caller's to close.

        Args:
            directory: says what is declared.
            timeout_s: after which an asker goes on without.
            reuse_s: for which an answer is good.
        """
        self._timeout_s = timeout_s

        @alru_cache(maxsize=_REMEMBERED_CHANNELS, ttl=reuse_s)
        async def ask(login: str) -> Category | None:
            channel = (await directory.channels([login])).get(login)
            return None if channel is None else channel.category

        self._ask = ask

    async def of(self, login: str) -> Category | None:
        """What the channel declares now, or when offline declared last; None when that is not known."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(login)
        except TimeoutError:
            log.info("what %s declares was not told within %.1f s", login, self._timeout_s)
        except DirectoryProblem as problem:
            log.warning("what %s declares is not known: %s", login, problem)
        return None

    async def aclose(self) -> None:
        """End what is under way."""
        await self._ask.cache_close()
