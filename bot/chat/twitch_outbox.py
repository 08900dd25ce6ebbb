"""What goes out to Twitch's chat: no faster than Twitch allows, no line twice, and nothing that is too late.

Windows are those of pyrate-limiter's bucket in memory, which keeps the moment of every message (a sliding window log),
so that there is no stretch of 30 s with one message too many. Its :class:`Limiter` is not used: it starts a thread.
A moment is set again when Twitch has answered, since a message counts there when it arrives, and not when it set out.

The same line is not said twice within 30 s in one channel, because Twitch drops it: the second time it ends with
``(2)``, the third time with ``(3)``. To leave it out would leave someone without an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from cachetools import TTLCache
from pyrate_limiter import InMemoryBucket, MonotonicClock, Rate, RateItem
from structlog.contextvars import bound_contextvars, get_contextvars

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG = logging.getLogger(__name__)

LONGEST_LINE = 450
_SUFFIX = 6
_DUPLICATE = "msg_duplicate"
_TOO_FAST = "msg_ratelimit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast messages may go out.

    Twitch's documented limits, but for the account's: Helix gives an application 800 points a minute, one for each
    message, and the directory and subscriptions want some of them, too.

    Attributes:
        gap_s: between two messages to a channel where the bot is a viewer.
        window_s: in which as many as ``as_viewer`` or ``as_moderator`` may go to one channel.
        account_window_s: in which as many as ``account`` may go out in all.
        waiting: for one channel, at most; beyond them the oldest is dropped.
        longest_wait_s: after which a message is dropped: nobody knows any more what it answers.
        same_text_s: in which a channel is not told the same twice.
        again_s: between two attempts at the same message, at first and at most.
    """

    gap_s: float = 1.0
    window_s: float = 30.0
    as_viewer: int = 20
    as_moderator: int = 100
    account_window_s: float = 60.0
    account: int = 750
    waiting: int = 200
    longest_wait_s: float = 60.0
    same_text_s: float = 30.0
    again_s: tuple[float, float] = (0.5, 5.0)


class NotSaid(Exception):
    """A message did not get through this time.

    Attributes:
        again: whether another attempt may help.
        doubtful: whether it may have been said all the same.
    """

    def __init__(self, reason: str, *, again: bool, doubtful: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        self.doubtful = doubtful


Send: TypeAlias = Callable[[str, str | None], Awaitable[str | None]]
"""Says a text, in reply to a message; returns the code of why Twitch dropped it, if it did; raises NotSaid."""


@dataclass(slots=True)
class Tally:
    """What became of messages.

    Attributes:
        said: how many.
        dropped: those that Twitch dropped, by its codes.
        late: those that waited too long, or for whom there was no room.
        failed: those that did not get through.
    """

    said: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    late: int = 0
    failed: int = 0


@dataclass(kw_only=True, slots=True, eq=False)
class _Line:
    text: str
    parent: str | None
    until_s: float
    said: asyncio.Future[bool]
    request: str

    def tell(self, *, said: bool) -> None:
        """Tell whoever waits for it, if somebody still does."""
        if not self.said.done():
            self.said.set_result(said)


class Window:
    """Counts messages over the last seconds."""

    def __init__(self, rates: Mapping[float, int]) -> None:
        """Allow so many messages in so many seconds each."""
        self._bucket = InMemoryBucket(_rates(rates))
        self._clock = MonotonicClock()

    def change(self, rates: Mapping[float, int]) -> None:
        """Allow more or less from now on; what was counted counts on."""
        self._bucket.rates = _rates(rates)

    def take(self) -> RateItem | float:
        """Count a message, or say for how many seconds there is no room for one."""
        now_ms = self._clock.now()
        self._bucket.leak(now_ms)
        item = RateItem("message", now_ms)
        if self._bucket.put(item):
            return item
        wait_ms = self._bucket.waiting(item)
        # Its signature is that of all buckets, which may be somewhere else.
        return max(wait_ms, 1) / 1000 if isinstance(wait_ms, int) else 1.0

    def arrived(self, item: RateItem) -> None:
        """Count a message from now, when it is known to be there; only where one goes out after the other."""
        item.timestamp = self._clock.now()


def _rates(rates: Mapping[float, int]) -> list[Rate]:
    return [Rate(limit, round(seconds * 1000)) for seconds, limit in rates.items()]


def account_window(pace: Pace) -> Window:
    """One for all channels of an account."""
    return Window({pace.account_window_s: pace.account})


class Outbox:
    """What waits to be said in one channel."""

    def __init__(self, channel: str, send: Send, *, pace: Pace, account: Window, tally: Tally) -> None:
        """Hold nothing; :meth:`work` says what comes in.

        Args:
            channel: for the log.
            send: says one message.
            pace: how fast.
            account: counts the messages of all channels.
            tally: where it is written down what became of them.
        """
        self._channel = channel
        self._send = send
        self._pace = pace
        self._account = account
        self._tally = tally
        self._moderates = False
        self._window = Window(self._rates())
        self._waiting: deque[_Line] = deque()
        self._came = asyncio.Event()
        self._said_lately: TTLCache[str, None] = TTLCache(maxsize=1000, ttl=pace.same_text_s * 1.05)

    def _rates(self) -> dict[float, int]:
        pace = self._pace
        if self._moderates:
            return {pace.window_s: pace.as_moderator}
        return {pace.gap_s: 1, pace.window_s: pace.as_viewer}

    def moderates(self, moderates: bool) -> None:  # noqa: FBT001 - one value
        """Go as fast as a moderator may, or not any more."""
        if moderates != self._moderates:
            self._moderates = moderates
            self._window.change(self._rates())

    def put(self, text: str, parent: str | None = None) -> asyncio.Future[bool]:
        """Let a text be said; the answer tells later whether it was.

        Args:
            text: one line.
            parent: the message that it replies to.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._pace.longest_wait_s
        request = get_contextvars().get("request", "")
        line = _Line(text=text, parent=parent, until_s=until_s, said=loop.create_future(), request=request)
        if len(self._waiting) >= self._pace.waiting:
            self._drop_late(self._waiting.popleft(), "there are too many")
        self._waiting.append(line)
        self._came.set()
        return line.said

    async def work(self) -> None:
        """Say one after the other, until cancelled."""
        try:
            while True:
                while not self._waiting:
                    self._came.clear()
                    await self._came.wait()
                line = self._waiting.popleft()
                try:
                    # Logged under the id of what it answers, though it is this task that says it.
                    with bound_contextvars(request=line.request):
                        said = await self._say(line)
                    self._tally.said += said
                except Exception:  # noqa: BLE001 - one message's mistake is not the next one's
                    self._tally.failed += 1
                    _LOG.exception("%s was not told something.", self._channel)
                finally:
                    line.tell(said=False)
        finally:
            for line in self._waiting:
                line.tell(said=False)

    async def _say(self, line: _Line) -> bool:
        text = self._varied(line.text)
        doubtful, attempts = False, 0
        while True:
            item = await self._room(line)
            if item is None:
                self._drop_late(line, "it waited too long")
                return False
            self._said_lately[text] = None
            attempts += 1
            problem: NotSaid | None = None
            code: str | None = None
            try:
                code = await self._send(text, line.parent)
            except NotSaid as not_said:
                problem = not_said
            finally:
                self._window.arrived(item)
            if problem is not None:
                doubtful = doubtful or problem.doubtful
                if not problem.again:
                    self._tally.failed += 1
                    _LOG.warning("%s was not told something: %s", self._channel, problem)
                    return False
            elif code is None or (code == _DUPLICATE and doubtful):
                # What is a duplicate was said by the attempt that seemed to fail. Moderators may repeat themselves, so
                # that where the bot is one such an answer is said twice.
                line.tell(said=True)
                return True
            elif code == _DUPLICATE and attempts == 1:
                text = self._varied(line.text)
                continue
            elif code != _TOO_FAST:
                self._tally.dropped[code] += 1
                _LOG.warning("Twitch dropped a message to %s (%s).", self._channel, code)
                return False
            else:
                self._tally.dropped[code] += 1
            await self._pause(attempts, line, problem or code)

    async def _pause(self, attempts: int, line: _Line, reason: object) -> None:
        first_s, longest_s = self._pace.again_s
        loop = asyncio.get_running_loop()
        wait_s = min(longest_s, first_s * 2 ** (attempts - 1), max(line.until_s - loop.time(), 0.0))
        _LOG.info("A message to %s: %s Trying again in %.1f s.", self._channel, reason, wait_s)
        await asyncio.sleep(wait_s)

    async def _room(self, line: _Line) -> RateItem | None:
        """Wait until the message may go out; None when that would be too late."""
        loop = asyncio.get_running_loop()
        item: RateItem | None = None
        while True:
            left_s = line.until_s - loop.time()
            if left_s <= 0:
                return None
            found = self._window.take() if item is None else self._account.take()
            if isinstance(found, RateItem):
                if item is not None:
                    return item
                item = found
                continue
            if found > left_s:
                return None
            await asyncio.sleep(found)

    def _varied(self, text: str) -> str:
        text = text[: LONGEST_LINE - _SUFFIX]
        if text not in self._said_lately:
            return text
        times = 2
        while (varied := f"{text} ({times})") in self._said_lately:
            times += 1
        return varied

    def _drop_late(self, line: _Line, reason: str) -> None:
        self._tally.late += 1
        line.tell(said=False)
        _LOG.warning("A message to %s is dropped: %s.", self._channel, reason)
