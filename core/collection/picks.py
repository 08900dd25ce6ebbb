"""Which streams to sample tonight, and which of them is next. Pure.

What comes first is what the data set is short of. How full a category is says the scarcer of two shares: its frames of
``target_frames``, its broadcasters of ``target_broadcasters``; the emptiest category comes first, and of two equal ones
the one whose other share is smaller. Frames of few broadcasters teach their overlays and webcams, so neither makes up
for the other.

Categories that are no game are the negative class. It is one group, as full as all of them together and with as many
streams as one game, taken from each of them in turn.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING

from core.games import NOT_A_GAME
from core.storage.records import OptOuts, PlannedPick

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from core.collection.directory import Category, LiveStream
    from core.storage.records import GameCount, Pick

DEFAULT_NOT_GAMES = (
    "Just Chatting", "Music", "Art", "Sports", "Talk Shows & Podcasts", "Science & Technology", "Games + Demos",
    "Stocks And Bonds", "Retro", "ASMR", "Poker", "Slots",
)  # fmt: skip
"""Twitch's large categories that show no game. Chess and GeoGuessr look like nothing else: they are games here."""


class Outcome(StrEnum):
    """What became of a pick."""

    CAPTURED = "captured"
    NOTHING_NEW = "nothing_new"
    """Every picture was the near-duplicate of one that is kept of this broadcaster."""
    OPTED_OUT = "opted_out"
    """Since the night was planned."""
    OFFLINE = "offline"
    NOT_FOUND = "not_found"
    ADVERTS = "adverts"
    RESTRICTED = "restricted"
    BLACK = "black"
    WAITING = "waiting"
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too_slow"
    FAILED = "failed"
    """By a mistake of ours."""

    @property
    def is_failure(self) -> bool:
        """Whether frames should have come and did not."""
        return self not in (Outcome.CAPTURED, Outcome.NOTHING_NEW, Outcome.OPTED_OUT)

    @property
    def may_pass(self) -> bool:
        """Whether asking again in a while may well succeed."""
        return self in (Outcome.UNREACHABLE, Outcome.TOO_SLOW)


@dataclass(frozen=True, kw_only=True, slots=True)
class PickRules:
    """What a night may take.

    Attributes:
        games: that are sampled at most, the most watched ones.
        min_live_streams: a category is sampled when it has more than these.
        streams: wanted of each game.
        attempts: of each game at most, when streams fail.
        captures_per_broadcaster_a_day: after which a broadcaster has given enough.
        not_games: names (in any case) or ids of categories that show no game.
        left_out: names or ids of categories that are not sampled.
        target_frames: that a game is short of until it has them.
        target_broadcasters: that a game's frames should be of.
    """

    games: int = 40
    min_live_streams: int = 90
    streams: int = 5
    attempts: int = 10
    captures_per_broadcaster_a_day: int = 1
    not_games: tuple[str, ...] = DEFAULT_NOT_GAMES
    left_out: tuple[str, ...] = ()
    target_frames: int = 2500
    target_broadcasters: int = 100

    def is_game(self, category: Category) -> bool:
        """Whether a category shows a game."""
        return not _names(self.not_games, category.id, category.name)

    def is_left_out(self, category: Category) -> bool:
        """Whether a category is not sampled."""
        return _names(self.left_out, category.id, category.name)

    def is_live_enough(self, live_streams: int) -> bool:
        """Whether a category with so many live streams is worth sampling."""
        return live_streams > self.min_live_streams


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveCategory:
    """A category and what is live in it."""

    category: Category
    streams: tuple[LiveStream, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the store knows that matters for a night.

    Attributes:
        games: what is kept of each.
        seen: captures ever taken, by the broadcaster's platform id.
        captured_today: captures taken today, likewise.
        opted_out: who must not be sampled.
    """

    games: Collection[GameCount] = ()
    seen: Mapping[str, int]
    captured_today: Mapping[str, int]
    opted_out: OptOuts = field(default_factory=OptOuts)


def plan_night(live: Sequence[LiveCategory], *, known: Known, rules: PickRules, seed: int) -> tuple[PlannedPick, ...]:
    """Choose what to sample, in order.

    Broadcasters who were never sampled come before those who were, and seldom sampled ones before others; who of
    several equals is drawn at random. Nobody who opted out is among them, nobody who gave enough today, and nobody
    twice.

    Args:
        live: categories, most watched first, each once; their streams in any order.
        known: what the store says.
        rules: how much of what.
        seed: of the draw; the same draws the same.
    """
    groups: dict[str, list[LiveCategory]] = defaultdict(list)
    for entry in live:
        if rules.is_left_out(entry.category) or not rules.is_live_enough(len(entry.streams)):
            continue
        if not rules.is_game(entry.category):
            groups[NOT_A_GAME.id].append(entry)
        elif len(groups) - (NOT_A_GAME.id in groups) < rules.games:
            groups[entry.category.id].append(entry)
    fullness = _Fullness(known.games, rules)
    picks: list[PlannedPick] = []
    taken: set[tuple[str, str]] = set()
    for group in sorted(groups, key=lambda group: (fullness.of(group, groups[group]), group)):
        chosen = 0
        for category, stream in _drawn(groups[group], known, rules, seed):
            if chosen == max(rules.streams, rules.attempts):
                break
            who = {("id", stream.broadcaster_id), ("login", stream.login.casefold())}
            if not taken.isdisjoint(who):
                continue
            taken |= who
            picks.append(
                PlannedPick(
                    position=len(picks),
                    category=category,
                    is_game=group != NOT_A_GAME.id,
                    stream=stream,
                    spare=chosen >= rules.streams,
                )
            )
            chosen += 1
    return tuple(picks)


def group_of(pick: PlannedPick) -> str:
    """The picks of a group stand in for each other: those of a game, or all of the negative class."""
    return pick.category.id if pick.is_game else NOT_A_GAME.id


def due(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    """The picks of a night that are to be done now, in order: pending ones, and a spare for each that came to nothing.

    Args:
        picks: all picks of the night, those with an outcome too.
    """
    groups: dict[str, list[Pick]] = defaultdict(list)
    for pick in sorted(picks, key=lambda pick: pick.planned.position):
        groups[group_of(pick.planned)].append(pick)
    found: list[Pick] = []
    for group in groups.values():
        pending = [pick for pick in group if pick.outcome is None]
        wanted = [pick for pick in pending if not pick.planned.spare]
        spares = [pick for pick in pending if pick.planned.spare]
        captured = sum(pick.outcome == Outcome.CAPTURED for pick in group)
        lacking = sum(not pick.planned.spare for pick in group) - captured - len(wanted)
        found += wanted + spares[: max(0, lacking)]
    return tuple(sorted(found, key=lambda pick: pick.planned.position))


class Agenda:
    """Says which pick of a night is next, and brings in a spare when one came to nothing."""

    def __init__(self, picks: Iterable[Pick], *, tries: int = 3) -> None:
        """Take a night's picks, those with an outcome too, so that an interrupted night goes on.

        Args:
            picks: of one night.
            tries: of a pick whose failures may pass, in all.
        """
        everything = tuple(picks)
        begun = due(everything)
        self._tries = tries
        self._tried: dict[int, int] = {}
        self._heap: list[tuple[int, int, int, Pick]] = []
        self._entries = count()
        self._open: dict[str, int] = defaultdict(int)
        self._spares: dict[str, deque[Pick]] = defaultdict(deque)
        ids = {pick.id for pick in begun}
        for pick in begun:
            self._add(pick)
        for pick in sorted(everything, key=lambda pick: pick.planned.position):
            if pick.outcome is None and pick.id not in ids:
                self._spares[group_of(pick.planned)].append(pick)

    @property
    def waiting(self) -> int:
        """Picks that nobody has taken yet."""
        return len(self._heap)

    @property
    def open_groups(self) -> int:
        """Groups with a pick that is waiting or in hand."""
        return sum(left > 0 for left in self._open.values())

    def take(self) -> Pick | None:
        """The next pick; None when none is waiting, though each in hand may still bring in another one."""
        return heapq.heappop(self._heap)[-1] if self._heap else None

    def is_last_try(self, pick: Pick) -> bool:
        """Whether a pick that was taken is given up if it fails once more, although that may pass."""
        return self._tried.get(pick.id, 0) + 1 >= self._tries

    def ended(self, pick: Pick, outcome: Outcome) -> bool:
        """Tell what became of a pick that was taken.

        Returns:
            Whether that is its end: False puts it behind all others, to be tried again.
        """
        group = group_of(pick.planned)
        self._open[group] -= 1
        if outcome.may_pass and not self.is_last_try(pick):
            self._tried[pick.id] = self._tried.get(pick.id, 0) + 1
            self._add(pick)
            return False
        if outcome is not Outcome.CAPTURED and self._spares[group]:
            self._add(self._spares[group].popleft())
        return True

    def _add(self, pick: Pick) -> None:
        self._open[group_of(pick.planned)] += 1
        entry = (self._tried.get(pick.id, 0), pick.planned.position, next(self._entries), pick)
        heapq.heappush(self._heap, entry)


class _Fullness:
    """How full each group is."""

    def __init__(self, counts: Collection[GameCount], rules: PickRules) -> None:
        self._rules = rules
        self._by_id = {count.category_id: count for count in counts if count.category_id is not None}
        self._by_name = {count.game.name.casefold(): count for count in counts if count.category_id is None}
        self._not_games = [
            count for count in counts if _names(rules.not_games, count.category_id or "", count.game.name)
        ]

    def of(self, group: str, entries: Sequence[LiveCategory]) -> tuple[float, float]:
        """The scarcer of the two shares, and the other one."""
        if group == NOT_A_GAME.id:
            kept = self._not_games
        else:
            category = entries[0].category
            found = self._by_id.get(category.id) or self._by_name.get(category.name.casefold())
            kept = [] if found is None else [found]
        shares = (
            sum(count.frames for count in kept) / self._rules.target_frames,
            # Somebody who was seen in two categories of the negative class counts twice: they look different there.
            sum(count.broadcasters for count in kept) / self._rules.target_broadcasters,
        )
        return min(shares), max(shares)


def _drawn(
    entries: Sequence[LiveCategory], known: Known, rules: PickRules, seed: int
) -> list[tuple[Category, LiveStream]]:
    """A group's possible streams, the best first, several categories in turn."""
    ranked: list[tuple[tuple[int, int, bytes, str], Category, LiveStream]] = []
    for entry in entries:
        turns: dict[int, int] = defaultdict(int)
        possible = {
            stream.broadcaster_id: stream
            for stream in sorted(entry.streams, key=lambda stream: (stream.login, stream.id))
            if not known.opted_out.covers(login=stream.login, platform_id=stream.broadcaster_id)
            and known.captured_today.get(stream.broadcaster_id, 0) < rules.captures_per_broadcaster_a_day
        }
        for stream in sorted(possible.values(), key=lambda stream: _lot(seed, stream)):
            seen = known.seen.get(stream.broadcaster_id, 0)
            place = (seen, turns[seen], _lot(seed, stream), entry.category.id)
            ranked.append((place, entry.category, stream))
            turns[seen] += 1
    ranked.sort(key=lambda entry: entry[0])
    return [(category, stream) for _, category, stream in ranked]


def _lot(seed: int, stream: LiveStream) -> bytes:
    """A draw that depends on nothing but the seed and the broadcaster: not on the order of a listing."""
    return blake2b(f"{seed}:{stream.broadcaster_id}".encode(), digest_size=16).digest()


def _names(listed: Collection[str], category_id: str, name: str) -> bool:
    folded = name.casefold()
    return any(entry == category_id or entry.casefold() == folded for entry in listed if entry)
