from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.games import UNKNOWN, Game
from core.recognition.aggregate import AnswerRule, GenreRule, Logits, NoveltyScore, aggregate, sigmoid

LABELS = tuple(Game(id=name.lower(), name=name) for name in ("Doom", "Chess", "Pingus"))
RULE = AnswerRule(
    labels=LABELS, temperature=1.0, novelty_score=NoveltyScore.MAX_LOGIT, unknown_threshold=math.inf, model="m1"
)

finite_logits = arrays(
    np.float32,
    st.tuples(st.integers(1, 15), st.just(3)),
    elements=st.floats(-50, 50, width=32, allow_subnormal=False),
)


def logits(*rows: tuple[float, float, float]) -> Logits:
    return np.array(rows, dtype=np.float32)


def test_the_game_of_the_highest_mean_logit_is_the_answer() -> None:
    verdict = aggregate(logits((4, 0, 0), (5, 1, 0), (0, 2, 0)), at_s=[0, 2, 4], rule=RULE)

    assert verdict.game == LABELS[0]
    assert verdict.votes == 2
    assert [frame.game.name for frame in verdict.frames] == ["Doom", "Doom", "Chess"]
    assert [frame.at_s for frame in verdict.frames] == [0, 2, 4]
    assert verdict.model == "m1"


def test_the_score_is_the_highest_sum_of_logits_over_the_number_of_frames() -> None:
    verdict = aggregate(logits((4, 0, 0), (5, 1, 0)), at_s=[0, 2], rule=RULE)

    assert verdict.score == pytest.approx(4.5)


def test_the_confidence_is_the_softmax_of_the_mean_logits_at_the_temperature() -> None:
    verdict = aggregate(logits((2, 0, 0)), at_s=[0], rule=replace(RULE, temperature=2.0))

    assert verdict.confidence == pytest.approx(math.e / (math.e + 2))
    assert verdict.frames[0].confidence == pytest.approx(verdict.confidence)


def test_more_frames_of_the_same_look_make_the_answer_no_surer() -> None:
    one = aggregate(logits((2, 0, 0)), at_s=[0], rule=RULE)
    many = aggregate(logits(*[(2, 0, 0)] * 13), at_s=list(range(13)), rule=RULE)

    assert many.confidence == pytest.approx(one.confidence)


@pytest.mark.parametrize("score", list(NoveltyScore))
def test_what_is_strange_by_the_models_own_measure_is_answered_as_unknown(score: NoveltyScore) -> None:
    strange, familiar = logits((0.5, 0.4, 0.3)), logits((9, 0, 0))
    rule = replace(RULE, novelty_score=score)
    threshold = (aggregate(strange, at_s=[0], rule=rule).novelty + aggregate(familiar, at_s=[0], rule=rule).novelty) / 2
    rule = replace(rule, unknown_threshold=threshold)

    assert aggregate(strange, at_s=[0], rule=rule).game == UNKNOWN
    assert aggregate(strange, at_s=[0], rule=rule).best.game == LABELS[0]
    assert aggregate(familiar, at_s=[0], rule=rule).game == LABELS[0]


def test_every_game_has_its_likelihood() -> None:
    labels = tuple(Game(id=name, name=name) for name in "abcdef")
    rule = replace(RULE, labels=labels)
    verdict = aggregate(np.array([[1, 6, 2, 5, 3, 4]], dtype=np.float32), at_s=[0.0], rule=rule)
    assert [one.game.id for one in (verdict.best, *verdict.runners_up)] == ["b", "d", "f", "e", "c", "a"]


@given(values=finite_logits, temperature=st.floats(0.05, 20), score=st.sampled_from(NoveltyScore))
@settings(deadline=None)
def test_whatever_the_logits_a_verdict_is_well_formed(values: Logits, temperature: float, score: NoveltyScore) -> None:
    rule = replace(RULE, temperature=temperature, novelty_score=score, unknown_threshold=0.0)
    verdict = aggregate(values, at_s=[float(row) for row in range(len(values))], rule=rule)

    likelihoods = [verdict.best, *verdict.runners_up]
    assert math.isclose(sum(likelihood.confidence for likelihood in likelihoods), 1, abs_tol=1e-6)
    assert [item.confidence for item in likelihoods] == sorted((i.confidence for i in likelihoods), reverse=True)
    assert {likelihood.game for likelihood in likelihoods} == set(LABELS)
    assert 0 <= verdict.votes <= len(verdict.frames) == len(values)
    assert verdict.votes == sum(frame.game == verdict.best.game for frame in verdict.frames)
    assert all(0 <= frame.confidence <= 1 for frame in verdict.frames)
    assert (verdict.game == UNKNOWN) == (verdict.novelty > 0)
    assert math.isfinite(verdict.novelty)


@given(values=finite_logits, order=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_frames_does_not_change_the_answer(values: Logits, order: object) -> None:
    rows = list(range(len(values)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    at_s = [float(row) for row in range(len(values))]

    one, other = aggregate(values, at_s=at_s, rule=RULE), aggregate(values[rows], at_s=at_s, rule=RULE)

    assert one.confidence == pytest.approx(other.confidence)
    assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "at_s"),
    [
        (np.zeros((0, 3), dtype=np.float32), []),
        (np.zeros((2, 3), dtype=np.float32), [0.0]),
        (np.zeros((1, 4), dtype=np.float32), [0.0]),
        (np.zeros(3, dtype=np.float32), [0.0]),
        (np.full((1, 3), np.nan, dtype=np.float32), [0.0]),
        (np.full((1, 3), np.inf, dtype=np.float32), [0.0]),
    ],
)
def test_logits_that_fit_no_frames_or_labels_are_refused(values: Logits, at_s: list[float]) -> None:
    with pytest.raises(ValueError, match=r"logits for|not finite"):
        aggregate(values, at_s=at_s, rule=RULE)


GENRES = tuple(GenreRule(id=name, name=name, threshold=0.5) for name in ("platformer", "shooter", "pixel_art"))


def test_kinds_of_game_are_answered_from_their_threshold_on_the_likeliest_first() -> None:
    rule = replace(RULE, genres=GENRES)
    rows = np.array([[4, 0, 0, 1, -2, 3], [4, 0, 0, 1, -4, 1]], dtype=np.float32)

    verdict = aggregate(rows, at_s=[0, 2], rule=rule)

    assert [(genre.id, pytest.approx(genre.confidence)) for genre in verdict.genres] == [
        ("pixel_art", 1 / (1 + math.exp(-2))),
        ("platformer", 1 / (1 + math.exp(-1))),
    ]


def test_kinds_of_game_change_nothing_of_the_games() -> None:
    plain = aggregate(logits((4, 0, 0), (0, 2, 0)), at_s=[0, 2], rule=RULE)
    rows = np.array([[4, 0, 0, 99, -99, 99], [0, 2, 0, 99, -99, 99]], dtype=np.float32)

    assert replace(aggregate(rows, at_s=[0, 2], rule=replace(RULE, genres=GENRES)), genres=()) == plain
    with pytest.raises(ValueError, match="3 genres"):
        aggregate(logits((4, 0, 0)), at_s=[0], rule=replace(RULE, genres=GENRES))


@given(values=arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)), threshold=st.floats(0, 1))
def test_a_kind_of_game_is_named_exactly_when_it_is_likely_enough(values: np.ndarray, threshold: float) -> None:
    rule = replace(RULE, genres=tuple(replace(genre, threshold=threshold) for genre in GENRES))
    rows = np.concatenate([[0, 0, 0], values]).astype(np.float32)[None]

    named = aggregate(rows, at_s=[0], rule=rule).genres

    chances = dict(zip((genre.id for genre in GENRES), sigmoid(rows[0, 3:].astype(np.float64)), strict=True))
    assert {genre.id for genre in named} == {genre for genre, chance in chances.items() if chance >= threshold}
    assert [genre.confidence for genre in named] == sorted((genre.confidence for genre in named), reverse=True)
