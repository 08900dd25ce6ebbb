"""One database, SQLite or PostgreSQL: its engine, its transactions, its schema's revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncSession

    from core.storage.records import Migration


class Database:
    """A database; an async context manager that closes it."""

    @classmethod
    def at(cls, url: str) -> Self:
        """A database by its address; nothing is opened yet.

        Args:
            url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://user:password@host/name``
                (also ``postgres://``), with or without the driver's name.

        Raises:
            StorageError: this is no address of either.
        """
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The address, its password hidden."""
        raise NotImplementedError

    @property
    def is_embedded(self) -> bool:
        """Whether it is SQLite: a file on this machine, with no server."""
        raise NotImplementedError

    async def check(self) -> None:
        """Connect, and see that the schema is the one that this version works with.

        Raises:
            SchemaOutdated: it is older, or there is none yet.
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        raise NotImplementedError

    async def migrate(self) -> Migration:
        """Bring the schema to this version's; harmless when it is, and when several processes do it at once.

        Raises:
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        raise NotImplementedError

    async def prepare(self) -> None:
        """Make ready for use: SQLite migrates by itself, PostgreSQL is only checked.

        Raises:
            SchemaOutdated: PostgreSQL waits for ``db migrate``.
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        raise NotImplementedError

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees one moment of the database and changes nothing.

        Raises:
            StorageError: the database cannot be used; what the caller raises itself passes through.
        """
        raise NotImplementedError

    def writing(self, *, one_at_a_time: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that is committed at the block's end, or rolled back when the block raises.

        Args:
            one_at_a_time: wait until no other such transaction is open in any process (on SQLite all are such).

        Raises:
            StorageFull: the disk is full.
            StorageError: the database cannot be used; what the caller raises itself passes through.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close all connections."""
        raise NotImplementedError
