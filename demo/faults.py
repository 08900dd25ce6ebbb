"""What can be asked of the pocket Twitch, and how it misbehaves when it is told to."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(StrEnum):
    """What a request is for."""

    TOKEN = "token"  # noqa: S105 - what is counted, nobody's token
    HELIX = "helix"
    GRAPHQL = "graphql"
    MASTER = "master"
    PLAYLIST = "playlist"
    INIT = "init"
    SEGMENT = "segment"


class Fault(StrEnum):
    """What happens in place of a good answer."""

    RESET = "reset"
    """The connection is closed without a word."""
    INTERNAL_ERROR = "internal_error"
    """500."""
    SERVER_ERROR = "server_error"
    """503."""
    NOT_FOUND = "not_found"
    """404."""
    UNAUTHORISED = "unauthorised"
    """401, whatever token came."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """429; a Ratelimit-Reset a moment ahead says when to come again."""
    SLOW = "slow"
    """The good answer, some seconds late."""
    STALL = "stall"
    """The request is taken and never answered."""
    TRUNCATED = "truncated"
    """The head promises the whole body and half of it comes, then the connection closes."""
    CUT_SHORT = "cut_short"
    """The first half of the body, as if it were all: JSON that does not end, a playlist that lists less."""
    OTHER_SHAPE = "other_shape"
    """JSON that is not what was asked for."""
    EMPTY = "empty"
    """200 and no body."""
    GARBAGE = "garbage"
    """As many bytes as there should be, of noise."""
    ENDLESS = "endless"
    """The good body, and after it more and more, for ever."""
    HUGE = "huge"
    """The good body, and after it 10 MB of comment lines."""


Shares: TypeAlias = "Mapping[Fault, float]"
"""Several faults of one kind of request, each with its share of these requests."""

_OTHER_SHAPES = (b"null", b"[]", b"{}", b'"later"', b'{"data":null}', b'{"data":{}}', b'{"data":[null,7,"x",{}]}')

_ANYWHERE = (
    Fault.RESET,
    Fault.INTERNAL_ERROR,
    Fault.SERVER_ERROR,
    Fault.SLOW,
    Fault.TRUNCATED,
    Fault.EMPTY,
)
_PASSING: Mapping[Kind, tuple[Fault, ...]] = {
    Kind.TOKEN: (*_ANYWHERE, Fault.TOO_MANY_REQUESTS, Fault.CUT_SHORT, Fault.OTHER_SHAPE),
    Kind.HELIX: (
        *_ANYWHERE,
        Fault.TOO_MANY_REQUESTS,
        Fault.CUT_SHORT,
        Fault.OTHER_SHAPE,
        Fault.GARBAGE,
        Fault.UNAUTHORISED,
    ),
    Kind.GRAPHQL: (*_ANYWHERE, Fault.CUT_SHORT, Fault.OTHER_SHAPE),
    Kind.MASTER: (*_ANYWHERE, Fault.GARBAGE),
    Kind.PLAYLIST: (*_ANYWHERE, Fault.GARBAGE, Fault.CUT_SHORT),
    Kind.INIT: (*_ANYWHERE, Fault.GARBAGE),
    Kind.SEGMENT: (*_ANYWHERE, Fault.GARBAGE, Fault.NOT_FOUND),
}
"""What each server can be seen to do on a bad day. No answer here says for good that a channel is not there: a 404
for a playlist would, and to believe it would be right."""


class Faults:
    """Which requests go wrong, and how: the same ones in every run with the same seed.

    Attributes:
        plan: the fault, or the faults with their shares, of each kind of request.
        share: of the requests of a kind with a single fault that go wrong, 0 to 1.
        slow_s: how late a slow answer is.
    """

    def __init__(
        self,
        plan: Mapping[Kind, Fault | Shares] | None = None,
        *,
        share: float = 1.0,
        seed: int = 1,
        slow_s: float = 2.0,
    ) -> None:
        """Plan faults.

        Args:
            plan: for each kind of request a fault, or several with the share of each.
            share: of the requests with a single planned fault that go wrong, 0 to 1.
            seed: of the draw.
            slow_s: how late a slow answer is.
        """
        self.plan: dict[Kind, Fault | Shares] = dict(plan or {})
        self.share = share
        self.slow_s = slow_s
        self._random = random.Random(seed)  # noqa: S311 - picks which requests fail, guards nothing

    @classmethod
    def of_everything(cls, *, share: float, seed: int = 1, slow_s: float = 2.0) -> Self:
        """A bad day: this share of all answers is spoiled, in all the ways that pass when one asks again.

        Args:
            share: of the requests of every kind, 0 to 1.
            seed: of the draw.
            slow_s: how late a slow answer is.
        """
        plan = {kind: dict.fromkeys(faults, share / len(faults)) for kind, faults in _PASSING.items()}
        return cls(plan, seed=seed, slow_s=slow_s)

    def draw(self, kind: Kind) -> Fault | None:
        """The fault of the next request of this kind, if it has one."""
        planned = self.plan.get(kind)
        if planned is None:
            return None
        shares = {planned: self.share} if isinstance(planned, Fault) else planned
        drawn = self._random.random()
        for fault, share in shares.items():
            if drawn < share:
                return fault
            drawn -= share
        return None

    def noise(self, size_bytes: int) -> bytes:
        """Bytes that are no media."""
        return self._random.randbytes(size_bytes)

    def other_shape(self) -> bytes:
        """JSON that nobody asked for."""
        return self._random.choice(_OTHER_SHAPES)
