"""How the pocket Twitch misbehaves when it is told to."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from demo.traffic import Kind


class Fault(StrEnum):
    """What happens in place of a good answer."""

    RESET = "reset"
    """The connection is closed without a word."""
    SERVER_ERROR = "server_error"
    """503."""
    NOT_FOUND = "not_found"
    """404."""
    STALL = "stall"
    """The request is taken and never answered."""
    TRUNCATED = "truncated"
    """The head promises the whole body and half of it comes, then the connection closes."""
    GARBAGE = "garbage"
    """As many bytes as there should be, of noise."""
    ENDLESS = "endless"
    """The good body, and after it more and more, for ever."""
    HUGE = "huge"
    """The good body, and after it 10 MB of comment lines."""


class Faults:
    """Which requests go wrong, and how: the same ones in every run with the same seed."""

    def __init__(self, plan: Mapping[Kind, Fault] | None = None, *, share: float = 1.0, seed: int = 1) -> None:
        """Plan faults.

        Args:
            plan: the fault for each kind of request.
            share: of the planned kinds' requests that go wrong, 0 to 1.
            seed: of the draw.
        """
        self.plan: dict[Kind, Fault] = dict(plan or {})
        self.share = share
        self._random = random.Random(seed)  # noqa: S311 - picks which requests fail, guards nothing

    def draw(self, kind: Kind) -> Fault | None:
        """The fault of the next request of this kind, if it has one."""
        fault = self.plan.get(kind)
        return fault if fault is not None and self._random.random() < self.share else None

    def noise(self, size_bytes: int) -> bytes:
        """Bytes that are no media."""
        return self._random.randbytes(size_bytes)
