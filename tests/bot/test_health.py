"""``python -m bot health``, as who watches over a container runs it."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from tests.web.bench import bench


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def health(port: int, *, host: str = "127.0.0.1", enabled: bool = True) -> Result:
    web = {"enabled": enabled, "port": port, "host": host}
    environment = {f"GAMESPOTTER_WEB__{name.upper()}": str(value) for name, value in web.items()}
    return CliRunner().invoke(app, ["health", "--timeout", "10"], env=environment)


async def asked(port: int, **web: str) -> Result:
    return await asyncio.to_thread(health, port, **web)  # type: ignore[arg-type]


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


async def test_all_is_well() -> None:
    async with bench() as desk:
        result = await asked(port_of(desk.url))

    assert (result.exit_code, result.stdout) == (0, "database: ok\n")


async def test_what_is_wrong_is_named() -> None:
    async def gone() -> str:
        return "does not answer"

    async with bench(checks={"database": gone}) as desk:
        result = await asked(port_of(desk.url))

    assert (result.exit_code, result.stdout) == (1, "database: does not answer\n")


async def test_a_bot_that_serves_every_address_is_asked_on_this_machine() -> None:
    async with bench() as desk:
        result = await asked(port_of(desk.url), host="0.0.0.0")

    assert result.exit_code == 0


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        result = await asked(taken.getsockname()[1])

    assert result.exit_code == 1
    assert result.stderr.startswith("No bot answers at 127.0.0.1:")


@pytest.mark.parametrize("body", [b"<html>", json.dumps([]).encode(), b'{"parts": "all"}', b'{"other": 1}'])
async def test_something_else_there(body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        result = await asked(server.sockets[0].getsockname()[1])

    assert result.exit_code == 1
    assert "is not the bot" in result.stderr


def test_http_is_off() -> None:
    result = health(8090, enabled=False)

    assert result.exit_code == 2
    assert "[web] enabled = true" in result.stderr
