"""What a platform's directory says is live, as values, and the interface behind which it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Category:
    """What a broadcaster can declare: a game, or something that is none.

    Attributes:
        id: the platform's; it stays when the name changes.
        name: as the platform spells it.
    """

    id: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveStream:
    """A channel that is live, as the directory lists it.

    Attributes:
        id: of this broadcast; a channel that goes live again has another.
        broadcaster_id: the platform's; it stays when the login changes.
        login: lower-case name in the channel's address.
        display_name: the same name as its owner spells it.
        category: declared; None when nothing is.
        title: of the broadcast.
        language: ISO 639-1, or ``other``; empty when unknown.
        started_at: timezone-aware, UTC.
        viewers: at the time of the listing.
    """

    id: str
    broadcaster_id: str
    login: str
    display_name: str
    category: Category | None
    title: str
    language: str
    started_at: datetime
    viewers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """A channel, live or not.

    Attributes:
        broadcaster_id: the platform's.
        login: lower-case.
        display_name: as its owner spells it.
        category: declared, or last declared when the channel is offline; None when nothing is.
        title: of the (last) broadcast.
    """

    broadcaster_id: str
    login: str
    display_name: str
    category: Category | None
    title: str


class StreamDirectory(Protocol):
    """Asks a platform what is live. Every method retries what is worth retrying before it raises."""

    async def top_categories(self, *, limit: int) -> Sequence[Category]:
        """The most watched categories, most watched first, ``limit`` of them or as many as there are.

        What came in before a page failed for good is returned; nothing at all is an error.

        Raises:
            DirectoryProblem: there is no list to be had.
        """
        ...

    async def live_streams(self, category_id: str, *, limit: int) -> Sequence[LiveStream]:
        """Live streams of a category, most watched first, ``limit`` of them or as many as there are.

        Raises:
            DirectoryProblem: there is no list to be had.
        """
        ...

    async def categories(self, category_ids: Collection[str]) -> Mapping[str, Category]:
        """Look names up in batches; ids that the platform does not know are left out.

        Raises:
            DirectoryProblem: there is no answer to be had.
        """
        ...

    async def channels(self, logins: Collection[str]) -> Mapping[str, Channel]:
        """Look channels and what they declare up by login, in batches; logins nobody has are left out.

        Raises:
            DirectoryProblem: there is no answer to be had.
        """
        ...
