"""What channels showed when they were looked at, asked or by night."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, func, select
from sqlalchemy.orm import aliased

from core.games import UNKNOWN, Game
from core.storage.captures import has_opted_out, is_latest_recognition
from core.storage.records import LabelSource, Seen, Sighting
from core.storage.tables import BroadcasterRow, CaptureRow, GameRow, LabelRow, RecognitionRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from core.storage.database import Database

_MOST_LOOKS = 1000
"""A timeline is made of; one every minute for 16 hours."""


def merged(seen: Iterable[Seen]) -> tuple[Sighting, ...]:
    """Looks in the order of time as entries of a timeline; pure.

    Looks in a row at the same game are one entry. One at which nothing was recognised is none, and interrupts none.
    """
    entries: list[Sighting] = []
    for one in seen:
        if one.game.id == UNKNOWN.id:
            continue
        if entries and entries[-1].game.id == one.game.id:
            last = entries[-1]
            confidences = [value for value in (last.confidence, one.confidence) if value is not None]
            entries[-1] = replace(last, last_at=one.at, confidence=max(confidences, default=None), looks=last.looks + 1)
        else:
            entries.append(Sighting(game=one.game, first_at=one.at, last_at=one.at, confidence=one.confidence, looks=1))
    return tuple(entries)


class SightingStore:
    """The questions that are asked about channels. Every method raises StorageError if the database cannot be used.

    What people agreed on goes before what a model said. A broadcaster who opted out was never seen.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def last_seen(self, login: str) -> Seen | None:
        """What a channel showed when it was last looked at; None when it never was."""
        seen = await self._looks(login, since=None, limit=1)
        return seen[-1] if seen else None

    async def timeline(self, login: str, *, since: datetime) -> tuple[Sighting, ...]:
        """The games that a channel showed at or after a moment, in the order of time."""
        return merged(await self._looks(login, since=since, limit=_MOST_LOOKS))

    async def _looks(self, login: str, *, since: datetime | None, limit: int) -> tuple[Seen, ...]:
        """The latest looks at a channel, in the order of time."""
        query = _looks_at(login).limit(limit)
        if since is not None:
            query = query.where(CaptureRow.at >= since)
        async with self._database.reading() as session:
            rows = list(await session.execute(query))
        return tuple(
            Seen(
                game=UNKNOWN if row.id is None else Game(id=row.id, name=row.name),
                at=row.at,
                confidence=None if row.by_people else row.confidence,
            )
            for row in reversed(rows)
        )


def _looks_at(login: str) -> Select[Any]:
    """Captures of a channel that a model has looked at, latest first."""
    flagged, kept = aliased(LabelRow), aliased(LabelRow)
    said = func.coalesce(kept.game_id, flagged.game_id)
    return (
        select(
            CaptureRow.at,
            GameRow.id,
            GameRow.name,
            RecognitionRow.confidence,
            case((said.is_not(None), True), else_=False).label("by_people"),
        )
        .select_from(CaptureRow)
        .join(BroadcasterRow, BroadcasterRow.id == CaptureRow.broadcaster_id)
        .join(RecognitionRow, is_latest_recognition())
        .outerjoin(flagged, and_(flagged.capture_id == CaptureRow.id, flagged.source == LabelSource.FLAG))
        .outerjoin(kept, and_(kept.capture_id == CaptureRow.id, kept.source == LabelSource.KEEPER))
        .outerjoin(GameRow, GameRow.id == func.coalesce(said, RecognitionRow.game_id))
        .where(BroadcasterRow.login == login.casefold(), ~has_opted_out())
        .order_by(CaptureRow.at.desc(), CaptureRow.id.desc())
    )
