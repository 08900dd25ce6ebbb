"""Real stores for a night: an SQLite file with tables, and a folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.storage.database import Database
from tests.core.collection.stage import Stores, open_stores


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with tables, to copy."""

    async def migrate(file: Path) -> None:
        async with Database.at(f"sqlite:///{file}") as database:
            await database.migrate()

    file = tmp_path_factory.mktemp("night") / "empty.db"
    asyncio.run(migrate(file))
    return file


@pytest.fixture
def home(tmp_path: Path, empty_database: Path) -> Path:
    """A directory with a fresh database."""
    shutil.copy(empty_database, tmp_path / "night.db")
    return tmp_path


@pytest.fixture
async def stores(home: Path) -> AsyncIterator[Stores]:
    async with open_stores(home) as stores:
        yield stores
