"""Captures of a third kind: imported from folders.

Revision 0003, of 0002.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KIND = "kind IN ('asked', 'nightly', 'imported')"


def upgrade() -> None:
    """Bring the schema up from the revision before."""
    # SQLite changes no check: Alembic copies the table.
    with op.batch_alter_table("captures") as captures:
        captures.drop_constraint(op.f("ck_captures_kind"), type_="check")
        captures.create_check_constraint(op.f("ck_captures_kind"), KIND)
