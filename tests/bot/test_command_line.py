"""What all verbs share: a process that is told to stop is gone when it said so."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

HANGS = """
import asyncio, time
from bot.command_line import log_to_stderr, run_or_exit, stop_signals

async def main():
    async with stop_signals(gone_within_s=GONE_WITHIN_S) as stop:
        hanging = asyncio.get_running_loop().run_in_executor(None, time.sleep, SLEEP_S)
        print("ready", flush=True)
        await stop.wait()
    print("finished", flush=True)

log_to_stderr(debug=False)
run_or_exit(main())
"""


async def stopped(*, gone_within_s: float, sleep_s: float) -> tuple[int, str, str]:
    """Exit status, what was said, and what was complained about."""
    program = HANGS.replace("GONE_WITHIN_S", str(gone_within_s)).replace("SLEEP_S", str(sleep_s))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        said, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode(), complaint.decode()


async def test_a_library_that_hangs_does_not_keep_a_process_that_is_told_to_stop() -> None:
    status, said, complaint = await stopped(gone_within_s=1.0, sleep_s=300.0)
    assert (status, said) == (1, "finished\n")
    assert complaint.rstrip().endswith("not all could be closed within 1.0 s of the signal; this process ends as it is")


async def test_a_process_that_ends_in_time_says_nothing_of_it() -> None:
    assert await stopped(gone_within_s=30.0, sleep_s=0.1) == (0, "finished\n", "")
