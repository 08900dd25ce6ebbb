"""The tests' own PostgreSQL leaves nothing behind, however the tests end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.postgres import VARIABLE, PostgresServer, binaries

PROGRAM = """
import sys, time
from tests.postgres import PostgresServer
with PostgresServer() as server:
    print(server.pid, server.socket_directory, flush=True)
    time.sleep(60)
"""


def _is_gone(pid: int, directory: str) -> bool:
    return not psutil.pid_exists(pid) and not Path(directory).exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_server_whose_tests_are_interrupted(how):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as tests:
        pid, directory = tests.stdout.readline().split()
        assert psutil.pid_exists(int(pid))
        tests.send_signal(how)
    ends_at = time.monotonic() + 20
    while not _is_gone(int(pid), directory) and time.monotonic() < ends_at:
        time.sleep(0.05)
    assert _is_gone(int(pid), directory)


def test_nothing_is_left_of_a_server_that_was_used():
    with PostgresServer() as server:
        name = server.fresh_database()
        server.execute("CREATE TABLE there (id INTEGER)", database=name)
        pid, directory = server.pid, server.socket_directory
        assert stat.S_ISDIR(os.stat(directory).st_mode)
    assert _is_gone(pid, directory)


@pytest.mark.parametrize("named", ["directory", "program"])
def test_another_server_can_be_named(monkeypatch, named):
    found = binaries()
    monkeypatch.setenv(VARIABLE, str(found if named == "directory" else found / "postgres"))
    assert binaries() == found
    monkeypatch.setenv(VARIABLE, "/nowhere")
    with pytest.raises(LookupError, match=VARIABLE):
        binaries()


async def test_databases_are_apart(postgres):
    def use() -> None:
        one, other = postgres.fresh_database(), postgres.fresh_database()
        for name in (one, other):
            postgres.execute("CREATE TABLE there (id INTEGER)", database=name)
            postgres.drop_database(name)

    await asyncio.to_thread(use)
