"""Being there: in the chats, over HTTP and by the clock, until told to stop; then nothing is left unanswered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from bot.app import (
    collects,
    cooldowns,
    measuring,
    open_directory,
    open_looking,
    open_nightly,
    open_service,
    open_storage,
    upkeep_jobs,
)
from bot.chat.opening import DISCORD, chats_on, open_chat
from bot.claims import new_holder
from bot.door import Door
from bot.models.canary import JUDGING
from bot.models.news import MODELS_CHANGED, ModelNews
from bot.nights.nightly import COLLECTION
from bot.operation import logs
from bot.operation.figures import Figures
from bot.operation.rereading import LIMITS, LOG_LEVEL, OFF, WEB_LIMITS
from bot.replicas.membership import Replicas
from bot.schedule import Job, Schedule
from bot.watch import MismatchWatch
from core.aliases import AliasTable
from core.errors import ChatRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bot.app import Looking, Storage
    from bot.chat.platform import ChatPlatform, Handle
    from bot.commands.request import Reply, Request
    from bot.commands.service import CommandService
    from bot.operation.rereading import Name, Rereading
    from bot.settings import Settings
    from bot.web.opening import Web

log = logging.getLogger(__name__)

_JUDGED = timedelta(minutes=5)
"""How long a missed judgement of models is worth making up for: the next one is as good."""

_HANDING_OVER_S = 5.8
"""That the other replicas have to take over what is heard here, before nothing more is taken: Discord lets a shard's
next session begin within 5.5. What it takes is taken from what comes after, of which there is hardly anything then."""

_ENDING_S = 9.0
"""For all of it."""

GONE_WITHIN_S = _ENDING_S + 0.7
"""For the process itself, whatever hangs then; of the ten seconds that whoever tells the bot to stop may wait before it
kills (docker stop)."""

_ANSWERS_S = 4.0
"""That askers have once the bot is told to stop; whoever is not answered by then is told to ask again later."""

_LAST_WORDS_S = 3.0
"""For these words to arrive, of which Twitch takes one a second where the bot is no moderator, and for what is due by
the clock to come to an end."""


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
        platforms = {chat: open_chat(chat, settings, storage, service, figures, replicas) for chat in chats}
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
