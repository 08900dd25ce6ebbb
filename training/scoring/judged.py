"""Frames that a network has answered, with their pictures; and the mistakes that it was surest of. Pure.

A report shows no frame of the games in `withheld`. They are counted and named, and never drawn: not every game's
pictures may be passed on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.frames import encode_jpeg
from core.recognition.aggregate import softmax
from training.scoring.figures import RocFigures
from training.scoring.scores import one_hot, roc_curves

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.frames import RgbPicture
    from core.games import Game
    from core.recognition.aggregate import Logits
    from training.pipeline.shards import Labels

MICRO = "micro-average"
"""Stands for a game's id in the curve of all games together."""

_JPEG_QUALITY = 85
_CURVE_POINTS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedFrames:
    """Frames, best those that the network never learnt from, and what it made of them.

    Attributes:
        games: that the columns of the logits stand for.
        logits: float32[n, games].
        labels: int64[n], numbers of the games that are really shown.
        streams: str[n].
        temperature: of the model.
        picture: uint8[180, 320, 3] of the frame at a place, 0 to n - 1.
        withheld: ids of the games whose pictures may not be passed on; see `folders.Listing`.
    """

    games: tuple[Game, ...]
    logits: Logits
    labels: Labels
    streams: npt.NDArray[np.str_]
    temperature: float
    picture: Callable[[int], RgbPicture]
    withheld: frozenset[str]

    def __post_init__(self) -> None:
        count = len(self.labels)
        if self.logits.shape != (count, len(self.games)) or self.streams.shape != (count,):
            raise ValueError(f"{count} frames, {self.logits.shape} logits, {len(self.games)} games")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A frame taken for another game.

    Attributes:
        shown: name of the game that it really shows.
        answered: name of the game it was taken for.
        confidence: of that answer, 0 to 1.
        right_confidence: that the right game was given.
        stream: of the frame.
        others: how many more frames of this stream were taken for the same game, less surely.
        frame: JPEG; None where the game's pictures may not be passed on.
        heat: JPEG of the same frame with the evidence for the wrong answer drawn over it; None where nobody traced it.
        place: of the frame among those that were judged.
    """

    shown: str
    answered: str
    confidence: float
    right_confidence: float
    stream: str
    others: int
    frame: bytes | None
    heat: bytes | None = None
    place: int


def mistakes(judged: JudgedFrames, *, most: int = 12) -> tuple[Mistake, ...]:
    """The most confident mistakes, the surest first; of a stream taken for one game the surest frame alone.

    Neighbouring frames are wrong together: without that, one bad stream would be all that is seen.
    """
    chances = calibrated(judged)
    answered = judged.logits.argmax(axis=1)
    sure = chances[np.arange(len(chances)), answered]
    kinds: dict[tuple[str, int], list[int]] = {}
    for place in np.flatnonzero(answered != judged.labels):
        kinds.setdefault((str(judged.streams[place]), int(answered[place])), []).append(int(place))
    surest = [(max(places, key=lambda place: sure[place]), places) for places in kinds.values()]
    surest.sort(key=lambda one: (-sure[one[0]], one[0]))
    return tuple(
        Mistake(
            shown=judged.games[judged.labels[place]].name,
            answered=judged.games[answered[place]].name,
            confidence=float(sure[place]),
            right_confidence=float(chances[place, judged.labels[place]]),
            stream=str(judged.streams[place]),
            others=len(places) - 1,
            frame=_jpeg(judged, place),
            place=place,
        )
        for place, places in surest[:most]
    )


def calibrated(judged: JudgedFrames) -> npt.NDArray[np.float64]:
    """float64[n, games]: the chance of each game, of each frame alone."""
    return softmax(judged.logits.astype(np.float64) / judged.temperature)


def micro_roc(judged: JudgedFrames) -> RocFigures | None:
    """The micro-average of the games' ROC curves: every frame is asked about every game, and all count the same.

    None where there is nothing to tell apart.
    """
    if not len(judged.labels):
        return None
    truth = one_hot(judged.labels, games=len(judged.games))
    (curve,) = roc_curves(calibrated(judged).reshape(-1, 1), truth=truth.reshape(-1, 1))
    if curve is None:
        return None
    kept = np.unique(np.linspace(0, len(curve.false_positives) - 1, _CURVE_POINTS).astype(int))
    return RocFigures(
        id=MICRO,
        area=curve.area,
        false_positives=tuple(curve.false_positives[kept].tolist()),
        true_positives=tuple(curve.true_positives[kept].tolist()),
    )


def _jpeg(judged: JudgedFrames, place: int) -> bytes | None:
    if judged.games[judged.labels[place]].id in judged.withheld:
        return None
    return encode_jpeg(judged.picture(place), quality=_JPEG_QUALITY)
