"""Sources to reels: each is made once, when it is first asked for, in a thread, and kept in memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from async_lru import alru_cache

from demo import drawings, footage
from demo.channels import BundledClip, Container, DrawnGame, FullHdClip, Source
from demo.full_hd import full_hd_films
from demo.reels import Reel, cut_fragmented_mp4, cut_mpeg_ts, cut_sound_only
from demo.renditions import P160, P360, P1080, Rendition

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SOUND_S = 45.0
"""Longer than the longest film."""


class Studio:
    """Makes reels; an async context manager that waits for its threads at the end."""

    def __init__(self) -> None:
        # Two: making a long film must not hold up one that is cut in a moment.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="studio")
        self._film = alru_cache(maxsize=None)(self._make_film)
        self._advert_film = alru_cache(maxsize=None)(self._make_advert_film)
        self._sound = alru_cache(maxsize=None)(self._make_sound)
        self._reel = alru_cache(maxsize=None)(self._make_reel)
        self._advert_reel = alru_cache(maxsize=None)(self._make_advert_reel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for cache in (self._reel, self._advert_reel, self._film, self._advert_film, self._sound):
            await cache.cache_close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def reel(self, source: Source, rendition: Rendition, container: Container) -> Reel:
        """One loop of a source in one quality."""
        return await self._reel(source, rendition, container)

    async def advert_reel(self, rendition: Rendition, container: Container) -> Reel:
        """One loop of the advert in one quality."""
        return await self._advert_reel(rendition, container)

    async def durations_s(self, source: Source) -> tuple[float, ...]:
        """The segments' lengths, which all renditions of a source share."""
        return (await self._reel(source, P360, Container.MPEG_TS)).durations_s

    async def advert_segments(self) -> int:
        """How many segments the advert has in any quality."""
        return len((await self._advert_reel(P360, Container.MPEG_TS)).segments)

    async def _make_reel(self, source: Source, rendition: Rendition, container: Container) -> Reel:
        film = await self._film(source, P360 if rendition.audio_only else rendition)
        return await self._cut(film, rendition, container)

    async def _make_advert_reel(self, rendition: Rendition, container: Container) -> Reel:
        film = await self._advert_film(P360 if rendition.audio_only else rendition)
        return await self._cut(film, rendition, container)

    async def _cut(self, film: bytes, rendition: Rendition, container: Container) -> Reel:
        sound = await self._sound()
        if rendition.audio_only:
            return await self._in_thread(cut_sound_only, film, sound)
        cut = cut_mpeg_ts if container is Container.MPEG_TS else cut_fragmented_mp4
        return await self._in_thread(cut, film, sound)

    async def _make_film(self, source: Source, rendition: Rendition) -> bytes:
        match source, rendition:
            case FullHdClip(name=name), _ if rendition in (P1080, P360):
                films = await self._in_thread(full_hd_films, name)
                return films.p1080 if rendition == P1080 else films.p360
            case BundledClip(name=name), _ if rendition == P360:
                return await self._in_thread(footage.bundled_clip, name)
            case DrawnGame(), _ if rendition == P360:
                return await self._in_thread(drawings.game_film)
            case _:
                return await self._smaller(await self._film(source, P360), rendition)

    async def _make_advert_film(self, rendition: Rendition) -> bytes:
        if rendition == P160:
            return await self._smaller(await self._advert_film(P360), rendition)
        return await self._in_thread(drawings.advert_film, rendition.width_px, rendition.height_px)

    async def _smaller(self, film: bytes, rendition: Rendition) -> bytes:
        def shrink() -> bytes:
            return footage.shrink(film, width_px=rendition.width_px, height_px=rendition.height_px)

        return await self._in_thread(shrink)

    async def _make_sound(self) -> bytes:
        return await self._in_thread(footage.room_tone, _SOUND_S)

    async def _in_thread(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
