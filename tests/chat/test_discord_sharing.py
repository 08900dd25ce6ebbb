"""Discord's shards among several processes: one hears each, they move, and a command is answered once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from bot.chat.discord_chat import DiscordChat
from bot.commands.request import Place, Reply, Request
from bot.replicas.membership import Replicas
from tests.chat.discord_conversation import QUICK, Answerer, chatting
from tests.chat.discord_stand_in import DiscordStandIn
from tests.chat.shared_memory import Memory, replica
from tests.chat.twitch_bench import until

SHARDS = 4
SHARD_NAMES = [f"discord:{number}/{SHARDS}" for number in range(SHARDS)]


class Party:
    """Chats that share a stand-in's shards."""

    def __init__(self, discord: DiscordStandIn) -> None:
        self.discord = discord
        self.memory = Memory()
        self.servers = [discord.add_server_on(shard) for shard in range(SHARDS)]
        self.answerer = Answerer(self.reply, takes_s=0.4)
        self.sharing: dict[str, Replicas] = {}
        self.chats: dict[str, DiscordChat] = {}
        self.stacks: dict[str, contextlib.AsyncExitStack] = {}

    def reply(self, request: Request) -> Reply:
        return Reply(text=f"an answer for {request.asker.name}")

    async def join(self, name: str, **options: object) -> None:
        stack = self.stacks[name] = contextlib.AsyncExitStack()
        self.sharing[name] = await stack.enter_async_context(replica(self.memory, name))
        chat = chatting(self.discord, self.answerer, sharing=self.sharing[name], **{"limits": QUICK, **options})
        self.chats[name] = await stack.enter_async_context(chat)

    async def leave(self, name: str) -> None:
        await self.stacks.pop(name).aclose()

    async def die(self, name: str) -> None:
        """End without a word: to the others it is as it was, until it has been silent for too long."""
        self.memory.dying.add(name)
        await self.leave(name)

    def shards(self) -> list[int]:
        return sorted(one.shard[0] for one in self.discord.open_sessions())

    async def divided(self) -> None:
        def is_so() -> bool:
            return self.shards() == list(range(SHARDS)) and all(chat.is_ready for chat in self.chats.values())

        await until(is_so, timeout_s=30)


@contextlib.asynccontextmanager
async def party(*names: str) -> AsyncIterator[Party]:
    async with DiscordStandIn(shards=SHARDS) as discord:
        here = Party(discord)
        try:
            for name in names:
                await here.join(name)
            yield here
        finally:
            for name in reversed(list(here.stacks)):
                await here.leave(name)
        assert discord.violations == []


async def test_each_shard_is_heard_by_one_of_them_and_all_have_some() -> None:
    async with party("a", "b", "c") as here:
        await here.divided()
        parts = [here.sharing[name].mine(SHARD_NAMES) for name in "abc"]
        assert sorted(map(len, parts)) == [1, 1, 2]
        for server in here.servers:
            asked = await here.discord.slash("help", server=server)
            assert (await asked.answered(within_s=20))["content"].startswith("an answer")


async def test_while_shards_move_every_command_is_answered_once() -> None:
    async with party("a") as here:
        await here.divided()
        asked, said = [], []

        async def ask() -> None:
            while True:
                server = here.servers[len(asked) % SHARDS]
                if len(asked) % (4 * SHARDS) < SHARDS:  # Discord takes five messages in five seconds in a channel
                    said.append(await here.discord.say("!help", server=server))
                asked.append(await here.discord.slash("help", server=server))
                await asyncio.sleep(0.1)

        asking = asyncio.create_task(ask())
        await here.join("b")
        await here.join("c")
        await until(lambda: all(one.is_ready for one in here.chats.values()), timeout_s=30)
        await here.divided()
        await here.sharing["b"].hand_over(within_s=30)
        await here.chats["b"].drained()
        await here.leave("b")
        del here.chats["b"]
        await here.divided()
        asking.cancel()
        for one in asked:
            await one.answered(within_s=30)
        for message in said:
            await here.discord.replies_to(message, within_s=30)
        await asyncio.sleep(0.2)
        assert all(len(one.messages) == 1 for one in asked)
        assert len(here.discord.sent) == len(said)
        assert len(here.answerer.requests) == len(asked) + len(said)


async def test_the_shards_of_one_that_dies_are_heard_by_the_others() -> None:
    async with party("a", "b", "c") as here:
        await here.divided()
        await here.die("c")
        del here.chats["c"]
        await here.divided()
        for server in here.servers:
            await (await here.discord.slash("help", server=server)).answered(within_s=20)


async def test_one_that_has_no_shard_is_ready_and_can_speak() -> None:
    async with party("a", "b", "c", "d", "e") as here:
        await here.divided()
        idle = [name for name in "abcde" if not here.sharing[name].mine(SHARD_NAMES)]
        assert len(idle) == 1
        place = Place(platform="discord", id=str(here.discord.servers[here.servers[0]][0]), server=str(here.servers[0]))
        assert await here.chats[idle[0]].announce(place, Reply(text="hello"))


async def test_sessions_are_begun_one_after_the_other_by_all_of_them() -> None:
    async with DiscordStandIn(shards=SHARDS) as discord:
        discord.identify_gap_s = 0.2
        here = Party(discord)
        try:
            for name in ("a", "b"):
                await here.join(name, limits=replace(QUICK, identify_gap_s=0.25))
            await here.divided()
        finally:
            for name in ("b", "a"):
                await here.leave(name)
        assert discord.violations == []


async def test_when_there_must_be_more_shards_all_go_by_the_new_number() -> None:
    async with party("a", "b") as here:
        await here.divided()
        here.discord.shards = SHARDS + 2
        await here.discord.close_all(4011)
        await until(
            lambda: (
                sorted(one.shard for one in here.discord.open_sessions())
                == [(number, SHARDS + 2) for number in range(SHARDS + 2)]
            ),
            timeout_s=30,
        )
