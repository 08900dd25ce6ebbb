"""How channels and shards are divided: everything is somebody's, and little moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.replicas.division import dealt

NAMES = st.text(min_size=1, max_size=12)
THINGS = st.sets(NAMES, max_size=60)
REPLICAS = st.lists(NAMES, min_size=1, max_size=8, unique=True)


@given(things=THINGS, replicas=REPLICAS)
def test_each_thing_is_one_replica_s_however_it_is_divided(things: set[str], replicas: list[str]) -> None:
    owners = dealt(things, replicas)
    assert owners.keys() == things
    assert set(owners.values()) <= set(replicas)


@given(things=THINGS, replicas=REPLICAS, data=st.data())
def test_all_come_to_the_same_in_whatever_order_they_know_of_things(
    things: set[str], replicas: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(sorted(things)))
    assert dealt(shuffled, replicas) == dealt(things, replicas)


def by_holder(owners: dict[str, str], replicas: list[str]) -> dict[str, set[str]]:
    return {replica: {thing for thing, owner in owners.items() if owner == replica} for replica in replicas}


@given(things=THINGS, replicas=REPLICAS, data=st.data())
def test_nobody_is_dealt_two_things_more_than_another_whatever_they_hold(
    things: set[str], replicas: list[str], data: st.DataObject
) -> None:
    held = {replica: data.draw(st.sets(st.sampled_from([*sorted(things), "other"]))) for replica in replicas}
    owners = dealt(things, replicas, held)
    shares = [len(part) for part in by_holder(owners, replicas).values()]
    assert owners.keys() == things
    assert sum(shares) == len(things)
    assert max(shares) - min(shares) <= 1


@given(things=THINGS, replicas=REPLICAS)
def test_what_is_dealt_stays_where_it_is(things: set[str], replicas: list[str]) -> None:
    owners = dealt(things, replicas)
    assert dealt(things, list(reversed(replicas)), by_holder(owners, replicas)) == owners


@given(things=THINGS, replicas=st.lists(NAMES, min_size=2, max_size=8, unique=True), data=st.data())
def test_of_what_is_dealt_only_that_moves_which_one_had_that_is_gone_or_one_gets_that_came(
    things: set[str], replicas: list[str], data: st.DataObject
) -> None:
    other = data.draw(st.sampled_from(replicas))
    fewer = [replica for replica in replicas if replica != other]
    with_it = dealt(things, replicas)
    without = dealt(things, fewer, by_holder(with_it, replicas))
    assert all(with_it[thing] == other for thing in things if with_it[thing] != without[thing])
    again = dealt(things, replicas, by_holder(without, fewer))
    assert all(again[thing] == other for thing in things if again[thing] != without[thing])


@given(things=THINGS, replicas=st.lists(NAMES, min_size=2, max_size=8, unique=True), data=st.data())
def test_what_is_on_its_way_does_not_turn_back(things: set[str], replicas: list[str], data: st.DataObject) -> None:
    newcomer = data.draw(st.sampled_from(replicas))
    there = [replica for replica in replicas if replica != newcomer]
    held = by_holder(dealt(things, there), there)
    owners = dealt(things, replicas, held)
    for thing in data.draw(st.permutations(sorted(thing for thing in things if owners[thing] == newcomer))):
        # The one that is to have it holds it first, then the other lets go of it.
        held[newcomer] = held.get(newcomer, set()) | {thing}
        assert dealt(things, replicas, held) == owners
        held = {one: {other for other in part if one == newcomer or other != thing} for one, part in held.items()}
        assert dealt(things, replicas, held) == owners
