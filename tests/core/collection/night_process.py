"""A night in a process of its own, to be killed; test_night.py runs this file.

It prints a line for every stream that it has stored, and its summary as JSON at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from core.collection.collector import NightProgress, Phase
from tests.core.collection.stage import open_night, open_stores


class Prints:
    def __init__(self) -> None:
        self._streams: int | None = None

    def progressed(self, progress: NightProgress) -> None:
        if progress.phase is Phase.COLLECTING:
            # What earlier sittings stored is there from the start.
            for _ in range(progress.streams - (progress.streams if self._streams is None else self._streams)):
                print("stored", flush=True)
            self._streams = progress.streams


async def main(base_url: str, home: Path, holder: str) -> None:
    async with open_stores(home) as stores, open_night(stores, base_url, parallel=2) as night:
        run = await stores.run(holder=holder, lease_s=0.5)
        summary = await night(run, Prints())
        print(json.dumps(summary.to_json()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
