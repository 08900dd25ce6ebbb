"""What every chat platform is to the rest of the bot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from bot.commands.request import Place, Reply, Request

Handle: TypeAlias = Callable[[Request], Awaitable[Reply]]
"""The service's one door."""


class ChatPlatform(Protocol):
    """A place where people ask."""

    @property
    def name(self) -> str:
        """As in :attr:`bot.commands.request.Place.platform`."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether people can ask and be answered just now."""
        ...

    async def drained(self) -> None:
        """Wait until what was taken so far is answered, and the answers are where they belong or cannot get there."""
        ...

    async def run(self, handle: Handle) -> None:
        """Take commands and answer them until the platform ends or the task is cancelled."""
        ...

    async def announce(self, place: Place, reply: Reply) -> bool:
        """Say something that nobody asked for just now, as of a watched channel.

        Args:
            place: where, as it stood in a request.
            reply: with the evidence, and what can be answered to it, where there is an answer in it.

        Returns:
            Whether it was said; False when the place is gone, or the platform not connected.
        """
        ...
