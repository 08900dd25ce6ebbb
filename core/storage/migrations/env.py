"""Alembic runs this for every command.

On the connection that :mod:`core.storage.database` hands over; or, when a developer writes a new revision, on an SQLite
file of their own::

    alembic -x file=/tmp/new.db upgrade head
    alembic -x file=/tmp/new.db revision --autogenerate --rev-id 0002 -m "what is new"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context
from sqlalchemy import create_engine

from core.storage.tables import Table

if TYPE_CHECKING:
    from sqlalchemy import Connection


def migrate(connection: Connection) -> None:
    """Run what Alembic has been asked for, in the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        # SQLite changes a column by copying its table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


if "connection" in context.config.attributes:
    migrate(context.config.attributes["connection"])
else:
    file = context.get_x_argument(as_dictionary=True)["file"]
    with create_engine(f"sqlite:///{file}").begin() as connection:
        migrate(connection)
