"""Channels that are looked at every few minutes, by one replica at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import and_, delete, exists, or_, select, update

from core.storage.records import DueWatch, Mismatch, Watch, WatchState
from core.storage.tables import OptOutRow, WatchRow

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Result

    from core.storage.database import Database


class WatchStore:
    """Watches, and what they remember. Every method raises StorageError if the database cannot be used.

    ``holder`` names a process, and another one after each start. What is due, and leases, are judged by the database's
    clock on PostgreSQL, and by the machine's on SQLite, which is on one machine.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def put(self, watch: Watch) -> bool | None:
        """Watch a channel from now on; one that is watched for this place already goes on as it is.

        Returns:
            Whether it was not watched for this place before; None when the broadcaster has opted out: then nothing is
            kept.
        """
        login = watch.login.casefold()
        # One at a time, so that no opting out comes in between.
        async with self._database.writing(one_at_a_time=True) as session:
            if await session.scalar(select(exists().where(OptOutRow.login == login))):
                return None
            made = await session.scalar(
                self._database.insert(WatchRow)
                .values(
                    login=login,
                    platform=watch.platform,
                    place_id=watch.place_id,
                    server_id=watch.server_id,
                    place_name=watch.place_name,
                    by=watch.by,
                    at=watch.at,
                    due_at=self._database.clock(),
                    attempt=0,
                    differing=0,
                )
                .on_conflict_do_nothing(index_elements=[WatchRow.login, WatchRow.platform, WatchRow.place_id])
                .returning(WatchRow.id)
            )
            return made is not None

    async def remove(self, login: str, *, platform: str, place_id: str) -> bool:
        """Watch a channel for this place no more; False when it was not watched."""
        async with self._database.writing() as session:
            result = await session.execute(
                delete(WatchRow).where(
                    WatchRow.login == login.casefold(), WatchRow.platform == platform, WatchRow.place_id == place_id
                )
            )
            return _changed(result)

    async def watches(self, *, platform: str | None = None, place_id: str | None = None) -> tuple[Watch, ...]:
        """All watches, or those of a platform or place, in the order of their channels."""
        query = select(WatchRow).order_by(WatchRow.login, WatchRow.id)
        if platform is not None:
            query = query.where(WatchRow.platform == platform)
        if place_id is not None:
            query = query.where(WatchRow.place_id == place_id)
        async with self._database.reading() as session:
            return tuple(_watch(row) for row in await session.scalars(query))

    async def state(self, login: str, *, platform: str, place_id: str) -> WatchState | None:
        """What a watch remembers; None when there is none."""
        query = select(WatchRow).where(
            WatchRow.login == login.casefold(), WatchRow.platform == platform, WatchRow.place_id == place_id
        )
        async with self._database.reading() as session:
            row = await session.scalar(query)
        return None if row is None else _state(row)

    async def claim_due(self, *, holder: str, lease_s: float, limit: int) -> tuple[DueWatch, ...]:
        """Take watches that are due and that nobody has, the longest due first.

        Args:
            holder: who takes them.
            lease_s: how long others leave them alone; to be longer than looking at all of them takes.
            limit: how many at most.
        """
        clock = self._database.clock()
        free = and_(WatchRow.due_at <= clock, or_(WatchRow.lease_until.is_(None), WatchRow.lease_until < clock))
        next_ones = select(WatchRow.id).where(free).order_by(WatchRow.due_at, WatchRow.id).limit(limit)
        async with self._database.writing() as session:
            taken = list(await session.scalars(next_ones.with_for_update(skip_locked=True)))
            await session.execute(
                update(WatchRow)
                .where(WatchRow.id.in_(taken))
                .values(holder=holder, attempt=WatchRow.attempt + 1, lease_until=self._database.clock(plus_s=lease_s))
                .execution_options(synchronize_session=False)
            )
            rows = await session.scalars(
                select(WatchRow).where(WatchRow.id.in_(taken)).order_by(WatchRow.due_at, WatchRow.id)
            )
            return tuple(DueWatch(id=row.id, watch=_watch(row), state=_state(row), attempt=row.attempt) for row in rows)

    async def done(self, due: DueWatch, *, holder: str, state: WatchState, again_in_s: float) -> bool:
        """Keep what a look has left, and give the watch back.

        To be called before an alert is sent, and the alert sent only if this says so: then it is sent once.

        Args:
            due: as it was claimed.
            holder: who claimed it.
            state: what the watch is to remember.
            again_in_s: after which it is due again.

        Returns:
            False when another has taken it over, or it is watched no more: then nothing is changed.
        """
        mismatch = state.mismatch
        async with self._database.writing() as session:
            result = await session.execute(
                update(WatchRow)
                .where(
                    WatchRow.id == due.id,
                    WatchRow.holder == holder,
                    WatchRow.attempt == due.attempt,
                )
                .values(
                    holder=None,
                    lease_until=None,
                    due_at=self._database.clock(plus_s=again_in_s),
                    differing=state.differing,
                    seen=None if mismatch is None else mismatch.seen,
                    declared=None if mismatch is None else mismatch.declared,
                    **_alerted(state.alerted),
                    looked_at=state.looked_at,
                )
            )
            return _changed(result)

    async def untold(self, due: DueWatch) -> None:
        """Nobody could be alerted: what was last told is what it was before, so that the next look alerts again.

        Args:
            due: as it was claimed, and :meth:`done` since; one that was claimed again is left as it is.
        """
        async with self._database.writing() as session:
            await session.execute(
                update(WatchRow)
                .where(WatchRow.id == due.id, WatchRow.attempt == due.attempt)
                .values(
                    **_alerted(due.state.alerted),
                )
            )


def _alerted(mismatch: Mismatch | None) -> dict[str, str | None]:
    """What was said last, as columns."""
    if mismatch is None:
        return {"alerted_seen": None, "alerted_declared": None}
    return {"alerted_seen": mismatch.seen, "alerted_declared": mismatch.declared}


def _watch(row: WatchRow) -> Watch:
    return Watch(
        login=row.login,
        platform=row.platform,
        place_id=row.place_id,
        server_id=row.server_id,
        place_name=row.place_name,
        by=row.by,
        at=row.at,
    )


def _state(row: WatchRow) -> WatchState:
    return WatchState(
        differing=row.differing,
        mismatch=_mismatch(row.seen, row.declared),
        alerted=_mismatch(row.alerted_seen, row.alerted_declared),
        looked_at=row.looked_at,
    )


def _mismatch(seen: str | None, declared: str | None) -> Mismatch | None:
    return None if seen is None or declared is None else Mismatch(seen=seen, declared=declared)


def _changed(result: Result[Any]) -> bool:
    return cast("CursorResult[Any]", result).rowcount > 0
