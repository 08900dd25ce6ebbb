"""Twitch channels among several processes: one reads each, it moves when that one dies, and a line is answered once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.commands.request import Place, Reply
from demo.helix import broadcaster_id
from tests.chat.shared_memory import Memory, replica
from tests.chat.twitch_bench import SECOND_S, Bench, until
from tests.chat.twitch_stand_in import TwitchStandIn

CHANNELS = [f"channel_{number}" for number in range(12)]


@contextlib.asynccontextmanager
async def chats(*names, memory):
    async with contextlib.AsyncExitStack() as stack:
        twitch = await stack.enter_async_context(TwitchStandIn(second_s=SECOND_S))
        bench = Bench(twitch, channels=CHANNELS)
        for channel in CHANNELS:
            twitch.user(channel)
        await bench.granted()
        bench.stacks, bench.sharing = {}, {}
        for name in names:
            await add(bench, name, memory=memory)
        try:
            yield bench
        finally:
            for one in bench.stacks.values():
                await one.aclose()
        assert twitch.violations == []


async def add(bench, name, *, memory):
    stack = contextlib.AsyncExitStack()
    bench.sharing[name] = await stack.enter_async_context(replica(memory, name))
    chat = bench.new_chat(sharing=bench.sharing[name])
    bench.stacks[name] = stack
    await stack.enter_async_context(bench.running(chat, live=0))
    return chat


async def test_each_channel_is_read_by_one_of_them() -> None:
    async with chats("a", "b", "c", memory=Memory()) as bench:
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        assert len(bench.twitch.sessions) == 3
        assert all(session.subscriptions for session in bench.twitch.sessions)


@pytest.mark.slow
async def test_while_channels_move_every_line_is_answered_once() -> None:
    memory = Memory()
    async with chats("a", memory=memory) as bench:
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        lines = []

        async def write() -> None:
            while True:
                channel = CHANNELS[len(lines) % len(CHANNELS)]
                lines.append(await bench.twitch.write(channel, "!game someone", by=f"viewer_{len(lines)}"))
                await asyncio.sleep(0.03)

        writing = asyncio.create_task(write())
        leaving = await add(bench, "b", memory=memory)
        await add(bench, "c", memory=memory)
        await until(lambda: len([s for s in bench.twitch.sessions if s.subscriptions]) == 3, timeout_s=20)
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        await bench.sharing["b"].hand_over(within_s=20)
        # What it heard before it stopped hearing is its own to answer: the bot waits for that before it closes a chat.
        await until(lambda: leaving.live_subscriptions == 0, timeout_s=20)
        await leaving.drained()
        await bench.stacks.pop("b").aclose()
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        writing.cancel()
        await until(lambda: all(bench.twitch.answers(line) for line in lines), timeout_s=20)
        await asyncio.sleep(0.1)
        assert [len(bench.twitch.answers(line)) for line in lines] == [1] * len(lines)


async def test_the_channels_of_one_that_dies_are_read_by_the_others() -> None:
    memory = Memory()
    async with chats("a", "b", memory=memory) as bench:
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        # Dead without a word: its connection is gone, and its row stays.
        memory.dying.add("b")
        await bench.stacks.pop("b").aclose()
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        line = await bench.twitch.write(CHANNELS[0], "!game someone")
        await until(lambda: bench.twitch.answers(line), timeout_s=20)


async def test_a_fourth_one_opens_no_connection_which_twitch_would_not_take_and_can_still_announce() -> None:
    memory = Memory()
    async with chats("a", "b", "c", memory=memory) as bench:
        await until(lambda: bench.twitch.live == sorted(CHANNELS), timeout_s=20)
        fourth = await add(bench, "d", memory=memory)
        await until(lambda: fourth.is_ready, timeout_s=20)
        assert len(bench.twitch.sessions) == 3
        assert fourth.live_subscriptions == fourth.wanted_subscriptions == 0
        place = Place(platform="twitch", id=broadcaster_id(CHANNELS[0]))
        assert await fourth.announce(place, Reply(text="hello"))
        assert [said.text for said in bench.twitch.said] == ["hello"]
