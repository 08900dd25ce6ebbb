"""Figures say what the answers say; what is thinned out keeps its ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.games import Game
from core.recognition.aggregate import softmax
from training.data.genres import Genre
from training.scoring.figures import AnswerFigures
from training.scoring.scores import frame_answers, kept, one_hot, reliability, roc_curves, score
from training.scoring.summary import answer_figures, genre_figures

GAMES = tuple(Game(id=name, name=name) for name in ("chess", "doom", "go"))


def drawn(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), rng.integers(0, 3, count - 3)])
    logits = rng.normal(size=(count, 3)) + 2 * np.eye(3)[labels]
    return logits.astype(np.float32), labels


def summed_up(logits: np.ndarray, labels: np.ndarray, temperature: float = 2.0) -> AnswerFigures:
    return answer_figures(
        frame_answers(logits, labels=labels, temperature=temperature),
        uncalibrated=frame_answers(logits, labels=labels, temperature=1.0),
        chances=softmax(logits.astype(np.float64) / temperature),
        games=GAMES,
    )


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_figures_are_those_of_the_answers(seed: int) -> None:
    logits, labels = drawn(seed)
    found, answers = summed_up(logits, labels), frame_answers(logits, labels=labels, temperature=2.0)
    scores = score(answers)
    assert (found.accuracy, found.macro_f1, found.count) == (scores.accuracy, scores.macro_f1, 300)
    assert found.ece == reliability(answers).ece
    assert found.ece_uncalibrated == reliability(frame_answers(logits, labels=labels, temperature=1.0)).ece
    assert sum(one.count for one in found.bins) == 300
    assert [one.recall for one in found.games] == [one.recall for one in scores.by_game]
    assert np.array(found.confusion).sum() == 300
    chances = softmax(logits.astype(np.float64) / 2.0)
    areas = [curve.area for curve in roc_curves(chances, truth=one_hot(labels, games=3)) if curve is not None]
    assert [one.area for one in found.roc] == areas


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_thinned_curves_keep_their_ends_and_their_points(seed: int) -> None:
    logits, labels = drawn(seed)
    found, answers = summed_up(logits, labels), frame_answers(logits, labels=labels, temperature=2.0)
    assert len(found.coverage) <= 40
    assert (found.coverage[-1].coverage, found.coverage[-1].accuracy) == (1.0, pytest.approx(found.accuracy, abs=1e-5))
    for point in found.coverage:
        passed = kept(answers, threshold=point.confidence - 6e-6)
        assert passed.coverage == pytest.approx(point.coverage, abs=0.02)
    for curve in found.roc:
        assert len(curve.false_positives) == len(curve.true_positives) <= 40
        assert (curve.false_positives[0], curve.true_positives[0]) == (0.0, 0.0)
        assert (curve.false_positives[-1], curve.true_positives[-1]) == (1.0, 1.0)


def test_a_game_that_nothing_shows_has_no_curve() -> None:
    found = summed_up(np.eye(3, dtype=np.float32)[[0, 1]], np.array([0, 1]))
    assert [one.id for one in found.roc] == ["chess", "doom"]
    assert found.games[2].shown == 0


def test_genres_come_with_their_names_and_curves() -> None:
    genres = [Genre(id="arcade", name="Arcade"), Genre(id="puzzle", name="Puzzle")]
    truth = np.array([[True, False], [True, True], [False, True]])
    found = genre_figures(
        truth * 0.9, truth=truth, thresholds=np.full(2, 0.5), genres=genres, trained_on=np.array([[True, False]])
    )
    assert (found.count, found.exact, found.macro_f1, found.hamming_loss) == (3, 1.0, 1.0, 0.0)
    assert found.null_top_class == pytest.approx(2 / 3)
    assert [(one.name, one.shown) for one in found.genres] == [("Arcade", 2), ("Puzzle", 2)]
    assert [one.area for one in found.roc] == [1.0, 1.0]
