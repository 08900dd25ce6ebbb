"""A process that writes captures until it is killed; test_kill.py runs this file.

It imports what it needs once and forks: each line on standard input starts a new writer, whose number it prints.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from core.errors import StorageError
from core.games import Game
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.records import Broadcaster, BroadcastStream
from core.storage.upkeep import Upkeep
from tests.core.storage.samples import NOON, kept, nightly, picture, recognition

FRAMES = 4
WRITERS = 3


async def write(captures: CaptureStore, frames: FolderFrameStore, writer: int) -> None:
    """Add captures for ever, beginning with those that were added before the last kill."""
    number = 0
    while True:
        pictures = [picture(writer, number, one) for one in range(FRAMES - 1)]
        held = await kept(frames, *pictures, picture("shared", number % 2))
        try:
            await captures.add(
                nightly(
                    key=f"{writer}-{number}",
                    broadcaster=Broadcaster(login=f"channel{number % 5}", platform_id=f"{number % 5}"),
                    stream=BroadcastStream(platform_id=f"{number}"),
                    at=NOON + timedelta(minutes=number),
                    frames=held,
                    recognition=recognition(Game(id="doom", name="DOOM")),
                )
            )
        except StorageError as error:
            if "take it again" not in str(error):
                raise
        else:
            number += 1


async def clean(upkeep: Upkeep) -> None:
    """Remove pixels, as retention does, a little further each time."""
    number = 0
    while True:
        await upkeep.expire(asked_before=None, nightly_before=NOON + timedelta(minutes=number))
        await upkeep.sweep()
        number += 1


async def main(url: str, directory: str) -> None:
    async with Database.at(url) as database, asyncio.TaskGroup() as group:
        frames = FolderFrameStore(Path(directory))
        for writer in range(WRITERS):
            group.create_task(write(CaptureStore(database, frames), frames, writer))
        group.create_task(clean(Upkeep(database, frames)))


if __name__ == "__main__":
    import core.storage.upkeep

    # Whatever was put a moment ago may go at once: what is left of a race is seen then.
    core.storage.upkeep._IN_FLIGHT_S = 0.0
    for _line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(*sys.argv[1:]))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)
