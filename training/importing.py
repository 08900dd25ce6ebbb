"""The verb `import`: a tree of folders -> the store.

Each stream's pictures become a capture, labelled with its folder's game. Pictures are brought to the one stored size.
A stream is imported whole or not at all, and what is there already is not imported again: killed anywhere, the same
command goes on. Nothing in the tree is moved, renamed or deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from core.errors import DataSetError
from core.frames import encode_jpeg, perceptual_hash, to_stored
from core.games import NOT_A_GAME, Game
from core.quiet import quiet_native_stderr
from core.storage.frame_store import keep_frame
from core.storage.naming import slug
from core.storage.records import Broadcaster, BroadcastStream, CaptureKind, KeptFrame, NewCapture
from training.data.folders import survey
from training.data.pictures import is_stored_jpeg, read_picture
from training.data.store import opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.storage.records import OptOuts
    from training.data.folders import Tree
    from training.data.store import Store

_LARGEST_BYTES = 64 * 1024 * 1024
"""No picture of a game is larger; what is would fill the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportRule:
    """What a tree's names mean.

    Attributes:
        name: of the data set; keeps its streams apart from those of other data sets that are called the same.
        are_channels: whether a stream's name is its channel's, so that it is the same broadcaster under every game and
            in every data set, whom an opting out covers.
        each_file: whether a picture whose stream nothing tells is a stream of its own. Else all such pictures of a
            game and part are one.
    """

    name: str
    are_channels: bool = False
    each_file: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedStream:
    """Pictures of a tree that are one stream's."""

    game: Game
    name: str
    paths: tuple[Path, ...]


@dataclass(kw_only=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes:
        frames: imported.
        streams: that they are of.
        known: pictures that were there already.
        opted_out: streams that were passed over, as their broadcaster has opted out.
        unreadable: pictures that were passed over, and why.
    """

    frames: int = 0
    streams: int = 0
    known: int = 0
    opted_out: int = 0
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def import_tree(
    directory: Path, *, database: str, frames: Path, rule: ImportRule, as_json: bool = False
) -> ImportReport:
    """Import a tree of folders into the store, and say what was done.

    Raises:
        DataSetError: the tree is none, or not one of its pictures can be read.
        StorageError: database or frame store cannot be used.
    """
    console = Console(stderr=as_json)
    streams = streams_of(survey(directory), rule)
    if not streams:
        raise DataSetError(f"There is nothing to import in {directory}: no folder in it holds a picture.")
    total = sum(len(stream.paths) for stream in streams)
    # The decoders write to standard error what we say in a sentence.
    with quiet_native_stderr(), Progress(console=console, transient=True) as progress:
        task = progress.add_task("importing pictures", total=total)
        report = asyncio.run(
            _import(
                streams,
                database=database,
                frames=frames,
                rule=rule,
                progress=lambda done: progress.advance(task, done),
            )
        )
    _tell(report, console, as_json=as_json)
    if len(report.unreadable) == total:
        raise DataSetError(f"Not one of the {total} pictures in {directory} can be read.")
    return report


def streams_of(tree: Tree, rule: ImportRule) -> tuple[ImportedStream, ...]:
    """The streams of a tree, in the order of their games and names; pure."""
    paths: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for picture in tree.pictures:
        name = picture.stream
        if name is None:
            name = picture.path.stem if rule.each_file else (picture.part or "pictures")
        paths[picture.game, name].append(picture.path)
    return tuple(
        ImportedStream(game=_game(folder, tree), name=name, paths=tuple(paths[folder, name]))
        for folder, name in sorted(paths)
    )


async def import_streams(
    streams: tuple[ImportedStream, ...], store: Store, rule: ImportRule, *, progress: Callable[[int], None]
) -> ImportReport:
    """Import streams one after the other.

    Raises:
        StorageError: database or frame store cannot be used; the streams before are there.
    """
    report = ImportReport()
    opted_out = await store.captures.opted_out()
    for stream in streams:
        await _import_stream(stream, store, rule, opted_out=opted_out, report=report)
        progress(len(stream.paths))
    return report


async def _import(
    streams: tuple[ImportedStream, ...],
    *,
    database: str,
    frames: Path,
    rule: ImportRule,
    progress: Callable[[int], None],
) -> ImportReport:
    async with opened(database=database, frames=frames, fill=True) as store:
        return await import_streams(streams, store, rule, progress=progress)


async def _import_stream(
    stream: ImportedStream, store: Store, rule: ImportRule, *, opted_out: OptOuts, report: ImportReport
) -> None:
    login = stream.name if rule.are_channels else f"{rule.name}/{stream.game.id}/{stream.name}"
    # Also where names are not channels: should one be, its owner does not want to be here.
    if opted_out.covers(login=stream.name, platform_id=None):
        report.opted_out += 1
        return
    key = f"import-{await asyncio.to_thread(_content, login, stream)}"
    if await store.labelled.imported({key}):
        report.known += len(stream.paths)
        return
    stream_id = f"{rule.name}/{stream.game.id}/{stream.name}"
    there = set(await store.labelled.imported_frames(stream_id))
    kept: list[KeptFrame] = []
    for place, path in enumerate(stream.paths):
        try:
            data, hashed = await asyncio.to_thread(_stored, path)
        except ValueError as fault:
            report.unreadable.append((path, str(fault)))
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in there:
            report.known += 1
            continue
        there.add(sha256)
        kept.append(await keep_frame(store.frames, data, perceptual_hash=hashed, at_s=float(place)))
    if not kept:
        return
    added = await store.captures.add(
        NewCapture(
            kind=CaptureKind.IMPORTED,
            key=key,
            broadcaster=Broadcaster(login=login),
            stream=BroadcastStream(platform_id=stream_id),
            at=datetime.now(UTC),
            rendition="import",
            window_s=0.0,
            frames=tuple(kept),
            label=stream.game,
        )
    )
    if added is None:
        report.opted_out += 1
        return
    report.frames += len(kept)
    report.streams += 1


def _game(folder: str, tree: Tree) -> Game:
    if slug(folder) == NOT_A_GAME.id:
        return NOT_A_GAME
    return Game(id=slug(folder), name=tree.titles.get(folder, folder))


def _content(login: str, stream: ImportedStream) -> str:
    """Names what a stream's folder holds: another file, another name. Reading is quick beside decoding."""
    sum_ = hashlib.sha256(f"{login.casefold()}\0{stream.game.id}\n".encode())
    for path in stream.paths:
        try:
            with path.open("rb") as file:
                sum_.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            sum_.update(b"\0" * 32)
    return sum_.hexdigest()


def _stored(path: Path) -> tuple[bytes, int]:
    """A picture as the frame store keeps it, and its perceptual hash.

    Raises:
        ValueError: it cannot be read; says why.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ValueError("it is larger than 64 MiB")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be opened: {error.strerror}") from error
    picture = read_picture(data)
    if is_stored_jpeg(data, picture):
        return data, perceptual_hash(picture)
    small = to_stored(picture)
    return encode_jpeg(small), perceptual_hash(small)


def _tell(report: ImportReport, console: Console, *, as_json: bool) -> None:
    if as_json:
        Console().print_json(
            data={
                "frames": report.frames,
                "streams": report.streams,
                "known": report.known,
                "opted_out_streams": report.opted_out,
                "unreadable": [{"path": str(path), "fault": fault} for path, fault in report.unreadable],
            }
        )
        return
    console.print(f"Imported {report.frames} frames of {report.streams} streams.", highlight=False)
    if report.known:
        console.print(f"There already: {report.known}.", highlight=False)
    if report.opted_out:
        console.print(f"Passed over: {report.opted_out} streams of broadcasters who opted out.", highlight=False)
    for path, fault in report.unreadable:
        console.print(f"Left out: {path}: {fault}.", highlight=False, markup=False, soft_wrap=True)
