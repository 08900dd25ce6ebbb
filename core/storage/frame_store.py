"""JPEG files named by their content.

A file is written before the row that names it. Whoever removes one does so while no capture can be added, and
:meth:`core.storage.captures.CaptureStore.add` looks once more that every file is there: no row lacks its file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from core.storage.records import StoredFrame


class FrameStore(Protocol):
    """Keeps frames' files by the SHA-256 of their content."""

    async def prepare(self) -> None:
        """See that files can be kept.

        Raises:
            StorageError: they cannot; the message says what to do.
        """
        ...

    async def put(self, data: bytes) -> StoredFrame:
        """Keep a file; when this returns it is there whole and survives a crash. One that is there counts as new.

        Raises:
            StorageFull: there is no room left.
            StorageError: it cannot be kept.
        """
        ...

    async def get(self, sha256: str) -> bytes:
        """A file's content.

        Raises:
            StorageError: it is not there or cannot be read.
        """
        ...

    async def missing(self, sha256s: Collection[str]) -> frozenset[str]:
        """Those of the files that are not there."""
        ...

    async def remove(self, sha256s: Collection[str], *, idle_s: float = 0.0) -> tuple[StoredFrame, ...]:
        """Remove files that are there and were last put at least ``idle_s`` seconds ago; says which it removed."""
        ...

    def iterate(self) -> AsyncIterator[StoredFrame]:
        """All files, in no particular order; one that comes or goes meanwhile may be among them or not."""
        ...

    async def unfinished(self, *, idle_s: float, dry_run: bool = False) -> int:
        """Remove what interrupted puts left behind, once it is ``idle_s`` seconds old; says how many there were."""
        ...

    async def size_bytes(self) -> int:
        """Of all files together."""
        ...


class FolderFrameStore:
    """A frame store in a directory: ``ab/abcdef….jpg``."""

    def __init__(self, directory: Path) -> None:
        """Keep the path; nothing is made or opened before it is needed."""
        self._directory = directory
