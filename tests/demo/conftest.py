from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import pytest
import requests
from requests.adapters import HTTPAdapter
from streamlink import Streamlink

from demo.channels import demo_channels
from demo.pocket_twitch import PocketTwitch


class Detour(HTTPAdapter):
    """Leads an origin to the pocket Twitch.

    The response keeps the loopback address: Streamlink lets no playlist from an https address lead to plain http.
    """

    def __init__(self, goal: str) -> None:
        super().__init__()
        self._goal = urlsplit(goal)

    def send(self, request: requests.PreparedRequest, *args, **kwargs) -> requests.Response:
        there = urlsplit(request.url or "")._replace(scheme=self._goal.scheme, netloc=self._goal.netloc)
        request.url = urlunsplit(there)
        return super().send(request, *args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class Resolved:
    streams: dict[str, str]
    id: str | None
    author: str | None
    category: str | None
    title: str | None


def resolve_blocking(base_url: str, channel: str) -> Resolved:
    session = Streamlink({"webbrowser": False})
    try:
        for origin in ("https://gql.twitch.tv/", "https://usher.ttvnw.net/"):
            session.http.mount(origin, Detour(base_url))
        _, plugin_class, url = session.resolve_url(f"https://www.twitch.tv/{channel}")
        plugin = plugin_class(session, url)
        streams = plugin.streams()
        return Resolved(
            streams={name: stream.url for name, stream in streams.items()},
            id=plugin.get_id(),
            author=plugin.get_author(),
            category=plugin.get_category(),
            title=plugin.get_title(),
        )
    finally:
        session.http.close()


class HandClock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def twitch(clock: HandClock) -> AsyncIterator[PocketTwitch]:
    async with PocketTwitch(channels=demo_channels(), clock=clock) as twitch:
        yield twitch


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def resolve(twitch: PocketTwitch) -> Callable[[str], Awaitable[Resolved]]:
    """Streamlink's own plugin, unmodified, led to the pocket Twitch."""

    async def resolve(channel: str) -> Resolved:
        return await asyncio.to_thread(resolve_blocking, twitch.base_url, channel)

    return resolve
