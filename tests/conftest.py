"""What tests of several parts stand on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer

# How long an example takes says more of the machine than of the code.
settings.register_profile("gamespotter", deadline=None)
settings.load_profile("gamespotter")

# `make test-jax` runs these, in an environment of their own.
collect_ignore = [] if os.environ.get("KERAS_BACKEND") == "jax" else ["jax"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started when a test first asks for it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A verb that is run in the tests' own process sets up logging for its process."""
    loggers = [logging.getLogger(name) for name in (None, "bot", "core")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
