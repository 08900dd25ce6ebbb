"""Who did what, when and where; nothing removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from core.storage.records import AuditEntry
from core.storage.tables import AuditRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.storage.database import Database


class AuditStore:
    """The audit. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def write(self, entry: AuditEntry) -> None:
        """Write down what was done. Flags are written down by :class:`core.storage.flags.FlagStore` itself."""
        async with self._database.writing() as session:
            add_to_audit(session, entry)

    async def read(self, *, limit: int, subject: str | None = None) -> tuple[AuditEntry, ...]:
        """The latest entries, latest first; with a subject those about it alone."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(AuditRow.subject == subject.casefold())
        async with self._database.reading() as session:
            return tuple(_entry(row) for row in await session.scalars(query))


def add_to_audit(session: AsyncSession, entry: AuditEntry) -> None:
    """Write down what is done in a transaction; it is there if the transaction is."""
    session.add(
        AuditRow(
            at=entry.at,
            platform=entry.platform,
            place=entry.place,
            by=entry.by,
            by_name=entry.by_name,
            action=entry.action,
            subject=entry.subject.casefold(),
            detail=entry.detail,
        )
    )


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        at=row.at,
        platform=row.platform,
        place=row.place,
        by=row.by,
        by_name=row.by_name,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
    )
