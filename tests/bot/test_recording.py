from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.recording import Recorder
from core.collection.directory import Category
from core.errors import StorageError
from core.frames import decode_jpeg
from core.games import UNKNOWN
from core.recognition.verdict import FrameVerdict, Likelihood, Verdict
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.upkeep import Upkeep
from core.streams.sampler import Sample
from tests.fakes import GAMES, frame, sample_of

VERDICT = Verdict(
    game=UNKNOWN,
    confidence=0.4,
    best=Likelihood(game=GAMES[0], confidence=0.4),
    runners_up=(),
    frames=(FrameVerdict(game=GAMES[0], confidence=0.4, at_s=0.0),),
    votes=1,
    score=1.0,
    novelty=0.5,
    model="m-1",
)


class Keeping:
    """A recorder over a real database and folder, whose storage can be broken."""

    def __init__(self, folder: Path, *, keeps_looks: bool = True) -> None:
        self.database = Database.at(f"sqlite:///{folder / 'kept.db'}")
        self.frames = FolderFrameStore(folder / "frames")
        self.captures = CaptureStore(self.database, self.frames)
        self.problem: StorageError | None = None
        self.recorder = Recorder(
            self.captures,
            self.frames,
            Upkeep(self.database, self.frames),
            keeps_looks=keeps_looks,
            prepare=self._prepare,
        )

    async def _prepare(self) -> None:
        if self.problem is not None:
            raise self.problem
        await self.database.prepare()
        await self.frames.prepare()

    def keep(self, sample: Sample, *, declared: Category | None = None) -> str:
        key = uuid.uuid4().hex
        self.recorder.keep(key, sample, VERDICT, declared=declared)
        return key

    async def kept(self) -> tuple[int, int]:
        """Captures and frames."""
        await self.database.prepare()
        summary = await self.captures.summary()
        return summary.captures, summary.asked_frames


@asynccontextmanager
async def keeping(folder: Path, *, keeps_looks: bool = True) -> AsyncIterator[Keeping]:
    here = Keeping(folder, keeps_looks=keeps_looks)
    running = asyncio.create_task(here.recorder.run())
    try:
        yield here
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await here.database.aclose()


def look(channel: str = "some_channel", *, brightness: int = 10) -> Sample:
    return sample_of([frame(brightness), frame(brightness + 100, at_s=2.0)], channel=channel)


async def until_kept(here: Keeping, captures: int) -> None:
    async with asyncio.timeout(20):
        while (await here.kept())[0] < captures:
            await asyncio.sleep(0.02)


async def test_what_was_seen_is_kept_with_its_pictures(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        here.keep(look())
        await until_kept(here, 1)
        assert await here.kept() == (1, 2)
        stored = [file async for file in here.frames.iterate()]
        pictures = [decode_jpeg(await here.frames.get(file.sha256)) for file in stored]

    assert sorted(round(float(picture.mean())) for picture in pictures) == [10, 110]


async def test_what_was_seen_just_before_the_end_is_kept(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        for number in range(5):
            here.keep(look(f"channel_{number}"))
        await asyncio.sleep(0)
    again = Keeping(tmp_path)

    assert await again.kept() == (5, 10)
    await again.database.aclose()


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1, 0.2, 0.3])
async def test_a_look_is_kept_once_however_the_end_comes(tmp_path: Path, after_s: float) -> None:
    async with keeping(tmp_path) as here:
        here.keep(look())
        await asyncio.sleep(after_s)
    again = Keeping(tmp_path)

    assert await again.kept() == (1, 2)
    await again.database.aclose()


async def test_who_waits_for_a_look_finds_it_stored_under_its_key(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        key = here.keep(look(), declared=Category(id="7", name="Chess"))
        await here.recorder.settled(key)
        stored = await FlagStore(here.database).look(key)
        await here.recorder.all_settled()
        summary = await here.captures.summary()

    assert stored is not None
    assert stored.channel == "some_channel"
    assert "Chess" in {count.game.name for count in summary.games}


async def test_nobody_waits_for_ever_for_a_look_that_cannot_be_stored(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        here.problem = StorageError("The database is away.")
        key = here.keep(look())
        async with asyncio.timeout(3):
            await here.recorder.settled(key)
            await here.recorder.settled("of another process")


async def test_where_looks_are_not_kept_there_is_nothing(tmp_path: Path) -> None:
    async with keeping(tmp_path, keeps_looks=False) as here:
        here.keep(look())
        await asyncio.sleep(0.1)
        assert await here.kept() == (0, 0)


async def test_a_channel_that_opted_out_is_left_alone_and_its_pictures_go(tmp_path: Path) -> None:
    async with keeping(tmp_path) as here:
        here.keep(look())
        here.keep(look("other", brightness=40))
        await until_kept(here, 2)
        assert not await here.recorder.is_left_alone("some_channel")

        assert await here.recorder.leave_alone("some_channel", by="test") == 2

        assert await here.recorder.is_left_alone("some_channel")
        assert not await here.recorder.is_left_alone("other")
        assert await here.kept() == (1, 2)
        here.keep(look())  # a look that was under way
        await asyncio.sleep(0.3)
        assert await here.kept() == (1, 2)
    async with keeping(tmp_path) as here:
        assert await here.recorder.is_left_alone("some_channel")


async def test_a_database_that_is_away_costs_what_was_seen_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(tmp_path) as here:
        here.problem = StorageError("No database server answers.")
        with caplog.at_level(logging.ERROR):
            here.keep(look())
            await asyncio.sleep(0.1)
        assert "what was seen of some_channel is not kept: No database server answers." in caplog.text
        with pytest.raises(StorageError):
            await here.recorder.leave_alone("some_channel", by="test")
        here.problem = None
        here.keep(look())
        await until_kept(here, 1)


async def test_more_than_can_be_stored_is_dropped_and_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(tmp_path) as here:
        with caplog.at_level(logging.WARNING):
            for _ in range(40):
                here.keep(look())
        assert "is not kept: the database is behind" in caplog.text
        await until_kept(here, 32)
        assert (await here.kept())[0] == 32
