"""What the network says of a stream, as values that travel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.games import Game


_CLOSEST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """A game, and the calibrated probability that it is shown (0 to 1)."""

    game: Game
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class GenreLikeness:
    """A kind of game that the frames look like.

    Attributes:
        id: as the model's manifest has it.
        name: for a person: ``pixel art``.
        confidence: the chance that the game is of this kind, 0 to 1; kinds do not exclude each other.
    """

    id: str
    name: str
    confidence: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameVerdict:
    """What one frame alone looks like.

    Attributes:
        game: the label of the highest logit; a single frame is never called unknown.
        confidence: its calibrated probability, 0 to 1.
        at_s: seconds from the start of the live window to this frame.
    """

    game: Game
    confidence: float
    at_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the sampled frames of one stream, taken together, show.

    Attributes:
        game: the answer; ``UNKNOWN`` when the network should not guess.
        confidence: calibrated probability of ``best.game`` over all frames together, 0 to 1.
        best: the likeliest game, which is the answer unless that is ``UNKNOWN``.
        runners_up: all other games that the model knows, likeliest first; `closest` are those worth telling.
        frames: every frame alone, in the order of the stream.
        votes: how many frames alone say ``best.game``.
        score: the highest mean logit over the frames, max(Σ logits)/n: uncalibrated, for comparison only.
        novelty: how unlike every known game the frames are; the answer is ``UNKNOWN`` above the model's threshold.
        model: version of the model that answered.
        genres: what kinds of game it looks like, likeliest first; those alone that the model is sure enough of.
    """

    game: Game
    confidence: float
    best: Likelihood
    runners_up: tuple[Likelihood, ...]
    frames: tuple[FrameVerdict, ...]
    votes: int
    score: float
    novelty: float
    model: str
    genres: tuple[GenreLikeness, ...] = ()

    @property
    def closest(self) -> tuple[Likelihood, ...]:
        """The first of the runners-up: what is told and kept of them."""
        return self.runners_up[:_CLOSEST]
