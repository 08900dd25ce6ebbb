"""What people call games beside their names, and which names mean the same to those who watch.

The table is ``core/aliases.toml``; it knows some hundred of the most streamed games and is no list of what a network
can tell apart.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import TYPE_CHECKING

from core.games import NOT_A_GAME
from core.storage.naming import alphabetical

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_ROMAN = ("ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "xi", "xii", "xiii", "xiv", "xv", "xvi")
_NUMERALS = dict(zip(_ROMAN, (*range(2, 10), *range(11, 17)), strict=True))
"""Without 1 and 10: I and X are letters more often than numbers, as in Mega Man X."""

_LETTERS_AND_DIGITS = re.compile(r"\d+|\D+")


def plain(name: str) -> str:
    """A name for comparing: without case, accents, punctuation and kinds of spaces.

    ``core.storage.naming.folded`` tells ``Pokémon`` from ``Pokemon``, as two categories might; people do not.
    """
    return alphabetical(name)


def words(name: str) -> tuple[str, ...]:
    """The words of a plain name, with numbers as digits and apart from letters: ``GTA V`` and ``gta5`` are the same.

    The first word is no number whatever it looks like: ``V Rising``, ``X-Moto``.
    """
    parts = [part for word in plain(name).split() for part in _LETTERS_AND_DIGITS.findall(word)]
    return tuple(str(_NUMERALS[part]) if at and part in _NUMERALS else part for at, part in enumerate(parts))


class AliasTable:
    """Aliases, series and collective categories."""

    def __init__(
        self,
        *,
        aliases: Mapping[str, Collection[str]],
        classics: Mapping[str, Collection[str]],
        series: Mapping[str, Collection[str]],
        any_game: Collection[str] = (),
        old_games: Collection[str] = (),
        no_game: Collection[str] = (),
    ) -> None:
        """Build a table of one's own; :meth:`bundled` has the one of this project.

        Args:
            aliases: other names by name, of games that are not old.
            classics: the same of old games.
            series: what belongs to a series under another name, by what the names of its parts begin with.
            any_game: categories under which any game may be shown.
            old_games: categories under which any game may be shown that is not known to be new.
            no_game: categories under which no game is expected.
        """
        self._names: dict[str, tuple[str, ...]] = {}
        for name, others in (*aliases.items(), *classics.items()):
            known = (name, *others)
            for one in known:
                self._names.setdefault(plain(one), tuple(other for other in known if plain(other) != plain(one)))
        self._new = {plain(one) for name, others in aliases.items() for one in (name, *others)}
        self._new -= {plain(one) for name, others in classics.items() for one in (name, *others)}
        self._series = {words(name): frozenset(plain(other) for other in others) for name, others in series.items()}
        self._any_game = {plain(name) for name in any_game}
        self._old_games = {plain(name) for name in old_games}
        self._no_game = {plain(name) for name in (*no_game, NOT_A_GAME.name)}

    @classmethod
    def bundled(cls) -> AliasTable:
        """The table of this project."""
        table = tomllib.loads(resources.files("core").joinpath("aliases.toml").read_text(encoding="utf-8"))
        return cls(aliases=table["aliases"], classics=table["classics"], series=table["series"], **table["categories"])

    def of(self, name: str) -> tuple[str, ...]:
        """The other names of a game that is called so; empty when it is not in the table."""
        return self._names.get(plain(name), ())

    def is_no_game(self, category: str) -> bool:
        """Whether no game is expected under a category, as under Just Chatting."""
        return plain(category) in self._no_game

    def same_for_viewers(self, name: str, other: str) -> bool:
        """Whether nobody who watches would call one of them wrong for the other.

        True of a game's own names, of parts of one series, of a collective category and what is shown under it, and of
        two categories under which no game is expected.
        """
        one, two = plain(name), plain(other)
        if one == two or _untold(words(name)) == _untold(words(other)):
            return True
        if two in {plain(alias) for alias in self.of(name)}:
            return True
        if one in self._any_game or two in self._any_game:
            return True
        if one in self._no_game or two in self._no_game:
            return one in self._no_game and two in self._no_game
        if one in self._old_games or two in self._old_games:
            return not ({one, two} & self._new)
        return bool(self._series_of(name) & self._series_of(other))

    def _series_of(self, name: str) -> frozenset[tuple[str, ...]]:
        """By every name that the table knows for it."""
        names = (name, *self.of(name))
        return frozenset(
            series
            for series, others in self._series.items()
            for one in names
            if plain(one) in others or words(one)[: len(series)] == series
        )


def _untold(of: tuple[str, ...]) -> tuple[str, ...]:
    """A name's words without the numbers behind the first; of nothing but numbers all of them."""
    return tuple(word for at, word in enumerate(of) if not at or not word.isdecimal())
