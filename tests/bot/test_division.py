"""How channels and shards are divided: everything is somebody's, and little moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.division import dealt, hashed

NAMES = st.text(min_size=1, max_size=12)
THINGS = st.sets(NAMES, max_size=60)
REPLICAS = st.lists(NAMES, min_size=1, max_size=8, unique=True)


@given(things=THINGS, replicas=REPLICAS)
def test_each_thing_is_one_replica_s_however_it_is_divided(things: set[str], replicas: list[str]) -> None:
    for owners in (hashed(things, replicas), dealt(things, replicas)):
        assert owners.keys() == things
        assert set(owners.values()) <= set(replicas)


@given(things=THINGS, replicas=REPLICAS, data=st.data())
def test_all_come_to_the_same_in_whatever_order_they_know_of_things(
    things: set[str], replicas: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(sorted(things)))
    assert dealt(shuffled, replicas) == dealt(things, replicas)
    assert hashed(shuffled, data.draw(st.permutations(replicas))) == hashed(things, replicas)


@given(things=THINGS, replicas=st.lists(NAMES, min_size=2, max_size=8, unique=True), data=st.data())
def test_when_one_is_gone_only_what_it_had_moves(things: set[str], replicas: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(replicas))
    before = hashed(things, replicas)
    after = hashed(things, [replica for replica in replicas if replica != gone])
    assert {thing for thing in things if before[thing] != after[thing]} == {
        thing for thing, owner in before.items() if owner == gone
    }


@given(things=THINGS, replicas=REPLICAS, new=NAMES)
def test_when_one_comes_only_what_it_gets_moves(things: set[str], replicas: list[str], new: str) -> None:
    before, after = hashed(things, replicas), hashed(things, {*replicas, new})
    assert all(after[thing] == new for thing in things if before[thing] != after[thing])


@given(things=THINGS, replicas=REPLICAS)
def test_nobody_is_dealt_two_things_more_than_another(things: set[str], replicas: list[str]) -> None:
    owners = list(dealt(things, replicas).values())
    shares = [owners.count(replica) for replica in replicas]
    assert sum(shares) == len(things)
    assert shares == sorted(shares, reverse=True)
    assert max(shares) - min(shares) <= 1


def test_many_channels_are_divided_about_evenly() -> None:
    owners = list(hashed({f"twitch:{number}" for number in range(3000)}, ["a", "b", "c"]).values())
    assert all(900 < owners.count(replica) < 1100 for replica in "abc")


def test_of_many_shards_that_are_dealt_most_stay_when_one_is_gone() -> None:
    shards = {f"discord:{number}/64" for number in range(64)}
    before, after = dealt(shards, ["a", "b", "c", "d"]), dealt(shards, ["a", "b", "d"])
    moved = [shard for shard in shards if before[shard] != after[shard]]
    assert 16 <= len(moved) <= 32
