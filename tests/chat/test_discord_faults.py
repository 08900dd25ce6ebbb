"""What happens when Discord fails, hangs up or refuses: a sentence and another attempt, or an end with a sentence."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

import discord as library
import pytest

from bot.chat.discord_chat import DiscordChat
from bot.commands.request import Identify, Reply, ShowModel
from core.errors import ChatRefused
from tests.chat.discord_conversation import LOOK, QUICK, Answerer, chatting, seen
from tests.chat.discord_stand_in import GUILD_ID, TOKEN, DiscordStandIn


def no_traceback(caplog: pytest.LogCaptureFixture) -> bool:
    return not any(record.exc_info for record in caplog.records if record.levelno >= logging.WARNING)


async def refused(discord: DiscordStandIn, *, token: str = TOKEN) -> str:
    chat = DiscordChat(token, api_url=discord.api_url, gateway_url=discord.gateway_url, limits=QUICK)
    async with asyncio.timeout(20):
        with pytest.raises(ChatRefused) as caught:
            await chat.run(Answerer().handle)
    return str(caught.value)


# The token


async def test_a_token_that_is_not_accepted_ends_the_chat_with_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord:
        sentence = await refused(discord, token="mistyped-secret")

    assert "does not accept the bot's token" in sentence
    assert "mistyped-secret" not in sentence + caplog.text
    assert no_traceback(caplog)


async def test_a_token_that_is_revoked_meanwhile_ends_the_chat_with_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with DiscordStandIn() as discord:
        chat = DiscordChat(TOKEN, api_url=discord.api_url, gateway_url=discord.gateway_url, limits=QUICK)
        running = asyncio.create_task(chat.run(Answerer().handle))
        await discord.connected()
        discord.token = "another"
        await discord.hang_up(4004)
        with pytest.raises(ChatRefused, match="does not accept the bot's token"):
            await asyncio.wait_for(running, 10)

    assert no_traceback(caplog)


# The gateway's closing codes


@pytest.mark.parametrize("code", [1000, 1001, 1006, 4000, 4001, 4002, 4003, 4005, 4007, 4008, 4009])
async def test_a_connection_that_is_closed_is_taken_up_again(code: int, caplog: pytest.LogCaptureFixture) -> None:
    answerer = Answerer()
    async with DiscordStandIn() as discord, chatting(discord, answerer):
        await discord.connected()
        await discord.hang_up(code)
        await discord.connected()
        await (await discord.slash("model")).answered()

    assert [request.command for request in answerer.requests] == [ShowModel()]
    assert discord.violations == []
    assert no_traceback(caplog)


@pytest.mark.parametrize("code", [4010, 4011])
async def test_a_wrong_number_of_shards_begins_anew_with_the_right_one(code: int) -> None:
    answerer = Answerer()
    async with DiscordStandIn() as discord, chatting(discord, answerer):
        await discord.connected()
        discord.shards = 2
        await discord.close_all(code)
        await discord.connected(count=2)
        await (await discord.slash("model")).answered()

    assert [identify["shard"] for identify in discord.identifies] == [[0, 1], [0, 2], [1, 2]]


@pytest.mark.parametrize(("code", "words"), [(4004, "token"), (4012, "version"), (4013, "intents")])
async def test_a_code_that_nothing_helps_against_ends_the_chat(
    code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with DiscordStandIn() as discord:
        discord.close_on_identify = [code]
        assert words in await refused(discord)

    assert len(discord.identifies) == 1
    assert no_traceback(caplog)


async def test_an_intent_that_the_gateway_refuses_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    # The application's flags say that it is granted, and the gateway knows better.
    async with DiscordStandIn(content_allowed=False) as discord, chatting(discord, Answerer()):
        await (await discord.slash("help")).answered()

    assert len(discord.identifies) == 2
    assert "message-content intent is not granted" in caplog.text
    assert no_traceback(caplog)


async def test_intents_that_are_refused_altogether_end_the_chat() -> None:
    async with DiscordStandIn(granted=0) as discord:
        discord.close_on_identify = [4014, 4014]
        assert "intents" in await refused(discord)


async def test_a_gateway_that_always_hangs_up_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    limits = dataclasses.replace(QUICK, hang_ups=4, first_wait_s=0.01)
    async with DiscordStandIn() as discord, chatting(discord, Answerer(), limits=limits):
        await discord.connected()
        discord.close_on_resume = [4000] * 4
        await discord.hang_up(4000)
        await discord.until(lambda: len(discord.identifies) == 2)
        await (await discord.slash("help")).answered()

    assert len(discord.resumes) <= 4
    assert "hung up 4 times in a row" in caplog.text
    assert no_traceback(caplog)


# Beginning


async def test_a_first_connection_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord:
        # The library waits 5 s after each.
        discord.gateway_refuses = 1
        async with chatting(discord, Answerer()):
            await discord.connected(within_s=20)
            await (await discord.slash("help")).answered()

    assert "gateway cannot be reached" in caplog.text
    assert no_traceback(caplog)


@pytest.mark.parametrize(
    ("path", "status"), [(r"/users/@me", 503), (r"/gateway/bot", 403), (r"/applications/\d+/commands", 429)]
)
async def test_a_start_that_fails_is_tried_again(path: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord:
        discord.fail("GET", path, status, times=3)
        async with chatting(discord, Answerer()):
            await (await discord.slash("help")).answered()

    assert caplog.text.count("cannot be reached") == 3
    assert "The next attempt is in" in caplog.text
    assert no_traceback(caplog)


async def test_nobody_there_is_a_sentence_and_another_attempt(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord:
        pass
    async with chatting(discord, Answerer()):
        async with asyncio.timeout(10):
            while caplog.text.count("Discord cannot be reached: no connection to 127.0.0.1") < 3:
                await asyncio.sleep(0.01)

    assert no_traceback(caplog)


async def test_no_new_session_is_begun_when_discord_allows_none(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord:
        discord.starts_left = 0
        async with chatting(discord, Answerer()):
            await discord.until(lambda: discord.count("GET", "/gateway/bot") == 3)
            assert discord.identifies == []
            discord.starts_left = 1000
            await discord.connected()

    assert "Discord allows no new session for another 3600 s" in caplog.text


async def test_sessions_are_asked_for_with_the_gap_that_discord_wants() -> None:
    limits = dataclasses.replace(QUICK, identify_gap_s=0.3)
    async with DiscordStandIn(shards=3) as discord:
        discord.identify_gap_s = 0.29
        async with chatting(discord, Answerer(), limits=limits):
            await discord.connected(count=3)

    assert [identify["shard"] for identify in discord.identifies] == [[0, 3], [1, 3], [2, 3]]
    assert discord.violations == []


# Events that were missed


async def test_what_was_asked_while_the_connection_was_lost_is_answered_once() -> None:
    answerer = Answerer()
    async with DiscordStandIn() as discord, chatting(discord, answerer):
        first = await discord.say("!model")
        await discord.replies_to(first)
        session = await discord.connected()
        await discord.hang_up(4000)
        missed = await discord.miss(session, "!game some_channel")
        await discord.connected()
        replies = await discord.replies_to(missed)
        await (await discord.slash("help")).answered()

    assert len(replies) == 1
    assert [request.command for request in answerer.requests][:2] == [ShowModel(), Identify(channel="some_channel")]
    assert len(answerer.requests) == 3
    assert len(discord.identifies) == 1


async def test_a_session_that_cannot_be_resumed_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.connected()
        discord.gateway_refuses = 1
        await discord.hang_up(4000)
        await discord.connected()
        await (await discord.slash("help")).answered()

    assert len(discord.identifies) == 2
    assert no_traceback(caplog)


async def test_a_request_to_reconnect_is_followed() -> None:
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.ask_to_reconnect()
        await discord.until(lambda: len(discord.resumes) == 1)
        await (await discord.slash("help")).answered()

    assert len(discord.identifies) == 1


async def test_a_session_that_discord_forgot_begins_anew() -> None:
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.connected()
        await discord.forget()
        await (await discord.slash("help")).answered()

    assert len(discord.resumes) == 1
    assert len(discord.identifies) == 2


async def test_heartbeats_are_sent() -> None:
    async with DiscordStandIn() as discord:
        discord.heartbeat_ms = 100
        async with chatting(discord, Answerer()):
            await discord.until(lambda: discord.heartbeats >= 3)


async def test_an_event_that_cannot_be_read_costs_a_session_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.talk_nonsense()
        await discord.until(lambda: len(discord.identifies) == 2)
        await (await discord.slash("help")).answered()

    assert "Discord was not understood" in caplog.text


# Single requests


@pytest.mark.parametrize(
    ("status", "extra"), [(500, {}), (502, {}), (429, {"Via": "1.1 stand-in", "Retry_After": "0.05"})]
)
async def test_an_answer_that_is_refused_once_is_given_again(status: int, extra: dict[str, str]) -> None:
    body = {"message": "You are being rate limited.", "retry_after": 0.05, "global": False}
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.connected()
        discord.fail("PATCH", r"/webhooks/.*/messages/@original", status, body=body, **extra)
        discord.fail("POST", r"/channels/\d+/messages", status, body=body, **extra)
        message = await discord.say("!help")
        assert (await (await discord.slash("help")).answered())["content"] == "an answer"
        assert len(await discord.replies_to(message)) == 1

    assert discord.violations == []


async def test_an_answer_that_arrived_although_the_network_said_no_is_not_given_twice() -> None:
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.connected()
        discord.lose_answers("POST", r"/channels/\d+/messages", times=1)
        message = await discord.say("!help")
        await discord.until(lambda: discord.count("POST", r"/channels/\d+/messages") == 2)
        await (await discord.slash("help")).answered()
        assert len(await discord.replies_to(message)) == 1


async def test_an_acknowledgement_that_came_too_late_is_a_sentence_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answerer = Answerer()
    async with DiscordStandIn() as discord, chatting(discord, answerer):
        await discord.connected()
        asked = await discord.slash("help", age_s=4.0)
        await discord.until(lambda: asked.late)
        await (await discord.slash("model")).answered()

    assert [request.command for request in answerer.requests] == [ShowModel()]
    assert "HTTP 404, code 10062" in caplog.text
    assert asked.token not in caplog.text
    assert no_traceback(caplog)


# Ending


async def test_cancelling_ends_everything_that_is_under_way() -> None:
    answerer = Answerer(takes_s=60)
    async with DiscordStandIn() as discord:
        async with chatting(discord, answerer):
            await discord.slash("game", channel="some_channel")
            await answerer.asked.wait()
        assert answerer.cancelled == 1
        await discord.until(lambda: not discord.is_connected)
    ours = [task for task in asyncio.all_tasks() if "DiscordChat" in str(task.get_coro())]
    assert ours == []


async def test_a_session_that_is_lost_waits_for_the_answers_under_way() -> None:
    answerer = Answerer(Reply(text="x", answer=seen()), takes_s=0.3)
    async with DiscordStandIn() as discord, chatting(discord, answerer):
        asked = await discord.slash("game", channel="some_channel")
        await asked.acknowledged()
        await discord.close_all(4010)
        assert (await asked.answered())["embeds"]
        await discord.connected()

    assert len(discord.identifies) == 2
    assert LOOK in str(asked.messages[0])


async def test_the_library_is_led_back_to_where_it_was() -> None:
    before = library.http.Route.BASE, library.gateway.DiscordWebSocket.DEFAULT_GATEWAY, library.asset.Asset.BASE
    async with DiscordStandIn() as discord, chatting(discord, Answerer()):
        await discord.connected()
        assert discord.api_url == library.http.Route.BASE

    after = library.http.Route.BASE, library.gateway.DiscordWebSocket.DEFAULT_GATEWAY, library.asset.Asset.BASE
    assert after == before


async def test_two_shards_answer_for_the_servers_they_have() -> None:
    async with DiscordStandIn(shards=2) as discord, chatting(discord, Answerer()):
        await discord.connected(count=2)
        by_shard = {one.shard: one for one in discord.sessions.values()}
        assert set(by_shard) == {(0, 2), (1, 2)}
        assert (GUILD_ID >> 22) % 2 in {0, 1}
        await (await discord.slash("help")).answered()
