"""Work that one of any number of processes does at a time: it holds a lease while it lasts."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar

from core.errors import GameSpotterError, StorageError
from core.storage.records import RunState

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from core.storage.records import JobRun, Json

T = TypeVar("T")

LEASE_S = 60.0
"""After which a run whose holder was not heard of is another's."""

_GIVING_BACK_S = 5.0
"""To write down that a run was broken off, when its process ends."""


class LeaseLost(GameSpotterError):
    """Another process has taken the run over; what was done so far stays."""


class ClaimsRuns(Protocol):
    """What is needed of :class:`core.storage.nights.NightStore`."""

    async def claim(
        self, job: str, due_at: datetime, *, holder: str, lease_s: float, resume: bool = False
    ) -> JobRun | None:
        """The run, when it is this holder's to do."""
        ...

    async def renew(self, run: JobRun, *, holder: str, lease_s: float) -> bool:
        """Keep the run; False when another has it."""
        ...

    async def finish(self, run: JobRun, *, holder: str, state: RunState, result: Json) -> bool:
        """Write down how it ended; False when another has it."""
        ...


def new_holder() -> str:
    """Names this process among all that share a database, also after a restart on the same host."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


async def under_lease(
    runs: ClaimsRuns, run: JobRun, work: Coroutine[None, None, T], *, holder: str, lease_s: float = LEASE_S
) -> T:
    """Do the work of a claimed run, and keep the lease meanwhile.

    Cancelled, it gives the run back rather than let the lease run out, so that another process goes on at once.

    Raises:
        LeaseLost: the work was broken off.
        Exception: whatever the work raises; the run is still held then.
    """
    working = asyncio.create_task(work, name=f"{run.job} of {run.due_at.isoformat()}")
    keeping = asyncio.create_task(_keep(runs, run, holder=holder, lease_s=lease_s), name=f"lease of {run.job}")
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
    except asyncio.CancelledError:
        await _ended(working)
        with suppress(StorageError, TimeoutError):
            async with asyncio.timeout(_GIVING_BACK_S):
                await runs.finish(run, holder=holder, state=RunState.INTERRUPTED, result={})
        raise
    finally:
        await _ended(keeping)
        await _ended(working)
    raise LeaseLost(f"Another process has taken over the {run.job} of {run.due_at.isoformat(timespec='minutes')}.")


async def _keep(runs: ClaimsRuns, run: JobRun, *, holder: str, lease_s: float) -> None:
    """Renew the lease; returns when it is lost, also for want of an answer."""
    loop = asyncio.get_running_loop()
    until = loop.time() + lease_s
    while True:
        await asyncio.sleep(lease_s / 3)
        asked_at = loop.time()
        try:
            async with asyncio.timeout_at(until):
                if not await runs.renew(run, holder=holder, lease_s=lease_s):
                    return
            until = asked_at + lease_s
        except (StorageError, TimeoutError):
            if loop.time() + lease_s / 3 >= until:
                return


async def _ended(task: asyncio.Task[T]) -> None:
    """Cancel a task and wait for its end; what it raises then is of no interest any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
