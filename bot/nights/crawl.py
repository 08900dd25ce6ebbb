"""``python -m bot crawl``: collect now, with a report for the person who watches."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from bot.command_line import ConfigOption, DebugOption, log_to_stderr, run_or_exit, settings_or_exit, stop_signals
from bot.commands import wording
from core.collection.collector import Ended

if TYPE_CHECKING:
    from bot.settings import Settings


def crawl(
    *,
    games: Annotated[int | None, typer.Option(min=1, help="Games to sample, in place of the settings'.")] = None,
    streams: Annotated[int | None, typer.Option(min=1, help="Streams of each, in place of the settings'.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Go on, round after round, until this time of day.")
    ] = None,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Collect frames of live streams now; Enter or Ctrl-C ends it after the streams in hand.

    A crawl that was ended goes on when it is begun again the same night. Ends with 0, with 1 when it could not go on,
    and with 2 when a setting is wrong.
    """
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    try:
        ends_at = None if until is None else next_time_of_day(until, now=datetime.now().astimezone())
    except ValueError:
        print(wording.NOT_A_TIME.format(text=until), file=sys.stderr)
        raise typer.Exit(2) from None
    if not settings.twitch.has_credentials:
        print(wording.NO_CREDENTIALS, file=sys.stderr)
        raise typer.Exit(2)
    problem = run_or_exit(_crawl(settings, games=games, streams=streams, until=ends_at))
    if problem:
        print(problem, file=sys.stderr)
        raise typer.Exit(1)


def next_time_of_day(text: str, *, now: datetime) -> datetime:
    """The next moment, after ``now`` and in its time zone, at which a clock shows HH:MM.

    Raises:
        ValueError: the text is no time of day.
    """
    wanted = time.fromisoformat(text)
    if wanted.tzinfo is not None or len(text) != len("HH:MM"):
        raise ValueError(text)
    # Taken without its zone, so that the clock's being changed tonight does not move it.
    today = datetime.combine(now.date(), wanted)
    found = today.astimezone()
    return found if found > now else (today + timedelta(days=1)).astimezone()


async def _crawl(settings: Settings, *, games: int | None, streams: int | None, until: datetime | None) -> str:
    """Collect, one round or until a time; what kept it from going on, in one sentence, or nothing."""
    # Imported here, so that --help and a mistake in the settings are answered at once.
    from rich.console import Console  # noqa: PLC0415

    from bot.app import open_directory, open_looking, open_nightly, open_storage  # noqa: PLC0415
    from bot.claims import new_holder  # noqa: PLC0415
    from bot.nights.report import NightReport, closing_lines  # noqa: PLC0415

    console = Console()
    async with contextlib.AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_signals())
        storage = await stack.enter_async_context(open_storage(settings))
        looking = await stack.enter_async_context(open_looking(settings, many_looks=True))
        directory = await stack.enter_async_context(open_directory(settings))
        nightly = await stack.enter_async_context(
            open_nightly(settings, storage, looking, directory, holder=new_holder())
        )
        _stop_on_enter(stop)
        while True:
            with NightReport(console) as report:
                summary = await nightly.by_hand(games=games, streams=streams, stop=stop, until=until, listener=report)
            for line in closing_lines(summary):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            if summary.problem:
                return summary.problem
            # Round after round only as long as one brings something: the live streams of an hour are soon all known.
            if until is None or summary.ended is not Ended.COMPLETE or not summary.streams:
                return ""


def _stop_on_enter(stop: asyncio.Event) -> None:
    """End in order when somebody at the terminal presses Enter."""
    if not sys.stdin.isatty():
        return
    loop = asyncio.get_running_loop()

    def wait_for_enter() -> None:
        with contextlib.suppress(RuntimeError, ValueError):  # loop or file is closed: it is over
            if sys.stdin.readline():
                loop.call_soon_threadsafe(stop.set)

    # A daemon, because a thread that waits for a line can be neither cancelled nor joined.
    threading.Thread(target=wait_for_enter, name="enter", daemon=True).start()
