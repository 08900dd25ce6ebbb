"""``python -m bot run`` with HTTP on, as a process over the pocket Twitch."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from demo.channels import demo_channels
from demo.pocket_twitch import PocketTwitch
from tests.bot.whole_bot import ended, running
from tests.web.bench import TOKEN, picture

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(folder: Path, **environment: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process and its address, once it answers."""
    port = free_port()
    async with PocketTwitch(channels=demo_channels()) as pocket:
        settings = {
            "WEB__ENABLED": "true",
            "WEB__PORT": str(port),
            "WEB__TOKEN": TOKEN,
            "WEB__ASKS": "100000",
            "TWITCH__GQL_URL": pocket.base_url,
            "TWITCH__USHER_URL": pocket.base_url,
            **environment,
        }
        settings = {name: value for name, value in settings.items() if value}
        url = f"http://127.0.0.1:{port}"
        async with running(folder, **settings) as process, aiohttp.ClientSession() as http:
            async with asyncio.timeout(90):
                while True:
                    assert process.returncode is None, (folder / "err").read_text()
                    try:
                        async with http.get(f"{url}/healthz") as answer:
                            if answer.status == 200:
                                break
                    except aiohttp.ClientConnectionError:
                        pass
                    await asyncio.sleep(0.1)
            yield process, url


async def test_without_a_chat_it_answers_over_http_and_ends_when_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as (process, url), aiohttp.ClientSession(url, headers=HEADERS) as http:
        async with http.post("/v1/game", json={"channel": "rookandroll"}) as answer:
            said = await answer.json()
            assert answer.status == 200
            assert said["game"]["name"] == "Chess"
            name = answer.headers["X-Request-Id"]
        form = aiohttp.FormData()
        form.add_field("img", picture(90), filename="a.jpg")
        async with http.post("/v1/classify", data=form) as answer:
            assert answer.status == 200
            assert (await answer.json())["predictions"]
        async with http.get("/metrics") as answer:
            figures = await answer.text()
        assert 'gamespotter_asks_total{command="game",outcome="answered",platform="http"} 1.0' in figures
        assert 'gamespotter_look_step_seconds_count{step="recognize"} 1.0' in figures
        assert 'gamespotter_job_runs_total{job="retention",outcome="done"} 1.0' in figures
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    log = (tmp_path / "err").read_text()
    assert name in log
    assert TOKEN not in log
    assert "Traceback" not in log


async def test_told_to_end_under_load_it_leaves_nothing_unanswered(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    closed = asyncio.Event()

    async def asker(http: aiohttp.ClientSession, number: int) -> None:
        turn = 0
        while not closed.is_set():
            turn += 1
            channel = ("rookandroll", "mira_plays", f"nobody_{number}_{turn}")[turn % 3]
            try:
                async with http.post("/v1/game", json={"channel": channel}) as answer:
                    said = await answer.json()
                    assert said["success"] is (answer.status == 200)
                    outcomes[str(answer.status)] += 1
                    if answer.status == 503:
                        outcomes["told that it ends"] += "restarted" in said["error"]
                        await asyncio.sleep(0.02)
            except aiohttp.ClientConnectorError:
                # Nobody listens any more: nothing was asked.
                closed.set()
            except aiohttp.ClientError as error:
                outcomes[f"unanswered: {error!r}"] += 1

    # Each ask on a connection of its own: what is sent on one that is just being closed, no server can answer.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        serving(tmp_path, ANSWERS__REUSE_S="0") as (process, url),
        aiohttp.ClientSession(url, headers=HEADERS, connector=connector) as http,
        asyncio.timeout(90),
        asyncio.TaskGroup() as group,
    ):
        for number in range(20):
            group.create_task(asker(http, number))
        while outcomes["200"] < 20:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert await ended(process, within_s=30) == 0
        closed.set()
    assert not [outcome for outcome in outcomes if outcome.startswith("unanswered")], outcomes
    assert outcomes["200"] >= 20
    assert "Traceback" not in (tmp_path / "err").read_text()
