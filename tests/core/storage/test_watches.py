"""A watch is looked after by one at a time, and remembers what it saw."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from core.storage.database import Database
from core.storage.records import Broadcaster, Mismatch, Watch, WatchState
from core.storage.watches import WatchStore
from tests.core.storage.processes import at_once
from tests.core.storage.samples import ANNA, NOON, asked, nightly

ANNAS = Watch(login="anna", platform="discord", place_id="c1", server_id="s1", place_name="mods", by="7", at=NOON)
BERTS = replace(ANNAS, login="bert")
ELSEWHERE = replace(ANNAS, platform="twitch", place_id="11", server_id="")
DIFFER = Mismatch(seen="doom", declared="chess")
STATE = WatchState(
    differing=3, mismatch=DIFFER, alerted=Mismatch(seen="quake", declared="chess"), looked_at=NOON + timedelta(hours=1)
)


async def claim(store: WatchStore, *, holder: str = "a", lease_s: float = 60.0, limit: int = 9):
    return await store.claim_due(holder=holder, lease_s=lease_s, limit=limit)


def place(watch: Watch) -> dict[str, str]:
    return {"platform": watch.platform, "place_id": watch.place_id}


async def test_what_is_watched_is_told(watches):
    for watch in (BERTS, ANNAS, ELSEWHERE):
        assert await watches.put(watch) is True
    assert await watches.watches() == (ANNAS, ELSEWHERE, BERTS)
    assert await watches.watches(platform="twitch") == (ELSEWHERE,)
    assert await watches.watches(platform="discord", place_id="c1") == (ANNAS, BERTS)
    assert await watches.watches(platform="discord", place_id="c2") == ()


async def test_a_login_is_one_however_it_is_spelt(watches):
    await watches.put(replace(ANNAS, login="ANNA"))
    assert await watches.watches() == (ANNAS,)
    assert await watches.state("Anna", **place(ANNAS)) == WatchState()
    assert await watches.remove("aNNa", **place(ANNAS))


async def test_watching_again_goes_on_as_it_was(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    await watches.done(due, holder="a", state=STATE, again_in_s=60)
    assert await watches.put(replace(ANNAS, by="8")) is False
    assert await watches.watches() == (ANNAS,)
    assert await watches.state("anna", **place(ANNAS)) == STATE
    assert await claim(watches) == ()


async def test_ending_it_ends_it_for_that_place(watches):
    await watches.put(ANNAS)
    await watches.put(ELSEWHERE)
    assert await watches.remove("anna", **place(ANNAS))
    assert not await watches.remove("anna", **place(ANNAS))
    assert await watches.watches() == (ELSEWHERE,)
    assert await watches.state("anna", **place(ANNAS)) is None


async def test_a_new_one_is_due_at_once_and_has_seen_nothing(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    assert (due.watch, due.state) == (ANNAS, WatchState())


async def test_one_that_somebody_has_is_let_be(watches):
    await watches.put(ANNAS)
    await claim(watches, holder="a")
    assert await claim(watches, holder="b") == await claim(watches, holder="a") == ()


async def test_one_that_is_done_is_due_again_later(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    assert await watches.done(due, holder="a", state=STATE, again_in_s=0.1)
    assert await claim(watches) == ()
    await asyncio.sleep(0.2)
    (again,) = await claim(watches, holder="b")
    assert again.state == STATE


async def test_what_was_alerted_of_survives_a_restart(watches, url):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    await watches.done(due, holder="a", state=STATE, again_in_s=-1)
    async with Database.at(url) as database:
        (again,) = await claim(WatchStore(database), holder="after the restart")
    assert again.state == STATE


async def test_what_is_the_same_again_is_forgotten(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    await watches.done(due, holder="a", state=STATE, again_in_s=-1)
    (due,) = await claim(watches)
    await watches.done(due, holder="a", state=WatchState(looked_at=NOON), again_in_s=-1)
    assert await watches.state("anna", **place(ANNAS)) == WatchState(looked_at=NOON)


async def test_what_nobody_could_be_told_is_told_with_the_next_look(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    assert STATE.alerted is not None
    await watches.done(due, holder="a", state=STATE, again_in_s=-1)
    await watches.untold(due)
    (again,) = await claim(watches)
    assert again.state == replace(STATE, alerted=None)
    # By now somebody else has it.
    await watches.done(again, holder="a", state=STATE, again_in_s=60)
    await watches.untold(due)
    assert await watches.state("anna", **place(ANNAS)) == STATE


async def test_one_whose_holder_died_is_taken_over_and_the_dead_one_is_not_heard(watches):
    await watches.put(ANNAS)
    (old,) = await claim(watches, holder="a", lease_s=-1)
    (new,) = await claim(watches, holder="b")
    assert new.attempt == old.attempt + 1
    assert not await watches.done(old, holder="a", state=STATE, again_in_s=0)
    assert await watches.state("anna", **place(ANNAS)) == WatchState()
    assert await watches.done(new, holder="b", state=STATE, again_in_s=60)


async def test_the_same_process_that_lost_and_took_it_again_is_two_holders(watches):
    await watches.put(ANNAS)
    (old,) = await claim(watches, lease_s=-1)
    (new,) = await claim(watches)
    assert not await watches.done(old, holder="a", state=STATE, again_in_s=0)
    assert await watches.done(new, holder="a", state=STATE, again_in_s=60)
    assert not await watches.done(new, holder="a", state=WatchState(), again_in_s=0)


async def test_one_that_was_ended_meanwhile_alerts_nobody(watches):
    await watches.put(ANNAS)
    (due,) = await claim(watches)
    await watches.remove("anna", **place(ANNAS))
    await watches.put(ANNAS)
    assert not await watches.done(due, holder="a", state=STATE, again_in_s=0)
    assert await watches.state("anna", **place(ANNAS)) == WatchState()


async def test_the_longest_due_first_and_no_more_than_asked_for(watches):
    for watch in (ANNAS, BERTS, ELSEWHERE):
        await watches.put(watch)
    for due in await claim(watches):
        again_in_s = {"anna": -1.0, "bert": -9.0}[due.watch.login] - (due.watch.platform == "twitch") * 20
        await watches.done(due, holder="a", state=WatchState(), again_in_s=again_in_s)
    assert [due.watch for due in await claim(watches, limit=2)] == [ELSEWHERE, BERTS]
    assert [due.watch for due in await claim(watches, limit=2)] == [ANNAS]


async def test_of_many_at_once_exactly_one_gets_each(url, watches):
    for number in range(20):
        await watches.put(replace(ANNAS, login=f"channel{number}"))
    databases = [Database.at(url) for _ in range(6)]
    claims = await asyncio.gather(
        *(claim(WatchStore(database), holder=str(number), limit=20) for number, database in enumerate(databases))
    )
    for database in databases:
        await database.aclose()
    assert sorted(due.id for some in claims for due in some) == list(range(1, 21))


async def test_of_many_processes_exactly_one_gets_each(url, watches):
    for number in range(12):
        await watches.put(replace(ANNAS, login=f"channel{number}"))
    body = """
        from core.storage.watches import WatchStore
        together()
        for _ in range(12):
            for due in await WatchStore(database).claim_due(holder=str(number), lease_s=60, limit=2):
                print(due.id)
    """
    claimed = [int(number) for said in await at_once(body, url) for number in said.split()]
    assert sorted(claimed) == list(range(1, 13))


@pytest.mark.parametrize("known", [False, True])
async def test_who_opts_out_is_watched_no_more(watches, captures, upkeep, known):
    if known:
        await captures.add(asked())
    await watches.put(ANNAS)
    await watches.put(ELSEWHERE)
    await watches.put(BERTS)
    (due, *_) = await claim(watches)
    await upkeep.forget(Broadcaster(login="Anna"), by="anna", at=NOON)
    assert await watches.watches() == (BERTS,)
    assert not await watches.done(due, holder="a", state=STATE, again_in_s=0)
    assert await watches.put(ANNAS) is None
    assert await watches.watches() == (BERTS,)


async def test_who_opts_out_under_a_former_name_is_watched_no_more(watches, captures):
    await captures.add(nightly(broadcaster=ANNA))
    await watches.put(ANNAS)
    await captures.opt_out(Broadcaster(login="once", platform_id="1"), by="anna", at=NOON)
    assert await watches.watches() == ()
