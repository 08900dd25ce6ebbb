from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.answer import Answer, Status
from bot.commands.limits import Allowed, Busy, Cooldowns, SharedLooks, Wait
from bot.commands.request import Asker, Place, Role
from core.errors import StreamOffline
from core.streams.reference import StreamRef, parse_reference

ANN, BEN = (Asker(platform="twitch", id=name, name=name) for name in ("ann", "ben"))
HERE, THERE = (Place(platform="twitch", id=name) for name in ("here", "there"))


def ref(channel: str) -> StreamRef:
    return parse_reference(channel, url_template="https://www.twitch.tv/{channel}")


class Eyes:
    """Looks at what it is asked to, each look until it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.under_way = 0
        self.most = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.problem: Exception | None = None

    async def look(self, ref: StreamRef) -> Answer:
        self.begun.append(ref.channel)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gates.setdefault(ref.channel, asyncio.Event()).wait()
            if self.problem is not None:
                raise self.problem
        finally:
            self.under_way -= 1
        self.ended.append(ref.channel)
        return Answer(channel=ref.channel, status=Status.ANSWERED)

    def let_go(self, *channels: str) -> None:
        for channel in channels:
            self.gates.setdefault(channel, asyncio.Event()).set()


class Hall:
    """Askers before two hands and room for three that wait."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.eyes = Eyes()
        self.looks = SharedLooks(self.eyes.look, reuse_s=60, at_once=2, waiting=3)
        self._group = group

    async def ask(self, *channels: str) -> list[asyncio.Task[Answer | Exception]]:
        async def asked(channel: str) -> Answer | Exception:
            try:
                return await self.looks.ask(ref(channel))
            except (Busy, StreamOffline) as error:
                return error

        tasks = [self._group.create_task(asked(channel)) for channel in channels]
        await settled()
        return tasks


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def hall() -> AsyncIterator[Hall]:
    async with asyncio.TaskGroup() as group:
        here = Hall(group)
        yield here
        await here.looks.aclose()


async def test_no_more_looks_are_under_way_than_may_be_and_the_others_come_in_their_order() -> None:
    async with hall() as here:
        tasks = await here.ask("aa", "bb", "cc", "dd", "ee")
        assert here.eyes.begun == ["aa", "bb"]
        assert here.looks.waiting == 3
        here.eyes.let_go("bb", "cc", "dd", "ee", "aa")
        for task in tasks:
            assert isinstance(await task, Answer)

    assert here.eyes.begun == ["aa", "bb", "cc", "dd", "ee"]
    assert here.eyes.most == 2


async def test_one_more_than_may_wait_is_refused_at_once() -> None:
    async with hall() as here:
        tasks = await here.ask("aa", "bb", "cc", "dd", "ee", "ff")
        assert tasks[-1].done()
        assert isinstance(tasks[-1].result(), Busy)
        assert here.eyes.begun == ["aa", "bb"]
        here.eyes.let_go("aa", "bb", "cc", "dd", "ee")


async def test_who_joins_a_look_is_never_refused_whether_it_is_under_way_waits_or_is_remembered() -> None:
    async with hall() as here:
        first = await here.ask("aa", "bb", "cc", "dd", "ee")
        joined = await here.ask(*["aa", "ee"] * 5)
        assert here.looks.waiting == 3
        here.eyes.let_go("aa", "bb", "cc", "dd", "ee")
        for task in (*first, *joined):
            assert isinstance(await task, Answer)
        for channel in ("xx", "yy", "zz", "vv", "ww"):
            await here.ask(channel)
        (again,) = await here.ask("aa")
        assert isinstance(await again, Answer)
        assert isinstance((await here.ask("more"))[0].result(), Busy)
        here.eyes.let_go("xx", "yy", "zz", "vv", "ww")

    assert here.eyes.begun.count("aa") == here.eyes.begun.count("ee") == 1


async def test_who_was_refused_may_try_again_when_there_is_room() -> None:
    async with hall() as here:
        await here.ask("aa", "bb", "cc", "dd", "ee")
        assert isinstance((await here.ask("ff"))[0].result(), Busy)
        here.eyes.let_go("aa")
        await settled()
        (again,) = await here.ask("ff")
        here.eyes.let_go("bb", "cc", "dd", "ee", "ff")
        assert isinstance(await again, Answer)


async def test_who_gives_up_waiting_frees_the_place_and_is_never_looked_at() -> None:
    async with hall() as here:
        tasks = await here.ask("aa", "bb", "cc", "dd", "ee")
        tasks[3].cancel()
        await settled()
        assert here.looks.waiting == 2
        (later,) = await here.ask("ff")
        assert not later.done()
        here.eyes.let_go("aa", "bb", "cc", "ee", "ff")
        assert isinstance(await later, Answer)

    assert "dd" not in here.eyes.begun


async def test_who_gives_up_during_the_look_frees_the_hand() -> None:
    async with hall() as here:
        tasks = await here.ask("aa", "bb", "cc")
        tasks[0].cancel()
        await settled()
        assert here.eyes.begun == ["aa", "bb", "cc"]
        here.eyes.let_go("bb", "cc")


async def test_one_of_two_who_wait_for_the_same_may_leave() -> None:
    async with hall() as here:
        await here.ask("aa", "bb")
        leaving, staying = await here.ask("cc", "cc")
        leaving.cancel()
        await settled()
        assert here.looks.waiting == 1
        here.eyes.let_go("aa", "bb", "cc")
        assert isinstance(await staying, Answer)


async def test_a_look_that_fails_frees_the_hand_and_is_forgotten() -> None:
    async with hall() as here:
        here.eyes.problem = StreamOffline("aa")
        here.eyes.let_go("aa", "bb", "cc")
        for task in await here.ask("aa", "bb", "cc"):
            assert isinstance(await task, StreamOffline)
        here.eyes.problem = None
        (again,) = await here.ask("aa")
        assert isinstance(await again, Answer)


async def test_the_estimate_goes_by_how_long_the_last_looks_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr("bot.commands.limits.time.monotonic", lambda: clock)
    async with hall() as here:
        await here.ask("aa", "bb", "cc", "dd", "ee")
        first = (await here.ask("ff"))[0].result()
        assert isinstance(first, Busy)
        assert first.seconds == 10.0  # four more of five seconds, by two hands
        clock = 2.0
        here.eyes.let_go("aa", "bb")
        await settled()
        await here.ask("gg", "hh")
        second = (await here.ask("ff"))[0].result()
        assert isinstance(second, Busy)
        assert second.seconds == 4.0
        here.eyes.let_go("cc", "dd", "ee", "gg", "hh")


async def test_fifty_who_ask_for_twenty_channels_are_all_answered_or_told() -> None:
    async with hall() as here:
        names = [f"channel_{number % 20}" for number in range(50)]
        tasks = await here.ask(*names)
        here.eyes.let_go(*names)
        results = [await task for task in tasks]

    assert {type(result) for result in results} == {Answer, Busy}
    assert here.eyes.most == 2
    assert len(here.eyes.begun) == len(set(here.eyes.begun)) == 5


async def test_without_a_bound_all_look_at_once() -> None:
    eyes = Eyes()
    looks = SharedLooks(eyes.look, reuse_s=60)
    names = [f"channel_{number}" for number in range(50)]
    eyes.let_go(*names)
    await asyncio.gather(*(looks.ask(ref(name)) for name in names))
    await looks.aclose()

    assert len(eyes.begun) == 50


def cooldowns(*, user_s: float = 10, place_s: float = 30, place_asks: int = 3) -> Cooldowns:
    return Cooldowns(user_s=user_s, place_s=place_s, place_asks=place_asks)


def test_a_person_waits_and_is_told_so_once() -> None:
    limits = cooldowns()

    assert limits.check(ANN, HERE, 100) == Allowed()
    assert limits.check(ANN, HERE, 104) == Wait(seconds=6, tell=True)
    assert limits.check(ANN, THERE, 105) == Wait(seconds=5, tell=False)
    assert limits.check(BEN, HERE, 105) == Allowed()
    assert limits.check(ANN, HERE, 110) == Allowed()
    assert limits.check(ANN, HERE, 111) == Wait(seconds=9, tell=True)


def test_asking_on_does_not_prolong_the_wait() -> None:
    limits = cooldowns()
    limits.check(ANN, HERE, 0)
    for now in range(1, 10):
        assert isinstance(limits.check(ANN, HERE, now), Wait)

    assert limits.check(ANN, HERE, 10) == Allowed()


def test_a_place_has_so_many_asks_in_a_while_and_is_told_once_for_all() -> None:
    limits = cooldowns(user_s=0)
    for now in (0, 10, 20):
        assert limits.check(ANN, HERE, now) == Allowed()

    assert limits.check(BEN, HERE, 21) == Wait(seconds=9, tell=True)
    assert limits.check(ANN, HERE, 22) == Wait(seconds=8, tell=False)
    assert limits.check(ANN, THERE, 22) == Allowed()
    assert limits.check(BEN, HERE, 30) == Allowed()
    assert limits.check(BEN, HERE, 31) == Wait(seconds=9, tell=True)


def test_who_was_refused_for_the_place_is_not_held_up_elsewhere() -> None:
    limits = cooldowns(place_asks=1)
    limits.check(ANN, HERE, 0)
    assert isinstance(limits.check(BEN, HERE, 1), Wait)

    assert limits.check(BEN, THERE, 2) == Allowed()


def test_a_server_is_one_place() -> None:
    limits = cooldowns(place_asks=1)
    one, other = (Place(platform="discord", id=id_, server="s") for id_ in ("1", "2"))
    limits.check(ANN, one, 0)

    assert isinstance(limits.check(BEN, other, 1), Wait)


@pytest.mark.parametrize("role", [Role.MODERATOR, Role.BROADCASTER, Role.OPERATOR])
def test_moderators_are_neither_held_up_nor_counted(role: Role) -> None:
    limits = cooldowns(place_asks=1)
    moderator = Asker(platform="twitch", id="mo", role=role)

    assert all(limits.check(moderator, HERE, now) == Allowed() for now in range(20))
    assert limits.check(ANN, HERE, 20) == Allowed()
    assert limits.check(moderator, HERE, 21) == Allowed()


def test_without_limits_all_is_allowed() -> None:
    limits = cooldowns(user_s=0, place_s=0)

    assert all(limits.check(ANN, HERE, 0) == Allowed() for _ in range(100))


def test_what_is_remembered_is_bounded() -> None:
    limits = Cooldowns(user_s=1000, place_s=1000, place_asks=5, remembered_askers=10, remembered_places=10)
    for number in range(1000):
        limits.check(Asker(platform="x", id=str(number)), Place(platform="x", id=str(number)), 0)

    assert limits.check(Asker(platform="x", id="999"), HERE, 1) == Wait(seconds=999, tell=True)
    assert limits.check(Asker(platform="x", id="1"), HERE, 1) == Allowed()


def test_a_crowd_of_askers_costs_little() -> None:
    limits = Cooldowns(user_s=10, place_s=30, place_asks=20)
    began_s = time.perf_counter()
    for number in range(20_000):
        limits.check(Asker(platform="x", id=str(number)), Place(platform="x", id=str(number % 500)), number / 1000)

    assert time.perf_counter() - began_s < 2.0


@given(
    asks=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.floats(0, 20)), max_size=60),
    user_s=st.floats(0, 15),
    place_s=st.floats(0, 40),
    place_asks=st.integers(1, 5),
)
def test_nobody_gets_more_than_is_allowed_and_every_wait_ends_when_it_says(
    asks: list[tuple[str, str, float]], user_s: float, place_s: float, place_asks: int
) -> None:
    limits = cooldowns(user_s=user_s, place_s=place_s, place_asks=place_asks)
    now = 0.0
    allowed: list[tuple[str, str, float]] = []
    for who, where, pause_s in asks:
        now += pause_s
        permission = limits.check(Asker(platform="p", id=who), Place(platform="p", id=where), now)
        if isinstance(permission, Wait):
            assert 0 < permission.seconds <= max(user_s, place_s) + 1e-6
            continue
        of_asker = [at for one, _, at in allowed if one == who]
        of_place = [at for _, one, at in allowed if one == where and now - at < place_s - 1e-6]
        assert not of_asker or now - of_asker[-1] >= user_s - 1e-6
        assert len(of_place) < place_asks or not place_s
        allowed.append((who, where, now))
