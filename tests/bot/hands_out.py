"""Hands out the picks of a run, as a process that a test can kill: ``python -m tests.bot.hands_out URL RUN_ID``."""

from __future__ import annotations

import asyncio
import sys

from bot.nights.shared_queue import open_queue
from core.collection.gathering import Gathered
from core.collection.handing_out import Coordinator
from core.storage.database import Database
from core.storage.nights import NightStore


async def hand_out(url: str, run_id: int) -> None:
    async with Database.at(url) as database, open_queue(url) as queue:
        await Coordinator(queue, NightStore(database), look_s=0.2).collect(run_id, plan=nothing_to_plan)


async def nothing_to_plan() -> Gathered:
    raise AssertionError("the run has picks")


if __name__ == "__main__":
    asyncio.run(hand_out(sys.argv[1], int(sys.argv[2])))
