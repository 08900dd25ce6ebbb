"""Replicas that share a chat without a database: what is written down of them is in memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from bot.replicas.membership import Replicas
from core.errors import StorageError
from core.storage.records import Replica


@dataclass
class Memory:
    """What :class:`core.storage.leases.LeaseStore` keeps, and who is told; with a switch that takes it away."""

    rows: dict[str, tuple[Replica, float]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    turns: dict[str, float] = field(default_factory=dict)
    hearing: list[Callable[[], None]] = field(default_factory=list)
    dying: set[str] = field(default_factory=set)
    is_away: bool = False

    def _ask(self) -> None:
        if self.is_away:
            raise StorageError("The database is away.")

    async def renew(self, replica: Replica, *, silent_s: float) -> tuple[Replica, ...]:
        self._ask()
        if replica.id not in self.dying:
            self.rows[replica.id] = (replica, time.monotonic())
        return tuple(row for row, at_s in self.rows.values() if time.monotonic() - at_s <= silent_s)

    async def leave(self, replica_id: str) -> None:
        self._ask()
        if replica_id not in self.dying:
            self.rows.pop(replica_id, None)

    async def take(self, event: str) -> bool:
        self._ask()
        first = event not in self.taken
        self.taken.add(event)
        return first

    async def turn(self, name: str, *, gap_s: float) -> float:
        self._ask()
        now_s = time.monotonic()
        at_s = max(now_s, self.turns.get(name, 0.0))
        self.turns[name] = at_s + gap_s
        return at_s - now_s

    async def forget(self) -> None:
        self._ask()

    async def tell(self, channel: str) -> None:
        self._ask()
        for heard in self.hearing:
            heard()

    async def hear(self, channel: str, heard: Callable[[], None]) -> None:
        self.hearing.append(heard)
        try:
            await asyncio.Event().wait()
        finally:
            self.hearing.remove(heard)

    def age(self, seconds: float) -> None:
        """As if nobody had been heard of for so long."""
        self.rows = {name: (row, at_s - seconds) for name, (row, at_s) in self.rows.items()}

    def kill(self, replica_id: str) -> None:
        """As if it had not been heard of for long."""
        row, _ = self.rows[replica_id]
        self.rows[replica_id] = (row, 0.0)


@contextlib.asynccontextmanager
async def replica(memory: Memory, name: str, *, lease_s: float = 1.2) -> AsyncIterator[Replicas]:
    """One that is here while the block runs."""
    one = Replicas(memory, memory, holder=name, lease_s=lease_s)
    await one.beat()
    task = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
