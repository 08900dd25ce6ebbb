from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from structlog.contextvars import get_contextvars

from bot.commands.answer import Answer, Status
from bot.commands.request import Asker, Help, Identify, Outcome, Place, Reply, Request
from bot.door import Door
from bot.operation.figures import Figures

ASK = Request(
    command=Identify(channel="some_channel"),
    asker=Asker(platform="twitch", name="viewer"),
    place=Place(platform="twitch", id="1"),
)


class Service:
    """Answers when ``gate`` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.contexts: list[dict[str, object]] = []
        self.reply = Reply(text="x", answer=Answer(channel="some_channel", status=Status.OFFLINE))
        self.cancelled = 0

    async def handle(self, request: Request) -> Reply:
        self.contexts.append(dict(get_contextvars()))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.reply


def counts(figures: Figures) -> dict[str, float]:
    lines = figures.text()[0].decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.startswith("gamespotter_asks"))
    return {name: float(value) for name, _, value in pairs}


async def test_it_hands_on_names_and_counts() -> None:
    service, figures = Service(), Figures()
    door = Door(service.handle, figures=figures)

    assert await door.handle(ASK) is service.reply
    assert service.contexts == [{"request": ASK.id, "platform": "twitch", "place": "twitch:1"}]
    assert get_contextvars()["request"] == ASK.id  # what the chat logs of sending the reply has it, too
    found = counts(figures)
    assert found['gamespotter_asks_total{command="game",outcome="offline",platform="twitch"}'] == 1
    assert found["gamespotter_asks_under_way"] == 0


async def test_requests_at_the_same_time_keep_their_names() -> None:
    service = Service()
    door = Door(service.handle, figures=Figures())
    asks = [Request(command=Help()) for _ in range(5)]

    async with asyncio.TaskGroup() as group:
        for ask in asks:
            group.create_task(door.handle(ask))

    assert [context["request"] for context in service.contexts] == [ask.id for ask in asks]
    assert len({ask.id for ask in asks}) == 5


async def test_closed_it_tells_whoever_comes_and_lets_the_others_finish() -> None:
    service, figures = Service(), Figures()
    door = Door(service.handle, figures=figures)
    service.gate.clear()
    inside = [asyncio.create_task(door.handle(ASK)) for _ in range(3)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(door.close(within_s=60))
    await asyncio.sleep(0)

    late = await door.handle(ASK)
    assert late.outcome is Outcome.STOPPING
    assert "restarted" in late.text
    assert not closing.done()
    service.gate.set()
    assert await asyncio.gather(*inside) == [service.reply] * 3
    await closing


async def test_who_is_not_answered_in_time_is_told_so_and_what_was_done_for_them_ends() -> None:
    service, figures = Service(), Figures()
    door = Door(service.handle, figures=figures)
    service.gate.clear()
    inside = [asyncio.create_task(door.handle(ASK)) for _ in range(3)]
    await asyncio.sleep(0)

    await door.close(within_s=0.05)
    replies = await asyncio.gather(*inside)
    assert Counter(reply.outcome for reply in replies) == {Outcome.STOPPING: 3}
    assert service.cancelled == 3
    assert counts(figures)['gamespotter_asks_total{command="game",outcome="stopping",platform="twitch"}'] == 3


async def test_a_timeout_of_the_service_s_own_is_no_closing() -> None:
    async def fails(request: Request) -> Reply:
        raise TimeoutError

    door = Door(fails, figures=Figures())
    with pytest.raises(TimeoutError):
        await door.handle(ASK)
    await door.close(within_s=1)


async def test_an_asker_who_gives_up_does_not_keep_the_door_open() -> None:
    service, figures = Service(), Figures()
    door = Door(service.handle, figures=figures)
    service.gate.clear()
    gone = asyncio.create_task(door.handle(ASK))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait({gone})

    await door.close(within_s=60)
    assert gone.cancelled()
    assert counts(figures)["gamespotter_asks_under_way"] == 0
