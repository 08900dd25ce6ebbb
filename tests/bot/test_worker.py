"""Workers as an operator runs them: processes of their own, one PostgreSQL, a pocket Twitch; some of them die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from bot.nights.shared_queue import open_queue, prepare_queue
from core.collection.collector import Ended, NightSummary
from core.collection.directory import Category, LiveStream
from core.collection.gathering import Gathered
from core.collection.handing_out import Coordinator, Place
from core.errors import StorageError
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.nights import NightStore
from core.storage.records import PickCounts, PlannedPick
from core.storage.upkeep import Upkeep
from demo.channels import Channel, night_channels
from demo.pocket_twitch import PocketTwitch
from tests.artifacts import brightness_artifact
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
STALLED_AFTER_S = 4.0
CHANNELS = night_channels(categories=10, per_category=4)


def planned(position: int, channel: Channel) -> PlannedPick:
    category = Category(id=f"c-{channel.declared_category}", name=str(channel.declared_category))
    return PlannedPick(
        position=position,
        category=category,
        is_game=True,
        stream=LiveStream(
            id=f"s{position}",
            broadcaster_id=f"b{position}",
            login=channel.login,
            display_name=channel.display_name,
            category=category,
            title=channel.title,
            language=channel.language,
            started_at=datetime.now(UTC),
            viewers=channel.viewers,
        ),
    )


@pytest.fixture(scope="module")
def template(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.fresh_database()

    async def prepare() -> None:
        async with Database.at(postgres.url(name)) as database:
            await database.migrate()
        await prepare_queue(postgres.url(name))

    asyncio.run(prepare())
    yield name
    postgres.drop_database(name)


class Process:
    """A worker; what it logs is kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._ready = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def ready(self) -> None:
        async with asyncio.timeout(60):
            await self._ready.wait()

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            await self._reading
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line.decode()
            self._ready.set()


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that workers share."""

    url: str
    environment: dict[str, str]
    directory: Path
    database: Database
    nights: NightStore
    run_id: int

    @asynccontextmanager
    async def process(self, *arguments: str, **environment: str) -> AsyncIterator[Process]:
        process = Process(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", *arguments),
                stderr=asyncio.subprocess.PIPE,
                cwd=ROOT if arguments[0].startswith("tests") else self.directory,
                env={**self.environment, **environment},
            )
        )
        try:
            yield process
        finally:
            await process.kill()

    @asynccontextmanager
    async def workers(self, number: int) -> AsyncIterator[list[Process]]:
        """Such as are ready."""
        async with AsyncExitStack() as stack:
            arguments = ("bot", "worker", "--parallel", "2", "--stalled-after", str(STALLED_AFTER_S))
            workers = [await stack.enter_async_context(self.process(*arguments)) for _ in range(number)]
            for worker in workers:
                await worker.ready()
            yield workers

    async def collect(self, number: int, *, stop: asyncio.Event | None = None) -> NightSummary:
        """Hand out a night of so many picks, or go on with it."""

        async def plan() -> Gathered:
            picks = [planned(position, channel) for position, channel in enumerate(CHANNELS[:number])]
            return Gathered(picks=tuple(picks), listed=1, failed=0)

        async with open_queue(self.url, stalled_after_s=STALLED_AFTER_S) as queue:
            return await Coordinator(queue, self.nights, look_s=0.2).collect(self.run_id, plan=plan, stop=stop)

    async def counts(self) -> PickCounts:
        return await self.nights.pick_counts(self.run_id)

    async def captured(self, number: int) -> None:
        await until(lambda: self._has_captured(number))

    async def in_hand(self) -> int:
        async with open_queue(self.url) as queue:
            return sum(entry.place is Place.IN_HAND for entry in await queue.handed_out(self.run_id))

    async def is_in_order(self, *, picks: int) -> None:
        """Every pick has its outcome, none was captured twice, and rows and files agree."""
        counts = await self.counts()
        assert counts.outcomes == {"captured": picks}
        assert counts.captures == picks
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch("SELECT pick_id, broadcaster_id FROM captures")
        finally:
            await connection.close()
        assert set(Counter(row["pick_id"] for row in rows).values()) == {1}
        assert set(Counter(row["broadcaster_id"] for row in rows).values()) == {1}
        report = await Upkeep(self.database, FolderFrameStore(self.directory / "data" / "frames")).sync(dry_run=True)
        assert report.frames == 0
        async with open_queue(self.url) as queue:
            assert await queue.handed_out(self.run_id) == ()

    async def _has_captured(self, number: int) -> bool:
        return (await self.counts()).captures >= number


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.fixture
async def site(postgres: PostgresServer, template: str, tmp_path: Path) -> AsyncIterator[Site]:
    name = postgres.fresh_database(template=template)
    url = postgres.url(name)
    brightness_artifact(tmp_path / "model")
    async with PocketTwitch(channels=CHANNELS, latency_s=0.05) as twitch, Database.at(url) as database:
        nights = NightStore(database)
        run = await nights.claim("collection", datetime.now(UTC), holder="test", lease_s=600)
        assert run is not None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GAMESPOTTER_")}
        yield Site(
            url=url,
            environment={
                **kept,
                "GAMESPOTTER_TWITCH__GQL_URL": twitch.base_url,
                "GAMESPOTTER_TWITCH__USHER_URL": twitch.base_url,
                "GAMESPOTTER_MODEL__DIRECTORY": str(tmp_path / "model"),
                "GAMESPOTTER_DATABASE__URL": url,
                "GAMESPOTTER_DATA__DIRECTORY": str(tmp_path / "data"),
                "GAMESPOTTER_COLLECTION__RECOGNIZE": "false",
            },
            directory=tmp_path,
            database=database,
            nights=nights,
            run_id=run.id,
        )
    postgres.drop_database(name)


@pytest.mark.slow
async def test_four_workers_two_of_them_killed_and_nothing_is_lost_or_captured_twice(site: Site) -> None:
    async with site.workers(4) as workers:
        collecting = asyncio.create_task(site.collect(36))
        await site.captured(8)
        for worker in workers[:2]:
            await worker.kill()
        done = (await site.counts()).captures
        summary = await asyncio.wait_for(collecting, 90)

        assert done < 36
        assert (summary.ended, summary.streams, summary.left) == (Ended.COMPLETE, 36, 0)
        assert summary.frames == (await site.counts()).frames > 36
        for worker in workers[2:]:
            worker.process.send_signal(signal.SIGTERM)
        assert [await worker.ended() for worker in workers[2:]] == [0, 0]
    await site.is_in_order(picks=36)
    for worker in workers:
        assert "takes up to 2 streams at a time" in worker.log.splitlines()[0]
        assert site.url.split("@")[0].rpartition(":")[2] not in worker.log
        assert "Traceback" not in worker.log


@pytest.mark.slow
async def test_a_worker_is_told_to_end_and_who_hands_out_is_killed_and_the_night_goes_on(site: Site) -> None:
    picks = [planned(position, channel) for position, channel in enumerate(CHANNELS[:16])]
    await site.nights.save_picks(site.run_id, picks)
    async with site.workers(2) as (leaving, staying):
        async with site.process("tests.bot.hands_out", site.url, str(site.run_id)) as coordinator:
            await site.captured(2)
            await coordinator.kill()
        leaving.process.send_signal(signal.SIGTERM)
        assert await leaving.ended() == 0
        at_that_time = await site.counts()
        assert "has ended" in leaving.log

        summary = await site.collect(16)

        assert at_that_time.captures < 16
        assert (summary.ended, summary.streams) == (Ended.COMPLETE, 16)
        staying.process.send_signal(signal.SIGINT)
        assert await staying.ended() == 0
    await site.is_in_order(picks=16)


@pytest.mark.timeout(420)
async def test_a_worker_outlives_the_database_server_and_a_night_that_is_stopped(
    site: Site, postgres: PostgresServer
) -> None:
    async with site.workers(1) as (worker,):
        collecting = asyncio.create_task(site.collect(12))
        await site.captured(2)
        postgres.restart()
        before = 0
        with suppress(StorageError):
            before = (await site.counts()).captures
        await until(lambda: _is_more(site, before + 2))

        stop = asyncio.Event()
        collecting.cancel()
        await asyncio.wait({collecting})
        collecting = asyncio.create_task(site.collect(12, stop=stop))
        await site.captured(before + 3)
        stop.set()
        # What was in hand when the server went is given up on only when it counts as stalled.
        stopped = await asyncio.wait_for(collecting, 180)
        assert stopped.ended is Ended.STOPPED
        assert stopped.streams + stopped.left == 12
        assert await site.in_hand() == 0
        assert stopped.streams == (await site.counts()).captures < 12

        assert (await asyncio.wait_for(site.collect(12), 120)).ended is Ended.COMPLETE
        assert worker.process.returncode is None
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0
    await site.is_in_order(picks=12)


async def _is_more(site: Site, captures: int) -> bool:
    with suppress(StorageError):
        return (await site.counts()).captures >= captures
    return False


# When it cannot work


async def test_a_worker_that_cannot_work_says_why_in_one_line(
    site: Site, postgres: PostgresServer, tmp_path: Path
) -> None:
    empty = postgres.fresh_database()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "psycopg.py").write_text("raise ImportError('no psycopg here')")
    cases = [
        ({"GAMESPOTTER_DATABASE__URL": ""}, "Workers need PostgreSQL, and the database is the file "),
        ({"GAMESPOTTER_DATABASE__URL": postgres.url(empty)}, "has no tables yet; run: python -m bot db migrate"),
        ({"PYTHONPATH": str(broken)}, "Workers need what the extra `workers` brings"),
        ({"GAMESPOTTER_DATABASE__URL": postgres.url(empty, password="wrong-secret")}, "check user and password"),
    ]

    async def refused(environment: dict[str, str]) -> tuple[int, str]:
        async with site.process("bot", "worker", **environment) as worker:
            return await worker.ended(), worker.log

    for (_, sentence), (code, log) in zip(
        cases, await asyncio.gather(*(refused(environment) for environment, _ in cases)), strict=True
    ):
        assert code == 1
        assert sentence in log
        assert log.count("\n") == 1
        assert "secret" not in log
