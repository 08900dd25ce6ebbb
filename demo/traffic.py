"""What was asked of the pocket Twitch and what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demo.faults import Fault, Kind


@dataclass(kw_only=True, slots=True)
class Traffic:
    """Counted since the start or the last :meth:`reset`.

    Attributes:
        requests: all that came.
        bytes_sent: bodies only, as handed to the socket.
        faults: answers that were spoiled on purpose.
    """

    requests: Counter[Kind] = field(default_factory=Counter)
    bytes_sent: Counter[Kind] = field(default_factory=Counter)
    faults: Counter[tuple[Kind, Fault]] = field(default_factory=Counter)

    def reset(self) -> None:
        """Count from zero again."""
        self.requests.clear()
        self.bytes_sent.clear()
        self.faults.clear()
