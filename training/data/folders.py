"""A folder per game and, below it, a folder or a file-name prefix per stream -> a listing of frames.

::

    DIR/<game>/<stream>/<anything>.jpg                  a folder per stream
    DIR/<game>/<stream>_<anything>.jpg                  or a prefix per stream, up to the last underscore
    DIR/{training,validation,test}/<game>/...           the same below a folder per part (also train, val, valid)

If DIR itself holds a folder `frames`, that is where the games are looked for. A file `games.csv` in DIR, with
the columns `slug` and `title`, gives the titles that people see; without it a game is called what its folder is called.
A third column `may_ship` that says "no" keeps a game's pictures out of all that is passed on with a model.
Nothing is ever moved, renamed or deleted.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.errors import DataSetError
from core.games import Game
from training.data.split import Part

if TYPE_CHECKING:
    from pathlib import Path

_TRAINABLE = frozenset({".jpg", ".jpeg"})
_PICTURES = _TRAINABLE | {".png", ".webp", ".bmp", ".jfif"}

_PARTS = {
    "training": Part.TRAIN,
    "train": Part.TRAIN,
    "validation": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "val": Part.VALIDATION,
    "test": Part.TEST,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameFile:
    """One picture on disk.

    Attributes:
        path: of the JPEG file.
        game: id of the game, which is the name of its folder.
        stream: name of the stream, unique in the data set: ``game/stream``.
        unit: what no split divides: the stream, or its broadcaster and those who share pictures with them.
        part: that the data set gives it to; None where it gives none.
        flags: numbers of moderators' flags that gave it its game.
        declared: category that the broadcaster declared; None where the data set does not say.
        sha256: of the file, where the data set says what it must be.
    """

    path: Path
    game: str
    stream: str
    unit: str
    part: Part | None = None
    flags: tuple[int, ...] = ()
    declared: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What lies in a data set's folders, in the order of the paths.

    Attributes:
        games: that there are, in the order of their ids.
        frames: of these.
        missing: files that the data set names and that are not there.
        manifest: SHA-256 of the manifest that lists it; None for folders.
        withheld: ids of games whose pictures may not be passed on with a model.
    """

    games: tuple[Game, ...]
    frames: tuple[FrameFile, ...]
    missing: int = 0
    manifest: str | None = None
    withheld: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class TreePicture:
    """A picture in a tree of folders.

    Attributes:
        path: of the file.
        game: the name of the game's folder.
        stream: the name of the stream below its game; None where neither a folder nor the file's name tells it.
        part: of the folder above the game; None without one.
    """

    path: Path
    game: str
    stream: str | None
    part: Part | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """What a directory holds, before anybody asks whether it can be trained on.

    Attributes:
        parts: folders of parts that there are, also empty ones; none where games lie side by side.
        games: folders of games that there are in each of them (in None without parts), also empty ones.
        pictures: in the order of the paths.
        titles: of games, by the name of their folder.
        withheld: folders of games whose pictures may not be passed on with a model.
    """

    parts: tuple[Part, ...]
    games: dict[Part | None, frozenset[str]]
    pictures: tuple[TreePicture, ...]
    titles: dict[str, str]
    withheld: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Minima:
    """The least a game needs: fewer streams cannot be divided into training, validation and test."""

    streams_per_game: int = 3
    frames_per_game: int = 20


def survey(directory: Path) -> Tree:
    """See what lies in a directory; no picture is opened.

    Raises:
        DataSetError: it does not exist, or its table of games is none.
    """
    if not directory.is_dir():
        raise DataSetError(f"There is no data set in {directory}: the folder does not exist.")
    root = directory / "frames" if (directory / "frames").is_dir() else directory
    folders = _folders(root)
    parts = {folder: _PARTS.get(folder.name.casefold()) for folder in folders}
    if not folders or None in parts.values():
        parts = {root: None}
    games: dict[Part | None, frozenset[str]] = {}
    pictures: list[TreePicture] = []
    for top, part in parts.items():
        games[part] = games.get(part, frozenset()) | {folder.name for folder in _folders(top)}
        pictures += [picture for folder in _folders(top) for picture in _pictures_of(folder, part)]
    table = _table(directory / "games.csv")
    return Tree(
        parts=tuple(part for part in Part if part in games),
        games=games,
        pictures=tuple(pictures),
        titles={row["slug"]: row["title"] for row in table},
        withheld=frozenset(row["slug"] for row in table if (row.get("may_ship") or "").strip().casefold() == "no"),
    )


def list_frames(directory: Path) -> Listing:
    """List the pictures of a data set that can be trained on; none is opened.

    Parts that the folders name are kept where all three are there and no stream lies in two of them.

    Raises:
        DataSetError: the folder is missing, holds fewer than two games, or a picture that belongs to no stream.
    """
    tree = survey(directory)
    pictures = [picture for picture in tree.pictures if picture.path.suffix.lower() in _TRAINABLE]
    keeps_parts = len(tree.parts) == len(Part) and not divided_streams(tree)
    frames = []
    for picture in pictures:
        if picture.stream is None:
            raise DataSetError(
                f"{picture.path} belongs to no stream: put it into a folder per stream, "
                "or name it <stream>_<anything>.jpg."
            )
        stream = f"{picture.game}/{picture.stream}"
        part = picture.part if keeps_parts else None
        frames.append(FrameFile(path=picture.path, game=picture.game, stream=stream, unit=stream, part=part))
    ids = sorted({picture.game for picture in pictures})
    if not ids:
        raise DataSetError(f"There is no data set in {directory}: no folder in it holds a JPEG picture.")
    if len(ids) == 1:
        raise DataSetError(f"The data set in {directory} has one game only, {ids[0]}: there is nothing to tell apart.")
    return Listing(
        games=tuple(Game(id=name, name=tree.titles.get(name, name)) for name in ids),
        frames=tuple(frames),
        withheld=tree.withheld & set(ids),
    )


def divided_streams(tree: Tree) -> tuple[str, ...]:
    """Streams, as ``game/stream``, that have pictures in more than one part."""
    parts: dict[str, set[Part | None]] = {}
    for picture in tree.pictures:
        if picture.stream is not None:
            parts.setdefault(f"{picture.game}/{picture.stream}", set()).add(picture.part)
    return tuple(sorted(stream for stream, found in parts.items() if len(found) > 1))


def check_minima(listing: Listing, minima: Minima) -> None:
    """Refuse a data set in which a game has too little to be learned and judged.

    Raises:
        DataSetError: names every such game in one sentence.
    """
    faults = []
    for game in listing.games:
        frames = [frame for frame in listing.frames if frame.game == game.id]
        streams = len({frame.unit for frame in frames})
        if streams < minima.streams_per_game:
            faults.append(f"{game.id} has {streams} of at least {minima.streams_per_game} streams")
        elif len(frames) < minima.frames_per_game:
            faults.append(f"{game.id} has {len(frames)} of at least {minima.frames_per_game} frames")
    if faults:
        raise DataSetError(f"The data set is too small to train on: {'; '.join(faults)}.")


def without(listing: Listing, left_out: frozenset[Path]) -> Listing:
    """The listing without these files, and without a game that has no other."""
    frames = tuple(frame for frame in listing.frames if frame.path not in left_out)
    kept = {frame.game for frame in frames}
    return replace(listing, games=tuple(game for game in listing.games if game.id in kept), frames=frames)


def _folders(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def _pictures_of(folder: Path, part: Part | None) -> list[TreePicture]:
    pictures = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _PICTURES or path.name.startswith(".") or not path.is_file():
            continue
        inside = path.relative_to(folder).parts
        stream = inside[0] if len(inside) > 1 else path.stem.rpartition("_")[0] or None
        pictures.append(TreePicture(path=path, game=folder.name, stream=stream, part=part))
    return pictures


def _table(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{table} cannot be read as a table of games.") from error
    if rows and not {"slug", "title"} <= rows[0].keys():
        raise DataSetError(f"{table} lacks the column 'slug' or 'title'.")
    return rows
