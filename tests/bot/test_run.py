"""``python -m bot run`` as an operator runs it: a process in both chats, over the pocket Twitch."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.chat.twitch_tokens import TokenVault, new_key
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.channels import demo_channels
from demo.helix import CLIENT_ID, CLIENT_SECRET
from demo.pocket_twitch import PocketTwitch
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.chat.twitch_bench import tokens_of, until
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES, TwitchStandIn

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(folder: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process; what it says is in the files ``out`` and ``err``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GAMESPOTTER_")}
    given = {f"GAMESPOTTER_{name}": value for name, value in environment.items()}
    with (folder / "out").open("ab") as out, (folder / "err").open("ab") as err:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "run"),
            cwd=folder,
            env=inherited | {"PYTHONPATH": str(ROOT)} | given,
            stdout=out,
            stderr=err,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ended(process: asyncio.subprocess.Process, *, within_s: float = 90.0) -> int:
    async with asyncio.timeout(within_s):
        return await process.wait()


async def test_it_answers_in_both_chats_and_ends_when_told(tmp_path: Path) -> None:
    key = new_key()
    async with (
        PocketTwitch(channels=demo_channels()) as pocket,
        DiscordStandIn() as discord,
        TwitchStandIn(second_s=0.05) as twitch,
    ):
        twitch.user("mira_plays")
        (tmp_path / "data").mkdir()
        async with Database.at(f"sqlite:///{tmp_path / 'data' / 'gamespotter.db'}") as database:
            await database.prepare()
            await TokenVault(TokenStore(database), [key]).keep(tokens_of(twitch.grant(BOT, BOT_SCOPES)))
        settings = {
            "DISCORD__TOKEN": TOKEN,
            "DISCORD__API_URL": discord.api_url,
            "DISCORD__GATEWAY_URL": discord.gateway_url,
            "TWITCH__CLIENT_ID": CLIENT_ID,
            "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
            "TWITCH__TOKEN_KEY": key,
            "TWITCH__CHANNELS": '["mira_plays"]',
            "TWITCH__GQL_URL": pocket.base_url,
            "TWITCH__USHER_URL": pocket.base_url,
            "TWITCH__HELIX_URL": twitch.url,
            "TWITCH__ID_URL": twitch.url,
            "TWITCH__EVENTSUB_URL": twitch.ws_url,
            "COLLECTION__ENABLED": "false",
        }
        async with running(tmp_path, **settings) as process:
            await discord.connected(within_s=90.0)
            asked = await discord.slash("game", channel="rookandroll")
            message = await asked.answered(within_s=90.0)
            await until(lambda: twitch.live or process.returncode is not None, timeout_s=90.0)
            line = await twitch.write("mira_plays", "!game", by="viewer")
            await until(lambda: twitch.answers(line), timeout_s=90.0)
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
        embed: dict[str, Any] = message["embeds"][0]
        assert {field["name"]: field["value"] for field in embed["fields"]}["Seen"].startswith("Chess ")
        assert message["attachments"]
        (said,) = twitch.answers(line)
        assert said.startswith("Seen: Freedoom ")
        assert discord.violations == []
    log = (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert "Discord: on." in log
    assert "Twitch chat: on." in log
    assert "Traceback" not in log
    for secret in (TOKEN, CLIENT_SECRET, key):
        assert secret not in log


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DISCORD__TOKEN": "wrong"}, "does not accept the bot's token"),
        ({"TWITCH__TOKEN_KEY": "no key"}, "GAMESPOTTER_TWITCH__TOKEN_KEY holds something that is no key"),
        ({"TWITCH__TOKEN_KEY": new_key()}, "python -m bot authorise"),
    ],
)
async def test_a_chat_that_refuses_us_ends_it_with_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    async with DiscordStandIn() as discord, TwitchStandIn(second_s=0.05) as twitch:
        settings = {
            "DISCORD__API_URL": discord.api_url,
            "DISCORD__GATEWAY_URL": discord.gateway_url,
            "TWITCH__CLIENT_ID": CLIENT_ID,
            "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
            "TWITCH__HELIX_URL": twitch.url,
            "TWITCH__ID_URL": twitch.url,
            "TWITCH__EVENTSUB_URL": twitch.ws_url,
            "COLLECTION__ENABLED": "false",
        }
        async with running(tmp_path, **settings, **environment) as process:
            assert await ended(process) == 1
    log = (tmp_path / "err").read_text()
    assert sentence in log.splitlines()[-1]
    assert "Traceback" not in log
    assert CLIENT_SECRET not in log


async def test_a_chat_that_refuses_us_does_not_take_the_other_one_with_it(tmp_path: Path) -> None:
    async with DiscordStandIn() as discord, TwitchStandIn(second_s=0.05) as twitch:
        settings = {
            "DISCORD__TOKEN": TOKEN,
            "DISCORD__API_URL": discord.api_url,
            "DISCORD__GATEWAY_URL": discord.gateway_url,
            "TWITCH__CLIENT_ID": CLIENT_ID,
            "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
            "TWITCH__TOKEN_KEY": new_key(),
            "TWITCH__HELIX_URL": twitch.url,
            "TWITCH__ID_URL": twitch.url,
            "TWITCH__EVENTSUB_URL": twitch.ws_url,
            "COLLECTION__ENABLED": "false",
        }
        async with running(tmp_path, **settings) as process:
            await discord.connected(within_s=90.0)
            await until(lambda: "twitch is off until the next start" in (tmp_path / "err").read_text(), timeout_s=90.0)
            asked = await discord.slash("model")
            assert "starter-1" in (await asked.answered(within_s=90.0))["content"]
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
    assert "python -m bot authorise" in (tmp_path / "err").read_text()
