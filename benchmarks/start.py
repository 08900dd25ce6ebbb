"""How long the bot takes to be ready, and how much memory it holds: `python benchmarks/start.py`.

Starts the terminal chat several times against a pocket Twitch of its own. Ready means that it has answered `!model`,
with the model loaded and run once. The memory is what is resident then, and after a channel has been asked about.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Annotated

import psutil
import typer

from demo.channels import BundledClip, Channel
from demo.pocket_twitch import PocketTwitch

CHANNEL = Channel(
    login="mira_plays",
    display_name="Mira_Plays",
    title="a stream",
    declared_category=None,
    source=BundledClip(name="doom__s01"),
)


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start: seconds until ready, and resident bytes then and after an answer."""

    ready_s: float
    ready_bytes: int
    answered_bytes: int
    answer: str


async def start(base_url: str, data: str) -> Start:
    """Start the bot once, ask it twice, end it."""
    began_s = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "console"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "GAMESPOTTER_TWITCH__GQL_URL": base_url,
            "GAMESPOTTER_TWITCH__USHER_URL": base_url,
            "GAMESPOTTER_DATA__DIRECTORY": data,
        },
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def ask(line: str) -> str:
        process.stdin.write(f"{line}\n".encode())
        await process.stdout.readline()  # the question, echoed
        return (await process.stdout.readline()).decode().strip()

    await ask("!model")
    ready_s = time.perf_counter() - began_s
    ready_bytes = psutil.Process(process.pid).memory_info().rss
    answer = await ask(f"!game {CHANNEL.login}")
    answered_bytes = psutil.Process(process.pid).memory_info().rss
    process.stdin.close()
    await process.wait()
    return Start(ready_s=ready_s, ready_bytes=ready_bytes, answered_bytes=answered_bytes, answer=answer)


async def measure(rounds: int) -> list[Start]:
    """Start the bot one time after another."""
    with tempfile.TemporaryDirectory() as data:
        async with PocketTwitch(channels=[CHANNEL]) as twitch:
            return [await start(twitch.base_url, data) for _ in range(rounds)]


def main(rounds: Annotated[int, typer.Option(help="How often it is started.")] = 5) -> None:
    """Print the median and the worst of each figure."""
    starts = asyncio.run(measure(rounds))
    print(f"{rounds} starts; the last answer: {starts[-1].answer}")
    print(f"{'':34}{'median':>10}{'worst':>10}")
    rows = {
        "ready, s": [item.ready_s for item in starts],
        "resident when ready, MB": [item.ready_bytes / 1e6 for item in starts],
        "resident after an answer, MB": [item.answered_bytes / 1e6 for item in starts],
    }
    for name, values in rows.items():
        print(f"{name:34}{statistics.median(values):10.2f}{max(values):10.2f}")


if __name__ == "__main__":
    typer.run(main)
