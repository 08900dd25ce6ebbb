from __future__ import annotations

import asyncio
import json
import socket

import pytest
from aiohttp import web

from bot.web.server import WebServer
from core.errors import WebError


def server(*, port: int = 0, host: str = "127.0.0.1", connections: int = 64) -> WebServer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"success": True})

    application = web.Application()
    application.router.add_get("/", answer)
    return WebServer(application, host=host, port=port, connections=connections)


async def test_who_connected_before_the_port_was_closed_is_answered() -> None:
    serving = server()
    asked = []
    async with serving.open():
        host, _, port = serving.url.removeprefix("http://").partition(":")
        for _ in range(30):
            # The system takes the connection; the loop, which is not asked in between, has not seen it.
            asker = socket.create_connection((host, int(port)), timeout=10)
            asker.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            asked.append(asker)

    for asker in asked:
        with asker:
            assert asker.recv(15) == b"HTTP/1.1 200 OK"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=10)


async def test_a_port_that_is_taken_is_a_sentence() -> None:
    first = server()
    async with first.open():
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(WebError, match=rf"Port {port} of 127\.0\.0\.1 cannot be opened .*\[web\]"):
            async with server(port=port).open():
                pass


async def test_a_host_that_is_none_is_a_sentence() -> None:
    with pytest.raises(WebError, match=r"no\.such\.host\.invalid"):
        async with server(host="no.such.host.invalid").open():
            pass


async def test_it_is_served_on_ipv6_too() -> None:
    serving = server(host="::1")
    try:
        async with serving.open():
            assert serving.url.startswith("http://[::1]:")
    except WebError:
        pytest.skip("this machine has no IPv6")


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\x01 / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n",
    ],
    ids=["method", "TLS", "head"],
)
async def test_what_is_no_http_is_told_so_in_json(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    serving = server()
    async with serving.open():
        host, _, port = serving.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent + b"\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body) == {"success": False, "error": "This is no request of HTTP/1.1."}
    assert "Traceback" not in caplog.text
