"""How good a head is that answers several genres at once, and the thresholds it answers by; pure.

Thresholds are chosen on validation; everything of the test streams is only told. ROC curves of genres are those of
`scores.roc_curves`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.metrics import hamming_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.data.genres import Genre

Chances: TypeAlias = npt.NDArray[np.float64]
"""float64[n, genres], 0 to 1 each by itself: the head's sigmoids."""

Marks: TypeAlias = npt.NDArray[np.bool_]
"""bool[n, genres]: which genres a frame, or a stream, has."""

_CANDIDATES = np.arange(101) / 100
_MIDDLE = 0.5


class ThresholdGoal(StrEnum):
    """What a genre's threshold is best at, on validation."""

    WORTH_SAYING = "worth_saying"
    """As F1, among the thresholds whose answers are right as often as wrong at least. F1 alone answers a genre that the
    network cannot see to nearly everything, as that is then its best (Lipton et al., section 5)."""
    F1 = "f1"
    """Finds rare genres: the harmonic mean of precision and recall."""
    HAMMING = "hamming"
    """Fewest wrong marks; of a rare genre that often means never to answer it."""


def choose_thresholds(chances: Chances, *, truth: Marks, goal: ThresholdGoal = ThresholdGoal.WORTH_SAYING) -> Chances:
    """float64[genres]: for each genre by itself the best of 0, 0.01 … 1, of equally good ones the nearest to 0.5.

    Macro F1 and Hamming loss are both means over genres, so that the best for each is the best for all (Lipton et al.,
    "Optimal Thresholding of Classifiers to Maximize F1 Measure", ECML 2014). A genre that validation never
    shows has nothing to choose by: unless for Hamming loss it gets 0.5. One that is not worth saying at any threshold
    gets 1, which no sigmoid reaches.

    Args:
        chances: float64[n, genres], of validation frames or streams.
        truth: bool[n, genres].
        goal: what is best.
    """
    # One candidate at a time: all at once would be 101 copies of what may be many frames.
    hits = np.array([((chances >= candidate) & truth).sum(axis=0) for candidate in _CANDIDATES])
    wrong = np.array([((chances >= candidate) ^ truth).sum(axis=0) for candidate in _CANDIDATES])
    # F1 = 2 hits / (2 hits + wrong); worth[candidates, genres].
    worth = -wrong if goal is ThresholdGoal.HAMMING else 2 * hits / np.maximum(2 * hits + wrong, 1)
    if goal is ThresholdGoal.WORTH_SAYING:
        said = np.array([(chances >= candidate).sum(axis=0) for candidate in _CANDIDATES])
        is_worth = (2 * hits >= said) & (hits > 0) | ~truth.any(axis=0)
        # Above all that is not, and below all that is: where nothing is worth saying, the last candidate is.
        worth = np.where(is_worth, worth, -1.0)
        worth[-1] = np.where(is_worth.any(axis=0), worth[-1], 0.0)
    by_nearness = np.argsort(np.abs(_CANDIDATES - _MIDDLE), kind="stable")
    return np.asarray(_CANDIDATES[by_nearness[worth[by_nearness].argmax(axis=0)]], dtype=np.float64)


def answer(chances: Chances, *, thresholds: Chances) -> Marks:
    """bool[n, genres]: the genres whose chance reaches their threshold; may be none."""
    return np.asarray(chances >= thresholds, dtype=np.bool_)


@dataclass(frozen=True, kw_only=True, slots=True)
class GenreScore:
    """One genre, on the streams or frames that were tested.

    Attributes:
        threshold: the mean of them, where they differ.
    """

    genre: Genre
    threshold: float
    precision: float
    recall: float
    f1: float
    shown: int
    answered: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NullGenres:
    """What answering without looking comes to, on what was tested.

    Attributes:
        hamming_loss_of_none: of never answering any genre, which few right ones among many make low.
        hamming_loss_of_usual: of always answering the genres that more than half of the training set has.
        top_class: of always answering the genre that most of the training set has.
    """

    hamming_loss_of_none: float
    hamming_loss_of_usual: float
    top_class: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GenreScores:
    """How right the genres are, all shares 0 to 1.

    Attributes:
        hamming_loss: share of all marks (n · genres) that is wrong.
        exact: share with all genres right and no other.
        precision: mean over frames of the share of answered genres that is right; 0 where none is answered.
        recall: mean over frames of the share of the right genres that is answered.
        macro_f1: mean over the genres that are shown at all.
        top_class: share whose likeliest genre is one of the right ones.
        by_genre: in the head's order.
        null: hamming loss and top class of answers that look at no picture.
    """

    hamming_loss: float
    exact: float
    precision: float
    recall: float
    macro_f1: float
    top_class: float
    by_genre: tuple[GenreScore, ...]
    null: NullGenres


def score_genres(
    chances: Chances, *, truth: Marks, thresholds: Chances, genres: Sequence[Genre], trained_on: Marks
) -> GenreScores:
    """Figures as scikit-learn defines them (`hamming_loss`, `precision_recall_fscore_support`).

    Args:
        chances: float64[n, genres], of test frames or streams.
        truth: bool[n, genres].
        thresholds: float64[genres], chosen on validation; or float64[n, genres], where not all are of one network.
        genres: the head's.
        trained_on: bool[any, genres]: of the training frames or streams, for the null model.
    """
    columns = (len(genres),)
    fits = thresholds.shape in {columns, chances.shape}
    if not len(chances) or chances.shape != truth.shape or chances.shape[1:] != columns or not fits:
        raise ValueError(f"{chances.shape} chances, {truth.shape} marks, {len(genres)} genres")
    of_genre = np.atleast_2d(thresholds).mean(axis=0)
    answered = answer(chances, thresholds=thresholds)
    # By hand: of a single genre scikit-learn would make two classes.
    precision, recall, f1 = _precision_recall_f1(truth, answered, axis=0)
    by_sample = _precision_recall_f1(truth, answered, axis=1)
    shown = truth.sum(axis=0)
    is_shown = shown > 0
    return GenreScores(
        hamming_loss=float(hamming_loss(truth, answered)),
        exact=float((truth == answered).all(axis=1).mean()),
        precision=float(by_sample[0].mean()),
        recall=float(by_sample[1].mean()),
        macro_f1=float(f1[is_shown].mean()) if is_shown.any() else 0.0,
        top_class=top_class(chances, truth=truth),
        by_genre=tuple(
            GenreScore(
                genre=genre,
                threshold=float(of_genre[place]),
                precision=float(precision[place]),
                recall=float(recall[place]),
                f1=float(f1[place]),
                shown=int(shown[place]),
                answered=int(answered[:, place].sum()),
            )
            for place, genre in enumerate(genres)
        ),
        null=_null(truth, trained_on),
    )


def top_class(chances: Chances, *, truth: Marks) -> float:
    """Share whose likeliest genre is one of the right ones; of equally likely ones the first counts."""
    return float(truth[np.arange(len(truth)), chances.argmax(axis=1)].mean())


def _precision_recall_f1(truth: Marks, answered: Marks, *, axis: int) -> tuple[Chances, Chances, Chances]:
    """As scikit-learn's `precision_recall_fscore_support` with `zero_division=0`."""
    hits = (truth & answered).sum(axis=axis)
    right, said = truth.sum(axis=axis), answered.sum(axis=axis)
    return hits / np.maximum(said, 1), hits / np.maximum(right, 1), 2 * hits / np.maximum(said + right, 1)


def _null(truth: Marks, trained_on: Marks) -> NullGenres:
    usual = trained_on.mean(axis=0)
    return NullGenres(
        hamming_loss_of_none=float(hamming_loss(truth, np.zeros_like(truth))),
        hamming_loss_of_usual=float(hamming_loss(truth, np.tile(usual > _MIDDLE, (len(truth), 1)))),
        top_class=top_class(np.tile(usual, (len(truth), 1)), truth=truth),
    )
