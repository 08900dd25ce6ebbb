"""Moderators' words on what captures show, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import aliased

from core.games import UNKNOWN, Game
from core.storage.audit import add_to_audit
from core.storage.captures import channel_of, game_of_person, has_opted_out, is_latest_recognition
from core.storage.records import (
    AcceptRule,
    AuditEntry,
    FlagOutcome,
    FlagReason,
    FlagRecord,
    FlagState,
    LabelSource,
    LookRecord,
    Moderator,
)
from core.storage.tables import (
    BroadcasterRow,
    CaptureRow,
    FlagRow,
    FrameRow,
    GameRow,
    LabelRow,
    RecognitionRow,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import CursorResult, Result, Select
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.storage.database import Database

_BATCH = 500
"""Flags in one statement; databases have a limit."""

STANDING = (FlagState.OPEN, FlagState.ACCEPTED)
"""States of flags that count, and that keep the capture's pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """What one moderator says of a capture, as the rule weighs it."""

    game_id: str
    moderates_channel: bool


def verdict_on(words: Collection[Word], rule: AcceptRule) -> tuple[FlagState, FlagReason]:
    """What becomes of the standing flags of one capture, which share one fate; pure.

    Whoever names another game holds all of them open: a moderator of the channel too may be mistaken, and then it is
    for people to settle.
    """
    if len({word.game_id for word in words}) > 1:
        return FlagState.OPEN, FlagReason.DISPUTED
    if rule.trust_channel_moderators and any(word.moderates_channel for word in words):
        return FlagState.ACCEPTED, FlagReason.TRUSTED
    if len(words) >= rule.needed:
        return FlagState.ACCEPTED, FlagReason.AGREED
    return FlagState.OPEN, FlagReason.WAITING


class FlagStore:
    """Flags, and the looks that they are about. Every method raises StorageError if the database cannot be used.

    What is done here is written down in the audit with it. Captures of a broadcaster who opted out are not there.
    """

    def __init__(self, database: Database, *, rule: AcceptRule | None = None) -> None:
        """Keep the database, which stays the caller's to close.

        Args:
            database: with all that flags are about.
            rule: when a flag is accepted.
        """
        self._database = database
        self._rule = rule or AcceptRule()

    async def look(self, key: str) -> LookRecord | None:
        """A capture by its key; None when there is none (any more, or not yet)."""
        return await self._look(_looks().where(CaptureRow.key == key))

    async def last_look(self, login: str, *, since: datetime) -> LookRecord | None:
        """The latest capture of a channel at or after a moment that a model has looked at; None without one."""
        return await self._look(
            _looks()
            .where(
                BroadcasterRow.login == login.casefold(),
                CaptureRow.at >= since,
                RecognitionRow.id.is_not(None),
            )
            .order_by(CaptureRow.at.desc(), CaptureRow.id.desc())
            .limit(1)
        )

    async def flag(
        self, look: str, game: Game, *, by: Moderator, place: str, server: str = "", at: datetime
    ) -> FlagOutcome | None:
        """Say what a capture shows; the same moderator's second word takes the place of the first.

        To say that what was recognised is right is to flag it with that game.

        Args:
            look: key of the capture.
            game: that is right; made when the database does not know it.
            by: who says so.
            place: the platform's id of where.
            server: the platform's id of what that is part of.
            at: when.

        Returns:
            None when there is no such capture (any more, or not yet).

        Raises:
            ValueError: the game is ``UNKNOWN``.
            StorageError: the database cannot be used.
        """
        if game.id == UNKNOWN.id:
            msg = "nobody can say that a capture shows the unknown"
            raise ValueError(msg)
        # One at a time, so that the capture's pixels are not removed meanwhile, and nobody else flags it.
        async with self._database.writing(one_at_a_time=True) as session:
            capture = (await session.execute(_looks().where(CaptureRow.key == look))).one_or_none()
            if capture is None:
                return None
            right = await game_of_person(session, game, at=at)
            await session.flush()
            row = await session.scalar(
                select(FlagRow).where(
                    FlagRow.capture_id == capture.id, FlagRow.platform == by.platform, FlagRow.by_id == by.id
                )
            )
            was = None
            if row is None:
                row = FlagRow(capture_id=capture.id, platform=by.platform, by_id=by.id)
                session.add(row)
            else:
                before = await session.get_one(GameRow, row.game_id)
                was = Game(id=before.id, name=before.name)
            if row.state in STANDING and row.game_id == right.id:
                # Said before, and perhaps trusted before, as in another place.
                row.moderates_channel = row.moderates_channel or by.moderates_channel
            else:
                row.game_id, row.recognition_id = right.id, capture.recognition_id
                row.state, row.reason, row.state_at = FlagState.OPEN, FlagReason.WAITING, at
                row.moderates_channel = by.moderates_channel
                row.place, row.server, row.at = place, server, at
                row.used_by = row.used_at = row.told_at = row.telling_until = None
            row.by_name = by.name
            await session.flush()
            standing = await self._settle(session, capture.id, at=at)
            add_to_audit(
                session,
                AuditEntry(
                    at=at,
                    platform=by.platform,
                    place=place,
                    by=by.id,
                    by_name=by.name,
                    action="flag",
                    subject=capture.channel,
                    detail={
                        "flag": row.id,
                        "look": look,
                        "game": right.id,
                        "was": None if was is None else was.id,
                        "state": row.state.value,
                        "reason": row.reason.value,
                    },
                ),
            )
            record = _record((await session.execute(_flags().where(FlagRow.id == row.id))).one())
        agreeing = sum(one.game_id == right.id for one in standing)
        return FlagOutcome(
            flag=record,
            was=was,
            agreeing=agreeing,
            disagreeing=len(standing) - agreeing,
            needed=self._rule.needed,
        )

    async def withdraw(
        self, flag_id: int, *, by: Moderator, may_withdraw_others: bool, place: str, at: datetime
    ) -> FlagRecord | None:
        """Take a flag back; the others of its capture are weighed anew.

        Args:
            flag_id: its number.
            by: who takes it back.
            may_withdraw_others: whether they may do so with a flag that is not their own.
            place: the platform's id of where.
            at: when.

        Returns:
            The flag as it is now, also when it was withdrawn before; None when there is none of this number, it was
            rejected, or they may not.
        """
        one = _flags().where(FlagRow.id == flag_id)
        async with self._database.writing(one_at_a_time=True) as session:
            found = (await session.execute(one)).one_or_none()
            if found is None or found.FlagRow.state is FlagState.REJECTED:
                return None
            row = found.FlagRow
            own = (row.platform, row.by_id) == (by.platform, by.id)
            if not own and not may_withdraw_others:
                return None
            if row.state is FlagState.WITHDRAWN:
                return _record(found)
            row.state, row.reason = FlagState.WITHDRAWN, FlagReason.WITHDRAWN if own else FlagReason.REVOKED
            row.state_at = at
            await session.flush()
            await self._settle(session, row.capture_id, at=at)
            add_to_audit(
                session,
                AuditEntry(
                    at=at,
                    platform=by.platform,
                    place=place,
                    by=by.id,
                    by_name=by.name,
                    action="withdraw",
                    subject=found.channel,
                    detail={"flag": flag_id, "look": found.key, "game": row.game_id, "own": own},
                ),
            )
            return _record(found)

    async def find(self, flag_id: int) -> FlagRecord | None:
        """A flag by its number, whatever became of it."""
        found = await self._flags(_flags().where(FlagRow.id == flag_id))
        return found[0] if found else None

    async def flags(
        self, login: str | None = None, *, states: Collection[FlagState] = STANDING, limit: int
    ) -> tuple[FlagRecord, ...]:
        """Flags in some states, of a channel or of all, the latest first."""
        query = _flags().where(FlagRow.state.in_(states)).order_by(FlagRow.at.desc(), FlagRow.id.desc()).limit(limit)
        if login is not None:
            query = query.where(BroadcasterRow.login == login.casefold())
        return await self._flags(query)

    async def mark_used(self, model: str, flag_ids: Iterable[int], *, at: datetime) -> int:
        """Write down that a model was trained with these flags; the first that was counts.

        Returns:
            How many accepted flags are used for the first time so.
        """
        ids = sorted(set(flag_ids))
        used = 0
        async with self._database.writing() as session:
            for start in range(0, len(ids), _BATCH):
                batch = FlagRow.id.in_(ids[start : start + _BATCH])
                result = await session.execute(
                    update(FlagRow)
                    .where(batch, FlagRow.state == FlagState.ACCEPTED, FlagRow.used_by.is_(None))
                    .values(used_by=model, used_at=at)
                )
                used += _changed(result)
        return used

    async def notices_due(
        self, *, limit: int, lease_s: float, platforms: Collection[str] | None = None
    ) -> tuple[FlagRecord, ...]:
        """Take used flags whose moderators are to be told so, the longest used first.

        Args:
            limit: how many at most.
            lease_s: how long nobody else gets them; those not told until then come again.
            platforms: on which somebody can be told; None for all.
        """
        clock = self._database.clock()
        due = and_(
            FlagRow.state == FlagState.ACCEPTED,
            FlagRow.used_by.is_not(None),
            FlagRow.told_at.is_(None),
            or_(FlagRow.telling_until.is_(None), FlagRow.telling_until < clock),
        )
        if platforms is not None:
            due = and_(due, FlagRow.platform.in_(platforms))
        next_ones = select(FlagRow.id).where(due).order_by(FlagRow.used_at, FlagRow.id).limit(limit)
        async with self._database.writing() as session:
            taken = list(await session.scalars(next_ones.with_for_update(skip_locked=True)))
            await session.execute(
                update(FlagRow)
                .where(FlagRow.id.in_(taken))
                .values(telling_until=self._database.clock(plus_s=lease_s))
                .execution_options(synchronize_session=False)
            )
            rows = await session.execute(_flags().where(FlagRow.id.in_(taken)).order_by(FlagRow.used_at, FlagRow.id))
            return tuple(_record(row) for row in rows)

    async def notice_sent(self, flag_id: int) -> bool:
        """Write down that the moderator was told, or cannot be; False when that was so already."""
        async with self._database.writing() as session:
            result = await session.execute(
                update(FlagRow)
                .where(FlagRow.id == flag_id, FlagRow.used_by.is_not(None), FlagRow.told_at.is_(None))
                .values(told_at=self._database.clock(), telling_until=None)
            )
            return _changed(result) > 0

    async def _look(self, query: Select[Any]) -> LookRecord | None:
        async with self._database.reading() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            return None
        return LookRecord(
            capture_id=row.id,
            key=row.key,
            kind=row.kind,
            channel=row.channel,
            at=row.at,
            recognised=None if row.game_id is None else Game(id=row.game_id, name=row.game_name),
            model=row.model,
            frames=row.frames,
        )

    async def _flags(self, query: Select[*tuple[Any, ...]]) -> tuple[FlagRecord, ...]:
        async with self._database.reading() as session:
            return tuple(_record(row) for row in await session.execute(query))

    async def _settle(self, session: AsyncSession, capture_id: int, *, at: datetime) -> list[FlagRow]:
        """Weigh the standing flags of a capture, and let its label follow."""
        standing = list(
            await session.scalars(
                select(FlagRow)
                .where(FlagRow.capture_id == capture_id, FlagRow.state.in_(STANDING))
                .order_by(FlagRow.at, FlagRow.id)
            )
        )
        words = [Word(game_id=row.game_id, moderates_channel=row.moderates_channel) for row in standing]
        state, reason = verdict_on(words, self._rule)
        for row in standing:
            if row.state is not state:
                row.state_at = at
            row.state, row.reason = state, reason
        label = await session.scalar(
            select(LabelRow).where(LabelRow.capture_id == capture_id, LabelRow.source == LabelSource.FLAG)
        )
        if not standing or state is not FlagState.ACCEPTED:
            if label is not None:
                await session.delete(label)
        elif label is None or label.game_id != standing[0].game_id:
            if label is None:
                label = LabelRow(capture_id=capture_id, source=LabelSource.FLAG)
                session.add(label)
            label.game_id = standing[0].game_id
            label.by = f"{standing[0].platform}:{standing[0].by_id}"
            label.at = at
        await session.flush()
        return standing


def _looks() -> Select[Any]:
    """Captures of all who have not opted out, with what the latest model said."""
    frames = (
        select(func.count())
        .select_from(FrameRow)
        .where(FrameRow.capture_id == CaptureRow.id, FrameRow.removed_at.is_(None))
        .correlate(CaptureRow)
        .scalar_subquery()
    )
    return (
        select(
            CaptureRow.id,
            CaptureRow.key,
            CaptureRow.kind,
            CaptureRow.at,
            channel_of().label("channel"),
            RecognitionRow.id.label("recognition_id"),
            RecognitionRow.model,
            RecognitionRow.game_id,
            GameRow.name.label("game_name"),
            frames.label("frames"),
        )
        .join(BroadcasterRow, BroadcasterRow.id == CaptureRow.broadcaster_id)
        .outerjoin(RecognitionRow, is_latest_recognition())
        .outerjoin(GameRow, GameRow.id == RecognitionRow.game_id)
        .where(~has_opted_out())
    )


def _flags() -> Select[*tuple[Any, ...]]:
    recognised = aliased(GameRow)
    return (
        select(
            FlagRow,
            CaptureRow.key,
            channel_of().label("channel"),
            GameRow.name.label("game_name"),
            RecognitionRow.model,
            recognised.id.label("recognised_id"),
            recognised.name.label("recognised_name"),
        )
        .join(CaptureRow, CaptureRow.id == FlagRow.capture_id)
        .join(BroadcasterRow, BroadcasterRow.id == CaptureRow.broadcaster_id)
        .join(GameRow, GameRow.id == FlagRow.game_id)
        .outerjoin(RecognitionRow, RecognitionRow.id == FlagRow.recognition_id)
        .outerjoin(recognised, recognised.id == RecognitionRow.game_id)
        .where(~has_opted_out())
    )


def _record(row: Any) -> FlagRecord:  # noqa: ANN401 - a row of _flags
    flag: FlagRow = row.FlagRow
    return FlagRecord(
        id=flag.id,
        look=row.key,
        channel=row.channel,
        recognised=None if row.recognised_id is None else Game(id=row.recognised_id, name=row.recognised_name),
        model=row.model,
        game=Game(id=flag.game_id, name=row.game_name),
        state=flag.state,
        reason=flag.reason,
        by=Moderator(
            platform=flag.platform, id=flag.by_id, name=flag.by_name, moderates_channel=flag.moderates_channel
        ),
        place=flag.place,
        server=flag.server,
        at=flag.at,
        state_at=flag.state_at,
        used_by=flag.used_by,
    )


def _changed(result: Result[Any]) -> int:
    return cast("CursorResult[Any]", result).rowcount
