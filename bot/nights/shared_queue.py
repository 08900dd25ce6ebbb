"""The door to the queue of picks that workers share.

Its library comes with an extra, and is imported only when a queue is opened.
"""

from __future__ import annotations

import importlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from core.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.nights.procrastinate_queue import ProcrastinateQueue


async def prepare_queue(url: str) -> bool:
    """Make the queue's tables in a PostgreSQL database, or bring them up to date; harmless when they are there.

    Args:
        url: of the database.

    Returns:
        Whether there is a queue now: not in SQLite, and not without the extra ``workers``.

    Raises:
        StorageError: the database cannot be reached or used, or a newer version has used it.
    """
    from core.storage.database import Database  # noqa: PLC0415 - --help is answered at once

    if Database.at(url).is_embedded or _what_is_missing() is not None:
        return False
    from bot.nights import procrastinate_queue  # noqa: PLC0415 - not without the extra

    await procrastinate_queue.migrate(url)
    return True


@asynccontextmanager
async def open_queue(url: str, *, stalled_after_s: float | None = None) -> AsyncIterator[ProcrastinateQueue]:
    """The queue of picks in a PostgreSQL database, for who hands out and for who takes.

    Args:
        url: of the database.
        stalled_after_s: a worker that was not heard of for so long is dead; the same for all. None is the default.

    Raises:
        SchemaOutdated: the database waits for ``db migrate``.
        StorageError: it is none that workers can share, cannot be reached or used, or the extra is not installed.
    """
    check_shareable(url)
    from bot.nights.procrastinate_queue import STALLED_AFTER_S, opened  # noqa: PLC0415 - not without the extra

    async with opened(url, stalled_after_s=stalled_after_s or STALLED_AFTER_S) as queue:
        yield queue


def check_shareable(url: str) -> None:
    """See that a database is one that workers can share, and that there is what they need.

    Raises:
        StorageError: it is not, or there is not; says what to do.
    """
    from core.storage.database import Database  # noqa: PLC0415

    database = Database.at(url)
    if database.is_embedded:
        raise StorageError(
            f"Workers need PostgreSQL, and the database is the file {database.url}; name a server's in [database] url."
        )
    missing = _what_is_missing()
    if missing is not None:
        raise StorageError(
            "Workers need what the extra `workers` brings; run: python -m pip install --editable '.[workers]'"
        ) from missing


def _what_is_missing() -> ImportError | None:
    """Why the extra ``workers`` cannot be used; None when it can."""
    try:
        for name in ("psycopg", "psycopg_pool", "procrastinate"):
            importlib.import_module(name)
    except ImportError as error:
        return error
    return None
