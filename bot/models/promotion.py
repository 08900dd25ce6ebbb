"""Which of two models is to answer: figures of what they said of the same looks, and the rules on them; pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.recognition.registry import Pointer, Term
    from core.storage.records import ModelAnswer

_CLEARLY_FAILING = 3
"""Looks at which a challenger fails before that is more than an accident."""

_SLOW_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class CanaryRules:
    """When a challenger takes the champion's place, when it is given up, and when what was promoted is taken back.

    Attributes:
        looks: at as many streams both must have looked.
        agree_at_least: share of these at which the challenger says the same, or what people said against the champion.
        less_sure_at_most: by how much its mean confidence may be lower.
        slower_at_most: times as long as the champion's network its own may take.
        failed_at_most: share of the looks at which it may fail.
        hours_at_most: after which one that is still undecided is given up.
        probation_hours: for so long a model that was promoted or published is under watch.
        probation_looks: fewer of its answers say nothing.
        alarm_flagged: share of its answers that people call wrong; it must also be twice that of the one before.
        alarm_slower: times as long as the one before it may take.
    """

    looks: int = 200
    agree_at_least: float = 0.9
    less_sure_at_most: float = 0.05
    slower_at_most: float = 1.5
    failed_at_most: float = 0.01
    hours_at_most: float = 168.0
    probation_hours: float = 24.0
    probation_looks: int = 50
    alarm_flagged: float = 0.05
    alarm_slower: float = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionFigures:
    """What is known of a model by its answers.

    Attributes:
        looks: how many answers there are.
        failed: at how many looks it failed.
        unknown: how often it knew no game.
        confidence: mean, of those at which it did not fail.
        frame_ms: median time of a frame.
        slow_frame_ms: that 95 % of the looks stay below.
        wrong: how often people say that it is wrong.
        right: how often they say that it is right.
    """

    version: str
    looks: int
    failed: int
    unknown: int
    confidence: float
    frame_ms: float
    slow_frame_ms: float
    wrong: int
    right: int

    @property
    def flag_rate(self) -> float:
        """The share of its answers that people call wrong."""
        return self.wrong / self.looks if self.looks else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFigures:
    """Two models on the same looks.

    Attributes:
        agreed: at how many they said the same.
        put_right: at how many others the challenger said what people then said against the champion.
    """

    champion: VersionFigures
    challenger: VersionFigures
    looks: int
    agreed: int
    put_right: int

    @property
    def agreement(self) -> float:
        """The share of the looks at which nothing speaks against the challenger's answer; 0 without any."""
        return (self.agreed + self.put_right) / self.looks if self.looks else 0.0


class Outcome(StrEnum):
    """What is to be done with a challenger."""

    WAIT = "wait"
    PROMOTE = "promote"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What is to be done, and why: a sentence."""

    outcome: Outcome
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelsReport:
    """How the models of a registry do.

    Attributes:
        pointer: what is current; None in an empty registry.
        current: of the current model's answers since it is that.
        before: of the model that answered before; None where there was none.
        is_on_probation: whether an alarm takes the current model back.
        alarm: why it is to be taken back; None when all is well.
        challenger: what is tried; None where nothing is.
        pair: the two on the same looks, where something is tried.
        judgement: what is to be done with it.
    """

    pointer: Pointer | None
    current: VersionFigures | None = None
    before: VersionFigures | None = None
    is_on_probation: bool = False
    alarm: str | None = None
    challenger: Term | None = None
    pair: PairFigures | None = None
    judgement: Judgement | None = None


def figures_of(version: str, answers: Sequence[ModelAnswer]) -> VersionFigures:
    """What answers, of one model, say of it."""
    given = [one for one in answers if one.game is not None]
    times_ms = sorted(one.frame_ms for one in given)
    return VersionFigures(
        version=version,
        looks=len(answers),
        failed=len(answers) - len(given),
        unknown=sum(one.game == "" for one in given),
        confidence=statistics.fmean(one.confidence for one in given) if given else 0.0,
        frame_ms=statistics.median(times_ms) if times_ms else 0.0,
        slow_frame_ms=times_ms[min(len(times_ms) - 1, int(len(times_ms) * _SLOW_QUANTILE))] if times_ms else 0.0,
        wrong=sum(one.is_right is False for one in answers),
        right=sum(one.is_right is True for one in answers),
    )


def compared(
    champion: str, champion_answers: Iterable[ModelAnswer], challenger: str, challenger_answers: Iterable[ModelAnswer]
) -> PairFigures:
    """Two models by the looks that both were shown."""
    firsts: Mapping[str, ModelAnswer] = {one.look: one for one in champion_answers}
    pairs = [(firsts[one.look], one) for one in challenger_answers if one.look in firsts]
    return PairFigures(
        champion=figures_of(champion, [first for first, _ in pairs]),
        challenger=figures_of(challenger, [second for _, second in pairs]),
        looks=len(pairs),
        agreed=sum(first.game == second.game for first, second in pairs),
        put_right=sum(first.game != second.game and second.is_right is True for first, second in pairs),
    )


def judged(pair: PairFigures, rules: CanaryRules, *, tried_for_hours: float) -> Judgement:
    """What is to be done with a challenger."""
    champion, challenger = pair.champion, pair.challenger
    if challenger.failed >= _CLEARLY_FAILING and challenger.failed > rules.failed_at_most * pair.looks:
        return Judgement(outcome=Outcome.DROP, why=f"It failed at {challenger.failed} of {pair.looks} looks.")
    if pair.looks < rules.looks:
        if tried_for_hours > rules.hours_at_most:
            why = f"In {rules.hours_at_most:g} hours it was shown {pair.looks} looks; {rules.looks} are needed."
            return Judgement(outcome=Outcome.DROP, why=why)
        return Judgement(outcome=Outcome.WAIT, why=f"It was shown {pair.looks} of {rules.looks} looks.")
    against = _against(pair, rules)
    if against:
        return Judgement(outcome=Outcome.DROP, why=against)
    why = (
        f"At {pair.looks} looks it agreed with {champion.version}, or was put right by people, "
        f"{pair.agreement:.0%} of the time, at {challenger.frame_ms:.1f} ms a frame; "
        f"{challenger.wrong} answers are called wrong, of {champion.version} {champion.wrong}."
    )
    return Judgement(outcome=Outcome.PROMOTE, why=why)


def _against(pair: PairFigures, rules: CanaryRules) -> str:
    champion, challenger = pair.champion, pair.challenger
    if challenger.failed > rules.failed_at_most * pair.looks:
        return f"It failed at {challenger.failed} of {pair.looks} looks."
    if challenger.wrong > champion.wrong:
        return (
            f"People call {challenger.wrong} of its answers at {pair.looks} looks wrong, "
            f"and {champion.wrong} of those of {champion.version}."
        )
    if pair.agreement < rules.agree_at_least:
        return (
            f"At {pair.looks} looks it agreed with {champion.version}, or was put right by people, "
            f"{pair.agreement:.0%} of the time; {rules.agree_at_least:.0%} are needed."
        )
    if challenger.confidence < champion.confidence - rules.less_sure_at_most:
        return (
            f"It is less sure than {champion.version}: {challenger.confidence:.0%} on average "
            f"instead of {champion.confidence:.0%}."
        )
    if challenger.frame_ms > champion.frame_ms * rules.slower_at_most:
        return (
            f"It is slower than {champion.version}: {challenger.frame_ms:.1f} ms a frame "
            f"instead of {champion.frame_ms:.1f}."
        )
    return ""


def alarm(now: VersionFigures, before: VersionFigures, rules: CanaryRules) -> str | None:
    """Why a model that has just been promoted is to be taken back, in a sentence; None when all is well.

    Args:
        now: of its answers since.
        before: of the model that answered before it.
        rules: what alarms.
    """
    if now.looks < rules.probation_looks:
        return None
    if now.flag_rate > rules.alarm_flagged and now.flag_rate > 2 * before.flag_rate:
        return (
            f"People call {now.wrong} of its {now.looks} answers wrong; of {before.version} they did so "
            f"of {before.wrong} of {before.looks}."
        )
    if before.looks >= rules.probation_looks and now.frame_ms > before.frame_ms * rules.alarm_slower:
        return f"It takes {now.frame_ms:.1f} ms a frame; {before.version} took {before.frame_ms:.1f}."
    return None
