"""The port: opened, guarded against too many and too slow connections, and drained before it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from bot.web import refusals
from core.errors import WebError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.web_server import Server as HttpServer

log = logging.getLogger(__name__)

_BACKLOG = 128
_LINGER_S = 1.0
"""For the rest of a body that was refused, so that its sender reads why."""

_LAST_WORDS_S = 1.0


class WebServer:
    """Serves an application on one port."""

    def __init__(
        self, application: web.Application, *, host: str, port: int, connections: int = 64, idle_s: float = 30.0
    ) -> None:
        """Open nothing yet.

        Args:
            application: what answers.
            host: whose port; ``127.0.0.1`` for this machine alone.
            port: 0 for any that is free.
            connections: at the same time; who comes on top is told so and hung up on.
            idle_s: after which a connection without a whole request is closed.
        """
        self._runner = web.AppRunner(
            application,
            keepalive_timeout=idle_s,
            lingering_time=_LINGER_S,
            shutdown_timeout=_LAST_WORDS_S,
            # A few bytes of gzip can be a gigabyte.
            auto_decompress=False,
            access_log=None,
        )
        self._host = host
        self._port = port
        self._most = connections
        self.url = ""
        """Where it is, once it is open."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve while the block runs; at its end, what is being answered has a moment more.

        Raises:
            WebError: the port cannot be had.
        """
        await self._runner.setup()
        try:
            listening = await self._listen()
            try:
                yield
            finally:
                listening.close()
        finally:
            await self._runner.cleanup()

    async def _listen(self) -> asyncio.Server:
        http = self._runner.server
        if http is None:
            raise WebError("The HTTP server did not start.")
        loop = asyncio.get_running_loop()
        try:
            listening = await loop.create_server(
                lambda: self._protocol(http), self._host, self._port, backlog=_BACKLOG, reuse_address=True
            )
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise WebError(
                f"Port {self._port} of {self._host} cannot be opened ({why}); see [web] host and port."
            ) from error
        bound = listening.sockets[0].getsockname()
        shown = f"[{bound[0]}]" if listening.sockets[0].family == socket.AF_INET6 else bound[0]
        self.url = f"http://{shown}:{bound[1]}"
        log.info("HTTP is served at %s", self.url)
        return listening

    def _protocol(self, http: HttpServer) -> asyncio.Protocol:
        return http() if len(http.connections) < self._most else _Full()


class _Full(asyncio.Protocol):
    """Tells a connection too many that it is one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so and hang up."""
        refusal = refusals.busy(1.0)
        body = json.dumps({"success": False, "error": refusal.sentence}).encode()
        head = (
            f"HTTP/1.1 {refusal.status} Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        )
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(head.encode() + body)
        transport.close()
