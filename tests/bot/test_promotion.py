"""A challenger is promoted when nothing speaks against it, and what was promoted is taken back when it alarms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.models.promotion import CanaryRules, Outcome, PairFigures, alarm, compared, figures_of, judged
from core.storage.records import ModelAnswer

RULES = CanaryRules(looks=20, probation_looks=10)


def answers(number: int, **changes: object) -> list[ModelAnswer]:
    plain = ModelAnswer(look="", game="chess", confidence=0.9, frame_ms=10.0, is_right=None)
    return [replace(plain, look=str(look), **changes) for look in range(number)]  # type: ignore[arg-type]


def pair(champion: list[ModelAnswer], challenger: list[ModelAnswer]) -> PairFigures:
    return compared("m-1", champion, "m-2", challenger)


def test_figures_are_of_what_was_said() -> None:
    said = [
        *answers(2, confidence=0.8),
        ModelAnswer(look="x", game="", confidence=0.2, frame_ms=40.0, is_right=False),
        ModelAnswer(look="y", game=None, confidence=0.0, frame_ms=999.0, is_right=False),
        ModelAnswer(look="z", game="doom", confidence=0.6, frame_ms=20.0, is_right=True),
    ]

    figures = figures_of("m-1", said)

    assert (figures.looks, figures.failed, figures.unknown, figures.wrong, figures.right) == (5, 1, 1, 2, 1)
    assert figures.confidence == pytest.approx(0.6)
    assert (figures.frame_ms, figures.slow_frame_ms) == (15.0, 40.0)
    assert figures.flag_rate == pytest.approx(0.4)
    assert figures_of("m-1", []).flag_rate == 0


def test_only_looks_of_both_are_compared() -> None:
    both = pair(answers(3), answers(5))

    assert (both.looks, both.champion.looks, both.challenger.looks, both.agreed) == (3, 3, 3, 3)


def test_a_challenger_as_good_as_the_champion_is_promoted_once_it_was_shown_enough() -> None:
    assert judged(pair(answers(19), answers(19)), RULES, tried_for_hours=1).outcome is Outcome.WAIT
    assert judged(pair(answers(20), answers(20)), RULES, tried_for_hours=1).outcome is Outcome.PROMOTE


def test_a_challenger_that_is_never_shown_enough_is_given_up() -> None:
    verdict = judged(pair(answers(19), answers(19)), RULES, tried_for_hours=169)

    assert verdict.outcome is Outcome.DROP
    assert verdict.why == "In 168 hours it was shown 19 looks; 20 are needed."


@pytest.mark.parametrize(
    ("challenger", "why"),
    [
        (answers(17) + answers(20, game="doom")[17:], "85% of the time; 90% are needed"),
        (answers(20, confidence=0.8), "less sure than m-1: 80% on average instead of 90%"),
        (answers(20, frame_ms=16.0), "slower than m-1: 16.0 ms a frame instead of 10.0"),
        (answers(19) + answers(20, game="doom", is_right=False)[19:], "call 1 of its answers at 20 looks wrong"),
        (answers(19) + answers(20, game=None)[19:], "failed at 1 of 20 looks"),
    ],
)
def test_what_speaks_against_a_challenger_is_said(challenger: list[ModelAnswer], why: str) -> None:
    verdict = judged(pair(answers(20), challenger), RULES, tried_for_hours=1)

    assert verdict.outcome is Outcome.DROP
    assert why in verdict.why


def test_who_fails_again_and_again_is_given_up_at_once() -> None:
    assert judged(pair(answers(3), answers(3, game=None)), RULES, tried_for_hours=0).outcome is Outcome.DROP
    assert judged(pair(answers(2), answers(2, game=None)), RULES, tried_for_hours=0).outcome is Outcome.WAIT


def test_a_better_challenger_that_people_put_right_is_promoted_though_it_disagrees() -> None:
    champion = answers(10) + answers(20, game="doom", is_right=False)[10:]
    better = answers(10) + answers(20, game="quake", is_right=True)[10:]
    merely_other = answers(10) + answers(20, game="quake")[10:]

    assert judged(pair(champion, better), RULES, tried_for_hours=1).outcome is Outcome.PROMOTE
    assert judged(pair(champion, merely_other), RULES, tried_for_hours=1).outcome is Outcome.DROP


def test_a_promoted_model_that_people_call_wrong_alarms() -> None:
    fine, flagged = answers(20), answers(17) + answers(20, is_right=False)[17:]

    assert alarm(figures_of("m-2", fine), figures_of("m-1", fine), RULES) is None
    why = alarm(figures_of("m-2", flagged), figures_of("m-1", fine), RULES)
    assert why == "People call 3 of its 20 answers wrong; of m-1 they did so of 0 of 20."
    assert alarm(figures_of("m-2", flagged), figures_of("m-1", flagged), RULES) is None
    assert alarm(figures_of("m-2", flagged[-9:]), figures_of("m-1", fine), RULES) is None


def test_a_promoted_model_that_is_slow_alarms_where_it_is_known_what_was_quick() -> None:
    slow = figures_of("m-2", answers(20, frame_ms=31.0))

    assert alarm(slow, figures_of("m-1", answers(20)), RULES) == "It takes 31.0 ms a frame; m-1 took 10.0."
    assert alarm(slow, figures_of("m-1", answers(9)), RULES) is None


made_answers = st.lists(
    st.builds(
        ModelAnswer,
        look=st.integers(0, 60).map(str),
        game=st.sampled_from([None, "", "chess", "doom"]),
        confidence=st.floats(0, 1),
        frame_ms=st.floats(0.1, 100),
        is_right=st.sampled_from([None, True, False]),
    ),
    unique_by=lambda one: one.look,
    max_size=60,
)


@given(champion=made_answers, challenger=made_answers)
def test_no_challenger_is_promoted_that_people_call_wrong_more_often(
    champion: list[ModelAnswer], challenger: list[ModelAnswer]
) -> None:
    both = pair(champion, challenger)

    assert both.agreed + both.put_right <= both.looks <= min(len(champion), len(challenger))
    assert 0 <= both.agreement <= 1
    if judged(both, RULES, tried_for_hours=0).outcome is Outcome.PROMOTE:
        assert both.looks >= RULES.looks
        assert both.challenger.wrong <= both.champion.wrong
        assert both.agreement >= RULES.agree_at_least
