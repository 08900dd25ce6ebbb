"""Addresses, transactions, and what a person reads when a database cannot be used."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import func, insert, select, text

from core.errors import SchemaOutdated, StorageError, StorageFull
from core.storage.database import Database
from core.storage.tables import GameRow
from tests.core.storage.processes import at_once
from tests.core.storage.samples import NOON

ONLY_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
ONLY_POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql"])
PASSWORD = "s3cret/p@ss"
QUOTED = "s3cret%2Fp%40ss"


async def _add(database: Database, game_id: str) -> None:
    async with database.writing() as session:
        await session.execute(insert(GameRow).values(id=game_id, name=game_id, added_at=NOON))


async def _games(database: Database) -> int:
    async with database.reading() as session:
        return await session.scalar(select(func.count()).select_from(GameRow))


@pytest.mark.parametrize(
    ("url", "shown", "embedded"),
    [
        ("sqlite:///data/x.db", "data/x.db", True),
        ("sqlite+aiosqlite:////var/x.db", "/var/x.db", True),
        ("postgresql://me:pw@host/name", "postgresql://me@host/name", False),
        ("postgres://me:pw@host:5433/name", "postgresql://me@host:5433/name", False),
        ("postgresql+asyncpg://me:pw@host/name", "postgresql://me@host/name", False),
        ("postgresql+psycopg://host/name?sslmode=require", "postgresql://host/name", False),
        ("postgresql://me:pw@/name?host=/run/pg", "postgresql://me@/run/pg/name", False),
    ],
)
async def test_an_address_is_understood_with_or_without_its_driver(url, shown, embedded):
    async with Database.at(url) as database:
        assert (database.url, database.is_embedded) == (shown, embedded)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "no database's address"),
        ("gamespotter.db", "no database's address"),
        (f"postgresql://u:{PASSWORD}@host:port/x", "no database's address"),
        ("mysql://u:pw@host/x", "mysql"),
        ("sqlite://data/x.db", "three slashes"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "name a file"),
        (f"postgresql://u:{QUOTED}@host/x?channel_binding=require", "channel_binding"),
        (f"postgresql://host/x?password={PASSWORD}", "password"),
    ],
)
def test_an_address_that_is_none_is_one_sentence(url, part):
    with pytest.raises(StorageError, match=part) as told:
        Database.at(url)
    _is_one_sentence(told.value)


def _is_one_sentence(error: StorageError) -> None:
    said = str(error)
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 300
    everything = "".join(traceback.format_exception(error))
    for secret in (PASSWORD, QUOTED, "p@ss", "p%40ss"):
        assert secret not in everything


async def _refusal(url: str, kind: type[StorageError] = StorageError) -> str:
    async with Database.at(url) as database:
        with pytest.raises(kind) as told:
            await database.prepare()
        _is_one_sentence(told.value)
        with pytest.raises(StorageError):
            await database.migrate()
    return str(told.value)


async def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "x.db").write_bytes(b"this is a letter to my aunt\n" * 100)
    assert "is not an SQLite database; move it away" in await _refusal(f"sqlite:///{tmp_path}/x.db")
    assert (tmp_path / "x.db").read_bytes().startswith(b"this is")


async def test_a_directory_where_the_file_should_be(tmp_path):
    assert "cannot be opened; see that its directory" in await _refusal(f"sqlite:///{tmp_path}")


async def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert "cannot be made" in await _refusal(f"sqlite:///{tmp_path}/taken/sub/x.db")


def test_a_directory_or_file_that_cannot_be_written_to(tmp_path, migrated_file):
    """In a process of its own: root may write anywhere."""
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "x.db").write_bytes(migrated_file.read_bytes())
    closed.chmod(0o555)
    (closed / "x.db").chmod(0o444)
    program = (
        "import asyncio, os, sys\n"
        "from core.storage.database import Database\n"
        "async def main(url):\n"
        "    async with Database.at(url) as database:\n"
        "        try: await database.prepare()\n"
        "        except Exception as error: print(type(error).__name__, error)\n"
        # Once before rights are dropped, so that all that is needed has been imported.
        f"asyncio.run(main('sqlite:///{tmp_path}/good.db'))\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"asyncio.run(main('sqlite:///{closed}/new.db'))\n"
        f"asyncio.run(main('sqlite:///{closed}/x.db'))\n"
    )
    for parent in tmp_path.parents:
        if not parent.stat().st_mode & 0o001 and os.geteuid() == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    closed.chmod(0o755)
    new, old = done.stdout.splitlines()
    assert new.startswith("StorageError The database ")
    assert "cannot be opened; see that its directory exists and can be written to." in new
    assert old.startswith("StorageError The database ")
    assert "cannot be written to; see who owns the file and its directory." in old


@ONLY_SQLITE
async def test_a_database_that_is_damaged(url, captures):
    file = url.removeprefix("sqlite:///")
    with open(file, "r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xff" * 4096 * 20)
    with pytest.raises(StorageError, match="is damaged; put a copy"):
        await captures.summary()


async def test_a_server_that_is_not_there(tmp_path):
    nowhere = f"postgresql://me:{QUOTED}@127.0.0.1:1/name"
    assert "No database server answers at postgresql://me@127.0.0.1:1/name; start it" in await _refusal(nowhere)
    nowhere = f"postgresql://me:{QUOTED}@/name?host={tmp_path}"
    assert "No database server answers" in await _refusal(nowhere)
    nowhere = f"postgresql://me:{QUOTED}@no-such-host.invalid/name"
    assert "No database server answers" in await _refusal(nowhere)


async def test_a_server_that_does_not_speak(monkeypatch):
    monkeypatch.setattr("core.storage.database._CONNECT_S", 0.3)
    writers = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert "did not answer in time" in await _refusal(f"postgresql://me:{QUOTED}@127.0.0.1:{port}/name")
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_wrong_password_or_name(postgres):
    assert "refuses us" in await _refusal(postgres.url("postgres", password=QUOTED))
    stranger = postgres.url("postgres", password=QUOTED).replace("//postgres:", "//stranger:")
    assert "refuses us" in await _refusal(stranger)
    assert "has no database" in await _refusal(postgres.url("nothing", password=postgres.password))


@ONLY_POSTGRESQL
async def test_a_user_who_may_not(url, postgres):
    postgres.execute("DROP ROLE IF EXISTS guest")
    postgres.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = url.replace(f"postgres:{postgres.password}@", "guest:guest@")
    async with Database.at(guest) as database:
        with pytest.raises(StorageError, match=r"may not do this.*grant it"):
            await database.check()


@ONLY_SQLITE
async def test_a_full_disk_of_sqlite(url):
    async with Database.at(url) as database:

        async def write():
            async with database.writing() as session:
                await session.execute(text("PRAGMA max_page_count = 1"))
                await session.execute(insert(GameRow).values(id="big", name="x" * 1_000_000, added_at=NOON))

        with pytest.raises(StorageFull, match=r"no room left on the disk.*make some\."):
            await write()
        assert await _games(database) == 0


@ONLY_POSTGRESQL
async def test_a_full_disk_of_postgresql(url):
    async with Database.at(url) as database:
        with pytest.raises(StorageFull, match="no room left on the disk"):
            async with database.writing() as session:
                await session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"))


async def test_tables_that_vanished_are_a_schema_to_migrate(url):
    async with Database.at(url) as database:
        async with database.writing() as session:
            await session.execute(text("DROP TABLE game_aliases"))
            await session.execute(text("DROP TABLE flags"))
        with pytest.raises(SchemaOutdated, match="not this version's; run: python -m bot db migrate"):
            async with database.reading() as session:
                await session.execute(text("SELECT * FROM flags"))


async def test_an_error_shows_no_parameters(database):
    with pytest.raises(StorageError) as told:
        async with database.writing() as session:
            await session.execute(text("SELECT * FROM nonsense WHERE x = :secret"), {"secret": PASSWORD})
    _is_one_sentence(told.value)


async def test_what_is_written_is_there_for_others(url):
    async with Database.at(url) as one, Database.at(url) as other:
        await _add(one, "doom")
        assert await _games(other) == 1


async def test_a_block_that_raises_leaves_nothing(database):
    async def write():
        async with database.writing() as session:
            await session.execute(insert(GameRow).values(id="doom", name="DOOM", added_at=NOON))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert await _games(database) == 0


async def test_a_cancelled_writer_leaves_nothing_and_locks_nobody_out(database):
    inside = asyncio.Event()

    async def write():
        async with database.writing(one_at_a_time=True) as session:
            await session.execute(insert(GameRow).values(id="doom", name="DOOM", added_at=NOON))
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _games(database) == 0
    async with asyncio.timeout(5):
        async with database.writing(one_at_a_time=True):
            pass
        await _add(database, "doom")


async def test_writers_cancelled_while_they_wait_lock_nobody_out(url):
    async with Database.at(url) as one, Database.at(url) as other:
        async with one.writing(one_at_a_time=True):

            async def write():
                async with other.writing(one_at_a_time=True):
                    pass

            waiting = [asyncio.create_task(write()) for _ in range(5)]
            await asyncio.sleep(0.2)
            for task in waiting:
                task.cancel()
            async with asyncio.timeout(2):
                await asyncio.gather(*waiting, return_exceptions=True)
            assert all(task.cancelled() for task in waiting)
        async with asyncio.timeout(5):
            await _add(other, "doom")
            await _add(one, "chess")


async def test_reading_sees_one_moment(url):
    async with Database.at(url) as one, Database.at(url) as other, one.reading() as session:
        count = select(func.count()).select_from(GameRow)
        before = await session.scalar(count)
        await _add(other, "doom")
        assert await session.scalar(count) == before


async def test_writers_of_one_at_a_time_are_one_at_a_time(url):
    inside = 0
    most = 0

    async def write(database):
        nonlocal inside, most
        async with database.writing(one_at_a_time=True):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    async with Database.at(url) as one, Database.at(url) as other:
        await asyncio.gather(*(write(database) for database in (one, other) for _ in range(10)))
    assert most == 1


async def test_many_writers_that_wait_keep_nobody_from_reading(url):
    async def write(database):
        async with database.writing(one_at_a_time=True):
            pass

    async with Database.at(url) as one, Database.at(url) as other:
        async with one.writing(one_at_a_time=True):
            waiting = [asyncio.create_task(write(other)) for _ in range(60)]
            await asyncio.sleep(0.2)
            async with asyncio.timeout(5):
                assert await _games(other) == 0
        await asyncio.gather(*waiting)


async def test_foreign_keys_hold(database):
    with pytest.raises(StorageError):
        async with database.writing() as session:
            await session.execute(text("INSERT INTO game_aliases (game_id, name, folded) VALUES ('nothing', 'a', 'a')"))


async def test_a_value_outside_the_list_is_refused(database):
    with pytest.raises(StorageError):
        async with database.writing() as session:
            await session.execute(
                text(
                    "INSERT INTO job_runs (job, due_at, state, holder, attempt, lease_until, started_at)"
                    " VALUES ('a', :at, 'sleeping', 'h', 1, :at, :at)"
                ).bindparams(at=NOON if not database.is_embedded else NOON.isoformat())
            )


async def test_the_shared_clock_is_about_now(database):
    async with database.reading() as session:
        now = await session.scalar(select(database.clock()))
        later = await session.scalar(select(database.clock(plus_s=90)))
    assert now.tzinfo is not None
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=30)
    assert timedelta(seconds=89) < later - now < timedelta(seconds=119)


@ONLY_SQLITE
async def test_a_busy_file_is_one_sentence(url, monkeypatch):
    monkeypatch.setattr("core.storage.database._BUSY_S", 0.2)
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with Database.at(url) as database:
        with pytest.raises(StorageError, match=r"Another process has kept the database .* busy"):
            await _add(database, "doom")
        other.execute("ROLLBACK")
        other.close()
        await _add(database, "doom")


async def test_processes_that_write_at_once_all_end_well(url):
    body = """
        async def add(turn):
            async with database.writing(one_at_a_time=turn % 2 == 0) as session:
                row = f"{number}-{turn}"
                await session.execute(insert(GameRow).values(id=row, name=row, added_at=NOON))

        together()
        await asyncio.gather(*(add(turn) for turn in range(50)))
    """
    await at_once(body, url, processes=3)
    async with Database.at(url) as database:
        assert await _games(database) == 150


@ONLY_POSTGRESQL
async def test_a_server_that_restarts_costs_one_error_at_most(url, postgres):
    async with Database.at(url) as database:
        await asyncio.gather(*(_games(database) for _ in range(8)))
        # While nobody asks anything: nobody notices.
        await asyncio.to_thread(postgres.restart)
        assert await _games(database) == 0

        # In the middle of a transaction: one sentence, and on it goes.
        async def write():
            async with database.writing() as session:
                await session.execute(insert(GameRow).values(id="doom", name="DOOM", added_at=NOON))
                await asyncio.to_thread(postgres.restart)
                await session.execute(insert(GameRow).values(id="chess", name="Chess", added_at=NOON))

        with pytest.raises(StorageError) as told:
            await write()
        _is_one_sentence(told.value)
        assert await _games(database) == 0
        # While it is away: one sentence each time.
        await asyncio.to_thread(postgres.stop)
        try:
            for _ in range(3):
                with pytest.raises(StorageError, match="No database server answers"):
                    await _games(database)
        finally:
            await asyncio.to_thread(postgres.restart)
        assert await _games(database) == 0


@ONLY_SQLITE
async def test_a_transaction_that_is_cancelled_anywhere_leaves_nothing_locked(url, caplog):
    random = Random(7)
    file = url.removeprefix("sqlite:///")

    def is_locked() -> bool:
        other = sqlite3.connect(file, isolation_level=None, timeout=1)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        finally:
            other.close()
        return False

    async with Database.at(url) as database:
        await database.prepare()

        async def write(number: int) -> None:
            async with database.writing() as session:
                await session.execute(
                    text("INSERT INTO models (version, first_seen_at) VALUES (:version, '2026-01-01 00:00:00')"),
                    {"version": str(number)},
                )

        for number in range(200):
            writing = asyncio.create_task(write(number))
            await asyncio.sleep(random.uniform(0, 0.006))
            # A group that ends cancels its tasks, and who looks after them may do so, too.
            for _ in range(random.randint(1, 3)):
                writing.cancel()
                await asyncio.sleep(0)
            await asyncio.wait({writing})
            assert writing.cancelled() or writing.exception() is None
            assert not await asyncio.to_thread(is_locked)
    assert "Exception during reset" not in caplog.text
