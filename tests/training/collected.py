"""A small store to export from, as the bot would have filled it, and trees of folders to bring into one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from core.collection.directory import Category
from core.frames import encode_jpeg, perceptual_hash
from core.games import Game
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.records import Broadcaster, BroadcastStream, CaptureKind, KeptFrame, Moderator, NewCapture
from core.storage.upkeep import Upkeep

T = TypeVar("T")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOOM = Category(id="1", name="DOOM")
CHESS = Category(id="2", name="Chess")
CHATTING = Category(id="3", name="Just Chatting")


def picture(seed: int, *, width: int = 320, height: int = 180, shade: int = 0) -> np.ndarray:
    """A picture that looks like no other, but for those of other shades; its hash lies far from theirs."""
    small = np.random.default_rng(seed).integers(0, 200, size=(9, 16, 3), dtype=np.uint8) + np.uint8(shade)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(seed: int, *, width: int = 320, height: int = 180) -> bytes:
    return encode_jpeg(picture(seed, width=width, height=height))


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Collected:
    """A database and a frame store in a folder; each call opens and closes them, as the verbs do."""

    def __init__(self, directory: Path) -> None:
        self.database = str(directory / "store.db")
        self.frames = directory / "frames"
        self._seeds = iter(range(10_000, 10**9))

    def options(self) -> list[str]:
        return ["--database", self.database, "--frames", str(self.frames)]

    def ask(self, question: Callable[[Database], Awaitable[T]]) -> T:
        async def ask() -> T:
            async with Database.at(f"sqlite:///{self.database}") as database:
                await database.prepare()
                return await question(database)

        return asyncio.run(ask())

    def capture(
        self,
        key: str,
        *,
        by: str,
        declared: Category | None = DOOM,
        is_game: bool = True,
        kind: CaptureKind = CaptureKind.NIGHTLY,
        seeds: tuple[int, ...] | None = None,
        frames: int = 2,
        platform_id: str | None = None,
        shade: int = 0,
    ) -> None:
        """A capture of frames like no others, or of the pictures of some seeds."""

        async def add(database: Database) -> None:
            files = FolderFrameStore(self.frames)
            kept = []
            for place, seed in enumerate(seeds or [next(self._seeds) for _ in range(frames)]):
                shown = picture(seed, shade=shade)
                stored = await files.put(encode_jpeg(shown))
                kept.append(
                    KeptFrame(
                        sha256=stored.sha256,
                        size_bytes=stored.size_bytes,
                        perceptual_hash=perceptual_hash(shown),
                        at_s=2.0 * place,
                    )
                )
            await CaptureStore(database, files).add(
                NewCapture(
                    kind=kind,
                    key=key,
                    broadcaster=Broadcaster(login=by, platform_id=platform_id),
                    stream=BroadcastStream(platform_id=f"stream of {key}"),
                    declared=declared,
                    is_game=is_game,
                    at=NOON,
                    rendition="360p",
                    window_s=26.0,
                    frames=tuple(kept),
                )
            )

        self.ask(add)

    def fill(self, *, broadcasters: int = 8, frames: int = 2) -> None:
        """Doom and chess, by as many broadcasters each."""
        for game, category in (("doom", DOOM), ("chess", CHESS)):
            for number in range(broadcasters):
                self.capture(f"{game}-{number}", by=f"{game}{number}", declared=category, frames=frames)

    def flag(self, key: str, game: Game, *, by: str = "mod", is_trusted: bool = True) -> int:
        """A moderator's word; the number of the flag."""
        moderator = Moderator(platform="discord", id=by, name=by, moderates_channel=is_trusted)

        async def flag(database: Database) -> int:
            outcome = await FlagStore(database).flag(key, game, by=moderator, place="there", at=NOON)
            assert outcome is not None
            return outcome.flag.id

        return self.ask(flag)

    def forget(self, login: str) -> None:
        async def forget(database: Database) -> Any:
            files = FolderFrameStore(self.frames)
            return await Upkeep(database, files).forget(Broadcaster(login=login), by="test", at=NOON)

        self.ask(forget)

    def opt_out(self, login: str) -> None:
        """Written down, while what is kept is still there."""

        async def opt_out(database: Database) -> None:
            await CaptureStore(database, FolderFrameStore(self.frames)).opt_out(
                Broadcaster(login=login), by="test", at=NOON
            )

        self.ask(opt_out)
