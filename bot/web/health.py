"""Whether the bot can do its work just now: every part that it needs, asked."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from async_lru import alru_cache

from core.errors import GameSpotterError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

log = logging.getLogger(__name__)

OK = "ok"
_REUSE_S = 2.0
"""However many ask: the question costs a run of the network and a look into the database."""

Check: TypeAlias = "Callable[[], Awaitable[str]]"
"""``OK``, or a few words of ours that say what is wrong; what it raises is not shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """How it stands.

    Attributes:
        parts: each with ``OK``, or with what is wrong.
    """

    parts: Mapping[str, str]

    @property
    def is_good(self) -> bool:
        """Whether everything is."""
        return all(said == OK for said in self.parts.values())


class HealthCheck:
    """Asks all parts at the same time."""

    def __init__(self, checks: Mapping[str, Check], *, timeout_s: float = 2.0) -> None:
        """Keep the questions.

        Args:
            checks: by the name of the part.
            timeout_s: for each.
        """
        self._checks = dict(checks)
        self._timeout_s = timeout_s
        self.stops = False
        """Set when the bot is about to end: it is not to be asked any more."""

        @alru_cache(maxsize=1, ttl=_REUSE_S)
        async def ask() -> Mapping[str, str]:
            said = await asyncio.gather(*(self._one(name) for name in self._checks))
            return dict(zip(self._checks, said, strict=True))

        self._ask = ask

    async def look(self) -> Health:
        """How it stands now, or stood a moment ago."""
        parts = await self._ask()
        return Health(parts={**parts, "bot": "stopping"} if self.stops else parts)

    async def aclose(self) -> None:
        """End the question under way."""
        await self._ask.cache_close()

    async def _one(self, name: str) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._checks[name]()
        except TimeoutError:
            return "does not answer in time"
        except GameSpotterError as error:
            log.warning("%s: %s", name, error)
            return "does not answer"
        except Exception:
            log.exception("asking %s how it stands failed", name)
            return "does not answer"
