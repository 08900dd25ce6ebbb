"""What a night is decided from: the directory's lists and the store's counts, brought together for ``picks``."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC
from itertools import repeat
from typing import TYPE_CHECKING, Protocol

from core.collection.picks import Known, LiveCategory, plan_night
from core.errors import DirectoryProblem, DirectoryRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from core.collection.directory import Category, StreamDirectory
    from core.collection.picks import PickRules
    from core.storage.records import GameCount, OptOuts, PlannedPick

log = logging.getLogger(__name__)

_CATEGORIES_PER_GAME = 3
"""Of the top list, looked at to find enough with many live streams: some are one large event and nobody else."""

_MORE_CATEGORIES = 60
"""And so many beyond, as the most watched ones are no games."""

_LISTED_STREAMS = 300
"""Of a category: three pages of Twitch's. Who is not among the most watched ones is never drawn."""


class KnowsTheDataSet(Protocol):
    """What gathering needs of :class:`core.storage.captures.CaptureStore`."""

    async def game_counts(self) -> tuple[GameCount, ...]:
        """What is kept of every game."""
        ...

    async def broadcasters_seen(self) -> Mapping[str, int]:
        """Captures ever taken, by platform id."""
        ...

    async def captured_since(self, at: datetime) -> Mapping[str, int]:
        """Captures taken since, by platform id."""
        ...

    async def opted_out(self) -> OptOuts:
        """Who must not be sampled."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """What is to be sampled, and what it was chosen from.

    Attributes:
        picks: of the night, in order.
        listed: categories whose live streams were listed.
        failed: categories whose live streams could not be listed.
    """

    picks: tuple[PlannedPick, ...]
    listed: int
    failed: int


async def gather(
    directory: StreamDirectory,
    store: KnowsTheDataSet,
    rules: PickRules,
    *,
    seed: int,
    now: datetime,
    parallel: int = 8,
) -> Gathered:
    """Ask what is live and what is known, and plan a night.

    A category that cannot be listed is skipped. Once enough games with enough live streams are found, only categories
    that are no games are still asked for: they are few, and some are far down the list.

    Args:
        directory: says what is live.
        store: says what is known.
        rules: how much of what.
        seed: of the draw.
        now: in the time zone whose midnight begins a day of ``captures_per_broadcaster_a_day``.
        parallel: questions to the directory at once.

    Raises:
        DirectoryProblem: nothing could be listed; ``DirectoryRefused`` if our credentials are why.
        StorageError: the store cannot be asked.
    """
    # The store first: without it there is nothing to ask the directory for.
    known = Known(
        games=await store.game_counts(),
        seen=await store.broadcasters_seen(),
        captured_today=await store.captured_since(_midnight(now)),
        opted_out=await store.opted_out(),
    )
    listing = _Listing(directory, rules)
    await listing.run(parallel)
    picks = plan_night(listing.in_order(), known=known, rules=rules, seed=seed)
    return Gathered(picks=picks, listed=len(listing.live), failed=listing.failed)


class _Listing:
    """Live streams of the top categories, several asked for at once."""

    def __init__(self, directory: StreamDirectory, rules: PickRules) -> None:
        self.live: dict[Category, LiveCategory] = {}
        self.failed = 0
        self._directory = directory
        self._rules = rules
        self._categories: list[Category] = []
        self._games = 0

    async def run(self, parallel: int) -> None:
        limit = _CATEGORIES_PER_GAME * self._rules.games + _MORE_CATEGORIES
        top = await self._directory.top_categories(limit=limit)
        # A list that moves while it is paged may name a category twice.
        self._categories = list({category.id: category for category in reversed(top)}.values())[::-1]
        coming = self._worth_asking()
        problem: DirectoryProblem | None = None
        refused: DirectoryRefused | None = None

        async def ask() -> None:
            nonlocal problem, refused
            for category in coming:
                try:
                    await self._ask(category)
                except DirectoryRefused as error:
                    refused = error
                except DirectoryProblem as error:
                    log.warning("%s is left out tonight: %s", category.name, error)
                    self.failed += 1
                    problem = error
                if refused is not None:
                    return

        async with asyncio.TaskGroup() as group:
            for _ in repeat(None, parallel):
                group.create_task(ask())
        if refused is not None:
            raise refused
        if problem is not None and not self.live:
            raise problem

    def in_order(self) -> Sequence[LiveCategory]:
        """What was listed, the most watched category first."""
        return [self.live[category] for category in self._categories if category in self.live]

    def _worth_asking(self) -> Iterator[Category]:
        """Shared by all who ask: they take turns, so that of the most watched games none is passed over."""
        for category in self._categories:
            if self._rules.is_left_out(category):
                continue
            if self._rules.is_game(category) and self._games >= self._rules.games:
                continue
            yield category

    async def _ask(self, category: Category) -> None:
        limit = max(_LISTED_STREAMS, self._rules.min_live_streams + 1)
        streams = await self._directory.live_streams(category.id, limit=limit)
        self.live[category] = LiveCategory(category=category, streams=tuple(streams))
        self._games += self._rules.is_game(category) and self._rules.is_live_enough(len(streams))


def _midnight(now: datetime) -> datetime:
    """When the day of ``now`` began, where it is."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)
