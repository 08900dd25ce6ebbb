"""The door between all platforms and the service: it names and counts who goes through, and closes before the end."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from structlog.contextvars import bind_contextvars

from bot.commands import wording
from bot.commands.request import Outcome, Reply
from bot.commands.service import command_name

if TYPE_CHECKING:
    from bot.chat.platform import Handle
    from bot.commands.request import Request

log = logging.getLogger(__name__)


class CountsAsks(Protocol):
    """What is needed of :class:`bot.operation.figures.Figures`."""

    def began(self) -> None:
        """A command came in."""
        ...

    def answered(self, platform: str, command: str, outcome: str, *, elapsed_s: float) -> None:
        """A command that had begun has its reply."""
        ...


class Door:
    """Hands requests to the service while it is open."""

    def __init__(self, handle: Handle, *, figures: CountsAsks) -> None:
        """Be open.

        Args:
            handle: the service's.
            figures: where it is counted.
        """
        self._handle = handle
        self._figures = figures
        self._inside: set[asyncio.Timeout] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    async def handle(self, request: Request) -> Reply:
        """Answer one command; there is always a Reply, also when the bot is about to end.

        What the caller logs from here on in its task carries the request's id, and so does all that is logged on the
        way to the reply: a look that several share, the id of the first.
        """
        bind_contextvars(request=request.id, platform=request.place.platform, place=request.place.key)
        began_s = time.perf_counter()
        command, outcome = command_name(request.command), "cancelled"
        self._figures.began()
        try:
            reply = await self._answer(request)
            outcome = _outcome(reply)
        finally:
            elapsed_s = time.perf_counter() - began_s
            self._figures.answered(request.place.platform, command, outcome, elapsed_s=elapsed_s)
        look = reply.answer.look if reply.answer is not None else ""
        log.info("%s: %s in %.0f ms%s", command, outcome, elapsed_s * 1e3, f", look {look}" if look else "")
        return reply

    async def close(self, *, within_s: float) -> None:
        """Let nobody in any more, and wait until nobody is inside.

        Args:
            within_s: who is not answered by then is told that the bot is being restarted.
        """
        self._closed = True
        ends_at = asyncio.get_running_loop().time() + within_s
        for limit in self._inside:
            limit.reschedule(ends_at)
        await self._empty.wait()

    async def _answer(self, request: Request) -> Reply:
        if self._closed:
            return _restarting(request)
        try:
            async with asyncio.timeout(None) as limit:
                self._inside.add(limit)
                self._empty.clear()
                try:
                    return await self._handle(request)
                finally:
                    self._inside.discard(limit)
                    if not self._inside:
                        self._empty.set()
        except TimeoutError:
            if not limit.expired():
                raise
            return _restarting(request)


def _restarting(request: Request) -> Reply:
    text = wording.restarting(language=request.asker.language)
    return Reply(text=text, private=True, outcome=Outcome.STOPPING)


def _outcome(reply: Reply) -> str:
    """How an ask ended, in one of a few words."""
    if reply.answer is not None:
        return reply.answer.status.value
    return reply.outcome.value
