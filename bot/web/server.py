"""The port: opened, guarded against too many and too slow connections, and drained before it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import socket
import struct
import sys
from typing import TYPE_CHECKING

from aiohttp import web

from bot.web import refusals
from core.errors import WebError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

_BACKLOG = 128
_LINGER_S = 1.0
"""For the rest of a body that was refused, so that its sender reads why."""

_LAST_WORDS_S = 1.5
_LOOK_AGAIN_S = 0.02
_ATTACH_FILTER = 26
"""SO_ATTACH_FILTER of asm-generic/socket.h."""
_DROP_SYN = (
    (0x30, 0, 0, 13),  # the byte of flags in the head of TCP, where such a filter begins
    (0x45, 0, 1, 0x02),  # is SYN among them?
    (0x06, 0, 0, 0),  # then nothing is kept of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)
"""As linux/filter.h has it: code, jump if true, jump if false, value."""

_SETTLE_S = 0.1
_CUT_S = 0.1


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
            # Whoever had asked before has had all the time there is.
            shutdown_timeout=_CUT_S,
        )
        self._idle_s = idle_s
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
            with await self._bound() as port:
                listening = await asyncio.get_running_loop().create_server(self._protocol, sock=port, backlog=_BACKLOG)
                try:
                    yield
                finally:
                    # The system has taken connections that the loop has not seen yet, and would reset them.
                    _deafen(port)
                    await asyncio.sleep(_SETTLE_S)
                    waiting = _accepted(port)
                    listening.close()
                    for connection in waiting:
                        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
                    await self._emptied()
        finally:
            await self._runner.cleanup()

    async def _emptied(self) -> None:
        """Let who was just connected ask, and read why there is no answer; idle connections are not waited for long."""
        http, loop = self._runner.server, asyncio.get_running_loop()
        ends_at = loop.time() + _LAST_WORDS_S
        # What the loop took becomes a connection only some turns later.
        await asyncio.sleep(_SETTLE_S)
        while http is not None and http.connections and loop.time() < ends_at:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _bound(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, *_, address = found[0]
            port = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        except (OSError, OverflowError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise WebError(
                f"Port {self._port} of {self._host} cannot be opened ({why}); see [web] host and port."
            ) from error
        port.setblocking(False)  # noqa: FBT003 - the library's own
        host, number = port.getsockname()[:2]
        self.url = f"http://[{host}]:{number}" if family == socket.AF_INET6 else f"http://{host}:{number}"
        log.info("HTTP is served at %s", self.url)
        return port

    def _protocol(self) -> asyncio.Protocol:
        http = self._runner.server
        if http is None or len(http.connections) >= self._most:
            return _Full()
        return _Connection(
            http,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._idle_s,
            lingering_time=_LINGER_S,
            # A few bytes of gzip can be a gigabyte.
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # as AppRunner takes it
        )


def _deafen(port: socket.socket) -> None:
    """Let no further connection begin, so that none can between taking the last one and closing the port.

    Linux alone can: a filter that drops what opens a connection, and nothing else. Elsewhere, or where it may not,
    there is a moment in which a connection is lost.
    """
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DROP_SYN))
        with contextlib.suppress(OSError):
            filter_ = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
            port.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, filter_)


def _accepted(port: socket.socket) -> list[socket.socket]:
    """The connections that wait to be taken."""
    found = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = port.accept()
            connection.setblocking(False)  # noqa: FBT003 - the library's own
            found.append(connection)
    return found


class _Connection(web.RequestHandler):
    """Answers what is no HTTP in a sentence, too; and does not fill the log with what strangers send."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - repeats what was sent
    ) -> web.StreamResponse:
        """What is answered when there is no request to be answered, or no answer to be sent."""
        if status >= 500:
            log.error("a request failed", exc_info=exc)
        else:
            log.info("what %s sent is not HTTP: %s", request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        refusal = refusals.failed() if status >= 500 else refusals.Refusal(status, "This is no request of HTTP/1.1.")
        response = refusals.to_response(refusal)
        response.force_close()
        return response


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
            transport.write_eof()
        # Closed with something unread it were reset, and nobody would read this.
        asyncio.get_running_loop().call_later(_LINGER_S, transport.close)
