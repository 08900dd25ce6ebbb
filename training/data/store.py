"""The collected data set: database and frame store, opened for a verb."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import DataSetError
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.labelled import LabelledStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """What the bot collected, and where its files lie."""

    captures: CaptureStore
    labelled: LabelledStore
    frames: FolderFrameStore
    frames_directory: Path


@asynccontextmanager
async def opened(*, database: str, frames: Path, fill: bool = False) -> AsyncIterator[Store]:
    """Open database and frame store.

    Args:
        database: the address, or the path of an SQLite file.
        frames: the frame store's directory.
        fill: make both ready to take something, where they are not there yet. Otherwise the frames must be there, so
            that a wrong path is not taken for an empty data set.

    Raises:
        StorageError: the database cannot be used.
        DataSetError: there are no frames.
    """
    url = database if "://" in database else f"sqlite:///{database}"
    async with Database.at(url) as opened_database:
        if fill:
            await opened_database.prepare()
        else:
            await opened_database.check()
            if not await asyncio.to_thread(frames.is_dir):
                raise DataSetError(f"There are no frames in {frames}: the folder does not exist.")
        files = FolderFrameStore(frames)
        if fill:
            await files.prepare()
        yield Store(
            captures=CaptureStore(opened_database, files),
            labelled=LabelledStore(opened_database),
            frames=files,
            frames_directory=frames,
        )
