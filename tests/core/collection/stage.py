"""What a night needs, built as small as it goes: real stores in a directory, and the real sampler led to a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import numpy as np
from sqlalchemy import text

from bot.twitch_directory import DirectoryLimits, TwitchDirectory
from core.collection.collector import Collector, NightListener, NightProgress, NightSummary
from core.collection.gathering import Gathered, gather
from core.collection.picks import PickRules
from core.collection.taking import PickTaker, RecognizesFrames
from core.frames import Frame
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.nights import NightStore
from core.storage.records import JobRun, Pick, PlannedPick
from core.storage.upkeep import Upkeep
from core.streams.reference import TWITCH_URL_TEMPLATE
from core.streams.resolve import StreamResolver
from core.streams.sampler import SamplingLimits, StreamSampler
from demo.helix import CLIENT_ID, CLIENT_SECRET
from tests.core.streams.stage import session_led_to

DUE = datetime(2026, 11, 3, 3, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Stores:
    home: Path
    database: Database
    frames: FolderFrameStore
    captures: CaptureStore
    nights: NightStore
    upkeep: Upkeep

    async def run(self, *, holder: str = "me", lease_s: float = 600.0) -> JobRun:
        run = await self.nights.claim("nightly", DUE, holder=holder, lease_s=lease_s, resume=True)
        assert run is not None
        return run

    async def planned(self, picks: Sequence[PlannedPick]) -> tuple[Pick, ...]:
        """A run with these picks."""
        run = await self.run()
        await self.nights.save_picks(run.id, picks)
        return await self.nights.picks(run.id)

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        async with self.database.reading() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def outcomes(self, run_id: int) -> list[str | None]:
        return [pick.outcome for pick in await self.nights.picks(run_id)]

    async def rows_without_file(self) -> frozenset[str]:
        named = {str(row[0]) for row in await self.rows("SELECT sha256 FROM frames")}
        return await self.frames.missing(named)

    async def files_without_row(self) -> set[str]:
        named = {row[0] for row in await self.rows("SELECT sha256 FROM frames")}
        return {file.sha256 async for file in self.frames.iterate()} - named


@contextlib.asynccontextmanager
async def open_stores(home: Path) -> AsyncIterator[Stores]:
    async with Database.at(f"sqlite:///{home}/night.db") as database:
        frames = FolderFrameStore(home / "frames")
        await frames.prepare()
        yield Stores(
            home=home,
            database=database,
            frames=frames,
            captures=CaptureStore(database, frames),
            nights=NightStore(database),
            upkeep=Upkeep(database, frames),
        )


@contextlib.asynccontextmanager
async def open_sampler(base_url: str, *, limits: SamplingLimits | None = None) -> AsyncIterator[StreamSampler]:
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        resolver = StreamResolver(session_led_to(base_url))
        stack.push_async_callback(resolver.aclose)
        sampler = StreamSampler(resolver, http, limits)
        stack.push_async_callback(sampler.aclose)
        yield sampler


@dataclass
class Listener:
    heard: list[NightProgress] = field(default_factory=list)

    def progressed(self, progress: NightProgress) -> None:
        self.heard.append(progress)


def lively(seed: int, *, frames: int = 9) -> list[Frame]:
    """Frames of a game: no two alike, and none like those of another seed."""
    random = np.random.default_rng(seed)
    return [
        Frame(
            picture=np.kron(random.integers(0, 255, (9, 16, 3)), np.ones((20, 20, 1))).astype(np.uint8), at_s=2.0 * at
        )
        for at in range(frames)
    ]


async def nothing_to_plan() -> Gathered:
    raise AssertionError("the night is planned already")


Night = Callable[..., Coroutine[None, None, NightSummary]]
SMALL = PickRules(min_live_streams=0, streams=2, attempts=4)


@contextlib.asynccontextmanager
async def open_night(
    stores: Stores, base_url: str, *, parallel: int = 4, recognizer: RecognizesFrames | None = None
) -> AsyncIterator[Night]:
    """All of a night on the pocket Twitch: directory, sampler and stores as they are; a function that carries out."""
    async with (
        open_sampler(base_url) as sampler,
        TwitchDirectory(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            helix_url=base_url,
            id_url=base_url,
            limits=DirectoryLimits(first_wait_s=0.05, longest_wait_s=0.2),
        ) as directory,
    ):
        taker = PickTaker(
            sampler=sampler,
            frames=stores.frames,
            captures=stores.captures,
            nights=stores.nights,
            url_template=TWITCH_URL_TEMPLATE,
            recognizer=recognizer,
        )
        collector = Collector(taker, stores.nights, parallel=parallel)

        async def night(
            run: JobRun, listener: NightListener | None = None, stop: asyncio.Event | None = None
        ) -> NightSummary:
            async def plan() -> Gathered:
                return await gather(directory, stores.captures, SMALL, seed=run.id, now=datetime.now(UTC))

            return await collector.collect(run.id, plan=plan, listener=listener, stop=stop)

        yield night
