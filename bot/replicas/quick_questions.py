"""What is asked of the database on the way to an answer, which must not wait for a database that is away."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from core.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_S = 1.0
"""Discord wants a sign of life within three."""

_REST_S = 5.0


class QuickQuestions:
    """Asks while there are answers; after one that did not come it asks nothing for a while."""

    def __init__(self, *, longest_s: float = _LONGEST_S, rest_s: float = _REST_S) -> None:
        """Ask at first.

        Args:
            longest_s: that an answer is waited for.
            rest_s: for which nothing is asked after one that did not come.
        """
        self._longest_s = longest_s
        self._rest_s = rest_s
        self._rests_until_s = 0.0

    async def ask(self, question: Callable[[], Awaitable[T]], *, otherwise: Callable[[], T]) -> T:
        """The answer of the database, or what to go by without one.

        Args:
            question: asks it; raises StorageError.
            otherwise: what to go by.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._rests_until_s:
            return otherwise()
        try:
            async with asyncio.timeout(self._longest_s):
                return await question()
        except (StorageError, TimeoutError) as error:
            if loop.time() >= self._rests_until_s:  # of many that asked at once, the first
                said = str(error) or "the database does not answer in time."
                log.error("The replicas cannot agree just now; each goes by what it knows: %s", said)  # noqa: TRY400
            self._rests_until_s = loop.time() + self._rest_s
            return otherwise()
