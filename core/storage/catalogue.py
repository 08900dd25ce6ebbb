"""The games that the database knows, under all the names it has seen."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from core.games import Game
from core.storage.tables import GameAliasRow, GameRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from core.storage.database import Database


class GameCatalogue:
    """Names of games. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def games(self) -> Mapping[Game, Collection[str]]:
        """Every game, with its other names; categories that are no game are not among them."""
        query = (
            select(GameRow.id, GameRow.name, GameAliasRow.name.label("alias"))
            .outerjoin(GameAliasRow, GameAliasRow.game_id == GameRow.id)
            .where(or_(GameRow.is_game.is_(None), GameRow.is_game.is_(True)))
        )
        names: dict[Game, set[str]] = defaultdict(set)
        async with self._database.reading() as session:
            for row in await session.execute(query):
                known = names[Game(id=row.id, name=row.name)]
                if row.alias and row.alias != row.name:
                    known.add(row.alias)
        return names
