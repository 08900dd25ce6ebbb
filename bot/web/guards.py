"""Who may ask over HTTP, how often, and how much may be sent how slowly."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pyrate_limiter import InMemoryBucket, MonotonicClock, Rate, RateItem

from bot.web import refusals

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = "bearer "

UNREADABLE = (web.RequestPayloadError, HttpProcessingError)
"""What aiohttp raises of a body that is not what its head says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Whose token it was.

    Attributes:
        id: tells callers apart; the beginning of the token's hash, of which it says nothing.
    """

    id: str


class Tokens:
    """The tokens that open the door; each may ask so often."""

    def __init__(self, tokens: Iterable[str], *, asks: int, asks_s: float) -> None:
        """Know these tokens.

        Args:
            tokens: as the operator set them; without one the door stays closed.
            asks: of one token in ``asks_s`` seconds.
            asks_s: see there.
        """
        self._clock = MonotonicClock()
        # Hashes are of one length, so that comparing says nothing of a token's.
        self._known = tuple(_hashed(token) for token in tokens)
        self.change(asks=asks, asks_s=asks_s)

    def change(self, *, asks: int, asks_s: float) -> None:
        """Let each token ask so often from now on; what was asked is forgotten."""
        self._asks_ms = round(asks_s * 1000)
        self._buckets = {known: InMemoryBucket([Rate(asks, self._asks_ms)]) for known in self._known}

    def admit(self, request: web.Request) -> Caller:
        """Who asks; counted as one ask.

        Raises:
            Refusal: there is no token, it is none of ours, or it asked too often.
        """
        if not self._known:
            raise refusals.not_open()
        found = self._found(request.headers.get("Authorization", ""))
        if found is None:
            raise refusals.not_authorised()
        bucket = self._buckets[found]
        now_ms = self._clock.now()
        # The bucket keeps all it was ever given until it is told to forget.
        bucket.leak(now_ms)
        if not bucket.put(RateItem("ask", now_ms)):
            oldest = bucket.peek(bucket.count() - 1)
            gone_in_ms = oldest.timestamp + self._asks_ms - now_ms if oldest is not None else 0
            raise refusals.too_often(gone_in_ms / 1000)
        return Caller(id=found.hex()[:12])

    def _found(self, given: str) -> bytes | None:
        token = given[len(_SCHEME) :].strip() if given[: len(_SCHEME)].lower() == _SCHEME else ""
        hashed = _hashed(token)
        found = None
        for known in self._known:
            # All of them, whichever fits, so that the time tells nothing.
            if hmac.compare_digest(known, hashed):
                found = known
        return found if token else None


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Hands:
    """So many requests are worked on in one moment; others wait for a while."""

    def __init__(self, at_once: int, *, wait_s: float) -> None:
        """Let ``at_once`` in; the others wait ``wait_s`` seconds at most."""
        self._free = asyncio.Semaphore(at_once)
        self._wait_s = wait_s

    async def __aenter__(self) -> None:
        """Wait for a turn.

        Raises:
            Refusal: it did not come.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise refusals.busy(self._wait_s) from None

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


async def read_body(request: web.Request, *, most_bytes: int, timeout_s: float) -> bytes:
    """All of a small body.

    Raises:
        Refusal: it is larger, or did not come in time.
    """
    check_size(request, most_bytes=most_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most_bytes:
                    raise refusals.too_large(f"At most {most_bytes:,} bytes are taken.")
    except TimeoutError:
        raise refusals.too_slow() from None
    except UNREADABLE:
        raise refusals.bad_request("The body cannot be read.") from None
    return bytes(body)


async def read_rest(request: web.Request, *, most_bytes: int, timeout_s: float) -> None:
    """Read what is left of a body that nobody wants, within limits."""
    read = 0
    with contextlib.suppress(TimeoutError, ConnectionError, *UNREADABLE):
        async with asyncio.timeout(timeout_s):
            while read < most_bytes and (chunk := await request.content.readany()):
                read += len(chunk)


def check_size(request: web.Request, *, most_bytes: int) -> None:
    """Refuse a body that says itself that it is larger, before any of it is read.

    Raises:
        Refusal: it is.
    """
    if request.content_length is not None and request.content_length > most_bytes:
        raise refusals.too_large(f"At most {most_bytes:,} bytes are taken.")
