"""Several replicas in processes of their own share one PostgreSQL, and one of them is killed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from core.storage.database import Database
from core.storage.nights import NightStore
from core.storage.records import RunState
from tests.postgres import PostgresServer

HERE = Path(__file__).parent
LEASE_S, WORK_S = 2.0, 0.6


@asynccontextmanager
async def replica(url: str, diary: Path, holder: str, began_s: float) -> AsyncIterator[asyncio.subprocess.Process]:
    numbers = (str(number) for number in (began_s, LEASE_S, WORK_S))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bot.replica",
        *(url, str(diary), holder, *numbers),
        stdout=asyncio.subprocess.PIPE,
        cwd=HERE.parents[1],
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def written(diary: Path) -> list[tuple[str, str, int, str]]:
    """What each replica did: begin or end, which due time, at which attempt, who."""
    lines = [line.split() for line in diary.read_text().splitlines()] if diary.exists() else []
    return [(what, due, int(attempt), holder) for what, due, attempt, holder in lines]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_each_due_run_happens_once_although_a_replica_is_killed_in_the_middle_of_one(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url, diary = postgres.url(postgres.fresh_database()), tmp_path / "diary"
    async with Database.at(url) as database, AsyncExitStack() as stack:
        await database.migrate()
        began_s = time.time()
        processes = {
            holder: await stack.enter_async_context(replica(url, diary, holder, began_s)) for holder in ("a", "b", "c")
        }
        await until(lambda: sum(what == "end" for what, *_ in written(diary)) >= 1)

        seen = len(written(diary))
        await until(lambda: len(written(diary)) > seen and written(diary)[-1][0] == "begin")
        _, killed_due, _, victim = written(diary)[-1]
        processes[victim].kill()
        await processes[victim].wait()

        def was_taken_over() -> bool:
            return any((what, due) == ("end", killed_due) for what, due, *_ in written(diary))

        await until(was_taken_over)
        ends = sum(what == "end" for what, *_ in written(diary))
        await until(lambda: sum(what == "end" for what, *_ in written(diary)) >= ends + 1)
        for holder, process in processes.items():
            if holder != victim:
                process.kill()
                await process.wait()
        rows = await NightStore(database).runs(limit=1000, job="nightly")

    done = [row for row in rows if row.state is RunState.DONE]
    ended = Counter(due for what, due, *_ in written(diary) if what == "end")
    assert set(ended.values()) == {1}
    assert {row.due_at.isoformat() for row in done} <= set(ended)
    ((attempt, holder),) = [(a, h) for what, due, a, h in written(diary) if (what, due) == ("end", killed_due)]
    assert attempt == 2
    assert holder != victim
    begun = Counter(due for what, due, *_ in written(diary) if what == "begin")
    assert {due for due, times in begun.items() if times > 1} == {killed_due}
