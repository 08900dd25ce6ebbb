"""Moderators put answers right, over a real database: from what they type to the flag that stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from bot.commands.flagging import Flagging
from bot.commands.naming import GameNames
from bot.commands.parser import CommandWords
from bot.commands.request import (
    Asker,
    Command,
    Flag,
    FlagLook,
    Identify,
    ListFlags,
    Place,
    Reply,
    Request,
    Role,
    Withdraw,
)
from bot.commands.service import CommandService
from bot.recording import Recorder
from core.aliases import AliasTable
from core.recognition.recognizer import Recognizer
from core.storage.captures import CaptureStore
from core.storage.catalogue import GameCatalogue
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.frame_store import FolderFrameStore
from core.storage.records import FlagState
from core.storage.upkeep import Upkeep
from core.streams.reference import TWITCH_URL_TEMPLATE
from tests.fakes import GAMES, RULE, BrightnessNetwork, FakeSampler, frame

CHANNEL = "some_channel"
HERE = Place(platform="twitch", id="7", channel=CHANNEL)
ELSEWHERE = Place(platform="discord", id="70", server="700")
VIEWER = Asker(platform="twitch", id="1", name="viewer")
MODERATOR = Asker(platform="twitch", id="2", name="mod", role=Role.MODERATOR)
FAR = Asker(platform="discord", id="3", name="far", role=Role.MODERATOR)
FURTHER = Asker(platform="discord", id="4", name="further", role=Role.MODERATOR)
OPERATOR = Asker(platform="console", name="operator", role=Role.OPERATOR)


class Desk:
    def __init__(self, service: CommandService, flags: FlagStore, sampler: FakeSampler) -> None:
        self.service = service
        self.flags = flags
        self.sampler = sampler

    async def said(self, command: Command, asker: Asker, place: Place) -> Reply:
        return await self.service.handle(Request(command=command, asker=asker, place=place))

    async def look(self, channel: str = CHANNEL) -> str:
        reply = await self.said(Identify(channel=channel), MODERATOR, HERE)
        assert reply.answer is not None
        assert reply.answer.verdict is not None
        assert reply.answer.verdict.game == GAMES[0]
        return reply.answer.look

    async def states(self) -> list[tuple[str, FlagState]]:
        flags = await self.flags.flags(states=tuple(FlagState), limit=10)
        return [(flag.game.name, flag.state) for flag in reversed(flags)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Database.at(f"sqlite:///{tmp_path / 'x.db'}") as database:
        frames = FolderFrameStore(tmp_path / "frames")
        await database.prepare()
        await frames.prepare()

        async def prepared() -> None: ...

        flags = FlagStore(database)
        recorder = Recorder(
            CaptureStore(database, frames), frames, Upkeep(database, frames), keeps_looks=True, prepare=prepared
        )
        sampler, recognizer = FakeSampler(), Recognizer(BrightnessNetwork(), RULE)
        sampler.frames = {CHANNEL: [frame(10), frame(20)], "other": [frame(30)]}
        words = CommandWords()
        service = CommandService(
            sampler=sampler,
            recognizer=recognizer,
            url_template=TWITCH_URL_TEMPLATE,
            words=words,
            reuse_s=60.0,
            recognize_timeout_s=5.0,
            names=GameNames(AliasTable.bundled(), GameCatalogue(database)),
            records=recorder,
            flagging=Flagging(flags, recorder, words=words, url_template=TWITCH_URL_TEMPLATE),
        )
        running = [asyncio.create_task(recorder.run()), asyncio.create_task(recognizer.run())]
        yield Desk(service, flags, sampler)
        await service.aclose()
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_channels_moderator_is_believed_at_once(desk: Desk) -> None:
    await desk.look()
    reply = await desk.said(Flag(channel=CHANNEL, game="chess"), MODERATOR, HERE)

    assert reply.text == "Flag 1: some_channel showed Chess. Thank you, the next model learns from it."
    assert await desk.states() == [("Chess", FlagState.ACCEPTED)]


async def test_moderators_of_elsewhere_must_agree(desk: Desk) -> None:
    look = await desk.look()
    first = await desk.said(Flag(channel=CHANNEL, game="Chess"), FAR, ELSEWHERE)
    second = await desk.said(FlagLook(look=look, game="Chess"), FURTHER, ELSEWHERE)

    assert "One more moderator has to say so" in first.text
    assert "the next model learns from it" in second.text
    assert [state for _, state in await desk.states()] == [FlagState.ACCEPTED] * 2


async def test_moderators_who_disagree_leave_it_open(desk: Desk) -> None:
    look = await desk.look()
    await desk.said(FlagLook(look=look, game="Chess"), FAR, ELSEWHERE)
    reply = await desk.said(FlagLook(look=look, game="Freedoom"), MODERATOR, HERE)

    assert "Another moderator says otherwise" in reply.text
    assert [state for _, state in await desk.states()] == [FlagState.OPEN] * 2


async def test_to_say_that_an_answer_is_right_is_a_flag_with_its_game(desk: Desk) -> None:
    look = await desk.look()
    await desk.said(FlagLook(look=look), MODERATOR, HERE)

    assert await desk.states() == [("VALORANT", FlagState.ACCEPTED)]


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
    assert await desk.states() == []


async def test_a_game_that_is_not_clear_is_asked_back_and_each_choice_flags_that_look(desk: Desk) -> None:
    look = await desk.look()
    reply = await desk.said(Flag(channel=CHANNEL, game="chesss"), MODERATOR, HERE)

    assert reply.text.startswith("Which game do you mean by “chesss”: Chess")
    assert reply.choices[0].command == FlagLook(look=look, game="Chess")
    assert await desk.states() == []
    await desk.said(reply.choices[0].command, MODERATOR, HERE)
    assert await desk.states() == [("Chess", FlagState.ACCEPTED)]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Flag(channel="", game=""), "Which game is it?"),
        (Flag(channel=CHANNEL, game=""), "Which game is it?"),
        (Flag(channel=CHANNEL, game="qqqqqqqq"), "I know no game like “qqqqqqqq”"),
        (Flag(channel="other", game="Chess"), "I have not looked at other lately"),
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
    assert await desk.states() == []


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
    assert [state for _, state in await desk.states()] == [FlagState.WITHDRAWN]


async def test_flags_are_listed_of_this_channel_or_of_all(desk: Desk) -> None:
    await desk.said(FlagLook(look=await desk.look(), game="Chess"), MODERATOR, HERE)
    await desk.said(FlagLook(look=await desk.look("other"), game="Freedoom"), FAR, ELSEWHERE)
    of_here = await desk.said(ListFlags(), MODERATOR, HERE)
    of_all = await desk.said(ListFlags(), OPERATOR, Place(platform="console"))

    assert of_here.text.splitlines()[0] == "1 flag:"
    assert "some_channel is Chess, not VALORANT (accepted; mod, " in of_here.text
    assert of_all.text.splitlines()[0] == "2 flags:"
    assert "other is Freedoom, not VALORANT (open; far, " in of_all.text


async def test_a_flag_right_behind_the_answer_finds_its_look(desk: Desk) -> None:
    # Stored behind the answer: the flag waits for it.
    for _ in range(3):
        look = await desk.look()
        assert "Thank you" in (await desk.said(FlagLook(look=look, game="Chess"), MODERATOR, HERE)).text
