"""Sources to reels: each is made once, when it is first asked for, in a thread, and kept in memory."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from async_lru import alru_cache

from demo import drawings, footage
from demo.channels import BundledClip, Container, DrawnGame, FullHdClip, Source
from demo.full_hd import FullHdFilms, full_hd_films
from demo.reels import Reel, cut_fragmented_mp4, cut_mpeg_ts, cut_sound_only
from demo.renditions import Quality

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_P = ParamSpec("_P")
_R = TypeVar("_R")

_SOUND_S, _LONG_SOUND_S = 24.0, 45.0
"""Longer than the longest bundled clip, and than the longest film."""


class Studio:
    """Makes reels; an async context manager that waits for its threads at the end."""

    def __init__(self) -> None:
        # Two: making a long film must not hold up one that is cut in a moment.
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="studio")
        self._film = alru_cache(maxsize=None)(self._make_film)
        self._advert_film = alru_cache(maxsize=None)(self._make_advert_film)
        self._full_hd = alru_cache(maxsize=None)(self._make_full_hd)
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
        for cache in (self._reel, self._advert_reel, self._film, self._advert_film, self._full_hd, self._sound):
            await cache.cache_close()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def reel(self, source: Source, quality: Quality, container: Container) -> Reel:
        """One loop of a source in one quality."""
        return await self._reel(source, quality, container)

    async def advert_reel(self, quality: Quality, container: Container) -> Reel:
        """One loop of the advert in one quality."""
        return await self._advert_reel(quality, container)

    async def durations_s(self, source: Source) -> tuple[float, ...]:
        """The segments' lengths, which all renditions of a source share."""
        return (await self._reel(source, Quality.P360, Container.MPEG_TS)).durations_s

    async def advert_segments(self) -> int:
        """How many segments the advert has in any quality."""
        return len((await self._advert_reel(Quality.P360, Container.MPEG_TS)).segments)

    async def _make_reel(self, source: Source, quality: Quality, container: Container) -> Reel:
        film = await self._film(source, Quality.P360 if quality is Quality.AUDIO_ONLY else quality)
        return await self._cut(film, quality, container, _LONG_SOUND_S if isinstance(source, FullHdClip) else _SOUND_S)

    async def _make_advert_reel(self, quality: Quality, container: Container) -> Reel:
        film = await self._advert_film(Quality.P360 if quality is Quality.AUDIO_ONLY else quality)
        return await self._cut(film, quality, container, _SOUND_S)

    async def _cut(self, film: bytes, quality: Quality, container: Container, sound_s: float) -> Reel:
        sound = await self._sound(sound_s)
        if quality is Quality.AUDIO_ONLY:
            return await self._in_thread(cut_sound_only, film, sound)
        cut = cut_mpeg_ts if container is Container.MPEG_TS else cut_fragmented_mp4
        return await self._in_thread(cut, film, sound)

    async def _make_film(self, source: Source, quality: Quality) -> bytes:
        match source, quality:
            case FullHdClip(name=name), Quality.P1080 | Quality.P360:
                films = await self._full_hd(name)
                return films.p1080 if quality is Quality.P1080 else films.p360
            case BundledClip(name=name), Quality.P360:
                return await self._in_thread(footage.bundled_clip, name)
            case DrawnGame(), Quality.P360:
                return await self._in_thread(drawings.game_film)
            case _:
                return await self._in_thread(footage.shrink_to_160p, await self._film(source, Quality.P360))

    async def _make_advert_film(self, quality: Quality) -> bytes:
        match quality:
            case Quality.P1080:
                return await self._in_thread(drawings.advert_film, 1920, 1080)
            case Quality.P160:
                return await self._in_thread(footage.shrink_to_160p, await self._advert_film(Quality.P360))
            case _:
                return await self._in_thread(drawings.advert_film, 640, 360)

    async def _make_full_hd(self, name: str) -> FullHdFilms:
        return await self._in_thread(full_hd_films, name)

    async def _make_sound(self, duration_s: float) -> bytes:
        return await self._in_thread(footage.room_tone, duration_s)

    async def _in_thread(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
