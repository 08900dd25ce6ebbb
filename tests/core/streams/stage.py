"""A loopback server whose every answer a test writes itself, and a resolver that needs no Streamlink."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from streamlink.session.session import Streamlink

from core.streams.playlist import Rendition
from core.streams.reference import StreamRef
from core.streams.resolve import ResolvedStream

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CHANNEL = StreamRef(channel="somebody", url="https://www.twitch.tv/somebody")


class Stage:
    """Paths -> handlers; counts requests and the body bytes handed to sockets."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.connections: set[object] = set()
        self.bytes_sent = 0
        self.closing = asyncio.Event()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closing.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, request.headers.get("Range")))
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername"))
        handler = self.handlers.get(request.path)
        if handler is None:
            return web.Response(status=404)
        with contextlib.suppress(ConnectionResetError):
            return await handler(request)
        return web.Response(status=499)

    # What a handler may be

    def gives(self, body: bytes | str, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
        """The body whole, whatever range was asked."""
        data = body.encode() if isinstance(body, str) else body

        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=status, headers=headers)
            response.content_length = len(data)
            await response.prepare(request)
            for start in range(0, len(data), 8192):
                await response.write(data[start : start + 8192])
                self.bytes_sent += len(data[start : start + 8192])
            return response

        return handler

    def ranges(self, body: bytes, *, pause_s: float = 0.0) -> Handler:
        """As RFC 9110 section 14 has it; the last kilobyte of each range comes after a pause."""

        async def handler(request: web.Request) -> web.StreamResponse:
            asked = range(*request.http_range.indices(len(body)))
            if not asked:
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
            part = body[asked.start : asked.stop]
            self.bytes_sent += len(part)
            content_range = f"bytes {asked.start}-{asked.stop - 1}/{len(body)}"
            response = web.StreamResponse(status=206, headers={"Content-Range": content_range})
            response.content_length = len(part)
            await response.prepare(request)
            await response.write(part[:-1024])
            await asyncio.sleep(pause_s)
            await response.write(part[-1024:])
            return response

        return handler

    def drips(self, body: bytes, *, every_s: float = 0.05, chunk_bytes: int = 1) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for start in range(0, len(body), chunk_bytes):
                if self.closing.is_set():
                    break
                await response.write(body[start : start + chunk_bytes])
                await asyncio.sleep(every_s)
            return response

        return handler

    def endless(self, body: bytes, filling: bytes) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(body)
            while not self.closing.is_set():
                await response.write(filling)
                self.bytes_sent += len(filling)
                await asyncio.sleep(0)
            return response

        return handler

    async def hangs(self, request: web.Request) -> web.StreamResponse:
        await self.closing.wait()
        return web.Response(status=503)

    async def resets(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response(status=499)

    def truncates(self, body: bytes) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 10])
            assert request.transport is not None
            request.transport.close()
            return response

        return handler

    def leads_to(self, url: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": url})

        return handler


def media_playlist(names: list[str], *, head: str = "", each: str = "") -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", head]
    for name in names:
        lines += [each, "#EXTINF:2.000,live", name]
    return "\n".join(line for line in lines if line) + "\n"


class FixedResolver:
    """Knows one stream of one rendition."""

    def __init__(self, url: str, *, bandwidth_bps: int | None = 600_000) -> None:
        rendition = Rendition(
            url=url, name="360p30", width_px=640, height_px=360, codecs=("avc1.4D401F",), bandwidth_bps=bandwidth_bps
        )
        self.resolved = ResolvedStream(
            channel=CHANNEL.channel, renditions=(rendition,), media_playlists={}, bytes_fetched=0
        )

    async def resolve(self, ref: StreamRef) -> ResolvedStream:
        return self.resolved


class Detour(HTTPAdapter):
    """Sends what is meant for Twitch to the stage."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        parts = urlsplit(request.url or "")
        request.url = f"{self._base_url}{parts.path}?{parts.query}"
        return super().send(request, *args, **kwargs)


def session_led_to(base_url: str) -> Callable[[], Streamlink]:
    def factory() -> Streamlink:
        session = Streamlink()
        for origin in ("https://gql.twitch.tv/", "https://usher.ttvnw.net/"):
            session.http.mount(origin, Detour(base_url))
        return session

    return factory
