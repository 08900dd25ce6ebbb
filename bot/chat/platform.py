"""What every chat platform is to the rest of the bot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from bot.commands.request import Reply, Request

Handle: TypeAlias = Callable[[Request], Awaitable[Reply]]
"""The service's one door."""


class ChatPlatform(Protocol):
    """A place where people ask."""

    async def run(self, handle: Handle) -> None:
        """Take commands and answer them until the platform ends or the task is cancelled."""
        ...
