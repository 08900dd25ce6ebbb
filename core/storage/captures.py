"""Captures and all that hangs on them: games, broadcasters, streams, frames, recognitions, labels, opt-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, delete, distinct, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from core.errors import StorageError
from core.games import NOT_A_GAME, UNKNOWN, Game
from core.storage.naming import alphabetical, folded, free_id, slug
from core.storage.records import CaptureKind, DataSetSummary, GameCount, LabelSource, OptOuts
from core.storage.tables import (
    BroadcasterRow,
    CaptureRow,
    FrameRow,
    GameAliasRow,
    GameRow,
    LabelRow,
    ModelRow,
    OptOutRow,
    PickRow,
    RecognitionRow,
    StreamRow,
    WatchRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.collection.directory import Category
    from core.recognition.verdict import Verdict
    from core.storage.database import Database
    from core.storage.frame_store import FrameStore
    from core.storage.records import Broadcaster, BroadcastStream, NewCapture

CAPTURED = "captured"
NOTHING_NEW = "nothing_new"
OPTED_OUT = "opted_out"
"""Outcomes of a pick that adding its capture decides."""


class CaptureStore:
    """The questions that are asked about captures. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database, frames: FrameStore) -> None:
        """Keep the parts; both stay the caller's to close."""
        self._database = database
        self._frames = frames

    async def add(self, capture: NewCapture) -> int | None:
        """Keep a capture, in one transaction, whole or not at all.

        Returns:
            Its id, which is the old one when a capture with this key is there already; None when the broadcaster has
            opted out: then nothing is kept, and the pick's outcome says so.

        Raises:
            StorageError: the database cannot be used, or a frame's file is not in the frame store.
        """
        # One at a time, so that no opting out, no removal of files and no other capture of the same game or
        # broadcaster comes between what is looked up here and what is written.
        async with self._database.writing(one_at_a_time=True) as session:
            known = await session.scalar(select(CaptureRow.id).where(CaptureRow.key == capture.key))
            if known is not None:
                await _settle_pick(session, capture.pick_id, CAPTURED)
                return known
            if await _has_opted_out(session, capture.broadcaster):
                await _settle_pick(session, capture.pick_id, OPTED_OUT)
                return None
            if await self._frames.missing({frame.sha256 for frame in capture.frames}):
                raise StorageError(f"A frame of capture {capture.key} was removed before it was added; take it again.")
            capture_id = await _add_capture(session, capture)
            await _settle_pick(session, capture.pick_id, CAPTURED if capture.frames else NOTHING_NEW)
            return capture_id

    async def recent_hashes(self, broadcaster: Broadcaster, *, limit: int) -> tuple[int, ...]:
        """Perceptual hashes of the broadcaster's nightly frames that still have pixels, the latest first."""
        async with self._database.reading() as session:
            row = await find_broadcaster(session, broadcaster)
            if row is None:
                return ()
            hashes = await session.scalars(
                select(FrameRow.perceptual_hash)
                .join(CaptureRow, CaptureRow.id == FrameRow.capture_id)
                .where(
                    CaptureRow.broadcaster_id == row.id,
                    CaptureRow.kind == CaptureKind.NIGHTLY,
                    FrameRow.removed_at.is_(None),
                )
                .order_by(CaptureRow.at.desc(), CaptureRow.id.desc(), FrameRow.position.desc())
                .limit(limit)
            )
            return tuple(hashes)

    async def game_counts(self) -> tuple[GameCount, ...]:
        """What is kept of every game, in the alphabetical order of their names."""
        async with self._database.reading() as session:
            return await _game_counts(session)

    async def summary(self) -> DataSetSummary:
        """The whole data set, of one moment."""
        async with self._database.reading() as session:
            games = await _game_counts(session)
            totals = (await session.execute(_totals())).one()
        return DataSetSummary(
            games=games,
            captures=totals.captures,
            frames=totals.nightly_frames + totals.asked_frames + totals.imported_frames,
            nightly_frames=totals.nightly_frames,
            asked_frames=totals.asked_frames,
            imported_frames=totals.imported_frames,
            streams=totals.streams,
            broadcasters=totals.broadcasters,
            size_bytes=totals.size_bytes,
            oldest_at=totals.oldest_at,
            newest_at=totals.newest_at,
        )

    async def broadcasters_seen(self) -> Mapping[str, int]:
        """Nightly captures ever taken, by the broadcaster's platform id."""
        return await self._captures_by_broadcaster(None)

    async def captured_since(self, at: datetime) -> Mapping[str, int]:
        """Nightly captures taken at or after a moment, by the broadcaster's platform id."""
        return await self._captures_by_broadcaster(at)

    async def opt_out(self, broadcaster: Broadcaster, *, by: str, at: datetime) -> None:
        """Write down that a broadcaster is never to be sampled again; :meth:`Upkeep.forget` also deletes what is kept.

        A second opting out changes nothing but what was not known before.
        """
        async with self._database.writing(one_at_a_time=True) as session:
            await write_opt_out(session, broadcaster, by=by, at=at)

    async def opted_out(self) -> OptOuts:
        """Who has opted out."""
        async with self._database.reading() as session:
            return _opt_outs(list(await session.scalars(select(OptOutRow))))

    async def _captures_by_broadcaster(self, since: datetime | None) -> Mapping[str, int]:
        counted = (
            select(CaptureRow.broadcaster_id, func.count().label("captures"))
            .where(CaptureRow.kind == CaptureKind.NIGHTLY)
            .group_by(CaptureRow.broadcaster_id)
        )
        if since is not None:
            counted = counted.where(CaptureRow.at >= since)
        captures = counted.subquery()
        query = (
            select(BroadcasterRow.platform_id, captures.c.captures)
            .join(captures, captures.c.broadcaster_id == BroadcasterRow.id)
            .where(BroadcasterRow.platform_id.is_not(None))
        )
        async with self._database.reading() as session:
            return {platform_id: count for platform_id, count in await session.execute(query) if platform_id}


async def find_broadcaster(session: AsyncSession, broadcaster: Broadcaster) -> BroadcasterRow | None:
    """The row of a broadcaster: by platform id where that is known here and there, else by login."""
    login = broadcaster.login.casefold()
    if broadcaster.platform_id is not None:
        row = await session.scalar(select(BroadcasterRow).where(BroadcasterRow.platform_id == broadcaster.platform_id))
        if row is not None:
            return row
    row = await session.scalar(select(BroadcasterRow).where(BroadcasterRow.login == login))
    if row is not None and broadcaster.platform_id is not None and row.platform_id is not None:
        return None  # the login was somebody else's
    return row


async def write_opt_out(session: AsyncSession, broadcaster: Broadcaster, *, by: str, at: datetime) -> None:
    """Write an opting out down, once, and watch the channel no more; in a transaction of one at a time."""
    login = broadcaster.login.casefold()
    row = await find_broadcaster(session, broadcaster)
    platform_id = broadcaster.platform_id or (None if row is None else row.platform_id)
    logins = {login} | ({row.login} if row is not None and row.login is not None else set())
    await session.execute(delete(WatchRow).where(WatchRow.login.in_(logins)))
    rows = (await session.scalars(_opt_outs_about(login, platform_id))).all()
    by_id = next((row for row in rows if row.platform_id is not None and row.platform_id == platform_id), None)
    by_login = next((row for row in rows if row.platform_id is None), None)
    if by_id is not None:
        by_id.login = login
        if by_login is not None:
            await session.delete(by_login)
    elif by_login is not None:
        by_login.platform_id = platform_id
    else:
        session.add(OptOutRow(platform_id=platform_id, login=login, by=by, at=at))


def has_opted_out() -> ColumnElement[bool]:
    """Whether the broadcaster of a :class:`BroadcasterRow` has; the same as :meth:`OptOuts.covers`."""
    by_login = and_(
        OptOutRow.login == BroadcasterRow.login,
        or_(OptOutRow.platform_id.is_(None), BroadcasterRow.platform_id.is_(None)),
    )
    by_id = OptOutRow.platform_id == BroadcasterRow.platform_id
    return select(OptOutRow.id).where(or_(by_login, by_id)).exists()


def is_latest_recognition() -> ColumnElement[bool]:
    """Whether a :class:`RecognitionRow` is what the last model said of a :class:`CaptureRow`."""
    one = aliased(RecognitionRow)
    latest = (
        select(one.id)
        .where(one.capture_id == CaptureRow.id)
        .order_by(one.at.desc(), one.id.desc())
        .limit(1)
        .correlate(CaptureRow)
        .scalar_subquery()
    )
    return RecognitionRow.id == latest


def channel_of() -> ColumnElement[str]:
    """The login of a :class:`BroadcasterRow`, or what else it is called."""
    return func.coalesce(BroadcasterRow.login, BroadcasterRow.display_name, BroadcasterRow.platform_id)


def _opt_outs_about(login: str, platform_id: str | None) -> Select[OptOutRow]:
    return select(OptOutRow).where(or_(OptOutRow.login == login, OptOutRow.platform_id == platform_id))


def _opt_outs(rows: list[OptOutRow]) -> OptOuts:
    return OptOuts(
        platform_ids=frozenset(row.platform_id for row in rows if row.platform_id is not None),
        logins=frozenset(row.login for row in rows if row.login is not None and row.platform_id is None),
        other_logins=frozenset(row.login for row in rows if row.login is not None and row.platform_id is not None),
    )


async def _has_opted_out(session: AsyncSession, broadcaster: Broadcaster) -> bool:
    """Whether a broadcaster has; and if they did so by login alone, their id is written down with it."""
    login = broadcaster.login.casefold()
    platform_id = broadcaster.platform_id
    if platform_id is None:
        row = await find_broadcaster(session, broadcaster)
        platform_id = row.platform_id if row is not None else None
    rows = list(await session.scalars(_opt_outs_about(login, platform_id)))
    if not _opt_outs(rows).covers(login=login, platform_id=platform_id):
        return False
    if platform_id is not None:
        by_id = next((row for row in rows if row.platform_id == platform_id), None)
        by_login = next((row for row in rows if row.platform_id is None), None)
        if by_id is not None:
            by_id.login = login
        elif by_login is not None:
            by_login.platform_id = platform_id
    return True


async def _settle_pick(session: AsyncSession, pick_id: int | None, outcome: str) -> None:
    if pick_id is not None:
        await session.execute(
            update(PickRow).where(PickRow.id == pick_id, PickRow.outcome.is_(None)).values(outcome=outcome)
        )


async def _add_capture(session: AsyncSession, capture: NewCapture) -> int:
    broadcaster = await _broadcaster(session, capture.broadcaster, at=capture.at)
    stream = None if capture.stream is None else await _stream(session, capture.stream, broadcaster.id)
    declared = None
    if capture.declared is not None:
        declared = await _game_of_category(session, capture.declared, is_game=capture.is_game, at=capture.at)
    row = CaptureRow(
        key=capture.key,
        kind=capture.kind,
        broadcaster_id=broadcaster.id,
        stream_id=None if stream is None else stream.id,
        declared_id=None if declared is None else declared.id,
        at=capture.at,
        rendition=capture.rendition,
        window_s=capture.window_s,
        adverts=capture.rejected.adverts,
        black=capture.rejected.black,
        duplicates=capture.rejected.duplicates,
        failed=capture.rejected.failed,
        waiting=capture.rejected.waiting,
        bytes_fetched=capture.bytes_fetched,
        job_run_id=capture.job_run_id,
        pick_id=capture.pick_id,
    )
    session.add(row)
    await session.flush()
    if capture.frames:
        await session.execute(
            insert(FrameRow),
            [
                {
                    "capture_id": row.id,
                    "position": position,
                    "sha256": frame.sha256,
                    "size_bytes": frame.size_bytes,
                    "perceptual_hash": frame.perceptual_hash,
                    "at_s": frame.at_s,
                }
                for position, frame in enumerate(capture.frames)
            ],
        )
    if declared is not None and capture.kind is CaptureKind.NIGHTLY:
        session.add(LabelRow(capture_id=row.id, game_id=declared.id, source=LabelSource.DECLARED, at=capture.at))
    if capture.label is not None:
        game = await game_of_person(session, capture.label, at=capture.at)
        await session.flush()
        session.add(LabelRow(capture_id=row.id, game_id=game.id, source=LabelSource.IMPORT, at=capture.at))
    if capture.recognition is not None:
        await _add_recognition(session, row.id, capture.recognition.verdict, at=capture.recognition.at)
    return row.id


async def _add_recognition(session: AsyncSession, capture_id: int, verdict: Verdict, *, at: datetime) -> None:
    if await session.get(ModelRow, verdict.model) is None:
        session.add(ModelRow(version=verdict.model, first_seen_at=at))
        await session.flush()
    best = await _game_of_label(session, verdict.best.game, at=at)
    game = None
    if verdict.game.id != UNKNOWN.id:
        game = best if verdict.game == verdict.best.game else await _game_of_label(session, verdict.game, at=at)
    session.add(
        RecognitionRow(
            capture_id=capture_id,
            model=verdict.model,
            at=at,
            game_id=None if game is None else game.id,
            best_id=best.id,
            confidence=verdict.confidence,
            votes=verdict.votes,
            score=verdict.score,
            novelty=verdict.novelty,
            runners_up=[_named(one.game) | {"confidence": one.confidence} for one in verdict.closest],
            frames=[_named(one.game) | {"confidence": one.confidence, "at_s": one.at_s} for one in verdict.frames],
        )
    )


def _named(game: Game) -> dict[str, Any]:
    return {"id": game.id, "name": game.name}


async def _broadcaster(session: AsyncSession, broadcaster: Broadcaster, *, at: datetime) -> BroadcasterRow:
    """The row of who holds this login now, made or brought up to date."""
    login = broadcaster.login.casefold()
    holder = await session.scalar(select(BroadcasterRow).where(BroadcasterRow.login == login))
    row = await find_broadcaster(session, broadcaster)
    if holder is not None and holder is not row:
        if holder.platform_id is None and row is not None:
            await _merge(session, holder, into=row)
        else:
            holder.login = None  # it changed hands, and we do not know the new name
        await session.flush()
    if row is None:
        row = BroadcasterRow(login=login, first_seen_at=at)
        session.add(row)
    row.login = login
    row.platform_id = broadcaster.platform_id or row.platform_id
    row.display_name = broadcaster.display_name or row.display_name
    await session.flush()
    return row


async def _merge(session: AsyncSession, known_by_login: BroadcasterRow, *, into: BroadcasterRow) -> None:
    """One person who was met by login alone and, under another login, by id: one row from now on."""
    await session.execute(
        update(CaptureRow).where(CaptureRow.broadcaster_id == known_by_login.id).values(broadcaster_id=into.id)
    )
    await session.execute(
        update(StreamRow).where(StreamRow.broadcaster_id == known_by_login.id).values(broadcaster_id=into.id)
    )
    into.first_seen_at = min(into.first_seen_at, known_by_login.first_seen_at)
    await session.execute(delete(BroadcasterRow).where(BroadcasterRow.id == known_by_login.id))
    session.expunge(known_by_login)


async def _stream(session: AsyncSession, stream: BroadcastStream, broadcaster_id: int) -> StreamRow:
    row = await session.scalar(select(StreamRow).where(StreamRow.platform_id == stream.platform_id))
    if row is None:
        row = StreamRow(platform_id=stream.platform_id, broadcaster_id=broadcaster_id)
        session.add(row)
    row.started_at = stream.started_at or row.started_at
    row.title = stream.title
    row.language = stream.language
    await session.flush()
    return row


async def _game_of_category(
    session: AsyncSession, category: Category, *, is_game: bool | None, at: datetime
) -> GameRow:
    """The game of a platform's category: by its id, else one of that name that has no category yet, else a new one."""
    row = await session.scalar(select(GameRow).where(GameRow.category_id == category.id))
    if row is None:
        row = next((game for game in await _games_named(session, category.name) if game.category_id is None), None)
        if row is None:
            row = await _new_game(session, slug(category.name), name=category.name, suffix=category.id, at=at)
        row.category_id = category.id
    row.name = category.name
    row.is_game = row.is_game if is_game is None else is_game
    await session.flush()
    await _add_alias(session, row, category.name)
    return row


async def _game_of_label(session: AsyncSession, label: Game, *, at: datetime) -> GameRow:
    """The game that a model's label means: by its name, where two have it by its id; else a new one.

    Not by id alone: another model may call another game so.
    """
    if label.id == NOT_A_GAME.id:
        row = await session.get(GameRow, label.id)
        if row is None:
            row = GameRow(id=NOT_A_GAME.id, name=NOT_A_GAME.name, is_game=False, added_at=at)
            session.add(row)
            await session.flush()
        return row
    named = await _games_named(session, label.name)
    row = next((game for game in named if game.id == label.id), named[0] if named else None)
    if row is None:
        row = await _new_game(session, label.id, name=label.name, at=at)
        await _add_alias(session, row, label.name)
    return row


async def game_of_person(session: AsyncSession, game: Game, *, at: datetime) -> GameRow:
    """The game that a person means: by its name, else by its id; else a new one."""
    if game.id == NOT_A_GAME.id or await _games_named(session, game.name):
        return await _game_of_label(session, game, at=at)
    # An id without any of its names: the name is one that the database has not met.
    return await session.get(GameRow, game.id) or await _game_of_label(session, game, at=at)


async def _games_named(session: AsyncSession, name: str) -> list[GameRow]:
    """Games that have this name or had it, the first known first."""
    games = await session.scalars(
        select(GameRow)
        .join(GameAliasRow, GameAliasRow.game_id == GameRow.id)
        .where(GameAliasRow.folded == folded(name))
        .order_by(GameRow.added_at, GameRow.id)
    )
    return list(games)


async def _new_game(session: AsyncSession, wanted_id: str, *, name: str, at: datetime, suffix: str = "") -> GameRow:
    taken = set(await session.scalars(select(GameRow.id).where(GameRow.id.startswith(wanted_id, autoescape=True))))
    row = GameRow(id=free_id(wanted_id, taken=taken, suffix=suffix), name=name, added_at=at)
    session.add(row)
    return row


async def _add_alias(session: AsyncSession, game: GameRow, name: str) -> None:
    await session.flush()
    there = await session.scalar(
        select(GameAliasRow.id).where(GameAliasRow.game_id == game.id, GameAliasRow.folded == folded(name))
    )
    if there is None:
        session.add(GameAliasRow(game_id=game.id, name=name, folded=folded(name)))
        await session.flush()


async def _game_counts(session: AsyncSession) -> tuple[GameCount, ...]:
    label = labels_in_force().subquery()
    held = held_captures().subquery()
    counts = (
        select(
            label.c.game_id,
            func.sum(held.c.frames).label("frames"),
            func.count(distinct(held.c.stream)).label("streams"),
            func.count(distinct(held.c.broadcaster_id)).label("broadcasters"),
            func.sum(held.c.size_bytes).label("size_bytes"),
        )
        .join(held, held.c.id == label.c.capture_id)
        .group_by(label.c.game_id)
        .subquery()
    )
    rows = await session.execute(
        select(GameRow.id, GameRow.name, GameRow.category_id, GameRow.is_game, counts).outerjoin(
            counts, counts.c.game_id == GameRow.id
        )
    )
    found = [
        GameCount(
            game=Game(id=row.id, name=row.name),
            category_id=row.category_id,
            is_game=row.is_game,
            frames=int(row.frames or 0),
            streams=row.streams or 0,
            broadcasters=row.broadcasters or 0,
            size_bytes=int(row.size_bytes or 0),
        )
        for row in rows
    ]
    # Not in SQL: each database has its own idea of the alphabet.
    return tuple(sorted(found, key=lambda count: (alphabetical(count.game.name), count.game.name, count.game.id)))


def labels_in_force() -> Select[Any]:
    """Of every labelled capture, the label by the strongest source."""
    strength = case({source: strength for strength, source in enumerate(LabelSource)}, value=LabelRow.source)
    ranked = select(
        LabelRow.capture_id,
        LabelRow.game_id,
        LabelRow.source,
        func.row_number().over(partition_by=LabelRow.capture_id, order_by=strength.desc()).label("rank"),
    ).subquery()
    return select(ranked.c.capture_id, ranked.c.game_id, ranked.c.source).where(ranked.c.rank == 1)


def held_captures() -> Select[Any]:
    """Captures with pixels. A capture whose broadcast is not known counts as one of its own."""
    pixels = (
        select(
            FrameRow.capture_id,
            func.count().label("frames"),
            func.sum(FrameRow.size_bytes).label("size_bytes"),
        )
        .where(FrameRow.removed_at.is_(None))
        .group_by(FrameRow.capture_id)
        .subquery()
    )
    return select(
        CaptureRow.id,
        CaptureRow.kind,
        CaptureRow.at,
        CaptureRow.broadcaster_id,
        func.coalesce(CaptureRow.stream_id, -CaptureRow.id).label("stream"),
        pixels.c.frames,
        pixels.c.size_bytes,
    ).join(pixels, pixels.c.capture_id == CaptureRow.id)


def _totals() -> Select[Any]:
    held = held_captures().subquery()
    files = select(func.max(FrameRow.size_bytes).label("size_bytes")).where(FrameRow.removed_at.is_(None))
    each_file = files.group_by(FrameRow.sha256).subquery()

    def frames_of(kind: CaptureKind) -> Any:  # noqa: ANN401 - SQLAlchemy's type of a sum says no more
        return func.coalesce(func.sum(case((held.c.kind == kind, held.c.frames), else_=0)), 0)

    return select(
        select(func.count(CaptureRow.id)).scalar_subquery().label("captures"),
        frames_of(CaptureKind.NIGHTLY).label("nightly_frames"),
        frames_of(CaptureKind.ASKED).label("asked_frames"),
        frames_of(CaptureKind.IMPORTED).label("imported_frames"),
        func.count(distinct(held.c.stream)).label("streams"),
        func.count(distinct(held.c.broadcaster_id)).label("broadcasters"),
        func.min(held.c.at).label("oldest_at"),
        func.max(held.c.at).label("newest_at"),
        select(func.coalesce(func.sum(each_file.c.size_bytes), 0)).scalar_subquery().label("size_bytes"),
    )
