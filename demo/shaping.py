"""The line between the pocket Twitch and one viewer: a delay before each answer and a rate for its bytes.

The rate holds for a connection, not for a viewer: who opens several connections gets several times the rate, as
from a video edge that is far from its limits. Slow start, lost packets and handshakes are not imitated.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_CHUNK_BYTES = 16 * 1024
"""3 ms at 40 Mbit/s: short against any delay that is measured, long against a timer's error."""


class Line:
    """One connection's share of the bandwidth."""

    def __init__(self, *, rate_bytes_per_s: float | None) -> None:
        self._rate_bytes_per_s = rate_bytes_per_s
        self._free_at_s = 0.0

    async def send(self, data: bytes | memoryview, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Write all of the data at the line's rate, each chunk when its last byte would have arrived."""
        if self._rate_bytes_per_s is None:
            await write(bytes(data))
            return
        loop = asyncio.get_running_loop()
        self._free_at_s = max(self._free_at_s, loop.time())
        for start in range(0, len(data), _CHUNK_BYTES):
            chunk = bytes(data[start : start + _CHUNK_BYTES])
            self._free_at_s += len(chunk) / self._rate_bytes_per_s
            await asyncio.sleep(max(0.0, self._free_at_s - loop.time()))
            await write(chunk)


class Lines:
    """The lines of all connections."""

    def __init__(self, *, rate_bytes_per_s: float | None) -> None:
        self._rate_bytes_per_s = rate_bytes_per_s
        self._lines: WeakKeyDictionary[asyncio.BaseTransport, Line] = WeakKeyDictionary()

    def of(self, connection: asyncio.BaseTransport | None) -> Line:
        """The line of a connection; it stays the same while the connection is kept open."""
        if connection is None:
            return Line(rate_bytes_per_s=None)  # already closed: what is written goes nowhere
        line = self._lines.get(connection)
        if line is None:
            line = self._lines[connection] = Line(rate_bytes_per_s=self._rate_bytes_per_s)
        return line
