"""One pick carried out: sampler -> what is new -> frame store -> capture, with the pick's outcome."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential

from core.collection.picks import Outcome
from core.collection.waiting import is_recognised, is_waiting_screen, new_pictures
from core.errors import (
    AdvertsOnly,
    ArtifactError,
    BadReference,
    ChannelNotFound,
    SchemaOutdated,
    StorageError,
    StorageFull,
    StreamBlack,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.frames import encode_jpeg, perceptual_hash
from core.storage.frame_store import keep_frame
from core.storage.records import (
    Broadcaster,
    BroadcastStream,
    CaptureKind,
    NewCapture,
    NewRecognition,
    RejectedFrames,
)
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.frames import Frame
    from core.recognition.verdict import Verdict
    from core.storage.captures import CaptureStore
    from core.storage.frame_store import FrameStore
    from core.storage.nights import NightStore
    from core.storage.records import Pick
    from core.streams.reference import StreamRef
    from core.streams.sampler import Sample

log = logging.getLogger(__name__)

T = TypeVar("T")

_OUTCOMES: dict[type[StreamProblem], Outcome] = {
    StreamOffline: Outcome.OFFLINE,
    ChannelNotFound: Outcome.NOT_FOUND,
    AdvertsOnly: Outcome.ADVERTS,
    StreamRestricted: Outcome.RESTRICTED,
    StreamBlack: Outcome.BLACK,
    StreamUnreachable: Outcome.UNREACHABLE,
    StreamTooSlow: Outcome.TOO_SLOW,
}

_REMEMBERED_HASHES = 1000
"""Of a broadcaster, the latest: some eighty nights. Comparing a window with them takes a few milliseconds."""

_STORE_TRIES = 4
"""A second, two, four in between: a database server that starts anew is back, a locked one is free."""


class SamplesStreams(Protocol):
    """What the collector needs of :class:`core.streams.sampler.StreamSampler`."""

    async def sample(self, ref: StreamRef) -> Sample:
        """Frames of the live stream; raises a StreamProblem where there is none to be had."""
        ...


class RecognizesFrames(Protocol):
    """What the collector needs of :class:`core.recognition.recognizer.Recognizer`."""

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        """What the frames of one stream show."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PickResult:
    """What came of trying a pick.

    Attributes:
        outcome: in one word.
        frames: kept.
        bytes_fetched: where something came.
        rejected: frames of the window that were not kept.
        detail: of a failure, for the log.
    """

    outcome: Outcome
    frames: int = 0
    bytes_fetched: int = 0
    rejected: RejectedFrames = field(default_factory=RejectedFrames)
    detail: str = ""


class PickTaker:
    """Carries out single picks. Any number at once, in any number of processes."""

    def __init__(
        self,
        *,
        sampler: SamplesStreams,
        frames: FrameStore,
        captures: CaptureStore,
        nights: NightStore,
        url_template: str,
        recognizer: RecognizesFrames | None = None,
        recognize_timeout_s: float = 10.0,
        store_tries: int = _STORE_TRIES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts; all stay the caller's to close.

        Args:
            sampler: takes frames of a stream.
            frames: files.
            captures: rows.
            nights: the picks' outcomes.
            url_template: of a channel's stream, with ``{channel}`` in it.
            recognizer: looks at streams that declare a game; None looks at none.
            recognize_timeout_s: how long the network may take.
            store_tries: of storing anything, before StorageError is believed.
            clock: the wall clock, UTC.
        """
        self._sampler = sampler
        self._frames = frames
        self._captures = captures
        self._nights = nights
        self._url_template = url_template
        self._recognizer = recognizer
        self._recognize_timeout_s = recognize_timeout_s
        self._storing = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(store_tries),
            wait=wait_exponential(),
            before_sleep=_log_another_try,
            reraise=True,
        )
        self._clock = clock

    async def carry_out(self, pick: Pick, *, is_last_try: bool = True) -> PickResult:
        """Sample a pick's stream, keep what is new of it, and write the pick's outcome down.

        Done twice, as when a process died or lost its lease, it keeps nothing twice.

        Args:
            pick: as kept.
            is_last_try: False leaves a pick pending whose failure may pass (``Outcome.may_pass``).

        Raises:
            StorageError: what came could not be stored; the pick stays pending.
        """
        try:
            taken = await self._take(pick)
        except StreamProblem as problem:
            log.info("%s: %s", type(problem).__name__, problem)
            taken = PickResult(outcome=_OUTCOMES.get(type(problem), Outcome.UNREACHABLE), detail=str(problem))
        except BadReference as error:
            log.warning("the directory lists a channel of an impossible name: %s", error)
            taken = PickResult(outcome=Outcome.FAILED, detail=str(error))
        except StorageError:
            raise
        except Exception as error:
            log.exception("sampling %s failed", pick.planned.stream.login)
            taken = PickResult(outcome=Outcome.FAILED, detail=type(error).__name__)
        is_settled = taken.outcome in (Outcome.CAPTURED, Outcome.NOTHING_NEW)
        if not is_settled and (is_last_try or not taken.outcome.may_pass):
            await self._stubbornly(lambda: self._nights.pick_done(pick.id, taken.outcome))
        return taken

    async def _take(self, pick: Pick) -> PickResult:
        planned = pick.planned
        who = planned.stream
        broadcaster = Broadcaster(login=who.login, platform_id=who.broadcaster_id, display_name=who.display_name)
        # The night may have been planned hours ago.
        opted_out = await self._stubbornly(self._captures.opted_out)
        if opted_out.covers(login=who.login, platform_id=who.broadcaster_id):
            return PickResult(outcome=Outcome.OPTED_OUT)
        sample = await self._sampler.sample(parse_reference(who.login, url_template=self._url_template))
        at = self._clock()
        hashes = await asyncio.to_thread(_hashes, sample.frames)
        known = await self._stubbornly(lambda: self._captures.recent_hashes(broadcaster, limit=_REMEMBERED_HASHES))
        new = new_pictures(hashes, known)
        rejected = RejectedFrames(
            adverts=sample.rejected.adverts,
            black=sample.rejected.black,
            duplicates=sample.rejected.duplicates + len(sample.frames) - len(new),
            failed=sample.rejected.failed,
        )
        verdict: Verdict | None = None
        if planned.is_game and new:
            # Of the negative class a still screen is a fine example, and nothing in it is recognised as a game.
            verdict = await self._recognized(who.login, [sample.frames[place] for place in new])
            if await asyncio.to_thread(
                is_waiting_screen,
                [frame.picture for frame in sample.frames],
                duplicates=sample.rejected.duplicates,
                recognised=is_recognised(verdict, planned.category),
            ):
                shown = len(sample.frames) + sample.rejected.duplicates
                return PickResult(
                    outcome=Outcome.WAITING,
                    bytes_fetched=sample.bytes_fetched,
                    rejected=replace(rejected, duplicates=0, waiting=shown),
                )
        files = await asyncio.to_thread(_files, [sample.frames[place] for place in new])
        capture = NewCapture(
            kind=CaptureKind.NIGHTLY,
            # The pick's own: whoever takes it again, here or in another process, adds nothing.
            key=f"pick-{pick.run_id}-{pick.id}-{who.id}",
            broadcaster=broadcaster,
            stream=BroadcastStream(
                platform_id=who.id, started_at=who.started_at, title=who.title, language=who.language
            ),
            declared=planned.category,
            is_game=planned.is_game,
            at=at,
            rendition=sample.rendition.name,
            window_s=sample.window_s,
            rejected=rejected,
            bytes_fetched=sample.bytes_fetched,
            frames=(),
            recognition=None if verdict is None else NewRecognition(at=at, verdict=verdict),
            job_run_id=pick.run_id,
            pick_id=pick.id,
        )
        places = [(hashes[place], sample.frames[place].at_s) for place in new]
        del sample  # its pictures are files now
        added = await self._stubbornly(lambda: self._store(capture, files, places))
        outcome = Outcome.CAPTURED if files else Outcome.NOTHING_NEW
        return PickResult(
            outcome=Outcome.OPTED_OUT if added is None else outcome,
            frames=0 if added is None else len(files),
            bytes_fetched=capture.bytes_fetched,
            rejected=rejected,
        )

    async def _recognized(self, login: str, frames: Sequence[Frame]) -> Verdict | None:
        """What the network says; frames are worth keeping without it."""
        if self._recognizer is None:
            return None
        try:
            async with asyncio.timeout(self._recognize_timeout_s):
                return await self._recognizer.recognize(frames)
        except (ArtifactError, TimeoutError) as error:
            log.warning("%s was not recognised: %s: %s", login, type(error).__name__, error)
            return None

    async def _store(
        self, capture: NewCapture, files: Sequence[bytes], places: Sequence[tuple[int, float]]
    ) -> int | None:
        kept = [
            await keep_frame(self._frames, data, perceptual_hash=hashed, at_s=at_s)
            for data, (hashed, at_s) in zip(files, places, strict=True)
        ]
        return await self._captures.add(replace(capture, frames=tuple(kept)))

    async def _stubbornly(self, store: Callable[[], Awaitable[T]]) -> T:
        """Ask the stores, and ask again where that may help."""
        async for attempt in self._storing.copy():
            with attempt:
                return await store()
        raise AssertionError("the last attempt raises")  # pragma: no cover


def _log_another_try(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    log.warning("storing is tried again in %.0f s: %s", state.upcoming_sleep, error)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StorageError) and not isinstance(error, StorageFull | SchemaOutdated)


def _hashes(frames: Sequence[Frame]) -> list[int]:
    return [perceptual_hash(frame.picture) for frame in frames]


def _files(frames: Sequence[Frame]) -> list[bytes]:
    return [encode_jpeg(frame.picture) for frame in frames]
