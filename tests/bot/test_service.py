from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

import pytest

from bot.commands.answer import Answer, Status
from bot.commands.limits import Cooldowns
from bot.commands.naming import GameNames
from bot.commands.parser import CommandWords
from bot.commands.request import Asker, Help, Identify, OptOut, Place, Reply, Request, Role, ShowModel, Unrecognised
from bot.commands.service import CommandService
from core.aliases import AliasTable
from core.errors import ArtifactError, StorageError, StreamOffline, StreamProblem
from core.recognition.recognizer import Recognizer
from tests.fakes import GAMES, RULE, BrightnessNetwork, FakeRecords, FakeSampler, frame


class Desk:
    """A service over a fake sampler and a fake network, and short ways to ask it."""

    def __init__(
        self, service: CommandService, sampler: FakeSampler, network: BrightnessNetwork, records: FakeRecords
    ) -> None:
        self.service = service
        self.sampler = sampler
        self.network = network
        self.records = records

    async def reply(self, channel: str, *, verbose: bool = False) -> Reply:
        return await self.service.handle(Request(command=Identify(channel=channel, verbose=verbose)))

    async def opt_out(self, channel: str, asker: Asker) -> str:
        return (await self.service.handle(Request(command=OptOut(channel=channel), asker=asker))).text

    async def answer(self, channel: str) -> Answer:
        reply = await self.reply(channel)
        assert reply.answer is not None
        return reply.answer


@asynccontextmanager
async def desk(
    *,
    reuse_s: float = 20.0,
    recognize_timeout_s: float = 10.0,
    keeps: bool = True,
    off: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    cooldowns: Cooldowns | None = None,
    looks: tuple[int, int] = (8, 64),
) -> AsyncIterator[Desk]:
    sampler, network, records = FakeSampler(), BrightnessNetwork(), FakeRecords()
    sampler.frames["some_channel"] = [frame(10), frame(20, at_s=2.0), frame(250, at_s=4.0)]
    recognizer = Recognizer(network, RULE)
    service = CommandService(
        sampler=sampler,
        recognizer=recognizer,
        url_template="https://www.twitch.tv/{channel}",
        words=CommandWords(),
        reuse_s=reuse_s,
        recognize_timeout_s=recognize_timeout_s,
        names=GameNames(AliasTable.bundled(), None),
        looks_at_once=looks[0],
        looks_waiting=looks[1],
        cooldowns=cooldowns,
        off=off,
        records=records if keeps else None,
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(recognizer.run())
        yield Desk(service, sampler, network, records)
        await service.aclose()
        serving.cancel()


async def test_a_channel_is_looked_at_and_the_game_said() -> None:
    async with desk() as here:
        reply = await here.reply("https://www.twitch.tv/Some_Channel?x")

    assert reply.text.startswith("Seen: VALORANT ")
    assert reply.text.endswith(" % (2/3)")
    assert reply.answer is not None
    assert reply.answer.channel == "some_channel"
    assert reply.answer.fetched_bytes == 1234
    assert set(reply.answer.elapsed_ms) == {"resolve", "playlist", "segments", "decode", "recognize", "total"}


async def test_a_strange_picture_is_answered_as_unknown() -> None:
    async with desk() as here:
        here.network.lead = -1.0
        reply = await here.reply("some_channel")

    assert reply.text.startswith("Seen: no game that I know")
    assert reply.answer is not None
    assert reply.answer.status is Status.ANSWERED


@pytest.mark.parametrize("typed", ["", "a", "x" * 26, "file:///etc/passwd", "a b", "https://example.org/x", "url=x"])
async def test_what_names_no_channel_is_refused_before_anything_is_asked(typed: str) -> None:
    async with desk() as here:
        reply = await here.reply(typed)

        assert here.sampler.asked == []
    assert reply.answer is not None
    assert reply.answer.status is Status.BAD_INPUT
    assert reply.text


def problems() -> list[type[StreamProblem]]:
    return StreamProblem.__subclasses__()


@pytest.mark.parametrize("problem", problems())
async def test_every_problem_of_a_stream_becomes_its_own_status_and_sentence(problem: type[StreamProblem]) -> None:
    async with desk() as here:
        here.sampler.problems["some_channel"] = problem("some_channel", "secret detail")
        reply = await here.reply("some_channel")

    assert reply.answer is not None
    assert reply.answer.status not in {Status.ANSWERED, Status.FAILED, Status.BAD_INPUT}
    assert "secret detail" not in reply.text


async def test_a_mistake_of_our_own_is_logged_whole_and_answered_neutrally(caplog: pytest.LogCaptureFixture) -> None:
    async with desk() as here:
        here.sampler.problems["some_channel"] = ZeroDivisionError("division by secret")
        reply = await here.reply("some_channel")

    assert reply.answer is not None
    assert reply.answer.status is Status.FAILED
    assert "secret" not in reply.text
    assert "division by secret" in caplog.text


async def test_a_network_that_fails_is_answered_and_the_next_asker_tries_anew() -> None:
    async with desk() as here:
        here.network.fault = ArtifactError("broken")
        assert (await here.answer("some_channel")).status is Status.FAILED

        here.network.fault = None
        assert (await here.answer("some_channel")).status is Status.ANSWERED


async def test_ten_askers_at_once_cost_one_sampling() -> None:
    async with desk() as here:
        replies = await asyncio.gather(*(here.reply(name) for name in ["some_channel", "@Some_Channel"] * 5))

        assert here.sampler.asked == ["some_channel"]
    assert len({reply.text for reply in replies}) == 1


async def test_the_same_channel_again_is_answered_from_memory_with_its_age() -> None:
    async with desk() as here:
        first = await here.answer("some_channel")
        second = await here.answer("some_channel")

        assert here.sampler.asked == ["some_channel"]
    assert first.age_s == 0
    assert second.age_s > 0
    assert second.verdict == first.verdict


async def test_memory_ends() -> None:
    async with desk(reuse_s=0.01) as here:
        await here.answer("some_channel")
        await asyncio.sleep(0.1)
        await here.answer("some_channel")

        assert here.sampler.asked == ["some_channel"] * 2


async def test_a_failure_is_forgotten() -> None:
    async with desk() as here:
        here.sampler.problems["some_channel"] = StreamOffline("some_channel")
        assert (await here.answer("some_channel")).status is Status.OFFLINE

        del here.sampler.problems["some_channel"]
        assert (await here.answer("some_channel")).status is Status.ANSWERED


async def test_one_askers_leaving_does_not_take_the_answer_from_the_others() -> None:
    async with desk() as here:
        here.sampler.gate.clear()
        leaving = asyncio.create_task(here.reply("some_channel"))
        staying = asyncio.create_task(here.reply("some_channel"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
        here.sampler.gate.set()

        assert (await staying).text.startswith("Seen: VALORANT")
        assert here.sampler.cancelled == 0


async def test_when_the_last_asker_leaves_the_sampling_is_cancelled() -> None:
    async with desk() as here:
        here.sampler.gate.clear()
        leaving = asyncio.create_task(here.reply("some_channel"))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await asyncio.sleep(0.01)

        assert here.sampler.cancelled == 1


async def test_help_model_and_nonsense_are_answered() -> None:
    async with desk() as here:
        texts = [
            (await here.service.handle(Request(command=command))).text
            for command in (Help(), ShowModel(), Unrecognised(word="gmae"))
        ]

    assert "!game <channel>" in texts[0]
    assert texts[1] == "Model test-1, which knows 3 games."
    assert texts[2] == "I do not know “!gmae”; !help lists what I do."
    assert all(game.name not in texts[2] for game in GAMES)


async def test_commands_of_other_bots_are_not_answered_in_chats() -> None:
    async with desk() as here:
        for place in (Place(platform="twitch", id="1", channel="x_y"), Place(platform="discord", id="2", server="3")):
            reply = await here.service.handle(Request(command=Unrecognised(word="uptime"), place=place))
            assert reply.is_silent


@pytest.mark.parametrize("key", ["twitch:x_y", "twitch:1", "discord:3"])
async def test_a_command_that_is_off_somewhere_is_silent_there_and_nowhere_else(key: str) -> None:
    twitch = Place(platform="twitch", id="1", channel="x_y")
    discord = Place(platform="discord", id="2", server="3")
    async with desk(off={key: ("model",)}) as here:
        replies = [
            await here.service.handle(Request(command=ShowModel(), place=place)) for place in (twitch, discord, Place())
        ]
        helped = await here.service.handle(Request(command=Help(), place=twitch))

    assert [reply.is_silent for reply in replies] == [key.startswith("twitch"), key.startswith("discord"), False]
    assert ("!model" in helped.text) is not key.startswith("twitch")


async def test_where_all_is_off_nothing_is_answered() -> None:
    place = Place(platform="twitch", id="1", channel="x_y")
    async with desk(off={"twitch:x_y": ("*",)}) as here:
        for command in (Identify(channel="some_channel"), Help(), ShowModel(), Unrecognised(word="x")):
            assert (await here.service.handle(Request(command=command, place=place))).is_silent
        assert here.sampler.asked == []


async def test_who_asks_too_often_is_told_once_and_moderators_are_not_held_up() -> None:
    asker = Asker(platform="twitch", id="1", name="viewer")
    async with desk(cooldowns=Cooldowns(user_s=60.0, place_s=60.0, place_asks=100)) as here:
        replies = [await here.service.handle(Request(command=ShowModel(), asker=asker)) for _ in range(4)]
        moderator = replace(asker, id="2", role=Role.MODERATOR)
        others = [await here.service.handle(Request(command=ShowModel(), asker=moderator)) for _ in range(4)]

    assert replies[0].text.startswith("Model ")
    assert replies[1].text == "Slowly, please: ask me again in 60 s."
    assert [reply.is_silent for reply in replies[2:]] == [True, True]
    assert all(reply.text.startswith("Model ") for reply in others)


async def test_more_streams_than_can_be_looked_at_are_refused_honestly_and_at_once() -> None:
    async with desk(looks=(1, 1)) as here:
        here.sampler.gate.clear()
        for channel in ("first_one", "second_one"):
            here.sampler.frames[channel] = [frame(10)]
        asking = [asyncio.create_task(here.reply(channel)) for channel in ("some_channel", "first_one")]
        await asyncio.sleep(0.05)
        refused = await here.reply("second_one")
        joined = asyncio.create_task(here.reply("first_one"))
        await asyncio.sleep(0.05)
        here.sampler.gate.set()
        answered = [(await asked).answer for asked in (*asking, joined)]

    assert refused.answer is not None
    assert refused.answer.status is Status.BUSY
    assert "try again in" in refused.text or "again in" in refused.text
    assert [answer.status for answer in answered if answer is not None] == [Status.ANSWERED] * 3


OPERATOR = Asker(platform="console", name="op", role=Role.OPERATOR)
BROADCASTER = Asker(platform="twitch", name="Some_Channel", own_channel="some_channel")
VIEWER = Asker(platform="twitch", name="viewer", own_channel="viewer")
STRANGER = Asker(platform="discord", name="somebody")


async def test_a_look_is_kept_once_however_many_ask() -> None:
    async with desk() as here:
        await asyncio.gather(here.reply("some_channel"), here.reply("some_channel"))
        await here.reply("some_channel")

    ((sample, verdict),) = here.records.kept
    assert sample.channel == "some_channel"
    assert verdict.game == GAMES[0]


async def test_a_look_that_came_to_nothing_is_not_kept() -> None:
    async with desk() as here:
        here.sampler.problems["some_channel"] = StreamOffline("some_channel")
        await here.reply("some_channel")

    assert here.records.kept == []


@pytest.mark.parametrize(
    ("asker", "typed"), [(BROADCASTER, ""), (BROADCASTER, "@Some_Channel"), (OPERATOR, "some_channel")]
)
async def test_a_broadcaster_opts_out_and_is_not_looked_at_any_more(asker: Asker, typed: str) -> None:
    async with desk() as here:
        await here.reply("some_channel")
        said = await here.opt_out(typed, asker)
        asked = len(here.sampler.asked)
        reply = await here.reply("some_channel")

    assert said == "I leave some_channel alone from now on; 3 frames of it removed."
    assert reply.text == "some_channel asked me not to look."
    assert reply.answer is not None
    assert reply.answer.status is Status.LEFT_ALONE
    assert len(here.sampler.asked) == asked
    assert here.records.left_alone == {"some_channel": f"{asker.platform}:{asker.name}"}


@pytest.mark.parametrize(
    ("asker", "typed", "said"),
    [
        (VIEWER, "some_channel", "Only some_channel can say that, in Twitch chat, or whoever runs me."),
        (STRANGER, "some_channel", "Only some_channel can say that, in Twitch chat, or whoever runs me."),
        (STRANGER, "", "Say !optout in Twitch chat with the account of your channel, or ask whoever runs me."),
        (OPERATOR, "", "Say !optout in Twitch chat with the account of your channel, or ask whoever runs me."),
        (OPERATOR, "file:///x", "“file:///x” is not on the site that I look at; give a channel's name."),
    ],
)
async def test_nobody_else_opts_a_channel_out(asker: Asker, typed: str, said: str) -> None:
    async with desk() as here:
        assert await here.opt_out(typed, asker) == said

    assert here.records.left_alone == {}


async def test_an_opt_out_that_cannot_be_written_down_is_not_promised() -> None:
    async with desk() as here:
        here.records.problem = StorageError("The database is gone; password hunter2.")
        said = await here.opt_out("", BROADCASTER)

    assert said.startswith("Something went wrong")


async def test_where_nothing_is_kept_there_is_nothing_to_remove() -> None:
    async with desk(keeps=False) as here:
        assert await here.opt_out("", BROADCASTER) == "I keep nothing of any channel here."
