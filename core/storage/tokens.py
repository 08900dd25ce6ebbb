"""Tokens of users, which were encrypted before they came here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import delete, select, update

from core.storage.records import StoredToken
from core.storage.tables import TokenRow

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Result

    from core.storage.database import Database


class TokenStore:
    """One token a user. Every method raises StorageError if the database cannot be used.

    What has the token as it was read goes through, what has an older one does not: so a replica that is late neither
    overwrites nor removes what another has refreshed.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def get(self, platform: str, user_id: str) -> StoredToken | None:
        """The token of a user; None when there is none."""
        query = select(TokenRow).where(TokenRow.platform == platform, TokenRow.user_id == user_id)
        async with self._database.reading() as session:
            row = await session.scalar(query)
        return None if row is None else _token(row)

    async def all(self, platform: str) -> tuple[StoredToken, ...]:
        """The tokens of all users of a platform, by their ids."""
        query = select(TokenRow).where(TokenRow.platform == platform).order_by(TokenRow.user_id)
        async with self._database.reading() as session:
            return tuple(_token(row) for row in await session.scalars(query))

    async def put(self, token: StoredToken) -> None:
        """Keep a token that a user has just given, whatever was there."""
        values = {"secret": token.secret, "scopes": list(token.scopes), "at": token.at}
        async with self._database.writing() as session:
            await session.execute(
                self._database.insert(TokenRow)
                .values(platform=token.platform, user_id=token.user_id, **values)
                .on_conflict_do_update(index_elements=[TokenRow.platform, TokenRow.user_id], set_=values)
            )

    async def replace(self, old: StoredToken, new: StoredToken) -> bool:
        """Put a refreshed token in the place of the one that it was made from.

        Args:
            old: as it was read here.
            new: of the same user.

        Returns:
            False when another token is there by now, or none: then nothing is changed, and what is there is the one
            to use.
        """
        async with self._database.writing() as session:
            result = await session.execute(
                update(TokenRow)
                .where(
                    TokenRow.platform == old.platform, TokenRow.user_id == old.user_id, TokenRow.secret == old.secret
                )
                .values(secret=new.secret, scopes=list(new.scopes), at=new.at)
            )
            return _changed(result)

    async def remove(self, old: StoredToken) -> bool:
        """Remove a token that is of no use any more; False when another is there by now, or none."""
        async with self._database.writing() as session:
            result = await session.execute(
                delete(TokenRow).where(
                    TokenRow.platform == old.platform, TokenRow.user_id == old.user_id, TokenRow.secret == old.secret
                )
            )
            return _changed(result)


def _token(row: TokenRow) -> StoredToken:
    return StoredToken(
        platform=row.platform, user_id=row.user_id, secret=row.secret, scopes=tuple(row.scopes), at=row.at
    )


def _changed(result: Result[Any]) -> bool:
    return cast("CursorResult[Any]", result).rowcount > 0
