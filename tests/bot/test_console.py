from __future__ import annotations

import asyncio
import io
import os

from bot.chat.console import ConsoleChat
from bot.commands.parser import CommandWords
from bot.commands.request import Identify, Reply, Request


class Echo:
    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def handle(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(text=f"answer {len(self.requests)}")


async def converse(script: str) -> tuple[Echo, list[str]]:
    echo, out = Echo(), io.StringIO()
    async with asyncio.timeout(20):
        await ConsoleChat(words=CommandWords(), lines=io.StringIO(script), out=out).run(echo.handle)
    return echo, out.getvalue().splitlines()


async def test_a_script_reads_like_a_conversation() -> None:
    echo, lines = await converse("!game some_channel\n\n!game -v @Other\n")

    assert lines == ["> !game some_channel", "answer 1", "> ", "> !game -v @Other", "answer 2"]
    assert [request.command for request in echo.requests] == [
        Identify(channel="some_channel"),
        Identify(channel="@Other", verbose=True),
    ]


async def test_a_last_line_without_a_line_feed_counts() -> None:
    _, lines = await converse("!game some_channel")

    assert lines == ["> !game some_channel", "answer 1"]


async def test_what_is_no_command_gets_a_hint() -> None:
    echo, lines = await converse("hello\n")

    assert echo.requests == []
    assert lines[1] == "A command begins with !; !help lists them."


async def test_quit_ends_the_conversation() -> None:
    echo, lines = await converse("!quit\n!game x\n")

    assert echo.requests == []
    assert lines == ["> !quit"]


async def test_cancelling_ends_the_chat_while_it_waits_for_a_line() -> None:
    reading, writing = os.pipe()
    with open(reading) as lines, open(writing, "w"):
        chat = asyncio.create_task(ConsoleChat(words=CommandWords(), lines=lines, out=io.StringIO()).run(Echo().handle))
        await asyncio.sleep(0.05)
        chat.cancel()
        async with asyncio.timeout(10):
            results = await asyncio.gather(chat, return_exceptions=True)
        os.write(writing, b"\n")

    assert isinstance(results[0], asyncio.CancelledError)
