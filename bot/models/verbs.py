"""The operator's verbs for models: ``models list|report|use|rollback|try|drop|add``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.command_line import ConfigOption, DebugOption, log_to_stderr, run_or_exit, settings_or_exit
from bot.commands import wording
from bot.models.news import MODELS_CHANGED
from core.errors import ArtifactError, StorageError
from core.recognition.registry import Means, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.models.promotion import ModelsReport, VersionFigures
    from bot.settings import Settings
    from core.recognition.registry import Pointer, Term
    from core.storage.records import Json

models = typer.Typer(help="Which model answers, and which is tried beside it.", no_args_is_help=True)

VersionArgument = Annotated[str, typer.Argument(help="As `models list` shows it.")]
DirectoryArgument = Annotated[Path, typer.Argument(help="A model's directory.")]


@models.command(name="list")
def list_(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """List the registry's models: which is current since when, which is tried, and what rollback goes back to."""
    log_to_stderr(debug=debug)
    registry = _registry_or_exit(settings_or_exit(config))
    versions, pointer, challenger = run_or_exit(_listed(registry))
    if as_json:
        print(json.dumps(registry_to_json(versions, pointer, challenger), ensure_ascii=False, indent=2))
    else:
        _print_models(versions, pointer, challenger)


@models.command()
def use(
    version: VersionArgument,
    *,
    insist: Annotated[
        bool, typer.Option("--insist", help="Also if it is slower, knows fewer games, or errs on more golden frames.")
    ] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Make a version current; bots that run take it over within seconds, if it is fit."""
    means = Means.INSISTED if insist else Means.CHOSEN
    _change(config, lambda registry: _current(registry.use(version, means=means)), debug=debug)


@models.command()
def rollback(*, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Make the version current that was so before."""
    _change(config, lambda registry: _current(registry.rollback()), debug=debug)


@models.command(name="try")
def try_(version: VersionArgument, *, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Try a version beside the current one: it answers a share of the asks silently, and is promoted or dropped."""
    _change(config, lambda registry: wording.model_challenges(registry.challenge(version).version), debug=debug)


@models.command()
def drop(*, config: ConfigOption = None, debug: DebugOption = False) -> None:
    """Try no version any longer."""
    _change(config, _drop, debug=debug)


@models.command()
def add(
    model: DirectoryArgument,
    *,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Bring a model's directory into the registry, without its answering."""
    _change(config, lambda registry: wording.model_added(registry.add(model).manifest.version), debug=debug)


@models.command()
def report(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Tell how the current model does, and the one that is tried beside it, by what all bots wrote down."""
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    registry_ = _registry_or_exit(settings)
    found = run_or_exit(_report(settings, registry_))
    if as_json:
        print(json.dumps(report_to_json(found), ensure_ascii=False, indent=2))
    else:
        _print_report(found)


def report_to_json(found: ModelsReport) -> dict[str, Json]:
    """How models do, with the same keys whatever there is; times in milliseconds, shares from 0 to 1."""
    pair, judgement = found.pair, found.judgement
    return {
        "current": _figures_to_json(found.current),
        "before": _figures_to_json(found.before),
        "on_probation": found.is_on_probation,
        "alarm": found.alarm,
        "challenger": _figures_to_json(pair.challenger if pair is not None else None),
        "champion": _figures_to_json(pair.champion if pair is not None else None),
        "looks_of_both": pair.looks if pair is not None else 0,
        "agreed": pair.agreed if pair is not None else 0,
        "put_right": pair.put_right if pair is not None else 0,
        "outcome": judgement.outcome.value if judgement is not None else None,
        "why": judgement.why if judgement is not None else None,
    }


def _figures_to_json(figures: VersionFigures | None) -> Json:
    if figures is None:
        return None
    return {
        "version": figures.version,
        "looks": figures.looks,
        "failed": figures.failed,
        "unknown": figures.unknown,
        "confidence": round(figures.confidence, 4),
        "frame_ms": round(figures.frame_ms, 3),
        "slow_frame_ms": round(figures.slow_frame_ms, 3),
        "called_wrong": figures.wrong,
        "called_right": figures.right,
        "flag_rate": round(figures.flag_rate, 6),
    }


async def _report(settings: Settings, registry: Registry) -> ModelsReport:
    from bot.models.canary import Judge  # noqa: PLC0415 - takes its time
    from core.storage.database import Database  # noqa: PLC0415
    from core.storage.models import ModelStore  # noqa: PLC0415

    async with Database.at(settings.database_url) as database:
        await database.prepare()
        return await Judge(registry, ModelStore(database), settings.canary.rules).report()


def _print_report(found: ModelsReport) -> None:
    if found.pointer is None:
        print(wording.NO_MODELS)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("Version", no_wrap=True)
    table.add_column("")
    for heading in ("Looks", "Failed", "Unknown", "Sure", "ms a frame", "95 % below", "Called wrong", "right"):
        table.add_column(heading, justify="right")
    rows = [("current", found.current), ("before", found.before)]
    if found.pair is not None:
        rows += [("tried", found.pair.challenger), ("beside", found.pair.champion)]
    for what, figures in rows:
        if figures is None:
            continue
        numbers = [str(number) for number in (figures.looks, figures.failed, figures.unknown)]
        numbers += [f"{figures.confidence:.0%}", f"{figures.frame_ms:.1f}", f"{figures.slow_frame_ms:.1f}"]
        numbers += [str(figures.wrong), str(figures.right)]
        table.add_row(escape(figures.version), what, *numbers)
    Console().print(table)
    for line in wording.models_judged(found):
        print(line)


def registry_to_json(versions: tuple[str, ...], pointer: Pointer | None, challenger: Term | None) -> dict[str, Json]:
    """All of a registry, with the same keys whatever there is."""
    return {
        "versions": list(versions),
        "current": _term_to_json(pointer.current) if pointer is not None else None,
        "before": [_term_to_json(term) for term in reversed(pointer.before)] if pointer is not None else [],
        "challenger": _term_to_json(challenger) if challenger is not None else None,
    }


def _term_to_json(term: Term) -> Json:
    return {"version": term.version, "since": term.since.isoformat(), "means": term.means.value}


def _registry_or_exit(settings: Settings) -> Registry:
    if settings.model.registry is None:
        print(wording.NO_REGISTRY, file=sys.stderr)
        raise typer.Exit(2)
    return Registry(settings.model.registry)


async def _listed(registry: Registry) -> tuple[tuple[str, ...], Pointer | None, Term | None]:
    def read() -> tuple[tuple[str, ...], Pointer | None, Term | None]:
        return registry.versions(), registry.pointer(), registry.challenger()

    return await asyncio.to_thread(read)


def _change(config: Path | None, change: Callable[[Registry], str], *, debug: bool) -> None:
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    registry = _registry_or_exit(settings)
    print(run_or_exit(_changed(settings, registry, change)))


async def _changed(settings: Settings, registry: Registry, change: Callable[[Registry], str]) -> str:
    said = await asyncio.to_thread(change, registry)
    await _wake_bots(settings)
    return said


async def _wake_bots(settings: Settings) -> None:
    """Bots on PostgreSQL look at once; all others, and those that are not reached, when they next look anyway."""
    from core.storage.database import Database  # noqa: PLC0415 - takes its time

    try:
        async with Database.at(settings.database_url) as database:
            await database.tell(MODELS_CHANGED)
    except StorageError as error:
        print(wording.bots_look_later(str(error), poll_s=settings.model.poll_s), file=sys.stderr)


def _current(pointer: Pointer) -> str:
    return wording.model_is_current(pointer.current.version)


def _drop(registry: Registry) -> str:
    challenger = registry.challenger()
    if challenger is None:
        raise ArtifactError(f"In the registry {registry.directory}, no version is tried.")
    registry.end_challenge(challenger.version)
    return wording.model_is_dropped(challenger.version)


def _print_models(versions: tuple[str, ...], pointer: Pointer | None, challenger: Term | None) -> None:
    if not versions:
        print(wording.NO_MODELS)
        return
    back = pointer.before[-1].version if pointer is not None and pointer.before else None
    table = Table(box=None, pad_edge=False)
    for heading in ("Version", "", "Since (UTC)"):
        table.add_column(heading)
    for version in versions:
        term, what = None, ""
        if pointer is not None and version == pointer.current.version:
            term, what = pointer.current, f"current ({pointer.current.means.value.replace('_', ' ')})"
        elif challenger is not None and version == challenger.version:
            term, what = challenger, "tried"
        elif version == back:
            what = "rollback goes here"
        table.add_row(escape(version), what, f"{term.since:%Y-%m-%d %H:%M}" if term is not None else "")
    Console().print(table)
