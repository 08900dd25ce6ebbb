"""Twitch's tokens: sealed, kept, renewed once, and in no log."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest

from bot.chat.scrubbing import Scrubber
from bot.chat.twitch_id import RefreshRefused, TwitchId, UserTokens
from bot.chat.twitch_tokens import BOT_SCOPES, TokenKeeper, TokenVault, new_key
from core.errors import ChatProblem, ChatRefused, StorageError
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.helix import CLIENT_ID, CLIENT_SECRET, broadcaster_id
from tests.chat.twitch_bench import KEY, QUICK_ID, MemoryTokens, tokens_of
from tests.chat.twitch_stand_in import BOT, TwitchStandIn

TOKENS = UserTokens(
    user_id="77",
    login="someone",
    access="access-of-someone",
    refresh="refresh-of-someone",
    scopes=BOT_SCOPES,
    granted_at=datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
)
NEWER = replace(TOKENS, access="newer-access", refresh="newer-refresh")


@pytest.fixture(params=["memory", "database"])
async def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryTokens()
        return
    database = Database.at(f"sqlite:///{tmp_path / 'tokens.db'}")
    await database.prepare()
    yield TokenStore(database)
    await database.aclose()


# The vault


async def test_what_was_kept_comes_back(store):
    vault = TokenVault(store, [KEY])
    assert await vault.tokens("77") is None
    await vault.keep(TOKENS)
    assert await vault.tokens("77") == TOKENS
    other = replace(TOKENS, user_id="5", granted_at=datetime(2027, 1, 1, tzinfo=UTC))
    await vault.keep(other)
    assert await vault.all() == (TOKENS, other)
    assert await vault.forget("77")
    assert not await vault.forget("77")
    assert await vault.all() == (other,)


async def test_what_is_kept_can_be_read_by_nobody_without_the_key(store):
    vault = TokenVault(store, [KEY])
    await vault.keep(TOKENS)
    kept = await store.get("twitch", "77")
    assert b"someone" not in kept.secret
    assert "access-of" not in repr(TOKENS)
    assert "refresh-of" not in repr(TOKENS)
    with pytest.raises(ChatRefused, match=r"sealed with another key than GAMESPOTTER_TWITCH__TOKEN_KEY has\.$"):
        await TokenVault(store, [new_key()]).tokens("77")


@pytest.mark.parametrize("keys", [(), ("",), ("nonsense",), (KEY, "nonsense"), (KEY[:-4],)])
def test_a_key_that_is_missing_or_none_is_one_sentence(keys):
    with pytest.raises(ChatRefused, match=r"^[^\n]*GAMESPOTTER_TWITCH__TOKEN_KEY[^\n]*$") as caught:
        TokenVault(MemoryTokens(), keys)
    assert "authorise --new-key" in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_key_can_be_changed(store):
    await TokenVault(store, [KEY]).keep(TOKENS)
    newer_key = new_key()
    both = TokenVault(store, [newer_key, KEY])
    assert await both.tokens("77") == TOKENS
    assert await both.reseal() == 1
    assert await both.reseal() == 0
    assert await TokenVault(store, [newer_key]).tokens("77") == TOKENS
    with pytest.raises(ChatRefused):
        await TokenVault(store, [KEY]).tokens("77")


async def test_a_renewal_takes_the_place_of_what_it_was_made_from_and_of_nothing_else(store):
    vault = TokenVault(store, [KEY])
    await vault.keep(TOKENS)
    assert await vault.renew(TOKENS, NEWER) == NEWER
    late = replace(TOKENS, access="late-access", refresh="late-refresh")
    assert await vault.renew(TOKENS, late) == NEWER
    assert await vault.tokens("77") == NEWER
    await vault.forget("77")
    assert await vault.renew(NEWER, late) == late
    assert await vault.tokens("77") is None


async def test_of_two_renewals_at_the_same_time_both_get_one():
    class Late(MemoryTokens):
        async def get(self, platform, user_id):
            found = await super().get(platform, user_id)
            await asyncio.sleep(0.01)
            return found

    vault = TokenVault(Late(), [KEY])
    await vault.keep(TOKENS)
    renewals = [replace(TOKENS, access=f"access-{number}", refresh=f"refresh-{number}") for number in range(3)]
    got = await asyncio.gather(*(vault.renew(TOKENS, renewal) for renewal in renewals))
    assert len(set(got)) == 1
    assert await vault.tokens("77") == got[0]


async def test_what_makes_no_sense_is_one_sentence(store):
    vault = TokenVault(store, [KEY])
    await vault.keep(TOKENS)
    kept = await store.get("twitch", "77")
    await store.put(replace(kept, secret=vault._first.encrypt(b"[]")))
    with pytest.raises(ChatRefused, match="make no sense"):
        await vault.all()


# The keeper


@pytest.fixture
async def twitch():
    async with TwitchStandIn() as twitch:
        yield twitch
        assert not twitch.violations


@pytest.fixture
async def identity(twitch):
    async with aiohttp.ClientSession() as session:
        yield TwitchId(session, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, id_url=twitch.url, patience=QUICK_ID)


async def test_many_who_meet_a_spent_token_renew_it_once(twitch, identity):
    vault = TokenVault(MemoryTokens(), [KEY])
    grant = twitch.grant(BOT, BOT_SCOPES)
    spent = grant.access
    await vault.keep(tokens_of(grant))
    keeper = TokenKeeper(identity, vault)
    await keeper.load()
    twitch.spend(BOT)
    twitch.refresh_once = True
    got = await asyncio.gather(*(keeper.renewed_user_token(broadcaster_id(BOT), spent) for _ in range(10)))
    assert set(got) == {grant.access} != {spent}
    assert twitch.requests["POST oauth2/token"] == 1
    assert (await vault.tokens(broadcaster_id(BOT))).refresh == grant.refresh


async def test_what_another_replica_renewed_is_taken_over(twitch, identity):
    vault = TokenVault(MemoryTokens(), [KEY])
    grant = twitch.grant(BOT, BOT_SCOPES)
    old = tokens_of(grant)
    await vault.keep(old)
    keepers = [TokenKeeper(identity, vault) for _ in range(2)]
    for keeper in keepers:
        await keeper.load()
    twitch.spend(BOT)
    twitch.refresh_once = True
    renewed = [await keeper.renewed_user_token(old.user_id, old.access) for keeper in keepers]
    assert renewed == [grant.access] * 2
    assert twitch.requests["POST oauth2/token"] == 1


async def test_a_renewal_that_cannot_be_kept_is_used_and_kept_later(twitch, identity, caplog):
    class Unlucky(MemoryTokens):
        broken = False

        async def replace(self, old, new):
            if self.broken:
                raise StorageError("the disk is away")
            return await super().replace(old, new)

    store = Unlucky()
    vault = TokenVault(store, [KEY])
    grant = twitch.grant(BOT, BOT_SCOPES)
    old = tokens_of(grant)
    await vault.keep(old)
    keeper = TokenKeeper(identity, vault)
    await keeper.load()
    twitch.spend(BOT)
    twitch.refresh_once = store.broken = True
    first = await keeper.renewed_user_token(old.user_id, old.access)
    await keeper.load()
    assert keeper.user_token(old.user_id) == first
    twitch.spend(BOT)
    second = await keeper.renewed_user_token(old.user_id, first)
    assert second == grant.access != first
    assert await vault.tokens(old.user_id) == old
    store.broken = False
    await keeper.load()
    assert (await vault.tokens(old.user_id)).access == keeper.user_token(old.user_id) == second
    assert "could not be kept: the disk is away" in caplog.text
    assert not [secret for secret in twitch.secrets if secret in caplog.text]


async def test_a_token_that_is_good_is_not_renewed_by_the_hourly_check(twitch, identity):
    vault = TokenVault(MemoryTokens(), [KEY])
    await vault.keep(tokens_of(twitch.grant(BOT, BOT_SCOPES)))
    keeper = TokenKeeper(identity, vault)
    await keeper.load()
    await keeper.check()
    assert twitch.requests == {"GET oauth2/validate": 1}
    twitch.spend(BOT)
    await keeper.check()
    assert twitch.requests["POST oauth2/token"] == 1


async def test_the_account_that_granted_it_last_is_the_bot(twitch, identity):
    vault = TokenVault(MemoryTokens(), [KEY])
    keeper = TokenKeeper(identity, vault)
    await keeper.load()
    assert keeper.bot is None
    await vault.keep(tokens_of(twitch.grant("later", BOT_SCOPES), granted_at=datetime(2026, 6, 1, tzinfo=UTC)))
    await vault.keep(tokens_of(twitch.grant("sooner", BOT_SCOPES)))
    await vault.keep(tokens_of(twitch.grant("wants_it", ["channel:bot"])))
    await keeper.load()
    assert keeper.bot.login == "later"
    assert [tokens.login for tokens in keeper.broadcasters] == ["wants_it"]


# id.twitch.tv


@pytest.mark.parametrize("statuses", [[500], [503, 429], [502, 504]])
async def test_what_may_pass_is_asked_again(twitch, identity, statuses):
    twitch.fail["oauth2/token"].extend(statuses)
    assert await identity.app_token()


async def test_what_fails_is_one_sentence_without_a_secret(twitch, identity):
    problems = []
    for statuses, kind in (([500] * 9, ChatProblem), ([403], ChatRefused), ([400], ChatRefused)):
        twitch.fail["oauth2/token"].clear()
        twitch.fail["oauth2/token"].extend(statuses)
        with pytest.raises(kind) as caught:
            await identity.app_token()
        problems.append(caught.value)
    twitch.fail["oauth2/token"].clear()
    with pytest.raises(RefreshRefused) as refused:
        await identity.refreshed(TOKENS)
    for problem in (*problems, refused.value):
        said = "".join(traceback.format_exception(problem))
        assert not [secret for secret in (*twitch.secrets, TOKENS.refresh, TOKENS.access) if secret in said]
        assert "\n" not in str(problem)


async def test_a_server_that_is_away_or_slow_is_one_sentence(twitch):
    async with aiohttp.ClientSession() as session:
        patience = replace(QUICK_ID, request_s=0.1)
        keywords = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "patience": patience}
        with pytest.raises(ChatProblem, match=r"ClientConnectorError"):
            await TwitchId(session, id_url="http://127.0.0.1:9", **keywords).app_token()
        twitch.slow_s["oauth2/token"] = 0.3
        with pytest.raises(ChatProblem, match="TimeoutError"):
            await TwitchId(session, id_url=twitch.url, **keywords).app_token()
        await asyncio.sleep(0.3)


# Logs


def test_a_scrubber_takes_secrets_out_of_messages_and_tracebacks():
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    scrubber = Scrubber(["hush-hush"])
    handler.addFilter(scrubber)
    logger = logging.getLogger("tests.scrubbed")
    logger.propagate = False
    logger.addHandler(handler)
    logger.warning("a %s and %d of them", "hush-hush", 3)
    logger.warning("https://id.twitch.tv/oauth2/token?client_id=abc&client_secret=unheard0of&refresh_token=also0this")
    logger.warning("{'Authorization': 'Bearer 0123456789abcdef', 'access_token': 'fedcba9876543210'}")
    logger.warning("bearer of news, and OAuth")
    logger.error("it failed", exc_info=ValueError("hush-hush, client_secret=unheard0of"))
    scrubber.hide("told later")
    logger.warning("told later")
    logged = out.getvalue()
    for secret in ("hush", "unheard", "also0this", "0123456789", "fedcba", "told later"):
        assert secret not in logged
    for rest in (
        "a *** and 3 of them",
        "client_id=abc&client_secret=***",
        "bearer of news",
        "ValueError: ***",
        "it failed",
    ):
        assert rest in logged


def test_a_scrubber_leaves_every_handler_as_it_found_it():
    handlers = logging.getLogger().handlers
    before = [list(handler.filters) for handler in handlers]
    with Scrubber(["hush-hush"]).on_every_handler():
        assert all(handler.filters for handler in handlers)
    assert [list(handler.filters) for handler in handlers] == before
