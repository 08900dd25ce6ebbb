"""kill -9 at any point: no row without its file, and after sync no file without a row and nothing half written."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import sys

from sqlalchemy import func, select

from core.storage import upkeep as upkeep_module
from core.storage.tables import CaptureRow, FrameRow, LabelRow, RecognitionRow
from tests.core.storage import killed
from tests.core.storage.killed import FRAMES

KILLS = 12


async def test_a_process_that_is_killed_again_and_again(url, database, frames, upkeep, tmp_path, monkeypatch):
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", killed.__name__, url, str(tmp_path / "frames"), stdin=pipe, stdout=pipe
    )
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    counts = []
    # On a busy machine the child gets little done before it is killed: it is given more lives then.
    while len(counts) < KILLS or counts[-1] <= KILLS:
        process.stdin.write(b"go\n")
        pid = int(await process.stdout.readline())
        await asyncio.sleep(chance.uniform(0.02, 0.6))
        os.kill(pid, signal.SIGKILL)
        assert int(await process.stdout.readline()) == signal.SIGKILL
        counts.append(await _look_whole(database, frames))
    process.stdin.close()
    assert await process.wait() == 0
    assert counts == sorted(counts)
    monkeypatch.setattr(upkeep_module, "_SWEEP_IDLE_S", 0.0)
    report = await upkeep.sync()
    print(report)
    assert (report.games, report.frames, report.captures) == (0, 0, 0)
    await _look_whole(database, frames)
    assert {frame.sha256 async for frame in frames.iterate()} == await _needed(database)
    assert not list((tmp_path / "frames").rglob(".*"))


async def _needed(database) -> set[str]:
    async with database.reading() as session:
        return set(await session.scalars(select(FrameRow.sha256).where(FrameRow.removed_at.is_(None))))


async def _look_whole(database, frames) -> int:
    """Every capture has all that belongs to it, and every file that a row needs is there whole; says how many."""
    needed = await _needed(database)
    for sha256 in needed:
        assert hashlib.sha256(await frames.get(sha256)).hexdigest() == sha256
    async with database.reading() as session:
        ids = set(await session.scalars(select(CaptureRow.id)))
        for table, each in ((FrameRow, FRAMES), (LabelRow, 1), (RecognitionRow, 1)):
            of_each = select(table.capture_id, func.count()).group_by(table.capture_id)
            found = {row.capture_id: row[1] for row in await session.execute(of_each)}
            assert found == dict.fromkeys(ids, each)
        keys = list(await session.scalars(select(CaptureRow.key)))
        assert len(set(keys)) == len(keys) == len(ids)
    return len(ids)
