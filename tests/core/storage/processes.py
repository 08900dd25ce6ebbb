"""Several processes that do the same thing at the same moment."""

from __future__ import annotations

import asyncio
import sys
import textwrap

_BEFORE = """
import asyncio, os, sys
from sqlalchemy import insert
from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.tables import GameRow
from tests.core.storage.samples import NOON

def together():
    print("ready", flush=True)
    sys.stdin.readline()

async def main(number):
    async with Database.at(sys.argv[1]) as database:
"""
_AFTER = "\nasyncio.run(main(int(sys.argv[2])))\n"


async def at_once(body: str, url: str, *, processes: int = 4) -> list[str]:
    """Run a body that has ``database`` and ``number`` in several processes; all go on together at ``together()``.

    Returns:
        What each printed after that. One that fails fails the test.
    """
    program = _BEFORE + textwrap.indent(textwrap.dedent(body), " " * 8) + _AFTER
    pipe = asyncio.subprocess.PIPE
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, str(number), stdin=pipe, stdout=pipe, stderr=pipe
        )
        for number in range(processes)
    ]
    for process in running:
        assert await process.stdout.readline() == b"ready\n", (await process.stderr.read()).decode()
    said = await asyncio.gather(*(process.communicate(b"go\n") for process in running))
    for process, (_, errors) in zip(running, said, strict=True):
        assert process.returncode == 0, errors.decode()
    return [out.decode().strip() for out, _ in said]
