"""What tests of several parts stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started when a test first asks for it."""
    with PostgresServer() as server:
        yield server
