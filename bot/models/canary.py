"""A challenger answers silently beside the champion; how both do is written down, and judged by the clock."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bot.commands import wording
from bot.models.promotion import ModelsReport, Outcome, alarm, compared, figures_of, judged
from bot.schedule import Ending
from core.errors import StorageError
from core.recognition.aggregate import aggregate
from core.recognition.registry import CurrentChangedError, Means
from core.storage.records import AuditEntry, NewModelAnswer, RunState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bot.models.news import ModelNews
    from bot.models.promotion import CanaryRules
    from core.frames import Frame
    from core.games import Game
    from core.recognition.candidate import Candidate
    from core.recognition.recognizer import Measured
    from core.recognition.registry import Pointer, Registry, Term
    from core.recognition.verdict import Verdict
    from core.storage.audit import AuditStore
    from core.storage.models import ModelStore
    from core.storage.records import JobRun

log = logging.getLogger(__name__)

JUDGING = "models"
"""The job by the clock."""

_WAITING_LOOKS = 8
"""Each holds 13 pictures of 170 kB; what comes while so many wait is not tried."""

_BEFORE_AT_MOST = timedelta(days=30)
"""How far back the answers of the model before are looked for."""


class CountsTrials(Protocol):
    """What is needed of :class:`bot.operation.figures.Figures`."""

    def model_looked(self, version: str, role: str, outcome: str, *, frame_s: float, confidence: float | None) -> None:
        """A model was shown a look.

        Args:
            version: which.
            role: ``champion`` or ``challenger``.
            outcome: ``answered``, or of a challenger ``agreed``, ``differed``, ``failed``.
            frame_s: how long the network ran for a frame.
            confidence: of its answer; None where it failed.
        """
        ...

    def models_judged(
        self, flagged: Mapping[str, float], *, challenger: str | None, champion: str, agreement: float
    ) -> None:
        """The models that answer, and answered, were judged by what people and they themselves say; 0 to 1.

        Args:
            flagged: by version, the share of its answers that people call wrong.
            challenger: what is tried; None for nothing.
            champion: what answers.
            agreement: of the two.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    key: str
    frames: tuple[Frame, ...]
    champion: Measured
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """What a model said of a look; no verdict where it failed."""

    verdict: Verdict | None
    network_ms: float

    @property
    def game(self) -> Game | None:
        return None if self.verdict is None else self.verdict.game


class Canary:
    """Writes down what the champion said of a share of the looks, and what the challenger says of them.

    :meth:`run` must be running. No asker waits for any of it: when it is behind, looks are left out.
    """

    def __init__(
        self,
        store: ModelStore,
        *,
        share: float,
        counts: CountsTrials | None = None,
        dice: Callable[[], float] = random.random,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Try nothing yet.

        Args:
            store: where answers are written down.
            share: of the looks that are measured, 0 to 1.
            counts: is told of each; None for nobody.
            dice: gives numbers from 0 to less than 1.
            clock: the wall clock, UTC.
        """
        self._store = store
        self._share = share
        self._counts = counts
        self._dice = dice
        self._clock = clock
        self._challenger: Candidate | None = None
        self._looks: asyncio.Queue[_Look] = asyncio.Queue(_WAITING_LOOKS)
        self.left_out = 0

    def challenge(self, model: Candidate, term: Term) -> None:  # noqa: ARG002 - as TriesChallengers has it
        """Try this model from now on."""
        self._challenger = model

    def end(self) -> None:
        """Try none from now on."""
        self._challenger = None

    def consider(self, look: str, frames: Sequence[Frame], champion: Measured) -> None:
        """Measure a look, perhaps; returns at once.

        Args:
            look: its key.
            frames: what was seen.
            champion: what the bot answers.
        """
        if self._dice() >= self._share:
            return
        try:
            self._looks.put_nowait(
                _Look(key=look, frames=tuple(frames), champion=champion, at=self._clock()),
            )
        except asyncio.QueueFull:
            self.left_out += 1

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            look = await self._looks.get()
            try:
                await self._measure(look)
            except StorageError as error:
                log.error("what models said of a look is not kept: %s", error)  # noqa: TRY400 - a sentence
            except Exception:
                log.exception("what models said of a look is not kept")
            finally:
                self._looks.task_done()

    async def settled(self) -> None:
        """Wait until all looks so far are written down, or cannot be."""
        await self._looks.join()

    async def _measure(self, look: _Look) -> None:
        champion = _Said(verdict=look.champion.verdict, network_ms=look.champion.network_ms)
        answered_by = look.champion.verdict.model
        answers = [self._counted(look, champion, answered_by, beside=None)]
        challenger = self._challenger
        # A look from before a promotion, of which the promoted is the challenger no more.
        if challenger is not None and challenger.version != answered_by:
            said = await asyncio.to_thread(_said_by, challenger, look.frames)
            answers.append(self._counted(look, said, challenger.version, beside=champion))
        await self._store.add(answers)

    def _counted(self, look: _Look, said: _Said, version: str, *, beside: _Said | None) -> NewModelAnswer:
        if self._counts is not None:
            outcome = "answered"
            if beside is not None:
                outcome = "failed" if said.game is None else "agreed" if said.game == beside.game else "differed"
            role = "champion" if beside is None else "challenger"
            self._counts.model_looked(
                version,
                role,
                outcome,
                frame_s=said.network_ms / len(look.frames) / 1000,
                confidence=None if said.verdict is None else said.verdict.confidence,
            )
        return NewModelAnswer(
            look=look.key,
            model=version,
            beside=None if beside is None else look.champion.verdict.model,
            at=look.at,
            game=said.game,
            confidence=0.0 if said.verdict is None else said.verdict.confidence,
            frames=len(look.frames),
            network_ms=said.network_ms,
        )


def _said_by(model: Candidate, frames: Sequence[Frame]) -> _Said:
    """What a challenger says. However it fails, that is its own fault and no asker's."""
    pictures = np.stack([frame.picture for frame in frames])
    began_s = time.perf_counter()
    try:
        logits = model.network.logits(pictures)
        network_ms = (time.perf_counter() - began_s) * 1000
        verdict = aggregate(logits, at_s=[frame.at_s for frame in frames], rule=model.artifact.rule)
    except Exception:
        log.exception("the challenger %s failed", model.version)
        return _Said(verdict=None, network_ms=(time.perf_counter() - began_s) * 1000)
    return _Said(verdict=verdict, network_ms=network_ms)


class Judge:
    """Judges challengers, and what has just become current, by what is written down of all replicas."""

    def __init__(
        self,
        registry: Registry,
        store: ModelStore,
        rules: CanaryRules,
        *,
        acts: bool = True,
        news: ModelNews | None = None,
        audit: AuditStore | None = None,
        changed: Callable[[], Awaitable[None]] | None = None,
        counts: CountsTrials | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            registry: what is judged is in it.
            store: what was said, and what people say of that.
            rules: by which it is judged.
            acts: False only reports.
            news: is told of each decision.
            audit: where each decision is written down.
            changed: called when the registry was changed.
            counts: is told of each judgement; None for nobody.
            clock: the wall clock, UTC.
        """
        self._registry = registry
        self._store = store
        self._rules = rules
        self._acts = acts
        self._news = news
        self._audit = audit
        self._changed = changed
        self._counts = counts
        self._clock = clock

    async def report(self) -> ModelsReport:
        """How the models do.

        Raises:
            ArtifactError: the registry cannot be read.
            StorageError: the database cannot be used.
        """
        pointer = await asyncio.to_thread(self._registry.pointer)
        if pointer is None:
            return ModelsReport(pointer=None)
        now, current = self._clock(), pointer.current
        answers = await self._store.answers(current.version, since=current.since)
        of_current = figures_of(current.version, answers)
        before, is_on_probation, why = None, False, None
        if pointer.before:
            earlier = pointer.before[-1]
            since = max(earlier.since, current.since - _BEFORE_AT_MOST)
            before = figures_of(earlier.version, await self._store.answers(earlier.version, since=since))
            # What a person chose stays until a person says otherwise.
            decided_by_us = current.means in {Means.PROMOTED, Means.PUBLISHED}
            is_on_probation = decided_by_us and now - current.since < timedelta(hours=self._rules.probation_hours)
            why = alarm(of_current, before, self._rules)
        challenger = await asyncio.to_thread(self._registry.challenger)
        pair = judgement = None
        if challenger is not None and challenger.version != current.version:
            since = max(challenger.since, current.since)
            silent = await self._store.answers(challenger.version, since=since, beside=current.version)
            pair = compared(
                current.version,
                await self._store.answers(current.version, since=since),
                challenger.version,
                silent,
            )
            hours = (now - since).total_seconds() / 3600
            judgement = judged(pair, self._rules, tried_for_hours=hours)
        return ModelsReport(
            pointer=pointer,
            current=of_current,
            before=before,
            is_on_probation=is_on_probation,
            alarm=why,
            challenger=challenger if pair is not None else None,
            pair=pair,
            judgement=judgement,
        )

    async def judge(self, _run: JobRun | None = None) -> Ending:
        """Do what is to be done; the work of a job by the clock.

        Raises:
            ArtifactError: the registry cannot be read or written.
            StorageError: the database cannot be used.
        """
        report = await self.report()
        self._count(report)
        done = "nothing"
        if self._acts and report.pointer is not None:
            try:
                done = await self._act(report, report.pointer)
            except CurrentChangedError as error:
                # Somebody was quicker; the next time it is judged as it is then.
                log.info("%s", error)
        return Ending(state=RunState.DONE, result={"done": done})

    def _count(self, report: ModelsReport) -> None:
        if self._counts is None or report.pointer is None:
            return
        pair = report.pair
        versions = [report.current, report.before, None if pair is None else pair.challenger]
        self._counts.models_judged(
            {figures.version: figures.flag_rate for figures in versions if figures is not None},
            challenger=None if pair is None else pair.challenger.version,
            champion=report.pointer.current.version,
            agreement=0.0 if pair is None else pair.agreement,
        )

    async def _act(self, report: ModelsReport, pointer: Pointer) -> str:
        version = pointer.current.version
        if report.is_on_probation and report.alarm is not None:
            back = await asyncio.to_thread(self._registry.rollback, replacing=version)
            goes_on = back.current.version
            text = wording.model_rolled_back(version, answering=goes_on, why=report.alarm)
            await self._tell("rolled back", version, text, at=back.current.since)
            return f"{version} rolled back"
        challenger, judgement = report.challenger, report.judgement
        if challenger is None or judgement is None or judgement.outcome is Outcome.WAIT:
            return "nothing"
        if judgement.outcome is Outcome.DROP:
            if not await asyncio.to_thread(self._registry.end_challenge, challenger.version):
                return "nothing"
            text = wording.model_dropped(challenger.version, answering=version, why=judgement.why)
            await self._tell("dropped", challenger.version, text, at=challenger.since)
            return f"{challenger.version} dropped"
        await asyncio.to_thread(self._registry.use, challenger.version, means=Means.PROMOTED, replacing=version)
        text = wording.model_promoted(challenger.version, before=version, why=judgement.why)
        await self._tell("promoted", challenger.version, text, at=challenger.since)
        return f"{challenger.version} promoted"

    async def _tell(self, action: str, version: str, text: str, *, at: datetime) -> None:
        log.warning("%s", text)
        if self._changed is not None:
            await self._changed()
        if self._news is not None:
            self._news.say(action, text, at=at)
        if self._audit is not None:
            await self._audit.write(
                AuditEntry(
                    at=self._clock(),
                    platform="",
                    place="",
                    by="canary",
                    action=f"model {action}",
                    subject=version,
                    detail={"why": text},
                )
            )
