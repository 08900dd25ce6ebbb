"""Retention, the size cap, bringing rows and files together, forgetting a broadcaster."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from core.storage.database import Database
    from core.storage.frame_store import FrameStore
    from core.storage.records import Broadcaster, Forgotten, Removed, SyncReport


class Upkeep:
    """Removes what is not to be kept. Each method may be interrupted anywhere and run again."""

    def __init__(self, database: Database, frames: FrameStore) -> None:
        """Keep the parts; both stay the caller's to close."""
        self._database = database
        self._frames = frames

    async def expire(self, *, asked_before: datetime | None, nightly_before: datetime | None) -> Removed:
        """Remove the pixels of older captures, by kind; None keeps that kind.

        The rows stay and say what was kept and when it went. Captures with an open or accepted flag keep their
        pixels. Picks of nights before ``nightly_before`` are deleted.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        raise NotImplementedError

    async def shrink_to(self, max_bytes: int) -> Removed:
        """Remove pixels until the files take at most this much.

        Always the oldest nightly capture of the game with most frames, then the oldest asked ones; never those with
        an open or accepted flag.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        raise NotImplementedError

    async def sweep(self, *, dry_run: bool = False) -> SyncReport:
        """Delete files that no row needs and leftovers of interrupted writing, both once they are an hour old.

        Safe to run at any time, beside any number of processes that collect.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        raise NotImplementedError

    async def sync(self, *, dry_run: bool = False, even_if_empty: bool = False) -> SyncReport:
        """Bring rows and files together: :meth:`sweep`, and delete the rows of frames whose file is gone.

        A capture that loses its last frame so goes too, unless it is flagged, and then games that nothing refers to.

        Args:
            dry_run: only count.
            even_if_empty: go on although not one file of those that rows name is there.

        Raises:
            StorageError: database or frame store cannot be used, or every file is gone, which looks more like a
                directory that is not mounted than like a wish.
        """
        raise NotImplementedError

    async def forget(self, broadcaster: Broadcaster, *, by: str, at: datetime) -> Forgotten:
        """Write a broadcaster's opting out down and delete every row and file that is kept of them.

        Args:
            broadcaster: the login is enough.
            by: who asked for it.
            at: when.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        raise NotImplementedError
