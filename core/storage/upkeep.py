"""Retention, the size cap, bringing rows and files together, forgetting a broadcaster.

Rows lose their pixels first, in a transaction; then the files go that no row needs any more. A kill in between leaves
files without a row, which :meth:`Upkeep.sweep` finds.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import and_, delete, false, func, or_, select, update

from core.errors import StorageError
from core.storage.captures import find_broadcaster, held_captures, labels_in_force, write_opt_out
from core.storage.flags import STANDING
from core.storage.records import CaptureKind, Forgotten, Removed, RunState, SyncReport
from core.storage.tables import (
    CaptureRow,
    FlagRow,
    FrameRow,
    GameAliasRow,
    GameRow,
    JobRunRow,
    LabelRow,
    PickRow,
    RecognitionRow,
    StreamRow,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, CursorResult, Result
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.storage.database import Database
    from core.storage.frame_store import FrameStore
    from core.storage.records import Broadcaster, StoredFrame

T = TypeVar("T")

_SWEEP_IDLE_S = 3600.0
"""A file without a row, or half written, that was touched since may belong to a capture that is being taken."""

_IN_FLIGHT_S = 60.0
"""From a file's being put to its row, with much to spare."""

_BATCH = 500
"""Rows or files that are dealt with while others wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldCapture:
    """A capture with pixels, as the size cap weighs it.

    Attributes:
        game_id: its label; None when it has none.
        flagged: its pixels must stay.
    """

    id: int
    kind: CaptureKind
    game_id: str | None
    at: datetime
    frames: int
    size_bytes: int
    flagged: bool = False


def captures_to_drop(held: Iterable[HeldCapture], *, free_bytes: int) -> tuple[int, ...]:
    """Which captures give up their pixels so that at least so many bytes come free, or all that may; pure.

    Always the oldest nightly capture of the game that has most frames at that moment, so that small games keep what
    they have; when no nightly one is left, the oldest asked one. Never an imported one: no night brings it back.
    """
    frames: dict[str | None, int] = defaultdict(int)
    nightly: dict[str | None, deque[HeldCapture]] = defaultdict(deque)
    asked: deque[HeldCapture] = deque()
    for capture in sorted(held, key=lambda capture: (capture.at, capture.id)):
        if capture.kind is CaptureKind.NIGHTLY:
            frames[capture.game_id] += capture.frames
        if not capture.flagged and capture.kind is not CaptureKind.IMPORTED:
            (nightly[capture.game_id] if capture.kind is CaptureKind.NIGHTLY else asked).append(capture)

    def turn(game_id: str | None) -> tuple[int, datetime, str, str | None]:
        return -frames[game_id], nightly[game_id][0].at, game_id or "", game_id

    heap = [turn(game_id) for game_id in nightly]
    heapq.heapify(heap)
    dropped: list[int] = []
    while free_bytes > 0 and (heap or asked):
        if heap:
            *_, game_id = heap[0]
            capture = nightly[game_id].popleft()
            frames[game_id] -= capture.frames
            if nightly[game_id]:
                heapq.heapreplace(heap, turn(game_id))
            else:
                heapq.heappop(heap)
        else:
            capture = asked.popleft()
        dropped.append(capture.id)
        free_bytes -= capture.size_bytes
    return tuple(dropped)


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
        due: ColumnElement[bool] = false()
        for kind, before in ((CaptureKind.ASKED, asked_before), (CaptureKind.NIGHTLY, nightly_before)):
            if before is not None:
                due = or_(due, and_(CaptureRow.kind == kind, CaptureRow.at < before))
        with_pixels = select(FrameRow.id).where(FrameRow.capture_id == CaptureRow.id, FrameRow.removed_at.is_(None))
        next_ones = select(CaptureRow.id).where(due, with_pixels.exists(), ~_is_flagged()).limit(_BATCH)
        removed = Removed()
        while True:
            async with self._database.writing(one_at_a_time=True) as session:
                sha256s = await _take_pixels(session, list(await session.scalars(next_ones)))
            if not sha256s:
                break
            removed = _sum(removed, len(sha256s), await self._remove_files(sha256s, idle_s=_IN_FLIGHT_S))
        if nightly_before is not None:
            over = select(JobRunRow.id).where(JobRunRow.due_at < nightly_before, JobRunRow.state != RunState.RUNNING)
            async with self._database.writing(one_at_a_time=True) as session:
                await session.execute(delete(PickRow).where(PickRow.run_id.in_(over)))
        return removed

    async def shrink_to(self, max_bytes: int) -> Removed:
        """Remove pixels until the files take at most this much.

        Always the oldest nightly capture of the game with most frames, then the oldest asked ones; never those with
        an open or accepted flag, nor imported ones.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        removed = Removed()
        while True:
            async with self._database.reading() as session:
                over_bytes = await _kept_bytes(session) - max_bytes
                held = await _held(session) if over_bytes > 0 else []
            # What two captures share comes free with the second: hence the loop.
            drop = captures_to_drop(held, free_bytes=over_bytes)
            if not drop:
                return removed
            for batch in _batches(drop):
                async with self._database.writing(one_at_a_time=True) as session:
                    sha256s = await _take_pixels(session, batch)
                removed = _sum(removed, len(sha256s), await self._remove_files(sha256s, idle_s=_IN_FLIGHT_S))

    async def sweep(self, *, dry_run: bool = False) -> SyncReport:
        """Delete files that no row needs and leftovers of interrupted writing, both once they are an hour old.

        Safe to run at any time, beside any number of processes that collect.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        files: list[StoredFrame] = []
        batch: list[str] = []
        async for frame in self._frames.iterate():
            batch.append(frame.sha256)
            if len(batch) == _BATCH:
                files += await self._remove_files(batch, idle_s=_SWEEP_IDLE_S, dry_run=dry_run)
                batch.clear()
        files += await self._remove_files(batch, idle_s=_SWEEP_IDLE_S, dry_run=dry_run)
        return SyncReport(
            files=len(files),
            size_bytes=sum(file.size_bytes for file in files),
            unfinished=await self._frames.remove_unfinished(idle_s=_SWEEP_IDLE_S, dry_run=dry_run),
        )

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
        missing = await self._missing_files(even_if_empty=even_if_empty)
        async with self._database.writing(one_at_a_time=True) as session:
            # Those that came back in between keep their row.
            frames, captures = 0, 0
            for batch in _batches(sorted(await self._frames.missing(missing))):
                batch_frames, batch_captures = await _delete_frames(session, batch)
                frames += batch_frames
                captures += batch_captures
            games = await _delete_unused_games(session)
            if dry_run:
                await session.rollback()
        swept = await self.sweep(dry_run=dry_run)
        return SyncReport(
            games=games,
            frames=frames,
            captures=captures,
            files=swept.files,
            size_bytes=swept.size_bytes,
            unfinished=swept.unfinished,
        )

    async def forget(self, broadcaster: Broadcaster, *, by: str, at: datetime) -> Forgotten:
        """Write a broadcaster's opting out down and delete every row and file that is kept of them.

        Flags of their captures and watches of their channel go too; the audit stays.

        Args:
            broadcaster: the login is enough.
            by: who asked for it.
            at: when.

        Raises:
            StorageError: database or frame store cannot be used.
        """
        async with self._database.writing(one_at_a_time=True) as session:
            await write_opt_out(session, broadcaster, by=by, at=at)
            row = await find_broadcaster(session, broadcaster)
            planned = [PickRow.login == broadcaster.login.casefold()]
            platform_id = broadcaster.platform_id or (None if row is None else row.platform_id)
            if platform_id is not None:
                planned = [PickRow.broadcaster_platform_id == platform_id]
            await session.execute(delete(PickRow).where(*planned))
            captures, frames, sha256s = 0, 0, set[str]()
            if row is not None:
                theirs = select(CaptureRow.id).where(CaptureRow.broadcaster_id == row.id)
                kept = select(FrameRow.sha256, FrameRow.removed_at).where(FrameRow.capture_id.in_(theirs))
                for sha256, removed_at in await session.execute(kept):
                    frames += 1
                    if removed_at is None:
                        sha256s.add(sha256)
                captures = _count(await session.execute(delete(CaptureRow).where(CaptureRow.broadcaster_id == row.id)))
                await session.execute(delete(StreamRow).where(StreamRow.broadcaster_id == row.id))
                await session.delete(row)
        # At once, whatever their age: should another capture of this moment hold the very same picture, adding it
        # says so, and it is taken again.
        files = await self._remove_files(sorted(sha256s), idle_s=0.0)
        return Forgotten(
            known=row is not None,
            captures=captures,
            frames=frames,
            files=len(files),
            size_bytes=sum(file.size_bytes for file in files),
        )

    async def _remove_files(
        self, sha256s: Sequence[str], *, idle_s: float, dry_run: bool = False
    ) -> tuple[StoredFrame, ...]:
        """Remove those of the files that no row needs. No capture is added meanwhile."""
        removed: list[StoredFrame] = []
        for batch in _batches(sha256s):
            async with self._database.reading() as session:
                unneeded = set(batch) - await _needed(session, batch)
            if not unneeded:
                continue
            async with self._database.writing(one_at_a_time=True) as session:
                unneeded -= await _needed(session, unneeded)
                removed += await self._frames.remove(unneeded, idle_s=idle_s, dry_run=dry_run)
        return tuple(removed)

    async def _missing_files(self, *, even_if_empty: bool) -> frozenset[str]:
        """Files that rows name and that are not there."""
        rows = 0
        last_sha256 = ""
        missing: set[str] = set()
        page = select(FrameRow.sha256).where(FrameRow.removed_at.is_(None)).distinct().order_by(FrameRow.sha256)
        while True:
            async with self._database.reading() as session:
                sha256s = list(await session.scalars(page.where(FrameRow.sha256 > last_sha256).limit(_BATCH)))
            if not sha256s:
                break
            rows += len(sha256s)
            last_sha256 = sha256s[-1]
            missing |= await self._frames.missing(sha256s)
        if rows and len(missing) == rows and not even_if_empty:
            raise StorageError(
                f"Not one of the {rows} frames that the database names is there; "
                "see that [data] directory is right and mounted."
            )
        return frozenset(missing)


def _is_flagged() -> ColumnElement[bool]:
    """Whether a moderator's word keeps a capture's pixels."""
    return select(FlagRow.id).where(FlagRow.capture_id == CaptureRow.id, FlagRow.state.in_(STANDING)).exists()


async def _take_pixels(session: AsyncSession, capture_ids: Sequence[int]) -> list[str]:
    """Mark the captures' frames as removed; says which files they had."""
    if not capture_ids:
        return []
    unflagged = select(CaptureRow.id).where(CaptureRow.id.in_(capture_ids), ~_is_flagged())
    sha256s = await session.scalars(
        update(FrameRow)
        .where(FrameRow.capture_id.in_(unflagged), FrameRow.removed_at.is_(None))
        .values(removed_at=datetime.now(UTC))
        .returning(FrameRow.sha256)
    )
    return list(sha256s)


async def _needed(session: AsyncSession, sha256s: Collection[str]) -> set[str]:
    return set(
        await session.scalars(
            select(FrameRow.sha256).where(FrameRow.sha256.in_(sha256s), FrameRow.removed_at.is_(None)).distinct()
        )
    )


async def _kept_bytes(session: AsyncSession) -> int:
    files = (
        select(func.max(FrameRow.size_bytes).label("size_bytes"))
        .where(FrameRow.removed_at.is_(None))
        .group_by(FrameRow.sha256)
        .subquery()
    )
    return int(await session.scalar(select(func.coalesce(func.sum(files.c.size_bytes), 0))) or 0)


async def _held(session: AsyncSession) -> list[HeldCapture]:
    held = held_captures().add_columns(_is_flagged().label("flagged")).subquery()
    label = labels_in_force().subquery()
    rows = await session.execute(select(held, label.c.game_id).outerjoin(label, label.c.capture_id == held.c.id))
    return [
        HeldCapture(
            id=row.id,
            kind=row.kind,
            game_id=row.game_id,
            at=row.at,
            frames=row.frames,
            size_bytes=int(row.size_bytes),
            flagged=bool(row.flagged),
        )
        for row in rows
    ]


async def _delete_frames(session: AsyncSession, sha256s: Sequence[str]) -> tuple[int, int]:
    """Delete the rows of frames, and of captures that have none any more; says how many of each."""
    capture_ids = list(
        await session.scalars(
            delete(FrameRow)
            .where(FrameRow.sha256.in_(sha256s), FrameRow.removed_at.is_(None))
            .returning(FrameRow.capture_id)
        )
    )
    captures = 0
    for batch in _batches(sorted(set(capture_ids))):
        has_frames = select(FrameRow.id).where(FrameRow.capture_id == CaptureRow.id).exists()
        has_flags = select(FlagRow.id).where(FlagRow.capture_id == CaptureRow.id).exists()
        captures += _count(
            await session.execute(
                delete(CaptureRow)
                .where(CaptureRow.id.in_(batch), ~has_frames, ~has_flags)
                .execution_options(synchronize_session=False)
            )
        )
    return len(capture_ids), captures


async def _delete_unused_games(session: AsyncSession) -> int:
    """Delete games that no capture, label, recognition or flag names, and that have no name but their own."""
    used = or_(
        *(
            select(column).where(column == GameRow.id).exists()
            for column in (
                CaptureRow.declared_id,
                LabelRow.game_id,
                RecognitionRow.game_id,
                RecognitionRow.best_id,
                FlagRow.game_id,
            )
        ),
        select(GameAliasRow.id).where(GameAliasRow.game_id == GameRow.id, GameAliasRow.name != GameRow.name).exists(),
    )
    return _count(await session.execute(delete(GameRow).where(~used).execution_options(synchronize_session=False)))


def _sum(removed: Removed, frames: int, files: Collection[StoredFrame]) -> Removed:
    return Removed(
        frames=removed.frames + frames,
        files=removed.files + len(files),
        size_bytes=removed.size_bytes + sum(file.size_bytes for file in files),
    )


def _count(result: Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]
