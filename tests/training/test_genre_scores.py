"""Genres are scored as worked by hand, and thresholds come from validation alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_recall_fscore_support

from training.data.genres import Genre
from training.scoring.genre_scores import ThresholdGoal, answer, choose_thresholds, score_genres, top_class

GENRES = tuple(Genre(id=name, name=name) for name in ("puzzle", "racing", "shooter"))
TRUTH = np.array([[1, 0, 1], [0, 1, 0]], dtype=bool)
CHANCES = np.array([[0.9, 0.6, 0.2], [0.1, 0.7, 0.8]])
HALF = np.full(3, 0.5)


def test_scores_worked_by_hand() -> None:
    found = score_genres(CHANCES, truth=TRUTH, thresholds=HALF, genres=GENRES, trained_on=TRUTH)
    # Answered: puzzle and racing; racing and shooter. Wrong marks: racing, shooter; shooter.
    assert found.hamming_loss == pytest.approx(3 / 6)
    assert found.exact == 0.0
    assert found.precision == 0.5
    assert found.recall == 0.75
    assert found.top_class == 0.5
    assert [one.f1 for one in found.by_genre] == [1.0, pytest.approx(2 / 3), 0.0]
    assert found.macro_f1 == pytest.approx(5 / 9)
    assert [(one.shown, one.answered) for one in found.by_genre] == [(1, 1), (1, 2), (1, 1)]


def test_null_models_look_at_the_training_set_and_at_no_picture() -> None:
    trained_on = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1]], dtype=bool)
    truth = np.array([[0, 1, 0], [1, 1, 0]], dtype=bool)
    null = score_genres(CHANCES, truth=truth, thresholds=HALF, genres=GENRES, trained_on=trained_on).null
    assert null.hamming_loss_of_none == pytest.approx(3 / 6)
    # Usual: puzzle and racing, as two of three have them; wrong once, puzzle of the first.
    assert null.hamming_loss_of_usual == pytest.approx(1 / 6)
    assert null.top_class == 1.0


def test_a_genre_that_nothing_shows_does_not_pull_the_mean_down() -> None:
    truth = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    chances = np.array([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1]])
    found = score_genres(chances, truth=truth, thresholds=HALF, genres=GENRES, trained_on=truth)
    assert (found.macro_f1, found.hamming_loss, found.exact) == (1.0, 0.0, 1.0)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_shares_are_those_of_scikit_learn(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth, chances = rng.random((count, 3)) < 0.4, rng.random((count, 3))
    thresholds = rng.random((count, 3)) if seed % 2 else rng.random(3)
    found = score_genres(chances, truth=truth, thresholds=thresholds, genres=GENRES, trained_on=truth)
    answered = chances >= thresholds
    by_sample = precision_recall_fscore_support(truth, answered, average="samples", zero_division=0.0)
    by_genre = precision_recall_fscore_support(truth, answered, average=None, zero_division=0.0)
    assert (found.precision, found.recall) == (pytest.approx(by_sample[0]), pytest.approx(by_sample[1]))
    assert [one.precision for one in found.by_genre] == pytest.approx(by_genre[0].tolist())
    assert [one.f1 for one in found.by_genre] == pytest.approx(by_genre[2].tolist())
    assert found.exact == pytest.approx(accuracy_score(truth, answered))
    assert found.hamming_loss == pytest.approx(hamming_loss(truth, answered))


def test_a_single_genre_is_scored_as_one_of_many() -> None:
    truth, chances = np.array([[True], [False], [True]]), np.array([[0.9], [0.8], [0.1]])
    found = score_genres(chances, truth=truth, thresholds=np.full(1, 0.5), genres=GENRES[:1], trained_on=truth)
    (one,) = found.by_genre
    assert (one.precision, one.recall, one.shown, one.answered) == (0.5, 0.5, 2, 2)
    assert found.precision == pytest.approx(1 / 3)


def test_thresholds_may_differ_where_the_networks_do() -> None:
    of_networks = np.array([[0.5, 0.65, 0.1], [0.5, 0.65, 0.9]])
    found = score_genres(CHANCES, truth=TRUTH, thresholds=of_networks, genres=GENRES, trained_on=TRUTH)
    assert found.exact == 1.0
    assert found.by_genre[2].threshold == 0.5


def test_thresholds_of_another_number_of_genres_are_refused() -> None:
    with pytest.raises(ValueError, match="3 genres"):
        score_genres(CHANCES, truth=TRUTH, thresholds=np.full(2, 0.5), genres=GENRES, trained_on=TRUTH)


def test_a_threshold_lies_where_it_parts_a_genre_from_the_others_and_nearest_to_the_middle() -> None:
    chances = np.array([[0.9, 0.2], [0.8, 0.3], [0.7, 0.05], [0.1, 0.1]])
    truth = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], dtype=bool)
    assert choose_thresholds(chances, truth=truth).tolist() == [0.71, 0.2]


def test_a_genre_that_validation_never_shows_keeps_the_middle() -> None:
    assert choose_thresholds(np.array([[0.9], [0.2]]), truth=np.zeros((2, 1), dtype=bool)).tolist() == [0.5]


def test_a_genre_that_the_network_cannot_see_is_not_said_of_everything() -> None:
    # Rather less likely where it is: F1 is best when all are answered, one in four rightly.
    chances = np.array([[0.1], [0.2], [0.3], [0.4]])
    truth = np.array([[1], [0], [0], [0]], dtype=bool)
    assert answer(chances, thresholds=choose_thresholds(chances, truth=truth, goal=ThresholdGoal.F1)).all()
    assert choose_thresholds(chances, truth=truth).tolist() == [1.0]


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_what_is_worth_saying_is_right_as_often_as_wrong_at_least(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth, chances = rng.random((count, 2)) < 0.4, np.clip(rng.random((count, 2)), 0, 0.999)
    thresholds = choose_thresholds(chances, truth=truth)
    said = answer(chances, thresholds=thresholds)
    for at in range(2):
        if truth[:, at].any():
            assert 2 * (said & truth)[:, at].sum() >= said[:, at].sum()
            if not said[:, at].any():
                assert thresholds[at] == 1.0


def test_the_goal_decides_whether_a_rare_genre_is_ever_answered() -> None:
    chances = np.array([[0.6], [0.6], [0.6], [0.1]])
    truth = np.array([[1], [0], [0], [0]], dtype=bool)
    by_f1 = choose_thresholds(chances, truth=truth, goal=ThresholdGoal.F1)
    by_hamming = choose_thresholds(chances, truth=truth, goal=ThresholdGoal.HAMMING)
    assert answer(chances, thresholds=by_f1)[0, 0]
    assert not answer(chances, thresholds=by_hamming).any()


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 3))
def test_no_other_common_threshold_is_better_on_validation(seed: int, count: int, genres: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((count, genres)) < 0.4
    chances = np.clip(0.3 * truth + rng.random((count, genres)) * 0.7, 0, 1)

    def macro_f1(thresholds: np.ndarray) -> float:
        answered = answer(chances, thresholds=thresholds)
        return float(np.mean([f1_score(truth[:, at], answered[:, at], zero_division=0.0) for at in range(genres)]))

    def loss(thresholds: np.ndarray) -> float:
        return float(hamming_loss(truth, answer(chances, thresholds=thresholds)))

    by_f1 = choose_thresholds(chances, truth=truth, goal=ThresholdGoal.F1)
    by_hamming = choose_thresholds(chances, truth=truth, goal=ThresholdGoal.HAMMING)
    for at in range(0, 101, 5):
        common = np.full(genres, at / 100)
        assert macro_f1(by_f1) >= macro_f1(common) - 1e-12
        assert loss(by_hamming) <= loss(common) + 1e-12


def test_of_equally_likely_genres_the_first_is_the_top_class() -> None:
    assert top_class(np.array([[0.5, 0.5, 0.1]]), truth=np.array([[False, True, False]])) == 0.0
