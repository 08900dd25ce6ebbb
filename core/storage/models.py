"""What models said of looks, and what people say of that: what one model is preferred to another by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import delete, func, select

from core.games import UNKNOWN
from core.storage.flags import STANDING
from core.storage.naming import folded
from core.storage.records import ModelAnswer
from core.storage.tables import CaptureRow, FlagRow, GameAliasRow, GameRow, ModelAnswerRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import CursorResult
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.storage.database import Database
    from core.storage.records import NewModelAnswer

_MOST = 10_000
"""Answers that a model is measured by; the latest."""


class ModelStore:
    """Answers of models. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def add(self, answers: Sequence[NewModelAnswer]) -> None:
        """Keep answers; one of the same model on the same look stays as it is."""
        if not answers:
            return
        async with self._database.writing() as session:
            await session.execute(
                self._database.insert(ModelAnswerRow)
                .values(
                    [
                        {
                            "look": answer.look,
                            "model": answer.model,
                            "beside": answer.beside,
                            "at": answer.at,
                            "game": _name(answer),
                            "confidence": answer.confidence,
                            "frames": answer.frames,
                            "network_ms": answer.network_ms,
                        }
                        for answer in answers
                    ]
                )
                .on_conflict_do_nothing(index_elements=[ModelAnswerRow.look, ModelAnswerRow.model])
            )

    async def answers(
        self, model: str, *, since: datetime, beside: str | None = None, limit: int = _MOST
    ) -> tuple[ModelAnswer, ...]:
        """What a model said at or after a moment, the latest first.

        Args:
            model: version.
            since: the moment.
            beside: those that it gave silently beside this version; None for those that were the bot's answers.
            limit: how many at most.
        """
        # The latest word on a look, of those that stand.
        latest = (
            select(FlagRow.capture_id, func.max(FlagRow.id).label("flag_id"))
            .where(FlagRow.state.in_(STANDING))
            .group_by(FlagRow.capture_id)
            .subquery()
        )
        query = (
            select(ModelAnswerRow, FlagRow.game_id.label("right_id"))
            .outerjoin(CaptureRow, CaptureRow.key == ModelAnswerRow.look)
            .outerjoin(latest, latest.c.capture_id == CaptureRow.id)
            .outerjoin(FlagRow, FlagRow.id == latest.c.flag_id)
            .where(ModelAnswerRow.model == model, ModelAnswerRow.at >= since)
            .where(ModelAnswerRow.beside.is_(None) if beside is None else ModelAnswerRow.beside == beside)
            .order_by(ModelAnswerRow.at.desc(), ModelAnswerRow.id.desc())
            .limit(limit)
        )
        async with self._database.reading() as session:
            rows = list(await session.execute(query))
            names = await _names(session, {row.right_id for row in rows if row.right_id is not None})
        return tuple(_answer(row.ModelAnswerRow, row.right_id, names) for row in rows)

    async def expire(self, *, before: datetime) -> int:
        """Remove what is older than a moment; returns how many answers that were."""
        async with self._database.writing() as session:
            result = await session.execute(delete(ModelAnswerRow).where(ModelAnswerRow.at < before))
            return cast("CursorResult[Any]", result).rowcount


def _name(answer: NewModelAnswer) -> str | None:
    if answer.game is None:
        return None
    return "" if answer.game.id == UNKNOWN.id else answer.game.name


async def _names(session: AsyncSession, game_ids: Collection[str]) -> Mapping[str, set[str]]:
    """All names of games, folded, by their ids."""
    names: dict[str, set[str]] = {game_id: set() for game_id in game_ids}
    for game in await session.scalars(select(GameRow).where(GameRow.id.in_(game_ids))):
        names[game.id].add(folded(game.name))
    for alias in await session.scalars(select(GameAliasRow).where(GameAliasRow.game_id.in_(game_ids))):
        names[alias.game_id].add(alias.folded)
    return names


def _answer(row: ModelAnswerRow, right_id: str | None, names: Mapping[str, set[str]]) -> ModelAnswer:
    game = None if row.game is None else folded(row.game)
    return ModelAnswer(
        look=row.look,
        game=game,
        confidence=row.confidence,
        frame_ms=row.network_ms / row.frames,
        # By name, as another model may have another id for the same game.
        is_right=None if right_id is None else game in names[right_id],
    )
