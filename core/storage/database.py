"""One database, SQLite or PostgreSQL: its engine, its transactions, its schema's revision.

What differs between the two is decided in this file. Errors of SQLAlchemy and the drivers end here, as one sentence
that says what to do.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, event, func, inspect, literal, make_url, select, type_coerce
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from core.errors import SchemaOutdated, StorageError, StorageFull
from core.storage.records import Migration
from core.storage.tables import Table, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from sqlalchemy import URL, ColumnElement, Connection, Select
    from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.pool import ConnectionPoolEntry

log = logging.getLogger(__name__)

MIGRATE = "run: python -m bot db migrate"
"""What a person does about a schema that is not up to date."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_S = 30.0
_BEGIN_BUSY_S = 0.2
_CONNECT_S = 10.0
_STATEMENT_S = 60.0
_POOL = 10
_LISTEN_AGAIN_S = 5.0

_WRITER_LOCK = 0x67616D6573706F74
_MIGRATION_LOCK = 0x67616D6573706F75
"""Keys of PostgreSQL's advisory locks: any numbers that other programs in the same database do not use."""

_BEGIN: Final = "gamespotter_begin"
"""Execution option: the statement that begins a transaction on SQLite."""

_Result = TypeVar("_Result")

_ALEMBIC = threading.Lock()
"""Alembic keeps the migration under way in variables of its modules, so that a process can do one at a time."""

_POSTGRESQL_OPTIONS = frozenset({"host", "port", "ssl", "target_session_attrs", "passfile", "krbsrvname"})
"""What may follow the question mark of an address, as asyncpg names it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Address:
    """A database's address, and what may be shown of it."""

    url: URL
    shown: str

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for a server."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def scrubbed(self, said: str) -> str:
        """A driver's words without the password, on one line."""
        line = " ".join(said.split())
        password = str(self.url.password or "")
        return line.replace(password, "***") if password else line


class Database:
    """A database; an async context manager that closes it."""

    def __init__(self, address: _Address) -> None:
        """See :meth:`at`."""
        self._address = address
        self._engine = _engine(address)
        self._writers = asyncio.Lock()
        if self.is_embedded:
            reading, writing = self._engine, self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        else:
            reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            writing = self._engine.execution_options(isolation_level="READ COMMITTED")
        alone = self._engine if self.is_embedded else self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._read_session = async_sessionmaker(reading, expire_on_commit=False)
        self._write_session = async_sessionmaker(writing, expire_on_commit=False)
        self._lone_session = async_sessionmaker(alone, expire_on_commit=False)

    @classmethod
    def at(cls, url: str) -> Self:
        """A database by its address; nothing is opened yet.

        Args:
            url: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``postgresql://user:password@host/name``
                (also ``postgres://``), with or without the driver's name.

        Raises:
            StorageError: this is no address of either.
        """
        return cls(_parsed(url))

    @property
    def url(self) -> str:
        """The address, its password hidden."""
        return self._address.shown

    @property
    def is_embedded(self) -> bool:
        """Whether it is SQLite: a file on this machine, with no server."""
        return self._address.file is not None

    async def check(self) -> None:
        """Connect, and see that the schema is the one that this version works with.

        Raises:
            SchemaOutdated: it is older, or there is none yet.
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        scripts = await asyncio.to_thread(_scripts)
        file = self._address.file
        if file is not None and not await asyncio.to_thread(file.exists):
            raise SchemaOutdated(f"There is no database {self.url} yet; {MIGRATE}.")
        async with self._opened(self._engine) as connection:
            revision = await connection.run_sync(self._revision, scripts)
        if revision is None:
            raise SchemaOutdated(f"The database {self.url} has no tables yet; {MIGRATE}.")
        if revision != scripts.get_current_head():
            raise SchemaOutdated(f"The tables of the database {self.url} are of an older version; {MIGRATE}.")

    async def migrate(self) -> Migration:
        """Bring the schema to this version's; harmless when it is, and when several processes do it at once.

        Raises:
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - threads' locks tell no event loop
            await asyncio.sleep(0.02)
        try:
            return await _to_its_end(self._migrate())
        finally:
            _ALEMBIC.release()

    async def prepare(self) -> None:
        """Make ready for use: SQLite migrates by itself, PostgreSQL is only checked.

        Raises:
            SchemaOutdated: PostgreSQL waits for ``db migrate``.
            StorageError: the database cannot be reached or used, or its schema is of a newer version.
        """
        if self.is_embedded:
            await self.migrate()
        else:
            await self.check()

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction that sees one moment of the database and changes nothing.

        Raises:
            StorageError: the database cannot be used. What the caller raises itself passes through, but OSError.
        """
        return self._transaction(self._read_session)

    @asynccontextmanager
    async def writing(self, *, one_at_a_time: bool = False) -> AsyncIterator[AsyncSession]:
        """A transaction that is committed at the block's end, or rolled back when the block raises.

        Args:
            one_at_a_time: wait until no other such transaction is open in any process (on SQLite all are such).

        Raises:
            StorageFull: the disk is full.
            StorageError: the database cannot be used. What the caller raises itself passes through, but OSError.
        """
        async with AsyncExitStack() as stack:
            if self.is_embedded or one_at_a_time:
                # Tasks of this process queue here, in turn: SQLite's own waiting is a race that a task can lose, and on
                # PostgreSQL each that waits would hold a connection.
                await stack.enter_async_context(self._writers)
            session = await stack.enter_async_context(self._transaction(self._write_session))
            if one_at_a_time and not self.is_embedded:
                await session.execute(_lock(_WRITER_LOCK))
            yield session

    def one_statement(self) -> AbstractAsyncContextManager[AsyncSession]:
        """For one statement that is a transaction by itself: on PostgreSQL nothing else is sent, in one round trip.

        Raises:
            StorageError: the database cannot be used. What the caller raises itself passes through, but OSError.
        """
        return self._transaction(self._lone_session)

    def insert(self, table: type[Table]) -> SqliteInsert | PostgresqlInsert:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_embedded else postgresql.insert(table)

    def clock(self, *, plus_s: float = 0.0) -> ColumnElement[datetime]:
        """The present time, or one from now, by the clock that all processes share."""
        if self.is_embedded:
            return literal(datetime.now(UTC) + timedelta(seconds=plus_s), UtcDateTime())
        return type_coerce(func.clock_timestamp() + timedelta(seconds=plus_s), UtcDateTime())

    async def tell(self, channel: str) -> None:
        """Wake all processes that :meth:`hear`; does nothing where no server passes it on.

        Args:
            channel: a word that names what happened.

        Raises:
            StorageError: the database cannot be used.
        """
        if self.is_embedded:
            return
        async with self.writing() as session:
            await session.execute(select(func.pg_notify(channel, "")))

    async def hear(self, channel: str, heard: Callable[[], None]) -> None:
        """Listen until cancelled; returns at once where there is no server that passes anything on.

        Args:
            channel: a word that names what is listened for.
            heard: called when it was told, and whenever it may have been told while the connection was lost.
        """
        if self.is_embedded:
            return
        # A connection of its own: one of the pool would be missing there for good.
        engine = _engine(self._address, migrating=True)
        try:
            while True:
                try:
                    await self._hear(engine, channel, heard)
                except StorageError as error:
                    log.error("%s", error)  # noqa: TRY400 - a sentence
                await asyncio.sleep(_LISTEN_AGAIN_S)
        finally:
            await engine.dispose()

    async def _hear(self, engine: AsyncEngine, channel: str, heard: Callable[[], None]) -> None:
        """Listen until the connection is lost."""
        lost = asyncio.Event()

        def called(*_: object) -> None:
            heard()

        def ended(_: object) -> None:
            lost.set()

        with self._translated():
            async with engine.connect() as connection:
                # asyncpg's own connection: SQLAlchemy has no words for listening.
                driver: Any = (await connection.get_raw_connection()).driver_connection
                driver.add_termination_listener(ended)
                await driver.add_listener(channel, called)
                try:
                    heard()
                    await lost.wait()
                finally:
                    driver.remove_termination_listener(ended)
                    if not driver.is_closed():
                        await driver.remove_listener(channel, called)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @asynccontextmanager
    async def _transaction(self, sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
        with self._translated():
            session = sessions()
            try:
                await self._begin(session)
                yield session
                await _to_its_end(session.commit())
            finally:
                # Rolls back what was not committed.
                await _to_its_end(session.close())

    async def _begin(self, session: AsyncSession) -> None:
        """Begin at once, so that a writer has its turn before it reads.

        Waiting for SQLite's other writers is done here and not in its thread, which could not be cancelled.
        """
        ends_at = time.monotonic() + _BUSY_S
        while True:
            try:
                await _to_its_end(session.connection())
            except DBAPIError as error:
                if _sqlite_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                    raise
            else:
                return
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with self._translated():
            async with engine.begin() as connection:
                yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Library errors of the block, and what the system says of files and sockets, as ours."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise self._sentence(error) from error

    def _sentence(self, error: Exception) -> StorageError:
        cause = _driver_error(error)
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return StorageError(f"The connection to the database {self.url} was lost; try again.")
        return self._sqlite_sentence(cause) if self.is_embedded else self._postgresql_sentence(cause)

    def _sqlite_sentence(self, error: BaseException) -> StorageError:
        match _sqlite_code(error):
            case sqlite3.SQLITE_FULL:
                return StorageFull(f"There is no room left on the disk of the database {self.url}; make some.")
            case sqlite3.SQLITE_NOTADB:
                return StorageError(
                    f"The file {self.url} is not an SQLite database; move it away, or name another in [database] url."
                )
            case sqlite3.SQLITE_CORRUPT:
                return StorageError(f"The database {self.url} is damaged; put a copy of it in its place.")
            case sqlite3.SQLITE_CANTOPEN:
                return StorageError(
                    f"The database {self.url} cannot be opened; see that its directory exists and can be written to."
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                return StorageError(
                    f"The database {self.url} cannot be written to; see who owns the file and its directory."
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return StorageError(
                    f"Another process has kept the database {self.url} busy for {_BUSY_S:g} s; see what it does."
                )
            case _ if "no such table" in str(error) or "no such column" in str(error):
                return SchemaOutdated(f"The tables of the database {self.url} are not this version's; {MIGRATE}.")
        return self._other_sentence(error)

    def _postgresql_sentence(self, error: BaseException) -> StorageError:
        state = str(getattr(error, "sqlstate", None) or "")
        match state[:2], state:
            case "28", _:
                return StorageError(
                    f"The database server refuses us at {self.url}; check user and password in [database] url."
                )
            case _, "3D000":
                return StorageError(f"The server has no database {self.url}; create it, or name another.")
            case _, "53100":
                return StorageFull(f"There is no room left on the disk of the database {self.url}; make some.")
            case _, "53300":
                return StorageError(
                    f"The database server of {self.url} takes no more connections; raise its max_connections."
                )
            case _, "57P01" | "57P02" | "57P03":
                return StorageError(f"The database server of {self.url} is stopping or starting; try again.")
            case _, "42P01" | "42703":
                return SchemaOutdated(f"The tables of the database {self.url} are not this version's; {MIGRATE}.")
            case _, "42501":
                return StorageError(f"Our user may not do this in the database {self.url}; grant it the right.")
            case _, "25006":
                return StorageError(
                    f"The database {self.url} is read-only, perhaps a standby; name the primary in [database] url."
                )
        if isinstance(error, TimeoutError):
            return StorageError(f"The database {self.url} did not answer in time; see that its server is well.")
        if not state and isinstance(error, OSError):
            return StorageError(f"No database server answers at {self.url}; start it, or correct [database] url.")
        return self._other_sentence(error)

    def _other_sentence(self, error: BaseException) -> StorageError:
        said = self._address.scrubbed(str(error)).rstrip(".")
        return StorageError(f"The database {self.url} cannot be used ({type(error).__name__}: {said:.200}).")

    async def _migrate(self) -> Migration:
        scripts = await asyncio.to_thread(_scripts)
        head = scripts.get_current_head() or ""
        file = self._address.file
        engine = _engine(self._address, migrating=True)
        try:
            if file is not None:
                await self._make_file(file, engine)
            async with self._opened(engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})) as connection:
                if file is None:
                    await connection.execute(_lock(_MIGRATION_LOCK))
                before = await connection.run_sync(self._revision, scripts)
                if before != head:
                    await connection.run_sync(_upgrade)
                return Migration(before=before, after=head)
        finally:
            await engine.dispose()

    async def _make_file(self, file: Path, engine: AsyncEngine) -> None:
        """SQLite's file, in the mode in which readers and a writer do not wait for each other; the file keeps it."""
        try:
            await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The directory {file.parent} cannot be made ({error.strerror}); "
                "name another in [data] directory or [database] url."
            ) from error
        ends_at = time.monotonic() + _BUSY_S
        while True:
            try:
                with self._translated():
                    async with engine.connect():
                        return
            except StorageError as error:
                # Whoever changes the mode does not wait for others that do so at the same moment.
                if _sqlite_code(error.__cause__) != sqlite3.SQLITE_BUSY or time.monotonic() > ends_at:
                    raise
            await asyncio.sleep(0.05)

    def _revision(self, connection: Connection, scripts: ScriptDirectory) -> str | None:
        """The schema's revision, one that we know; None when there are no tables.

        Raises:
            StorageError: the schema is a newer version's, or another program's.
        """
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            others = set(inspect(connection).get_table_names()) & set(Table.metadata.tables)
            if others:
                raise StorageError(
                    f"The database {self.url} holds tables of another program ({min(others)}); "
                    "name an empty one in [database] url."
                )
        elif all(script.revision != revision for script in scripts.walk_revisions()):
            raise StorageError(
                f"The database {self.url} was used by a newer GameSpotter (its tables are at {revision}); "
                "update this one, or name another database in [database] url."
            )
        return revision


def _parsed(url: str) -> _Address:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        # Without its cause: the library's words may repeat the password.
        raise StorageError(
            "[database] url is no database's address; write sqlite:///file or postgresql://user:password@host/name."
        ) from None
    match parsed.drivername.partition("+")[0]:
        case "sqlite":
            return _sqlite_address(parsed)
        case "postgresql" | "postgres":
            return _postgresql_address(parsed)
        case other:
            raise StorageError(f"[database] url names {other}; write one of sqlite:/// or postgresql://.")


def _sqlite_address(url: URL) -> _Address:
    if url.host is not None:
        raise StorageError(
            "[database] url: the path of an SQLite file follows three slashes, as in sqlite:///data/x.db."
        )
    if not url.database or url.database.startswith((":", "file:")) or url.query:
        raise StorageError("[database] url: name a file for SQLite, as in sqlite:///data/x.db; it must outlive us.")
    return _Address(url=url.set(drivername="sqlite+aiosqlite"), shown=url.database)


def _postgresql_address(url: URL) -> _Address:
    options = dict(url.query)
    if "sslmode" in options:  # libpq's name, in which providers hand addresses out
        options["ssl"] = options.pop("sslmode")
    unknown = sorted(options.keys() - _POSTGRESQL_OPTIONS)
    if unknown:
        raise StorageError(f"[database] url: {unknown[0]} is not understood; leave it out.")
    host = url.host or options.get("host") or ""
    where = host if isinstance(host, str) else ",".join(host)
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return _Address(
        url=url.set(drivername="postgresql+asyncpg", query=options),
        shown=f"postgresql://{user}{where}{port}/{url.database or ''}",
    )


def _engine(address: _Address, *, migrating: bool = False) -> AsyncEngine:
    if address.file is not None:
        return _sqlite_engine(address.url, migrating=migrating)
    return create_async_engine(
        address.url,
        hide_parameters=True,
        pool_pre_ping=True,
        **({"poolclass": NullPool} if migrating else {"pool_size": _POOL, "max_overflow": _POOL}),
        connect_args={
            "timeout": _CONNECT_S,
            "command_timeout": None if migrating else _STATEMENT_S,
            "server_settings": {
                "application_name": "gamespotter",
                # A process or machine that is gone must not keep its locks.
                "idle_in_transaction_session_timeout": f"{_STATEMENT_S:g}s",
                "tcp_keepalives_idle": "30",
                "tcp_keepalives_interval": "10",
                "tcp_keepalives_count": "3",
            },
        },
    )


def _sqlite_engine(url: URL, *, migrating: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_S},
        **({"poolclass": NullPool} if migrating else {"pool_size": _POOL, "max_overflow": _POOL}),
    )
    settings = ["PRAGMA synchronous=NORMAL"]
    # Migrations copy tables and drop the old one; with foreign keys on, that would delete what refers to it.
    settings += ["PRAGMA foreign_keys=OFF", "PRAGMA journal_mode=WAL"] if migrating else ["PRAGMA foreign_keys=ON"]

    def on_connect(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver begins no transaction by itself: on_begin does.
        connection.isolation_level = None
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(setting)
        cursor.close()

    def on_begin(connection: Connection) -> None:
        begin = connection.get_execution_options().get(_BEGIN, "BEGIN")
        if begin == "BEGIN" or migrating:
            connection.exec_driver_sql(begin)
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout={_BEGIN_BUSY_S * 1000:.0f}")
        try:
            connection.exec_driver_sql(begin)
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_BUSY_S * 1000:.0f}")

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
    return engine


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StorageError(f"The migration would leave {broken[0]} without what it refers to; nothing was changed.")


async def _to_its_end(work: Coroutine[None, None, _Result]) -> _Result:
    """Wait for something short even when cancelled, and be cancelled then.

    A connection that is left in the middle of beginning a transaction keeps SQLite's file locked until it is collected
    as garbage.
    """
    working = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:  # more than once, perhaps
            cancelled = error
    if cancelled is not None:
        if not working.cancelled():
            working.exception()  # heard, though the cancellation is what is told
        raise cancelled
    return working.result()


def _driver_error(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlite_code(error: BaseException | None) -> int | None:
    """SQLite's primary code of an error; None for another's."""
    code = getattr(_driver_error(error), "sqlite_errorcode", None) if error is not None else None
    return code & 0xFF if isinstance(code, int) else None


def _lock(key: int) -> Select[Any]:
    """Waits for a lock that the server gives to one transaction at a time."""
    return select(func.pg_advisory_xact_lock(key))
