"""Moderators put answers right, over a real database: from what they type to the flag that stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.commands.request import Asker, Command, Flag, FlagLook, ListFlags, Place, Role, Withdraw
from core.storage.records import FlagState
from tests.desk import CHANNEL, OTHER, Desk, open_desk

HERE = Place(platform="twitch", id="7", channel=CHANNEL)
ELSEWHERE = Place(platform="discord", id="70", server="700")
VIEWER = Asker(platform="twitch", id="1", name="viewer")
MODERATOR = Asker(platform="twitch", id="2", name="mod", role=Role.MODERATOR)
FAR = Asker(platform="discord", id="3", name="far", role=Role.MODERATOR)
FURTHER = Asker(platform="discord", id="4", name="further", role=Role.MODERATOR)
OPERATOR = Asker(platform="console", name="operator", role=Role.OPERATOR)


async def states(desk: Desk) -> list[tuple[str, FlagState]]:
    flags = await desk.flags.flags(states=tuple(FlagState), limit=10)
    return [(flag.game.name, flag.state) for flag in reversed(flags)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


async def test_a_channels_moderator_is_believed_at_once(desk: Desk) -> None:
    await desk.look()
    reply = await desk.said(Flag(channel=CHANNEL, game="chess"), MODERATOR, HERE)

    assert reply.text == "Flag 1: some_channel showed Chess. Thank you, the next model learns from it."
    assert await states(desk) == [("Chess", FlagState.ACCEPTED)]


async def test_moderators_of_elsewhere_must_agree(desk: Desk) -> None:
    look = await desk.look()
    first = await desk.said(Flag(channel=CHANNEL, game="Chess"), FAR, ELSEWHERE)
    second = await desk.said(FlagLook(look=look, game="Chess"), FURTHER, ELSEWHERE)

    assert "One more moderator has to say so" in first.text
    assert "the next model learns from it" in second.text
    assert [state for _, state in await states(desk)] == [FlagState.ACCEPTED] * 2


async def test_moderators_who_disagree_leave_it_open(desk: Desk) -> None:
    look = await desk.look()
    await desk.said(FlagLook(look=look, game="Chess"), FAR, ELSEWHERE)
    reply = await desk.said(FlagLook(look=look, game="Freedoom"), MODERATOR, HERE)

    assert "Another moderator says otherwise" in reply.text
    assert [state for _, state in await states(desk)] == [FlagState.OPEN] * 2


async def test_to_say_that_an_answer_is_right_is_a_flag_with_its_game(desk: Desk) -> None:
    look = await desk.look()
    await desk.said(FlagLook(look=look), MODERATOR, HERE)

    assert await states(desk) == [("VALORANT", FlagState.ACCEPTED)]


async def test_only_moderators_flag_withdraw_and_list(desk: Desk) -> None:
    look = await desk.look()
    commands = [
        Flag(channel=CHANNEL, game="Chess"),
        FlagLook(look=look, game="Chess"),
        Withdraw(flag="1"),
        ListFlags(),
    ]
    replies = [await desk.said(command, VIEWER, HERE) for command in commands]

    assert {reply.text for reply in replies} == {"Only moderators can put me right."}
    assert all(reply.private for reply in replies)
    assert await states(desk) == []


async def test_a_game_that_is_not_clear_is_asked_back_and_each_choice_flags_that_look(desk: Desk) -> None:
    look = await desk.look()
    reply = await desk.said(Flag(channel=CHANNEL, game="chesss"), MODERATOR, HERE)

    assert reply.text.startswith("Which game do you mean by “chesss”: Chess")
    assert reply.choices[0].command == FlagLook(look=look, game="Chess")
    assert await states(desk) == []
    await desk.said(reply.choices[0].command, MODERATOR, HERE)
    assert await states(desk) == [("Chess", FlagState.ACCEPTED)]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Flag(channel="", game=""), "Which game is it?"),
        (Flag(channel=CHANNEL, game=""), "Which game is it?"),
        (Flag(channel=CHANNEL, game="qqqqqqqq"), "I know no game like “qqqqqqqq”"),
        (Flag(channel="sleepy_sam", game="Chess"), "I have not looked at sleepy_sam lately"),
        (Flag(channel="file:///x", game="Chess"), "“file:///x” is not on the site"),
        (FlagLook(look="gone", game="Chess"), "I keep nothing of that look any more"),
        (Withdraw(flag="99"), "There is no flag 99 here."),
        (Withdraw(flag=""), "Write it like this: !unflag"),
        (Withdraw(flag="9" * 40), "There is no flag 999"),
        (Withdraw(flag="²"), "There is no flag ² here."),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(desk: Desk, command: Command, said: str) -> None:
    await desk.look()
    reply = await desk.said(command, MODERATOR, HERE)

    assert reply.text.startswith(said)
    assert reply.private
    assert await states(desk) == []


async def test_a_moderator_withdraws_their_own_and_the_channels_own_moderator_all_of_it(desk: Desk) -> None:
    look = await desk.look()
    await desk.said(FlagLook(look=look, game="Chess"), FAR, ELSEWHERE)
    refused = await desk.said(Withdraw(flag="#1"), FURTHER, ELSEWHERE)
    gone = await desk.said(Withdraw(flag="1"), MODERATOR, HERE)
    await desk.said(FlagLook(look=look, game="Freedoom"), FAR, ELSEWHERE)
    own = await desk.said(Withdraw(flag="1"), FAR, ELSEWHERE)

    assert "another moderator's" in refused.text
    assert gone.text == "Flag 1 is withdrawn: some_channel as Chess."
    assert own.text == "Flag 1 is withdrawn: some_channel as Freedoom."
    assert [state for _, state in await states(desk)] == [FlagState.WITHDRAWN]


async def test_flags_are_listed_of_this_channel_or_of_all(desk: Desk) -> None:
    await desk.said(FlagLook(look=await desk.look(), game="Chess"), MODERATOR, HERE)
    await desk.said(FlagLook(look=await desk.look(OTHER), game="Freedoom"), FAR, ELSEWHERE)
    of_here = await desk.said(ListFlags(), MODERATOR, HERE)
    of_all = await desk.said(ListFlags(), OPERATOR, Place(platform="console"))

    assert of_here.text.splitlines()[0] == "1 flag:"
    assert "some_channel is Chess, not VALORANT (accepted; mod, " in of_here.text
    assert of_all.text.splitlines()[0] == "2 flags:"
    assert "other_channel is Freedoom, not VALORANT (open; far, " in of_all.text


async def test_a_flag_right_behind_the_answer_finds_its_look(desk: Desk) -> None:
    # Stored behind the answer: the flag waits for it.
    for _ in range(3):
        look = await desk.look()
        assert "Thank you" in (await desk.said(FlagLook(look=look, game="Chess"), MODERATOR, HERE)).text


async def test_where_servers_are_named_moderators_of_others_are_not_heard(tmp_path: Path) -> None:
    async with open_desk(tmp_path, servers=("700",)) as desk:
        look = await desk.look()
        own = Place(platform="discord", id="71", server="701")
        refused = await desk.said(FlagLook(look=look, game="Chess"), FURTHER, own)
        await desk.said(FlagLook(look=look, game="Chess"), FAR, ELSEWHERE)
        await desk.said(FlagLook(look=look, game="Chess"), MODERATOR, HERE)

        assert refused.text == "Only moderators can put me right."
        assert len(await states(desk)) == 2
