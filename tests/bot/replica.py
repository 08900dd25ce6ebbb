"""A replica of the bot's schedule in a process of its own, whose clock runs fast. Run by test_replicas.py.

It writes a line when it begins a run and one when it has ended it, so that what happened can be read when it is dead.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime

from bot.schedule import Ending, Job, Schedule
from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.records import JobRun, RunState

SPEED = 15.0
"""A minute of cron takes four seconds."""


async def main(url: str, diary: str, holder: str, began_s: float, lease_s: float, work_s: float) -> None:
    async with Database.at(url) as database:

        def note(what: str, run: JobRun) -> None:
            with open(diary, "a") as file:
                file.write(f"{what} {run.due_at.isoformat()} {run.attempt} {holder}\n")

        async def work(run: JobRun) -> Ending:
            note("begin", run)
            await asyncio.sleep(work_s)
            note("end", run)
            return Ending(state=RunState.DONE, result={})

        schedule = Schedule(
            NightStore(database),
            [Job(name="nightly", cron="* * * * *", time_zone="UTC", work=work)],
            holder=holder,
            lease_s=lease_s,
            clock=lambda: datetime.fromtimestamp(began_s + (time.time() - began_s) * SPEED, UTC),
        )
        print(os.getpid(), flush=True)
        await schedule.run()


if __name__ == "__main__":
    _, url, diary, holder, *numbers = sys.argv
    asyncio.run(main(url, diary, holder, *map(float, numbers)))
