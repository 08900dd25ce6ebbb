"""A newer token is never overwritten or removed by somebody who has an older one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from core.storage.database import Database
from core.storage.records import StoredToken
from core.storage.tokens import TokenStore
from tests.core.storage.samples import NOON

FIRST = StoredToken(
    platform="twitch", user_id="7", secret=b"\x00\xff first", scopes=("user:bot", "user:read:chat"), at=NOON
)
SECOND = replace(FIRST, secret=b"second", at=NOON + timedelta(hours=4))
THIRD = replace(FIRST, secret=b"third", scopes=(), at=NOON + timedelta(hours=8))


async def test_what_was_put_is_there(tokens):
    assert await tokens.get("twitch", "7") is None
    await tokens.put(FIRST)
    assert await tokens.get("twitch", "7") == FIRST
    assert await tokens.get("twitch", "8") is await tokens.get("discord", "7") is None


async def test_a_user_s_new_token_takes_the_old_one_s_place(tokens):
    await tokens.put(FIRST)
    await tokens.put(SECOND)
    assert await tokens.all("twitch") == (SECOND,)


async def test_all_of_a_platform(tokens):
    others = [replace(FIRST, user_id="9"), replace(FIRST, user_id="10"), replace(FIRST, platform="discord")]
    for token in (FIRST, *others):
        await tokens.put(token)
    assert {token.user_id for token in await tokens.all("twitch")} == {"7", "9", "10"}
    assert await tokens.all("discord") == (others[2],)
    assert await tokens.all("console") == ()


async def test_a_refreshed_token_takes_the_place_of_the_one_it_was_made_from(tokens):
    await tokens.put(FIRST)
    assert await tokens.replace(FIRST, SECOND)
    assert await tokens.replace(SECOND, THIRD)
    assert await tokens.get("twitch", "7") == THIRD


async def test_who_refreshed_an_older_one_overwrites_nothing(tokens):
    await tokens.put(FIRST)
    await tokens.replace(FIRST, SECOND)
    assert not await tokens.replace(FIRST, THIRD)
    assert await tokens.get("twitch", "7") == SECOND


async def test_a_token_that_was_removed_does_not_come_back(tokens):
    await tokens.put(FIRST)
    assert await tokens.remove(FIRST)
    assert not await tokens.replace(FIRST, SECOND)
    assert not await tokens.remove(FIRST)
    assert await tokens.get("twitch", "7") is None


async def test_who_finds_an_older_one_refused_removes_nothing(tokens):
    await tokens.put(FIRST)
    await tokens.replace(FIRST, SECOND)
    assert not await tokens.remove(FIRST)
    assert await tokens.get("twitch", "7") == SECOND


async def test_another_user_s_is_left_alone(tokens):
    same = replace(FIRST, user_id="8")
    await tokens.put(FIRST)
    await tokens.put(same)
    await tokens.replace(FIRST, SECOND)
    assert await tokens.get("twitch", "8") == same
    await tokens.remove(SECOND)
    assert await tokens.all("twitch") == (same,)


async def test_of_many_that_refresh_at_once_one_is_right(url, tokens):
    await tokens.put(FIRST)
    databases = [Database.at(url) for _ in range(6)]
    fresh = [replace(FIRST, secret=str(number).encode()) for number in range(6)]
    won = await asyncio.gather(
        *(TokenStore(database).replace(FIRST, new) for database, new in zip(databases, fresh, strict=True))
    )
    for database in databases:
        await database.aclose()
    assert won.count(True) == 1
    assert await tokens.get("twitch", "7") == fresh[won.index(True)]


async def test_a_secret_is_not_shown(tokens):
    await tokens.put(FIRST)
    assert "first" not in repr(await tokens.get("twitch", "7"))
