"""HTTP as the settings have it, built on top of what answers."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bot.web.guards import Tokens
from bot.web.health import OK, HealthCheck
from bot.web.pictures import PictureLimits
from bot.web.routes import Routes, WebLimits
from bot.web.server import WebServer
from core.errors import SchemaOutdated
from core.frames import IMAGE_CONVENTION, Frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from bot.chat.platform import ChatPlatform, Handle
    from bot.settings import Settings
    from bot.web.health import Check
    from bot.web.routes import CountsRequests, RecognizesFrames

_OLD_SCHEMA = "waits for `python -m bot db migrate`"
_NOT_CONNECTED = "not connected"


class ChecksSchema(Protocol):
    """What is needed of :class:`core.storage.database.Database`."""

    async def check(self) -> None:
        """Connect, and see that the schema is the one that this version works with."""
        ...


class Web:
    """HTTP while it is served."""

    def __init__(self, server: WebServer, routes: Routes, health: HealthCheck, tokens: Tokens) -> None:
        """Keep the parts."""
        self._server = server
        self._routes = routes
        self._health = health
        self._tokens = tokens

    @property
    def url(self) -> str:
        """Where it is."""
        return self._server.url

    def change(self, settings: Settings) -> None:
        """Go by these limits from now on."""
        self._tokens.change(asks=settings.web.asks, asks_s=settings.web.asks_s)

    def stop(self) -> None:
        """Say that the bot is about to end, and take nothing more."""
        self._health.stops = True

    async def drained(self) -> None:
        """Wait until what was taken is answered."""
        await self._routes.drained()


@contextlib.asynccontextmanager
async def open_web(
    settings: Settings,
    *,
    handle: Handle,
    database: ChecksSchema,
    recognizer: RecognizesFrames,
    platforms: Mapping[str, ChatPlatform],
    figures: CountsRequests,
) -> AsyncIterator[Web]:
    """Serve HTTP while the block runs.

    Args:
        settings: all of them.
        handle: the one door.
        database: asked whether it answers.
        recognizer: looks at pictures, and is asked whether it answers.
        platforms: the chats that are on, asked whether they are connected.
        figures: what was counted.

    Raises:
        WebError: the port cannot be had.
    """
    web = settings.web
    health = HealthCheck(
        {
            "database": partial(_database, database),
            "model": partial(_model, recognizer),
            **{name: _chat(platform) for name, platform in platforms.items()},
        }
    )
    tokens = Tokens(web.tokens, asks=web.asks, asks_s=web.asks_s)
    routes = Routes(
        handle=handle,
        recognizer=recognizer,
        health=health,
        figures=figures,
        tokens=tokens,
        limits=WebLimits(
            picture=PictureLimits(file_bytes=int(web.picture_mb * 10**6), pixels=int(web.picture_megapixels * 10**6)),
            body_s=web.body_timeout_s,
            answer_s=settings.model.timeout_s,
        ),
        version=await asyncio.to_thread(_version),
    )
    server = WebServer(
        routes.application(), host=web.host, port=web.port, connections=web.connections, idle_s=web.idle_s
    )
    try:
        async with server.open():
            yield Web(server, routes, health, tokens)
    finally:
        await health.aclose()


def _version() -> str:
    try:
        return metadata.version("gamespotter")
    except metadata.PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0"


async def _database(database: ChecksSchema) -> str:
    try:
        await database.check()
    except SchemaOutdated:
        return _OLD_SCHEMA
    return OK


async def _model(recognizer: RecognizesFrames) -> str:
    goal = IMAGE_CONVENTION
    blank = np.zeros((goal.height_px, goal.width_px, 3), dtype=np.uint8)
    await recognizer.recognize([Frame(picture=blank, at_s=0.0)])
    return OK


def _chat(platform: ChatPlatform) -> Check:
    async def is_ready() -> str:
        return OK if platform.is_ready else _NOT_CONNECTED

    return is_ready
