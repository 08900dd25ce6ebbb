"""The composition root: builds each object once and runs everything in one TaskGroup."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
from cachetools import TTLCache, cached
from streamlink.session.session import Streamlink

from bot.claims import new_holder
from bot.commands import mosaic, wording
from bot.commands.flagging import Flagging
from bot.commands.limits import Cooldowns
from bot.commands.naming import GameNames
from bot.commands.parser import parse_command
from bot.commands.service import CommandService
from bot.commands.watching import Watching
from bot.declared import DeclaredCategories
from bot.door import Door
from bot.languages.sentences import languages
from bot.models.canary import JUDGING, Canary, Judge
from bot.models.following import ModelFollower, first_model
from bot.models.news import MODELS_CHANGED, ModelNews
from bot.nights.nightly import COLLECTION, Nightly
from bot.nights.shared_queue import open_queue
from bot.operation import logs
from bot.operation.figures import Figures
from bot.operation.rereading import LIMITS, LOG_LEVEL, OFF, WEB_LIMITS
from bot.recording import Recorder
from bot.replicas.membership import Replicas
from bot.replicas.quick_questions import QuickQuestions
from bot.replicas.shared_cooldowns import SharedCooldowns
from bot.schedule import Ending, Job, Schedule
from bot.twitch_addresses import detours
from bot.watch import MismatchWatch
from core.aliases import AliasTable
from core.collection.collector import Collector
from core.collection.handing_out import Coordinator
from core.collection.picks import PickRules
from core.collection.taking import PickTaker
from core.errors import ChatRefused, DirectoryRefused
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
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from bot.chat.platform import ChatPlatform, Handle
    from bot.chat.sharing import Sharing
    from bot.chat.twitch_chat import TwitchAddresses
    from bot.chat.twitch_tokens import TokenVault
    from bot.commands.answer import Answer
    from bot.commands.request import Reply, Request
    from bot.commands.service import LimitsAsks
    from bot.models.canary import CountsTrials
    from bot.models.following import Answering, HearsOfModels, Refusal
    from bot.models.promotion import ModelsReport
    from bot.nights.nightly import CarriesOutNights
    from bot.operation.rereading import Name, Rereading
    from bot.settings import Settings
    from bot.web.opening import Web
    from core.collection.directory import StreamDirectory
    from core.storage.records import JobRun

log = logging.getLogger(__name__)

_JUDGED = timedelta(minutes=5)
"""How long a missed judgement of models is worth making up for: the next one is as good."""

_KEPT_PICTURES = 32
"""Of a quarter of a megabyte each."""

_PICTURES_KEPT_S = 60.0

_HANDING_OVER_S = 5.8
"""That the other replicas have to take over what is heard here, before nothing more is taken: Discord lets a shard's
next session begin within 5.5. What it takes is taken from what comes after, of which there is hardly anything then."""

_ENDING_S = 9.0
"""For all of it."""

_ANSWERS_S = 4.0
"""That askers have once the bot is told to stop; whoever is not answered by then is told to ask again later."""

_LAST_WORDS_S = 3.0
"""For these words to arrive, of which Twitch takes one a second where the bot is no moderator, and for what is due by
the clock to come to an end."""


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


async def serve(settings: Settings, *, stop: asyncio.Event, rereading: Rereading | None = None) -> None:
    """Be in the chats, serve HTTP, and do what is due by the clock, until told to stop.

    Then nothing more is taken, what was taken is answered, and all is closed, within ten seconds.

    Args:
        settings: all of them.
        stop: ends it.
        rereading: tells of settings that changed while it runs.

    Raises:
        GameSpotterError: something that is needed cannot be used.
    """
    holder = new_holder()
    chats = chats_on(settings)
    figures = Figures()
    async with contextlib.AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings))
        directory = await stack.enter_async_context(open_directory(settings))
        jobs = upkeep_jobs(settings, storage)
        if not chats and not collects(settings) and not settings.web.enabled:
            await Schedule(storage.nights, jobs, holder=holder).run(stop=stop)
            return
        news = ModelNews(
            storage.flags, storage.nights, holder=holder, places=settings.model.announced_in, counts=figures
        )
        wake = asyncio.Event()
        canary, judge = measuring(settings, storage, news=news, counts=figures)
        if judge is not None:
            jobs.append(Job(name=JUDGING, cron="*/5 * * * *", time_zone="UTC", work=judge.judge, caught_up_for=_JUDGED))
        looking = await stack.enter_async_context(
            open_looking(settings, many_looks=True, hears=news, canary=canary, wake=wake)
        )
        if collects(settings):
            nightly = await stack.enter_async_context(
                open_nightly(settings, storage, looking, directory, holder=holder)
            )
            collection = settings.collection
            jobs.append(
                Job(
                    name=COLLECTION,
                    cron=collection.cron,
                    time_zone=collection.time_zone,
                    work=partial(nightly.scheduled, stop=stop),
                )
            )
        service = await stack.enter_async_context(
            open_service(
                settings,
                looking,
                storage=storage,
                directory=directory,
                shows_evidence=DISCORD in chats,
                figures=figures,
                canary=canary,
                judge=judge,
            )
        )
        # Their moderators are told, wherever one of these chats is. Those of a later model are marked when it answers.
        await news.marked(looking.answering)
        door = Door(_placed(service, settings), figures=figures)
        replicas = await _replicas(settings, storage, figures, holder)
        platforms = {chat: _chat(chat, settings, storage, service, figures, replicas) for chat in chats}
        web = await _web(stack, settings, storage, looking, door, platforms, figures)
        async with asyncio.TaskGroup() as group:
            schedule = Schedule(storage.nights, jobs, holder=holder, figures=figures)
            staying = [
                group.create_task(schedule.run(stop=stop), name="schedule"),
                group.create_task(news.run(platforms), name="news of models"),
                group.create_task(storage.database.hear(MODELS_CHANGED, wake.set), name="notices of models"),
            ]
            if replicas is not None:
                staying.append(group.create_task(replicas.run(), name="replicas"))
            if canary is not None:
                staying.append(group.create_task(canary.run(), name="canary"))
            if rereading is not None:
                staying.append(
                    group.create_task(rereading.run(partial(_take, service, storage, web)), name="rereading")
                )
            if platforms:
                watch = _watch(settings, storage, service, platforms, holder)
                staying += [
                    group.create_task(_in_chats(platforms, door.handle), name="chats"),
                    group.create_task(watch.run(), name="watch"),
                ]
            try:
                await stop.wait()
                loop = asyncio.get_running_loop()
                ends_at = loop.time() + _ENDING_S
                if replicas is not None:
                    await replicas.hand_over(within_s=_HANDING_OVER_S)
                if web is not None:
                    web.stop()
                await _drain(door, platforms.values(), web, schedule=staying[0], within_s=ends_at - loop.time())
            finally:
                for task in staying:
                    task.cancel()


async def _replicas(settings: Settings, storage: Storage, figures: Figures, holder: str) -> Replicas | None:
    """This process among those that share the chats; None where it is the only one."""
    if not settings.replicas.enabled:
        return None
    replicas = Replicas(storage.leases, storage.database, holder=holder, lease_s=settings.replicas.lease_s)
    figures.watch_replicas(lambda: replicas.count)
    # The chats are to know at once what is theirs.
    await replicas.beat()
    return replicas


def _take(
    service: CommandService, storage: Storage, web: Web | None, settings: Settings, changed: frozenset[Name]
) -> None:
    """Go by settings that changed."""
    if changed & LIMITS:
        service.limit(cooldowns(settings, storage))
    if changed & OFF:
        service.switch_off(settings.commands.off)
    if changed & LOG_LEVEL:
        logs.set_level(settings.log.level)
    if changed & WEB_LIMITS and web is not None:
        web.change(settings)


async def _web(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    storage: Storage,
    looking: Looking,
    door: Door,
    platforms: Mapping[str, ChatPlatform],
    figures: Figures,
) -> Web | None:
    """HTTP, open until the stack is closed; None where it is not wanted."""
    if not settings.web.enabled:
        return None
    from bot.web.opening import open_web  # noqa: PLC0415 - is not always wanted

    return await stack.enter_async_context(
        open_web(
            settings,
            handle=door.handle,
            database=storage.database,
            recognizer=looking.recognizer,
            platforms=platforms,
            figures=figures,
        )
    )


async def _drain(
    door: Door,
    platforms: Collection[ChatPlatform],
    web: Web | None,
    *,
    schedule: asyncio.Task[None],
    within_s: float,
) -> None:
    """Finish what was taken; what is not finished in time is cancelled by the caller."""
    longest_s = _ANSWERS_S + _LAST_WORDS_S
    within_s = min(within_s, longest_s)
    try:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
            group.create_task(_ended(schedule), name="what is due")
            if web is not None:
                group.create_task(web.drained(), name="HTTP")
            await door.close(within_s=_ANSWERS_S * within_s / longest_s)
            for platform in platforms:
                group.create_task(platform.drained(), name=platform.name)
    except TimeoutError:
        log.warning("not all that was begun could be finished; the rest is given up")


async def _ended(task: asyncio.Task[None]) -> None:
    """Wait for a task that stays its owner's to cancel."""
    await asyncio.wait({task})


async def _in_chats(platforms: Mapping[str, ChatPlatform], handle: Handle) -> None:
    """Be in all chats. One that does not accept us is left to the operator while there is another.

    Raises:
        ChatRefused: none accepts us.
    """

    async def until_refused(name: str, platform: ChatPlatform) -> ChatRefused | None:
        try:
            await platform.run(handle)
        except ChatRefused as refused:
            if len(platforms) > 1:
                log.error("%s is off until the next start: %s", name, refused)  # noqa: TRY400 - a sentence
            return refused
        return None

    async with asyncio.TaskGroup() as group:
        ends = [group.create_task(until_refused(*item), name=item[0]) for item in platforms.items()]
    for end in ends:
        refused = end.result()
        if refused is not None:
            raise refused


def _placed(service: CommandService, settings: Settings) -> Handle:
    """The service's door, for requests whose place may belong to a channel by the settings."""
    servers = settings.discord.servers

    async def handle(request: Request) -> Reply:
        place = request.place
        if place.platform == DISCORD and place.server in servers:
            request = replace(request, place=replace(place, channel=servers[place.server]))
        return await service.handle(request)

    return handle


DISCORD, TWITCH = "discord", "twitch"


def chats_on(settings: Settings) -> tuple[str, ...]:
    """The chats that are wanted and whose secrets are there."""
    discord, twitch = settings.discord, settings.twitch
    on = {
        DISCORD: discord.chat and discord.has_token,
        TWITCH: twitch.chat and twitch.has_credentials and twitch.has_token_key,
    }
    return tuple(chat for chat, is_on in on.items() if is_on)


def _chat(
    chat: str,
    settings: Settings,
    storage: Storage,
    service: CommandService,
    figures: Figures,
    sharing: Sharing | None,
) -> ChatPlatform:
    platform = _discord(settings, service, sharing) if chat == DISCORD else _twitch(settings, storage, figures, sharing)
    figures.watch_chat(chat, lambda: platform.is_ready)
    return platform


def _discord(settings: Settings, service: CommandService, sharing: Sharing | None) -> ChatPlatform:
    from bot.chat.discord_chat import DiscordChat  # noqa: PLC0415 - takes its time, and is not always wanted

    discord = settings.discord
    return DiscordChat(
        discord.token.get_secret_value() if discord.token is not None else "",
        words=settings.commands.words,
        languages=languages(),
        reads_messages=discord.message_content,
        moderator_roles=discord.moderator_roles,
        operators=discord.operators,
        channels=service.complete_channels,
        games=service.complete_games,
        draw=_drawing(),
        channel_url=settings.streams.url,
        sharing=sharing,
        api_url=discord.api_url,
        gateway_url=discord.gateway_url,
    )


def _drawing() -> Callable[[Answer, str], bytes]:
    """Draws the evidence of an answer; of one look once in a language, however many ask."""

    @cached(
        TTLCache[tuple[str, str], bytes](_KEPT_PICTURES, _PICTURES_KEPT_S),
        key=lambda answer, language: (answer.look, language),
        condition=threading.Condition(),
    )
    def draw(answer: Answer, language: str) -> bytes:
        seen = answer.verdict.game if answer.verdict is not None else None
        return mosaic.draw(answer.evidence, channel=answer.channel, language=language, seen=seen)

    return draw


def _twitch(settings: Settings, storage: Storage, figures: Figures, sharing: Sharing | None) -> ChatPlatform:
    from bot.chat.twitch_chat import TwitchChat  # noqa: PLC0415 - takes its time, and is not always wanted

    twitch = settings.twitch
    chat = TwitchChat(
        client_id=twitch.client_id,
        client_secret=twitch.client_secret.get_secret_value() if twitch.client_secret is not None else "",
        vault=token_vault(settings, storage),
        read=partial(parse_command, words=settings.commands.words),
        channels=twitch.channels,
        operators=twitch.operators,
        addresses=twitch_addresses(settings),
        sharing=sharing,
    )
    figures.watch_subscriptions(live=lambda: chat.live_subscriptions, wanted=lambda: chat.wanted_subscriptions)
    figures.watch_messages("said", lambda: chat.tally.said)
    figures.watch_messages("late", lambda: chat.tally.late)
    figures.watch_messages("failed", lambda: chat.tally.failed)
    figures.watch_messages("dropped", chat.tally.dropped.total)
    return chat


def token_vault(settings: Settings, storage: Storage) -> TokenVault:
    """Where Twitch's tokens are kept, sealed.

    Raises:
        ChatRefused: there is no key to seal them with, or it is none.
    """
    from bot.chat.twitch_tokens import TokenVault  # noqa: PLC0415

    key = settings.twitch.token_key
    return TokenVault(storage.tokens, key.get_secret_value().replace(",", " ").split() if key is not None else ())


def twitch_addresses(settings: Settings) -> TwitchAddresses:
    """Where Twitch's services are."""
    from bot.chat.twitch_chat import TwitchAddresses  # noqa: PLC0415

    twitch = settings.twitch
    return TwitchAddresses(helix_url=twitch.helix_url, id_url=twitch.id_url, eventsub_url=twitch.eventsub_url)


def _watch(
    settings: Settings,
    storage: Storage,
    service: CommandService,
    platforms: Mapping[str, ChatPlatform],
    holder: str,
) -> MismatchWatch:
    return MismatchWatch(
        service,
        storage.watches,
        storage.flags,
        platforms=platforms,
        aliases=AliasTable.bundled(),
        holder=holder,
        every_s=settings.watch.every_s,
        windows=settings.watch.windows,
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
