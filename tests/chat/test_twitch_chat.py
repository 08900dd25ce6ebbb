"""The chat on Twitch: unmodified TwitchIO against a stand-in of Twitch on loopback."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from dataclasses import replace

import pytest
import twitchio

from bot.chat.twitch_chat import one_line
from bot.chat.twitch_outbox import Pace
from bot.chat.twitch_tokens import new_key
from bot.commands.request import Identify, Place, Reply, Role
from core.errors import ChatRefused, StorageError
from demo.helix import broadcaster_id
from tests.chat.twitch_bench import QUICK, QUICK_PACE, SECOND_S, Bench, tokens_of, until
from tests.chat.twitch_stand_in import BOT, TwitchStandIn

CHANNELS = ["first_channel", "second_channel", "third_channel"]


@pytest.fixture
async def twitch():
    async with TwitchStandIn(second_s=SECOND_S) as twitch:
        for channel in CHANNELS:
            twitch.user(channel)
        yield twitch
        assert not twitch.violations


@pytest.fixture
async def bench(twitch):
    bench = Bench(twitch, channels=CHANNELS, operators=[broadcaster_id("operator")])
    await bench.granted()
    return bench


async def answer_to(twitch, *args, **kwargs):
    message = await twitch.write(*args, **kwargs)
    await until(lambda: twitch.answers(message))
    return twitch.answers(message)


# What is a command, and who gives it


async def test_a_command_is_answered_as_a_reply_in_the_same_channel(bench, twitch):
    async with bench.running():
        assert await answer_to(twitch, "first_channel", "!game someone", by="asker") == ["Seen: someone for Asker"]
    (said,) = twitch.said
    assert said.channel == "first_channel"
    assert not said.as_user
    assert said.source_only is True
    (request,) = bench.asked
    assert request.command == Identify(channel="someone")
    assert request.place == Place(
        platform="twitch",
        id=broadcaster_id("first_channel"),
        name="First_Channel",
        channel="first_channel",
        is_one_line=True,
    )
    assert (request.asker.platform, request.asker.id) == ("twitch", broadcaster_id("asker"))
    assert (request.asker.name, request.asker.own_channel) == ("Asker", "asker")


@pytest.mark.parametrize(
    ("by", "badges", "role"),
    [
        ("asker", (), Role.VIEWER),
        ("asker", ("subscriber", "vip"), Role.VIEWER),
        ("asker", ("moderator", "subscriber"), Role.MODERATOR),
        ("asker", ("lead_moderator",), Role.MODERATOR),
        ("asker", ("broadcaster",), Role.BROADCASTER),
        ("operator", (), Role.OPERATOR),
        ("operator", ("moderator",), Role.OPERATOR),
    ],
)
async def test_badges_say_who_asks(bench, twitch, by, badges, role):
    async with bench.running():
        await answer_to(twitch, "first_channel", "!game", by=by, badges=badges)
    assert bench.asked[0].asker.role is role


async def test_what_is_no_command_for_us_is_not_answered(bench, twitch):
    async with bench.running():
        await twitch.write("first_channel", "good game everyone")
        await twitch.write("first_channel", "!game", by=BOT)
        await twitch.write("first_channel", "!game is played", by="nightbot")
        await twitch.write("first_channel", "!game", by="other", badges=["bot-badge"])
        await answer_to(twitch, "first_channel", "!game last")
    assert [request.command.channel for request in bench.asked] == ["last"]


async def test_a_reply_and_a_line_with_invisible_ends_are_commands_too(bench, twitch):
    async with bench.running():
        await answer_to(twitch, "first_channel", f"@{BOT} !game one", reply=True)
        await answer_to(twitch, "first_channel", "!game two \U000e0000")
    assert [request.command.channel for request in bench.asked] == ["one", "two"]


async def test_a_shared_chat_is_answered_once_and_where_it_was_asked(bench, twitch):
    async with bench.running():
        await twitch.write("second_channel", "!game shared", source="first_channel", id_="copy")
        await answer_to(twitch, "first_channel", "!game shared", source="first_channel", id_="original")
        await asyncio.sleep(0.05)
    assert [(said.channel, said.parent) for said in twitch.said] == [("first_channel", "original")]


async def test_a_message_is_answered_once_however_often_and_late_it_comes(bench, twitch):
    async with bench.running():
        first = await twitch.write("first_channel", "!game once", copies=3)
        await until(lambda: twitch.answers(first))
        await twitch.drop_connections()
        await until(lambda: len(twitch.live) == 3)
        second = await twitch.write("first_channel", "!game later")
        await twitch.write("first_channel", "!game once", id_=first)
        await until(lambda: twitch.answers(second))
        await asyncio.sleep(0.05)
    assert Counter(said.parent for said in twitch.said) == {first: 1, second: 1}


async def test_a_silent_reply_says_nothing(bench, twitch):
    bench.answer = lambda request: Reply(text="" if request.command.channel == "quiet" else "loud")
    async with bench.running():
        await twitch.write("first_channel", "!game quiet")
        assert await answer_to(twitch, "first_channel", "!game loud") == ["loud"]
    assert len(twitch.said) == 1


async def test_a_mistake_of_ours_in_one_command_leaves_the_others_alone(bench, twitch, caplog):
    def answer(request):
        if request.command.channel == "bad":
            raise ZeroDivisionError
        return Reply(text="good")

    bench.answer = answer
    async with bench.running():
        await twitch.write("first_channel", "!game bad")
        assert await answer_to(twitch, "first_channel", "!game fine") == ["good"]
    assert "ZeroDivisionError" in caplog.text


# What is said


async def test_the_same_line_is_not_said_twice_in_a_channel_within_30_s(bench, twitch):
    bench.answer = lambda request: Reply(text="Seen: VALORANT")
    async with bench.running():
        for channel in ("first_channel", "first_channel", "second_channel", "first_channel"):
            await answer_to(twitch, channel, "!game")
        await asyncio.sleep(0.7)
        await answer_to(twitch, "first_channel", "!game")
    texts = [said.text for said in twitch.said if said.channel == "first_channel"]
    assert texts == ["Seen: VALORANT", "Seen: VALORANT (2)", "Seen: VALORANT (3)", "Seen: VALORANT"]


def test_a_line_is_one_line_that_fits_and_is_no_command():
    assert one_line("a\nb\r\n  c") == "a · b · c"
    assert one_line("!game x") == "· !game x"
    assert one_line("/ban x") == "· /ban x"
    assert len(one_line("word " * 200)) <= 450
    assert one_line("word " * 200).endswith("…")


async def test_long_answers_fit_even_when_they_are_varied(bench, twitch):
    bench.answer = lambda request: Reply(text="word " * 200)
    async with bench.running():
        for _ in range(3):
            await answer_to(twitch, "first_channel", "!game")
    assert all(len(said.text) <= 450 for said in twitch.said)
    assert len({said.text for said in twitch.said}) == 3


@pytest.mark.parametrize("code", ["msg_rejected", "channel_settings", "followers_only_mode"])
async def test_a_dropped_message_is_noticed(bench, twitch, caplog, code):
    twitch.drop.append(code)
    async with bench.running():
        await twitch.write("first_channel", "!game one")
        await until(lambda: bench.chat.tally.dropped)
    assert bench.chat.tally.dropped == {code: 1}
    assert f"Twitch dropped a message to first_channel ({code})." in caplog.text


async def test_a_message_that_is_dropped_without_a_reason_is_noticed(bench, twitch):
    twitch.drop.append("")
    async with bench.running():
        await twitch.write("first_channel", "!game one")
        await until(lambda: bench.chat.tally.dropped == {"unknown": 1})


async def test_what_twitch_takes_for_a_duplicate_is_said_in_other_words(bench, twitch):
    twitch.drop.append("msg_duplicate")
    async with bench.running():
        assert await answer_to(twitch, "first_channel", "!game one", by="a") == ["Seen: one for A (2)"]


async def test_what_is_too_fast_is_said_later(bench, twitch):
    twitch.drop.extend(["msg_ratelimit"])
    async with bench.running():
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1


@pytest.mark.parametrize("statuses", [[429], [500], [502, 500], [429, 500, 429]])
async def test_a_message_that_fails_is_tried_again(bench, twitch, statuses):
    async with bench.running():
        twitch.fail["chat/messages"].extend(statuses)
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1
        await asyncio.sleep(0.05)
    assert len(twitch.said) == 1


async def test_what_seemed_to_fail_and_was_said_is_not_said_again(bench, twitch):
    twitch.forgives_repetition = True
    async with bench.running():
        twitch.swallow.append(500)
        await answer_to(twitch, "first_channel", "!game one")
        await until(lambda: bench.chat.tally.said)
        await asyncio.sleep(0.05)
    assert len(twitch.said) == 1
    assert not bench.chat.tally.dropped


async def test_what_may_have_been_said_is_not_said_again(bench, twitch, caplog):
    chat = bench.new_chat(patience=replace(QUICK, request_s=0.2))
    async with bench.running(chat):
        twitch.slow_s["chat/messages"] = 0.4
        await twitch.write("first_channel", "!game one")
        await until(lambda: chat.tally.failed)
        await asyncio.sleep(0.5)
    assert len(twitch.said) <= 1
    assert "did not say whether it was" in caplog.text


async def test_without_the_broadcasters_grant_the_account_itself_writes(bench, twitch):
    twitch.needs_grant = True
    async with bench.running():
        await answer_to(twitch, "first_channel", "!game one")
        await answer_to(twitch, "first_channel", "!game two")
    assert [said.as_user for said in twitch.said] == [True, True]
    assert twitch.requests["POST chat/messages"] == 3


async def test_an_answer_to_a_deleted_message_is_said_all_the_same(bench, twitch):
    async with bench.running():
        twitch.fail["chat/messages"].append(400)
        await twitch.write("first_channel", "!game one")
        await until(lambda: twitch.said)
    assert twitch.said[0].parent is None


async def test_an_announcement_is_said_where_it_belongs(bench, twitch):
    place = Place(platform="twitch", id=broadcaster_id("first_channel"), channel="first_channel")
    assert not await bench.chat.announce(place, Reply(text="too early"))
    async with bench.running():
        assert await bench.chat.announce(place, Reply(text="Seen something else"))
        assert not await bench.chat.announce(replace(place, id="1"), Reply(text="nowhere"))
        assert not await bench.chat.announce(replace(place, platform="discord"), Reply(text="nowhere"))
        twitch.drop.append("msg_rejected")
        assert not await bench.chat.announce(place, Reply(text="Seen yet another thing"))
    assert [(said.text, said.parent) for said in twitch.said] == [("Seen something else", None)]
    assert not await bench.chat.announce(place, Reply(text="too late"))


async def test_who_waits_no_more_for_an_announcement_stops_nobody(bench, twitch):
    place = Place(platform="twitch", id=broadcaster_id("first_channel"), channel="first_channel")
    async with bench.running():
        twitch.slow_s["chat/messages"] = 0.1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await bench.chat.announce(place, Reply(text="Seen something else"))
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1


async def test_a_mistake_in_one_message_leaves_the_next_one_alone(bench, twitch, caplog, monkeypatch):
    send = twitchio.PartialUser.send_message

    async def mistaken(self, text, **kwargs):
        if "bad" in text:
            raise ZeroDivisionError
        return await send(self, text, **kwargs)

    monkeypatch.setattr(twitchio.PartialUser, "send_message", mistaken)
    async with bench.running():
        await twitch.write("first_channel", "!game bad")
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1
    assert bench.chat.tally.failed == 1
    assert "ZeroDivisionError" in caplog.text


# How fast


async def test_a_thousand_commands_over_20_channels_break_no_limit_and_are_all_answered():
    """A minute, in 6 s: every second of Twitch's is a tenth of one here."""
    channels = [f"channel_{number:02}" for number in range(20)]
    second_s = 0.1
    pace = Pace(
        gap_s=second_s,
        window_s=30 * second_s,
        account_window_s=60 * second_s,
        longest_wait_s=60 * second_s,
        same_text_s=30 * second_s,
        again_s=(0.05, 0.5),
    )
    async with TwitchStandIn(second_s=second_s) as twitch:
        for channel in channels:
            twitch.user(channel)
        twitch.moderated.update(channels[:10])
        bench = Bench(twitch, channels=channels, pace=pace)
        await bench.granted()
        bench.answer = lambda request: Reply(text="Seen: VALORANT 97 % (12/13)")
        asked = []
        async with bench.running():
            began_s = time.monotonic()
            for number in range(1000):
                await asyncio.sleep(max(0.0, began_s + number * 60 * second_s / 1000 - time.monotonic()))
                asked.append(await twitch.write(channels[number % 20], "!game", by=f"asker_{number % 50}"))
            await until(lambda: len(twitch.said) >= 1000, timeout_s=20)
        assert not twitch.violations
        assert Counter(said.parent for said in twitch.said) == Counter(asked)
        assert bench.chat.tally.said == 1000
        assert not bench.chat.tally.dropped
        assert not bench.chat.tally.late


async def test_what_waits_too_long_or_beyond_the_bound_is_dropped_and_logged(bench, twitch, caplog):
    pace = replace(QUICK_PACE, gap_s=0.2, window_s=10.0, waiting=3, longest_wait_s=0.5)
    chat = bench.new_chat(pace=pace)
    async with bench.running(chat):
        for number in range(10):
            await twitch.write("first_channel", f"!game {number}")
        await until(lambda: chat.tally.late + chat.tally.said == 10)
    assert chat.tally.late >= 6
    assert "there are too many" in caplog.text
    assert [said.text for said in twitch.said][-1].startswith("Seen: ")


async def test_the_limit_of_the_account_holds_over_all_channels(bench, twitch):
    chat = bench.new_chat(pace=replace(QUICK_PACE, account=2, account_window_s=0.5))
    async with bench.running(chat):
        for number in range(6):
            await twitch.write(CHANNELS[number % 3], f"!game {number}")
        await until(lambda: len(twitch.said) == 6)
    at_s = sorted(said.at_s for said in twitch.said)
    assert all(later - sooner > 0.45 for sooner, later in zip(at_s, at_s[2:], strict=False))


# Subscriptions


async def test_channels_are_those_that_are_set_and_those_whose_broadcaster_wants_it(bench, twitch, caplog):
    chat = bench.new_chat(channels=[*CHANNELS, "nobody_of_this_name"])
    async with bench.running(chat):
        assert twitch.live == sorted(CHANNELS)
        await bench.vault.keep(tokens_of(twitch.grant("wants_it", ["channel:bot"])))
        await until(lambda: chat.live_subscriptions == 4)
        assert chat.wanted_subscriptions == 4
        assert len(await answer_to(twitch, "wants_it", "!game one")) == 1
    assert caplog.text.count("There is no channel nobody_of_this_name on Twitch.") == 1


async def test_many_channels_are_read(twitch):
    channels = [f"channel_{number:03}" for number in range(120)]
    for channel in channels:
        twitch.user(channel)
    bench = Bench(twitch, channels=channels)
    await bench.granted()
    async with bench.running():
        assert twitch.live == channels
        await asyncio.sleep(0.5)
        assert bench.chat.live_subscriptions == 120
    assert twitch.requests["POST eventsub/subscriptions"] == 120


async def test_a_chat_that_must_not_be_read_leaves_the_others_alone(bench, twitch, caplog):
    twitch.forbidden.add("second_channel")
    async with bench.running(live=2):
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1
        await asyncio.sleep(0.4)
        assert caplog.text.count("Twitch does not let the bot read the chat of second_channel") == 1
        twitch.forbidden.clear()
        await until(lambda: bench.chat.live_subscriptions == 3)


@pytest.mark.parametrize("how", ["dropped", "cut"])
async def test_subscriptions_are_restored_at_once_after_a_connection_breaks(bench, twitch, caplog, how):
    async with bench.running(bench.new_chat(patience=replace(QUICK, check_s=60.0))):
        if how == "dropped":
            await twitch.drop_connections()
        else:
            twitch.cut_connections()
        await until(lambda: len(twitch.live) == 3)
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1
    assert "channels' chats are read; it were 3." in caplog.text


async def test_subscriptions_are_restored_although_that_fails_at_first(bench, twitch):
    async with bench.running():
        twitch.fail["eventsub/subscriptions"].extend([500, 429, 429, 502])
        twitch.fail["ws"].extend([500, 500])
        await twitch.drop_connections()
        await until(lambda: len(twitch.live) == 3)
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1


async def test_a_subscription_that_is_gone_without_a_word_is_restored(bench, twitch):
    async with bench.running():
        twitch.lose_subscription("second_channel")
        await until(lambda: len(twitch.live) == 3)
        assert len(await answer_to(twitch, "second_channel", "!game one")) == 1


async def test_a_revoked_subscription_is_logged_and_restored_when_it_may_be(bench, twitch, caplog):
    async with bench.running():
        twitch.forbidden.add("second_channel")
        await twitch.revoke("second_channel", "user_removed")
        await until(lambda: bench.chat.live_subscriptions == 2)
        assert len(await answer_to(twitch, "first_channel", "!game one")) == 1
        twitch.forbidden.clear()
        await until(lambda: bench.chat.live_subscriptions == 3)
    assert "Twitch ended the reading of a chat" in caplog.text


async def test_a_silent_connection_is_given_up(bench, twitch):
    chat = bench.new_chat(patience=replace(QUICK, keepalive_s=0.1, check_s=30.0))
    async with bench.running(chat):
        (session,) = twitch.sessions
        session.silent = True
        # TwitchIO allows 5 s on top.
        await until(lambda: session not in twitch.sessions and len(twitch.live) == 3, timeout_s=10)
        assert len(await answer_to(twitch, "second_channel", "!game one")) == 1


async def test_a_connection_without_a_welcome_is_tried_again(bench, twitch):
    async with bench.running():
        twitch.welcomes = False
        await twitch.drop_connections()
        await asyncio.sleep(0.7)
        twitch.welcomes = True
        await until(lambda: bench.chat.live_subscriptions == 3)


async def test_a_message_that_makes_no_sense_does_not_end_it(bench, twitch):
    async with bench.running():
        (session,) = twitch.sessions
        await session.socket.send_str('{"metadata": 7}')
        await until(lambda: session not in twitch.sessions and len(twitch.live) == 3)
        assert len(await answer_to(twitch, "second_channel", "!game one")) == 1


async def test_when_twitch_asks_to_move_the_old_connection_is_read_until_the_new_one_is_there(bench, twitch):
    chat = bench.new_chat(patience=replace(QUICK, welcome_s=5.0, overlap_s=0.5))
    async with bench.running(chat):
        (old,) = twitch.sessions
        subscribed = twitch.requests["POST eventsub/subscriptions"]
        twitch.slow_s["ws"] = 1.0
        await twitch.move()
        during = await twitch.write("first_channel", "!game during")
        await until(lambda: twitch.answers(during), timeout_s=0.9)
        await until(lambda: len(twitch.sessions) == 2)
        assert chat.live_subscriptions == 3
        assert len(await answer_to(twitch, "first_channel", "!game after")) == 1
        # What was on the way on the old connection when the new one was welcomed.
        old.subscriptions = {"old": broadcaster_id("second_channel")}
        late = await twitch.write("second_channel", "!game late")
        old.subscriptions = {}
        await until(lambda: twitch.answers(late))
        await until(lambda: len(twitch.sessions) == 1)
        assert old not in twitch.sessions
        assert len(await answer_to(twitch, "third_channel", "!game more")) == 1
    assert len(twitch.said) == 4
    assert twitch.requests["POST eventsub/subscriptions"] == subscribed


async def test_a_move_that_fails_ends_in_a_new_connection(bench, twitch):
    async with bench.running():
        twitch.fail["ws"].append(500)
        await twitch.move()
        await asyncio.sleep(0.1)
        await until(lambda: bench.chat.live_subscriptions == 3)
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1


# Tokens


async def test_a_spent_user_token_is_renewed_once_and_kept_and_subscribed_with(bench, twitch):
    async with bench.running():
        twitch.refresh_once = True
        twitch.spend(BOT)
        await twitch.drop_connections()
        await until(lambda: len(twitch.live) == 3)
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1
        kept = await bench.vault.tokens(broadcaster_id(BOT))
    grant = twitch.grants[broadcaster_id(BOT)]
    assert (kept.access, kept.refresh) == (grant.access, grant.refresh)
    assert twitch.requests["POST oauth2/token"] == 2


async def test_a_spent_app_token_is_renewed_once(bench, twitch):
    async with bench.running():
        twitch.app_tokens.revoke_all()
        asked = [await twitch.write(channel, "!game one") for channel in CHANNELS]
        await until(lambda: all(twitch.answers(message) for message in asked))
    assert twitch.requests["POST oauth2/token"] == 2


async def test_a_bot_whose_grant_was_withdrawn_says_what_to_do(bench, twitch):
    async with bench.running() as task:
        twitch.withdraw(BOT)
        await twitch.drop_connections()
        with pytest.raises(ChatRefused, match=r"gamespotter_bot any more; run `python -m bot authorise` again\.$"):
            await asyncio.wait_for(asyncio.shield(task), 5)


async def test_a_broadcaster_whose_grant_was_withdrawn_does_not_stop_the_others(bench, twitch, caplog):
    await bench.vault.keep(tokens_of(twitch.grant("wants_it", ["channel:bot"])))
    twitch.withdraw("wants_it")
    twitch.forbidden.add("wants_it")
    async with bench.running():
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1
    assert "authorisation of wants_it any more; run `python -m bot authorise --broadcaster` again." in caplog.text


async def test_without_a_granted_account_it_says_what_to_do(twitch):
    with pytest.raises(ChatRefused, match=r"No Twitch account has been granted to the bot; run `python -m bot auth"):
        await Bench(twitch).chat.run(None)


async def test_a_wrong_client_secret_is_one_sentence(bench, twitch):
    bench.chat._client_secret = "not the secret"
    with pytest.raises(ChatRefused, match=r"^Twitch does not accept the client id or its secret \(status 403\)\.$"):
        await bench.chat.run(None)


async def test_it_starts_although_twitch_is_down_at_first(bench, twitch):
    twitch.fail["oauth2/token"].extend([500] * 8)
    twitch.fail["users"].extend([500, 500])
    twitch.fail["ws"].extend([500, 500])
    async with bench.running():
        assert len(await answer_to(twitch, "third_channel", "!game one")) == 1


async def test_a_database_that_is_away_for_a_while_ends_nothing(bench, twitch, caplog, monkeypatch):
    async def away(*_):
        raise StorageError("The database is away.")

    async with bench.running():
        with monkeypatch.context() as patched:
            patched.setattr(bench.store, "all", away)
            patched.setattr(bench.store, "get", away)
            twitch.spend(BOT)
            await twitch.drop_connections()
            await until(lambda: len(twitch.live) == 3)
            assert len(await answer_to(twitch, "first_channel", "!game one")) == 1
        await until(lambda: not keeps_a_spent_one(bench, twitch))
    assert "The database is away." in caplog.text


def keeps_a_spent_one(bench, twitch):
    """Whether what is kept is not what is good."""
    kept = bench.vault._opened(bench.store.kept["twitch", broadcaster_id(BOT)])
    return kept.access != twitch.grants[broadcaster_id(BOT)].access


async def test_two_replicas_share_one_renewal(bench, twitch):
    async with bench.running():
        other = bench.new_chat()
        async with bench.running(other):
            twitch.refresh_once = True
            twitch.spend(BOT)
            await twitch.drop_connections()
            await until(lambda: bench.chat.live_subscriptions == other.live_subscriptions == 3)
            await until(lambda: len(twitch.live) == 6)
        kept = await bench.vault.tokens(broadcaster_id(BOT))
    assert kept.refresh == twitch.grants[broadcaster_id(BOT)].refresh


# Secrets


async def test_no_secret_is_in_a_log_or_an_address_whatever_fails(bench, twitch, caplog):
    caplog.set_level(logging.DEBUG)
    async with bench.running():
        twitch.fail["eventsub/subscriptions"].extend([500, 401, 429])
        twitch.fail["chat/messages"].extend([500, 401, 401, 403, 403])
        twitch.fail["oauth2/token"].extend([500, 500])
        twitch.app_tokens.revoke_all()
        twitch.spend(BOT)
        await twitch.drop_connections()
        await until(lambda: len(twitch.live) == 3)
        twitch.drop.append("msg_rejected")
        for number in range(6):
            await twitch.write("first_channel", f"!game {number}")
        await asyncio.sleep(0.5)
        logging.getLogger("somewhere").debug("client_secret=%s&x", next(iter(twitch.secrets)))
        error = RuntimeError(f"Bearer {twitch.grants[broadcaster_id(BOT)].access}")
        logging.getLogger("somewhere").error("it failed", exc_info=error)
    logged = caplog.text
    assert "it failed" in logged
    assert len(twitch.secrets) > 4
    assert not [secret for secret in twitch.secrets if secret in logged]
    assert new_key() not in logged


async def test_nothing_is_left_when_it_ends(bench, twitch):
    before = asyncio.all_tasks()
    async with bench.running():
        await answer_to(twitch, "first_channel", "!game one")
        await twitch.move()
        await until(lambda: len(twitch.sessions) == 2)
    await until(lambda: not twitch.sessions)
    await asyncio.sleep(0.05)
    ours = {
        task for task in asyncio.all_tasks() - before if "twitch" in task.get_name() or "EventSub" in task.get_name()
    }
    assert not ours
    assert bench.chat.live_subscriptions == 0
    gc.collect()
