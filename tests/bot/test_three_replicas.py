"""Three processes of ``python -m bot run`` on one PostgreSQL, in both chats: one is killed, one comes, one ends."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bot.chat.twitch_tokens import TokenVault, new_key
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.channels import demo_channels
from demo.helix import CLIENT_SECRET
from demo.pocket_twitch import PocketTwitch
from tests.bot.whole_bot import ended, led_to, running
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.chat.twitch_bench import tokens_of, until
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES, TwitchStandIn
from tests.postgres import PostgresServer

CHANNELS = [f"channel_{number}" for number in range(9)]
SHARDS = 3
LEASE_S = 6.0
SETTLED_S = 2.5
PATIENT_S = 100.0


@dataclass(kw_only=True)
class Ask:
    """What somebody asked where and when, and how often it was answered."""

    place: str | int
    at_s: float
    answered: Callable[[], int]


@dataclass(kw_only=True)
class Chats:
    """Both chats, and what was asked in them."""

    discord: DiscordStandIn
    twitch: TwitchStandIn
    servers: list[int]
    asks: list[Ask] = field(default_factory=list)

    def heard(self) -> tuple[list[str], list[int], list[int]]:
        """Channels and shards that are heard, as often as they are; and how many channels each process hears."""
        shards = sorted(one.shard[0] for one in self.discord.open_sessions())
        return self.twitch.live, shards, sorted(len(session.subscriptions) for session in self.twitch.sessions)

    def channels_apart(self) -> tuple[str, str]:
        """Two channels that different processes hear."""
        one, other = [sorted(session.subscriptions.values()) for session in self.twitch.sessions][:2]
        return self.twitch.logins[one[0]], self.twitch.logins[other[0]]

    def unheard(self) -> set[str | int]:
        """Channels and servers that nobody hears."""
        channels = set(CHANNELS) - set(self.twitch.live)
        return channels | {server for server in self.servers if not self.discord.hearing(server)}

    async def write(self, channel: str) -> None:
        line = await self.twitch.write(channel, "!model", by=f"viewer_{len(self.asks)}")
        self._asked(channel, lambda: len(self.twitch.answers(line)))

    async def slash(self, server: int) -> None:
        asked = await self.discord.slash("model", server=server)
        self._asked(server, lambda: len(asked.messages))

    async def say(self, server: int) -> None:
        message = await self.discord.say("!model", server=server)
        references = self.discord.sent

        def answered() -> int:
            return sum((sent.get("message_reference") or {}).get("message_id") == message["id"] for sent in references)

        self._asked(server, answered)

    def _asked(self, place: str | int, answered: Callable[[], int]) -> None:
        self.asks.append(Ask(place=place, at_s=time.monotonic(), answered=answered))

    async def ask_on(self) -> None:
        """People who ask, each once, as often as Twitch lets a bot answer in a channel."""
        while True:
            for number, channel in enumerate(CHANNELS):
                await self.write(channel)
                await (self.slash if number % 2 else self.say)(self.servers[number % SHARDS])
                await asyncio.sleep(0.25)


@asynccontextmanager
async def chats() -> AsyncIterator[Chats]:
    async with DiscordStandIn(shards=SHARDS) as discord, TwitchStandIn(second_s=0.05) as twitch:
        discord.identify_gap_s = 4.5
        for channel in CHANNELS:
            twitch.user(channel)
        yield Chats(discord=discord, twitch=twitch, servers=[discord.add_server_on(shard) for shard in range(SHARDS)])
        assert discord.violations == []
        assert twitch.violations == []


async def answered(asks: list[Ask]) -> None:
    """Each once."""
    with suppress(TimeoutError):
        await until(lambda: all(ask.answered() for ask in asks), timeout_s=PATIENT_S / 4)
    await asyncio.sleep(1)
    wrong = [(ask.place, round(ask.at_s - asks[0].at_s, 1), ask.answered()) for ask in asks if ask.answered() != 1]
    assert wrong == []


class Stage:
    """Both chats, a database, and processes that share them."""

    def __init__(self, here: Chats, folder: Path, settings: dict[str, str], stack: AsyncExitStack) -> None:
        self.here = here
        self.folder = folder
        self.settings = settings
        self._stack = stack

    async def start(self, name: str) -> asyncio.subprocess.Process:
        (self.folder / name).mkdir()
        return await self._stack.enter_async_context(running(self.folder / name, **self.settings))

    async def divided(self, among: int) -> None:
        """Each channel and shard is heard once, and each process hears as many channels as any other, or one more."""
        each, over = divmod(len(CHANNELS), among)
        evenly = [each] * (among - over) + [each + 1] * over
        with suppress(TimeoutError):
            await until(lambda: self.here.heard() == (CHANNELS, list(range(SHARDS)), evenly), timeout_s=PATIENT_S)
        assert self.here.heard() == (CHANNELS, list(range(SHARDS)), evenly)

    async def told(self, channel: str, *, by: str) -> str:
        line = await self.here.twitch.write(channel, "!model", by=by)
        await until(lambda: self.here.twitch.answers(line), timeout_s=PATIENT_S)
        (said,) = self.here.twitch.answers(line)
        return said

    def logs(self) -> str:
        return "".join(log.read_text() for log in self.folder.glob("*/err"))


@asynccontextmanager
async def stage(postgres: PostgresServer, folder: Path) -> AsyncIterator[Stage]:
    url, key = postgres.url(postgres.fresh_database()), new_key()
    async with PocketTwitch(channels=demo_channels()) as pocket, chats() as here, AsyncExitStack() as stack:
        async with Database.at(url) as database:
            await database.migrate()
            await TokenVault(TokenStore(database), [key]).keep(tokens_of(here.twitch.grant(BOT, BOT_SCOPES)))
        settings = led_to(here.discord, here.twitch) | {
            "DATABASE__URL": url,
            "DATA__DIRECTORY": str(folder / "data"),
            "REPLICAS__ENABLED": "true",
            "REPLICAS__LEASE_S": str(LEASE_S),
            "LIMITS__USER_S": "600",
            "LIMITS__PLACE_ASKS": "10000",
            "DISCORD__TOKEN": TOKEN,
            "DISCORD__MESSAGE_CONTENT": "true",
            "TWITCH__TOKEN_KEY": key,
            "TWITCH__CHANNELS": json.dumps(CHANNELS),
            "TWITCH__GQL_URL": pocket.base_url,
            "TWITCH__USHER_URL": pocket.base_url,
        }
        there = Stage(here, folder, settings, stack)
        yield there
    logs = there.logs()
    assert "Traceback" not in logs
    assert "Unclosed" not in logs
    for secret in (TOKEN, CLIENT_SECRET, key, postgres.password):
        assert secret not in logs


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_one_is_killed_another_comes_and_another_ends_while_people_ask(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stage(postgres, tmp_path) as there:
        here = there.here
        first, second, third = [await there.start(name) for name in ("first", "second", "third")]
        await there.divided(among=3)

        # Who is to wait in one place waits in all of them, whichever process hears it.
        one, other = here.channels_apart()
        assert "starter-1" in await there.told(one, by="hasty")
        assert "starter-1" not in await there.told(other, by="hasty")

        asking = asyncio.create_task(here.ask_on())
        await asyncio.sleep(SETTLED_S)

        second.kill()
        killed_s = time.monotonic()
        await second.wait()
        await until(lambda: bool(here.unheard()), timeout_s=PATIENT_S)
        orphaned = here.unheard()
        assert {type(place) for place in orphaned} == {str, int}
        await until(lambda: not here.unheard(), timeout_s=PATIENT_S)
        heard_s = time.monotonic()
        await there.divided(among=2)

        await asyncio.sleep(SETTLED_S)
        await there.start("fourth")
        await there.divided(among=3)

        await asyncio.sleep(SETTLED_S)
        ended_s = time.monotonic()
        third.send_signal(signal.SIGTERM)
        assert await ended(third) == 0
        ended_s = time.monotonic() - ended_s
        await there.divided(among=2)
        await asyncio.sleep(SETTLED_S)
        asking.cancel()
        await asyncio.wait({asking})

        # Of what the killed one was asked last, and of what nobody heard, there is no answer; of all else there is one.
        lost = [ask for ask in here.asks if ask.place in orphaned and killed_s - SETTLED_S / 2 < ask.at_s < heard_s]
        others = [ask for ask in here.asks if ask not in lost]
        await answered(others)
        assert all(ask.answered() <= 1 for ask in lost)
        # Who was told to wait waits on in silence, also where another process has come to hear the place.
        lines = [await here.twitch.write(channel, "!model", by="hasty") for channel in CHANNELS]
        await asyncio.gather(*(there.told(channel, by=f"last_in_{channel}") for channel in CHANNELS))
        assert not any(here.twitch.answers(line) for line in lines)

        lost_ones = sum(not ask.answered() for ask in lost)
        took_s = heard_s - killed_s
        with capsys.disabled():
            print(
                f"\nKilled: its {len(orphaned)} places were heard again after {took_s:.1f} of {LEASE_S:.0f} s;"
                f" of {len(here.asks)} asks {lost_ones} were lost with it, none was answered twice."
                f" One that was told to end did in {ended_s:.1f} s."
            )
        first.send_signal(signal.SIGTERM)
        assert await ended(first) == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_while_the_database_is_away_all_hear_on_what_is_theirs(postgres: PostgresServer, tmp_path: Path) -> None:
    async with stage(postgres, tmp_path) as there:
        here = there.here
        for name in ("first", "second", "third"):
            await there.start(name)
        await there.divided(among=3)
        division = [dict(session.subscriptions) for session in here.twitch.sessions]
        asking = asyncio.create_task(here.ask_on())
        await asyncio.sleep(SETTLED_S)
        postgres.stop()
        try:
            await asyncio.sleep(2 * LEASE_S)
        finally:
            postgres.restart()
        await asyncio.sleep(2 * LEASE_S)
        asking.cancel()
        await asyncio.wait({asking})
        await answered(here.asks)
        assert [dict(session.subscriptions) for session in here.twitch.sessions] == division
        assert len(here.discord.identifies) == SHARDS
