"""Processes of a benchmark, spoken to in lines; each ends when its input does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_ENDING_S = 60.0


@contextlib.contextmanager
def child(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script of this folder, until the block ends; it may import the tests' PostgreSQL."""
    command = [sys.executable, str(_HERE / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_HERE.parent)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
            process.communicate(timeout=_ENDING_S)
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that it says.

    Raises:
        SystemExit: it has ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"A child process ended with {process.wait()}.")
    return line.rstrip("\n")


def say(process: subprocess.Popen[str], word: str) -> None:
    """Say a line to it."""
    if process.stdin is None:
        raise AssertionError("it was asked for")
    process.stdin.write(word + "\n")
    process.stdin.flush()


def note(text: str) -> None:
    """Tell whoever waits for the benchmark how far it has come."""
    print(text, file=sys.stderr, flush=True)
