"""Every figure that tells how good answers are, of frames and of streams, of a network and of no network; pure.

Answers come first: `frame_answers` and `stream_answers` turn logits and verdicts into a ranking and a confidence, and
so do `majority_answers` and `declared_answers`, the two null models: whatever is measured of a network is measured of
them too. What a threshold decides is searched on validation and told of the test streams, never searched on those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_curve

from core.recognition.aggregate import novelty, softmax
from training.scoring.accuracy import auroc, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.games import Game
    from core.recognition.aggregate import AnswerRule, Logits
    from training.pipeline.shards import Labels
    from training.scoring.accuracy import JudgedStream

NO_GAME = -1
"""Stands in an answer for "none of the network's games"."""

TOP = 3
RELIABILITY_BINS = 15
"""As Guo et al., ICML 2017, count their calibration error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What was answered to frames, or to streams.

    Attributes:
        truth: int64[n], the number of the game that each really shows.
        ranked: int64[n, places], likeliest first; `NO_GAME` where there is no answer.
        confidences: float64[n], 0 to 1, of the first place.
        games: how many games there are to choose from.
    """

    truth: Labels
    ranked: Labels
    confidences: npt.NDArray[np.float64]
    games: int

    def __post_init__(self) -> None:
        count = len(self.truth)
        if not count or self.ranked.ndim != 2 or len(self.ranked) != count or self.confidences.shape != (count,):
            raise ValueError(f"{self.truth.shape} games, {self.ranked.shape} answers, {self.confidences.shape} sure")
        if self.truth.min() < 0 or self.truth.max() >= self.games or self.ranked.max() >= self.games:
            raise ValueError(f"a game that is not one of {self.games}")

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """bool[n]: whether the first place is what is really shown."""
        return np.asarray(self.ranked[:, 0] == self.truth, dtype=np.bool_)


def frame_answers(logits: Logits, *, labels: Labels, temperature: float) -> Answers:
    """Each frame by itself.

    Args:
        logits: float32[n, games].
        labels: int64[n], what the frames show.
        temperature: the model's.
    """
    chances = softmax(logits.astype(np.float64) / temperature)
    # Of equal logits the first game wins, as it does in the bot.
    ranked = np.argsort(-logits.astype(np.float64), axis=1, kind="stable")
    return Answers(truth=labels, ranked=ranked, confidences=chances.max(axis=1), games=logits.shape[1])


def stream_answers(judged: Sequence[JudgedStream], *, games: Sequence[Game]) -> Answers:
    """Each stream as the bot's own `aggregate` answers it, whether it then refuses the answer or not.

    Args:
        judged: of `evaluate.judge`.
        games: of the rule that judged, in its order; all the streams show one of them.
    """
    numbers = {game.id: number for number, game in enumerate(games)}
    missing = sorted({one.game for one in judged} - set(numbers))
    if missing:
        raise ValueError(f"streams of games that the network does not know: {', '.join(missing)}")
    verdicts = [one.verdict for one in judged]
    return Answers(
        truth=np.array([numbers[one.game] for one in judged], dtype=np.int64),
        ranked=np.array(
            [[numbers[place.game.id] for place in (one.best, *one.runners_up)] for one in verdicts], dtype=np.int64
        ),
        confidences=np.array([one.confidence for one in verdicts]),
        games=len(games),
    )


def concatenated(parts: Sequence[Answers]) -> Answers:
    """Answers of several networks that choose among the same games, as one; as many places as all of them have."""
    places = min(part.ranked.shape[1] for part in parts)
    (games,) = {part.games for part in parts}
    return Answers(
        truth=np.concatenate([part.truth for part in parts]),
        ranked=np.concatenate([part.ranked[:, :places] for part in parts]),
        confidences=np.concatenate([part.confidences for part in parts]),
        games=games,
    )


def majority_answers(trained_on: Labels, *, labels: Labels, games: int) -> Answers:
    """The null model that always answers what it was shown most often, as surely as it was shown it.

    Args:
        trained_on: int64[any], the games of the training frames, or streams.
        labels: int64[n], what is really shown.
        games: how many there are.
    """
    counts = np.bincount(trained_on, minlength=games)
    ranked = np.argsort(-counts, kind="stable")
    return Answers(
        truth=labels,
        ranked=np.tile(ranked, (len(labels), 1)),
        confidences=np.full(len(labels), counts.max() / counts.sum()),
        games=games,
    )


def declared_answers(declared: Labels, *, labels: Labels, games: int) -> Answers:
    """The null model that believes the broadcaster, wholly.

    Args:
        declared: int64[n], the game of the declared category; `NO_GAME` if it is none of these.
        labels: int64[n], what is really shown.
        games: how many there are.
    """
    return Answers(
        truth=labels, ranked=declared[:, None], confidences=(declared != NO_GAME).astype(np.float64), games=games
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class GameScore:
    """One game: of what was answered so the share that is (precision), of what is so the share answered (recall)."""

    precision: float
    recall: float
    f1: float
    shown: int
    answered: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """How often answers are right, all shares 0 to 1.

    Attributes:
        accuracy: share whose first place is right.
        top_3: share with the right game among the first three places.
        macro_precision: mean over the games that are shown at all, each counting the same; so are the next two.
        by_game: in the games' order.
        confusion: int64[games, games + 1]: row really shown, column answered, the last one `NO_GAME`.
        count: of answers.
    """

    accuracy: float
    top_3: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    by_game: tuple[GameScore, ...]
    confusion: npt.NDArray[np.int64]
    count: int


def score(answers: Answers) -> Scores:
    """Accuracy, and precision, recall and F1 as scikit-learn's `precision_recall_fscore_support` defines them.

    A game that nothing shows has no recall: its row is 0 and not part of the means, as in `balanced_accuracy_score`.
    A game that is shown and never answered has precision 0.
    """
    answered = answers.ranked[:, 0]
    numbers = np.arange(answers.games)
    precision, recall, f1, shown = precision_recall_fscore_support(
        answers.truth, answered, labels=numbers, average=None, zero_division=0.0
    )
    is_shown = shown > 0
    table = confusion_matrix(answers.truth, answered, labels=[*numbers, NO_GAME])[:-1]
    return Scores(
        accuracy=float(answers.right.mean()),
        top_3=float((answers.ranked[:, :TOP] == answers.truth[:, None]).any(axis=1).mean()),
        macro_precision=float(precision[is_shown].mean()),
        macro_recall=float(recall[is_shown].mean()),
        macro_f1=float(f1[is_shown].mean()),
        by_game=tuple(
            GameScore(
                precision=float(precision[game]),
                recall=float(recall[game]),
                f1=float(f1[game]),
                shown=int(shown[game]),
                answered=int((answered == game).sum()),
            )
            for game in numbers
        ),
        confusion=np.asarray(table, dtype=np.int64),
        count=len(answers.truth),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Answers whose confidence lies above `over` and not above `up_to`; the means are 0 when there are none."""

    over: float
    up_to: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """Whether 90 % sure is right 90 times of 100.

    Attributes:
        ece: expected calibration error, 0 to 1.
    """

    ece: float
    bins: tuple[ReliabilityBin, ...]


def reliability(answers: Answers, *, bins: int = RELIABILITY_BINS) -> Reliability:
    """Σ (n_b / n) · |accuracy_b − confidence_b| over bins of equal width (Guo et al., ICML 2017, equation 3)."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    # Confidence 0 belongs to the first bin.
    of_answer = np.searchsorted(edges[1:-1], answers.confidences)
    counts = np.bincount(of_answer, minlength=bins)
    at_least_one = np.maximum(counts, 1)
    confidence = np.bincount(of_answer, weights=answers.confidences, minlength=bins) / at_least_one
    accuracy = np.bincount(of_answer, weights=answers.right, minlength=bins) / at_least_one
    return Reliability(
        ece=float((counts * np.abs(accuracy - confidence)).sum() / counts.sum()),
        bins=tuple(
            ReliabilityBin(
                over=float(edges[place]),
                up_to=float(edges[place + 1]),
                count=int(counts[place]),
                confidence=float(confidence[place]),
                accuracy=float(accuracy[place]),
            )
            for place in range(bins)
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageCurve:
    """What is gained by answering only when sure, from the surest answers to all of them.

    Attributes:
        confidences: float64[points], falling: answers below it are kept back.
        coverage: float64[points], rising to 1: share answered.
        accuracy: float64[points]: share of those that is right.
    """

    confidences: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]


def coverage_curve(answers: Answers) -> CoverageCurve:
    """Accuracy over coverage (El-Yaniv and Wiener, JMLR 2010); equally sure answers come and go together."""
    order = np.argsort(-answers.confidences, kind="stable")
    sure = answers.confidences[order]
    last = np.append(np.flatnonzero(np.diff(sure)), len(sure) - 1)
    answered = last + 1
    return CoverageCurve(
        confidences=sure[last],
        coverage=answered / len(sure),
        accuracy=np.cumsum(answers.right[order])[last] / answered,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The share of answers that a least confidence lets pass, and the share of those that is right (1 of none)."""

    coverage: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastConfidence:
    """A least confidence that was searched on validation, and what it does on both."""

    threshold: float
    on_validation: Kept
    on_test: Kept


def kept(answers: Answers, *, threshold: float) -> Kept:
    """What passes when answers less sure than `threshold` are kept back."""
    passes = answers.confidences >= threshold
    return Kept(coverage=float(passes.mean()), accuracy=float(answers.right[passes].mean()) if passes.any() else 1.0)


def least_confidence(validation: Answers, test: Answers, *, accuracy: float) -> LeastConfidence:
    """The lowest confidence that keeps validation's answers right often enough (Geifman and El-Yaniv, NIPS 2017).

    Without their bound: it is told what it comes to on test. Where no confidence is enough, none passes.

    Args:
        validation: what it is searched on.
        test: what it is only told of.
        accuracy: share of answers that is to be right, 0 to 1.
    """
    curve = coverage_curve(validation)
    enough = np.flatnonzero(curve.accuracy >= accuracy)
    threshold = float(curve.confidences[enough[-1]]) if len(enough) else float("inf")
    return LeastConfidence(
        threshold=threshold,
        on_validation=kept(validation, threshold=threshold),
        on_test=kept(test, threshold=threshold),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RocCurve:
    """One class against all others, for every threshold.

    Attributes:
        false_positives: float64[points], rising from 0 to 1: share of the others taken for it.
        true_positives: float64[points], rising from 0 to 1: share of its own found.
        area: under the curve.
    """

    false_positives: npt.NDArray[np.float64]
    true_positives: npt.NDArray[np.float64]
    area: float


def roc_curves(chances: npt.NDArray[np.float64], *, truth: npt.NDArray[np.bool_]) -> tuple[RocCurve | None, ...]:
    """One curve a class, by scikit-learn's `roc_curve`; None for a class that all or none show.

    Args:
        chances: float64[n, classes]; anything that grows with the chance will do.
        truth: bool[n, classes]; of games see `one_hot`.
    """
    curves: list[RocCurve | None] = []
    for place in range(chances.shape[1]):
        mine = truth[:, place]
        if mine.all() or not mine.any():
            curves.append(None)
            continue
        false_positives, true_positives, _ = roc_curve(mine, chances[:, place])
        curves.append(
            RocCurve(
                false_positives=false_positives,
                true_positives=true_positives,
                area=float(auc(false_positives, true_positives)),
            )
        )
    return tuple(curves)


def one_hot(labels: Labels, *, games: int) -> npt.NDArray[np.bool_]:
    """bool[n, games] of int64[n]: which game is shown."""
    return np.asarray(labels[:, None] == np.arange(games), dtype=np.bool_)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Frames, in the order of their streams.

    Attributes:
        logits: float32[n, games].
        game_ids: str[n]: what each really shows.
        streams: str[n]: the stream of each.
    """

    logits: Logits
    game_ids: npt.NDArray[np.str_]
    streams: npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Novelties:
    """How strange known and unknown games look: float64, one a frame, or one a stream."""

    known: npt.NDArray[np.float64]
    unknown: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownScores:
    """How well games that were never trained on are told from known ones, as chances of the right order.

    Attributes:
        frame_auroc: of single frames.
        stream_auroc: of streams, as the bot answers them.
        stream_auroc_of_games: the same of each unknown game by itself, by id: near ones are told apart worse.
        of_streams: what a threshold can be searched on.
        judged: the unknown games' streams, in the order of `of_streams.unknown`.
    """

    frame_auroc: float
    stream_auroc: float
    stream_auroc_of_games: dict[str, float]
    of_streams: Novelties
    judged: tuple[JudgedStream, ...]


def unknown_scores(known: Shown, unknown: Shown, *, rule: AnswerRule) -> UnknownScores:
    """Area under the ROC curve of the rule's novelty (Hendrycks and Gimpel, ICLR 2017).

    Args:
        known: of games that the network was trained on, streams that it was not.
        unknown: of games held out whole.
        rule: the model's.
    """

    def frames(shown: Shown) -> npt.NDArray[np.float64]:
        values = shown.logits[:, : len(rule.labels)].astype(np.float64)
        return np.array([novelty(row, temperature=rule.temperature, score=rule.novelty_score) for row in values])

    def streams(shown: Shown) -> tuple[JudgedStream, ...]:
        return judge(shown.logits, game_ids=shown.game_ids, streams=shown.streams, rule=rule)

    known_streams, judged = novelties(streams(known)), streams(unknown)
    unknown_streams = novelties(judged)
    of_stream = np.array([one.game for one in judged])
    return UnknownScores(
        frame_auroc=auroc(frames(known), frames(unknown)),
        stream_auroc=auroc(known_streams, unknown_streams),
        stream_auroc_of_games={
            str(game): auroc(known_streams, unknown_streams[of_stream == game]) for game in np.unique(of_stream)
        },
        of_streams=Novelties(known=known_streams, unknown=unknown_streams),
        judged=judged,
    )


def novelties(judged: Sequence[JudgedStream]) -> npt.NDArray[np.float64]:
    """float64[streams]: how strange each looks."""
    return np.array([one.verdict.novelty for one in judged])


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Shares of known games (wrongly) and of unknown games (rightly) that a threshold refuses."""

    known: float
    unknown: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownThreshold:
    """A novelty above which a game is unknown, searched on validation, and what it does on both."""

    threshold: float
    on_validation: Refused
    on_test: Refused


def refused(novelties: Novelties, *, threshold: float) -> Refused:
    """What lies above a threshold."""
    return Refused(
        known=float((novelties.known > threshold).mean()), unknown=float((novelties.unknown > threshold).mean())
    )


def unknown_threshold(validation: Novelties, test: Novelties) -> UnknownThreshold:
    """The threshold of greatest J = unknown refused − known refused on validation (Youden, Cancer 1950).

    `calibrate.fit_threshold` needs no unknown game, and is what models are shipped with; this tells what could be had.
    Thresholds lie half way between two novelties; of equally good ones the one that refuses fewest known games.
    """
    seen = np.unique(np.concatenate([validation.known, validation.unknown]))
    candidates = np.append((seen[:-1] + seen[1:]) / 2, seen[-1])
    by_known = np.searchsorted(np.sort(validation.known), candidates, side="right") / len(validation.known)
    by_unknown = np.searchsorted(np.sort(validation.unknown), candidates, side="right") / len(validation.unknown)
    gain = by_known - by_unknown
    threshold = float(candidates[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]])
    return UnknownThreshold(
        threshold=threshold,
        on_validation=refused(validation, threshold=threshold),
        on_test=refused(test, threshold=threshold),
    )
