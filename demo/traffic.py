"""What was asked of the pocket Twitch and what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a request is for."""

    GRAPHQL = "graphql"
    MASTER = "master"
    PLAYLIST = "playlist"
    INIT = "init"
    SEGMENT = "segment"


@dataclass(kw_only=True, slots=True)
class Traffic:
    """Counted since the start or the last :meth:`reset`; bodies only, as handed to the socket."""

    requests: Counter[Kind] = field(default_factory=Counter)
    bytes_sent: Counter[Kind] = field(default_factory=Counter)

    def reset(self) -> None:
        """Count from zero again."""
        self.requests.clear()
        self.bytes_sent.clear()
