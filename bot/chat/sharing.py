"""What a chat asks where several processes share it: what it is to hear here, and whether a command is its to answer.

What is shared has names that all processes know: ``twitch:<channel id>``, ``discord:<shard>/<shards>``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection


class Sharing(Protocol):
    """Processes that share the chats; ``Alone`` where there is but this one."""

    @property
    def is_shared(self) -> bool:
        """Whether there may be others."""
        ...

    @property
    def count(self) -> int:
        """Processes that are here, this one among them."""
        ...

    async def changed(self, since: int) -> int:
        """Wait until who is here, or what somebody serves, is another than it was; returns what to ask with next.

        Args:
            since: as it was returned the last time; 0 at first.
        """
        ...

    def mine(self, names: Collection[str], *, among: int | None = None) -> frozenset[str]:
        """What of all that is shared this process is to hear now.

        That is its part, which is as large as everybody's, and what it serves until whoever is to have it says that it
        does.

        Args:
            names: all that is shared of a kind.
            among: processes that may hear anything of it, at most; the oldest.
        """
        ...

    def serves(self, kind: str, names: Collection[str]) -> None:
        """Tell the others what is heard here now.

        Args:
            kind: what the names begin with, up to the colon.
            names: all of this kind.
        """
        ...

    def agreed(self, number: str, mine: int, *, insists: bool = False) -> int:
        """A number that all go by: the highest of those who are here.

        Args:
            number: its name.
            mine: what it is to be where nobody has one yet.
            insists: whether less than ``mine`` will not do.
        """
        ...

    async def take(self, event: str) -> bool:
        """Whether this process is to answer an event; to be asked once.

        Args:
            event: named as all processes would that hear it.
        """
        ...

    async def turn(self, name: str, *, gap_s: float) -> None:
        """Wait for the next turn among all processes, which lie so far apart."""
        ...


class Alone:
    """Nobody shares the chats with this process: it hears all of them, and asks nobody."""

    is_shared = False
    count = 1

    async def changed(self, since: int) -> int:
        """Nothing ever does."""
        await asyncio.Event().wait()
        return since

    def mine(self, names: Collection[str], *, among: int | None = None) -> frozenset[str]:  # noqa: ARG002
        """All."""
        return frozenset(names)

    def serves(self, kind: str, names: Collection[str]) -> None:
        """Nobody wants to know."""

    def agreed(self, number: str, mine: int, *, insists: bool = False) -> int:  # noqa: ARG002
        """Agreed."""
        return mine

    async def take(self, event: str) -> bool:  # noqa: ARG002
        """Who else."""
        return True

    async def turn(self, name: str, *, gap_s: float) -> None:
        """The caller's own turns are all that there are."""
