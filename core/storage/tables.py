"""The tables. Migrations make them; a test holds that both say the same.

::

    games ─┬─ game_aliases           opt_outs   (outlive what they removed)
           │
           ├─ captures ─┬─ frames
    broadcasters ─ streams ┘   ├─ labels          what it shows, by whom
           │            ├─ recognitions ─ models
           │            └─ flags
    job_runs ─ picks ───┘

    watches   tokens   audit   (of chats; they refer to nothing)
    model_answers              (what models are measured by; likewise)
    replicas   turns   taken_events   cooldowns   (what processes agree on that share the chats; likewise)
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.storage.records import CaptureKind, FlagReason, FlagState, Json, LabelSource, RunState

if TYPE_CHECKING:
    from sqlalchemy import Dialect

EnumT = TypeVar("EnumT", bound=StrEnum)

_Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of exactly this type."""

_HALF_OF_64_BITS = 1 << 63


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware time, in UTC on its way in and out; SQLite keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To what the database keeps."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"{value.isoformat()} names no time zone"
            raise ValueError(msg)
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From what the database keeps."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text as others wrote it, without what PostgreSQL or UTF-8 cannot hold: NUL and lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To what the database keeps."""
        return None if value is None else plain(value)


class Unsigned64(TypeDecorator[int]):
    """64 bits without a sign, in a column that has one."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To what the database keeps."""
        return None if value is None else to_signed(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """From what the database keeps."""
        return None if value is None else to_unsigned(value)


def plain(text_: str) -> str:
    """A text that every database can hold."""
    return text_.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def to_signed(bits: int) -> int:
    """64 bits as a two's complement number."""
    if not 0 <= bits < 2 * _HALF_OF_64_BITS:
        msg = f"{bits} is no number of 64 bits"
        raise ValueError(msg)
    return bits - 2 * _HALF_OF_64_BITS if bits >= _HALF_OF_64_BITS else bits


def to_unsigned(number: int) -> int:
    """The same 64 bits without a sign."""
    return number % (2 * _HALF_OF_64_BITS)


def _one_of(kind: type[EnumT]) -> Enum:
    """A short string, one of the enumeration's, which the database checks."""
    name = {
        CaptureKind: "kind",
        FlagReason: "reason",
        FlagState: "state",
        LabelSource: "source",
        RunState: "state",
    }[kind]
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Table(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own interface
        datetime: UtcDateTime(),
        str: PlainText(),
        CaptureKind: _one_of(CaptureKind),
        FlagReason: _one_of(FlagReason),
        FlagState: _one_of(FlagState),
        LabelSource: _one_of(LabelSource),
        RunState: _one_of(RunState),
    }


class GameRow(Table):
    """A game, or a category that is none.

    Attributes:
        id: ours; a model's labels carry it.
        category_id: the platform's; None for a game that only a model names.
        is_game: None when nobody said.
    """

    __tablename__ = "games"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    category_id: Mapped[str | None] = mapped_column(unique=True)
    is_game: Mapped[bool | None]
    added_at: Mapped[datetime]


class GameAliasRow(Table):
    """A name under which a game is found: its present one, former ones, others.

    Attributes:
        folded: see :func:`core.storage.naming.folded`. Two games may share a name: two categories do.
    """

    __tablename__ = "game_aliases"
    __table_args__ = (UniqueConstraint("folded", "game_id"),)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    game_id: Mapped[str] = mapped_column(ForeignKey("games.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    folded: Mapped[str]


class BroadcasterRow(Table):
    """Who streams.

    Attributes:
        platform_id: None when only the login is known.
        login: None when somebody else has it by now.
    """

    __tablename__ = "broadcasters"
    __table_args__ = (CheckConstraint("platform_id IS NOT NULL OR login IS NOT NULL", name="named"),)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    platform_id: Mapped[str | None] = mapped_column(unique=True)
    login: Mapped[str | None] = mapped_column(unique=True)
    display_name: Mapped[str | None]
    first_seen_at: Mapped[datetime]


class StreamRow(Table):
    """One broadcast."""

    __tablename__ = "streams"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    platform_id: Mapped[str] = mapped_column(unique=True)
    broadcaster_id: Mapped[int] = mapped_column(ForeignKey("broadcasters.id", ondelete="CASCADE"), index=True)
    started_at: Mapped[datetime | None]
    title: Mapped[str]
    language: Mapped[str]


class JobRunRow(Table):
    """A due run of a job; the unique pair makes it happen once, whatever the number of replicas."""

    __tablename__ = "job_runs"
    __table_args__ = (
        UniqueConstraint("job", "due_at"),
        CheckConstraint("attempt >= 1", name="attempt"),
        Index("ix_job_runs_due_at", "due_at"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    job: Mapped[str]
    due_at: Mapped[datetime]
    state: Mapped[RunState]
    holder: Mapped[str]
    attempt: Mapped[int]
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    result: Mapped[Json] = mapped_column(JSON(none_as_null=True), nullable=True)


class PickRow(Table):
    """A stream that a night is to sample, as the directory listed it."""

    __tablename__ = "picks"
    __table_args__ = (UniqueConstraint("run_id", "position"),)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("job_runs.id", ondelete="CASCADE"))
    position: Mapped[int]
    category_id: Mapped[str]
    category_name: Mapped[str]
    is_game: Mapped[bool]
    spare: Mapped[bool]
    stream_platform_id: Mapped[str]
    broadcaster_platform_id: Mapped[str] = mapped_column(index=True)
    login: Mapped[str] = mapped_column(index=True)
    display_name: Mapped[str]
    declared_id: Mapped[str | None]
    declared_name: Mapped[str | None]
    title: Mapped[str]
    language: Mapped[str]
    started_at: Mapped[datetime]
    viewers: Mapped[int]
    outcome: Mapped[str | None]


class CaptureRow(Table):
    """A sample of a stream, asked for or taken by night.

    Attributes:
        key: makes a second try add nothing.
        declared_id: game that the broadcaster declared at that time.
    """

    __tablename__ = "captures"
    __table_args__ = (
        Index("ix_captures_broadcaster_id_kind_at", "broadcaster_id", "kind", "at"),
        Index("ix_captures_kind_at", "kind", "at"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[CaptureKind]
    broadcaster_id: Mapped[int] = mapped_column(ForeignKey("broadcasters.id", ondelete="CASCADE"))
    stream_id: Mapped[int | None] = mapped_column(ForeignKey("streams.id", ondelete="SET NULL"), index=True)
    declared_id: Mapped[str | None] = mapped_column(ForeignKey("games.id"), index=True)
    at: Mapped[datetime]
    rendition: Mapped[str]
    window_s: Mapped[float]
    adverts: Mapped[int]
    black: Mapped[int]
    duplicates: Mapped[int]
    failed: Mapped[int]
    waiting: Mapped[int]
    bytes_fetched: Mapped[int] = mapped_column(BigInteger)
    job_run_id: Mapped[int | None] = mapped_column(ForeignKey("job_runs.id", ondelete="SET NULL"), index=True)
    pick_id: Mapped[int | None] = mapped_column(ForeignKey("picks.id", ondelete="SET NULL"), index=True)


class FrameRow(Table):
    """A frame of a capture.

    Attributes:
        sha256: of its file.
        removed_at: when its pixels went; the file is there as long as a row without this names it.
    """

    __tablename__ = "frames"
    __table_args__ = (
        UniqueConstraint("capture_id", "position"),
        CheckConstraint("length(sha256) = 64", name="sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        Index(
            "ix_frames_sha256",
            "sha256",
            "size_bytes",
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "ix_frames_kept",
            "capture_id",
            "size_bytes",
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("captures.id", ondelete="CASCADE"))
    position: Mapped[int]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    perceptual_hash: Mapped[int] = mapped_column(Unsigned64)
    at_s: Mapped[float]
    removed_at: Mapped[datetime | None]


class ModelRow(Table):
    """A model that has answered here."""

    __tablename__ = "models"

    version: Mapped[str] = mapped_column(primary_key=True)
    first_seen_at: Mapped[datetime]


class RecognitionRow(Table):
    """What a model said of a capture; never rewritten.

    Attributes:
        game_id: the answer; None when it was that the game is unknown.
        best_id: the likeliest game.
        confidence: of the likeliest game.
        runners_up: ``[{"id", "name", "confidence"}]``, the model's own ids and names.
        frames: ``[{"id", "name", "confidence", "at_s"}]``, likewise.
    """

    __tablename__ = "recognitions"
    __table_args__ = (
        UniqueConstraint("capture_id", "model"),
        CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("captures.id", ondelete="CASCADE"))
    model: Mapped[str] = mapped_column(ForeignKey("models.version"), index=True)
    at: Mapped[datetime]
    game_id: Mapped[str | None] = mapped_column(ForeignKey("games.id"), index=True)
    best_id: Mapped[str] = mapped_column(ForeignKey("games.id"), index=True)
    confidence: Mapped[float]
    votes: Mapped[int]
    score: Mapped[float]
    novelty: Mapped[float]
    runners_up: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    frames: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class FlagRow(Table):
    """A moderator's word on what a capture shows; one a moderator and capture.

    Attributes:
        id: people type it, so that none is used twice.
        reason: why it is in its state.
        platform: on which they said it.
        by_id: the moderator, as the platform numbers them.
        by_name: as other people there saw it.
        moderates_channel: whether they looked after this very channel then.
        place: the platform's id of where they said it.
        server: the platform's id of what that is part of.
        state_at: when it came into its state.
        used_by: first model that was trained with it; it need not have answered here.
        told_at: when the moderator was told so.
        telling_until: until then somebody is about to tell them.
    """

    __tablename__ = "flags"
    __table_args__ = (UniqueConstraint("capture_id", "platform", "by_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("captures.id", ondelete="CASCADE"))
    recognition_id: Mapped[int | None] = mapped_column(ForeignKey("recognitions.id", ondelete="SET NULL"), index=True)
    game_id: Mapped[str] = mapped_column(ForeignKey("games.id"), index=True)
    state: Mapped[FlagState]
    reason: Mapped[FlagReason]
    platform: Mapped[str]
    by_id: Mapped[str]
    by_name: Mapped[str]
    moderates_channel: Mapped[bool]
    place: Mapped[str]
    server: Mapped[str]
    at: Mapped[datetime]
    state_at: Mapped[datetime]
    used_by: Mapped[str | None]
    used_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    telling_until: Mapped[datetime | None]


class ModelAnswerRow(Table):
    """What a model said of a look, also silently, and how long that took; it need not be kept what the look saw.

    Attributes:
        look: key of the capture, where there is one.
        beside: version that answered, where this one said it silently.
        game: name; empty for the unknown, None where the model failed.
    """

    __tablename__ = "model_answers"
    __table_args__ = (
        UniqueConstraint("look", "model"),
        CheckConstraint("frames > 0", name="frames"),
        Index("ix_model_answers_model_at", "model", "at"),
        Index("ix_model_answers_at", "at"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    look: Mapped[str]
    model: Mapped[str]
    beside: Mapped[str | None]
    at: Mapped[datetime]
    game: Mapped[str | None]
    confidence: Mapped[float]
    frames: Mapped[int]
    network_ms: Mapped[float]


class LabelRow(Table):
    """What a capture shows, by one source; the strongest source's word is the label."""

    __tablename__ = "labels"
    __table_args__ = (UniqueConstraint("capture_id", "source"),)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    capture_id: Mapped[int] = mapped_column(ForeignKey("captures.id", ondelete="CASCADE"))
    game_id: Mapped[str] = mapped_column(ForeignKey("games.id"), index=True)
    source: Mapped[LabelSource]
    by: Mapped[str | None]
    at: Mapped[datetime]


class OptOutRow(Table):
    """A broadcaster who is never to be sampled again; outlives the rows that it removed."""

    __tablename__ = "opt_outs"
    __table_args__ = (
        CheckConstraint("platform_id IS NOT NULL OR login IS NOT NULL", name="named"),
        Index("ix_opt_outs_login", "login"),
        Index(
            "uq_opt_outs_login_alone",
            "login",
            unique=True,
            sqlite_where=text("platform_id IS NULL"),
            postgresql_where=text("platform_id IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    platform_id: Mapped[str | None] = mapped_column(unique=True)
    login: Mapped[str | None]
    by: Mapped[str]
    at: Mapped[datetime]


class WatchRow(Table):
    """A channel that is looked at every few minutes for one place, and what the looks so far have left.

    Attributes:
        due_at: when it is to be looked at next.
        attempt: of claiming it; what an earlier one still says is not heard.
        lease_until: until then others leave it alone; None when nobody has it.
        differing: looks in a row at which seen and declared differed.
        seen: at the last of these.
        declared: at the last of these.
        alerted_seen: when it was said last.
        alerted_declared: when it was said last.
    """

    __tablename__ = "watches"
    __table_args__ = (
        UniqueConstraint("login", "platform", "place_id"),
        CheckConstraint("differing >= 0", name="differing"),
        Index("ix_watches_due_at", "due_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    login: Mapped[str]
    platform: Mapped[str]
    place_id: Mapped[str]
    server_id: Mapped[str]
    place_name: Mapped[str]
    by: Mapped[str]
    at: Mapped[datetime]
    due_at: Mapped[datetime]
    attempt: Mapped[int]
    holder: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    differing: Mapped[int]
    seen: Mapped[str | None]
    declared: Mapped[str | None]
    alerted_seen: Mapped[str | None]
    alerted_declared: Mapped[str | None]
    looked_at: Mapped[datetime | None]


class TokenRow(Table):
    """A token of a user of a platform, encrypted before it came here."""

    __tablename__ = "tokens"

    platform: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(JSON)
    at: Mapped[datetime]


class AuditRow(Table):
    """Who did what, when and where; it refers to nothing, so that nothing takes it along."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    at: Mapped[datetime]
    platform: Mapped[str]
    place: Mapped[str]
    by: Mapped[str]
    by_name: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[Json] = mapped_column(JSON(none_as_null=True), nullable=True)


class ReplicaRow(Table):
    """A process that shares the chats with others, while it is heard of.

    Attributes:
        serves: what it hears at present, as all replicas name it.
        numbers: what it goes by where all must go by the same.
    """

    __tablename__ = "replicas"

    id: Mapped[str] = mapped_column(primary_key=True)
    joined_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    is_leaving: Mapped[bool]
    serves: Mapped[list[str]] = mapped_column(JSON)
    numbers: Mapped[dict[str, int]] = mapped_column(JSON)


class TurnRow(Table):
    """When something may be done next that all replicas together may do only so often."""

    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_at: Mapped[datetime]


class TakenEventRow(Table):
    """A message or interaction that one of the replicas has taken to answer."""

    __tablename__ = "taken_events"
    __table_args__ = (Index("ix_taken_events_at", "at"),)

    event: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class CooldownRow(Table):
    """When a person or a place asked last; on PostgreSQL the function ``gamespotter_ask`` of the migrations writes it.

    Attributes:
        asks: of a place, those that still count.
        until: of a person, when the next ask is allowed; of a place, when the last one counts no more.
        told: whether the first refusal has been told.
    """

    __tablename__ = "cooldowns"
    __table_args__ = (Index("ix_cooldowns_until", "until"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    asks: Mapped[list[datetime]] = mapped_column(ARRAY(UtcDateTime()).with_variant(JSON(), "sqlite"))
    until: Mapped[datetime]
    told: Mapped[bool]
