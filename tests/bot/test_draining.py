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

from bot.chat.twitch_tokens import TokenVault, new_key
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.channels import demo_channels
from demo.helix import CLIENT_ID, CLIENT_SECRET
from demo.pocket_twitch import PocketTwitch
from tests.bot.test_run import ended, running
from tests.chat.discord_stand_in import TOKEN as DISCORD_TOKEN
from tests.chat.discord_stand_in import Asked, DiscordStandIn
from tests.chat.twitch_bench import tokens_of, until
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES, TwitchStandIn
from tests.web.bench import TOKEN
from tests.web.test_serving import free_port

ASKERS = 10
LINES = 2
"""Twitch lets a bot that is no moderator say one line a second, and these are among the last words."""


@dataclass
class Bench:
    process: asyncio.subprocess.Process
    discord: DiscordStandIn
    twitch: TwitchStandIn
    url: str


@asynccontextmanager
async def both_chats_and_http(folder: Path, streams_url: str) -> AsyncIterator[Bench]:
    key, port = new_key(), free_port()
    async with DiscordStandIn() as discord, TwitchStandIn(second_s=0.05) as twitch:
        twitch.user("mira_plays")
        (folder / "data").mkdir()
        async with Database.at(f"sqlite:///{folder / 'data' / 'gamespotter.db'}") as database:
            await database.prepare()
            await TokenVault(TokenStore(database), [key]).keep(tokens_of(twitch.grant(BOT, BOT_SCOPES)))
        settings = {
            "DISCORD__TOKEN": DISCORD_TOKEN,
            "DISCORD__API_URL": discord.api_url,
            "DISCORD__GATEWAY_URL": discord.gateway_url,
            "TWITCH__CLIENT_ID": CLIENT_ID,
            "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
            "TWITCH__TOKEN_KEY": key,
            "TWITCH__CHANNELS": '["mira_plays"]',
            "TWITCH__GQL_URL": streams_url,
            "TWITCH__USHER_URL": streams_url,
            "TWITCH__HELIX_URL": twitch.url,
            "TWITCH__ID_URL": twitch.url,
            "TWITCH__EVENTSUB_URL": twitch.ws_url,
            "COLLECTION__ENABLED": "false",
            "LIMITS__USER_S": "0",
            "LIMITS__LOOKS_AT_ONCE": "64",
            "WEB__ENABLED": "true",
            "WEB__PORT": str(port),
            "WEB__TOKEN": TOKEN,
            "LOG__FORMAT": "json",
        }
        async with running(folder, **settings) as process:
            await discord.connected(within_s=90.0)
            await until(lambda: twitch.live or process.returncode is not None, timeout_s=90.0)
            yield Bench(process=process, discord=discord, twitch=twitch, url=f"http://127.0.0.1:{port}")


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
        channels = ["rookandroll", "mira_plays", *(f"nobody_{number}" for number in range(ASKERS))]
        async with both_chats_and_http(tmp_path, streams_url) as bench, aiohttp.ClientSession() as http:
            posted = [asyncio.create_task(post(http, bench.url, channel)) for channel in channels[:ASKERS]]
            asked = [await bench.discord.slash("game", channel=channel) for channel in channels[:ASKERS]]
            lines = [
                await bench.twitch.write("mira_plays", f"!game {channel}", by=f"viewer{number}")
                for number, channel in enumerate(channels[:LINES])
            ]
            # All have arrived: what was sent after the signal may find nobody.
            for each in asked:
                await until(lambda each=each: each.acknowledged_s is not None, timeout_s=60.0)
            bench.process.send_signal(signal.SIGTERM)
            over_http = await asyncio.gather(*posted)
            on_discord = await asyncio.gather(*(text_of(each) for each in asked))
            assert await ended(bench.process, within_s=60.0) == 0
            on_twitch = [said for line in lines for said in bench.twitch.answers(line)]
    assert len(on_twitch) == LINES, on_twitch
    assert bench.discord.violations == []
    if hang:
        assert {status for status, _ in over_http} == {503}
        for text in (*on_twitch, *on_discord, *(text for _, text in over_http)):
            assert "restarted" in text
    else:
        assert {status for status, _ in over_http} <= {200, 404, 503}
    log = [json.loads(line) for line in (tmp_path / "err").read_text().splitlines()]
    named = {line["request"] for line in log if line.get("event", "").startswith("game:")}
    assert len(named) == 2 * ASKERS + LINES
    assert {line["platform"] for line in log if line.get("request") in named} == {"discord", "twitch", "http"}
    for secret in (DISCORD_TOKEN, CLIENT_SECRET, TOKEN):
        assert secret not in (tmp_path / "err").read_text()
