"""Figures come out as worked by hand, and as scikit-learn has them where the code is our own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score, top_k_accuracy_score

from core.games import Game
from core.recognition.aggregate import GenreRule, softmax
from training.protocols import rule_of
from training.scoring.accuracy import FRAMES_PER_ANSWER, accuracy, judge, sampled, sampled_means
from training.scoring.scores import (
    NO_GAME,
    Answers,
    Novelties,
    Shown,
    concatenated,
    coverage_curve,
    declared_answers,
    frame_answers,
    kept,
    least_confidence,
    majority_answers,
    one_hot,
    refused,
    reliability,
    roc_curves,
    score,
    stream_answers,
    unknown_scores,
    unknown_threshold,
)

GAMES = tuple(Game(id=name, name=name) for name in ("chess", "doom", "go", "rust"))


def answers(truth: list[int], first: list[int], confidences: list[float], games: int = 3) -> Answers:
    return Answers(
        truth=np.array(truth), ranked=np.array(first)[:, None], confidences=np.array(confidences), games=games
    )


@st.composite
def answered(draw: st.DrawFn) -> Answers:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, games = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    logits = rng.normal(0, draw(st.sampled_from([0.1, 1.0, 5.0])), size=(count, games)).astype(np.float32)
    if draw(st.booleans()):
        logits = logits.round()
    return frame_answers(logits, labels=rng.integers(0, games, count), temperature=draw(st.floats(0.3, 3.0)))


def test_scores_worked_by_hand() -> None:
    found = score(answers([0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]))
    assert found.accuracy == 0.75
    assert (found.by_game[0].precision, found.by_game[0].recall, found.by_game[0].f1) == (1, pytest.approx(2 / 3), 0.8)
    assert (found.by_game[1].precision, found.by_game[1].recall) == (0.5, 1)
    assert found.macro_recall == pytest.approx(5 / 6)
    assert found.macro_precision == 0.75
    assert found.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert found.confusion.tolist() == [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert (found.by_game[0].shown, found.by_game[0].answered, found.count) == (3, 2, 4)


def test_a_game_that_nothing_shows_does_not_pull_the_means_down() -> None:
    assert score(answers([0, 1], [0, 1], [1, 1], games=50)).macro_f1 == 1.0


def test_the_right_game_in_third_place_counts_for_the_first_three_only() -> None:
    logits = np.array([[4, 3, 2, 1], [4, 3, 2, 1]], dtype=np.float32)
    found = score(frame_answers(logits, labels=np.array([2, 3]), temperature=1.0))
    assert (found.accuracy, found.top_3) == (0.0, 0.5)


def test_a_frame_is_as_sure_as_the_temperature_lets_it_be() -> None:
    logits = np.array([[np.log(9), 0]], dtype=np.float32)
    assert frame_answers(logits, labels=np.array([0]), temperature=1.0).confidences == pytest.approx([0.9])
    assert frame_answers(logits, labels=np.array([0]), temperature=2.0).confidences == pytest.approx([0.75])


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_shares_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(40, 5)).astype(np.float32)
    labels = np.concatenate([np.arange(5), rng.integers(0, 5, 35)])
    found = score(frame_answers(logits, labels=labels, temperature=2.0))
    assert found.accuracy == pytest.approx(accuracy_score(labels, logits.argmax(axis=1)))
    assert found.macro_recall == pytest.approx(balanced_accuracy_score(labels, logits.argmax(axis=1)))
    assert found.top_3 == pytest.approx(top_k_accuracy_score(labels, logits, k=3))


@settings(max_examples=60)
@given(answered())
def test_every_answer_stands_once_in_the_confusion(given_answers: Answers) -> None:
    found = score(given_answers)
    assert found.confusion.sum() == found.count
    assert np.trace(found.confusion) == pytest.approx(found.accuracy * found.count)
    assert found.accuracy <= found.top_3 <= 1.0


def test_a_stream_is_answered_as_the_bot_answers_it() -> None:
    logits = np.array([[3, 0, 0, 1], [0, 1, 0, 2], [5, 0, 1, 0], [0, 2, 9, 1]], dtype=np.float32)
    ids, streams = np.array(["chess", "chess", "chess", "doom"]), np.array(["a", "a", "a", "b"])
    judged = judge(logits, game_ids=ids, streams=streams, rule=rule_of(GAMES, temperature=2.0, threshold=-100.0))
    found = stream_answers(judged, games=GAMES)
    assert found.truth.tolist() == [0, 1]
    assert found.ranked.tolist() == [[0, 3, 1, 2], [2, 1, 3, 0]]
    assert found.confidences[0] == pytest.approx(softmax(logits[:3].mean(axis=0).astype(np.float64) / 2).max())
    assert score(found).top_3 == 1.0


def test_a_stream_of_a_game_that_the_network_lacks_is_no_answer_to_score() -> None:
    logits = np.zeros((1, 4), dtype=np.float32)
    judged = judge(logits, game_ids=np.array(["tetris"]), streams=np.array(["a"]), rule=rule_of(GAMES))
    with pytest.raises(ValueError, match="tetris"):
        stream_answers(judged, games=GAMES)


@pytest.mark.parametrize("truth", [[], [3], [-1]])
def test_answers_about_games_that_there_are_not_are_refused(truth: list[int]) -> None:
    with pytest.raises(ValueError, match=r"games|game that"):
        answers(truth, [0] * len(truth), [1.0] * len(truth))


def test_the_means_that_curves_are_drawn_of_are_those_that_the_bot_answers_by() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 4)).astype(np.float32)
    streams = np.array(["b"] * 20 + ["a"] * 3 + ["c"] * 37)
    ids = np.array(["chess"] * 60)
    assert [(name, len(rows)) for name, rows in sampled(streams)] == [("a", 3), ("b", 13), ("c", FRAMES_PER_ANSWER)]
    assert sampled(streams)[2][1].tolist()[0::12] == [23, 59]
    judged = judge(logits, game_ids=ids, streams=streams, rule=rule_of(GAMES))
    means = sampled_means(logits, streams=streams)
    assert [one.verdict.confidence for one in judged] == pytest.approx(softmax(means).max(axis=1).tolist())
    assert [one.stream for one in judged] == ["a", "b", "c"]


def test_the_columns_of_genres_name_no_game() -> None:
    genre = GenreRule(id="arcade", name="arcade", threshold=0.5)
    rule = dataclasses.replace(rule_of(GAMES[:2]), genres=(genre,))
    logits = np.array([[1, 0, 9], [2, 0, 9]], dtype=np.float32)
    found = accuracy(logits, game_ids=np.array(["chess", "chess"]), streams=np.array(["a", "a"]), rule=rule)
    assert (found.frames_right, found.streams_right) == (1.0, 1.0)


def test_answers_of_several_networks_are_put_together_by_the_places_that_all_have() -> None:
    one = frame_answers(np.eye(3, dtype=np.float32), labels=np.array([0, 1, 2]), temperature=1.0)
    other = answers([2], [1], [0.5])
    found = concatenated([one, other])
    assert found.ranked.tolist() == [[0], [1], [2], [1]]
    assert score(found).accuracy == 0.75


def test_the_majority_is_of_what_was_trained_on_and_not_of_what_is_asked() -> None:
    found = majority_answers(np.array([1, 1, 1, 2]), labels=np.array([2, 2, 1]), games=3)
    assert found.ranked[0].tolist() == [1, 2, 0]
    assert found.confidences.tolist() == [0.75] * 3
    assert score(found).accuracy == pytest.approx(1 / 3)


def test_a_category_that_is_none_of_the_games_is_a_wrong_answer_of_its_own_column() -> None:
    found = score(declared_answers(np.array([0, 1, NO_GAME]), labels=np.array([0, 0, 1]), games=2))
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 1]]


def test_calibration_error_worked_by_hand() -> None:
    found = reliability(answers([0, 0, 0, 0], [0, 1, 0, 0], [0.6, 0.8, 0.9, 1.0]), bins=2)
    # All in the upper half: 3 of 4 are right, 0.825 sure.
    assert found.ece == pytest.approx(0.075)
    assert [one.count for one in found.bins] == [0, 4]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    found = reliability(answers([0, 0], [0, 0], [0.5, 0.0]), bins=2)
    assert [one.count for one in found.bins] == [2, 0]


@settings(max_examples=60)
@given(answered())
def test_reliability_is_that_of_scikit_learn(given_answers: Answers) -> None:
    found = reliability(given_answers)
    right, confident = calibration_curve(given_answers.right, given_answers.confidences, n_bins=15, pos_label=True)
    filled = [one for one in found.bins if one.count]
    assert [one.accuracy for one in filled] == pytest.approx(right.tolist())
    assert [one.confidence for one in filled] == pytest.approx(confident.tolist())
    assert 0 <= found.ece <= 1
    assert sum(one.count for one in found.bins) == len(given_answers.truth)


def test_answers_as_sure_as_they_are_right_have_no_calibration_error() -> None:
    assert reliability(answers([0] * 4, [0, 0, 0, 1], [0.75] * 4)).ece == 0.0


def test_coverage_worked_by_hand() -> None:
    curve = coverage_curve(answers([0, 0, 0, 0], [0, 1, 0, 0], [0.9, 0.5, 0.7, 0.7]))
    assert curve.confidences.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.accuracy.tolist() == [1.0, 1.0, 0.75]


@settings(max_examples=60)
@given(answered())
def test_every_point_of_the_curve_is_what_its_confidence_lets_pass(given_answers: Answers) -> None:
    curve = coverage_curve(given_answers)
    for confidence, coverage, share in zip(curve.confidences, curve.coverage, curve.accuracy, strict=True):
        passed = kept(given_answers, threshold=confidence)
        assert (passed.coverage, passed.accuracy) == (pytest.approx(coverage), pytest.approx(share))
    assert curve.coverage[-1] == 1.0
    assert curve.accuracy[-1] == pytest.approx(score(given_answers).accuracy)


def test_the_least_confidence_is_searched_on_validation_and_only_told_of_test() -> None:
    validation = answers([0, 0, 0, 0], [0, 0, 1, 1], [0.9, 0.8, 0.7, 0.6])
    test = answers([0, 0, 0, 0], [0, 1, 0, 0], [0.95, 0.85, 0.3, 0.2])
    found = least_confidence(validation, test, accuracy=1.0)
    assert found.threshold == 0.8
    assert (found.on_validation.coverage, found.on_validation.accuracy) == (0.5, 1.0)
    assert (found.on_test.coverage, found.on_test.accuracy) == (0.5, 0.5)


def test_where_no_confidence_is_enough_nothing_passes() -> None:
    wrong = answers([0], [1], [0.9])
    found = least_confidence(wrong, wrong, accuracy=0.5)
    assert (found.on_test.coverage, found.on_test.accuracy) == (0.0, 1.0)


def test_a_curve_of_each_class_against_the_rest() -> None:
    labels = np.array([0, 0, 1, 1])
    chances = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0]])
    first, second, third = roc_curves(chances, truth=one_hot(labels, games=3))
    assert first is not None
    assert second is not None
    assert first.area == second.area == 0.75
    assert (first.false_positives[0], first.true_positives[-1]) == (0.0, 1.0)
    assert third is None


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_the_area_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, 30)])
    chances = softmax(rng.normal(size=(33, 3)))
    areas = [curve.area for curve in roc_curves(chances, truth=one_hot(labels, games=3)) if curve]
    assert np.mean(areas) == pytest.approx(roc_auc_score(labels, chances, multi_class="ovr"))


def test_strange_games_are_told_from_known_ones_and_near_ones_less_well() -> None:
    known = Shown(
        logits=np.array([[9, 0, 0, 0], [7, 0, 0, 0], [0, 4, 0, 0]], dtype=np.float32),
        game_ids=np.array(["chess", "chess", "doom"]),
        streams=np.array(["a", "a", "b"]),
    )
    unknown = Shown(
        logits=np.array([[1, 1, 0, 0], [0, 6, 0, 0]], dtype=np.float32),
        game_ids=np.array(["tetris", "quake"]),
        streams=np.array(["c", "d"]),
    )
    found = unknown_scores(known, unknown, rule=rule_of(GAMES))
    assert found.stream_auroc_of_games == {"quake": 0.5, "tetris": 1.0}
    assert found.stream_auroc == 0.75
    assert found.frame_auroc == pytest.approx(5 / 6)
    assert found.of_streams.known.tolist() == [-8.0, -4.0]
    assert [(one.stream, one.verdict.novelty) for one in found.judged] == [("c", -1.0), ("d", -6.0)]


def test_the_unknown_threshold_is_searched_on_validation_and_only_told_of_test() -> None:
    validation = Novelties(known=np.array([1.0, 2.0, 5.0]), unknown=np.array([4.0, 6.0]))
    test = Novelties(known=np.array([2.0, 3.5]), unknown=np.array([2.5, 9.0]))
    found = unknown_threshold(validation, test)
    assert found.threshold == 3.0
    assert (found.on_validation.known, found.on_validation.unknown) == (pytest.approx(1 / 3), 1.0)
    assert (found.on_test.known, found.on_test.unknown) == (0.5, 0.5)


@settings(max_examples=60)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20), st.lists(st.integers(-9, 9), min_size=1, max_size=20))
def test_no_other_threshold_is_better_on_validation(known: list[int], unknown: list[int]) -> None:
    novelties = Novelties(known=np.array(known, dtype=float), unknown=np.array(unknown, dtype=float))
    found = unknown_threshold(novelties, novelties).on_validation
    others = [refused(novelties, threshold=at / 2) for at in range(-20, 20)]
    assert found.unknown - found.known == pytest.approx(max(0.0, *(one.unknown - one.known for one in others)))
