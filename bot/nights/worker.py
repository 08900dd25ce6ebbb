"""``python -m bot worker``: does picks that a night on another machine hands out."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bot.command_line import ConfigOption, DebugOption, run_or_exit, settings_or_exit, stop_signals
from bot.nights.shared_queue import check_shareable, open_queue
from bot.operation import logs
from core.errors import SchemaOutdated, StorageError

if TYPE_CHECKING:
    from bot.app import Looking, Storage
    from bot.settings import Settings

log = logging.getLogger(__name__)

_REST_S = 2.0
_LONGEST_REST_S = 60.0
"""Of a worker whose database or disk fails: others have its picks meanwhile."""


def worker(
    *,
    parallel: Annotated[
        int | None, typer.Option(min=1, max=64, help="Streams at the same time, in place of the settings'.")
    ] = None,
    stalled_after: Annotated[float | None, typer.Option(hidden=True, min=0.5)] = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Stay, and sample the streams that a crawl hands out; any number of workers, on any machines.

    The crawl's settings say run_on = "workers", and all share one PostgreSQL and one folder of frames. Ctrl-C ends a
    worker after the streams in hand, and gives back what takes too long. Ends with 0, or with 1 when it cannot work.
    """
    settings = settings_or_exit(config)
    logs.set_up(form=settings.log.format, level=settings.log.level, secrets=logs.secrets_in(settings), debug=debug)
    run_or_exit(_run(settings, parallel=parallel or settings.collection.parallel, stalled_after_s=stalled_after))


async def _run(settings: Settings, *, parallel: int, stalled_after_s: float | None) -> None:
    # Imported here, so that --help and a mistake in the settings are answered at once.
    from bot.app import open_looking, open_storage  # noqa: PLC0415
    from core.storage.database import Database  # noqa: PLC0415

    async with stop_signals() as stop:
        # Before what takes longer: what is missing is said at once, by who says most precisely what that is.
        check_shareable(settings.database_url)
        async with Database.at(settings.database_url) as database:
            await database.check()
        async with open_queue(settings.database_url):
            pass
        async with open_storage(settings) as storage, open_looking(settings, many_looks=True) as looking:
            name = f"{socket.gethostname()}:{os.getpid()}"
            log.info(
                "worker %s takes up to %d streams at a time that a crawl hands out through %s; Ctrl-C ends it",
                name,
                parallel,
                storage.database.url,
            )
            await _work(settings, storage, looking, parallel=parallel, stop=stop, stalled_after_s=stalled_after_s)
    log.info("worker %s has ended", name)


async def _work(
    settings: Settings,
    storage: Storage,
    looking: Looking,
    *,
    parallel: int,
    stop: asyncio.Event,
    stalled_after_s: float | None,
) -> None:
    """Take picks until told to stop; when the database or the disk fails, rest and begin anew."""
    from bot.app import pick_taker  # noqa: PLC0415
    from core.collection.handing_out import carry_out, given_up  # noqa: PLC0415

    take = partial(carry_out, nights=storage.nights, taker=pick_taker(settings, storage, looking))
    now = asyncio.get_running_loop().time
    rest_s = _REST_S
    while not stop.is_set():
        began_at = now()
        try:
            async with open_queue(settings.database_url, stalled_after_s=stalled_after_s) as queue:
                await queue.work(take, give_up=partial(given_up, nights=storage.nights), parallel=parallel, stop=stop)
        except SchemaOutdated:
            raise
        except StorageError as error:
            rest_s = _REST_S if now() - began_at > _LONGEST_REST_S else min(2 * rest_s, _LONGEST_REST_S)
            log.error("this worker takes nothing for %.0f s: %s", rest_s, error)  # noqa: TRY400 - a sentence
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await stop.wait()
