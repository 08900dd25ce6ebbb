"""What chats ask about is kept: frames, verdict, channel, stored behind the answer, by one task."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars, get_contextvars

from core.errors import StorageError
from core.frames import encode_jpeg, perceptual_hash
from core.storage.frame_store import keep_frame
from core.storage.records import (
    Broadcaster,
    CaptureKind,
    NewCapture,
    NewRecognition,
    OptOuts,
    RejectedFrames,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.collection.directory import Category
    from core.frames import Frame
    from core.recognition.verdict import Verdict
    from core.storage.captures import CaptureStore
    from core.storage.frame_store import FrameStore
    from core.storage.upkeep import Upkeep
    from core.streams.sampler import Sample

log = logging.getLogger(__name__)

_WAITING_LOOKS = 32
"""Each holds 13 pictures of 170 kB; what comes while so many wait is not kept."""

_REFRESH_S = 60.0
"""After which an opting out in another replica is known here."""

_FIRST_ANSWER_S = 3.0
"""That an asker waits for the database to say who opted out, once, after the start."""

_SETTLING_S = 5.0
"""That somebody who flags a look waits for its being stored."""

_LAST_WRITES_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    key: str
    sample: Sample
    verdict: Verdict
    declared: Category | None
    at: datetime
    request: str
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Recorder:
    """Stores looks, and knows which channels are not to be looked at. :meth:`run` must be running.

    The chat goes on answering when the database does not: what cannot be stored is logged and lost, and who had opted
    out when it last answered stays out.
    """

    def __init__(
        self,
        captures: CaptureStore,
        frames: FrameStore,
        upkeep: Upkeep,
        *,
        keeps_looks: bool,
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        """Open nothing yet.

        Args:
            captures: rows.
            frames: files.
            upkeep: removes a broadcaster's.
            keeps_looks: False keeps only who opted out.
            prepare: makes the database and the frame store ready; raises StorageError when they are not to be had.
        """
        self._captures = captures
        self._frames = frames
        self._upkeep = upkeep
        self._keeps_looks = keeps_looks
        self._prepare = prepare
        self._looks: asyncio.Queue[_Look] = asyncio.Queue(_WAITING_LOOKS)
        self._in_hand: _Look | None = None
        self._unsettled: dict[str, asyncio.Event] = {}
        self._prepared = asyncio.Event()
        self._opt_outs_known = asyncio.Event()
        self._opt_outs = OptOuts()
        self._left_alone_here: set[str] = set()

    def keep(self, key: str, sample: Sample, verdict: Verdict, *, declared: Category | None) -> None:
        """Store a look soon; returns at once."""
        if not self._keeps_looks:
            return
        request = get_contextvars().get("request", "")
        look = _Look(key=key, sample=sample, verdict=verdict, declared=declared, at=datetime.now(UTC), request=request)
        try:
            self._looks.put_nowait(look)
        except asyncio.QueueFull:
            log.warning("what was seen of %s is not kept: the database is behind", sample.channel)
        else:
            self._unsettled[key] = look.settled

    @property
    def waiting(self) -> int:
        """Looks that are not stored yet."""
        return self._looks.qsize()

    async def settled(self, key: str) -> None:
        """Wait until a look is stored or cannot be; returns at once for one that is not under way here."""
        waiting = self._unsettled.get(key)
        if waiting is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLING_S):
                    await waiting.wait()

    async def all_settled(self) -> None:
        """Wait until all looks so far are stored or cannot be."""
        for key in tuple(self._unsettled):
            await self.settled(key)

    async def is_left_alone(self, channel: str) -> bool:
        """Whether the broadcaster opted out, as the database said a minute ago at most."""
        if not self._opt_outs_known.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_FIRST_ANSWER_S):
                    await self._opt_outs_known.wait()
        return channel in self._left_alone_here or self._opt_outs.covers(login=channel, platform_id=None)

    async def leave_alone(self, channel: str, *, by: str) -> int:
        """Write the opting out down and remove what is kept of the channel; returns how many frames that was.

        Raises:
            StorageError: it could not be written down.
        """
        await self._ready()
        forgotten = await self._upkeep.forget(Broadcaster(login=channel), by=by, at=datetime.now(UTC))
        self._left_alone_here.add(channel)
        return forgotten.frames

    async def run(self) -> None:
        """Store until cancelled, and then what is still waiting, within some seconds."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_opt_outs(), name="opt-outs")
                while True:
                    self._in_hand = await self._looks.get()
                    await self._store_or_log(self._in_hand)
                    self._in_hand = None
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITES_S):
                    if self._in_hand is not None:
                        # Cancelled at any point of storing it; its key keeps it from being stored twice.
                        await self._store_or_log(self._in_hand)
                    while not self._looks.empty():
                        await self._store_or_log(self._looks.get_nowait())

    async def _watch_opt_outs(self) -> None:
        while True:
            try:
                await self._ready()
                self._opt_outs = await self._captures.opted_out()
                self._opt_outs_known.set()
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - its message is all that a keeper needs
            await asyncio.sleep(_REFRESH_S)

    async def _store_or_log(self, look: _Look) -> None:
        try:
            # Logged under the id of the request that looked, though it is this task that stores.
            with bound_contextvars(request=look.request):
                await self._ready()
                await self._store(look)
        except StorageError as error:
            log.error("what was seen of %s is not kept: %s", look.sample.channel, error)  # noqa: TRY400
        except Exception:
            log.exception("what was seen of %s is not kept", look.sample.channel)
        finally:
            look.settled.set()
            self._unsettled.pop(look.key, None)

    async def _store(self, look: _Look) -> None:
        sample = look.sample
        files = await asyncio.to_thread(_files, sample.frames)
        kept = [
            await keep_frame(self._frames, data, perceptual_hash=hashed, at_s=frame.at_s)
            for frame, data, hashed in files
        ]
        rejected = sample.rejected
        await self._captures.add(
            NewCapture(
                kind=CaptureKind.ASKED,
                key=look.key,
                broadcaster=Broadcaster(login=sample.channel),
                declared=look.declared,
                at=look.at,
                rendition=sample.rendition.name,
                window_s=sample.window_s,
                rejected=RejectedFrames(
                    adverts=rejected.adverts,
                    black=rejected.black,
                    duplicates=rejected.duplicates,
                    failed=rejected.failed,
                ),
                bytes_fetched=sample.bytes_fetched,
                frames=tuple(kept),
                recognition=NewRecognition(at=look.at, verdict=look.verdict),
            )
        )

    async def _ready(self) -> None:
        """Make storage ready, at the first use that succeeds."""
        if not self._prepared.is_set():
            await self._prepare()
            self._prepared.set()


def _files(frames: tuple[Frame, ...]) -> list[tuple[Frame, bytes, int]]:
    return [(frame, encode_jpeg(frame.picture), perceptual_hash(frame.picture)) for frame in frames]
