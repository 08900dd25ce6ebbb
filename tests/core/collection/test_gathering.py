"""What a night is decided from: which questions are asked, and what comes of those that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from core.collection.directory import Category, LiveStream
from core.collection.gathering import gather
from core.collection.picks import PickRules
from core.errors import DirectoryProblem, DirectoryRefused
from core.storage.records import GameCount, OptOuts
from tests.core.collection.listing import category, game_count, live_stream
from tests.fakes import FakeDirectory

NOW = datetime(2026, 11, 3, 3, tzinfo=UTC)
RULES = PickRules(games=2, min_live_streams=2, streams=2, attempts=2)


@dataclass
class FakeStore:
    games: list[GameCount] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    today: dict[str, int] = field(default_factory=dict)
    opt_outs: OptOuts = field(default_factory=OptOuts)
    since: list[datetime] = field(default_factory=list)

    async def game_counts(self) -> tuple[GameCount, ...]:
        return tuple(self.games)

    async def broadcasters_seen(self) -> Mapping[str, int]:
        return self.seen

    async def captured_since(self, at: datetime) -> Mapping[str, int]:
        self.since.append(at)
        return self.today

    async def opted_out(self) -> OptOuts:
        return self.opt_outs


def listed(*names: str, streams: int = 3) -> list[LiveStream]:
    """The first is the most watched one."""
    return [
        live_stream(100 * (len(names) - at) + number, category(name))
        for at, name in enumerate(names)
        for number in range(streams + len(names) - at)
    ]


def asked_for(directory: FakeDirectory) -> list[str]:
    return [asked.removeprefix("live_streams id-") for asked in directory.asked if asked.startswith("live")]


async def test_asking_stops_with_enough_games_but_what_is_no_game_is_looked_for_to_the_end() -> None:
    directory = FakeDirectory(listed("Just Chatting", "Freedoom", "Chess", "Pingus", "OpenTTD", "ASMR"))
    gathered = await gather(directory, FakeStore(), RULES, seed=1, now=NOW, parallel=1)
    assert asked_for(directory) == ["just chatting", "freedoom", "chess", "asmr"]
    assert gathered.listed == 4
    assert {pick.category.name for pick in gathered.picks} == {"Just Chatting", "Freedoom", "Chess", "ASMR"}


async def test_games_with_too_few_live_streams_do_not_count() -> None:
    streams = [*listed("Freedoom", "Chess", "Pingus")]
    streams = [stream for stream in streams if stream.category != category("Chess")]
    streams += [live_stream(900 + number, category("Chess")) for number in range(2)]
    directory = FakeDirectory(streams)
    gathered = await gather(directory, FakeStore(), RULES, seed=1, now=NOW, parallel=1)
    assert {pick.category.name for pick in gathered.picks} == {"Freedoom", "Pingus"}


async def test_a_category_that_cannot_be_listed_is_counted_and_the_next_one_takes_its_place() -> None:
    directory = FakeDirectory(listed("Freedoom", "Chess", "Pingus"))
    directory.problems["id-freedoom"] = DirectoryProblem("Twitch does not answer.")
    gathered = await gather(directory, FakeStore(), RULES, seed=1, now=NOW)
    assert gathered.failed == 1
    assert gathered.listed == 2
    assert {pick.category.name for pick in gathered.picks} == {"Chess", "Pingus"}


async def test_a_directory_that_lists_nothing_at_all_is_a_problem() -> None:
    directory = FakeDirectory(listed("Freedoom", "Chess"))
    directory.problems["live_streams"] = DirectoryProblem("Twitch does not answer.")
    with pytest.raises(DirectoryProblem, match="does not answer"):
        await gather(directory, FakeStore(), RULES, seed=1, now=NOW)


async def test_refused_credentials_end_it_at_once() -> None:
    directory = FakeDirectory(listed("Freedoom", "Chess", "Pingus"))
    directory.problems["id-freedoom"] = DirectoryRefused("Twitch refuses the credentials.")
    with pytest.raises(DirectoryRefused):
        await gather(directory, FakeStore(), RULES, seed=1, now=NOW, parallel=1)
    assert asked_for(directory) == ["freedoom"]


async def test_nothing_live_is_an_empty_night() -> None:
    gathered = await gather(FakeDirectory(), FakeStore(), RULES, seed=1, now=NOW)
    assert gathered.picks == ()


async def test_a_category_that_is_left_out_is_not_asked_for() -> None:
    directory = FakeDirectory(listed("Freedoom", "Chess"))
    rules = PickRules(games=2, min_live_streams=2, left_out=("freedoom",))
    await gather(directory, FakeStore(), rules, seed=1, now=NOW)
    assert asked_for(directory) == ["chess"]


async def test_what_the_store_knows_is_minded() -> None:
    directory = FakeDirectory(listed("Freedoom", "Chess", streams=5))
    people = {name: [s for s in directory.streams if s.category == category(name)] for name in ("Freedoom", "Chess")}
    store = FakeStore(
        games=[game_count(category("Freedoom"), frames=2000, broadcasters=90)],
        seen={people["Chess"][0].broadcaster_id: 3},
        today={people["Chess"][1].broadcaster_id: 1},
        opt_outs=OptOuts(logins=frozenset({people["Chess"][2].login})),
    )
    rules = PickRules(games=2, min_live_streams=2, streams=9, attempts=9)
    gathered = await gather(directory, store, rules, seed=1, now=NOW)
    chess = [pick.stream for pick in gathered.picks if pick.category == category("Chess")]
    assert gathered.picks[0].category == category("Chess")
    assert chess[-1] == people["Chess"][0]
    assert people["Chess"][1] not in chess
    assert people["Chess"][2] not in chess


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        (datetime(2026, 11, 3, 3, 30, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)),
        (
            datetime(2026, 11, 3, 3, 30, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2026, 11, 2, 23, tzinfo=UTC),
        ),
        # The night in which clocks are put back is an hour longer.
        (
            datetime(2026, 10, 25, 3, 30, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(2026, 10, 24, 22, tzinfo=UTC),
        ),
    ],
)
async def test_the_day_of_the_quota_begins_at_midnight_where_the_operator_is(now: datetime, midnight: datetime) -> None:
    store = FakeStore()
    await gather(FakeDirectory(), store, RULES, seed=1, now=now)
    assert store.since == [midnight]


class CountingDirectory(FakeDirectory):
    """Answers when many ask, or when nobody else will."""

    def __init__(self, streams: list[LiveStream]) -> None:
        super().__init__(streams)
        self.at_once = 0
        self.most_at_once = 0

    async def live_streams(self, category_id: str, *, limit: int) -> Sequence[LiveStream]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        # The first to be asked is the last to be answered.
        await asyncio.sleep(0.02 / self.at_once)
        self.at_once -= 1
        return await super().live_streams(category_id, limit=limit)


async def test_several_are_asked_at_once_under_a_bound_and_the_most_watched_games_are_taken_all_the_same() -> None:
    names = [f"Game {letter}" for letter in "ABCDEFGHIJ"]
    directory = CountingDirectory(listed(*names))
    rules = PickRules(games=6, min_live_streams=2, streams=2, attempts=2)
    gathered = await gather(directory, FakeStore(), rules, seed=1, now=NOW, parallel=4)
    assert directory.most_at_once == 4
    assert {pick.category for pick in gathered.picks} == {category(name) for name in names[:6]}


async def test_a_category_that_is_listed_twice_while_the_list_moves_is_asked_for_once() -> None:
    class MovingDirectory(FakeDirectory):
        async def top_categories(self, *, limit: int) -> Sequence[Category]:
            top = await super().top_categories(limit=limit)
            return [*top, *top]

    directory = MovingDirectory(listed("Freedoom", "Chess"))
    await gather(directory, FakeStore(), RULES, seed=1, now=NOW)
    assert sorted(asked_for(directory)) == ["chess", "freedoom"]
