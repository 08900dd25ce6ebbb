"""How good a network is, per frame and per stream, judged by the bot's own `aggregate`; pure.

A stream is judged as the bot would: by `FRAMES_PER_ANSWER` of its frames, spread evenly over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, roc_auc_score

from core.games import UNKNOWN
from core.recognition.aggregate import AnswerRule, aggregate

if TYPE_CHECKING:
    from core.games import Game
    from core.recognition.aggregate import Logits
    from core.recognition.verdict import Verdict
    from training.data.split import Rows
    from training.pipeline.shards import Labels

FRAMES_PER_ANSWER = 13
"""What the bot samples of a stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamMeans:
    """The mean logits of each stream (float64[streams, games]), its game's number, and its name."""

    logits: npt.NDArray[np.float64]
    labels: Labels
    streams: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedStream:
    """What the bot would have answered to one stream.

    Attributes:
        stream: its name.
        game: id of what it really shows.
        verdict: the answer.
    """

    stream: str
    game: str
    verdict: Verdict

    @property
    def is_right(self) -> bool:
        """Whether the likeliest game is the right one, be it answered or refused as unknown."""
        return self.verdict.best.game.id == self.game

    @property
    def is_refused(self) -> bool:
        """Whether the answer is that the game is unknown."""
        return self.verdict.game == UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Shares of what was named right, and of how many."""

    frames_right: float
    streams_right: float
    frames: int
    streams: int


def stream_means(logits: Logits, *, labels: Labels, streams: npt.NDArray[np.str_]) -> StreamMeans:
    """The mean over all frames of each stream."""
    names, first, of_frame = np.unique(streams, return_index=True, return_inverse=True)
    sums = np.zeros((len(names), logits.shape[1]))
    np.add.at(sums, of_frame, logits)
    counts = np.bincount(of_frame)[:, None]
    return StreamMeans(logits=sums / counts, labels=labels[first], streams=tuple(names.tolist()))


def judge(
    logits: Logits, *, game_ids: npt.NDArray[np.str_], streams: npt.NDArray[np.str_], rule: AnswerRule
) -> tuple[JudgedStream, ...]:
    """What the bot would answer to each stream.

    Args:
        logits: float32[n, columns of the rule], of frames in the order of their streams.
        game_ids: what each frame really shows; may be a game that the rule does not know.
        streams: the stream of each frame.
        rule: the model's.
    """
    return tuple(
        JudgedStream(
            stream=name,
            game=str(game_ids[rows[0]]),
            verdict=aggregate(logits[rows], at_s=[float(place) for place in range(len(rows))], rule=rule),
        )
        for name, rows in sampled(streams)
    )


def sampled(streams: npt.NDArray[np.str_]) -> tuple[tuple[str, Rows], ...]:
    """Each stream, by name, with those of its rows that the bot would have looked at.

    Args:
        streams: the stream of each frame, the frames in the order of their streams.
    """
    # One sort for all streams: a mask a stream takes minutes where every frame is a stream of its own.
    order = np.argsort(streams, kind="stable")
    names, first = np.unique(streams[order], return_index=True)
    return tuple(
        (str(name), rows[np.unique(np.linspace(0, len(rows) - 1, FRAMES_PER_ANSWER).round().astype(int))])
        for name, rows in zip(names, np.split(order, first[1:]), strict=True)
    )


def sampled_means(logits: Logits, *, streams: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    """float64[streams, columns]: the mean logits that the bot would answer each stream by, in `judge`'s order."""
    return np.stack([logits[rows].astype(np.float64).mean(axis=0) for _, rows in sampled(streams)])


def accuracy(
    logits: Logits, *, game_ids: npt.NDArray[np.str_], streams: npt.NDArray[np.str_], rule: AnswerRule
) -> Accuracy:
    """Shares of frames and of streams whose likeliest game is the right one; no refusal counts for or against."""
    ids = np.array([label.id for label in rule.labels])
    judged = judge(logits, game_ids=game_ids, streams=streams, rule=rule)
    return Accuracy(
        frames_right=float((ids[logits[:, : len(ids)].argmax(axis=1)] == game_ids).mean()),
        streams_right=float(np.mean([one.is_right for one in judged])),
        frames=len(logits),
        streams=len(judged),
    )


def together(parts: list[Accuracy]) -> Accuracy:
    """Several test sets as one; every frame and every stream counts the same."""
    frames, streams = sum(part.frames for part in parts), sum(part.streams for part in parts)
    return Accuracy(
        frames_right=sum(part.frames_right * part.frames for part in parts) / frames,
        streams_right=sum(part.streams_right * part.streams for part in parts) / streams,
        frames=frames,
        streams=streams,
    )


def auroc(known: npt.NDArray[np.float64], unknown: npt.NDArray[np.float64]) -> float:
    """Chance that an unknown game's novelty lies above a known one's, 0 to 1."""
    truth = np.concatenate([np.zeros(len(known)), np.ones(len(unknown))])
    return float(roc_auc_score(truth, np.concatenate([known, unknown])))


def confusion(right: list[str], answered: list[str], games: tuple[Game, ...]) -> npt.NDArray[np.int64]:
    """int64[games, games]: how often the game of the row was taken for the game of the column."""
    ids = [game.id for game in games]
    return np.asarray(confusion_matrix(right, answered, labels=ids), dtype=np.int64)
