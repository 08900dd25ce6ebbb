from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.commands.answer import Answer, Status
from bot.commands.request import Help, Identify, Reply, Request, ShowModel, Unrecognised
from bot.commands.service import CommandService
from core.errors import ArtifactError, StreamOffline, StreamProblem
from core.recognition.recognizer import Recognizer
from tests.fakes import GAMES, RULE, BrightnessNetwork, FakeSampler, frame


class Desk:
    """A service over a fake sampler and a fake network, and short ways to ask it."""

    def __init__(self, service: CommandService, sampler: FakeSampler, network: BrightnessNetwork) -> None:
        self.service = service
        self.sampler = sampler
        self.network = network

    async def reply(self, channel: str, *, verbose: bool = False) -> Reply:
        return await self.service.handle(Request(command=Identify(channel=channel, verbose=verbose)))

    async def answer(self, channel: str) -> Answer:
        reply = await self.reply(channel)
        assert reply.answer is not None
        return reply.answer


@asynccontextmanager
async def desk(*, reuse_s: float = 20.0, recognize_timeout_s: float = 10.0) -> AsyncIterator[Desk]:
    sampler, network = FakeSampler(), BrightnessNetwork()
    sampler.frames["some_channel"] = [frame(10), frame(20, at_s=2.0), frame(250, at_s=4.0)]
    recognizer = Recognizer(network, RULE)
    service = CommandService(
        sampler=sampler,
        recognizer=recognizer,
        url_template="https://www.twitch.tv/{channel}",
        prefix="!",
        reuse_s=reuse_s,
        recognize_timeout_s=recognize_timeout_s,
    )
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(recognizer.run())
        yield Desk(service, sampler, network)
        await service.aclose()
        serving.cancel()


async def test_a_channel_is_looked_at_and_the_game_said() -> None:
    async with desk() as here:
        reply = await here.reply("https://www.twitch.tv/Some_Channel?x")

    assert reply.text.startswith("Seen: VALORANT, ")
    assert reply.text.endswith(" (2 of 3 frames)")
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
