"""The verb `export`: what the bot collected -> an immutable manifest and, on request, folders per part and game.

The label of a capture is the strongest source's: a moderator's accepted flag outdoes what the broadcaster declared and
what a folder said. A capture that somebody says shows another game, and about which nobody has decided, is left out.
"""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import errno
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.errors import DataSetError
from core.frames import IMAGE_CONVENTION
from core.storage.naming import slug
from core.storage.records import FlagState, LabelSource
from training.data.division import Division, DivisionRule, Picture, divide
from training.data.manifest import (
    CaptureEntry,
    DataManifest,
    FrameEntry,
    GameEntry,
    LeftOut,
    RuleEntry,
    frame_path,
    read_manifest,
    write_manifest,
)
from training.data.split import Part
from training.data.store import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from core.storage.labelled import Labelled, LabelledCapture, LabelledFrame
    from core.storage.records import Json
    from training.data.store import Store

_SOURCES = tuple(LabelSource)

FOLDER_OF = {Part.TRAIN: "training", Part.VALIDATION: "validation", Part.TEST: "test"}
"""What the folders of the parts are called."""


_WHY = {
    "opted_out_captures": "captures of broadcasters who opted out",
    "disputed_captures": "captures on which moderators disagree with the label, and nobody has decided",
    "gone_frames": "frames whose pixels are gone",
    "repeated_frames": "frames that are there from another capture",
    "contradictory_frames": "frames of which the very same file is labelled otherwise",
    "near_duplicate_frames": "frames that another part shows almost alike",
}
"""What is said of :class:`training.data.manifest.LeftOut`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usable:
    """Captures with those of their frames that can be learned from.

    Attributes:
        captures: each with at least one frame.
        left_out: what they lack; near-duplicates are not looked for yet.
    """

    captures: tuple[LabelledCapture, ...]
    left_out: LeftOut


def export(
    *, database: str, frames: Path, out: Path, folders: Path | None, rule: DivisionRule, as_json: bool = False
) -> DataManifest:
    """Write the manifest of all that can be learned from, and the folders where they are wanted.

    Raises:
        StorageError: the database or the frame store cannot be used.
        DataSetError: there is nothing to learn from, or something else lies where it is to be written.
    """
    console = Console(stderr=as_json)
    if folders is not None and folders.exists() and (not folders.is_dir() or any(folders.iterdir())):
        raise DataSetError(f"There is something in {folders} already; name a new folder.")
    with console.status("reading the store"):
        manifest = asyncio.run(_of_store(database=database, frames=frames, rule=rule))
    is_new = write_manifest(out, manifest)
    _, sha256 = read_manifest(out)
    if folders is not None:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("writing folders", total=manifest.frames)
            write_folders(manifest, frames=frames, folders=folders, progress=lambda done: progress.advance(task, done))
    if as_json:
        Console().print_json(data=_summary(manifest, sha256=sha256))
    else:
        print_manifest(manifest, console)
        was = "" if is_new else ", which was there already"
        console.print(f"{out}{was}: {manifest.frames} frames, SHA-256 {sha256[:12]}", highlight=False)
    return manifest


async def manifest_of(store: Store, rule: DivisionRule) -> DataManifest:
    """What the store holds, as a manifest.

    Raises:
        StorageError: the database or the frame store cannot be used.
        DataSetError: there is nothing to learn from.
    """
    labelled = await store.labelled.labelled()
    named = {frame.sha256 for capture in labelled.captures for frame in capture.frames if frame.has_pixels}
    missing = await store.frames.missing(named)
    if named and len(missing) == len(named):
        raise DataSetError(
            f"Not one of the {len(named)} frames that the database names is in {store.frames_directory}."
        )
    found = usable(labelled, missing=missing)
    if not found.captures:
        raise DataSetError("There is nothing to learn from yet: no frame in the store has a label.")
    return divided(found, rule)


def usable(labelled: Labelled, *, missing: Collection[str]) -> Usable:
    """What can be learned from, of all that has a label; pure.

    Args:
        labelled: all of it.
        missing: files that are not there.
    """
    undisputed = [capture for capture in labelled.captures if not _is_disputed(capture)]
    # Of every file: the strongest word on it, and the games that are named with that strength.
    words: dict[str, tuple[int, set[str]]] = {}
    gone = 0
    for capture in undisputed:
        strength = _SOURCES.index(capture.source)
        for frame in capture.frames:
            if not frame.has_pixels or frame.sha256 in missing:
                gone += 1
                continue
            strongest, games = words.get(frame.sha256, (-1, set()))
            if strength > strongest:
                words[frame.sha256] = (strength, {capture.game.id})
            elif strength == strongest:
                games.add(capture.game.id)
    taken: set[str] = set()
    repeated = contradictory = 0
    captures = []
    # The strongest word first, so that a file that several captures hold counts for the one that was flagged.
    for capture in sorted(undisputed, key=lambda capture: (-_SOURCES.index(capture.source), capture.key)):
        kept: list[LabelledFrame] = []
        for frame in capture.frames:
            if not frame.has_pixels or frame.sha256 in missing:
                continue
            if words[frame.sha256][1] != {capture.game.id}:
                contradictory += 1
            elif frame.sha256 in taken:
                repeated += 1
            else:
                taken.add(frame.sha256)
                kept.append(frame)
        if kept:
            captures.append(dataclasses.replace(capture, frames=tuple(kept)))
    return Usable(
        captures=tuple(sorted(captures, key=lambda capture: capture.key)),
        left_out=LeftOut(
            opted_out_captures=labelled.opted_out,
            disputed_captures=len(labelled.captures) - len(undisputed),
            gone_frames=gone,
            repeated_frames=repeated,
            contradictory_frames=contradictory,
        ),
    )


def divided(found: Usable, rule: DivisionRule) -> DataManifest:
    """The manifest of what can be learned from; pure."""
    division = divide(
        [
            Picture(broadcaster=capture.broadcaster, game=capture.game.id, perceptual_hash=frame.perceptual_hash)
            for capture in found.captures
            for frame in capture.frames
        ],
        rule,
    )
    captures = list(_entries(found.captures, division))
    games = {capture.game.id: capture.game.name for capture in found.captures}
    kept = {capture.game for capture in captures}
    given_up = sum(part is None for part in division.parts)
    return DataManifest(
        image=dataclasses.asdict(IMAGE_CONVENTION),
        rule=RuleEntry(**dataclasses.asdict(rule)),
        games=tuple(GameEntry(id=game, name=games[game]) for game in sorted(kept)),
        left_out=found.left_out.model_copy(update={"near_duplicate_frames": given_up}),
        flags=tuple(sorted({flag for capture in captures for flag in capture.flags})),
        captures=tuple(captures),
    )


def write_folders(manifest: DataManifest, *, frames: Path, folders: Path, progress: Callable[[int], None]) -> None:
    """Write ``training/``, ``validation/`` and ``test/`` with a folder per game, whole or not at all.

    Files are hard links into the frame store where the file system allows it, else copies.

    Args:
        manifest: what to write.
        frames: the frame store's directory.
        folders: must not exist, or be empty.
        progress: is told of files done since it was told last.

    Raises:
        DataSetError: a file is gone, or the folder cannot be written.
    """
    broadcasters = _file_names(capture.broadcaster for capture in manifest.captures)
    games = _file_names(game.id for game in manifest.games)
    try:
        folders.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folders.name}-", dir=folders.parent))
    except OSError as error:
        raise DataSetError(f"The folder {folders} cannot be written: {error.strerror}.") from error
    try:
        beside.chmod(0o755)
        for name in FOLDER_OF.values():
            (beside / name).mkdir()
        for capture in manifest.captures:
            folder = beside / FOLDER_OF[capture.part] / games[capture.game]
            folder.mkdir(exist_ok=True)
            for frame in capture.frames:
                _link(
                    frame_path(frames, frame.sha256),
                    folder / f"{broadcasters[capture.broadcaster]}_{frame.sha256[:16]}.jpg",
                )
            progress(len(capture.frames))
        with (beside / "games.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("slug", "title"))
            table.writerows((games[game.id], game.name) for game in manifest.games)
        if folders.exists():
            folders.rmdir()
        beside.rename(folders)
    except FileNotFoundError as error:
        raise DataSetError(f"The frame {error.filename} is gone; export again.") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DataSetError(f"The folder {folders} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def print_manifest(manifest: DataManifest, console: Console) -> None:
    """The manifest as a table."""
    table = Table("game", *(part.value for part in Part), "broadcasters", "flags")
    for column in table.columns[1:]:
        column.justify = "right"
    for game in manifest.games:
        shown = _GameSummary.of(manifest, game)
        table.add_row(
            game.name, *(str(shown.frames[part]) for part in Part), str(shown.broadcasters), str(len(shown.flags))
        )
    console.print(table)
    left_out = manifest.left_out.model_dump()
    for name, why in _WHY.items():
        if left_out[name]:
            console.print(f"Left out: {left_out[name]} {why}.", highlight=False)


async def _of_store(*, database: str, frames: Path, rule: DivisionRule) -> DataManifest:
    async with opened(database=database, frames=frames) as store:
        return await manifest_of(store, rule)


def _is_disputed(capture: LabelledCapture) -> bool:
    """Whether a moderator says that it shows another game than its label, and nobody has decided yet."""
    return capture.source is not LabelSource.KEEPER and any(
        flag.state is FlagState.OPEN and flag.game_id != capture.game_id for flag in capture.flags
    )


def _entries(captures: Sequence[LabelledCapture], division: Division) -> Iterator[CaptureEntry]:
    parts = iter(division.parts)
    for capture in captures:
        given = [
            (frame, part)
            for frame, part in zip(capture.frames, islice(parts, len(capture.frames)), strict=True)
            if part is not None
        ]
        if not given:
            continue
        yield CaptureEntry(
            key=capture.key,
            game=capture.game.id,
            source=capture.source,
            broadcaster=capture.broadcaster,
            unit=division.units[capture.broadcaster],
            stream=capture.stream,
            declared=capture.declared,
            part=given[0][1],
            flags=_flags_behind(capture),
            frames=tuple(
                FrameEntry(sha256=frame.sha256, perceptual_hash=f"{frame.perceptual_hash:016x}", at_s=frame.at_s)
                for frame, _ in given
            ),
        )


def _flags_behind(capture: LabelledCapture) -> tuple[int, ...]:
    """Numbers of the accepted flags that say what the label says."""
    return tuple(
        flag.id for flag in capture.flags if flag.state is FlagState.ACCEPTED and flag.game_id == capture.game_id
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _GameSummary:
    """What a manifest has of a game."""

    frames: Counter[Part]
    broadcasters: int
    flags: frozenset[int]

    @classmethod
    def of(cls, manifest: DataManifest, game: GameEntry) -> _GameSummary:
        captures = [capture for capture in manifest.captures if capture.game == game.id]
        frames: Counter[Part] = Counter()
        for capture in captures:
            frames[capture.part] += len(capture.frames)
        return cls(
            frames=frames,
            broadcasters=len({capture.broadcaster for capture in captures}),
            flags=frozenset(flag for capture in captures for flag in capture.flags),
        )


def _summary(manifest: DataManifest, *, sha256: str) -> Json:
    games: list[Json] = []
    for game in manifest.games:
        shown = _GameSummary.of(manifest, game)
        games.append(
            {
                "id": game.id,
                "name": game.name,
                "frames": {part.value: shown.frames[part] for part in Part},
                "broadcasters": shown.broadcasters,
                "flags": [*sorted(shown.flags)],
            }
        )
    return {
        "sha256": sha256,
        "frames": manifest.frames,
        "games": games,
        "flags": list(manifest.flags),
        "left_out": manifest.left_out.model_dump(),
    }


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """A name for a file or folder of each, of letters, digits and underscores, no two the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(set(names)):
        wanted = candidate = slug(name)
        number = 2
        while candidate in taken:
            candidate, number = f"{wanted}_{number}", number + 1
        taken.add(candidate)
        found[name] = candidate
    return found


def _link(file: Path, to: Path) -> None:
    try:
        to.hardlink_to(file)
    except FileNotFoundError:
        raise
    except FileExistsError:
        return  # the very same frame: its name says so
    except OSError:
        # Another file system, or one that has no hard links or no more of them.
        shutil.copyfile(file, to)
