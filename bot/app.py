"""The composition root: builds each object once and runs everything in one TaskGroup."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
from streamlink.session.session import Streamlink

from bot.commands.service import CommandService
from bot.twitch_addresses import detours
from core.recognition.artifact import read_artifact
from core.recognition.recognizer import Recognizer
from core.recognition.runtime import Network
from core.streams.resolve import StreamResolver
from core.streams.sampler import SamplingLimits, StreamSampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.settings import ModelSettings, Settings


@contextlib.asynccontextmanager
async def open_service(settings: Settings, *, many_asks: bool) -> AsyncIterator[CommandService]:
    """Build the service and everything below it, run it, and take it down again.

    Args:
        settings: all of them.
        many_asks: whether it is worth while to do ahead, and beside, what only the first ask would wait for.

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
        service = CommandService(
            sampler=sampler,
            recognizer=recognizer,
            url_template=streams.url,
            prefix=settings.commands.prefix,
            reuse_s=settings.answers.reuse_s,
            recognize_timeout_s=settings.model.timeout_s,
        )
        async with asyncio.TaskGroup() as group:
            serving = [group.create_task(recognizer.run(), name="recognizer")]
            if many_asks:
                serving.append(group.create_task(resolver.warm(), name="warm-up"))
            try:
                yield service
            finally:
                await service.aclose()
                for task in serving:
                    task.cancel()


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
