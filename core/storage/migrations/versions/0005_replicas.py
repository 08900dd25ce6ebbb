"""What several processes agree on that share the chats: who is here, whose turn it is, what was taken, who asked when.

Revision 0005, of 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

# Both limits in one round trip, by the database's clock. Rows are locked in the same order by all, the asker's before
# the place's, so that nobody waits in a circle. What is refused is not counted, neither here nor there.
ASK = """
CREATE FUNCTION gamespotter_ask(
    asker text, asker_s double precision, place text, place_s double precision, most integer
)
RETURNS TABLE (wait_s double precision, tell boolean) LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz;
    free_at timestamptz;
    was_told boolean;
    counted timestamptz[];
BEGIN
    IF asker_s > 0 THEN
        INSERT INTO cooldowns VALUES (asker, '{}', '-infinity', false) ON CONFLICT DO NOTHING;
        SELECT until, told INTO free_at, was_told FROM cooldowns WHERE key = asker FOR UPDATE;
        IF free_at > clock_timestamp() THEN
            UPDATE cooldowns SET told = true WHERE key = asker AND NOT told;
            RETURN QUERY SELECT extract(epoch FROM free_at - clock_timestamp())::double precision, NOT was_told;
            RETURN;
        END IF;
    END IF;
    IF place_s > 0 THEN
        INSERT INTO cooldowns VALUES (place, '{}', '-infinity', false) ON CONFLICT DO NOTHING;
        SELECT asks, told INTO counted, was_told FROM cooldowns WHERE key = place FOR UPDATE;
        moment := clock_timestamp();
        counted := ARRAY(
            SELECT at FROM unnest(counted) AS at WHERE at > moment - make_interval(secs => place_s) ORDER BY at
        );
        IF cardinality(counted) >= most THEN
            UPDATE cooldowns SET told = true WHERE key = place AND NOT told;
            -- The oldest that must have gone, also when more were allowed a moment ago.
            free_at := counted[cardinality(counted) - most + 1] + make_interval(secs => place_s);
            RETURN QUERY SELECT greatest(extract(epoch FROM free_at - moment)::double precision, 0.001), NOT was_told;
            RETURN;
        END IF;
        UPDATE cooldowns SET asks = counted || moment, until = moment + make_interval(secs => place_s), told = false
        WHERE key = place;
    END IF;
    IF asker_s > 0 THEN
        UPDATE cooldowns SET until = clock_timestamp() + make_interval(secs => asker_s), told = false WHERE key = asker;
    END IF;
    RETURN QUERY SELECT 0.0::double precision, false;
END $$
"""


def upgrade() -> None:
    """Bring the schema up from the revision before."""
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("joined_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("is_leaving", sa.Boolean(), nullable=False),
        sa.Column("serves", sa.JSON(), nullable=False),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "turns",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turns")),
    )
    op.create_table(
        "taken_events",
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_taken_events")),
    )
    op.create_index("ix_taken_events_at", "taken_events", ["at"])
    op.create_table(
        "cooldowns",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("asks", sa.ARRAY(TIME).with_variant(sa.JSON(), "sqlite"), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cooldowns")),
    )
    op.create_index("ix_cooldowns_until", "cooldowns", ["until"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(ASK)
