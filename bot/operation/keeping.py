"""The keeper's verbs for what is collected: ``data info|sync|forget|audit``, ``db migrate``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.command_line import ConfigOption, DebugOption, log_to_stderr, run_or_exit, settings_or_exit
from bot.commands import wording
from core.errors import BadReference
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from bot.settings import Settings
    from core.storage.records import AuditEntry, DataSetSummary, Forgotten, GameCount, Json, Migration, SyncReport

data = typer.Typer(help="What was collected: look at it, mend it, forget a broadcaster.", no_args_is_help=True)
db = typer.Typer(help="The database.", no_args_is_help=True)


@data.command()
def info(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Say how many frames there are of which game."""
    log_to_stderr(debug=debug)
    summary = run_or_exit(_summary(settings_or_exit(config)))
    if as_json:
        print(json.dumps(summary_to_json(summary), ensure_ascii=False, indent=2))
    else:
        _print_summary(summary, Console())


@data.command()
def sync(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    even_if_empty: Annotated[
        bool, typer.Option("--even-if-empty", help="Go on although every file is gone: delete the rows, too.")
    ] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Bring rows and files together: delete rows whose file is gone, and files that no row names."""
    log_to_stderr(debug=debug)
    report = run_or_exit(_sync(settings_or_exit(config), dry_run=dry_run, even_if_empty=even_if_empty))
    print(wording.synced(report, dry_run=dry_run))


@data.command()
def forget(
    broadcaster: Annotated[str, typer.Argument(help="The channel's name or address.")],
    *,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Opt a broadcaster out: delete every row and file of the channel, and never sample it again."""
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    try:
        login = parse_reference(broadcaster, url_template=settings.streams.url).channel
    except BadReference as error:
        print(wording.bad_reference(error.fault, error.text, prefix=""), file=sys.stderr)
        raise typer.Exit(2) from None
    print(wording.forgotten(login, run_or_exit(_forget(settings, login))))


@data.command()
def audit(
    channel: Annotated[str | None, typer.Argument(help="A channel's name; without one, all.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="So many at most, the latest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Say who did what in the chats: flags, what became of them, watches, opting out."""
    log_to_stderr(debug=debug)
    entries = run_or_exit(_audit(settings_or_exit(config), channel, limit=limit))
    if as_json:
        print(json.dumps([_entry_to_json(entry) for entry in entries], ensure_ascii=False, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("when (UTC)", "where", "who", "what", "channel", "more"):
        table.add_column(heading)
    for entry in entries:
        more = json.dumps(entry.detail, ensure_ascii=False) if entry.detail is not None else ""
        cells = (f"{entry.at:%Y-%m-%d %H:%M:%S}", f"{entry.platform}:{entry.place}", entry.by_name or entry.by)
        table.add_row(*(escape(cell) for cell in (*cells, entry.action, entry.subject, more)))
    Console().print(table)


@db.command()
def migrate(*, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Bring the database to the tables that this version works with."""
    log_to_stderr(debug=debug)
    print(wording.migrated(run_or_exit(_migrate(settings_or_exit(config)))))


async def _summary(settings: Settings) -> DataSetSummary:
    from bot.app import open_storage  # noqa: PLC0415 - --help and a mistake in the settings are answered at once

    async with open_storage(settings) as storage:
        return await storage.captures.summary()


async def _audit(settings: Settings, channel: str | None, *, limit: int) -> tuple[AuditEntry, ...]:
    from bot.app import open_storage  # noqa: PLC0415

    async with open_storage(settings) as storage:
        return await storage.audit.read(limit=limit, subject=channel)


def _entry_to_json(entry: AuditEntry) -> dict[str, Json]:
    return {
        "at": entry.at.isoformat(),
        "platform": entry.platform,
        "place": entry.place,
        "by": entry.by,
        "by_name": entry.by_name,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
    }


async def _sync(settings: Settings, *, dry_run: bool, even_if_empty: bool) -> SyncReport:
    from bot.app import open_storage  # noqa: PLC0415

    async with open_storage(settings) as storage:
        return await storage.upkeep.sync(dry_run=dry_run, even_if_empty=even_if_empty)


async def _forget(settings: Settings, login: str) -> Forgotten:
    from bot.app import open_storage  # noqa: PLC0415
    from core.storage.records import Broadcaster  # noqa: PLC0415

    async with open_storage(settings) as storage:
        return await storage.upkeep.forget(Broadcaster(login=login), by="keeper", at=datetime.now(UTC))


async def _migrate(settings: Settings) -> Migration:
    from bot.nights.shared_queue import prepare_queue  # noqa: PLC0415
    from core.storage.database import Database  # noqa: PLC0415

    async with Database.at(settings.database_url) as database:
        migration = await database.migrate()
    await prepare_queue(settings.database_url)
    return migration


def summary_to_json(summary: DataSetSummary) -> dict[str, Json]:
    """All of ``data info`` for a program; the same keys whatever there is."""

    def count(game: GameCount | None) -> Json:
        if game is None:
            return None
        return {
            "id": game.game.id,
            "name": game.game.name,
            "category_id": game.category_id,
            "is_game": game.is_game,
            "frames": game.frames,
            "streams": game.streams,
            "broadcasters": game.broadcasters,
            "bytes": game.size_bytes,
        }

    return {
        "games": [count(game) for game in summary.games],
        "smallest": count(summary.smallest),
        "largest": count(summary.largest),
        "captures": summary.captures,
        "frames": summary.frames,
        "nightly_frames": summary.nightly_frames,
        "asked_frames": summary.asked_frames,
        "imported_frames": summary.imported_frames,
        "streams": summary.streams,
        "broadcasters": summary.broadcasters,
        "bytes": summary.size_bytes,
        "oldest_at": summary.oldest_at.isoformat() if summary.oldest_at else None,
        "newest_at": summary.newest_at.isoformat() if summary.newest_at else None,
    }


def _print_summary(summary: DataSetSummary, console: Console) -> None:
    table = Table("game", "id", title_justify="left", box=None, pad_edge=False)
    for column in ("frames", "streams", "broadcasters", "size"):
        table.add_column(column, justify="right")
    # A game that only a model has named, and of which nothing was ever seen, is not one of the data set.
    games = [game for game in summary.games if game.frames or game.category_id is not None]
    for game in games:
        table.add_row(
            escape(game.game.name if game.is_game is not False else f"{game.game.name} (not a game)"),
            game.category_id or game.game.id,
            f"{game.frames:,}",
            f"{game.streams:,}",
            f"{game.broadcasters:,}",
            wording.size(game.size_bytes),
        )
    if games:
        console.print(table)
        console.print()
    for line in wording.data_set(summary):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
