"""The verb `check`: can this be trained on? A directory or the store, looked through whole, as one report.

Every picture is opened. What cannot be read is listed and, on request, moved into a quarantine folder; nothing is ever
deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.errors import DataSetError
from core.quiet import quiet_native_stderr
from training.data.division import DivisionRule
from training.data.folders import divided_streams, survey
from training.data.manifest import frame_path
from training.data.pictures import read_picture
from training.data.split import Part
from training.data.store import opened
from training.export import divided, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from core.storage.labelled import Labelled
    from core.storage.records import Json
    from training.data.folders import Tree, TreePicture

_READERS = 2
"""Decoding takes a whole core each."""

_NAMED = 5
"""How many of a long list a sentence names."""


class Fault(StrEnum):
    """What keeps a data set from being trained on."""

    NO_CLASS = "no_class"
    ONE_CLASS = "one_class"
    PART_MISSING = "part_missing"
    CLASSES_DIFFER = "classes_differ"
    CLASS_IN_ONE_PART = "class_in_one_part"
    TOO_FEW_FRAMES = "too_few_frames"
    TOO_FEW_BROADCASTERS = "too_few_broadcasters"
    TRAINING_TOO_SMALL = "training_too_small"
    STREAM_IN_TWO_PARTS = "stream_in_two_parts"
    UNREADABLE = "unreadable"
    FILES_GONE = "files_gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimum:
    """The least that is wanted.

    Attributes:
        frames: of each game.
        broadcasters: of each game; 0 also accepts pictures that do not tell whose they are.
        training_frames: of all games, in the training part.
    """

    frames: int = 20
    broadcasters: int = 3
    training_frames: int = 33


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that keeps the data set from being trained on, in one sentence."""

    fault: Fault
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GameFound:
    """What there is of a game, readable.

    Attributes:
        game: the name of its folder, or its id.
        frames: in each part; in None where there are no parts.
        broadcasters: that are known, or streams where their broadcasters are not.
        nobodys: pictures that do not tell whose they are.
    """

    game: str
    frames: Mapping[Part | None, int]
    broadcasters: int
    nobodys: int = 0

    @property
    def all_frames(self) -> int:
        """Of all parts."""
        return sum(self.frames.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A file that holds no readable picture.

    Attributes:
        path: where it was found.
        why: what is wrong with it.
        moved_to: where it is now; None where it was left.
    """

    path: Path
    why: str
    moved_to: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What was found.

    Attributes:
        checked: what was looked through.
        parts: that it is divided into; none where it is not.
        games: in the order of their names.
        unreadable: files.
        findings: what keeps it from being trained on.
    """

    checked: str
    parts: tuple[Part, ...]
    games: tuple[GameFound, ...]
    unreadable: tuple[Unreadable, ...]
    findings: tuple[Finding, ...]

    @property
    def is_fit(self) -> bool:
        """Whether it can be trained on."""
        return not self.findings


def check(
    directory: Path | None,
    *,
    database: str,
    frames: Path,
    minimum: Minimum,
    quarantine: Path | None,
    as_json: bool = False,
) -> CheckReport:
    """Look through a directory, or through the store where none is named, and print what was found.

    Raises:
        DataSetError: there is nothing to look through, or a file cannot be moved into the quarantine.
        StorageError: the store cannot be used.
    """
    console = Console(stderr=as_json)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("opening pictures", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = (
            check_directory(directory, minimum=minimum, quarantine=quarantine, progress=tell)
            if directory is not None
            else check_store(database=database, frames=frames, minimum=minimum, quarantine=quarantine, progress=tell)
        )
    if as_json:
        Console().print_json(data=as_figures(report))
    else:
        print_report(report, console)
    return report


def check_directory(
    directory: Path, *, minimum: Minimum, quarantine: Path | None, progress: Callable[[int, int], None]
) -> CheckReport:
    """Look through a tree of folders.

    Raises:
        DataSetError: there is none, or a file cannot be moved into the quarantine.
    """
    tree = survey(directory)
    if quarantine is not None and quarantine.resolve().is_relative_to(directory.resolve()):
        raise DataSetError(f"The quarantine {quarantine} must lie outside of {directory}.")
    unreadable = _unreadable([picture.path for picture in tree.pictures], _fault_of_picture, progress)
    bad = {one.path for one in unreadable}
    readable = [picture for picture in tree.pictures if picture.path not in bad]
    games = _games_of_tree(tree, readable)
    found = [*_of_parts(tree, games, minimum), *_of_games(games, minimum)]
    straddling = divided_streams(tree)
    if straddling:
        found.append(
            Finding(
                fault=Fault.STREAM_IN_TWO_PARTS, sentence=f"In more than one part lie the streams {_some(straddling)}."
            )
        )
    return _report(
        str(directory),
        parts=tree.parts,
        games=games,
        unreadable=_quarantined(unreadable, root=directory, quarantine=quarantine),
        findings=found,
    )


def check_store(
    *,
    database: str,
    frames: Path,
    minimum: Minimum,
    quarantine: Path | None,
    progress: Callable[[int, int], None],
) -> CheckReport:
    """Look through what `export` would take, divided as `export` would divide it.

    Raises:
        StorageError: the store cannot be used.
        DataSetError: there are no frames, or a file cannot be moved into the quarantine.
    """
    labelled, gone = asyncio.run(_labelled(database=database, frames=frames))
    sha256s = {frame.sha256 for capture in labelled.captures for frame in capture.frames if frame.has_pixels} - gone
    unreadable = _unreadable([frame_path(frames, sha256) for sha256 in sorted(sha256s)], _fault_of_frame, progress)
    found = usable(labelled, missing=gone | {one.path.stem for one in unreadable})
    games: list[GameFound] = []
    findings: list[Finding] = []
    if found.captures:
        counts: dict[str, Counter[Part | None]] = defaultdict(Counter)
        broadcasters: dict[str, set[str]] = defaultdict(set)
        for capture in divided(found, DivisionRule()).captures:
            counts[capture.game][capture.part] += len(capture.frames)
            broadcasters[capture.game].add(capture.broadcaster)
        games = [
            GameFound(game=game, frames=counts[game], broadcasters=len(broadcasters[game])) for game in sorted(counts)
        ]
    findings += _of_games(games, minimum)
    for game in games:
        lacking = [part.value for part in Part if not game.frames.get(part)]
        if lacking:
            findings.append(
                Finding(
                    fault=Fault.CLASS_IN_ONE_PART if len(lacking) > 1 else Fault.CLASSES_DIFFER,
                    sentence=f"{game.game} has too few broadcasters to be in {' and '.join(lacking)}.",
                )
            )
    if gone:
        findings.append(
            Finding(
                fault=Fault.FILES_GONE,
                sentence=f"{len(gone)} files that the database names are not in {frames}; "
                "run: python -m bot data sync.",
            )
        )
    return _report(
        f"{database}, {frames}",
        parts=tuple(Part),
        games=games,
        unreadable=_quarantined(unreadable, root=frames, quarantine=quarantine),
        findings=findings,
    )


def print_report(report: CheckReport, console: Console) -> None:
    """The report as a table and sentences."""
    columns: Sequence[Part | None] = report.parts or (None,)
    table = Table("game", *("frames" if part is None else part.value for part in columns), "broadcasters")
    for column in table.columns[1:]:
        column.justify = "right"
    for game in report.games:
        known = str(game.broadcasters) + (" ?" if game.nobodys else "")
        table.add_row(game.game, *(str(game.frames.get(part, 0)) for part in columns), known)
    console.print(table)
    for one in report.unreadable:
        where = f"; moved to {one.moved_to}" if one.moved_to is not None else ""
        console.print(f"Unreadable: {one.path}: {one.why}{where}.", markup=False, highlight=False, soft_wrap=True)
    for finding in report.findings:
        console.print(finding.sentence, markup=False, highlight=False, soft_wrap=True)
    if report.is_fit:
        console.print("It can be trained on.")


def as_figures(report: CheckReport) -> Json:
    """The report as JSON has it."""
    games: list[Json] = [
        {
            "game": game.game,
            "frames": {"all" if part is None else part.value: count for part, count in game.frames.items()},
            "broadcasters": game.broadcasters,
            "pictures_of_nobody": game.nobodys,
        }
        for game in report.games
    ]
    unreadable: list[Json] = [
        {"path": str(one.path), "why": one.why, "moved_to": None if one.moved_to is None else str(one.moved_to)}
        for one in report.unreadable
    ]
    findings: list[Json] = [{"fault": one.fault.value, "sentence": one.sentence} for one in report.findings]
    return {
        "checked": report.checked,
        "is_fit": report.is_fit,
        "parts": [part.value for part in report.parts],
        "games": games,
        "unreadable": unreadable,
        "findings": findings,
    }


def _report(
    checked: str,
    *,
    parts: tuple[Part, ...],
    games: Sequence[GameFound],
    unreadable: tuple[Unreadable, ...],
    findings: Iterable[Finding],
) -> CheckReport:
    left = [str(one.path) for one in unreadable if one.moved_to is None]
    found = list(findings)
    if left:
        found.append(Finding(fault=Fault.UNREADABLE, sentence=f"Files that hold no readable picture: {len(left)}."))
    return CheckReport(checked=checked, parts=parts, games=tuple(games), unreadable=unreadable, findings=tuple(found))


async def _labelled(*, database: str, frames: Path) -> tuple[Labelled, frozenset[str]]:
    async with opened(database=database, frames=frames) as store:
        labelled = await store.labelled.labelled()
        named = {frame.sha256 for capture in labelled.captures for frame in capture.frames if frame.has_pixels}
        return labelled, await store.frames.missing(named)


def _games_of_tree(tree: Tree, readable: Iterable[TreePicture]) -> list[GameFound]:
    frames: dict[str, Counter[Part | None]] = {
        game: Counter() for game in sorted({game for games in tree.games.values() for game in games})
    }
    streams: dict[str, set[str]] = defaultdict(set)
    nobodys: Counter[str] = Counter()
    for picture in readable:
        frames[picture.game][picture.part] += 1
        if picture.stream is None:
            nobodys[picture.game] += 1
        else:
            streams[picture.game].add(picture.stream)
    return [
        GameFound(game=game, frames=counts, broadcasters=len(streams[game]), nobodys=nobodys[game])
        for game, counts in frames.items()
    ]


def _of_parts(tree: Tree, games: Sequence[GameFound], minimum: Minimum) -> list[Finding]:
    """What is wrong between the parts of a tree; nothing where it has none."""
    if not tree.parts:
        return []
    found = [
        Finding(fault=Fault.PART_MISSING, sentence=f"There is no {part.value} part.")
        for part in (Part.TRAIN, Part.VALIDATION)
        if part not in tree.parts
    ]
    for game in games:
        there = [part for part in tree.parts if game.frames.get(part)]
        lacking = [part.value for part in tree.parts if part not in there]
        if lacking and there:
            found.append(
                Finding(
                    fault=Fault.CLASS_IN_ONE_PART if len(there) == 1 else Fault.CLASSES_DIFFER,
                    sentence=f"{game.game} has no picture in {' and '.join(lacking)}.",
                )
            )
    in_part = {part: sum(game.frames.get(part, 0) for game in games) for part in tree.parts}
    training, validation = in_part.get(Part.TRAIN, 0), in_part.get(Part.VALIDATION, 0)
    if Part.TRAIN in tree.parts and training < max(minimum.training_frames, validation + 1):
        found.append(
            Finding(
                fault=Fault.TRAINING_TOO_SMALL,
                sentence=f"The training part has {training} frames; it needs at least {minimum.training_frames}, "
                f"and more than the {validation} of the validation.",
            )
        )
    return found


def _of_games(games: Sequence[GameFound], minimum: Minimum) -> list[Finding]:
    if not games:
        return [Finding(fault=Fault.NO_CLASS, sentence="There is no game.")]
    found = []
    if len(games) == 1:
        sentence = f"There is one game only, {games[0].game}: there is nothing to tell apart."
        found.append(Finding(fault=Fault.ONE_CLASS, sentence=sentence))
    for game in games:
        if game.all_frames < minimum.frames:
            sentence = f"{game.game} has {game.all_frames} of at least {minimum.frames} frames."
            found.append(Finding(fault=Fault.TOO_FEW_FRAMES, sentence=sentence))
        if game.broadcasters < minimum.broadcasters:
            unknown = f" ({game.nobodys} pictures do not tell whose they are)" if game.nobodys else ""
            sentence = f"{game.game} has {game.broadcasters} of at least {minimum.broadcasters} broadcasters{unknown}."
            found.append(Finding(fault=Fault.TOO_FEW_BROADCASTERS, sentence=sentence))
    return found


def _unreadable(
    paths: Sequence[Path], fault_of: Callable[[Path], str | None], progress: Callable[[int, int], None]
) -> tuple[Unreadable, ...]:
    found = []
    # The decoders write to standard error what we say in a sentence.
    with quiet_native_stderr(), ThreadPoolExecutor(_READERS) as readers:
        for done, (path, fault) in enumerate(zip(paths, readers.map(fault_of, paths), strict=True), start=1):
            if fault is not None:
                found.append(Unreadable(path=path, why=fault))
            progress(done, len(paths))
    return tuple(found)


def _fault_of_picture(path: Path) -> str | None:
    try:
        read_picture(path.read_bytes())
    except OSError as error:
        return f"it cannot be opened: {error.strerror}"
    except ValueError as fault:
        return str(fault)
    return None


def _fault_of_frame(path: Path) -> str | None:
    """As of any picture; and a frame's file is called by its content."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.stem:
            return "it is not the file that was stored"
        read_picture(data)
    except OSError as error:
        return f"it cannot be opened: {error.strerror}"
    except ValueError as fault:
        return str(fault)
    return None


def _quarantined(files: Sequence[Unreadable], *, root: Path, quarantine: Path | None) -> tuple[Unreadable, ...]:
    """Move files to the same place below the quarantine; nothing there is written over."""
    if quarantine is None:
        return tuple(files)
    moved = []
    for file in files:
        goal = quarantine / file.path.relative_to(root)
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            number = 2
            while goal.exists():
                goal, number = goal.with_name(f"{file.path.stem}-{number}{file.path.suffix}"), number + 1
            shutil.move(file.path, goal)
        except OSError as error:
            raise DataSetError(f"{file.path} cannot be moved to {goal}: {error.strerror or error}.") from error
        moved.append(Unreadable(path=file.path, why=file.why, moved_to=goal))
    return tuple(moved)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
