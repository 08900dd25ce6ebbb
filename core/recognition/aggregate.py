"""Per-frame logits of one stream to one Verdict; pure.

The frames of a stream are not independent witnesses (they come seconds apart from one play-through), so their logits
are averaged, not added: more frames make the answer steadier, not surer. The mean is divided by a temperature fitted
on streams that training never saw (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) before the
softmax, which makes the confidence a probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from core.games import UNKNOWN
from core.recognition.verdict import FrameVerdict, GenreLikeness, Likelihood, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.games import Game

Logits: TypeAlias = npt.NDArray[np.float32]
"""float32, shape (frames, labels + genres): what the network says before any softmax or sigmoid."""


class NoveltyScore(StrEnum):
    """How a mean logit vector is turned into "how unlike every known game is this"; higher is stranger."""

    MAX_LOGIT = "max_logit"
    """Minus the highest logit: Hendrycks et al., "Scaling Out-of-Distribution Detection", ICML 2022."""
    ENERGY = "energy"
    """Minus log Σ exp(logits): Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020."""
    MAX_PROBABILITY = "max_probability"
    """Minus the calibrated confidence: Hendrycks and Gimpel, "A Baseline for Detecting …", ICLR 2017."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenreRule:
    """A kind of game, and from which chance on (0 to 1) it is answered."""

    id: str
    name: str
    threshold: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRule:
    """Everything of a model that turns its logits into an answer.

    Attributes:
        labels: the game of each of the first columns of the logits.
        temperature: divides the mean logits before the softmax; above 0.
        novelty_score: which measure of strangeness is used.
        unknown_threshold: an answer whose novelty lies above it is ``UNKNOWN``.
        model: version of the model, for the Verdict.
        genres: the kind of game of each column behind those of the labels.
    """

    labels: tuple[Game, ...]
    temperature: float
    novelty_score: NoveltyScore
    unknown_threshold: float
    model: str
    genres: tuple[GenreRule, ...] = ()

    @property
    def columns(self) -> int:
        """How many logits the network gives for a frame."""
        return len(self.labels) + len(self.genres)


def aggregate(logits: Logits, *, at_s: Sequence[float], rule: AnswerRule) -> Verdict:
    """Turn the logits of one stream's frames into one Verdict.

    Args:
        logits: float32, shape (frames, labels + genres), finite, at least one frame.
        at_s: the position of each frame in the live window, seconds.
        rule: the model's labels, temperature, unknown rule and genres.

    Raises:
        ValueError: the shapes disagree, there is no frame, or a logit is not finite.
    """
    if logits.ndim != 2 or logits.shape != (len(at_s), rule.columns) or logits.shape[0] == 0:
        msg = f"{logits.shape} logits for {len(at_s)} frames, {len(rule.labels)} labels and {len(rule.genres)} genres"
        raise ValueError(msg)
    if not np.isfinite(logits).all():
        msg = "a logit is not finite"
        raise ValueError(msg)
    values, genre_values = np.split(logits.astype(np.float64), [len(rule.labels)], axis=1)
    mean_logits = values.mean(axis=0)
    probabilities = softmax(mean_logits / rule.temperature)
    # kind="stable" on the negated values: of equal probabilities the first label wins, everywhere alike.
    order = np.argsort(-probabilities, kind="stable")
    best = int(order[0])
    confidence = float(probabilities[best])
    strangeness = novelty(mean_logits, temperature=rule.temperature, score=rule.novelty_score)
    frame_probabilities = softmax(values / rule.temperature)
    frame_labels = frame_probabilities.argmax(axis=1)
    return Verdict(
        game=UNKNOWN if strangeness > rule.unknown_threshold else rule.labels[best],
        confidence=confidence,
        best=Likelihood(game=rule.labels[best], confidence=confidence),
        runners_up=tuple(
            Likelihood(game=rule.labels[label], confidence=float(probabilities[label])) for label in order[1:]
        ),
        frames=tuple(
            FrameVerdict(game=rule.labels[label], confidence=float(frame_probabilities[row, label]), at_s=at_s[row])
            for row, label in enumerate(frame_labels)
        ),
        votes=int((frame_labels == best).sum()),
        score=float(mean_logits[best]),
        novelty=strangeness,
        model=rule.model,
        genres=_genres(genre_values.mean(axis=0), rule.genres),
    )


def _genres(mean_logits: npt.NDArray[np.float64], rules: tuple[GenreRule, ...]) -> tuple[GenreLikeness, ...]:
    """The kinds of game whose chance reaches their threshold, likeliest first; of equal ones the first."""
    found = [
        GenreLikeness(id=rule.id, name=rule.name, confidence=chance)
        for rule, chance in zip(rules, sigmoid(mean_logits).tolist(), strict=True)
        if chance >= rule.threshold
    ]
    return tuple(sorted(found, key=lambda genre: -genre.confidence))


def novelty(mean_logits: npt.NDArray[np.float64], *, temperature: float, score: NoveltyScore) -> float:
    """How unlike every known game a stream's mean logits (shape (labels,)) are; higher is stranger."""
    highest = float(mean_logits.max())
    match score:
        case NoveltyScore.MAX_LOGIT:
            return -highest
        case NoveltyScore.ENERGY:
            return -(highest + float(np.log(np.exp(mean_logits - highest).sum())))
        case NoveltyScore.MAX_PROBABILITY:
            return -float(softmax(mean_logits / temperature).max())


def softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, computed without overflow."""
    shifted = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float64)


def sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each value's chance by itself, 0 to 1, computed without overflow."""
    # tanh saturates where exp would overflow.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), dtype=np.float64)
