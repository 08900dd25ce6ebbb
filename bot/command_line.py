"""What all verbs of the command line share: options, settings or an exit, one sentence for a person or an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.settings import read_settings
from core.errors import GameSpotterError, SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from types import FrameType

    from bot.settings import Settings

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; bot.toml of the working directory when it is there."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log everything to standard error.")]


def settings_or_exit(config: Path | None) -> Settings:
    """Read the settings; each mistake is a line on standard error, and the exit status 2."""
    try:
        return read_settings(config)
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from None


def run_or_exit(main: Coroutine[None, None, _Result]) -> _Result:
    """Run to the end; what goes wrong is one line on standard error, and the exit status 1."""
    try:
        return asyncio.run(main)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            log.exception("%s", type(error).__name__)
        print(expected or "GameSpotter stopped because of a mistake of its own; --debug shows where.", file=sys.stderr)
    raise typer.Exit(1)


def _expected(error: BaseException) -> GameSpotterError | None:
    """What we raised on purpose, also out of a group where it is all that went wrong."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, GameSpotterError) else None


@asynccontextmanager
async def stop_signals(*, gone_within_s: float | None = None) -> AsyncIterator[asyncio.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that what is in hand is finished; the second ends at once.

    Args:
        gone_within_s: after the first one the process is ended, come what may: a library's thread that waits for a
            name server, or a database that hangs, may keep it from ending by itself. None for no such limit.
    """
    stop = asyncio.Event()
    task = asyncio.current_task()
    signals = 0

    def heard(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        # By way of the loop, which would not wake up otherwise.
        loop.call_soon_threadsafe(begin if signals == 1 else end)

    def begin() -> None:
        stop.set()
        if gone_within_s is not None:
            # In a thread, as the loop may be closed by then while the interpreter waits for its other threads.
            timer = threading.Timer(gone_within_s, _end_process, [gone_within_s])
            timer.daemon = True
            timer.start()

    def end() -> None:
        if task is not None:
            task.cancel()

    loop = asyncio.get_running_loop()
    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_process(after_s: float) -> None:
    log.error("not all could be closed within %.1f s of the signal; this process ends as it is", after_s)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@asynccontextmanager
async def hang_ups() -> AsyncIterator[asyncio.Event]:
    """An event that every SIGHUP sets, where there is such a signal; it is the reader's to clear."""
    told = asyncio.Event()
    number = getattr(signal, "SIGHUP", None)
    if number is None:
        yield told
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(number, lambda *_: loop.call_soon_threadsafe(told.set))
    try:
        yield told
    finally:
        signal.signal(number, before)


def log_to_stderr(*, debug: bool, level: int = logging.ERROR) -> None:
    """Log for a person at a terminal.

    Args:
        debug: everything, of the libraries too, with tracebacks.
        level: otherwise, of what is ours; of the libraries only errors.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s %(name)s: %(message)s", traceback=debug))
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, handlers=[handler])
    if not debug:
        for package in ("bot", "core"):
            logging.getLogger(package).setLevel(level)


class _OneLine(logging.Formatter):
    """A person at a terminal reads one line; the traceback comes with ``--debug``."""

    def __init__(self, fmt: str, *, traceback: bool) -> None:
        super().__init__(fmt)
        self._traceback = traceback

    def format(self, record: logging.LogRecord) -> str:
        """Format, with or without the traceback."""
        if not self._traceback:
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        return super().format(record)
