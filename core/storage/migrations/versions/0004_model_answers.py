"""What models said of looks, also silently: what they are measured by.

Revision 0004, of 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# SQLite numbers rows by itself only in a column of the type INTEGER.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Bring the schema up from the revision before."""
    op.create_table(
        "model_answers",
        sa.Column("id", ID, nullable=False),
        sa.Column("look", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("beside", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("game", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("network_ms", sa.Double(), nullable=False),
        sa.CheckConstraint("frames > 0", name=op.f("ck_model_answers_frames")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_answers")),
        sa.UniqueConstraint("look", "model", name=op.f("uq_model_answers_look_model")),
    )
    op.create_index("ix_model_answers_model_at", "model_answers", ["model", "at"])
    op.create_index("ix_model_answers_at", "model_answers", ["at"])
