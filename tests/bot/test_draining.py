"""SIGTERM under load: what was asked on Discord, on Twitch and over HTTP is answered before the process ends."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from demo.channels import demo_channels
from demo.pocket_twitch import PocketTwitch
from tests.bot.whole_bot import CHANNEL, BothChats, both_chats, ended, running
from tests.chat.discord_stand_in import Asked
from tests.chat.twitch_bench import until
from tests.web.bench import TOKEN
from tests.web.test_serving import free_port

ASKERS = 10
LINES = 2
"""Twitch lets a bot that is no moderator say one line a second, and these are among the last words."""


@dataclass
class Bench:
    process: asyncio.subprocess.Process
    chats: BothChats
    url: str


@asynccontextmanager
async def both_chats_and_http(folder: Path, streams_url: str) -> AsyncIterator[Bench]:
    port = free_port()
    async with both_chats(folder, streams_url) as chats:
        settings = chats.settings | {
            "LIMITS__USER_S": "0",
            "LIMITS__LOOKS_AT_ONCE": "64",
            "WEB__ENABLED": "true",
            "WEB__PORT": str(port),
            "WEB__TOKEN": TOKEN,
            "LOG__FORMAT": "json",
        }
        async with running(folder, **settings) as process:
            await chats.discord.connected(within_s=90.0)
            await until(lambda: chats.twitch.live or process.returncode is not None, timeout_s=90.0)
            yield Bench(process=process, chats=chats, url=f"http://127.0.0.1:{port}")


@pytest.fixture
async def streams_that_hang() -> AsyncIterator[str]:
    """Where streams would be found, were there ever an answer."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.close()
    for writer in held:
        writer.close()


async def post(http: aiohttp.ClientSession, url: str, channel: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with http.post(f"{url}/v1/game", json={"channel": channel}, headers=headers) as answer:
        return answer.status, await answer.text()


async def text_of(asked: Asked) -> str:
    return json.dumps(await asked.answered(within_s=60.0), ensure_ascii=False)


@pytest.mark.parametrize("hang", [False, True], ids=["streams that answer", "streams that hang"])
async def test_told_to_end_with_asks_in_hand_it_answers_all_of_them(
    tmp_path: Path, streams_that_hang: str, hang: bool
) -> None:
    async with PocketTwitch(channels=demo_channels()) as pocket:
        streams_url = streams_that_hang if hang else pocket.base_url
        channels = ["rookandroll", CHANNEL, *(f"nobody_{number}" for number in range(ASKERS))]
        async with both_chats_and_http(tmp_path, streams_url) as bench, aiohttp.ClientSession() as http:
            posted = [asyncio.create_task(post(http, bench.url, channel)) for channel in channels[:ASKERS]]
            asked = [await bench.chats.discord.slash("game", channel=channel) for channel in channels[:ASKERS]]
            lines = [
                await bench.chats.twitch.write(CHANNEL, f"!game {channel}", by=f"viewer{number}")
                for number, channel in enumerate(channels[:LINES])
            ]
            # All have arrived: what was sent after the signal may find nobody.
            for each in asked:
                await until(lambda each=each: each.acknowledged_s is not None, timeout_s=60.0)
            bench.process.send_signal(signal.SIGTERM)
            over_http = await asyncio.gather(*posted)
            on_discord = await asyncio.gather(*(text_of(each) for each in asked))
            assert await ended(bench.process, within_s=60.0) == 0
            on_twitch = [said for line in lines for said in bench.chats.twitch.answers(line)]
    assert len(on_twitch) == LINES, on_twitch
    assert bench.chats.discord.violations == []
    if hang:
        assert {status for status, _ in over_http} == {503}
        for text in (*on_twitch, *on_discord, *(text for _, text in over_http)):
            assert "restarted" in text
    else:
        assert {status for status, _ in over_http} <= {200, 404, 503}
    log = [json.loads(line) for line in (tmp_path / "err").read_text().splitlines()]
    # Whoever came over HTTP when nobody was let in any more is told so by the server itself.
    named = {line["request"] for line in log if line.get("event", "").startswith(("game:", "POST /v1/game:"))}
    assert len(named) == 2 * ASKERS + LINES
    assert {line["platform"] for line in log if line.get("request") in named} == {"discord", "twitch", "http"}
    for secret in (*bench.chats.secrets, TOKEN):
        assert secret not in (tmp_path / "err").read_text()
