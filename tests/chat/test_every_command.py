"""Every command on all three platforms, in one table: the unmodified clients, one service, a real database."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from bot.chat.console import ConsoleChat
from bot.commands.parser import CommandWords
from bot.commands.request import Place, Role
from core.errors import StreamOffline
from core.storage.records import FlagState
from demo.helix import broadcaster_id
from tests.chat.discord_conversation import Answerer, chatting
from tests.chat.discord_stand_in import MODERATORS_ROLE_ID, DiscordStandIn, Person
from tests.chat.twitch_bench import SECOND_S, Bench, until
from tests.chat.twitch_stand_in import TwitchStandIn
from tests.desk import CHANNEL, OFFLINE, Desk, open_desk

SLASH = {
    "game": ("channel",),
    "flag": ("channel", "game"),
    "unflag": ("number",),
    "flags": ("channel",),
    "games": ("filter",),
    "timeline": ("channel",),
    "optout": ("channel",),
}

VIEWER, MODERATOR, OPERATOR = Role.VIEWER, Role.MODERATOR, Role.OPERATOR

TABLE = [
    # what is typed, by whom, what is said (on each platform, wherever it stands in the message)
    ("game some_channel", VIEWER, ("VALORANT 99 %", "1/1", "Minecraft")),
    ("game https://twitch.tv/Some_Channel", VIEWER, ("VALORANT 99 %", "1/1", "Minecraft")),
    ("game sleepy_sam", VIEWER, ("sleepy_sam is offline", "Chess")),
    ("game file:///x", VIEWER, ("is not on the site that I look at",)),
    ("games val", VIEWER, ("VALORANT",)),
    ("games qqqq", VIEWER, ("qqqq",)),
    ("model", VIEWER, ("Model test-1", "3 games")),
    ("help", VIEWER, ("!game", "!flag")),
    ("timeline some_channel", VIEWER, ("VALORANT",)),
    ("flag some_channel Chess", VIEWER, ("Only moderators",)),
    ("flag some_channel chesss", MODERATOR, ("Which game do you mean", "Chess")),
    ("flag some_channel qqqq", MODERATOR, ("I know no game like",)),
    ("flag some_channel Chess", MODERATOR, ("Flag 1", "some_channel showed Chess")),
    ("flags some_channel", MODERATOR, ("some_channel is Chess, not VALORANT",)),
    ("unflag 1", MODERATOR, ("Flag 1 is withdrawn",)),
    ("unflag 99", MODERATOR, ("There is no flag 99",)),
    ("watch on some_channel", VIEWER, ("Only moderators",)),
    ("watch on some_channel", MODERATOR, ("I look at some_channel every 4 min",)),
    ("watch", MODERATOR, ("some_channel",)),
    ("watch off some_channel", MODERATOR, ("some_channel",)),
    ("optout some_channel", VIEWER, ("Only some_channel can say that",)),
    ("optout some_channel", OPERATOR, ("I leave some_channel alone from now on",)),
    ("game some_channel", VIEWER, ("some_channel asked me not to look",)),
]


class Platform(Protocol):
    async def asks(self, text: str, role: Role) -> str:
        """Everything that is to be read in the answer."""
        ...


class Discord:
    def __init__(self, stand_in: DiscordStandIn) -> None:
        self.stand_in = stand_in
        self.people = {
            VIEWER: Person(id=101, name="viewer"),
            MODERATOR: Person(id=102, name="mod", roles=(MODERATORS_ROLE_ID,)),
            OPERATOR: Person(id=103, name="op"),
        }

    async def asks(self, text: str, role: Role) -> str:
        name, *rest = text.split(" ", 2)
        options: dict[str, Any] = dict(zip(SLASH.get(name, ()), rest, strict=False))
        if name == "watch" and rest:
            options = {"on": rest[0] == "on", "channel": rest[1]}
        asked = await self.stand_in.slash(name, person=self.people[role], **options)
        return _read(await asked.answered())


class Twitch:
    def __init__(self, stand_in: TwitchStandIn) -> None:
        self.stand_in = stand_in

    async def asks(self, text: str, role: Role) -> str:
        by = {VIEWER: "viewer", MODERATOR: "mod", OPERATOR: "operator"}[role]
        badges = ("moderator",) if role is MODERATOR else ()
        message = await self.stand_in.write(CHANNEL, f"!{text}", by=by, badges=badges)
        await until(lambda: self.stand_in.answers(message), timeout_s=10.0)
        (said,) = self.stand_in.answers(message)
        assert len(said) <= 450
        assert "\n" not in said
        return str(said)


class Console:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def asks(self, text: str, role: Role) -> str:
        out = io.StringIO()

        async def handle(request: Any) -> Any:
            # The terminal is the operator's; others are tried by what they may.
            asker = request.asker if role is OPERATOR else replace(request.asker, role=role)
            # As if the terminal stood in a chat: only there is something watched.
            place = Place(platform="console")
            return await self.desk.service.handle(replace(request, asker=asker, place=place))

        await ConsoleChat(words=CommandWords(), lines=io.StringIO(f"!{text}\n"), out=out).run(handle)
        return out.getvalue()


def _read(message: dict[str, Any]) -> str:
    parts = [message["content"]]
    for embed in message["embeds"]:
        parts += [embed.get("title", ""), embed.get("description", "")]
        parts += [f"{field['name']}: {field['value']}" for field in embed.get("fields", [])]
    # Discord would take the names' underscores for italics.
    return "\n".join(parts).replace("\\_", "_")


@asynccontextmanager
async def on_platform(name: str, desk: Desk) -> AsyncIterator[Platform]:
    handle = desk.service.handle
    if name == "discord":
        answerer = Answerer()
        answerer.handle = handle  # type: ignore[method-assign]
        async with (
            DiscordStandIn() as discord,
            chatting(discord, answerer, moderator_roles=[MODERATORS_ROLE_ID], operators=[103]),
        ):
            yield Discord(discord)
            assert discord.violations == []
    elif name == "twitch":
        async with TwitchStandIn(second_s=SECOND_S) as twitch:
            twitch.user(CHANNEL)
            bench = Bench(twitch, channels=[CHANNEL], operators=[broadcaster_id("operator")])
            bench.handle = handle  # type: ignore[method-assign]
            await bench.granted()
            async with bench.running():
                yield Twitch(twitch)
            assert not twitch.violations
    else:
        yield Console(desk)


@pytest.mark.parametrize("platform", ["discord", "twitch", "console"])
async def test_every_command_is_answered_alike(platform: str, tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk, on_platform(platform, desk) as there:
        desk.sampler.problems[OFFLINE] = StreamOffline(OFFLINE)
        for text, role, fragments in TABLE:
            async with asyncio.timeout(20):
                read = await there.asks(text, role)
                await desk.recorder.all_settled()
            missing = [fragment for fragment in fragments if fragment not in read]
            assert not missing, f"!{text} by {role.name}: {read!r} lacks {missing}"
            if text == "flag some_channel Chess" and role is MODERATOR:
                (flag,) = await desk.flags.flags(CHANNEL, limit=5)
                # On Twitch they moderate that very channel.
                assert flag.state is (FlagState.ACCEPTED if platform == "twitch" else FlagState.OPEN)


async def test_in_a_twitch_chat_a_command_without_a_channel_is_about_this_one(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk, on_platform("twitch", desk) as there:
        assert await there.asks("game", VIEWER) == "Seen: VALORANT 99 % (1/1) · Declared: Minecraft"
        await desk.recorder.all_settled()
        assert "VALORANT" in await there.asks("timeline", VIEWER)
        assert "Flag 1" in await there.asks(f"flag {CHANNEL} Chess", MODERATOR)
