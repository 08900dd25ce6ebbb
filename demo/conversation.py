"""The bot's own terminal chat, as a child process that was led to the pocket Twitch.

Nothing of the bot is imported: its command line and some environment variables are all that is known of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.helix import CLIENT_ID, CLIENT_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

COMMAND = (sys.executable, "-m", "bot", "console")
"""The bot's terminal chat."""

SCRIPT = (
    "!help",
    "!game mira_plays",
    "!game -v trainspotter_tom",
    "!game https://www.twitch.tv/PixelPekka",
    "!game @hookshot_hana",
    "!game lemming_lou",
    "!game homebrew_hank",
    "!game adbreak_andy",
    "!game sleepy_sam",
    "!game nobody_of_this_name",
    "!game subs_only_sue",
    "!game file:///etc/passwd",
    "!game mira_plays",
)
"""What is asked when nobody sits at a terminal; the last question is answered from memory."""

_PROMPT = "> "
_END_GRACE_S = 5.0
_INTERRUPTED = (128 + signal.SIGINT, -signal.SIGINT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a conversation ended.

    Attributes:
        exit_code: of the bot; None when it had to be ended. Ended by Ctrl-C counts as 0.
        unanswered: questions of the script that no line followed.
    """

    exit_code: int | None
    unanswered: tuple[str, ...] = ()


async def talk(base_url: str, *, command: Sequence[str] = COMMAND) -> Outcome:
    """Give the terminal to the bot until it ends.

    Args:
        base_url: of the pocket Twitch.
        command: what to run.
    """
    with _interrupts_left_to_the_bot(), _environment(base_url) as environment:
        bot = await asyncio.create_subprocess_exec(*command, env=environment)
        async with _ended(bot):
            exit_code = await bot.wait()
    return Outcome(exit_code=0 if exit_code in _INTERRUPTED else exit_code)


async def play(
    base_url: str, script: Sequence[str] = SCRIPT, *, command: Sequence[str] = COMMAND, limit_s: float = 180.0
) -> Outcome:
    """Ask the bot what the script says, and print what is asked and answered.

    Args:
        base_url: of the pocket Twitch.
        script: the lines to type.
        command: what to run.
        limit_s: for all of it; a bot that takes longer is ended.
    """
    with _environment(base_url) as environment:
        return await _play(script, command, environment, limit_s)


async def _play(
    script: Sequence[str], command: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> Outcome:
    bot = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    async with _ended(bot):
        if bot.stdin is None or bot.stdout is None:
            raise AssertionError("both were asked for")
        # The script is shorter than a pipe's buffer, so nothing has to be read meanwhile.
        bot.stdin.write("".join(f"{line}\n" for line in script).encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended early, and its exit code says so
            await bot.stdin.drain()
        bot.stdin.close()
        said: list[str] = []
        try:
            async with asyncio.timeout(limit_s):
                async for line in bot.stdout:
                    said.append(line.decode(errors="replace").rstrip())
                    print(said[-1], flush=True)
                exit_code: int | None = await bot.wait()
        except TimeoutError:
            exit_code = None
        return Outcome(exit_code=exit_code, unanswered=unanswered(script, said))


def unanswered(script: Sequence[str], said: Sequence[str]) -> tuple[str, ...]:
    """The questions after which the bot said nothing before the next one; pure.

    Args:
        script: what was asked, in order.
        said: the lines of the bot, which repeats each question behind a prompt.
    """
    answers: list[int] = []
    for line in said:
        if len(answers) < len(script) and line == f"{_PROMPT}{script[len(answers)]}":
            answers.append(0)
        elif answers and line.strip():
            answers[-1] += 1
    answers += [0] * (len(script) - len(answers))
    return tuple(question for question, lines in zip(script, answers, strict=True) if not lines)


def way_to(base_url: str) -> Mapping[str, str]:
    """The environment variables that lead the bot to a pocket Twitch.

    Args:
        base_url: of the pocket Twitch.
    """
    return {
        "GAMESPOTTER_TWITCH__GQL_URL": base_url,
        "GAMESPOTTER_TWITCH__USHER_URL": base_url,
        "GAMESPOTTER_TWITCH__HELIX_URL": base_url,
        "GAMESPOTTER_TWITCH__ID_URL": base_url,
        "GAMESPOTTER_TWITCH__CLIENT_ID": CLIENT_ID,
        "GAMESPOTTER_TWITCH__CLIENT_SECRET": CLIENT_SECRET,
    }


@contextlib.contextmanager
def _environment(base_url: str) -> Iterator[Mapping[str, str]]:
    """The whole environment of the bot, with a data directory that lasts as long as the demo."""
    with tempfile.TemporaryDirectory(prefix="gamespotter-demo-", ignore_cleanup_errors=True) as directory:
        yield {
            **os.environ,
            **way_to(base_url),
            "GAMESPOTTER_DATA__DIRECTORY": directory,
            "PYTHONIOENCODING": "utf-8",
        }


@contextlib.contextmanager
def _interrupts_left_to_the_bot() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; the bot ends by it, and that ends the demo."""
    # A handler of our own rather than SIG_IGN, which the bot would inherit.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.asynccontextmanager
async def _ended(bot: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Leave no bot behind, however this ends."""
    try:
        yield
    finally:
        if bot.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                bot.terminate()
            try:
                async with asyncio.timeout(_END_GRACE_S):
                    await bot.wait()
            except TimeoutError:
                bot.kill()
                await bot.wait()
