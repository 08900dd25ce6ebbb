"""The same tests for SQLite and PostgreSQL: ``url`` and all that is built on it come twice."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from core.storage.audit import AuditStore
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.nights import NightStore
from core.storage.sightings import SightingStore
from core.storage.tokens import TokenStore
from core.storage.upkeep import Upkeep
from core.storage.watches import WatchStore


async def _migrate(url: str) -> None:
    async with Database.at(url) as database:
        await database.migrate()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    """An SQLite file with tables, to copy."""
    file = tmp_path_factory.mktemp("template") / "empty.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def migrated_template(postgres):
    """A PostgreSQL database with tables, to copy."""
    name = postgres.fresh_database()
    asyncio.run(_migrate(postgres.url(name)))
    return name


@pytest.fixture
def empty_url(kind, tmp_path, request):
    """The address of a database in which there is nothing yet."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.fresh_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def url(kind, tmp_path, request):
    """The address of a database with tables and no rows."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "store.db")
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.fresh_database(template=request.getfixturevalue("migrated_template"))
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
async def database(url):
    async with Database.at(url) as database:
        yield database


@pytest.fixture
def frames(tmp_path):
    return FolderFrameStore(tmp_path / "frames")


@pytest.fixture
def captures(database, frames):
    return CaptureStore(database, frames)


@pytest.fixture
def nights(database):
    return NightStore(database)


@pytest.fixture
def upkeep(database, frames):
    return Upkeep(database, frames)


@pytest.fixture
def flags(database):
    return FlagStore(database)


@pytest.fixture
def sightings(database):
    return SightingStore(database)


@pytest.fixture
def watches(database):
    return WatchStore(database)


@pytest.fixture
def tokens(database):
    return TokenStore(database)


@pytest.fixture
def audit(database):
    return AuditStore(database)
