"""A challenger answers silently; the worse one is dropped, the better one promoted, the alarming one taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bot.commands.request import Asker, Flag, Place, Role, ShowModel
from bot.models.canary import Canary, Judge
from bot.models.following import ModelFollower, first_model
from bot.models.promotion import CanaryRules, Outcome
from bot.operation.figures import Figures
from core.games import Game
from core.recognition.aggregate import Logits
from core.recognition.candidate import Candidate, FitnessRules
from core.recognition.recognizer import Measured, Recognizer
from core.recognition.registry import Means, Registry, Term
from core.storage.audit import AuditStore
from core.storage.database import Database
from core.storage.models import ModelStore
from tests.artifacts import brightness_artifact
from tests.desk import Desk, open_desk
from tests.fakes import GAMES, RULE, BrightnessNetwork, frame

FIT = FitnessRules(slower_at_most=1000.0)
RULES = CanaryRules(looks=12, probation_looks=8, slower_at_most=1000.0, alarm_slower=1000.0)
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
DARK = frame(10)
RIGHT = {10: GAMES[0], 20: GAMES[0], 250: GAMES[2]}
ERRS_ON_BRIGHT = (GAMES[0], GAMES[2], GAMES[1])
"""And on what lies between, of which nothing is shown."""
MODERATOR = Asker(platform="twitch", id="1", name="mo", role=Role.MODERATOR)
OPERATOR = Asker(platform="console", name="op", role=Role.OPERATOR)
TERM = Term(version="m-2", since=BEGINNING)


@dataclass
class News:
    """Hears what is said of models."""

    said: list[str] = field(default_factory=list)

    def say(self, kind: str, text: str, *, at: datetime) -> None:
        self.said.append(kind)


@dataclass
class Trial:
    """A bot that follows a registry, whose m-1 answers; and streams to ask about."""

    folder: Path
    desk: Desk
    registry: Registry
    follower: ModelFollower
    judge: Judge
    news: News
    canary: Canary
    figures: Figures
    looks: int = 0

    def figure(self, start: str) -> float:
        """One of what is measured, by its name and labels."""
        lines = self.figures.text()[0].decode().splitlines()
        (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(start)]
        return float(value)

    def add(self, version: str, games: tuple[Game, ...] = GAMES) -> None:
        made = brightness_artifact(self.folder / "made" / version, version=version, games=games)
        self.registry.add(made.directory)

    async def ask(self, *shown: int, flagged: bool = False) -> str:
        """Ask about streams that show these brightnesses; moderators flag what is wrong, where they do."""
        model = ""
        for brightness in shown:
            channel = f"channel_{self.looks}"
            self.looks += 1
            self.desk.sampler.frames[channel] = [frame(brightness)]
            await self.desk.look(channel)
            answer = await self.desk.service.look_at(channel)
            assert answer.verdict is not None
            model = answer.verdict.model
            if flagged and answer.verdict.game.name != RIGHT[brightness].name:
                place = Place(platform="twitch", id="9", channel=channel)
                reply = await self.desk.said(Flag(channel=channel, game=RIGHT[brightness].name), MODERATOR, place)
                assert "Flag" in reply.text
            await self.canary.settled()
        assert self.canary.left_out == 0
        return model

    async def judged(self) -> object:
        """What the next judgement does, and everybody follows."""
        ending = await self.judge.judge()
        await self.follower.look()
        return ending.result


@asynccontextmanager
async def opened(folder: Path, *, games: tuple[Game, ...] = GAMES, acts: bool = True) -> AsyncIterator[Trial]:
    registry = Registry(folder / "registry")
    registry.add(brightness_artifact(folder / "made" / "m-1", version="m-1", games=games).directory)
    registry.use("m-1")
    first = first_model(registry, folder, threads=1, rules=FIT, now=BEGINNING)
    model = first.answering.model
    recognizer = Recognizer(model.network, model.artifact.rule)
    del model
    canaries: list[Canary] = []
    figures = Figures()

    def canary(database: Database) -> Canary:
        canaries.append(Canary(ModelStore(database), share=1.0, counts=figures))
        return canaries[0]

    async with open_desk(folder, reuse_s=60.0, recognizer=recognizer, canary=canary) as desk:
        news = News()
        judge = Judge(
            registry,
            ModelStore(desk.database),
            RULES,
            acts=acts,
            news=news,  # type: ignore[arg-type]
            audit=AuditStore(desk.database),
            counts=figures,
        )
        follower = ModelFollower(registry, recognizer, first, threads=1, rules=FIT, poll_s=1, canary=canaries[0])
        # Nothing but who follows holds on to a model: it waits for the old one to go.
        del first
        yield Trial(folder, desk, registry, follower, judge, news, canaries[0], figures)


async def test_a_worse_challenger_is_dropped_and_nobody_was_answered_by_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as trial:
        trial.add("m-2", ERRS_ON_BRIGHT)
        trial.registry.challenge("m-2")
        await trial.follower.look()

        assert await trial.ask(*[10, 20] * 3) == "m-1"
        assert await trial.judged() == {"done": "nothing"}
        assert await trial.ask(*[10, 20, 250] * 2) == "m-1"
        assert await trial.judged() == {"done": "m-2 dropped"}

        assert trial.registry.challenger() is None
        assert trial.news.said == ["dropped"]
        assert await trial.judged() == {"done": "nothing"}
        (entry,) = await AuditStore(trial.desk.database).read(limit=5, subject="m-2")
        assert entry.action == "model dropped"
        assert "83% of the time" in json.dumps(entry.detail)


async def test_a_better_challenger_is_promoted_and_answers_and_is_not_taken_back(tmp_path: Path) -> None:
    async with opened(tmp_path, games=ERRS_ON_BRIGHT) as trial:
        trial.add("m-2")
        trial.registry.challenge("m-2")
        await trial.follower.look()

        assert await trial.ask(*[10, 20, 250] * 4, flagged=True) == "m-1"
        report = await trial.judge.report()
        assert report.pair is not None
        assert (report.pair.looks, report.pair.agreed, report.pair.put_right) == (12, 8, 4)
        assert (report.pair.champion.wrong, report.pair.challenger.wrong) == (4, 0)
        assert await trial.judged() == {"done": "m-2 promoted"}
        assert trial.figure('gamespotter_model_looks_total{model="m-2",outcome="agreed"') == 8
        assert trial.figure('gamespotter_model_confidence_count{model="m-2",role="challenger"}') == 12
        assert trial.figure('gamespotter_model_flagged_ratio{model="m-1"}') == pytest.approx(4 / 12)
        assert trial.figure('gamespotter_model_agreement_ratio{champion="m-1",model="m-2"}') == 1.0

        pointer = trial.registry.pointer()
        assert pointer is not None
        assert pointer.current.means is Means.PROMOTED
        assert await trial.ask(*[10, 20, 250] * 4, flagged=True) == "m-2"
        assert await trial.judged() == {"done": "nothing"}
        assert trial.news.said == ["promoted"]


async def test_what_was_published_and_alarms_is_taken_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as trial:
        await trial.ask(*[10, 20, 250] * 3, flagged=True)
        made = brightness_artifact(tmp_path / "made" / "m-2", version="m-2", games=ERRS_ON_BRIGHT)
        trial.registry.publish(made.directory, replacing="m-1")
        await trial.follower.look()

        assert await trial.ask(*[10, 20, 250] * 2, flagged=True) == "m-2"
        assert await trial.judged() == {"done": "nothing"}
        assert await trial.ask(*[10, 20, 250], flagged=True) == "m-2"
        assert await trial.judged() == {"done": "m-2 rolled back"}

        assert await trial.ask(10) == "m-1"
        assert trial.news.said == ["rolled back"]
        assert await trial.judged() == {"done": "nothing"}


async def test_what_a_person_chose_is_not_taken_back_but_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as trial:
        trial.add("m-2", ERRS_ON_BRIGHT)
        trial.registry.use("m-2")
        await trial.follower.look()
        assert await trial.ask(*[10, 20, 250] * 4, flagged=True) == "m-2"

        report = await trial.judge.report()
        assert report.alarm is not None
        assert not report.is_on_probation
        assert await trial.judged() == {"done": "nothing"}


async def test_a_judge_that_may_not_act_only_reports(tmp_path: Path) -> None:
    async with opened(tmp_path, acts=False) as trial:
        trial.add("m-2")
        trial.registry.challenge("m-2")
        await trial.follower.look()
        await trial.ask(*[10, 20, 250] * 4)

        report = await trial.judge.report()
        assert report.judgement is not None
        assert report.judgement.outcome is Outcome.PROMOTE
        assert await trial.judged() == {"done": "nothing"}
        challenger = trial.registry.challenger()
        assert challenger is not None


async def test_an_empty_registry_has_nothing_to_judge(tmp_path: Path) -> None:
    async with Database.at(f"sqlite:///{tmp_path}/x.db") as database:
        await database.prepare()
        judge = Judge(Registry(tmp_path / "registry"), ModelStore(database), RULES)
        assert (await judge.judge()).result == {"done": "nothing"}


class _Network:
    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.runs = 0

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        self.runs += 1
        if self.fault is not None:
            raise self.fault
        return np.tile(np.float32([5, 0, 0]), (len(pictures), 1))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ModelStore]:
    async with Database.at(f"sqlite:///{tmp_path}/x.db") as database:
        await database.prepare()
        yield ModelStore(database)


def challenger_of(tmp_path: Path, network: _Network) -> Candidate:
    return Candidate(artifact=brightness_artifact(tmp_path / "m-2", version="m-2"), network=network)


async def champion() -> Measured:
    recognizer = Recognizer(BrightnessNetwork(), RULE)
    running = asyncio.create_task(recognizer.run())
    try:
        return await recognizer.measured([DARK])
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_challenger_that_fails_costs_no_asker_anything(tmp_path: Path, store: ModelStore) -> None:
    network = _Network(RuntimeError("broken"))
    canary = Canary(store, share=1.0)
    canary.challenge(challenger_of(tmp_path, network), TERM)
    running = asyncio.create_task(canary.run())

    canary.consider("look", [DARK], await champion())
    await canary.settled()

    (silent,) = await store.answers("m-2", since=BEGINNING, beside="test-1")
    assert silent.game is None
    assert len(await store.answers("test-1", since=BEGINNING)) == 1
    running.cancel()
    await asyncio.wait({running})


async def test_the_share_of_looks_that_is_measured_is_the_one_that_was_asked_for(store: ModelStore) -> None:
    dice = iter([0.1, 0.3, 0.29, 0.9])
    canary = Canary(store, share=0.3, dice=lambda: next(dice))
    measured = await champion()
    running = asyncio.create_task(canary.run())
    for number in range(4):
        canary.consider(f"look-{number}", [DARK], measured)
    await canary.settled()
    running.cancel()
    await asyncio.wait({running})

    assert {one.look for one in await store.answers("test-1", since=BEGINNING)} == {"look-0", "look-2"}


async def test_a_canary_that_is_behind_leaves_looks_out_and_keeps_nobody_waiting(store: ModelStore) -> None:
    canary = Canary(store, share=1.0)
    measured = await champion()
    for number in range(20):
        canary.consider(f"look-{number}", [DARK], measured)

    assert canary.left_out == 12


async def test_whoever_runs_the_bot_is_told_how_a_challenger_does(tmp_path: Path) -> None:
    async with opened(tmp_path) as trial:
        trial.add("m-2")
        trial.registry.challenge("m-2")
        await trial.follower.look()
        await trial.ask(10, 20)

        class Known:
            since = BEGINNING
            last_refusal = None
            report = trial.judge.report

        trial.desk.service._models = Known()  # type: ignore[assignment]
        told = (await trial.desk.said(ShowModel(), OPERATOR, Place(platform="console"))).text
        assert "answers since 2020-01-01 00:00 UTC" in told
        assert "Tried beside it: m-2, the same answer at 2 of 2 looks" in told
        viewer = (await trial.desk.said(ShowModel(), Asker(), Place(platform="twitch", id="1"))).text
        assert "m-2" not in viewer
