"""The first tables.

Revision 0001, of an empty database.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of the type INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
WITH_PIXELS: dict[str, Any] = {
    "sqlite_where": sa.text("removed_at IS NULL"),
    "postgresql_where": sa.text("removed_at IS NULL"),
}
BY_LOGIN_ALONE: dict[str, Any] = {
    "sqlite_where": sa.text("platform_id IS NULL"),
    "postgresql_where": sa.text("platform_id IS NULL"),
}


def one_of(name: str, *values: str) -> sa.Enum:
    """A short string, one of these; ``name`` names the check."""
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    """Bring the schema up from the revision before."""
    op.create_table(
        "broadcasters",
        sa.Column("id", ID, nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=True),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.CheckConstraint("platform_id IS NOT NULL OR login IS NOT NULL", name=op.f("ck_broadcasters_named")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broadcasters")),
        sa.UniqueConstraint("login", name=op.f("uq_broadcasters_login")),
        sa.UniqueConstraint("platform_id", name=op.f("uq_broadcasters_platform_id")),
    )
    op.create_table(
        "games",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category_id", sa.Text(), nullable=True),
        sa.Column("is_game", sa.Boolean(), nullable=True),
        sa.Column("added_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_games")),
        sa.UniqueConstraint("category_id", name=op.f("uq_games_category_id")),
    )
    op.create_table(
        "job_runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("state", one_of("state", "running", "done", "failed", "interrupted"), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.CheckConstraint("attempt >= 1", name=op.f("ck_job_runs_attempt")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_runs")),
        sa.UniqueConstraint("job", "due_at", name=op.f("uq_job_runs_job_due_at")),
    )
    op.create_index("ix_job_runs_due_at", "job_runs", ["due_at"])

    op.create_table(
        "models",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_models")),
    )
    op.create_table(
        "opt_outs",
        sa.Column("id", ID, nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=True),
        sa.Column("login", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.CheckConstraint("platform_id IS NOT NULL OR login IS NOT NULL", name=op.f("ck_opt_outs_named")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opt_outs")),
        sa.UniqueConstraint("platform_id", name=op.f("uq_opt_outs_platform_id")),
    )
    op.create_index("ix_opt_outs_login", "opt_outs", ["login"])
    op.create_index("uq_opt_outs_login_alone", "opt_outs", ["login"], unique=True, **BY_LOGIN_ALONE)

    op.create_table(
        "game_aliases",
        sa.Column("id", ID, nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_game_aliases_game_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_game_aliases")),
        sa.UniqueConstraint("folded", "game_id", name=op.f("uq_game_aliases_folded_game_id")),
    )
    op.create_index("ix_game_aliases_game_id", "game_aliases", ["game_id"])

    op.create_table(
        "picks",
        sa.Column("id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Text(), nullable=False),
        sa.Column("category_name", sa.Text(), nullable=False),
        sa.Column("is_game", sa.Boolean(), nullable=False),
        sa.Column("spare", sa.Boolean(), nullable=False),
        sa.Column("stream_platform_id", sa.Text(), nullable=False),
        sa.Column("broadcaster_platform_id", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("declared_id", sa.Text(), nullable=True),
        sa.Column("declared_name", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("viewers", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["job_runs.id"], name=op.f("fk_picks_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picks")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_picks_run_id_position")),
    )
    op.create_index("ix_picks_broadcaster_platform_id", "picks", ["broadcaster_platform_id"])
    op.create_index("ix_picks_login", "picks", ["login"])

    op.create_table(
        "streams",
        sa.Column("id", ID, nullable=False),
        sa.Column("platform_id", sa.Text(), nullable=False),
        sa.Column("broadcaster_id", ID, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["broadcaster_id"], ["broadcasters.id"], name=op.f("fk_streams_broadcaster_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_streams")),
        sa.UniqueConstraint("platform_id", name=op.f("uq_streams_platform_id")),
    )
    op.create_index("ix_streams_broadcaster_id", "streams", ["broadcaster_id"])

    op.create_table(
        "captures",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", one_of("kind", "asked", "nightly"), nullable=False),
        sa.Column("broadcaster_id", ID, nullable=False),
        sa.Column("stream_id", ID, nullable=True),
        sa.Column("declared_id", sa.Text(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("rendition", sa.Text(), nullable=False),
        sa.Column("window_s", sa.Double(), nullable=False),
        sa.Column("adverts", sa.Integer(), nullable=False),
        sa.Column("black", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("bytes_fetched", sa.BigInteger(), nullable=False),
        sa.Column("job_run_id", ID, nullable=True),
        sa.Column("pick_id", ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["broadcaster_id"], ["broadcasters.id"], name=op.f("fk_captures_broadcaster_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["declared_id"], ["games.id"], name=op.f("fk_captures_declared_id")),
        sa.ForeignKeyConstraint(
            ["job_run_id"], ["job_runs.id"], name=op.f("fk_captures_job_run_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["pick_id"], ["picks.id"], name=op.f("fk_captures_pick_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["stream_id"], ["streams.id"], name=op.f("fk_captures_stream_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captures")),
        sa.UniqueConstraint("key", name=op.f("uq_captures_key")),
    )
    op.create_index("ix_captures_broadcaster_id_kind_at", "captures", ["broadcaster_id", "kind", "at"])
    op.create_index("ix_captures_declared_id", "captures", ["declared_id"])
    op.create_index("ix_captures_job_run_id", "captures", ["job_run_id"])
    op.create_index("ix_captures_kind_at", "captures", ["kind", "at"])
    op.create_index("ix_captures_pick_id", "captures", ["pick_id"])
    op.create_index("ix_captures_stream_id", "captures", ["stream_id"])

    op.create_table(
        "frames",
        sa.Column("id", ID, nullable=False),
        sa.Column("capture_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("perceptual_hash", sa.BigInteger(), nullable=False),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("removed_at", TIME, nullable=True),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_frames_sha256")),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_frames_size_bytes")),
        sa.ForeignKeyConstraint(["capture_id"], ["captures.id"], name=op.f("fk_frames_capture_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frames")),
        sa.UniqueConstraint("capture_id", "position", name=op.f("uq_frames_capture_id_position")),
    )
    op.create_index("ix_frames_kept", "frames", ["capture_id", "size_bytes"], **WITH_PIXELS)
    op.create_index("ix_frames_sha256", "frames", ["sha256", "size_bytes"], **WITH_PIXELS)

    op.create_table(
        "labels",
        sa.Column("id", ID, nullable=False),
        sa.Column("capture_id", ID, nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("source", one_of("source", "declared", "import", "flag", "keeper"), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["capture_id"], ["captures.id"], name=op.f("fk_labels_capture_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_labels_game_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sa.UniqueConstraint("capture_id", "source", name=op.f("uq_labels_capture_id_source")),
    )
    op.create_index("ix_labels_game_id", "labels", ["game_id"])

    op.create_table(
        "recognitions",
        sa.Column("id", ID, nullable=False),
        sa.Column("capture_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("game_id", sa.Text(), nullable=True),
        sa.Column("best_id", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("novelty", sa.Double(), nullable=False),
        sa.Column("runners_up", sa.JSON(), nullable=False),
        sa.Column("frames", sa.JSON(), nullable=False),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name=op.f("ck_recognitions_confidence")),
        sa.ForeignKeyConstraint(["best_id"], ["games.id"], name=op.f("fk_recognitions_best_id")),
        sa.ForeignKeyConstraint(
            ["capture_id"], ["captures.id"], name=op.f("fk_recognitions_capture_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_recognitions_game_id")),
        sa.ForeignKeyConstraint(["model"], ["models.version"], name=op.f("fk_recognitions_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recognitions")),
        sa.UniqueConstraint("capture_id", "model", name=op.f("uq_recognitions_capture_id_model")),
    )
    op.create_index("ix_recognitions_best_id", "recognitions", ["best_id"])
    op.create_index("ix_recognitions_game_id", "recognitions", ["game_id"])
    op.create_index("ix_recognitions_model", "recognitions", ["model"])

    op.create_table(
        "flags",
        sa.Column("id", ID, nullable=False),
        sa.Column("capture_id", ID, nullable=False),
        sa.Column("recognition_id", ID, nullable=True),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("state", one_of("state", "open", "accepted", "rejected", "withdrawn"), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("state_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["capture_id"], ["captures.id"], name=op.f("fk_flags_capture_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_flags_game_id")),
        sa.ForeignKeyConstraint(
            ["recognition_id"], ["recognitions.id"], name=op.f("fk_flags_recognition_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
        sa.UniqueConstraint("capture_id", "platform", "by", name=op.f("uq_flags_capture_id_platform_by")),
    )
    op.create_index("ix_flags_game_id", "flags", ["game_id"])
    op.create_index("ix_flags_recognition_id", "flags", ["recognition_id"])
