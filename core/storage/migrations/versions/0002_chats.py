"""What chats need: flags that say who raised them and where, watches, tokens, the audit.

Revision 0002, of 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of the type INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def one_of(name: str, *values: str) -> sa.Enum:
    """A short string, one of these; ``name`` names the check."""
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)


def upgrade() -> None:
    """Bring the schema up from the revision before."""
    _flags()
    op.create_table(
        "watches",
        sa.Column("id", ID, nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("place_id", sa.Text(), nullable=False),
        sa.Column("server_id", sa.Text(), nullable=False),
        sa.Column("place_name", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("differing", sa.Integer(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=True),
        sa.Column("declared", sa.Text(), nullable=True),
        sa.Column("alerted_seen", sa.Text(), nullable=True),
        sa.Column("alerted_declared", sa.Text(), nullable=True),
        sa.Column("looked_at", TIME, nullable=True),
        sa.CheckConstraint("differing >= 0", name=op.f("ck_watches_differing")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watches")),
        sa.UniqueConstraint("login", "platform", "place_id", name=op.f("uq_watches_login_platform_place_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_watches_due_at", "watches", ["due_at"])
    op.create_table(
        "tokens",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("platform", "user_id", name=op.f("pk_tokens")),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("by_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_subject", "audit", ["subject", "id"])


def _flags() -> None:
    """The flags anew, with what the old ones say in them."""
    op.execute("CREATE TABLE flags_0001 AS SELECT * FROM flags")
    op.drop_table("flags")
    op.create_table(
        "flags",
        sa.Column("id", ID, nullable=False),
        sa.Column("capture_id", ID, nullable=False),
        sa.Column("recognition_id", ID, nullable=True),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("state", one_of("state", "open", "accepted", "rejected", "withdrawn"), nullable=False),
        sa.Column(
            "reason",
            one_of("reason", "waiting", "disputed", "trusted", "agreed", "withdrawn", "revoked", "keeper"),
            nullable=False,
        ),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("by_id", sa.Text(), nullable=False),
        sa.Column("by_name", sa.Text(), nullable=False),
        sa.Column("moderates_channel", sa.Boolean(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("state_at", TIME, nullable=False),
        sa.Column("used_by", sa.Text(), nullable=True),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("telling_until", TIME, nullable=True),
        sa.ForeignKeyConstraint(["capture_id"], ["captures.id"], name=op.f("fk_flags_capture_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name=op.f("fk_flags_game_id")),
        sa.ForeignKeyConstraint(
            ["recognition_id"], ["recognitions.id"], name=op.f("fk_flags_recognition_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flags")),
        sa.UniqueConstraint("capture_id", "platform", "by_id", name=op.f("uq_flags_capture_id_platform_by_id")),
        sqlite_autoincrement=True,
    )
    op.execute(
        """
        INSERT INTO flags (
            id, capture_id, recognition_id, game_id, state, reason, platform, by_id, by_name, moderates_channel,
            place, server, at, state_at
        )
        SELECT
            id, capture_id, recognition_id, game_id, state,
            CASE state
                WHEN 'open' THEN 'waiting'
                WHEN 'withdrawn' THEN 'withdrawn'
                ELSE 'keeper'
            END,
            platform, "by", "by", false, '', '', at, state_at
        FROM flags_0001
        """
    )
    op.execute("DROP TABLE flags_0001")
    if op.get_bind().dialect.name == "postgresql":
        # It counts by itself only what it numbered itself.
        op.execute("SELECT setval(pg_get_serial_sequence('flags', 'id'), max(id)) FROM flags")
    op.create_index("ix_flags_game_id", "flags", ["game_id"])
    op.create_index("ix_flags_recognition_id", "flags", ["recognition_id"])
