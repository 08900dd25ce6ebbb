"""The command line: arguments to settings to the app. A start-up error is one line and an exit code."""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from bot.authorise import authorise
from bot.command_line import (
    ConfigOption,
    DebugOption,
    hang_ups,
    log_to_stderr,
    run_or_exit,
    settings_or_exit,
    stop_signals,
)
from bot.commands import wording
from bot.commands.answer import Answer, Status, to_json
from bot.commands.request import Identify, Reply, Request
from bot.models.verbs import models
from bot.nights.crawl import crawl
from bot.nights.worker import worker
from bot.operation import logs
from bot.operation.doctor import doctor
from bot.operation.health import health
from bot.operation.keeping import data, db
from bot.operation.rereading import Rereading
from bot.settings import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from bot.settings import Settings

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

app = typer.Typer(
    help="GameSpotter tells which game a live stream is really showing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(data, name="data")
app.add_typer(db, name="db")
app.add_typer(models, name="models")
app.command()(authorise)
app.command()(crawl)
app.command()(doctor)
app.command()(health)
app.command()(worker)


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
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    reply = run_or_exit(_ask(settings, Identify(channel=channel, verbose=verbose)))
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
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    run_or_exit(_console(settings))


@app.command()
def run(*, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Stay: answer in the chats that are set up, and do what is due by the clock.

    Says at the start what is on, and what is missing for the rest. Ends with 1 when a chat does not accept us.
    """
    settings = settings_or_exit(config)
    logs.set_up(form=settings.log.format, level=settings.log.level, secrets=logs.secrets_in(settings), debug=debug)
    discord, twitch = settings.discord, settings.twitch
    for line in wording.what_is_on(
        discord=wording.missing_for_discord(has_token=discord.has_token) if discord.chat else "",
        twitch=wording.missing_for_twitch(has_credentials=twitch.has_credentials, has_key=twitch.has_token_key)
        if twitch.chat
        else "",
        collects=settings.collection.enabled,
        has_credentials=twitch.has_credentials,
        cron=settings.collection.cron,
        time_zone=settings.collection.time_zone,
        http=f"{settings.web.host}:{settings.web.port}" if settings.web.enabled else None,
        has_http_token=bool(settings.web.tokens),
    ):
        print(line, flush=True)
    run_or_exit(_run(settings, config))


async def _run(settings: Settings, config: Path | None) -> None:
    from bot.serving import GONE_WITHIN_S, serve  # noqa: PLC0415

    async with stop_signals(gone_within_s=GONE_WITHIN_S) as stop, hang_ups() as told:
        rereading = Rereading(settings, read=partial(read_settings, config), told=told)
        await serve(settings, stop=stop, rereading=rereading)


async def _ask(settings: Settings, identify: Identify) -> Reply:
    # Imported here, so that --help and a mistake in the settings are answered at once.
    from bot.app import open_directory, open_looking, open_service  # noqa: PLC0415

    async with (
        open_directory(settings) as directory,
        open_looking(settings, many_looks=False) as looking,
        open_service(settings, looking, directory=directory) as service,
    ):
        return await service.handle(Request(command=identify))


async def _console(settings: Settings) -> None:
    from bot.app import open_directory, open_looking, open_service, open_storage  # noqa: PLC0415
    from bot.chat.console import ConsoleChat  # noqa: PLC0415

    async with (
        open_storage(settings, at_once=False) as storage,
        open_directory(settings) as directory,
        open_looking(settings, many_looks=True) as looking,
        open_service(settings, looking, storage=storage, directory=directory) as service,
    ):
        await ConsoleChat(words=settings.commands.words).run(service.handle)


def main() -> None:
    """What ``gamespotter`` and ``python -m bot`` run."""
    with contextlib.suppress(BrokenPipeError):
        app()


if __name__ == "__main__":
    main()
