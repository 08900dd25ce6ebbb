"""A whole CommandService over a real database and frame store, in front of a fake sampler, network and directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bot.commands.flagging import Flagging
from bot.commands.limits import Cooldowns
from bot.commands.naming import GameNames
from bot.commands.parser import CommandWords
from bot.commands.request import Asker, Command, Identify, Place, Reply, Request, Role
from bot.commands.service import CommandService
from bot.commands.watching import Watching
from bot.declared import DeclaredCategories
from bot.models.canary import Canary
from bot.recording import Recorder
from core.aliases import AliasTable
from core.collection.directory import Channel
from core.recognition.recognizer import Recognizer
from core.storage.audit import AuditStore
from core.storage.captures import CaptureStore
from core.storage.catalogue import GameCatalogue
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.sightings import SightingStore
from core.storage.upkeep import Upkeep
from core.storage.watches import WatchStore
from core.streams.reference import TWITCH_URL_TEMPLATE
from tests.core.collection.listing import category, live_stream
from tests.fakes import RULE, BrightnessNetwork, FakeDirectory, FakeSampler, frame

CHANNEL, OTHER, OFFLINE = "some_channel", "other_channel", "sleepy_sam"


@dataclass
class Desk:
    """What tests hold on to.

    ``some_channel`` and ``other_channel`` are live, show VALORANT and declare Minecraft; ``sleepy_sam`` is offline and
    declared Chess last.
    """

    database: Database
    service: CommandService
    sampler: FakeSampler
    directory: FakeDirectory
    captures: CaptureStore
    flags: FlagStore
    recorder: Recorder

    async def said(self, command: Command, asker: Asker, place: Place) -> Reply:
        return await self.service.handle(Request(command=command, asker=asker, place=place))

    async def look(self, channel: str = CHANNEL) -> str:
        """Look at a channel and have it stored; the look's name."""
        asker = Asker(platform="console", name="op", role=Role.OPERATOR)
        reply = await self.said(Identify(channel=channel), asker, Place(platform="console"))
        assert reply.answer is not None
        assert reply.answer.look
        await self.recorder.settled(reply.answer.look)
        return reply.answer.look


@asynccontextmanager
async def open_desk(
    folder: Path,
    *,
    reuse_s: float = 60.0,
    cooldowns: Cooldowns | None = None,
    servers: tuple[str, ...] = (),
    recognizer: Recognizer | None = None,
    canary: Callable[[Database], Canary] | None = None,
) -> AsyncIterator[Desk]:
    """Open it; ``canary`` makes one that measures models, where one is to."""
    words = CommandWords()
    async with Database.at(f"sqlite:///{folder / 'desk.db'}") as database:
        frames = FolderFrameStore(folder / "frames")
        await database.prepare()
        await frames.prepare()

        async def prepared() -> None: ...

        captures, flags, sightings = CaptureStore(database, frames), FlagStore(database), SightingStore(database)
        recorder = Recorder(captures, frames, Upkeep(database, frames), keeps_looks=True, prepare=prepared)
        sampler, recognizer = FakeSampler(), recognizer or Recognizer(BrightnessNetwork(), RULE)
        measuring = canary(database) if canary is not None else None
        sampler.frames = {CHANNEL: [frame(10)], OTHER: [frame(20)]}
        directory = FakeDirectory(
            [
                replace(live_stream(number, category("Minecraft")), login=login)
                for number, login in enumerate((CHANNEL, OTHER))
            ],
            offline=[
                Channel(
                    broadcaster_id="9", login=OFFLINE, display_name="Sleepy_Sam", category=category("Chess"), title=""
                )
            ],
        )
        service = CommandService(
            sampler=sampler,
            recognizer=recognizer,
            url_template=TWITCH_URL_TEMPLATE,
            words=words,
            reuse_s=reuse_s,
            recognize_timeout_s=5.0,
            names=GameNames(AliasTable.bundled(), GameCatalogue(database)),
            cooldowns=cooldowns,
            records=recorder,
            canary=measuring,
            declared=DeclaredCategories(directory, reuse_s=0.01),
            sightings=sightings,
            flagging=Flagging(flags, recorder, words=words, url_template=TWITCH_URL_TEMPLATE, servers=servers),
            audit=AuditStore(database),
            watching=Watching(
                WatchStore(database),
                sightings,
                AuditStore(database),
                words=words,
                url_template=TWITCH_URL_TEMPLATE,
                every_s=240.0,
            ),
        )
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(recognizer.run())]
        if measuring is not None:
            running.append(asyncio.create_task(measuring.run()))
        try:
            yield Desk(
                database=database,
                service=service,
                sampler=sampler,
                directory=directory,
                captures=captures,
                flags=flags,
                recorder=recorder,
            )
        finally:
            await service.aclose()
            for task in running:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
