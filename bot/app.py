"""The composition root: builds each object once and runs everything in one TaskGroup."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from streamlink.session.session import Streamlink

from bot.claims import new_holder
from bot.commands.service import CommandService
from bot.nightly import COLLECTION, Nightly
from bot.recording import Recorder
from bot.schedule import Ending, Job, Schedule
from bot.twitch_addresses import detours
from bot.worker import open_queue
from core.collection.collector import Collector
from core.collection.handing_out import Coordinator
from core.collection.picks import PickRules
from core.collection.taking import PickTaker
from core.recognition.artifact import read_artifact
from core.recognition.recognizer import Recognizer
from core.recognition.runtime import Network
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.nights import NightStore
from core.storage.records import RunState
from core.storage.upkeep import Upkeep
from core.streams.resolve import StreamResolver
from core.streams.sampler import SamplingLimits, StreamSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.nightly import CarriesOutNights
    from bot.settings import ModelSettings, Settings
    from core.storage.records import JobRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """What is kept, and the questions that are asked about it."""

    database: Database
    frames: FolderFrameStore
    captures: CaptureStore
    nights: NightStore
    upkeep: Upkeep

    async def prepare(self) -> None:
        """Make ready for use.

        Raises:
            StorageError: the database or the frames' folder cannot be used, or the database waits for ``db migrate``.
        """
        await self.database.prepare()
        await self.frames.prepare()


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """What looks at streams, and says what they show."""

    sampler: StreamSampler
    recognizer: Recognizer


@contextlib.asynccontextmanager
async def open_storage(settings: Settings, *, at_once: bool = True) -> AsyncIterator[Storage]:
    """Open the database and the frame store.

    Args:
        settings: all of them.
        at_once: False leaves it to the caller to prepare them, and what to do when that fails.

    Raises:
        StorageError: one of them cannot be used.
    """
    database = Database.at(settings.database_url)
    frames = FolderFrameStore(settings.frames_directory)
    try:
        storage = Storage(
            database=database,
            frames=frames,
            captures=CaptureStore(database, frames),
            nights=NightStore(database),
            upkeep=Upkeep(database, frames),
        )
        if at_once:
            await storage.prepare()
        yield storage
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def open_looking(settings: Settings, *, many_looks: bool) -> AsyncIterator[Looking]:
    """Build what looks at streams, run it, and take it down again.

    Args:
        settings: all of them.
        many_looks: whether it is worth while to do ahead, and beside, what only the first look would wait for.

    Raises:
        ArtifactError: the model cannot be used.
    """
    recognizer = await asyncio.to_thread(load_recognizer, settings.model)
    streams = settings.streams
    limits = SamplingLimits(
        frames=streams.frames,
        resolve_s=streams.resolve_timeout_s,
        playlist_s=streams.playlist_timeout_s,
        segments_s=streams.segments_timeout_s,
        total_s=streams.total_timeout_s,
    )
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        resolver = StreamResolver(lambda: streamlink_session(settings), timeout_s=streams.resolve_timeout_s)
        stack.push_async_callback(resolver.aclose)
        sampler = StreamSampler(resolver, http, limits)
        stack.push_async_callback(sampler.aclose)
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(recognizer.run(), name="recognizer")]
            if many_looks:
                serving.append(group.create_task(resolver.warm(), name="warm-up"))
            try:
                yield Looking(sampler=sampler, recognizer=recognizer)
            finally:
                for task in serving:
                    task.cancel()


@contextlib.asynccontextmanager
async def open_service(
    settings: Settings, looking: Looking, *, storage: Storage | None = None
) -> AsyncIterator[CommandService]:
    """Build the one door on top of what looks, and run what stores behind it.

    Args:
        settings: all of them.
        looking: opened.
        storage: need not be prepared; None keeps nothing.
    """
    recorder = None
    if storage is not None:
        recorder = Recorder(
            storage.captures,
            storage.frames,
            storage.upkeep,
            keeps_looks=settings.data.keep_asked,
            prepare=storage.prepare,
        )
    service = CommandService(
        sampler=looking.sampler,
        recognizer=looking.recognizer,
        url_template=settings.streams.url,
        prefix=settings.commands.prefix,
        reuse_s=settings.answers.reuse_s,
        recognize_timeout_s=settings.model.timeout_s,
        records=recorder,
    )
    async with asyncio.TaskGroup() as group:
        recording = group.create_task(recorder.run(), name="recorder") if recorder is not None else None
        try:
            yield service
        finally:
            await service.aclose()
            if recording is not None:
                recording.cancel()


@contextlib.asynccontextmanager
async def open_nightly(
    settings: Settings, storage: Storage, looking: Looking, *, holder: str
) -> AsyncIterator[Nightly]:
    """Build what collects on top of what looks and what keeps; it asks Twitch's directory.

    Args:
        settings: all of them, with Twitch's credentials.
        storage: prepared.
        looking: opened.
        holder: names this process.

    Raises:
        StorageError: the night is to be handed out to workers, and there is no queue for that.
    """
    # Here, as a chat that does not collect need not wait for TwitchIO.
    from bot.twitch_directory import TwitchDirectory  # noqa: PLC0415

    twitch = settings.twitch
    collection = settings.collection
    directory = TwitchDirectory(
        client_id=twitch.client_id,
        client_secret=twitch.client_secret.get_secret_value() if twitch.client_secret is not None else "",
        helix_url=twitch.helix_url,
        id_url=twitch.id_url,
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(directory)
        collector: CarriesOutNights
        if collection.run_on == "workers":
            queue = await stack.enter_async_context(open_queue(settings.database_url))
            collector = Coordinator(queue, storage.nights)
        else:
            collector = Collector(pick_taker(settings, storage, looking), storage.nights, parallel=collection.parallel)
        yield Nightly(
            directory=directory,
            captures=storage.captures,
            nights=storage.nights,
            collector=collector,
            rules=PickRules(
                games=collection.games,
                min_live_streams=collection.min_live_streams,
                streams=collection.streams,
                attempts=collection.attempts,
                captures_per_broadcaster_a_day=collection.captures_per_broadcaster_a_day,
                not_games=collection.not_games,
                left_out=collection.left_out,
                target_frames=collection.target_frames,
                target_broadcasters=collection.target_broadcasters,
            ),
            time_zone=collection.time_zone,
            holder=holder,
        )


def pick_taker(settings: Settings, storage: Storage, looking: Looking) -> PickTaker:
    """What carries out single picks, here or in a worker."""
    return PickTaker(
        sampler=looking.sampler,
        frames=storage.frames,
        captures=storage.captures,
        nights=storage.nights,
        url_template=settings.streams.url,
        recognizer=looking.recognizer if settings.collection.recognize else None,
        recognize_timeout_s=settings.model.timeout_s,
    )


async def serve(settings: Settings, *, stop: asyncio.Event) -> None:
    """Do what is due by the clock, until told to stop.

    Raises:
        GameSpotterError: something that is needed cannot be used.
    """
    holder = new_holder()
    async with contextlib.AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings))
        jobs = upkeep_jobs(settings, storage)
        if collects(settings):
            looking = await stack.enter_async_context(open_looking(settings, many_looks=True))
            nightly = await stack.enter_async_context(open_nightly(settings, storage, looking, holder=holder))
            collection = settings.collection
            jobs.append(
                Job(
                    name=COLLECTION,
                    cron=collection.cron,
                    time_zone=collection.time_zone,
                    work=partial(nightly.scheduled, stop=stop),
                )
            )
        await Schedule(storage.nights, jobs, holder=holder).run(stop=stop)


def collects(settings: Settings) -> bool:
    """Whether the nightly collection is on: wanted, and Twitch's directory can be asked."""
    return settings.collection.enabled and settings.twitch.has_credentials


def upkeep_jobs(settings: Settings, storage: Storage) -> list[Job]:
    """What keeps the data set within its bounds, each once an hour among all replicas."""
    kept = settings.data

    async def expire(_run: JobRun) -> Ending:
        now = datetime.now(UTC)
        removed = await storage.upkeep.expire(
            asked_before=now - timedelta(hours=kept.asked_hours),
            nightly_before=now - timedelta(days=kept.retention_days),
        )
        swept = await storage.upkeep.sweep()
        return Ending(
            state=RunState.DONE,
            result={"frames": removed.frames, "files": removed.files + swept.files, "unfinished": swept.unfinished},
        )

    async def shrink(_run: JobRun) -> Ending:
        removed = await storage.upkeep.shrink_to(int(kept.max_gb * 10**9))
        return Ending(state=RunState.DONE, result={"frames": removed.frames, "files": removed.files})

    return [
        Job(name="retention", cron="11 * * * *", time_zone="UTC", work=expire, caught_up_for=timedelta(hours=1)),
        Job(name="size_cap", cron="41 * * * *", time_zone="UTC", work=shrink, caught_up_for=timedelta(hours=1)),
    ]


def load_recognizer(model: ModelSettings) -> Recognizer:
    """Read the model and load its network; blocks for some tens of milliseconds.

    Raises:
        ArtifactError: the model cannot be used.
    """
    artifact = read_artifact(model.directory)
    return Recognizer(Network(artifact, threads=model.threads), artifact.rule)


def streamlink_session(settings: Settings) -> Streamlink:
    """A Streamlink session for one resolve, led elsewhere where the settings say so."""
    session = Streamlink()
    twitch = settings.twitch
    for prefix, adapter in detours(gql_url=twitch.gql_url, usher_url=twitch.usher_url).items():
        session.http.mount(prefix, adapter)
    return session
