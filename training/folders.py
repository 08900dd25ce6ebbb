"""A folder per game and, below it, a folder or a file-name prefix per stream -> a listing of frames.

::

    DIR/<game>/<stream>/<anything>.jpg      a folder per stream
    DIR/<game>/<stream>_<anything>.jpg      or a prefix per stream, up to the last underscore

If DIR itself holds a folder `frames`, that is where the games are looked for. A file `games.csv` in DIR, with
the columns `slug` and `title`, gives the titles that people see; without it a game is called what its folder is called.
Nothing is ever moved, renamed or deleted.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import DataSetError
from core.games import Game

if TYPE_CHECKING:
    from pathlib import Path

_PICTURES = frozenset({".jpg", ".jpeg"})


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameFile:
    """One picture on disk.

    Attributes:
        path: of the JPEG file.
        game: id of the game, which is the name of its folder.
        stream: name of the stream, unique in the data set: ``game/stream``.
    """

    path: Path
    game: str
    stream: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What lies in a data set's folders, in the order of the paths."""

    games: tuple[Game, ...]
    frames: tuple[FrameFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Minima:
    """The least a game needs: fewer streams cannot be divided into training, validation and test."""

    streams_per_game: int = 3
    frames_per_game: int = 20


def list_frames(directory: Path) -> Listing:
    """List the pictures of a data set; none is opened.

    Raises:
        DataSetError: the folder is missing, holds fewer than two games, or a picture that belongs to no stream.
    """
    if not directory.is_dir():
        raise DataSetError(f"There is no data set in {directory}: the folder does not exist.")
    root = directory / "frames" if (directory / "frames").is_dir() else directory
    frames = tuple(
        frame
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for frame in _frames_of(folder)
    )
    ids = sorted({frame.game for frame in frames})
    if not ids:
        raise DataSetError(f"There is no data set in {root}: no folder in it holds a JPEG picture.")
    if len(ids) == 1:
        raise DataSetError(f"The data set in {root} has one game only, {ids[0]}: there is nothing to tell apart.")
    titles = _titles(directory / "games.csv")
    return Listing(games=tuple(Game(id=name, name=titles.get(name, name)) for name in ids), frames=frames)


def check_minima(listing: Listing, minima: Minima) -> None:
    """Refuse a data set in which a game has too little to be learned and judged.

    Raises:
        DataSetError: names every such game in one sentence.
    """
    faults = []
    for game in listing.games:
        frames = [frame for frame in listing.frames if frame.game == game.id]
        streams = len({frame.stream for frame in frames})
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
    return Listing(games=tuple(game for game in listing.games if game.id in kept), frames=frames)


def _frames_of(folder: Path) -> list[FrameFile]:
    frames = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _PICTURES or not path.is_file():
            continue
        inside = path.relative_to(folder).parts
        stream = inside[0] if len(inside) > 1 else path.stem.rpartition("_")[0]
        if not stream:
            raise DataSetError(
                f"{path} belongs to no stream: put it into a folder per stream, or name it <stream>_<anything>.jpg."
            )
        frames.append(FrameFile(path=path, game=folder.name, stream=f"{folder.name}/{stream}"))
    return frames


def _titles(table: Path) -> dict[str, str]:
    if not table.is_file():
        return {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{table} cannot be read as a table of games.") from error
    if rows and not {"slug", "title"} <= rows[0].keys():
        raise DataSetError(f"{table} lacks the column 'slug' or 'title'.")
    return {row["slug"]: row["title"] for row in rows}
