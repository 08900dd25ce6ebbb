"""The composition root: builds each object once, of what the settings say. `bot.serving` runs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from streamlink.session.session import Streamlink

from bot.commands import mosaic, wording
from bot.commands.flagging import Flagging
from bot.commands.limits import Cooldowns
from bot.commands.naming import GameNames
from bot.commands.service import CommandService
from bot.commands.watching import Watching
from bot.declared import DeclaredCategories
from bot.models.canary import Canary, Judge
from bot.models.following import ModelFollower, first_model
from bot.models.news import MODELS_CHANGED, ModelNews
from bot.nights.nightly import Nightly
from bot.nights.shared_queue import open_queue
from bot.recording import Recorder
from bot.replicas.quick_questions import QuickQuestions
from bot.replicas.shared_cooldowns import SharedCooldowns
from bot.schedule import Ending, Job
from bot.twitch_addresses import detours
from core.aliases import AliasTable
from core.collection.collector import Collector
from core.collection.handing_out import Coordinator
from core.collection.picks import PickRules
from core.collection.taking import PickTaker
from core.errors import DirectoryRefused
from core.recognition.candidate import FitnessRules
from core.recognition.recognizer import Recognizer
from core.recognition.registry import Registry
from core.storage.audit import AuditStore
from core.storage.captures import CaptureStore
from core.storage.catalogue import GameCatalogue
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.leases import CooldownStore, LeaseStore
from core.storage.models import ModelStore
from core.storage.nights import NightStore
from core.storage.records import AcceptRule, RunState
from core.storage.sightings import SightingStore
from core.storage.tokens import TokenStore
from core.storage.upkeep import Upkeep
from core.storage.watches import WatchStore
from core.streams.resolve import StreamResolver
from core.streams.sampler import SamplingLimits, StreamSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.commands.service import LimitsAsks
    from bot.models.canary import CountsTrials
    from bot.models.following import Answering, HearsOfModels, Refusal
    from bot.models.promotion import ModelsReport
    from bot.nights.nightly import CarriesOutNights
    from bot.operation.figures import Figures
    from bot.settings import Settings
    from core.collection.directory import StreamDirectory
    from core.storage.records import JobRun

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """What is kept, and the questions that are asked about it."""

    database: Database
    frames: FolderFrameStore
    captures: CaptureStore
    nights: NightStore
    upkeep: Upkeep
    flags: FlagStore
    sightings: SightingStore
    watches: WatchStore
    models: ModelStore
    tokens: TokenStore
    audit: AuditStore
    leases: LeaseStore
    cooldowns: CooldownStore

    async def prepare(self) -> None:
        """Make ready for use.

        Raises:
            StorageError: the database or the frames' folder cannot be used, or the database waits for ``db migrate``.
        """
        await self.database.prepare()
        await self.frames.prepare()


@dataclass(frozen=True, kw_only=True, slots=True)
class Looking:
    """What looks at streams, and says what they show.

    Attributes:
        sampler: takes frames of a stream.
        recognizer: says what they show.
        follower: exchanges the model; None without a registry.
        fixed: the model that answers, where nothing exchanges it. What is exchanged must be held by nobody.
    """

    sampler: StreamSampler
    recognizer: Recognizer
    follower: ModelFollower | None = None
    fixed: Answering | None = None

    @property
    def answering(self) -> Answering:
        """The model that answers."""
        answering = self.fixed if self.follower is None else self.follower.answering
        if answering is None:
            raise RuntimeError("a model is either fixed or followed")
        return answering


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
            flags=FlagStore(
                database,
                rule=AcceptRule(
                    needed=settings.flags.moderators,
                    trust_channel_moderators=settings.flags.trust_channel_moderators,
                ),
            ),
            sightings=SightingStore(database),
            watches=WatchStore(database),
            models=ModelStore(database),
            tokens=TokenStore(database),
            audit=AuditStore(database),
            leases=LeaseStore(database),
            cooldowns=CooldownStore(database),
        )
        if at_once:
            await storage.prepare()
        yield storage
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def open_looking(
    settings: Settings,
    *,
    many_looks: bool,
    hears: HearsOfModels | None = None,
    canary: Canary | None = None,
    wake: asyncio.Event | None = None,
) -> AsyncIterator[Looking]:
    """Build what looks at streams, run it, and take it down again.

    Args:
        settings: all of them.
        many_looks: whether it is worth while to do ahead, and beside, what only the first look would wait for, and to
            follow the registry.
        hears: is told what becomes of models.
        canary: tries challengers; None tries none.
        wake: set by whoever knows that there is something new in the registry.

    Raises:
        ArtifactError: no model can be used.
    """
    model = settings.model
    registry = None if model.registry is None else Registry(model.registry)
    rules = FitnessRules(slower_at_most=model.slower_at_most, games_lost_at_most=model.games_lost_at_most)
    first = await asyncio.to_thread(
        first_model, registry, model.directory, threads=model.threads, rules=rules, now=datetime.now(UTC)
    )
    recognizer = Recognizer(first.answering.model.network, first.answering.model.artifact.rule)
    follower = None
    if registry is not None:
        follower = ModelFollower(
            registry,
            recognizer,
            first,
            threads=model.threads,
            rules=rules,
            poll_s=model.poll_s,
            hears=hears,
            canary=canary,
            wake=wake,
        )
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
            if many_looks and follower is not None:
                serving.append(group.create_task(follower.run(), name="registry"))
            fixed = first.answering if follower is None else None
            del first  # the network would stay in memory for as long as this function
            try:
                yield Looking(sampler=sampler, recognizer=recognizer, follower=follower, fixed=fixed)
            finally:
                for task in serving:
                    task.cancel()


@contextlib.asynccontextmanager
async def open_directory(settings: Settings) -> AsyncIterator[StreamDirectory | None]:
    """Twitch's directory, or None without the credentials to ask it."""
    if not settings.twitch.has_credentials:
        yield None
        return
    # Here, as a chat that asks no directory need not wait for TwitchIO.
    from bot.twitch_directory import TwitchDirectory  # noqa: PLC0415

    twitch = settings.twitch
    directory = TwitchDirectory(
        client_id=twitch.client_id,
        client_secret=twitch.client_secret.get_secret_value() if twitch.client_secret is not None else "",
        helix_url=twitch.helix_url,
        id_url=twitch.id_url,
    )
    async with directory:
        yield directory


@contextlib.asynccontextmanager
async def open_service(
    settings: Settings,
    looking: Looking,
    *,
    storage: Storage | None = None,
    directory: StreamDirectory | None = None,
    shows_evidence: bool = False,
    figures: Figures | None = None,
    canary: Canary | None = None,
    judge: Judge | None = None,
) -> AsyncIterator[CommandService]:
    """Build the one door on top of what looks, and run what stores behind it.

    Args:
        settings: all of them.
        looking: opened.
        storage: need not be prepared; None keeps nothing.
        directory: says what channels declare; None knows nothing of that.
        shows_evidence: whether a platform shows pictures.
        figures: where it is counted; None counts nothing.
        canary: measures models; None measures none.
        judge: tells whoever runs the bot how they do; None where nothing is measured.
    """
    recorder = flagging = watching = None
    words, url_template = settings.commands.words, settings.streams.url
    if storage is not None:
        recorder = Recorder(
            storage.captures,
            storage.frames,
            storage.upkeep,
            keeps_looks=settings.data.keep_asked,
            prepare=storage.prepare,
        )
        flagging = Flagging(
            storage.flags,
            recorder,
            words=words,
            url_template=url_template,
            servers=[str(server) for server in settings.flags.servers],
        )
        watching = Watching(
            storage.watches,
            storage.sightings,
            storage.audit,
            words=words,
            url_template=url_template,
            every_s=settings.watch.every_s,
        )
    limits = settings.limits
    declared = DeclaredCategories(directory) if directory is not None else None
    service = CommandService(
        sampler=looking.sampler,
        recognizer=looking.recognizer,
        url_template=url_template,
        words=words,
        reuse_s=settings.answers.reuse_s,
        recognize_timeout_s=settings.model.timeout_s,
        names=GameNames(AliasTable.bundled(), GameCatalogue(storage.database) if storage is not None else None),
        looks_at_once=limits.looks_at_once,
        looks_waiting=limits.looks_waiting,
        cooldowns=cooldowns(settings, storage),
        off=settings.commands.off,
        records=recorder,
        declared=declared,
        sightings=storage.sightings if storage is not None else None,
        flagging=flagging,
        watching=watching,
        audit=storage.audit if storage is not None else None,
        evidence=mosaic.tiles if shows_evidence else None,
        models=_Models(looking=looking, judge=judge),
        canary=canary,
        figures=figures,
    )
    if figures is not None:
        figures.watch_queues(
            looks=lambda: service.looks_waiting, unstored=lambda: recorder.waiting if recorder is not None else 0
        )
    async with asyncio.TaskGroup() as group:
        recording = group.create_task(recorder.run(), name="recorder") if recorder is not None else None
        try:
            yield service
        finally:
            await service.aclose()
            if declared is not None:
                await declared.aclose()
            if recording is not None:
                recording.cancel()


def cooldowns(settings: Settings, storage: Storage | None) -> LimitsAsks:
    """Who may ask again when; of all replicas, where there may be several."""
    limits = settings.limits
    own = Cooldowns(user_s=limits.user_s, place_s=limits.place_s, place_asks=limits.place_asks)
    if storage is None or not settings.replicas.enabled:
        return own
    return SharedCooldowns(
        storage.cooldowns,
        own,
        user_s=limits.user_s,
        place_s=limits.place_s,
        place_asks=limits.place_asks,
        questions=QuickQuestions(),
    )


@contextlib.asynccontextmanager
async def open_nightly(
    settings: Settings, storage: Storage, looking: Looking, directory: StreamDirectory | None, *, holder: str
) -> AsyncIterator[Nightly]:
    """Build what collects on top of what looks and what keeps.

    Args:
        settings: all of them.
        storage: prepared.
        looking: opened.
        directory: says what is live.
        holder: names this process.

    Raises:
        DirectoryRefused: there is no directory to be asked.
        StorageError: the night is to be handed out to workers, and there is no queue for that.
    """
    collection = settings.collection
    if directory is None:
        raise DirectoryRefused(wording.NO_CREDENTIALS)
    async with contextlib.AsyncExitStack() as stack:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Models:
    """What there is to say of models."""

    looking: Looking
    judge: Judge | None

    @property
    def since(self) -> datetime:
        return self.looking.answering.since

    @property
    def last_refusal(self) -> Refusal | None:
        return None if self.looking.follower is None else self.looking.follower.last_refusal

    async def report(self) -> ModelsReport | None:
        return None if self.judge is None else await self.judge.report()


def measuring(
    settings: Settings, storage: Storage, *, news: ModelNews | None = None, counts: CountsTrials | None = None
) -> tuple[Canary | None, Judge | None]:
    """What tries challengers, and what judges them; None and None without a registry."""
    if settings.model.registry is None:
        return None, None
    registry = Registry(settings.model.registry)
    judge = Judge(
        registry,
        storage.models,
        settings.canary.rules,
        acts=settings.canary.automatic,
        news=news,
        audit=storage.audit,
        changed=partial(storage.database.tell, MODELS_CHANGED),
        counts=counts,
    )
    return Canary(storage.models, share=settings.canary.share, counts=counts), judge


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
        await storage.models.expire(before=now - timedelta(days=kept.retention_days))
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


def streamlink_session(settings: Settings) -> Streamlink:
    """A Streamlink session for one resolve, led elsewhere where the settings say so."""
    session = Streamlink()
    twitch = settings.twitch
    for prefix, adapter in detours(gql_url=twitch.gql_url, usher_url=twitch.usher_url).items():
        session.http.mount(prefix, adapter)
    return session
