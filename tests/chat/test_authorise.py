"""``python -m bot authorise``: an account grants the bot what it needs."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from typer import Typer
from typer.testing import CliRunner

import bot.authorise
from bot.authorise import authorise, let_grant
from bot.chat.twitch_id import TwitchId
from bot.chat.twitch_tokens import BOT_SCOPES, BROADCASTER_SCOPES, TokenVault
from core.errors import ChatProblem, ChatRefused, GameSpotterError
from demo.helix import CLIENT_ID, CLIENT_SECRET, broadcaster_id
from tests.chat.twitch_bench import KEY, QUICK_ID, MemoryTokens, until
from tests.chat.twitch_stand_in import BOT, TwitchStandIn


class Flow:
    def __init__(self, twitch, identity):
        self.twitch = twitch
        self.identity = identity
        self.vault = TokenVault(MemoryTokens(), [KEY])
        self.shown = []

    async def grant(self, scopes=BOT_SCOPES):
        return await let_grant(self.identity, self.vault, scopes, show=self.shown.append)

    async def granted(self, login, scopes=BOT_SCOPES, *, gives=None):
        task = asyncio.create_task(self.grant(scopes))
        await until(lambda: self.twitch.devices)
        if gives is not None:
            for device in self.twitch.devices.values():
                device.scopes = gives
        self.twitch.decide("granted", login)
        return await task


@pytest.fixture
async def twitch():
    async with TwitchStandIn() as twitch:
        twitch.device_interval = 0.02
        yield twitch
        assert not twitch.violations


@pytest.fixture
async def flow(twitch):
    async with aiohttp.ClientSession() as session:
        yield Flow(
            twitch,
            TwitchId(session, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, id_url=twitch.url, patience=QUICK_ID),
        )


async def test_what_was_granted_is_kept(flow, twitch):
    tokens = await flow.granted(BOT)
    (code,) = flow.shown
    assert code.user_code == "ABCDEFGH"
    assert code.address.startswith("https://www.twitch.tv/activate?")
    assert (tokens.user_id, tokens.login) == (broadcaster_id(BOT), BOT)
    assert tokens.is_bot
    assert await flow.vault.tokens(broadcaster_id(BOT)) == tokens
    assert tokens.access == twitch.grants[broadcaster_id(BOT)].access


async def test_it_waits_as_long_as_the_person_takes_whatever_fails_meanwhile(flow, twitch):
    task = asyncio.create_task(flow.grant())
    await until(lambda: twitch.requests["POST oauth2/token"] >= 3)
    twitch.fail["oauth2/token"].extend([500] * 7)
    await until(lambda: not twitch.fail["oauth2/token"])
    assert not task.done()
    twitch.decide("granted", BOT)
    assert (await task).login == BOT


async def test_it_asks_less_often_when_twitch_wants_that(flow, twitch, monkeypatch):
    monkeypatch.setattr(bot.authorise, "_SLOWER_S", 0.2)
    task = asyncio.create_task(flow.grant())
    await until(lambda: twitch.devices)
    twitch.decide("slow_down")
    await asyncio.sleep(0.3)
    assert twitch.requests["POST oauth2/token"] <= 3
    twitch.decide("granted", BOT)
    await task


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("access_denied", "It was not granted."),
        ("invalid device code", "The code is not good any more."),
        ("expired_token", "The code is not good any more."),
    ],
)
async def test_what_was_not_granted_is_one_sentence(flow, twitch, answer, sentence):
    task = asyncio.create_task(flow.grant())
    await until(lambda: twitch.devices)
    twitch.decide(answer)
    with pytest.raises(ChatRefused) as caught:
        await task
    assert str(caught.value) == sentence
    assert await flow.vault.all() == ()


async def test_nobody_in_time_is_one_sentence(flow, twitch):
    twitch.device_lifetime = 0.1
    with pytest.raises(ChatRefused, match=r"^Nobody confirmed the code in time\.$"):
        await flow.grant()


async def test_less_than_was_asked_for_is_not_kept(flow):
    with pytest.raises(
        ChatRefused, match="gamespotter_bot granted less than was asked for: user:write:chat is missing"
    ):
        await flow.granted(BOT, gives=list(BOT_SCOPES[:2]))
    assert await flow.vault.all() == ()


async def test_one_account_can_be_the_bots_and_a_broadcasters(flow):
    own = await flow.granted(BOT)
    both = await flow.granted(BOT, BROADCASTER_SCOPES)
    assert both.access == own.access
    assert both.is_bot
    assert both.is_broadcaster
    again = await flow.granted(BOT)
    assert again.access != own.access
    assert again.is_broadcaster


async def test_a_client_that_twitch_does_not_know_is_one_sentence(flow, twitch):
    flow.identity._client_id = "other"
    with pytest.raises(ChatRefused, match=r"^Twitch lets this client id ask nobody for anything \(status 400\)\.$"):
        await flow.grant()
    twitch.fail["oauth2/device"].extend([500] * 5)
    with pytest.raises(ChatProblem):
        await flow.grant()


# The verb


@pytest.fixture
def environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAMESPOTTER_TWITCH__CLIENT_ID", CLIENT_ID)
    monkeypatch.setenv("GAMESPOTTER_TWITCH__CLIENT_SECRET", CLIENT_SECRET)
    monkeypatch.setenv("GAMESPOTTER_TWITCH__TOKEN_KEY", KEY)
    monkeypatch.setenv("GAMESPOTTER_DATA__DIRECTORY", str(tmp_path / "data"))
    return monkeypatch


def invoke(*arguments):
    app = Typer()
    app.command()(authorise)
    return CliRunner().invoke(app, arguments)


async def test_the_verb_says_what_to_do_and_who_it_is(twitch, environment):
    environment.setenv("GAMESPOTTER_TWITCH__ID_URL", twitch.url)
    for arguments, login, sentence in (
        ((), BOT, "GameSpotter now reads and writes as gamespotter_bot."),
        (("--broadcaster",), "wants_it", "GameSpotter may now be in the chat of wants_it."),
    ):
        running = asyncio.create_task(asyncio.to_thread(invoke, *arguments, "--debug"))
        await until(lambda: twitch.devices)
        twitch.decide("granted", login)
        result = await running
        assert result.exit_code == 0, result.output
        assert "https://www.twitch.tv/activate?public=true&device-code=ABCDEFGH" in result.stdout
        assert "ABCDEFGH" in result.stdout
        assert result.stdout.endswith(f"{sentence}\n")
        assert not [secret for secret in twitch.secrets if secret in result.output]


async def test_the_verb_ends_with_1_and_a_sentence_when_it_is_not_granted(twitch, environment):
    environment.setenv("GAMESPOTTER_TWITCH__ID_URL", twitch.url)
    running = asyncio.create_task(asyncio.to_thread(invoke))
    await until(lambda: twitch.devices)
    twitch.decide("access_denied")
    result = await running
    assert (result.exit_code, result.stderr) == (1, "It was not granted.\n")


def test_the_verb_ends_with_130_and_a_sentence_when_it_is_cancelled(environment):
    async def cancelled(*_, **__):
        raise asyncio.CancelledError

    environment.setattr(bot.authorise, "_authorise", cancelled)
    result = invoke()
    assert (result.exit_code, result.stderr) == (130, "Nothing was granted.\n")


def test_the_verb_wants_credentials_and_a_key(environment):
    environment.delenv("GAMESPOTTER_TWITCH__TOKEN_KEY")
    result = invoke()
    assert result.exit_code == 1
    assert "GAMESPOTTER_TWITCH__TOKEN_KEY is not set" in result.stderr
    environment.delenv("GAMESPOTTER_TWITCH__CLIENT_SECRET")
    result = invoke()
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_new_key_opens_what_it_seals(environment):
    result = invoke("--new-key")
    assert result.exit_code == 0
    TokenVault(MemoryTokens(), [result.stdout.strip()])
    with pytest.raises(GameSpotterError):
        TokenVault(MemoryTokens(), [])
