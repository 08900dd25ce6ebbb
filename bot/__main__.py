"""The command line: arguments to settings to the app. A start-up error is one line and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.commands.answer import Answer, Status, to_json
from bot.commands.request import Identify, Reply, Request
from bot.settings import Settings, read_settings
from core.errors import ArtifactError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

EXIT_CODES = {
    Status.ANSWERED: 0,
    Status.BAD_INPUT: 2,
    Status.OFFLINE: 3,
    Status.ADVERTS: 3,
    Status.BLACK: 3,
    Status.RESTRICTED: 3,
    Status.LEFT_ALONE: 3,
    Status.NOT_FOUND: 4,
}
"""Exit status of ``ask``; whatever is not listed ends with 1."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file; bot.toml of the working directory when it is there."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log everything to standard error.")]

app = typer.Typer(
    help="GameSpotter tells which game a live stream is really showing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def ask(
    channel: Annotated[str, typer.Argument(help="A channel's name or address.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say what every frame looks like.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Ask once which game a channel shows.

    Ends with 0 for an answer, 2 for bad input, 3 when the channel is offline, shows only adverts or is restricted,
    4 when there is no such channel, and 1 otherwise.
    """
    _log_to_stderr(debug=debug)
    settings = _settings_or_exit(config)
    reply = _run_or_exit(_ask(settings, Identify(channel=channel, verbose=verbose)))
    answer = reply.answer or Answer(channel=channel, status=Status.FAILED)
    if as_json:
        print(json.dumps(to_json(answer), ensure_ascii=False, indent=2))
    elif answer.status is Status.ANSWERED:
        print(reply.text)
    if answer.status is not Status.ANSWERED:
        print(reply.text, file=sys.stderr)
    raise typer.Exit(EXIT_CODES.get(answer.status, 1))


@app.command()
def console(*, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Open the terminal as a chat; needs no account."""
    _log_to_stderr(debug=debug)
    settings = _settings_or_exit(config)
    _run_or_exit(_console(settings))


async def _ask(settings: Settings, identify: Identify) -> Reply:
    # Imported here, so that --help and a mistake in the settings are answered at once.
    from bot.app import open_service  # noqa: PLC0415

    async with open_service(settings, many_asks=False) as service:
        return await service.handle(Request(command=identify))


async def _console(settings: Settings) -> None:
    from bot.app import open_service  # noqa: PLC0415
    from bot.chat.console import ConsoleChat  # noqa: PLC0415

    async with open_service(settings, many_asks=True) as service:
        await ConsoleChat(prefix=settings.commands.prefix).run(service.handle)


def _settings_or_exit(config: Path | None) -> Settings:
    try:
        return read_settings(config)
    except SettingsError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        raise typer.Exit(2) from None


def _run_or_exit(main: Coroutine[None, None, _Result]) -> _Result:
    try:
        return asyncio.run(main)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ArtifactError as error:
        print(error, file=sys.stderr)
    except Exception as error:
        log.exception("%s", type(error).__name__)
        print("GameSpotter stopped because of a mistake of its own; --debug shows where.", file=sys.stderr)
    raise typer.Exit(1)


def _log_to_stderr(*, debug: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s %(name)s: %(message)s", traceback=debug))
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, handlers=[handler])


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


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        app()
