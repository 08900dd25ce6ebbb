"""Replicas that come, go, die and lose their database: who hears what."""

from __future__ import annotations

import asyncio

from bot.replicas.membership import Replicas
from bot.replicas.quick_questions import QuickQuestions
from core.errors import StorageError
from tests.chat.shared_memory import Memory, replica

NAMES = frozenset({f"twitch:{number}" for number in range(40)})


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def heard_by(*replicas: Replicas) -> list[frozenset[str]]:
    return [one.mine(NAMES) for one in replicas]


async def settled(*replicas: Replicas) -> None:
    """Each hears what it is to hear, and says so, until all know."""
    for _ in range(4):
        for one in replicas:
            one.serves("twitch", one.mine(NAMES))
            await one.beat()


def new(memory: Memory, name: str, *, clock: Clock | None = None) -> Replicas:
    return Replicas(memory, memory, holder=name, lease_s=10.0, clock=clock or Clock())


async def test_the_first_one_hears_all() -> None:
    one = new(Memory(), "a")
    await one.beat()
    assert one.mine(NAMES) == NAMES
    assert one.count == 1


async def test_all_together_hear_everything_and_nothing_twice() -> None:
    memory = Memory()
    a, b, c = (new(memory, name) for name in "abc")
    await settled(a, b, c)
    parts = heard_by(a, b, c)
    assert frozenset().union(*parts) == NAMES
    assert sorted(map(len, parts)) == [13, 13, 14]


async def test_nothing_is_let_go_of_before_the_other_hears_it() -> None:
    memory = Memory()
    a, b = new(memory, "a"), new(memory, "b")
    await settled(a)
    await b.beat()
    await a.beat()
    coming = b.mine(NAMES)
    assert coming
    assert a.mine(NAMES) == NAMES
    b.serves("twitch", coming)
    await b.beat()
    await a.beat()
    assert a.mine(NAMES) == NAMES - coming


async def test_what_a_dead_one_heard_is_the_others() -> None:
    memory = Memory()
    a, b, c = (new(memory, name) for name in "abc")
    await settled(a, b, c)
    before = heard_by(a, b)
    memory.kill("c")
    await settled(a, b)
    after = heard_by(a, b)
    assert after[0] | after[1] == NAMES
    assert not after[0] & after[1]
    assert all(was <= now for was, now in zip(before, after, strict=True))


async def test_one_that_is_about_to_end_hears_on_until_the_others_do() -> None:
    memory = Memory()
    async with replica(memory, "a") as a, replica(memory, "b") as b:
        await settled(a, b)
        part = b.mine(NAMES)
        leaving = asyncio.create_task(b.hand_over(within_s=20.0))
        while a.mine(NAMES) != NAMES:
            await asyncio.sleep(0.01)
        assert not leaving.done()
        assert b.mine(NAMES) == part
        a.serves("twitch", a.mine(NAMES))
        await leaving
        assert b.mine(NAMES) == frozenset()


async def test_the_last_one_that_is_about_to_end_waits_for_nobody() -> None:
    async with replica(Memory(), "a") as a:
        a.serves("twitch", NAMES)
        await a.hand_over(within_s=60.0)
        assert a.mine(NAMES) == NAMES


async def test_when_all_end_at_once_nobody_begins_to_hear_anything() -> None:
    memory = Memory()
    async with replica(memory, "a") as a, replica(memory, "b") as b:
        await settled(a, b)
        before = heard_by(a, b)
        await asyncio.gather(a.hand_over(within_s=20.0), b.hand_over(within_s=20.0))
        await asyncio.gather(a.beat(), b.beat())
        assert heard_by(a, b) == before


async def test_one_that_ends_while_the_database_is_away_waits_for_nobody() -> None:
    memory = Memory()
    async with replica(memory, "a") as a, replica(memory, "b") as b:
        await settled(a, b)
        memory.is_away = True
        await b.hand_over(within_s=60.0)


async def test_when_the_database_is_away_everybody_hears_on_what_is_theirs_and_answers() -> None:
    memory, clock = Memory(), Clock()
    a, b = (new(memory, name, clock=clock) for name in "ab")
    await settled(a, b)
    before = heard_by(a, b)
    memory.is_away = True
    clock.now_s += 60
    for one in (a, b):
        await one.beat()
    assert heard_by(a, b) == before
    assert await a.take("twitch:m1")


async def test_the_first_one_to_find_the_database_back_does_not_take_everything() -> None:
    memory, clock = Memory(), Clock()
    a, b = (new(memory, name, clock=clock) for name in "ab")
    await settled(a, b)
    before = heard_by(a, b)
    memory.is_away = True
    clock.now_s += 60
    await a.beat()
    memory.is_away = False
    memory.age(60.0)
    await a.beat()
    assert heard_by(a, b) == before
    clock.now_s += 10
    await a.beat()
    memory.kill("b")
    await a.beat()
    assert a.mine(NAMES) == NAMES


async def test_an_event_is_answered_by_the_first_that_takes_it() -> None:
    memory = Memory()
    a, b = new(memory, "a"), new(memory, "b")
    assert [await a.take("twitch:m1"), await b.take("twitch:m1")] == [True, False]


async def test_all_go_by_the_number_that_there_is_unless_it_will_not_do() -> None:
    memory = Memory()
    a, b = new(memory, "a"), new(memory, "b")
    assert a.agreed("shards", 4) == 4
    await a.beat()
    await b.beat()
    assert b.agreed("shards", 5) == 4
    await b.beat()
    memory.kill("a")
    await b.beat()
    assert b.agreed("shards", 6) == 4
    assert b.agreed("shards", 6, insists=True) == 6
    await b.beat()
    await a.beat()
    assert a.agreed("shards", 4) == a.agreed("shards", 5, insists=True) == 6


async def test_only_so_many_of_the_oldest_hear_what_few_may() -> None:
    memory = Memory()
    a, b, c = (new(memory, name) for name in "abc")
    for one in (a, b, c, a, b):
        await one.beat()
    assert c.mine(NAMES, among=2) == frozenset()
    assert a.mine(NAMES, among=2) | b.mine(NAMES, among=2) == NAMES


async def test_a_database_that_does_not_answer_is_left_alone_for_a_while() -> None:
    questions, asked = QuickQuestions(longest_s=0.05, rest_s=0.2), 0

    async def slow() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(60)
        return False

    async def broken() -> bool:
        raise StorageError("gone")

    async def good() -> bool:
        return False

    assert await questions.ask(slow, otherwise=lambda: True)
    assert await questions.ask(slow, otherwise=lambda: True)
    assert asked == 1
    await asyncio.sleep(0.25)
    assert not await questions.ask(good, otherwise=lambda: True)
    assert await questions.ask(broken, otherwise=lambda: True)
