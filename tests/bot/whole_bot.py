"""``python -m bot run`` as a process, and what it needs to be in both chats."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.chat.twitch_tokens import TokenVault, new_key
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.helix import CLIENT_ID, CLIENT_SECRET
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.chat.twitch_bench import tokens_of
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES, TwitchStandIn

ROOT = Path(__file__).parents[2]
CHANNEL = "mira_plays"


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


@dataclass
class BothChats:
    """Stand-ins of both chats, and the settings with which a bot is in them; its Twitch token is in the database."""

    discord: DiscordStandIn
    twitch: TwitchStandIn
    settings: dict[str, str]

    @property
    def secrets(self) -> tuple[str, ...]:
        return TOKEN, CLIENT_SECRET, self.settings["TWITCH__TOKEN_KEY"]


def led_to(discord: DiscordStandIn, twitch: TwitchStandIn) -> dict[str, str]:
    """Settings of a bot that knows these chats, and has neither's token."""
    return {
        "DISCORD__API_URL": discord.api_url,
        "DISCORD__GATEWAY_URL": discord.gateway_url,
        "TWITCH__CLIENT_ID": CLIENT_ID,
        "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
        "TWITCH__HELIX_URL": twitch.url,
        "TWITCH__ID_URL": twitch.url,
        "TWITCH__EVENTSUB_URL": twitch.ws_url,
        "COLLECTION__ENABLED": "false",
    }


@asynccontextmanager
async def both_chats(folder: Path, streams_url: str) -> AsyncIterator[BothChats]:
    """For a bot that runs in this folder and hears ``CHANNEL``."""
    key = new_key()
    async with DiscordStandIn() as discord, TwitchStandIn(second_s=0.05) as twitch:
        twitch.user(CHANNEL)
        (folder / "data").mkdir()
        async with Database.at(f"sqlite:///{folder / 'data' / 'gamespotter.db'}") as database:
            await database.prepare()
            await TokenVault(TokenStore(database), [key]).keep(tokens_of(twitch.grant(BOT, BOT_SCOPES)))
        settings = led_to(discord, twitch) | {
            "DISCORD__TOKEN": TOKEN,
            "TWITCH__TOKEN_KEY": key,
            "TWITCH__CHANNELS": f'["{CHANNEL}"]',
            "TWITCH__GQL_URL": streams_url,
            "TWITCH__USHER_URL": streams_url,
        }
        yield BothChats(discord=discord, twitch=twitch, settings=settings)
