"""Who of several processes is here, and what only one of them may do; the database's clock decides, nobody's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from core.storage.records import Replica
from core.storage.tables import CooldownRow, ReplicaRow, TakenEventRow, TurnRow

if TYPE_CHECKING:
    from datetime import datetime

    from core.storage.database import Database

_FORGOTTEN_S = 3600.0
"""After which nothing repeats an event, and a process that was not heard of will not come back."""


class LeaseStore:
    """Replicas and their turns. Every method raises StorageError if the database cannot be used.

    A replica is here while it is heard of: it renews its row, which nobody removes for it while it may come back.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def renew(self, replica: Replica, *, silent_s: float) -> tuple[Replica, ...]:
        """Say that a replica is here, and what it serves.

        Args:
            replica: as it is now.
            silent_s: who was not heard of for so long is not here.

        Returns:
            All that are here, the oldest first.
        """
        clock = self._database.clock()
        values = {
            "seen_at": clock,
            "is_leaving": replica.is_leaving,
            "serves": sorted(replica.serves),
            "numbers": dict(replica.numbers),
        }
        here = (
            select(ReplicaRow)
            .where(ReplicaRow.seen_at >= self._database.clock(plus_s=-silent_s))
            .order_by(ReplicaRow.joined_at, ReplicaRow.id)
        )
        async with self._database.writing() as session:
            await session.execute(
                self._database.insert(ReplicaRow)
                .values(id=replica.id, joined_at=clock, **values)
                .on_conflict_do_update(index_elements=[ReplicaRow.id], set_=values)
            )
            return tuple(_replica(row) for row in await session.scalars(here))

    async def leave(self, replica_id: str) -> None:
        """Say that a replica is gone."""
        async with self._database.writing() as session:
            await session.execute(delete(ReplicaRow).where(ReplicaRow.id == replica_id))

    async def take(self, event: str) -> bool:
        """Whether the caller is the first to take an event, of all that ever ask; to be asked once."""
        async with self._database.one_statement() as session:
            taken = await session.scalar(
                self._database.insert(TakenEventRow)
                .values(event=event, at=self._database.clock())
                .on_conflict_do_nothing(index_elements=[TakenEventRow.event])
                .returning(TakenEventRow.event)
            )
            return taken is not None

    async def turn(self, name: str, *, gap_s: float) -> float:
        """Take the next turn of all replicas.

        Args:
            name: of what they take turns at.
            gap_s: from this turn to the next; who takes none gives none back.

        Returns:
            In how many seconds it is.
        """
        gap = timedelta(seconds=gap_s)
        async with self._database.writing(one_at_a_time=True) as session:
            row = await session.scalar(select(TurnRow).where(TurnRow.name == name))
            now: datetime = (await session.execute(select(self._database.clock()))).scalar_one()
            at = now if row is None else max(row.next_at, now)
            after = {"next_at": at + gap}
            await session.execute(
                self._database.insert(TurnRow)
                .values(name=name, **after)
                .on_conflict_do_update(index_elements=[TurnRow.name], set_=after)
            )
            return (at - now).total_seconds()

    async def forget(self) -> None:
        """Remove what nobody needs any more."""
        long_ago = self._database.clock(plus_s=-_FORGOTTEN_S)
        async with self._database.writing() as session:
            await session.execute(delete(TakenEventRow).where(TakenEventRow.at < long_ago))
            await session.execute(delete(ReplicaRow).where(ReplicaRow.seen_at < long_ago))
            await session.execute(delete(CooldownRow).where(CooldownRow.until < long_ago))


class CooldownStore:
    """Who asked when, of people and places; on PostgreSQL alone. Raises StorageError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def ask(
        self, asker: str, place: str, *, asker_s: float, place_s: float, place_asks: int
    ) -> tuple[float, bool]:
        """Count an ask, if it is allowed.

        Args:
            asker: key of a person.
            place: key of a place, never the same as a person's.
            asker_s: from one ask of a person to the next; 0 for no limit.
            place_s: the window in which a place's asks are counted; 0 for no limit.
            place_asks: asks of a place in one window.

        Returns:
            Seconds to wait, 0 when it is allowed; and whether this is the first refusal, of which to tell.
        """
        asked = func.gamespotter_ask(asker, asker_s, place, place_s, place_asks).table_valued("wait_s", "tell")
        async with self._database.one_statement() as session:
            wait_s, tell = (await session.execute(select(asked.c.wait_s, asked.c.tell))).one()
        return float(wait_s), bool(tell)


def _replica(row: ReplicaRow) -> Replica:
    return Replica(id=row.id, is_leaving=row.is_leaving, serves=frozenset(row.serves), numbers=row.numbers)
