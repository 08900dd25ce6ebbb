"""What was answered -> the figures that are saved, printed and drawn; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.scoring.figures import (
    AnswerFigures,
    BinFigures,
    ClassFigures,
    CoverageFigures,
    GenreClassFigures,
    GenreFigures,
    RocFigures,
    ScoreFigures,
)
from training.scoring.genre_scores import score_genres
from training.scoring.scores import coverage_curve, one_hot, reliability, roc_curves, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from core.games import Game
    from training.data.genres import Genre
    from training.scoring.genre_scores import Chances, Marks
    from training.scoring.scores import Answers, CoverageCurve, RocCurve, Scores

_POINTS = 40
"""Of a curve: more would not be seen in a picture."""
_DIGITS = 5


def score_figures(scores: Scores) -> ScoreFigures:
    """How often answers are right, and no more."""
    return ScoreFigures(
        count=scores.count,
        accuracy=scores.accuracy,
        top_3=scores.top_3,
        macro_precision=scores.macro_precision,
        macro_recall=scores.macro_recall,
        macro_f1=scores.macro_f1,
    )


def answer_figures(
    answers: Answers, *, uncalibrated: Answers, chances: npt.NDArray[np.float64], games: Sequence[Game]
) -> AnswerFigures:
    """All that is told of answers.

    Args:
        answers: with calibrated confidences.
        uncalibrated: the same answers with the confidences of temperature 1.
        chances: float64[n, games], of each game, for the curves.
        games: in the order of their numbers.
    """
    scores, calibrated = score(answers), reliability(answers)
    curves = roc_curves(chances, truth=one_hot(answers.truth, games=len(games)))
    return AnswerFigures(
        **score_figures(scores).model_dump(),
        ece=calibrated.ece,
        ece_uncalibrated=reliability(uncalibrated).ece,
        bins=tuple(
            BinFigures(
                over=one.over, up_to=one.up_to, count=one.count, confidence=one.confidence, accuracy=one.accuracy
            )
            for one in calibrated.bins
        ),
        coverage=_coverage(coverage_curve(answers)),
        roc=_roc(curves, [game.id for game in games]),
        games=tuple(
            ClassFigures(
                id=game.id,
                precision=one.precision,
                recall=one.recall,
                f1=one.f1,
                shown=one.shown,
                answered=one.answered,
            )
            for game, one in zip(games, scores.by_game, strict=True)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in scores.confusion),
    )


def genre_figures(
    chances: Chances, *, truth: Marks, thresholds: Chances, genres: Sequence[Genre], trained_on: Marks
) -> GenreFigures:
    """All that is told of genres; arguments as of `genre_scores.score_genres`."""
    found = score_genres(chances, truth=truth, thresholds=thresholds, genres=genres, trained_on=trained_on)
    return GenreFigures(
        count=len(chances),
        hamming_loss=found.hamming_loss,
        exact=found.exact,
        precision=found.precision,
        recall=found.recall,
        macro_f1=found.macro_f1,
        top_class=found.top_class,
        null_hamming_none=found.null.hamming_loss_of_none,
        null_hamming_usual=found.null.hamming_loss_of_usual,
        null_top_class=found.null.top_class,
        genres=tuple(
            GenreClassFigures(
                id=one.genre.id,
                name=one.genre.name,
                threshold=one.threshold,
                precision=one.precision,
                recall=one.recall,
                f1=one.f1,
                shown=one.shown,
                answered=one.answered,
            )
            for one in found.by_genre
        ),
        roc=_roc(roc_curves(chances, truth=truth), [genre.id for genre in genres]),
    )


def _coverage(curve: CoverageCurve) -> tuple[CoverageFigures, ...]:
    # Evenly over the coverage: nine of ten answers are nearly equally sure.
    wanted = np.linspace(0.0, 1.0, _POINTS)
    places = np.unique(np.minimum(np.searchsorted(curve.coverage, wanted), len(curve.coverage) - 1))
    return tuple(
        CoverageFigures(
            confidence=round(float(curve.confidences[place]), _DIGITS),
            coverage=round(float(curve.coverage[place]), _DIGITS),
            accuracy=round(float(curve.accuracy[place]), _DIGITS),
        )
        for place in places
    )


def _roc(curves: Sequence[RocCurve | None], ids: Sequence[str]) -> tuple[RocFigures, ...]:
    found = []
    for name, curve in zip(ids, curves, strict=True):
        if curve is None:
            continue
        last = len(curve.false_positives) - 1
        places = np.unique(np.linspace(0, last, min(_POINTS, last + 1)).round().astype(int))
        found.append(
            RocFigures(
                id=name,
                area=curve.area,
                false_positives=tuple(round(float(one), _DIGITS) for one in curve.false_positives[places]),
                true_positives=tuple(round(float(one), _DIGITS) for one in curve.true_positives[places]),
            )
        )
    return tuple(found)
