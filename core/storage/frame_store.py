"""JPEG files named by their content.

A file is written before the row that names it. Whoever removes one does so while no capture can be added, and
:meth:`core.storage.captures.CaptureStore.add` looks once more that every file is there: no row lacks its file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from core.errors import StorageError, StorageFull
from core.storage.records import KeptFrame, StoredFrame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator
    from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}\.jpg")
_SHARD = re.compile(r"[0-9a-f]{2}")
_UNFINISHED_PREFIX = ".unfinished-"


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

    async def remove(
        self, sha256s: Collection[str], *, idle_s: float = 0.0, dry_run: bool = False
    ) -> tuple[StoredFrame, ...]:
        """Remove files that are there and were last put at least ``idle_s`` seconds ago; says which it removed."""
        ...

    def iterate(self) -> AsyncIterator[StoredFrame]:
        """All files, in no particular order; one that comes or goes meanwhile may be among them or not."""
        ...

    async def remove_unfinished(self, *, idle_s: float, dry_run: bool = False) -> int:
        """Remove what interrupted puts left behind, once it is ``idle_s`` seconds old; says how many there were."""
        ...

    async def size_bytes(self) -> int:
        """Of all files together."""
        ...


async def keep_frame(store: FrameStore, data: bytes, *, perceptual_hash: int, at_s: float) -> KeptFrame:
    """Keep a frame's file, and have what its row needs.

    Args:
        store: where files are kept.
        data: JPEG.
        perceptual_hash: of the picture, 64 bits.
        at_s: seconds from the start of the live window.

    Raises:
        StorageError: it cannot be kept.
    """
    stored = await store.put(data)
    return KeptFrame(sha256=stored.sha256, size_bytes=stored.size_bytes, perceptual_hash=perceptual_hash, at_s=at_s)


class FolderFrameStore:
    """A frame store in a directory: ``ab/abcdef….jpg``. Any number of processes may use it at once."""

    def __init__(self, directory: Path) -> None:
        """Keep the path; nothing is made or opened before it is needed."""
        self._directory = directory

    async def prepare(self) -> None:
        """See :meth:`FrameStore.prepare`."""
        await asyncio.to_thread(self._prepare)

    async def put(self, data: bytes) -> StoredFrame:
        """See :meth:`FrameStore.put`."""
        return await asyncio.to_thread(self._put, data)

    async def get(self, sha256: str) -> bytes:
        """See :meth:`FrameStore.get`."""
        return await asyncio.to_thread(self._get, sha256)

    async def missing(self, sha256s: Collection[str]) -> frozenset[str]:
        """See :meth:`FrameStore.missing`."""
        return await asyncio.to_thread(self._missing, sha256s)

    async def remove(
        self, sha256s: Collection[str], *, idle_s: float = 0.0, dry_run: bool = False
    ) -> tuple[StoredFrame, ...]:
        """See :meth:`FrameStore.remove`."""
        return await asyncio.to_thread(self._remove, sha256s, idle_s=idle_s, dry_run=dry_run)

    async def iterate(self) -> AsyncIterator[StoredFrame]:
        """See :meth:`FrameStore.iterate`."""
        for shard in await asyncio.to_thread(self._shards):
            for frame in await asyncio.to_thread(self._frames_in, shard):
                yield frame

    async def remove_unfinished(self, *, idle_s: float, dry_run: bool = False) -> int:
        """See :meth:`FrameStore.remove_unfinished`."""
        return await asyncio.to_thread(self._remove_unfinished, idle_s=idle_s, dry_run=dry_run)

    async def size_bytes(self) -> int:
        """See :meth:`FrameStore.size_bytes`."""
        return sum([frame.size_bytes async for frame in self.iterate()])

    def _path(self, sha256: str) -> Path:
        name = f"{sha256}.jpg"
        if _NAME.fullmatch(name) is None:
            msg = f"{sha256!r} names no frame"
            raise ValueError(msg)
        return self._directory / sha256[:2] / name

    def _prepare(self) -> None:
        with self._translated("write to"):
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=_UNFINISHED_PREFIX):
                pass

    def _put(self, data: bytes) -> StoredFrame:
        frame = StoredFrame(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        path = self._path(frame.sha256)
        with self._translated("write to"):
            if not _touched(path, size_bytes=len(data)):
                _make_directory(path.parent)
                _write_whole(path, data)
            # Also for a file that was there: who put it may not have come as far as this.
            _sync_directory(path.parent)
        return frame

    def _get(self, sha256: str) -> bytes:
        path = self._path(sha256)
        try:
            with self._translated("read"):
                return path.read_bytes()
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise StorageError(f"The frame {path} is gone; run: python -m bot data sync.") from error.__cause__
            raise

    def _missing(self, sha256s: Collection[str]) -> frozenset[str]:
        with self._translated("read"):
            return frozenset(sha256 for sha256 in sha256s if not self._path(sha256).exists())

    def _remove(self, sha256s: Collection[str], *, idle_s: float, dry_run: bool) -> tuple[StoredFrame, ...]:
        removed = []
        with self._translated("write to"):
            for sha256 in sha256s:
                path = self._path(sha256)
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    if _idle_s(stat) >= idle_s:
                        if not dry_run:
                            path.unlink()
                        removed.append(StoredFrame(sha256=sha256, size_bytes=stat.st_size))
        return tuple(removed)

    def _shards(self) -> list[Path]:
        with self._translated("read"), suppress(FileNotFoundError):
            return sorted(path for path in self._directory.iterdir() if _SHARD.fullmatch(path.name) and path.is_dir())
        return []

    def _frames_in(self, shard: Path) -> list[StoredFrame]:
        frames = []
        with self._translated("read"), suppress(FileNotFoundError), os.scandir(shard) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.name.startswith(shard.name):
                    with suppress(FileNotFoundError):
                        size_bytes = entry.stat().st_size
                        frames.append(StoredFrame(sha256=entry.name.removesuffix(".jpg"), size_bytes=size_bytes))
        return frames

    def _remove_unfinished(self, *, idle_s: float, dry_run: bool) -> int:
        count = 0
        with self._translated("write to"):
            for directory in (self._directory, *self._shards()):
                for path in directory.glob(f"{_UNFINISHED_PREFIX}*"):
                    with suppress(FileNotFoundError):
                        if _idle_s(path.stat()) >= idle_s:
                            if not dry_run:
                                path.unlink()
                            count += 1
        return count

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """What the system says of files, as ours."""
        try:
            yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull(
                    f"There is no room left for frames in {self._directory}; make some, or lower [data] max_gb."
                ) from error
            raise StorageError(
                f"We cannot {verb} the frames in {self._directory} ({error.strerror or error}); "
                "see who owns the directory, or name another in [data] directory."
            ) from error


def _touched(path: Path, *, size_bytes: int) -> bool:
    """Mark a file as put just now; False when it is not there, or not whole."""
    try:
        os.utime(path)
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: beside, then renamed."""
    beside = path.with_name(f"{_UNFINISHED_PREFIX}{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename last through a power cut, where the system lets a directory be opened."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _idle_s(stat: os.stat_result) -> float:
    return time.time() - stat.st_mtime
