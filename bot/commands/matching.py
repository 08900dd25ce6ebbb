"""A game's name as somebody typed it -> the game that is meant, or those that may be; pure.

Only a name, an alias, or the same written another way is taken for certain: what is matched here may end as the label
of pictures that a network learns from. Everything like a name is asked back.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from rapidfuzz import fuzz, process

from core.aliases import plain, words
from core.games import Game
from core.storage.naming import folded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from core.aliases import AliasTable

_MOST_CANDIDATES = 3
_TYPED_CHARACTERS = 100
"""Names are shorter; more would only cost time."""

_LIKE = 76.0
"""Of 100. "Valorent" is 88 like "Valorant"; "Portal" 50 like "Paladins"."""

_CONTAINED = 90.0
"""All that was typed are words of the name, or beginnings of words."""

_INITIALS = 85.0
_WITHIN = 80.0
"""Somewhere within a word, as doom in Freedoom."""

_OTHER_NUMBER = 10.0
"""Taken off where the numbers differ: Portal 3 is as near to Portal as to Portal 2, but Portal II is not."""

_SHORT = 3
"""So few letters are like too many names; they may begin one, or be its initials."""


class MatchKind(StrEnum):
    """How sure it is which game was meant."""

    CERTAIN = "certain"
    UNSURE = "unsure"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """Which game was meant.

    Attributes:
        kind: how sure that is.
        games: the one when certain; best first, three at most, when unsure; empty when none is like it.
    """

    kind: MatchKind
    games: tuple[Game, ...] = ()

    @property
    def game(self) -> Game | None:
        """The one that was certainly meant."""
        return self.games[0] if self.kind is MatchKind.CERTAIN else None


class Matcher:
    """Knows the games that can be named."""

    def __init__(self, names: Mapping[str, tuple[str, Collection[str]]]) -> None:
        """Index the names.

        Args:
            names: by the game's id: its name, and its other names.
        """
        self._games = {id_: Game(id=id_, name=name) for id_, (name, _) in names.items()}
        self._own: dict[str, set[str]] = defaultdict(set)
        self._called: dict[str, set[str]] = defaultdict(set)
        self._joined: dict[str, set[str]] = defaultdict(set)
        self._words: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for id_, (name, aliases) in names.items():
            self._own[folded(name)].add(id_)
            for one in (name, *aliases):
                self._called[folded(one)].add(id_)
                self._joined["".join(words(one))].add(id_)
                self._words[words(one)].add(id_)
        self._sentences = {of: " ".join(of) for of in self._words}
        self._without_blanks = {of: "".join(of) for of in self._words}
        self._sorted = tuple(sorted(self._games.values(), key=lambda game: (plain(game.name), game.id)))

    @classmethod
    def of(cls, games: Iterable[Game], aliases: AliasTable) -> Matcher:
        """Over these games, with what the table knows of them."""
        return cls({game.id: (game.name, aliases.of(game.name)) for game in games})

    @property
    def games(self) -> tuple[Game, ...]:
        """All that can be named, by name."""
        return self._sorted

    def match(self, typed: str) -> Match:
        """Which game was meant."""
        typed = typed[:_TYPED_CHARACTERS]
        if not words(typed):
            return Match(kind=MatchKind.NONE)
        for found in (
            self._own.get(folded(typed)),
            self._called.get(folded(typed)),
            self._joined.get("".join(words(typed))),
        ):
            if found:
                return self._among(typed, found)
        scored = sorted(self._alike(typed).items(), key=lambda item: (-item[1], plain(self._games[item[0]].name)))
        if not scored:
            return Match(kind=MatchKind.NONE)
        return Match(kind=MatchKind.UNSURE, games=tuple(self._games[id_] for id_, _ in scored[:_MOST_CANDIDATES]))

    def complete(self, typed: str, *, limit: int = 25) -> tuple[Game, ...]:
        """The games whose names go on from what was typed, best first; all of them, by name, for nothing typed.

        Args:
            typed: the beginning of a name or of its words; a part of it; failing that, something like it.
            limit: no more than so many.
        """
        typed = typed[:_TYPED_CHARACTERS]
        wanted = words(typed)
        if not wanted:
            return self._sorted[:limit]
        ranks: dict[str, int] = {}
        for of, ids in self._words.items():
            rank = self._rank(of, wanted)
            if rank is not None:
                for id_ in ids:
                    ranks[id_] = min(rank, ranks.get(id_, rank))
        if not ranks:
            scores = self._alike(typed)
            return tuple(self._games[id_] for id_ in sorted(scores, key=lambda id_: -scores[id_])[:limit])
        return tuple(sorted((self._games[id_] for id_ in ranks), key=lambda game: (ranks[game.id], plain(game.name))))[
            :limit
        ]

    def _rank(self, of: tuple[str, ...], wanted: tuple[str, ...]) -> int | None:
        """How well a name goes on from what was typed, 0 being best; None when it does not."""
        joined, within = "".join(wanted), self._without_blanks[of]
        if within.startswith(joined):
            return 0
        if f" {' '.join(wanted)}" in self._sentences[of]:
            return 1
        if _contains(of, wanted):
            return 2
        return 3 if joined in within else None

    def _among(self, typed: str, found: Collection[str]) -> Match:
        """One of those that are called just so: that with the same numbers, where there is only one."""
        ids = sorted(found, key=lambda id_: plain(self._games[id_].name))
        agreeing = [id_ for id_ in ids if _numbers(words(self._games[id_].name)) == _numbers(words(typed))]
        if len(ids) > 1 and len(agreeing) == 1:
            ids = agreeing
        kind = MatchKind.CERTAIN if len(ids) == 1 else MatchKind.UNSURE
        return Match(kind=kind, games=tuple(self._games[id_] for id_ in ids[:_MOST_CANDIDATES]))

    def _alike(self, typed: str) -> dict[str, float]:
        """What the games score that are called something like it."""
        wanted = words(typed)
        joined = "".join(wanted)
        scores: dict[str, float] = {}

        def consider(of: tuple[str, ...], score: float) -> None:
            if _numbers(of) != _numbers(wanted):
                score -= _OTHER_NUMBER
            for id_ in self._words[of]:
                scores[id_] = max(score, scores.get(id_, 0.0))

        for of in self._words:
            if _contains(of, wanted):
                consider(of, _CONTAINED + 9 * len(joined) / len(self._without_blanks[of]))
            elif _is_initials(of, joined):
                consider(of, _INITIALS)
            elif len(joined) > _SHORT and joined in self._without_blanks[of]:
                consider(of, _WITHIN)
        if len(joined) > _SHORT:
            for scorer in (fuzz.ratio, fuzz.token_sort_ratio):
                for _, score, of in process.extract(
                    " ".join(wanted), self._sentences, scorer=scorer, score_cutoff=_LIKE, limit=20
                ):
                    consider(of, score)
        return scores


def _numbers(of: tuple[str, ...]) -> tuple[str, ...]:
    # The first part of a series is called with its number and without.
    return tuple(word for word in of if word.isdecimal() and word != "1")


def _contains(of: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether each of the words begins one of the name's; of a single letter that says nothing."""
    return len("".join(wanted)) > 1 and all(any(word.startswith(begin) for word in of) for begin in wanted)


def _is_initials(of: tuple[str, ...], joined: str) -> bool:
    """Whether it is what a name of three words or more is shortened to: all initials, or those of its last words."""
    initials = "".join(word if word.isdecimal() else word[:1] for word in of)
    return len(of) > 2 and len(joined) > 2 and initials.endswith(joined)
