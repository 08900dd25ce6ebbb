"""The terminal as a chat: no account needed. With no terminal, a conversation read line by line and echoed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from bot.commands.parser import parse_command
from bot.commands.request import Asker, Request, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.chat.platform import Handle
    from bot.commands.parser import CommandWords
    from bot.commands.request import Place, Reply

_PROMPT = "> "
_OPERATOR = Asker(platform="console", name="operator", role=Role.OPERATOR)
"""Whoever can start the bot can do everything else to its data, too."""


class ConsoleChat:
    """One person at a terminal, or a script on standard input."""

    def __init__(self, *, words: CommandWords, lines: TextIO | None = None, out: TextIO | None = None) -> None:
        """Talk on standard input and output, or on the given ones.

        Args:
            words: how commands are written.
            lines: where the person's lines come from; standard input by default.
            out: where questions and answers are written; standard output by default.
        """
        self._words = words
        self._lines = lines if lines is not None else sys.stdin
        self._out = out if out is not None else sys.stdout

    @property
    def name(self) -> str:
        """The terminal's."""
        return "console"

    @property
    def is_ready(self) -> bool:
        """Always."""
        return True

    async def drained(self) -> None:
        """Wait for nothing: a line is answered before the next is read."""

    async def announce(self, place: Place, reply: Reply) -> bool:  # noqa: ARG002 - there is one place
        """Print it between the answers."""
        self._say(reply.text)
        return True

    async def run(self, handle: Handle) -> None:
        """Answer line after line until the end of input; ``quit`` and ``exit`` end it too."""
        if self._lines is sys.stdin and sys.stdin.isatty():
            with patch_stdout():
                await self._converse(handle, self._typed_lines())
        else:
            await self._converse(handle, self._scripted_lines())

    async def _converse(self, handle: Handle, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            text = line.strip()
            if text.casefold().lstrip(self._words.prefix) in {"quit", "exit"}:
                return
            if not text:
                continue
            command = parse_command(text, words=self._words)
            if command is None:
                shown = self._words.shown("help")
                self._say(f"A command begins with {self._words.prefix}; {shown} lists them.")
                continue
            reply = await handle(Request(command=command, asker=_OPERATOR))
            self._say(reply.text)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    async def _typed_lines(self) -> AsyncIterator[str]:
        session: PromptSession[str] = PromptSession(_PROMPT)
        while True:
            try:
                yield await session.prompt_async()
            except (EOFError, KeyboardInterrupt):
                return

    async def _scripted_lines(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[str] = asyncio.Queue()

        def read() -> None:
            # An empty line without its line feed marks the end, and readline itself ends with one.
            with contextlib.suppress(RuntimeError, ValueError):  # loop or file is closed: nobody listens any more
                while line := self._lines.readline():
                    loop.call_soon_threadsafe(arrived.put_nowait, line)
                loop.call_soon_threadsafe(arrived.put_nowait, "")

        # A daemon, because a thread that waits for a line can be neither cancelled nor joined.
        threading.Thread(target=read, name="console-lines", daemon=True).start()
        while line := await arrived.get():
            self._say(f"{_PROMPT}{line.rstrip()}")
            yield line
