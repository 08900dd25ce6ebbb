"""``crawl`` as a keeper runs it: its own process, a pocket Twitch on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.nights.crawl import next_time_of_day
from demo.channels import night_channels
from demo.conversation import way_to
from demo.pocket_twitch import PocketTwitch

CATEGORIES, STREAMS = 4, 3


class Keeper:
    """Runs verbs in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GAMESPOTTER_")},
            **environment,
            "GAMESPOTTER_COLLECTION__MIN_LIVE_STREAMS": "2",
            "GAMESPOTTER_COLLECTION__PARALLEL": "2",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment,
        )

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert b"Traceback" not in err, err.decode()
        return process.returncode, out.decode(), err.decode()

    async def info(self) -> dict[str, int]:
        _, out, _ = await self.run("data", "info", "--json")
        return json.loads(out)


@pytest.fixture
async def twitch() -> AsyncIterator[PocketTwitch]:
    channels = night_channels(categories=CATEGORIES, per_category=STREAMS)
    async with PocketTwitch(channels=channels, latency_s=0.15) as running:
        await running.prepare()
        yield running


@pytest.fixture
def keeper(tmp_path: Path, twitch: PocketTwitch) -> Keeper:
    return Keeper(tmp_path, dict(way_to(twitch.base_url)))


async def test_a_crawl_ends_with_the_closing_line_of_old_and_says_nothing_new_the_same_day(keeper: Keeper) -> None:
    code, out, err = await keeper.run("crawl", "--games", "3", "--streams", "2")
    info = await keeper.info()

    assert (code, err) == (0, "")
    assert f"Downloaded {info['frames']} frame(s) from {info['streams']} stream(s). Failed 0 time(s)." in out
    assert info["frames"] > 0
    assert len(list((keeper.folder / "data" / "frames").rglob("*.jpg"))) <= info["frames"]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
async def test_a_crawl_that_is_ended_goes_on_when_it_is_begun_again(keeper: Keeper, number: signal.Signals) -> None:
    process = await keeper.start("crawl")
    async with asyncio.timeout(60):
        while not list((keeper.folder / "data").rglob("*.jpg")):
            await asyncio.sleep(0.02)
    process.send_signal(number)
    out, err = await process.communicate()
    assert process.returncode == 0
    assert err == b""
    assert b"Interrupting. Please wait." in out
    assert b"started again the same night, it goes on." in out
    first = await keeper.info()

    code, again, _ = await keeper.run("crawl")
    assert code == 0
    second = await keeper.info()
    assert second["streams"] > first["streams"] > 0
    assert f"Downloaded {second['frames']} frame(s) from {second['streams']} stream(s)." in again


async def test_without_credentials_a_crawl_says_which(keeper: Keeper) -> None:
    del keeper.environment["GAMESPOTTER_TWITCH__CLIENT_SECRET"]
    code, out, err = await keeper.run("crawl")

    assert (code, out) == (2, "")
    assert "GAMESPOTTER_TWITCH__CLIENT_SECRET" in err


async def test_credentials_that_twitch_does_not_know_are_refused_in_a_sentence(keeper: Keeper) -> None:
    keeper.environment["GAMESPOTTER_TWITCH__CLIENT_SECRET"] = "hunter2"
    code, _, err = await keeper.run("crawl")

    assert code == 1
    assert len(err.splitlines()) == 1
    assert "hunter2" not in err


@pytest.mark.parametrize("text", ["6", "24:00", "06:30:00", "soon", "06:30Z"])
async def test_what_is_no_time_of_day_is_refused(keeper: Keeper, text: str) -> None:
    code, _, err = await keeper.run("crawl", "--until", text)

    assert (code, err) == (2, f"{text} is not a time of day; write it as in 06:30.\n")


def test_until_is_the_next_time_that_the_clock_shows_it() -> None:
    now = datetime(2026, 11, 21, 23, 30).astimezone()

    assert next_time_of_day("23:45", now=now) - now == timedelta(minutes=15)
    assert next_time_of_day("06:30", now=now) - now == timedelta(hours=7)
    assert next_time_of_day("23:30", now=now) - now == timedelta(days=1)
