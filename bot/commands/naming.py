"""Which games can be named in a command: those the model knows and those in the database, under all their names."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from bot.commands.matching import Matcher
from core.errors import StorageError
from core.games import NOT_A_GAME

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from core.aliases import AliasTable
    from core.games import Game
    from core.recognition.aggregate import AnswerRule

log = logging.getLogger(__name__)

_REFRESH_S = 300.0
"""After which a game that was collected meanwhile can be named."""


class KnowsGames(Protocol):
    """What is needed of :class:`core.storage.catalogue.GameCatalogue`."""

    async def games(self) -> Mapping[Game, Collection[str]]:
        """Every game, with the names under which the database knows it."""
        ...


class GameNames:
    """A matcher over all games, made anew now and then."""

    def __init__(self, aliases: AliasTable, store: KnowsGames | None) -> None:
        """Keep the parts.

        Args:
            aliases: other names of well-known games.
            store: knows the games that were collected; None where nothing is kept.
        """
        self._aliases = aliases
        self._store = store
        self._matcher: Matcher | None = None
        self._model = ""
        self._made_at_s = 0.0

    async def matcher(self, rule: AnswerRule) -> Matcher:
        """Knows the games of the model that answers, those of the database, and "not a game"."""
        fresh = time.monotonic() - self._made_at_s < _REFRESH_S
        if self._matcher is None or not fresh or rule.model != self._model:
            self._matcher = Matcher(await self._names(rule))
            self._model, self._made_at_s = rule.model, time.monotonic()
        return self._matcher

    async def _names(self, rule: AnswerRule) -> Mapping[str, tuple[str, Collection[str]]]:
        games: dict[str, tuple[str, set[str]]] = {
            game.id: (game.name, set(self._aliases.of(game.name))) for game in (*rule.labels, NOT_A_GAME)
        }
        try:
            stored = await self._store.games() if self._store is not None else {}
        except StorageError as error:
            log.error("games of the database cannot be named just now: %s", error)  # noqa: TRY400 - a sentence
            stored = {}
        for game, names in stored.items():
            _, known = games.setdefault(game.id, (game.name, set(self._aliases.of(game.name))))
            known.update(names)
        return games
