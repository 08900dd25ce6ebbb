"""Who is here, whose turn it is, and who takes what, among processes that share a database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from core.storage.database import Database
from core.storage.leases import CooldownStore, LeaseStore
from core.storage.records import Replica

ANN, BEN = Replica(id="ann"), Replica(id="ben", serves=frozenset({"a", "b"}), numbers={"shards": 3})


@pytest.fixture
def leases(database):
    return LeaseStore(database)


async def test_who_is_here_is_told_the_oldest_first_with_what_it_serves(leases):
    assert await leases.renew(ANN, silent_s=60) == (ANN,)
    assert await leases.renew(BEN, silent_s=60) == (ANN, BEN)
    busy = replace(ANN, serves=frozenset({"c"}), is_leaving=True)
    assert await leases.renew(busy, silent_s=60) == (busy, BEN)


async def test_who_is_not_heard_of_is_not_here_and_keeps_its_age_when_it_is_back(leases):
    await leases.renew(ANN, silent_s=60)
    await asyncio.sleep(0.3)
    assert await leases.renew(BEN, silent_s=0.2) == (BEN,)
    assert await leases.renew(BEN, silent_s=60) == (ANN, BEN)
    assert await leases.renew(ANN, silent_s=0.2) == (ANN, BEN)


async def test_who_leaves_is_gone_at_once(leases):
    await leases.renew(ANN, silent_s=60)
    await leases.renew(BEN, silent_s=60)
    await leases.leave("ann")
    assert await leases.renew(BEN, silent_s=60) == (BEN,)


async def test_an_event_is_taken_by_one_of_all_that_ask_at_once(leases, url):
    async with Database.at(url) as other:
        stores = [leases, LeaseStore(other)] * 8
        taken = await asyncio.gather(*(store.take("twitch:1") for store in stores))
        assert sorted(taken) == [False] * 15 + [True]
        assert await leases.take("twitch:2")


async def test_turns_lie_one_gap_apart_whoever_takes_them(leases, url):
    async with Database.at(url) as other:
        stores = [leases, LeaseStore(other)] * 3
        waits = sorted(await asyncio.gather(*(store.turn("identify", gap_s=100) for store in stores)))
    assert [round(wait / 100) for wait in waits] == [0, 1, 2, 3, 4, 5]
    assert await leases.turn("another", gap_s=100) == 0
    assert all(later - earlier > 99 for earlier, later in pairwise(waits))


async def test_what_is_still_needed_is_not_forgotten(leases):
    await leases.take("twitch:1")
    await leases.renew(ANN, silent_s=60)
    await leases.forget()
    assert not await leases.take("twitch:1")
    assert await leases.renew(BEN, silent_s=60) == (ANN, BEN)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
class TestCooldowns:
    @pytest.fixture
    def cooldowns(self, database):
        return CooldownStore(database)

    async def ask(self, cooldowns, who="ann", where="here", *, asker_s=100.0, place_s=100.0, place_asks=2):
        return await cooldowns.ask(who, where, asker_s=asker_s, place_s=place_s, place_asks=place_asks)

    async def test_a_person_waits_and_is_told_so_once_whichever_process_is_asked(self, cooldowns, url):
        assert await self.ask(cooldowns) == (0, False)
        async with Database.at(url) as other:
            wait_s, tell = await self.ask(CooldownStore(other), where="there")
        assert 90 < wait_s <= 100
        assert tell
        wait_s, tell = await self.ask(cooldowns)
        assert 90 < wait_s <= 100
        assert not tell

    async def test_a_place_waits_for_its_oldest_ask(self, cooldowns):
        for who in ("ann", "ben"):
            assert await self.ask(cooldowns, who) == (0, False)
        wait_s, tell = await self.ask(cooldowns, "eve")
        assert 90 < wait_s <= 100
        assert tell
        assert not (await self.ask(cooldowns, "dan"))[1]
        assert await self.ask(cooldowns, "eve", "there") == (0, False)

    async def test_what_is_refused_counts_nowhere(self, cooldowns):
        await self.ask(cooldowns, "ann")
        await self.ask(cooldowns, "ann")
        await self.ask(cooldowns, "ann")
        assert await self.ask(cooldowns, "ben") == (0, False)

    async def test_it_is_over_when_it_is_over_and_told_anew(self, cooldowns):
        quick = {"asker_s": 0.2, "place_s": 0.4}
        assert await self.ask(cooldowns, **quick) == (0, False)
        assert (await self.ask(cooldowns, **quick))[1]
        await asyncio.sleep(0.3)
        assert await self.ask(cooldowns, **quick) == (0, False)
        wait_s, tell = await self.ask(cooldowns, "ben", **quick)
        assert 0 < wait_s < 0.2
        assert tell
        await asyncio.sleep(0.5)
        assert await self.ask(cooldowns, "ben", **quick) == (0, False)

    async def test_without_limits_nothing_is_counted(self, cooldowns):
        for _ in range(5):
            assert await self.ask(cooldowns, asker_s=0, place_s=0) == (0, False)

    async def test_fewer_may_be_allowed_than_were_counted(self, cooldowns):
        for number in range(5):
            await self.ask(cooldowns, f"p{number}", place_asks=5)
        wait_s, _ = await self.ask(cooldowns, "ann", place_asks=1)
        assert wait_s > 90

    async def test_never_more_get_through_at_once_than_may(self, cooldowns, url):
        async with Database.at(url) as other:
            stores = [cooldowns, CooldownStore(other)] * 15
            waits = await asyncio.gather(
                *(self.ask(store, f"p{number}", place_asks=7) for number, store in enumerate(stores))
            )
        assert sum(wait_s == 0 for wait_s, _ in waits) == 7
        assert sum(tell for _, tell in waits) == 1
