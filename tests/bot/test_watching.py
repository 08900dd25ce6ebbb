"""Watched channels: when a difference is told, and to whom; and what was seen tonight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.platform import Handle
from bot.commands.answer import Answer, Status
from bot.commands.request import Asker, Command, Identify, Place, Reply, Role, Timeline, Watch
from bot.commands.watching import next_state
from bot.watch import MismatchWatch
from core.aliases import AliasTable
from core.collection.directory import Category
from core.errors import DirectoryProblem, StreamOffline
from core.games import NOT_A_GAME, UNKNOWN, Game
from core.recognition.verdict import Likelihood, Verdict
from core.storage.audit import AuditStore
from core.storage.records import Broadcaster, Moderator, WatchState
from core.storage.watches import WatchStore
from tests.desk import CHANNEL, Desk, open_desk
from tests.fakes import frame

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)
ALIASES = AliasTable.bundled()
DOTA, CHESS = Game(id="dota_2", name="Dota 2"), Game(id="chess", name="Chess")
ROOM = Place(platform="chat", id="5", server="50", name="moderators")
MODERATOR = Asker(platform="chat", id="1", name="mod", role=Role.MODERATOR)
VIEWER = Asker(platform="chat", id="2", name="viewer")


def seen(game: Game, declared: str | None = "Chess") -> Answer:
    verdict = Verdict(
        game=game,
        confidence=0.9,
        best=Likelihood(game=game, confidence=0.9),
        runners_up=(),
        frames=(),
        votes=1,
        score=1.0,
        novelty=0.0,
        model="m",
    )
    wanted = Category(id=f"id-{declared}", name=declared) if declared else None
    return Answer(channel=CHANNEL, status=Status.ANSWERED, verdict=verdict, declared=wanted)


def alerts(*answers: Answer, windows: int = 3) -> list[int]:
    """At which of the looks something is said."""
    state, said = WatchState(), []
    for number, answer in enumerate(answers, start=1):
        state, tell = next_state(state, answer, aliases=ALIASES, windows=windows, at=NOW)
        if tell:
            said.append(number)
    return said


OTHER, SAME, OFFLINE = seen(DOTA), seen(CHESS), Answer(channel=CHANNEL, status=Status.OFFLINE)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([OTHER, OTHER], []),
        ([OTHER, OTHER, OTHER], [3]),
        ([OTHER] * 10, [3]),
        ([OTHER, OTHER, SAME, OTHER, OTHER], []),
        ([OTHER, OTHER, SAME, OTHER, OTHER, OTHER], [6]),
        ([*[OTHER] * 3, SAME, *[OTHER] * 3], [3, 7]),
        ([*[OTHER] * 3, *[seen(DOTA, "Minecraft")] * 3], [3, 6]),
        ([OTHER, OFFLINE, OTHER, seen(UNKNOWN), seen(NOT_A_GAME), OTHER], [6]),
        ([seen(NOT_A_GAME)] * 9, []),
        ([seen(UNKNOWN)] * 9, []),
        ([seen(DOTA, None)] * 9, []),
        ([seen(Game(id="doom", name="Doom"), "Retro")] * 9, []),
        ([seen(Game(id="cs2", name="Counter-Strike 2"), "Counter-Strike")] * 9, []),
        ([seen(DOTA, "Just Chatting")] * 3, [3]),
    ],
)
def test_a_difference_that_lasts_is_told_once(answers: list[Answer], said: list[int]) -> None:
    assert alerts(*answers) == said


@given(st.lists(st.sampled_from([OTHER, SAME, OFFLINE, seen(UNKNOWN), seen(DOTA, "Minecraft")])), st.integers(1, 4))
def test_no_alert_comes_early_and_none_twice_for_the_same_difference(answers: list[Answer], windows: int) -> None:
    state, told = WatchState(), None
    for answer in answers:
        state, tell = next_state(state, answer, aliases=ALIASES, windows=windows, at=NOW)
        if state.differing == 0:
            told = None
        if tell:
            assert state.differing >= windows
            assert state.mismatch != told
            told = state.mismatch


# The commands, and the loop


@dataclass
class Chat:
    """A platform that writes down what is announced."""

    name: str = "chat"
    said: list[tuple[Place, Reply]] = field(default_factory=list)
    is_away: bool = False

    async def run(self, handle: Handle) -> None: ...

    async def announce(self, place: Place, reply: Reply) -> bool:
        if not self.is_away:
            self.said.append((place, reply))
        return not self.is_away


@dataclass
class Evening:
    """A desk, and what is said where nobody asked."""

    desk: Desk
    chat: Chat = field(default_factory=Chat)

    async def said(self, command: Command, asker: Asker = MODERATOR, place: Place = ROOM) -> str:
        return (await self.desk.said(command, asker, place)).text

    @asynccontextmanager
    async def watching(self, *, windows: int = 2) -> AsyncIterator[None]:
        watch = MismatchWatch(
            self.desk.service,
            WatchStore(self.desk.database),
            self.desk.flags,
            platforms={"chat": self.chat},
            aliases=ALIASES,
            holder="here",
            every_s=0.05,
            windows=windows,
            poll_s=0.02,
        )
        running = asyncio.create_task(watch.run())
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def looked(self, times: int) -> None:
        asked = len(self.desk.sampler.asked)
        async with asyncio.timeout(20):
            while len(self.desk.sampler.asked) < asked + times:
                await asyncio.sleep(0.01)


@pytest.fixture
async def evening(tmp_path: Path) -> AsyncIterator[Evening]:
    async with open_desk(tmp_path, reuse_s=0.0) as desk:
        yield Evening(desk)


async def test_a_moderator_has_a_channel_watched_from_where_they_are(evening: Evening) -> None:
    assert "some_channel every 4 min " in await evening.said(Watch(channel="@Some_Channel", on=True))
    assert "already" in await evening.said(Watch(channel=CHANNEL, on=True))
    assert CHANNEL in await evening.said(Watch(channel=""))
    assert CHANNEL not in await evening.said(Watch(channel=""), place=replace(ROOM, id="6"))
    await evening.said(Watch(channel=CHANNEL, on=False))
    assert CHANNEL not in await evening.said(Watch(channel=""))
    written = await AuditStore(evening.desk.database).read(limit=9)
    assert [(entry.action, entry.subject, entry.by_name) for entry in written] == [
        ("unwatch", CHANNEL, "mod"),
        ("watch", CHANNEL, "mod"),
    ]


async def test_a_channel_that_opted_out_is_not_watched(evening: Evening) -> None:
    await evening.desk.captures.opt_out(Broadcaster(login=CHANNEL), by="it", at=NOW)

    assert await evening.said(Watch(channel=CHANNEL, on=True)) == "some_channel asked me not to look."


async def test_nobody_else_has(evening: Evening) -> None:
    assert "moderators" in await evening.said(Watch(channel=CHANNEL, on=True), asker=VIEWER)
    assert CHANNEL not in await evening.said(Watch(channel=""))


async def test_moderators_are_told_once_where_they_wanted_it_with_the_answer(evening: Evening) -> None:
    await evening.said(Watch(channel=CHANNEL, on=True))
    async with evening.watching():
        await evening.looked(6)

    ((place, reply),) = evening.chat.said
    assert (place.id, place.server) == ("5", "50")
    assert "some_channel declares Minecraft, but shows VALORANT since " in reply.text
    assert reply.answer is not None
    assert reply.answer.look


async def test_it_is_not_told_again_after_a_restart(evening: Evening) -> None:
    await evening.said(Watch(channel=CHANNEL, on=True))
    for _ in range(2):
        async with evening.watching():
            await evening.looked(4)

    assert len(evening.chat.said) == 1


async def test_moderators_are_told_when_the_chat_is_there_again(evening: Evening) -> None:
    await evening.said(Watch(channel=CHANNEL, on=True))
    evening.chat.is_away = True
    async with evening.watching():
        await evening.looked(4)
        assert evening.chat.said == []
        evening.chat.is_away = False
        await evening.looked(4)

    assert len(evening.chat.said) == 1


async def test_a_directory_that_fails_alerts_nobody(evening: Evening) -> None:
    evening.desk.directory.problems["channels"] = DirectoryProblem("Twitch does not answer.")
    await evening.said(Watch(channel=CHANNEL, on=True))
    async with evening.watching(windows=1):
        await evening.looked(3)

    assert evening.chat.said == []


async def test_a_moderator_is_told_once_that_a_model_has_learnt_from_their_flag(evening: Evening) -> None:
    look = await evening.desk.look()
    by = Moderator(platform="chat", id="1", name="mod", moderates_channel=True)
    outcome = await evening.desk.flags.flag(look, CHESS, by=by, place="5", server="50", at=NOW)
    assert outcome is not None
    await evening.desk.flags.mark_used("m-2", [outcome.flag.id], at=NOW)
    for _ in range(2):
        async with evening.watching():
            await asyncio.sleep(0.3)

    ((place, told),) = evening.chat.said
    assert place.id == "5"
    assert told.text == "Model m-2 has learnt from your flag 1: some_channel as Chess."


async def test_the_timeline_says_what_was_seen_tonight(evening: Evening) -> None:
    nothing = await evening.said(Timeline(channel=CHANNEL))
    for brightness in (10, 10, 130):
        evening.desk.sampler.frames[CHANNEL] = [frame(brightness)]
        await evening.desk.look()
    told = await evening.said(Timeline(channel=""), place=replace(ROOM, channel=CHANNEL))

    assert "Chess" not in nothing
    assert [line.split()[-1] for line in told.splitlines()[1:]] == ["VALORANT", "Chess"]


async def test_an_answer_says_seen_against_declared_and_offline_what_was_last(evening: Evening) -> None:
    first = await evening.said(Identify(channel=CHANNEL))
    await evening.desk.recorder.all_settled()
    evening.desk.sampler.problems[CHANNEL] = StreamOffline(CHANNEL)
    gone = await evening.said(Identify(channel=CHANNEL))

    assert first == "Seen: VALORANT 99 % (1/1) · Declared: Minecraft"
    assert gone.startswith("some_channel is offline")
    assert "VALORANT" in gone
    assert "Minecraft" in gone
