"""Which genres a game belongs to, so that a game that the network has never seen can be told by its looks.

The table is ``training/data/genres.toml``: a closed list of genres, and the games that have them. It is read whole and
checked whole: all mistakes are told at once.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.aliases import AliasTable, plain
from core.errors import DataSetError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.games import Game


@dataclass(frozen=True, kw_only=True, slots=True)
class Genre:
    """A kind of game, as it looks.

    Attributes:
        id: stable and machine-readable; a model's second head carries it.
        name: what people see, as in ``looks like: platformer, pixel art``.
    """

    id: str
    name: str


class GenreTable:
    """Genres by game."""

    def __init__(
        self, *, genres: Sequence[Genre], games: Mapping[str, Sequence[str]], aliases: AliasTable | None = None
    ) -> None:
        """Build a table of one's own; :meth:`bundled` has the one of this project.

        Args:
            genres: the closed list, in the order of the network's outputs.
            games: ids of genres by a game's name.
            aliases: other names of the games; none if left out.

        Raises:
            DataSetError: a game has no genre, one that is not on the list or one twice; two names are of one game; or
                a genre has no game. All such mistakes are told, one a line.
        """
        self.genres = tuple(genres)
        self._aliases = aliases or AliasTable(aliases={}, classics={}, series={})
        self._places: dict[str, tuple[int, ...]] = {}
        places = {genre.id: place for place, genre in enumerate(self.genres)}
        mistakes = [] if len(places) == len(self.genres) else ["a genre is on the list twice"]
        for name, ids in games.items():
            strange = [one for one in ids if one not in places]
            if self._row(name) is not None:
                mistakes.append(f"{name}: is there already, under this or another name")
            elif strange:
                mistakes.append(f"{name}: no genre on the list is called {', '.join(strange)}")
            elif not ids or len(set(ids)) != len(ids):
                mistakes.append(f"{name}: needs one genre at least, each once")
            else:
                self._places[plain(name)] = tuple(sorted(places[one] for one in ids))
        used = {one for ids in games.values() for one in ids}
        mistakes += [f"{genre.id}: no game has this genre" for genre in self.genres if genre.id not in used]
        if mistakes:
            raise DataSetError("The table of genres cannot be used:\n" + "\n".join(mistakes))

    @classmethod
    def bundled(cls) -> GenreTable:
        """The table of this project."""
        text = resources.files(__package__).joinpath("genres.toml").read_text(encoding="utf-8")
        return read_genres(text, aliases=AliasTable.bundled())

    def of(self, name: str) -> tuple[Genre, ...]:
        """The genres of a game that is called so, in the list's order; empty when it is not in the table."""
        return tuple(self.genres[place] for place in self._row(name) or ())

    def targets(self, games: Sequence[Game]) -> npt.NDArray[np.bool_]:
        """bool[games, genres]: what the second head is to answer for each game.

        Raises:
            DataSetError: some of the games are not in the table; all of them are named.
        """
        rows = [self._row(game.name) for game in games]
        missing = [game.name for game, row in zip(games, rows, strict=True) if row is None]
        if missing:
            raise DataSetError(f"The table of genres lacks {', '.join(missing)}.")
        targets = np.zeros((len(games), len(self.genres)), dtype=np.bool_)
        for number, row in enumerate(rows):
            targets[number, list(row or ())] = True
        return targets

    def learnable(self, games: Sequence[Game], *, least_games: int = 2) -> tuple[Genre, ...]:
        """The genres that a network of these games can learn: those that several of them have.

        One that a single game has would be learnt as that game's looks, and called by a kind's name.
        """
        counts: Counter[Genre] = Counter(genre for game in games for genre in self.of(game.name))
        return tuple(genre for genre in self.genres if counts[genre] >= least_games)

    def marks(self, games: Sequence[Game], genres: Sequence[Genre]) -> npt.NDArray[np.bool_]:
        """bool[games, genres]: which of these genres each game has; a game that is not in the table has none."""
        return np.array([[genre in self.of(game.name) for genre in genres] for game in games], dtype=np.bool_).reshape(
            len(games), len(genres)
        )

    def __len__(self) -> int:
        """How many games there are."""
        return len(self._places)

    def _row(self, name: str) -> tuple[int, ...] | None:
        for one in (name, *self._aliases.of(name)):
            if (found := self._places.get(plain(one))) is not None:
                return found
        return None


def read_genres(text: str, *, aliases: AliasTable | None = None) -> GenreTable:
    """A table from its TOML.

    Raises:
        DataSetError: it is no TOML, lacks a part, or holds a mistake (see `GenreTable`).
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataSetError(f"The table of genres is no TOML: {error}") from error
    genres, games = table.get("genres"), table.get("games")
    if not isinstance(genres, dict) or not isinstance(games, dict) or set(table) != {"genres", "games"}:
        raise DataSetError("The table of genres has two parts, [genres] and [games].")
    unnamed = [one for one, name in genres.items() if not isinstance(name, str) or not name]
    unlisted = [
        name for name, ids in games.items() if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids)
    ]
    if unnamed or unlisted:
        raise DataSetError(
            "In the table of genres a genre has a name and a game a list of genres: "
            f"see {', '.join([*unnamed, *unlisted])}."
        )
    return GenreTable(genres=[Genre(id=one, name=name) for one, name in genres.items()], games=games, aliases=aliases)
