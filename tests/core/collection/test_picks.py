"""A night's plan: who is never in it, what comes first, what it is bounded by, and what is next in it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.collection.picks import (
    Agenda,
    Known,
    LiveCategory,
    Outcome,
    PickRules,
    due,
    group_of,
    plan_night,
)
from core.games import NOT_A_GAME
from core.storage.records import OptOuts, Pick
from tests.core.collection.listing import category, game_count, live_category, live_stream, pick

FEW = PickRules(games=3, min_live_streams=2, streams=2, attempts=4)
NOTHING = Known(seen={}, captured_today={})

NAMES = ("Just Chatting", "ASMR", "Chess", "Freedoom", "OpenTTD", "Pingus", "GeoGuessr")


@st.composite
def nights(draw: st.DrawFn) -> tuple[list[LiveCategory], Known, PickRules, int]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)))
    live = []
    for name in names:
        numbers = draw(st.lists(st.integers(1, 25), max_size=12))
        declared = category(name)
        # Few different logins, in other cases, so that logins that changed hands and twins occur.
        streams = [
            live_stream(number, declared, login=draw(st.sampled_from([f"login_{number}", "Login_1", "login_2"])))
            for number in numbers
        ]
        live.append(LiveCategory(category=declared, streams=tuple(streams)))
    people = st.integers(1, 25).map(str)
    known = Known(
        games=[
            game_count(category(name), frames=draw(st.integers(0, 60)), broadcasters=draw(st.integers(0, 12)))
            for name in NAMES
            if draw(st.booleans())
        ],
        seen=draw(st.dictionaries(people, st.integers(1, 4), max_size=10)),
        captured_today=draw(st.dictionaries(people, st.integers(1, 3), max_size=6)),
        opted_out=OptOuts(
            platform_ids=draw(st.frozensets(people, max_size=4)),
            logins=draw(st.frozensets(st.sampled_from(["login_1", "login_2", "login_9"]), max_size=2)),
        ),
    )
    rules = PickRules(
        games=draw(st.integers(1, 4)),
        min_live_streams=draw(st.integers(0, 4)),
        streams=draw(st.integers(1, 4)),
        attempts=draw(st.integers(1, 6)),
        captures_per_broadcaster_a_day=draw(st.integers(1, 2)),
        left_out=draw(st.sampled_from([(), ("pingus",), ("id-chess", "ASMR")])),
        target_frames=40,
        target_broadcasters=8,
    )
    return live, known, rules, draw(st.integers(0, 3))


@given(nights())
def test_nobody_is_sampled_who_opted_out_or_gave_enough_today_or_twice(
    night: tuple[list[LiveCategory], Known, PickRules, int],
) -> None:
    live, known, rules, seed = night
    streams = [pick.stream for pick in plan_night(live, known=known, rules=rules, seed=seed)]
    assert known.opted_out.platform_ids.isdisjoint(stream.broadcaster_id for stream in streams)
    assert known.opted_out.logins.isdisjoint(stream.login.casefold() for stream in streams)
    for stream in streams:
        assert known.captured_today.get(stream.broadcaster_id, 0) < rules.captures_per_broadcaster_a_day
    assert len({stream.broadcaster_id for stream in streams}) == len(streams)
    assert len({stream.login.casefold() for stream in streams}) == len(streams)


@given(nights())
def test_all_caps_hold(night: tuple[list[LiveCategory], Known, PickRules, int]) -> None:
    live, known, rules, seed = night
    picks = plan_night(live, known=known, rules=rules, seed=seed)
    size = {entry.category.id: len(entry.streams) for entry in live}
    assert [pick.position for pick in picks] == list(range(len(picks)))
    assert len({group_of(pick) for pick in picks if pick.is_game}) <= rules.games
    assert all(size[pick.category.id] > rules.min_live_streams for pick in picks)
    assert not any(rules.is_left_out(pick.category) for pick in picks)
    assert all(pick.is_game == rules.is_game(pick.category) for pick in picks)
    # The whole negative class counts as one group.
    wanted = Counter(group_of(pick) for pick in picks if not pick.spare)
    tried = Counter(group_of(pick) for pick in picks)
    assert all(number <= rules.streams for number in wanted.values())
    assert all(number <= max(rules.streams, rules.attempts) for number in tried.values())


@given(nights(), st.randoms(use_true_random=False))
def test_the_same_seed_plans_the_same_night_in_whatever_order_streams_and_counts_are_listed(
    night: tuple[list[LiveCategory], Known, PickRules, int], shuffler: random.Random
) -> None:
    live, known, rules, seed = night
    shuffled = [
        LiveCategory(category=entry.category, streams=tuple(shuffler.sample(entry.streams, len(entry.streams))))
        for entry in live
    ]
    if len(live) <= rules.games:  # with more of them, the most watched ones are taken
        shuffler.shuffle(shuffled)
    other = Known(
        games=shuffler.sample(list(known.games), len(known.games)),
        seen=dict(reversed(known.seen.items())),
        captured_today=known.captured_today,
        opted_out=known.opted_out,
    )
    assert plan_night(shuffled, known=other, rules=rules, seed=seed) == plan_night(
        live, known=known, rules=rules, seed=seed
    )


@given(nights())
def test_in_a_group_the_less_often_a_broadcaster_was_sampled_the_earlier(
    night: tuple[list[LiveCategory], Known, PickRules, int],
) -> None:
    live, known, rules, seed = night
    groups = defaultdict(list)
    for planned in plan_night(live, known=known, rules=rules, seed=seed):
        groups[group_of(planned)].append(known.seen.get(planned.stream.broadcaster_id, 0))
    for seen in groups.values():
        assert seen == sorted(seen)


@given(nights())
def test_a_game_that_is_short_of_both_comes_before_one_that_has_more_of_both(
    night: tuple[list[LiveCategory], Known, PickRules, int],
) -> None:
    live, known, rules, seed = night
    counts = {count.category_id: (count.frames, count.broadcasters) for count in known.games}
    first = {}
    for planned in plan_night(live, known=known, rules=rules, seed=seed):
        if planned.is_game:
            first.setdefault(planned.category.id, planned.position)
    for poor, poor_at in first.items():
        for rich, rich_at in first.items():
            pairs = list(zip(counts.get(poor, (0, 0)), counts.get(rich, (0, 0)), strict=True))
            if all(less < more for less, more in pairs):
                assert poor_at < rich_at


def test_wanted_streams_come_before_their_spares_and_groups_do_not_mix() -> None:
    live = [live_category("Chess", range(1, 9)), live_category("Pingus", range(11, 19))]
    picks = plan_night(live, known=NOTHING, rules=FEW, seed=1)
    assert [(planned.category.name, planned.spare) for planned in picks] == [
        (name, spare) for name in ("Chess", "Pingus") for spare in (False, False, True, True)
    ]


def test_few_broadcasters_make_a_category_poor_however_many_frames_it_has() -> None:
    live = [live_category("Chess", range(1, 9)), live_category("Pingus", range(11, 19))]
    known = Known(
        seen={},
        captured_today={},
        games=[
            game_count(category("Chess"), frames=1000, broadcasters=50),
            game_count(category("Pingus"), frames=2000, broadcasters=3),
        ],
    )
    picks = plan_night(live, known=known, rules=FEW, seed=1)
    assert picks[0].category.name == "Pingus"
    # 1000 of 2500 frames are a larger share than 3 of 100 broadcasters.


def test_full_categories_are_still_sampled_the_emptiest_first() -> None:
    live = [live_category("Chess", range(1, 9)), live_category("Pingus", range(11, 19))]
    known = Known(
        seen={},
        captured_today={},
        games=[
            game_count(category("Chess"), frames=9000, broadcasters=900),
            game_count(category("Pingus"), frames=5000, broadcasters=500),
        ],
    )
    assert [planned.category.name for planned in plan_night(live, known=known, rules=FEW, seed=1)] == (
        ["Pingus"] * 4 + ["Chess"] * 4
    )


def test_a_game_whose_category_is_not_known_is_found_by_its_name() -> None:
    live = [live_category("Chess", range(1, 9)), live_category("Pingus", range(11, 19))]
    renamed = game_count(category("CHESS"), frames=700, broadcasters=70)
    counted = type(renamed)(
        **{
            **{name: getattr(renamed, name) for name in renamed.__slots__},
            "category_id": None,
        }
    )
    picks = plan_night(live, known=Known(seen={}, captured_today={}, games=[counted]), rules=FEW, seed=1)
    assert picks[0].category.name == "Pingus"


def test_the_most_watched_games_are_taken_and_what_is_no_game_does_not_count_among_them() -> None:
    names = ["Just Chatting", "Freedoom", "Chess", "ASMR", "Pingus", "OpenTTD"]
    live = [live_category(name, range(100 * at, 100 * at + 5)) for at, name in enumerate(names, 1)]
    picks = plan_night(live, known=NOTHING, rules=FEW, seed=1)
    assert {planned.category.name for planned in picks if planned.is_game} == {"Freedoom", "Chess", "Pingus"}
    assert {planned.category.name for planned in picks if not planned.is_game} == {"Just Chatting", "ASMR"}


def test_a_category_needs_more_than_the_minimum_of_live_streams() -> None:
    live = [live_category("Chess", range(90)), live_category("Pingus", range(100, 191))]
    picks = plan_night(live, known=NOTHING, rules=PickRules(), seed=1)
    assert {planned.category.name for planned in picks} == {"Pingus"}
    assert [planned.spare for planned in picks] == [False] * 5 + [True] * 5


def test_the_negative_class_takes_its_categories_in_turn_and_is_as_full_as_all_of_them() -> None:
    live = [
        live_category("Just Chatting", range(1, 9)),
        live_category("ASMR", range(11, 19)),
        live_category("Chess", range(21, 29)),
    ]
    known = Known(
        seen={},
        captured_today={},
        games=[
            # Not live tonight, and part of the class all the same.
            game_count(category("Music"), frames=800, broadcasters=80),
            game_count(category("Chess"), frames=500, broadcasters=50),
        ],
    )
    picks = plan_night(live, known=known, rules=FEW, seed=1)
    assert [group_of(planned) for planned in picks] == ["id-chess"] * 4 + [NOT_A_GAME.id] * 4
    assert Counter(planned.category.name for planned in picks[4:]) == {"Just Chatting": 2, "ASMR": 2}
    assert {planned.category.name for planned in picks[4:6]} == {"Just Chatting", "ASMR"}


def test_chess_and_geoguessr_are_games_unless_the_operator_says_otherwise() -> None:
    rules = PickRules()
    assert rules.is_game(category("Chess", "743"))
    assert rules.is_game(category("GeoGuessr", "369418"))
    assert not rules.is_game(category("just chatting", "509658"))
    assert not PickRules(not_games=("743",)).is_game(category("Chess", "743"))
    assert not PickRules(not_games=("CHESS",)).is_game(category("Chess", "743"))
    assert PickRules(left_out=("chess",)).is_left_out(category("Chess", "743"))


def test_another_seed_draws_other_streams() -> None:
    live = [live_category("Chess", range(100))]
    nights = {
        tuple(planned.stream.id for planned in plan_night(live, known=NOTHING, rules=FEW, seed=seed))
        for seed in range(20)
    }
    assert len(nights) == 20


def test_everybody_has_the_same_chance() -> None:
    live = [live_category("Chess", range(10))]
    drawn: Counter[str] = Counter()
    for seed in range(600):
        drawn.update(planned.stream.id for planned in plan_night(live, known=NOTHING, rules=FEW, seed=seed)[:2])
    assert len(drawn) == 10
    assert all(80 < times < 160 for times in drawn.values())  # 120 on average; 4 standard deviations


# What is next

CHESS, PINGUS = category("Chess"), category("Pingus")


def night_of(*outcomes: str | None, wanted: int = 2) -> list[Pick]:
    """One group's picks: ``wanted`` of them, and the rest spares."""
    return [pick(at, CHESS, outcome=outcome, spare=at >= wanted) for at, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "positions"),
    [
        ((None, None, None, None), [0, 1]),
        (("captured", None, None, None), [1]),
        (("captured", "captured", None, None), []),
        (("offline", None, None, None), [1, 2]),
        (("offline", "nothing_new", None, None), [2, 3]),
        (("offline", "offline", "captured", None), [3]),
        (("offline", "offline", "offline", "offline"), []),
        # The spare that was in hand when the night broke off stands for the same failure as before.
        (("offline", "captured", None, None), [2]),
    ],
)
def test_a_spare_is_due_for_each_pick_that_came_to_nothing(
    outcomes: tuple[str | None, ...], positions: list[int]
) -> None:
    assert [found.planned.position for found in due(night_of(*outcomes))] == positions
    agenda = Agenda(night_of(*outcomes))
    assert agenda.waiting == len(positions)
    assert [found.planned.position for found in iter(agenda.take, None)] == positions


def test_a_spare_comes_before_the_next_game() -> None:
    picks = [
        pick(0, CHESS),
        pick(1, CHESS, spare=True),
        pick(2, CHESS, spare=True),
        pick(3, PINGUS),
        pick(4, PINGUS, spare=True),
    ]
    agenda = Agenda(picks)
    order = []
    outcomes = iter([Outcome.OFFLINE, Outcome.CAPTURED, Outcome.CAPTURED])
    while (found := agenda.take()) is not None:
        order.append(found.planned.position)
        assert agenda.ended(found, next(outcomes))
    assert order == [0, 1, 3]
    assert agenda.open_groups == 0


def test_what_may_pass_is_tried_again_after_everything_else_and_then_given_up() -> None:
    picks = [pick(0, CHESS), pick(1, CHESS, spare=True), pick(2, PINGUS)]
    agenda = Agenda(picks, tries=2)
    order = []
    while (found := agenda.take()) is not None:
        order.append(found.planned.position)
        agenda.ended(found, Outcome.CAPTURED if found.planned.position else Outcome.UNREACHABLE)
    assert order == [0, 2, 0, 1]


@settings(max_examples=1000)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=3), st.integers(0, 2**32))
def test_every_night_ends_and_no_pick_ends_twice_wherever_it_is_broken_off(
    groups: list[tuple[int, int]], seed: int
) -> None:
    # Of a night's hundreds of steps hypothesis would remember each.
    chance = random.Random(seed)
    outcomes = list(Outcome)
    picks: list[Pick] = []
    for number, (wanted, spares) in enumerate(groups):
        declared = category(f"Game {number}")
        picks += [pick(len(picks) + at, declared, spare=at >= wanted) for at in range(wanted + spares)]
    ended: dict[int, str] = {}
    while True:
        state = [Pick(id=kept.id, run_id=1, planned=kept.planned, outcome=ended.get(kept.id)) for kept in picks]
        agenda = Agenda(state)
        if not agenda.waiting:
            break
        in_hand = []
        while (agenda.waiting or in_hand) and not (ended and chance.randrange(7) == 0):
            if agenda.waiting and (not in_hand or chance.random() < 0.5):
                found = agenda.take()
                assert found is not None
                assert found.id not in ended
                in_hand.append(found)
            else:
                found = in_hand.pop(chance.randrange(len(in_hand)))
                outcome = chance.choice(outcomes)
                if agenda.ended(found, outcome):
                    ended[found.id] = outcome
    for number, (wanted, spares) in enumerate(groups):
        mine = [kept for kept in picks if kept.planned.category.name == f"Game {number}"]
        captured = sum(ended.get(kept.id) == "captured" for kept in mine)
        tried = sum(kept.id in ended for kept in mine)
        assert captured <= wanted
        assert captured == wanted or tried == wanted + spares
        # Not one spare more than there were picks that came to nothing.
        assert sum(kept.planned.spare and kept.id in ended for kept in mine) <= tried - captured
