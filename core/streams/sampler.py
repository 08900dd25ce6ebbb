"""StreamRef -> Sample: resolve, playlist, first keyframes all at once, decode; each step under a time limit.

Whatever came in before a deadline is used. Nothing is written to disk, and of a segment no more is read than its first
keyframe needs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import cv2
import numpy as np

from core.errors import (
    AdvertsOnly,
    StreamBlack,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.frames import Frame, RgbPicture, is_black, is_duplicate, to_stored
from core.streams.keyframes import Keyframe, KeyframeCutter, KeyframeError, decode_keyframe
from core.streams.playlist import (
    MAX_PLAYLIST_BYTES,
    ByteRange,
    InitSegment,
    LiveWindow,
    PlaylistError,
    Rendition,
    Segment,
    choose_rendition,
    parse_media_playlist,
    pick_segments,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from core.streams.reference import StreamRef
    from core.streams.resolve import ResolvedStream, StreamResolver

log = logging.getLogger(__name__)

_CLOSED_STATUSES = frozenset({401, 403, 451})
_GONE_STATUSES = frozenset({404, 410})
_MAX_INIT_BYTES = 256 << 10
_INIT_RANGE_BYTES = 16 << 10
_FIRST_RANGE_S = 0.5
"""Of a rendition's declared rate, asked of each segment at first: what the keyframe of two seconds of busy pictures
takes. Less fetches less for nothing and pays with another round trip for many segments; a quarter second needed up to
four, and twice the time."""

_FIRST_RANGE_MIN_BYTES = 16 << 10
_FIRST_RANGE_MAX_BYTES = 64 << 10
"""Whatever the declared rate, which is a peak: few keyframes of 360 lines are larger."""

_FIRST_RANGE_UNKNOWN_BYTES = 48 << 10

_READ_BUFFER_BYTES = 16 << 10
"""aiohttp reads up to twice this ahead of us: bytes that are fetched for nothing when the server ignores Range."""

_THUMBNAIL_PX = (160, 90)
"""Width and height of what is kept of a rejected picture: a quarter of the memory of a stored one."""

_DRAIN_S = 0.25
"""To read the rest of an asked-for range after its keyframe is complete, so that the connection can serve again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingLimits:
    """How long and how much.

    Attributes:
        frames: segments that are tried, spread over the live window.
        resolve_s: from the reference to the renditions.
        playlist_s: for the media playlist.
        segments_s: for all keyframes together.
        straggler_s: for the rest, once half of the keyframes are there.
        total_s: for everything; no step outlives it.
        segment_bytes: read of one segment at most; one whose keyframe is longer is given up.
    """

    frames: int = 13
    resolve_s: float = 8.0
    playlist_s: float = 4.0
    segments_s: float = 6.0
    straggler_s: float = 1.5
    total_s: float = 12.0
    segment_bytes: int = 2 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """Segments of the window that gave no frame of the sample, by reason.

    Attributes:
        adverts: of the whole window, never fetched.
        black: decoded, and nothing to be seen.
        duplicates: decoded, and the same as another.
        failed: not fetched or not decoded: refused, gone, broken, or not there in time.
    """

    adverts: int = 0
    black: int = 0
    duplicates: int = 0
    failed: int = 0


class Reason(StrEnum):
    """Why a segment of the window gave no frame of the sample."""

    ADVERT = "advert"
    BLACK = "black"
    DUPLICATE = "duplicate"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedSegment:
    """A segment of the window that gave no frame of the sample, for showing to a person.

    Attributes:
        at_s: as of :class:`core.frames.Frame`.
        reason: why.
        thumbnail: what was decoded, uint8 RGB of shape (90, 160, 3); None where nothing was.
    """

    at_s: float
    reason: Reason
    thumbnail: RgbPicture | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimings:
    """Milliseconds of each step.

    Attributes:
        resolve_ms: as the asker waits.
        playlist_ms: as above.
        segments_ms: from the first request to the last picture.
        decode_ms: spent in decoding, which goes on while other segments are still being fetched.
    """

    resolve_ms: float
    playlist_ms: float
    segments_ms: float
    decode_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a channel shows at this moment.

    Attributes:
        channel: the login.
        frames: at least one, oldest first; none black, no two the same.
        rendition: that they are of.
        window_s: seconds of the live window that they are spread over.
        rejected: what else was there.
        bytes_fetched: of all answers' bodies, resolving included.
        segment_bytes: of these, media and initialization segments.
        elapsed: time of each step.
        left_out: one by one what ``rejected`` counts, oldest first.
    """

    channel: str
    frames: tuple[Frame, ...]
    rendition: Rendition
    window_s: float
    rejected: Rejected
    bytes_fetched: int
    segment_bytes: int
    elapsed: StepTimings
    left_out: tuple[RejectedSegment, ...] = ()


class StreamSampler:
    """Takes samples of live channels over one connection pool."""

    def __init__(
        self,
        resolver: StreamResolver,
        http: aiohttp.ClientSession,
        limits: SamplingLimits | None = None,
        *,
        decoders: int = 2,
    ) -> None:
        """Keep the parts; the resolver and the pool stay the caller's to close.

        Args:
            resolver: reference to renditions.
            http: for playlists and segments.
            limits: time and size.
            decoders: threads that decode, shared by all samples under way.
        """
        self._resolver = resolver
        self._http = http
        self._limits = limits if limits is not None else SamplingLimits()
        self._threads = ThreadPoolExecutor(max_workers=decoders, thread_name_prefix="decode")

    async def aclose(self) -> None:
        """End the decoding threads; waits for what they have begun, a few milliseconds of work."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def sample(self, ref: StreamRef) -> Sample:
        """Sample a channel's live window.

        Raises:
            StreamProblem: no usable picture came; the subclass says why. Never later than ``limits.total_s``.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        ends_at = started + self._limits.total_s
        resolved = await self._resolve(ref, min(started + self._limits.resolve_s, ends_at))
        resolved_at = loop.time()
        walk = _Walk(channel=ref.channel, bytes_fetched=resolved.bytes_fetched)
        rendition, window = await self._window(walk, resolved, min(resolved_at + self._limits.playlist_s, ends_at))
        segments = self._picks(ref.channel, window)
        listed_at = loop.time()
        first_bytes = first_range_bytes(rendition)
        await self._fetch(walk, segments, first_bytes, min(listed_at + self._limits.segments_s, ends_at))
        frames, rejected = await loop.run_in_executor(self._threads, _worth_keeping, walk.frames)
        fetched_at = loop.time()
        if not frames:
            raise walk.problem(tried=len(segments))
        left_out = _left_out(window, (one for one in segments if one not in walk.decoded), rejected)
        return Sample(
            channel=ref.channel,
            frames=frames,
            rendition=rendition,
            window_s=window.duration_s,
            rejected=_counted(left_out),
            bytes_fetched=walk.bytes_fetched,
            segment_bytes=walk.segment_bytes,
            elapsed=StepTimings(
                resolve_ms=(resolved_at - started) * 1e3,
                playlist_ms=(listed_at - resolved_at) * 1e3,
                segments_ms=(fetched_at - listed_at) * 1e3,
                decode_ms=walk.decode_s * 1e3,
            ),
            left_out=left_out,
        )

    async def _resolve(self, ref: StreamRef, ends_at: float) -> ResolvedStream:
        try:
            async with asyncio.timeout_at(ends_at):
                return await self._resolver.resolve(ref)
        except TimeoutError:
            raise StreamTooSlow(ref.channel, "resolving took too long") from None

    async def _window(self, walk: _Walk, resolved: ResolvedStream, ends_at: float) -> tuple[Rendition, LiveWindow]:
        loop = asyncio.get_running_loop()
        try:
            rendition = choose_rendition(resolved.renditions)
            text = resolved.media_playlists.get(rendition.url)
            url = rendition.url
            async with asyncio.timeout_at(ends_at):
                if text is None:
                    text, url = await self._playlist_text(walk, rendition.url)
                return rendition, await loop.run_in_executor(
                    self._threads, partial(parse_media_playlist, text, url=url)
                )
        except PlaylistError as error:
            raise StreamUnreachable(walk.channel, str(error)) from error
        except TimeoutError:
            raise StreamTooSlow(walk.channel, "the playlist took too long") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise StreamUnreachable(walk.channel, f"playlist: {type(error).__name__}: {error}") from error

    async def _playlist_text(self, walk: _Walk, url: str) -> tuple[str, str]:
        """The playlist and the address that it came from in the end."""
        async with self._http.get(url) as response:
            if response.status in _CLOSED_STATUSES:
                raise StreamRestricted(walk.channel, f"the playlist is refused: HTTP {response.status}")
            if response.status in _GONE_STATUSES:
                # It was there a moment ago: the broadcast has ended in between.
                raise StreamOffline(walk.channel, f"the playlist is gone: HTTP {response.status}")
            if response.status != 200:
                raise StreamUnreachable(walk.channel, f"playlist: HTTP {response.status}")
            body = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_PLAYLIST_BYTES:
                        raise PlaylistError("the playlist is too large")
            finally:
                walk.bytes_fetched += response.content.total_bytes
            return body.decode("utf-8", errors="replace"), str(response.url)

    def _picks(self, channel: str, window: LiveWindow) -> tuple[Segment, ...]:
        if not window.segments:
            raise StreamUnreachable(channel, "the playlist lists no segment")
        picked = pick_segments(window, limit=self._limits.frames)
        if not picked:
            raise AdvertsOnly(channel, f"{len(window.segments)} advert segments")
        clear = tuple(segment for segment in picked if segment.encryption is None)
        if not clear:
            raise StreamRestricted(channel, f"the segments are encrypted ({picked[0].encryption})")
        return clear

    async def _fetch(self, walk: _Walk, segments: tuple[Segment, ...], first_bytes: int, ends_at: float) -> None:
        """Fill ``walk.frames``; returns when every segment is done or time is out."""
        loop = asyncio.get_running_loop()
        enough = (len(segments) + 1) // 2
        inits: dict[InitSegment, asyncio.Task[bytes | _Failure]] = {}
        try:
            async with asyncio.timeout_at(ends_at) as deadline, asyncio.TaskGroup() as group:

                async def fetch(segment: Segment) -> None:
                    try:
                        init = b""
                        if segment.init is not None:
                            if segment.init not in inits:
                                inits[segment.init] = group.create_task(self._init_segment(walk, segment.init))
                            init = _or_raise(await inits[segment.init])
                        picture = await self._first_picture(walk, segment, KeyframeCutter(init=init), first_bytes)
                    except _EXPECTED as error:
                        walk.failures[segment] = _Failure.of(error)
                        return
                    walk.frames.append(Frame(picture=picture, at_s=segment.at_s))
                    walk.decoded.add(segment)
                    if len(walk.frames) == enough and not deadline.expired():
                        deadline.reschedule(min(ends_at, loop.time() + self._limits.straggler_s))

                for segment in segments:
                    group.create_task(fetch(segment))
        except TimeoutError:
            log.debug("%s: %d of %d frames in time", walk.channel, len(walk.frames), len(segments))

    async def _init_segment(self, walk: _Walk, init: InitSegment) -> bytes | _Failure:
        """The initialization segment. A failure is returned, as a task that raises would end its whole group."""
        body = bytearray()
        try:
            chunks = self._chunks(walk, init.url, init.byterange, _MAX_INIT_BYTES, lambda _: _INIT_RANGE_BYTES)
            async with aclosing(chunks):
                async for chunk in chunks:
                    body += chunk
        except _EXPECTED as error:
            return _Failure.of(error)
        return bytes(body)

    async def _first_picture(
        self, walk: _Walk, segment: Segment, cutter: KeyframeCutter, first_bytes: int
    ) -> RgbPicture:
        """Read a segment until its first keyframe is complete, and decode that one."""

        def ask(taken: int) -> int:
            wanted = cutter.wanted_bytes
            if wanted is not None and wanted > self._limits.segment_bytes:
                raise KeyframeError("the first keyframe ends further in than is read of a segment")
            if wanted is not None and wanted > taken:
                return wanted - taken
            return first_bytes if taken == 0 else next_range_bytes(first_bytes, taken)

        keyframe: Keyframe | None = None
        decoding: asyncio.Future[tuple[RgbPicture, float]] | None = None
        chunks = self._chunks(walk, segment.url, segment.byterange, self._limits.segment_bytes, ask)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    keyframe = cutter.feed(chunk)
                    if keyframe is not None:
                        # Decoding begins now; leaving this block reads the rest of the range meanwhile.
                        decoding = self._decode(keyframe)
                        break
        except BaseException:
            if decoding is not None:
                decoding.cancel()  # nobody will look at what comes of it
            raise
        if decoding is None:
            keyframe = cutter.finish()
            if keyframe is None:
                raise KeyframeError("the segment ends without a keyframe, or it is further in than is read")
            decoding = self._decode(keyframe)
        picture, took_s = await decoding
        walk.decode_s += took_s
        return picture

    def _decode(self, keyframe: Keyframe) -> asyncio.Future[tuple[RgbPicture, float]]:
        return asyncio.get_running_loop().run_in_executor(self._threads, _decoded, keyframe)

    async def _chunks(
        self, walk: _Walk, url: str, within: ByteRange | None, limit: int, ask: Callable[[int], int]
    ) -> AsyncGenerator[bytes, None]:
        """Read a resource from its start, a range at a time (RFC 9110 section 14), until the reader closes this.

        A server that ignores ranges sends everything: then this reads on in the one answer and breaks it off.

        Args:
            walk: counts the bytes.
            url: http or https; redirects to anything else are refused by aiohttp.
            within: the part of the resource that is meant; None for all of it.
            limit: bytes to read at most.
            ask: bytes to ask for next, by the bytes taken so far.

        Raises:
            _Refused: the server answered with another status.
            aiohttp.ClientError: the connection failed.
        """
        origin, most_skipped = 0, limit
        if within is not None:
            origin, limit = within.start, min(limit, within.length)
        taken = 0
        while taken < limit:
            start, length = origin + taken, min(ask(taken), limit - taken)
            headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
            async with self._http.get(url, headers=headers, read_bufsize=_READ_BUFFER_BYTES) as response:
                if response.status == 416 and taken:
                    return  # it ended with the last range
                is_part = response.status == 206
                if not is_part and response.status != 200:
                    raise _Refused(response.status)
                skip, left = (0, length) if is_part else (start, limit - taken)
                if skip > most_skipped:
                    raise _Refused(response.status)
                try:
                    async for received in response.content.iter_any():
                        chunk = received[skip : skip + left]
                        skip -= min(skip, len(received))
                        taken += len(chunk)
                        left -= len(chunk)
                        if chunk:
                            yield chunk
                        if not left:
                            break
                except GeneratorExit:
                    if is_part:
                        await _drain(response)
                    raise
                finally:
                    walk.bytes_fetched += response.content.total_bytes
                    walk.segment_bytes += response.content.total_bytes
            if left or not is_part:
                return


class _Refused(Exception):
    """A segment's server answered with a status that gives no bytes."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class _Failure(Enum):
    """Why a segment gave no frame."""

    SLOW = "took too long"
    CLOSED = "refused"
    BROKEN = "not readable"

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        log.debug("segment: %s: %s", type(error).__name__, error)
        if isinstance(error, _Failed):
            return error.failure
        if isinstance(error, TimeoutError):
            return cls.SLOW
        if isinstance(error, _Refused) and error.status in _CLOSED_STATUSES:
            return cls.CLOSED
        return cls.BROKEN


class _Failed(Exception):
    """What a segment depends on has failed."""

    def __init__(self, failure: _Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


_EXPECTED = (_Refused, _Failed, aiohttp.ClientError, OSError, ValueError)
"""What may happen to one segment. TimeoutError, of aiohttp's own limits, is an OSError; KeyframeError a ValueError."""


def _or_raise(init: bytes | _Failure) -> bytes:
    if isinstance(init, _Failure):
        raise _Failed(init)
    return init


@dataclass(kw_only=True, slots=True)
class _Walk:
    """One sample in the making."""

    channel: str
    bytes_fetched: int
    segment_bytes: int = 0
    decode_s: float = 0.0
    frames: list[Frame] = field(default_factory=list)
    decoded: set[Segment] = field(default_factory=set)
    failures: dict[Segment, _Failure] = field(default_factory=dict)

    def problem(self, *, tried: int) -> StreamProblem:
        """What to say when nothing worth keeping came."""
        if self.frames:
            return StreamBlack(self.channel, f"{len(self.frames)} pictures, all black")
        failures = list(self.failures.values())
        why = ", ".join(f"{failures.count(failure)} {failure.value}" for failure in _Failure if failure in failures)
        if _Failure.CLOSED in failures:
            return StreamRestricted(self.channel, why)
        if _Failure.SLOW in failures or len(failures) < tried:
            return StreamTooSlow(self.channel, why or "no segment came in time")
        return StreamUnreachable(self.channel, f"segments: {why}")


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the rest of a range, of which the keyframe's end has just come, so that the connection can serve again."""
    with suppress(OSError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in response.content.iter_any():
                pass


def first_range_bytes(rendition: Rendition) -> int:
    """What to ask of a segment at first: a guess that the keyframe fits in, so that one request is enough."""
    if rendition.bandwidth_bps is None:
        return _FIRST_RANGE_UNKNOWN_BYTES
    guess = round(rendition.bandwidth_bps / 8 * _FIRST_RANGE_S)
    return min(max(guess, _FIRST_RANGE_MIN_BYTES), _FIRST_RANGE_MAX_BYTES)


def next_range_bytes(first_bytes: int, taken: int) -> int:
    """What to ask of a segment next, where the keyframe goes on and the format does not say how far.

    Grows with what is there already, so that a guess far too small costs a handful of round trips and not fifty.
    """
    return max(first_bytes // 2, taken // 3)


def _decoded(keyframe: Keyframe) -> tuple[RgbPicture, float]:
    """The stored picture, and the seconds that it took."""
    started = time.perf_counter()
    picture = to_stored(decode_keyframe(keyframe))
    return picture, time.perf_counter() - started


def _worth_keeping(frames: list[Frame]) -> tuple[tuple[Frame, ...], tuple[RejectedSegment, ...]]:
    """The frames that show something new, oldest first, and the others."""
    kept: list[Frame] = []
    rejected: list[RejectedSegment] = []
    for frame in sorted(frames, key=lambda frame: frame.at_s):
        if is_black(frame.picture):
            reason = Reason.BLACK
        elif any(is_duplicate(frame.picture, other.picture) for other in kept):
            reason = Reason.DUPLICATE
        else:
            kept.append(frame)
            continue
        rejected.append(RejectedSegment(at_s=frame.at_s, reason=reason, thumbnail=_thumbnail(frame.picture)))
    return tuple(kept), tuple(rejected)


def _thumbnail(picture: RgbPicture) -> RgbPicture:
    return np.asarray(cv2.resize(picture, _THUMBNAIL_PX, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _left_out(
    window: LiveWindow, failed: Iterable[Segment], rejected: Iterable[RejectedSegment]
) -> tuple[RejectedSegment, ...]:
    """All that gave no frame, oldest first."""
    adverts = (RejectedSegment(at_s=one.at_s, reason=Reason.ADVERT) for one in window.segments if one.advert)
    nothing = (RejectedSegment(at_s=one.at_s, reason=Reason.FAILED) for one in failed)
    return tuple(sorted((*adverts, *nothing, *rejected), key=lambda one: one.at_s))


def _counted(left_out: tuple[RejectedSegment, ...]) -> Rejected:
    reasons = [one.reason for one in left_out]
    return Rejected(
        adverts=reasons.count(Reason.ADVERT),
        black=reasons.count(Reason.BLACK),
        duplicates=reasons.count(Reason.DUPLICATE),
        failed=reasons.count(Reason.FAILED),
    )
