"""The pocket Twitch's web server: tokens, Helix, GraphQL, usher and the video edge on one loopback port.

    async with PocketTwitch(channels=demo_channels()) as twitch:
        ...  # lead Twitch's four hosts (id, api, gql and usher) to twitch.base_url

The addresses below ``/oauth2/`` and ``/helix/`` are Twitch's documented ones, those below ``/gql`` and
``/api/v2/channel/hls/`` are those of Streamlink's plugin; the video edge's are our own, as Twitch's are opaque and
change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError, web

from demo.channels import Adverts, Channel, Closed, Container
from demo.faults import Fault, Faults, Kind
from demo.graphql import answer, signature
from demo.helix import POINTS, POINTS_PERIOD, TOKEN_LIFETIME, AppTokens, Helix, PointBucket, refusal
from demo.playlists import MediaAddresses, master_playlist, media_playlist
from demo.renditions import Quality, renditions_of
from demo.shaping import Lines
from demo.studio import Studio
from demo.timeline import Slot, Timeline, utc_now
from demo.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Self

    from demo.channels import Source
    from demo.helix import JsonAnswer
    from demo.reels import Reel

_PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
_MEDIA_TYPE = {Container.MPEG_TS: "video/mp2t", Container.FRAGMENTED_MP4: "video/mp4"}

_CLOSED_ERRORS = {
    Closed.SUBSCRIBERS_ONLY: "Can not view: a subscription is needed",
    Closed.GEO_BLOCKED: "This content is not available in your region",
}

_HUGE_BYTES = 10_000_000
_SHUTDOWN_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    body: bytes
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class PocketTwitch:
    """A Twitch with a handful of channels; an async context manager.

    Attributes:
        traffic: what was asked and sent so far.
        faults: what goes wrong; its plan may be changed while the server runs.
    """

    def __init__(
        self,
        *,
        channels: Sequence[Channel],
        port: int = 0,
        latency_s: float = 0.0,
        rate_bytes_per_s: float | None = None,
        faults: Faults | None = None,
        token_lifetime: timedelta = TOKEN_LIFETIME,
        points: int = POINTS,
        points_period: timedelta = POINTS_PERIOD,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Prepare a server; nothing is made or opened yet.

        Args:
            channels: who broadcasts; all other names are unknown.
            port: to listen on, on the loopback interface; 0 takes a free one.
            latency_s: between a request's arrival and its answer's first byte.
            rate_bytes_per_s: of each connection; None sends as fast as the machine can.
            faults: what goes wrong.
            token_lifetime: of an app access token.
            points: requests that Helix grants in a row; the ones beyond are answered 429.
            points_period: in which as many points come back.
            clock: the wall clock, timezone-aware.
        """
        self.traffic = Traffic()
        self.faults = faults if faults is not None else Faults()
        self._channels = {channel.login: channel for channel in channels}
        self._port = port
        self._latency_s = latency_s
        self._lines = Lines(rate_bytes_per_s=rate_bytes_per_s)
        self._clock = clock
        self._started_at = clock()
        self._tokens = AppTokens(lifetime=token_lifetime)
        self._helix = Helix(
            self._channels.values(),
            started_at=self._started_at,
            tokens=self._tokens,
            points=PointBucket(points=points, period=points_period),
        )
        self._studio = Studio()
        self._closing = asyncio.Event()
        self._opened = contextlib.AsyncExitStack()
        self._base_url = ""

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT``, once the server runs."""
        return self._base_url

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Who broadcasts."""
        return tuple(self._channels.values())

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.router.add_post("/oauth2/token", self._handler(Kind.TOKEN, self._token))
        app.router.add_get("/oauth2/validate", self._handler(Kind.TOKEN, self._validate))
        for path in self._helix.paths:
            app.router.add_get(f"/helix/{path}", self._handler(Kind.HELIX, self._directory))
        app.router.add_post("/gql", self._handler(Kind.GRAPHQL, self._graphql))
        app.router.add_get("/api/v2/channel/hls/{login}.m3u8", self._handler(Kind.MASTER, self._usher))
        edge = "/v1/{login}/{quality}"
        app.router.add_get(f"{edge}/{{session}}.m3u8", self._handler(Kind.PLAYLIST, self._playlist))
        for name in ("init", "advert-init"):
            app.router.add_get(f"{edge}/{{name:{name}}}.mp4", self._handler(Kind.INIT, self._init))
        segment = r"{what:stream|advert}-{sequence:\d+}-{index:\d+}.{container:ts|mp4}"
        app.router.add_get(f"{edge}/{segment}", self._handler(Kind.SEGMENT, self._segment))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._studio)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self._port)
            await site.start()
            # Handlers that wait for ever on purpose must not hold up the end.
            stack.callback(self._closing.set)
            port: int = runner.addresses[0][1]
            self._base_url = f"http://127.0.0.1:{port}"
            self._opened = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    def revoke_tokens(self) -> None:
        """Let every app access token that was handed out so far be refused."""
        self._tokens.revoke_all()

    async def prepare(self, *qualities: Quality) -> None:
        """Make ahead of time what viewers of each channel will ask for.

        Args:
            qualities: which ones, where a channel has them; 360p when none is named.
        """
        for channel in self._channels.values():
            if channel.source is None or channel.closed is not None:
                continue
            await self._studio.durations_s(channel.source)
            for rendition in renditions_of(channel.source):
                quality = rendition.quality
                if quality in (qualities or (Quality.P360,)):
                    await self._studio.reel(channel.source, quality, _container(channel, quality))
                    if channel.adverts is not Adverts.NONE:
                        await self._studio.advert_reel(quality, _container(channel, quality))

    # What is answered

    async def _token(self, request: web.Request) -> _Answer:
        # The documentation has the form in the body; TwitchIO sends it in the query string, which Twitch takes too.
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        return _json(self._tokens.issue({**request.query, **form}, self._clock()))

    async def _validate(self, request: web.Request) -> _Answer:
        return _json(self._tokens.validate(request.headers.get("Authorization", ""), self._clock()))

    async def _directory(self, request: web.Request) -> _Answer:
        return _json(
            self._helix.answer(
                request.path.removeprefix("/helix/"),
                {name: request.query.getall(name) for name in request.query},
                authorization=request.headers.get("Authorization"),
                client_id=request.headers.get("Client-Id"),
                now=self._clock(),
            )
        )

    async def _graphql(self, request: web.Request) -> _Answer:
        if "Client-ID" not in request.headers:
            return _error(400, 'The "Client-ID" header is missing.')
        try:
            query = json.loads(await request.read())
        except ValueError:
            return _error(400, "The body is not JSON.")
        return _Answer(
            body=json.dumps(answer(query, self._channels, self._clock())).encode(),
            content_type="application/json",
        )

    async def _usher(self, request: web.Request) -> _Answer:
        channel = self._channels.get(request.match_info["login"])
        token = request.query.get("token", "")
        if request.query.get("sig") != signature(token):
            return _usher_error(403, "Invalid token", "nauth_token_invalid")
        if channel is None or channel.source is None:
            return _usher_error(404, "Can not find channel", "transcode_does_not_exist")
        if channel.closed is not None:
            return _usher_error(403, _CLOSED_ERRORS[channel.closed], channel.closed.value)
        timeline = await self._timeline(channel, channel.source)
        now = self._clock()
        session = timeline.new_session(now)
        text = master_playlist(
            channel,
            renditions_of(channel.source),
            now=now,
            live_since=timeline.live_since,
            address=lambda quality: f"{self._edge(channel, quality)}/{session}.m3u8",
        )
        return _Answer(body=text.encode(), content_type=_PLAYLIST_TYPE)

    async def _playlist(self, request: web.Request) -> _Answer:
        found = self._find(request)
        session = request.match_info["session"]
        if found is None or not session.isdecimal():
            return _error(404, "There is no such playlist.")
        channel, source, quality = found
        container = _container(channel, quality)
        timeline = await self._timeline(channel, source)
        now = self._clock()
        advert_slots = 1 if channel.adverts is Adverts.NONE else await self._studio.advert_segments()
        window = timeline.window(
            session=min(int(session), timeline.new_session(now)),
            adverts=channel.adverts,
            advert_reel_slots=advert_slots,
            now=now,
        )
        if not window.slots:
            return _error(404, "The stream has only just begun.")
        edge = self._edge(channel, quality)

        def segment(slot: Slot) -> str:
            what = "advert" if slot.advert else "stream"
            return f"{edge}/{what}-{slot.sequence}-{slot.reel_index}.{container}"

        def init(advert: bool) -> str:  # noqa: FBT001 - the protocol of MediaAddresses
            return f"{edge}/{'advert-' if advert else ''}init.mp4"

        addresses = MediaAddresses(segment=segment, init=init if container is Container.FRAGMENTED_MP4 else None)
        return _Answer(body=media_playlist(window, addresses).encode(), content_type=_PLAYLIST_TYPE)

    async def _init(self, request: web.Request) -> _Answer:
        found = self._find(request)
        if found is None or _container(found[0], found[2]) is not Container.FRAGMENTED_MP4:
            return _error(404, "There is no such initialization section.")
        advert = request.match_info["name"] == "advert-init"
        reel = await self._reel(*found, advert=advert)
        return _Answer(body=reel.init, content_type=_MEDIA_TYPE[Container.FRAGMENTED_MP4])

    async def _segment(self, request: web.Request) -> _Answer:
        found = self._find(request)
        if found is None:
            return _no_segment()
        channel, source, quality = found
        container = _container(channel, quality)
        timeline = await self._timeline(channel, source)
        sequence, index = int(request.match_info["sequence"]), int(request.match_info["index"])
        if request.match_info["container"] != container or not timeline.can_be_fetched(sequence, self._clock()):
            return _no_segment()
        reel = await self._reel(channel, source, quality, advert=request.match_info["what"] == "advert")
        if index >= len(reel.segments):
            return _no_segment()
        return _Answer(body=reel.segments[index].data, content_type=_MEDIA_TYPE[container])

    def _find(self, request: web.Request) -> tuple[Channel, Source, Quality] | None:
        channel = self._channels.get(request.match_info["login"])
        if channel is None or channel.source is None or channel.closed is not None:
            return None
        for rendition in renditions_of(channel.source):
            if rendition.quality == request.match_info["quality"]:
                return channel, channel.source, rendition.quality
        return None

    def _edge(self, channel: Channel, quality: Quality) -> str:
        return f"{self._base_url}/v1/{channel.login}/{quality}"

    async def _timeline(self, channel: Channel, source: Source) -> Timeline:
        return Timeline(
            live_since=self._started_at - channel.on_air_for,
            durations_s=await self._studio.durations_s(source),
            window_slots=channel.window_segments,
        )

    async def _reel(self, channel: Channel, source: Source, quality: Quality, *, advert: bool) -> Reel:
        container = _container(channel, quality)
        if advert:
            return await self._studio.advert_reel(quality, container)
        return await self._studio.reel(source, quality, container)

    # How it is sent

    def _handler(
        self, kind: Kind, answerer: Callable[[web.Request], Awaitable[_Answer]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.traffic.requests[kind] += 1
            if self._latency_s:
                await asyncio.sleep(self._latency_s)
            fault = self.faults.draw(kind)
            if fault is not None:
                self.traffic.faults[kind, fault] += 1
            match fault:
                case Fault.RESET:
                    return await self._hang_up(request)
                case Fault.STALL:
                    await self._closing.wait()
                    return await self._hang_up(request)
                case Fault.SLOW:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.faults.slow_s):
                            await self._closing.wait()
            result = self._spoiled(fault) or await answerer(request)
            return await self._send(request, result, kind, fault)

        return handle

    def _spoiled(self, fault: Fault | None) -> _Answer | None:
        """What a fault answers in place of what was asked for, when it does not spoil a good answer."""
        match fault:
            case Fault.INTERNAL_ERROR:
                return _json(refusal(500, ""))
            case Fault.SERVER_ERROR:
                return _json(refusal(503, ""))
            case Fault.NOT_FOUND:
                return _json(refusal(404, ""))
            case Fault.UNAUTHORISED:
                return _json(refusal(401, "Invalid OAuth token"))
            case Fault.TOO_MANY_REQUESTS:
                reset_at_s = math.floor(self._clock().timestamp()) + 1
                headers = {"Ratelimit-Remaining": "0", "Ratelimit-Reset": str(reset_at_s)}
                return _json(refusal(429, "Request limit exceeded", headers))
            case Fault.OTHER_SHAPE:
                return _Answer(body=self.faults.other_shape(), content_type="application/json")
            case _:
                return None

    async def _send(self, request: web.Request, result: _Answer, kind: Kind, fault: Fault | None) -> web.StreamResponse:
        body = memoryview(result.body)
        response = web.StreamResponse(status=result.status)
        response.content_type = result.content_type
        response.headers.update(result.headers)
        response.headers["Cache-Control"] = "no-cache, no-store"
        if kind in (Kind.INIT, Kind.SEGMENT) and result.status == 200:
            response.headers["Accept-Ranges"] = "bytes"
            part = _requested_part(request, len(body))
            if part is not None:
                response.headers["Content-Range"] = (
                    f"bytes {part.start}-{part.stop - 1}/{len(body)}" if part else f"bytes */{len(body)}"
                )
                response.set_status(206 if part else 416)
                body = body[part.start : part.stop]
        match fault:
            case Fault.CUT_SHORT:
                body = body[: len(body) // 2]
            case Fault.EMPTY:
                body = body[:0]
            case Fault.GARBAGE:
                body = memoryview(self.faults.noise(len(body)))
            case Fault.HUGE:
                comment = b"#" + b"-" * 98 + b"\n"
                body = memoryview(bytes(body) + comment * (_HUGE_BYTES // len(comment)))
            case _:
                pass
        if fault is Fault.ENDLESS:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(body)
        line = self._lines.of(request.transport)

        async def write(data: bytes) -> None:
            await response.write(data)
            self.traffic.bytes_sent[kind] += len(data)

        # A viewer that has seen enough hangs up; that is no error.
        with contextlib.suppress(ClientConnectionResetError, ConnectionResetError):
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            if fault is Fault.TRUNCATED:
                await line.send(body[: len(body) // 2], write)
                return await self._hang_up(request)
            await line.send(body, write)
            while fault is Fault.ENDLESS and not self._closing.is_set():
                await line.send(bytes(1024), write)
                await asyncio.sleep(0.01)
            await response.write_eof()
        return response

    async def _hang_up(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=499)


def _container(channel: Channel, quality: Quality) -> Container:
    return Container.MPEG_TS if quality is Quality.AUDIO_ONLY else channel.container


def _requested_part(request: web.Request, size_bytes: int) -> range | None:
    """The bytes that a Range header asks for (RFC 9110 section 14); empty when it cannot be met."""
    if "Range" not in request.headers:
        return None
    try:
        asked = request.http_range
    except ValueError:
        return None  # a malformed header is ignored (RFC 9110 section 14.2)
    return range(*asked.indices(size_bytes))


def _json(answer: JsonAnswer) -> _Answer:
    body = json.dumps(answer.body, separators=(",", ":")).encode()
    return _Answer(status=answer.status, body=body, content_type="application/json", headers=answer.headers)


def _error(status: int, message: str) -> _Answer:
    return _json(refusal(status, message))


def _no_segment() -> _Answer:
    return _error(404, "There is no such segment.")


def _usher_error(status: int, message: str, code: str) -> _Answer:
    """Usher's refusals are a list with one object; the plugin logs its ``error`` when the channel is live."""
    body = json.dumps([{"url": "", "error": message, "error_code": code, "type": "error"}]).encode()
    return _Answer(status=status, body=body, content_type="application/json")
