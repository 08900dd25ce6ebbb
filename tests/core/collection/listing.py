"""What a directory lists, and picks of it, as short as a test likes them."""

from __future__ import annotations

from datetime import UTC, datetime

from core.collection.directory import Category, LiveStream
from core.collection.picks import LiveCategory
from core.games import Game
from core.storage.records import GameCount, Pick, PlannedPick

LONG_AGO = datetime(2026, 3, 1, 20, tzinfo=UTC)


def category(name: str, category_id: str | None = None) -> Category:
    return Category(id=category_id or f"id-{name.casefold()}", name=name)


def live_stream(number: int, declared: Category | None = None, *, login: str | None = None) -> LiveStream:
    return LiveStream(
        id=f"4{number:08}",
        broadcaster_id=f"{number}",
        login=login or f"login_{number}",
        display_name=f"Login_{number}",
        category=declared,
        title="a title",
        language="en",
        started_at=LONG_AGO,
        viewers=7,
    )


def live_category(name: str, numbers: range | list[int]) -> LiveCategory:
    declared = category(name)
    return LiveCategory(category=declared, streams=tuple(live_stream(number, declared) for number in numbers))


def game_count(declared: Category, *, frames: int = 0, broadcasters: int = 0) -> GameCount:
    return GameCount(
        game=Game(id=declared.name.casefold(), name=declared.name),
        category_id=declared.id,
        is_game=None,
        frames=frames,
        streams=broadcasters,
        broadcasters=broadcasters,
        size_bytes=frames * 9_000,
    )


def planned(
    position: int, declared: Category, *, number: int | None = None, spare: bool = False, is_game: bool = True
) -> PlannedPick:
    stream = live_stream(position if number is None else number, declared)
    return PlannedPick(position=position, category=declared, is_game=is_game, stream=stream, spare=spare)


def pick(position: int, declared: Category, *, outcome: str | None = None, spare: bool = False) -> Pick:
    return Pick(id=100 + position, run_id=1, planned=planned(position, declared, spare=spare), outcome=outcome)
