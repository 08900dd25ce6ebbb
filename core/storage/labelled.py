"""What training learns from: labelled captures out of the store, and what an import has brought already."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from core.games import NOT_A_GAME, Game
from core.storage.captures import has_opted_out, labels_in_force
from core.storage.records import CaptureKind, FlagState, LabelSource
from core.storage.tables import BroadcasterRow, CaptureRow, FlagRow, FrameRow, GameRow, LabelRow, StreamRow

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Select

    from core.storage.database import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagWord:
    """A standing flag of a capture.

    Attributes:
        id: its number.
        game_id: that it names.
        state: open or accepted.
    """

    id: int
    game_id: str
    state: FlagState


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledFrame:
    """A frame of a labelled capture.

    Attributes:
        sha256: of its file.
        perceptual_hash: 64 bits, unsigned.
        at_s: seconds from the start of the capture's window.
        has_pixels: whether its file should be there.
    """

    sha256: str
    perceptual_hash: int
    at_s: float
    has_pixels: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledCapture:
    """A capture with the label that is in force.

    Attributes:
        key: of the capture.
        broadcaster: whose stream: their platform id where it is known, which a new login does not change; else the
            login.
        stream: the platform's id of the broadcast; None when it is not known.
        game: the label by the strongest source; ``NOT_A_GAME`` for every category that is none.
        game_id: of the label's row, with which flags are compared.
        source: who says so.
        declared: id of the category that the broadcaster declared, as in ``game``; None when it is not known.
        flags: standing ones, by number.
        frames: in the order of the stream.
    """

    key: str
    broadcaster: str
    stream: str | None
    game: Game
    game_id: str
    source: LabelSource
    declared: str | None
    flags: tuple[FlagWord, ...]
    frames: tuple[LabelledFrame, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """All labelled captures of one moment, by key.

    Attributes:
        captures: of broadcasters who have not opted out.
        opted_out: labelled captures that are not among them because their broadcaster has.
    """

    captures: tuple[LabelledCapture, ...]
    opted_out: int


class LabelledStore:
    """Reads what training learns from. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def labelled(self) -> Labelled:
        """All captures that have a label, whether or not their pixels are there, of one moment."""
        async with self._database.reading() as session:
            rows = (await session.execute(_labelled())).all()
            flags: dict[int, list[FlagWord]] = defaultdict(list)
            standing = select(FlagRow.capture_id, FlagRow.id, FlagRow.game_id, FlagRow.state).where(
                FlagRow.state.in_((FlagState.OPEN, FlagState.ACCEPTED))
            )
            for flag in await session.execute(standing.order_by(FlagRow.id)):
                flags[flag.capture_id].append(FlagWord(id=flag.id, game_id=flag.game_id, state=flag.state))
            frames: dict[int, list[LabelledFrame]] = defaultdict(list)
            with_label = select(LabelRow.id).where(LabelRow.capture_id == FrameRow.capture_id).exists()
            found = select(
                FrameRow.capture_id, FrameRow.sha256, FrameRow.perceptual_hash, FrameRow.at_s, FrameRow.removed_at
            ).where(with_label)
            for frame in await session.execute(found.order_by(FrameRow.capture_id, FrameRow.position)):
                frames[frame.capture_id].append(
                    LabelledFrame(
                        sha256=frame.sha256,
                        perceptual_hash=frame.perceptual_hash,
                        at_s=frame.at_s,
                        has_pixels=frame.removed_at is None,
                    )
                )
        captures = [
            LabelledCapture(
                key=row.key,
                broadcaster=row.platform_id or row.login,
                stream=row.stream,
                game=NOT_A_GAME if row.is_game is False else Game(id=row.game_id, name=row.game_name),
                game_id=row.game_id,
                source=row.source,
                declared=NOT_A_GAME.id if row.declared_is_game is False else row.declared_id,
                flags=tuple(flags[row.id]),
                frames=tuple(frames[row.id]),
            )
            for row in rows
            if not row.opted_out
        ]
        return Labelled(
            # Not in SQL: each database has its own idea of the order of texts.
            captures=tuple(sorted(captures, key=lambda capture: capture.key)),
            opted_out=sum(1 for row in rows if row.opted_out),
        )

    async def imported(self, keys: Collection[str]) -> frozenset[str]:
        """Those of these captures' keys that are there."""
        async with self._database.reading() as session:
            return frozenset(await session.scalars(select(CaptureRow.key).where(CaptureRow.key.in_(keys))))

    async def imported_frames(self, stream: str) -> frozenset[str]:
        """The files of frames that were imported as a stream's; by its platform id."""
        query = (
            select(FrameRow.sha256)
            .join(CaptureRow, CaptureRow.id == FrameRow.capture_id)
            .join(StreamRow, StreamRow.id == CaptureRow.stream_id)
            .where(
                StreamRow.platform_id == stream,
                CaptureRow.kind == CaptureKind.IMPORTED,
                FrameRow.removed_at.is_(None),
            )
        )
        async with self._database.reading() as session:
            return frozenset(await session.scalars(query))


def _labelled() -> Select[Any]:
    label = labels_in_force().subquery()
    declared = aliased(GameRow)
    return (
        select(
            CaptureRow.id,
            CaptureRow.key,
            BroadcasterRow.platform_id,
            BroadcasterRow.login,
            StreamRow.platform_id.label("stream"),
            label.c.game_id,
            label.c.source,
            GameRow.name.label("game_name"),
            GameRow.is_game,
            CaptureRow.declared_id,
            declared.is_game.label("declared_is_game"),
            has_opted_out().label("opted_out"),
        )
        .join(label, label.c.capture_id == CaptureRow.id)
        .join(GameRow, GameRow.id == label.c.game_id)
        .join(BroadcasterRow, BroadcasterRow.id == CaptureRow.broadcaster_id)
        .outerjoin(StreamRow, StreamRow.id == CaptureRow.stream_id)
        .outerjoin(declared, declared.id == CaptureRow.declared_id)
    )
