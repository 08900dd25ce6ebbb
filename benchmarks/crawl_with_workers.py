"""A night handed out: one process plans it, others do it, through Procrastinate on a real PostgreSQL.

The server is the one of the tests: on a socket, and it does not wait for the disk. Processor time and memory are those
of the workers and of the process that hands out, without the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from crawl_as_we_do import crawl, night_settings
from crawl_measuring import report_crawl

from bot.nights.worker import prepare_queue
from bot.settings import CollectionSettings
from core.storage.database import Database
from demo.helix import CLIENT_ID, CLIENT_SECRET
from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bot.settings import Settings

_HERE = Path(__file__).parent
_READY = "takes up to"
_START_S = 60.0


def main(
    *,
    base_url: Annotated[str, typer.Option()],
    games: Annotated[int, typer.Option(help="That are sampled.")],
    workers: Annotated[int, typer.Option(min=1)],
    parallel: Annotated[int, typer.Option(min=1, help="Streams at a time, of each worker.")],
) -> None:
    """Crawl."""
    with tempfile.TemporaryDirectory() as name, PostgresServer() as server:
        collection = CollectionSettings(games=games, left_out=CollectionSettings().not_games, run_on="workers")
        database = server.url(server.fresh_database())
        settings = night_settings(base_url, Path(name), collection, database=database)
        asyncio.run(_migrate(database))
        with contextlib.ExitStack() as stack:
            started = [stack.enter_context(_worker(settings, number, parallel)) for number in range(workers)]
            for number in range(workers):
                _wait_until_ready(_log(settings, number))
            crawled = asyncio.run(crawl(settings, *(process.pid for process in started)))
        report_crawl(crawled)


async def _migrate(url: str) -> None:
    database = Database.at(url)
    await database.migrate()
    await database.aclose()
    await prepare_queue(url)


@contextlib.contextmanager
def _worker(settings: Settings, number: int, parallel: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(_HERE / "crawl_worker.py"), "worker", f"--parallel={parallel}"]
    directory = settings.data.directory
    with (
        _log(settings, number).open("wb") as log,
        subprocess.Popen(command, stderr=log, cwd=directory, env={**os.environ, **_environment(settings)}) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def _log(settings: Settings, number: int) -> Path:
    return settings.data.directory / f"worker{number}.log"


def _environment(settings: Settings) -> Mapping[str, str]:
    twitch = settings.twitch
    values = {
        "TWITCH__CLIENT_ID": CLIENT_ID,
        "TWITCH__CLIENT_SECRET": CLIENT_SECRET,
        "TWITCH__GQL_URL": twitch.gql_url,
        "TWITCH__USHER_URL": twitch.usher_url,
        "DATA__DIRECTORY": settings.data.directory,
        "DATABASE__URL": settings.database.url,
    }
    return {f"GAMESPOTTER_{name}": str(value) for name, value in values.items()}


def _wait_until_ready(log: Path) -> None:
    ends_at = time.monotonic() + _START_S
    while _READY not in (said := log.read_text()):
        if time.monotonic() > ends_at:
            raise SystemExit(f"A worker does not start: {said}")
        time.sleep(0.05)


if __name__ == "__main__":
    typer.run(main)
