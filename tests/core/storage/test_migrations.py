"""The schema: what the migrations make is what the tables say, and what a person reads when it is not."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import alembic.op
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

import core.storage
from core.errors import SchemaOutdated, StorageError
from core.games import Game
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.records import Broadcaster, FlagReason, FlagState, LabelSource, Moderator
from core.storage.tables import LabelRow, Table
from core.storage.upkeep import Upkeep
from tests.core.storage.processes import at_once
from tests.core.storage.samples import NOON, nightly

DOOM = Game(id="doom", name="DOOM")
YESTERDAY = NOON - timedelta(days=1)
ONLY_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
MIGRATIONS = Path(core.storage.__file__).parent / "migrations"


def _config(connection=None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


HEAD = ScriptDirectory.from_config(_config()).get_current_head()
REVISIONS = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][::-1]


async def _upgrade_to(url: str, revision: str) -> None:
    """What an older version of the program would have made."""
    async with Database.at(url) as database, database._engine.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(_config(sync), revision))


async def _differences(url: str) -> list:
    def compare(connection):
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True, "target_metadata": Table.metadata}
        )
        return compare_metadata(context, Table.metadata)

    async with Database.at(url) as database, database._engine.connect() as connection:
        return await connection.run_sync(compare)


async def test_an_empty_database_becomes_what_the_tables_say(empty_url):
    async with Database.at(empty_url) as database:
        migration = await database.migrate()
    assert (migration.before, migration.after) == (None, HEAD)
    assert await _differences(empty_url) == []


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_older_revision_becomes_what_the_tables_say(empty_url, revision):
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    await _upgrade_to(empty_url, revision)
    async with Database.at(empty_url) as database:
        migration = await database.migrate()
        await database.check()
    assert (migration.before, migration.after) == (revision, HEAD)
    assert await _differences(empty_url) == []


async def test_the_checks_are_those_of_the_tables(url):
    """Alembic compares no CHECK constraints."""

    def names(connection):
        inspector = inspect(connection)
        return {
            (table, check["name"])
            for table in inspector.get_table_names()
            for check in inspector.get_check_constraints(table)
        }

    async with Database.at(url) as database, database._engine.connect() as connection:
        in_database = await connection.run_sync(names)
    wanted = {
        (table.name, str(constraint.name))
        for table in Table.metadata.tables.values()
        for constraint in table.constraints
        if constraint.__visit_name__.endswith("check_constraint")
    }
    assert len(wanted) > 8
    # The naming convention is applied when DDL is written.
    assert in_database == {(table, name if name.startswith("ck_") else f"ck_{table}_{name}") for table, name in wanted}


async def test_migrating_again_changes_nothing(url):
    async with Database.at(url) as database:
        migration = await database.migrate()
    assert migration.before == migration.after == HEAD


async def test_rows_survive_migrating_again(url, captures):
    await captures.add(nightly())
    async with Database.at(url) as database:
        await database.migrate()
    assert (await captures.summary()).captures == 1


async def test_a_database_without_tables_says_what_to_run(empty_url):
    async with Database.at(empty_url) as database:
        with pytest.raises(SchemaOutdated, match=r"run: python -m bot db migrate\.$"):
            await database.check()


async def test_checking_makes_no_file(tmp_path):
    async with Database.at(f"sqlite:///{tmp_path}/none.db") as database:
        with pytest.raises(SchemaOutdated, match="no database"):
            await database.check()
    assert list(tmp_path.iterdir()) == []


async def test_sqlite_needs_no_set_up_and_postgresql_waits_for_migrate(empty_url, kind):
    async with Database.at(empty_url) as database:
        if kind == "sqlite":
            await database.prepare()
            await database.check()
        else:
            with pytest.raises(SchemaOutdated, match="db migrate"):
                await database.prepare()


async def test_the_directory_of_an_sqlite_file_is_made(tmp_path):
    async with Database.at(f"sqlite:///{tmp_path}/a/b/store.db") as database:
        await database.prepare()
        await database.check()


async def test_an_older_schema_is_told_from_none(url):
    # As though this database had been left at a revision that came before the newest.
    async with Database.at(url) as database:
        real = database._revision
        database._revision = lambda connection, scripts: real(connection, scripts) and "0000"
        with pytest.raises(SchemaOutdated, match=r"older version; run: python -m bot db migrate\.$"):
            await database.check()


async def test_a_newer_schema_is_left_alone(url):
    async with Database.at(url) as database:
        async with database.writing() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for attempt in (database.check, database.migrate, database.prepare):
            with pytest.raises(StorageError, match=r"newer GameSpotter.*9999.*update this one") as told:
                await attempt()
            assert not isinstance(told.value, SchemaOutdated)


async def test_tables_of_another_program_are_left_alone(empty_url):
    """P2 of our predecessors, for one, has a table of games."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    async with Database.at(empty_url) as database:
        async with database.writing() as session:
            await session.execute(text("CREATE TABLE games (id INTEGER)"))
        for attempt in (database.check, database.migrate):
            with pytest.raises(StorageError, match=r"tables of another program \(games\)"):
                await attempt()


async def test_two_that_migrate_at_once_in_one_process_both_end_well(empty_url):
    async def migrate():
        async with Database.at(empty_url) as database:
            return (await database.migrate()).before

    assert sorted(await asyncio.gather(*(migrate() for _ in range(4))), key=str) == [HEAD, HEAD, HEAD, None]


async def test_processes_that_migrate_at_once_all_end_well(empty_url):
    said = await at_once("together(); print((await database.migrate()).before)", empty_url)
    assert sorted(said) == [HEAD, HEAD, HEAD, "None"]
    assert await _differences(empty_url) == []


async def test_a_migration_that_fails_leaves_nothing_behind(empty_url, monkeypatch):
    real = alembic.op.create_index

    def failing(name, *args, **kwargs):
        if name == "ix_frames_sha256":
            raise StorageError("no")
        return real(name, *args, **kwargs)

    async with Database.at(empty_url) as database:
        with monkeypatch.context() as patch:
            patch.setattr(alembic.op, "create_index", failing)
            with pytest.raises(StorageError, match="no"):
                await database.migrate()
        with pytest.raises(SchemaOutdated, match="no tables yet"):
            await database.check()
        assert (await database.migrate()).before is None
        await database.check()


@ONLY_SQLITE
async def test_the_file_is_in_write_ahead_mode(url):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


OF_0001 = """
INSERT INTO games (id, name, added_at) VALUES ('doom', 'DOOM', '2026-11-20 12:00:00.000000');
INSERT INTO games (id, name, added_at) VALUES ('quake', 'Quake', '2026-11-20 12:00:00.000000');
INSERT INTO broadcasters (login, first_seen_at) VALUES ('anna', '2026-11-20 12:00:00.000000');
INSERT INTO models (version, first_seen_at) VALUES ('starter-1', '2026-11-20 12:00:00.000000');
INSERT INTO captures
    (key, kind, broadcaster_id, at, rendition, window_s, adverts, black, duplicates, failed, waiting, bytes_fetched)
    VALUES ('look', 'asked', 1, '2026-11-20 12:00:00.000000', '360p', 26, 0, 0, 0, 0, 0, 1);
INSERT INTO frames (capture_id, position, sha256, size_bytes, perceptual_hash, at_s)
    VALUES (1, 0, '{sha256}', 5, 7, 0);
INSERT INTO recognitions
    (capture_id, model, at, game_id, best_id, confidence, votes, score, novelty, runners_up, frames)
    VALUES (1, 'starter-1', '2026-11-20 12:00:00.000000', 'doom', 'doom', 0.9, 2, 5, 0, '[]', '[]');
INSERT INTO flags (capture_id, recognition_id, game_id, state, "by", platform, at, state_at) VALUES
    (1, 1, 'quake', 'open', 'mo', 'twitch', '2026-11-20 12:00:00.500000', '2026-11-20 13:00:00.000000'),
    (1, 1, 'quake', 'accepted', 'any', 'twitch', '2026-11-20 12:00:00.500000', '2026-11-20 13:00:00.000000'),
    (1, NULL, 'doom', 'rejected', 'bea', 'discord', '2026-11-20 12:00:00.500000', '2026-11-20 13:00:00.000000'),
    (1, 1, 'doom', 'withdrawn', 'cem', 'discord', '2026-11-20 12:00:00.500000', '2026-11-20 13:00:00.000000');
INSERT INTO labels (capture_id, game_id, source, at) VALUES (1, 'quake', 'flag', '2026-11-20 13:00:00.000000');
"""


@pytest.fixture
async def filled_url(empty_url):
    """A database as the first version left it."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    await _upgrade_to(empty_url, "0001")
    async with Database.at(empty_url) as database, database.writing() as session:
        for statement in OF_0001.format(sha256="0" * 64).strip().split(";\n"):
            await session.execute(text(statement.rstrip(";")))
    return empty_url


async def test_a_database_that_the_first_version_filled_keeps_all_of_it(filled_url):
    async with Database.at(filled_url) as database:
        assert (await database.migrate()).before == "0001"
        await database.check()
        flags = await FlagStore(database).flags(states=FlagState, limit=9)
        look = await FlagStore(database).look("look")
        async with database.reading() as session:
            (label,) = list(await session.scalars(select(LabelRow)))
    assert (look.channel, look.recognised, look.model, look.frames) == ("anna", DOOM, "starter-1", 1)
    assert (label.game_id, label.source) == ("quake", LabelSource.FLAG)
    assert [(flag.id, flag.by.platform, flag.by.id, flag.game.id, flag.state, flag.reason) for flag in flags[::-1]] == [
        (1, "twitch", "mo", "quake", FlagState.OPEN, FlagReason.WAITING),
        (2, "twitch", "any", "quake", FlagState.ACCEPTED, FlagReason.KEEPER),
        (3, "discord", "bea", "doom", FlagState.REJECTED, FlagReason.KEEPER),
        (4, "discord", "cem", "doom", FlagState.WITHDRAWN, FlagReason.WITHDRAWN),
    ]
    first = flags[-1]
    assert (first.at, first.state_at) == (YESTERDAY + timedelta(seconds=0.5), YESTERDAY + timedelta(hours=1))
    assert (first.recognised, first.by.name, first.by.moderates_channel, first.place) == (DOOM, "mo", False, "")
    assert first.used_by is None
    assert await _differences(filled_url) == []


async def test_flags_go_on_being_numbered_after_those_of_the_first_version(filled_url):
    async with Database.at(filled_url) as database:
        await database.migrate()
        by = Moderator(platform="twitch", id="7", name="Mo")
        raised = await FlagStore(database).flag("look", DOOM, by=by, place="", at=NOON)
        # What refers to flags and what they refer to holds still.
        await Upkeep(database, FolderFrameStore(Path("nowhere"))).forget(Broadcaster(login="anna"), by="", at=NOON)
        assert await FlagStore(database).flags(states=FlagState, limit=9) == ()
    assert raised.flag.id == 5


async def test_a_second_migration_that_fails_leaves_the_first_version_s_tables(filled_url, monkeypatch):
    real = alembic.op.create_index

    def failing(name, *args, **kwargs):
        if name == "ix_audit_subject":
            raise StorageError("no")
        return real(name, *args, **kwargs)

    async with Database.at(filled_url) as database:
        with monkeypatch.context() as patch:
            patch.setattr(alembic.op, "create_index", failing)
            with pytest.raises(StorageError, match="no"):
                await database.migrate()
        async with database.reading() as session:
            assert await session.scalar(text('SELECT count("by") FROM flags')) == 4
        assert (await database.migrate()).before == "0001"
