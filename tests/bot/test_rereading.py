from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bot.operation.rereading import CHANGEABLE, Name, Rereading
from bot.settings import Settings, read_settings
from tests.bot.whole_bot import ended
from tests.web.bench import TOKEN
from tests.web.test_serving import serving


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.told = asyncio.Event()
        self.taken: list[tuple[Settings, frozenset[Name]]] = []
        self.reads = 0
        self.write("")

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def read(self) -> Settings:
        self.reads += 1
        return read_settings(self.path)

    async def reread(self, text: str) -> None:
        before = self.reads
        self.write(text)
        self.told.set()
        async with asyncio.timeout(10):
            while self.reads == before or self.told.is_set():
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)


@pytest.fixture
async def bench(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Bench]:
    caplog.set_level(logging.INFO)
    bench = Bench(tmp_path / "bot.toml")
    rereading = Rereading(read_settings(bench.path), read=bench.read, told=bench.told)
    task = asyncio.create_task(rereading.run(lambda settings, changed: bench.taken.append((settings, changed))))
    yield bench
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_what_can_change_is_taken_over_and_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.reread('[limits]\nuser_s = 1\n[commands]\noff = { "twitch:a" = ["game"] }\n')

    ((settings, changed),) = bench.taken
    assert changed == {("limits", "user_s"), ("commands", "off")}
    assert settings.limits.user_s == 1
    assert settings.limits.place_asks == 20
    assert "[commands] off, [limits] user_s" in caplog.text


async def test_what_cannot_change_is_said_and_not_taken_over(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.reread("[limits]\nuser_s = 1\n[streams]\nframes = 3\n")

    ((settings, changed),) = bench.taken
    assert changed == {("limits", "user_s")}
    assert settings.streams.frames == 13
    assert "after a restart only: [streams] frames" in caplog.text


async def test_mistakes_leave_the_old_ones_in_force_and_are_said(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.reread("[limits]\nuser_s = 1\nplace_asks = 0\n")

    assert bench.taken == []
    assert "bot.toml:3: [limits] place_asks" in caplog.text
    assert "the old ones stay in force" in caplog.text
    await bench.reread("[limits]\nuser_s = 2\n")
    assert [settings.limits.user_s for settings, _ in bench.taken] == [2]


async def test_back_and_forth(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.reread("[limits]\nuser_s = 1\n")
    await bench.reread("")
    await bench.reread("")

    assert [settings.limits.user_s for settings, _ in bench.taken] == [1, 5]
    assert "nothing has changed" in caplog.text


def test_everything_that_can_change_is_a_setting() -> None:
    settings = read_settings(None)
    for section, key in CHANGEABLE:
        assert hasattr(getattr(settings, section), key)


async def test_a_running_bot_takes_over_what_changed_when_it_is_hung_up_on(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text("[web]\nasks_s = 3600\nasks = 2\n")
    async with (
        serving(tmp_path, WEB__ASKS="") as (process, url),
        aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):

        async def ask() -> int:
            async with http.post("/v1/game", json={"channel": "-"}) as answer:
                return answer.status

        assert [await ask() for _ in range(3)] == [422, 422, 429]
        (tmp_path / "bot.toml").write_text("[web]\nasks_s = 3600\nasks = 20\n")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while await ask() == 429:
                await asyncio.sleep(0.05)
        (tmp_path / "bot.toml").write_text("[web]\nasks = 0\n")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while "stay in force" not in (tmp_path / "err").read_text():
                await asyncio.sleep(0.05)
        assert await ask() == 422
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
