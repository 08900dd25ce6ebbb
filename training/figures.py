"""The figures of a training, as values that are saved as JSON and read again by the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from core.recognition.aggregate import NoveltyScore

if TYPE_CHECKING:
    from training.evaluate import Accuracy


class _Figures(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shares(_Figures):
    """Shares named right (0 to 1), and of how many."""

    frames_right: float
    streams_right: float
    frames: int
    streams: int

    @classmethod
    def of(cls, measured: Accuracy) -> Shares:
        """From what `evaluate` measured."""
        return cls(
            frames_right=measured.frames_right,
            streams_right=measured.streams_right,
            frames=measured.frames,
            streams=measured.streams,
        )


class GameFigures(_Figures):
    """One game among the streams that were tested.

    Attributes:
        taken_for: games that its frames were most often taken for instead, most often first.
    """

    id: str
    name: str
    shares: Shares
    overlaid_frames_right: float
    taken_for: tuple[str, ...]


class TestFigures(_Figures):
    """What came out on streams that the network, or the network of that rotation, never saw.

    Attributes:
        parts: of each rotation; one if there was one test set.
        overlaid: the same streams with overlays pasted on.
        covered_share: mean share of the picture that those overlays cover.
        confusion: int[games][games], frames: row really shown, column answered.
    """

    # The name begins as a test's does; pytest must not take it for one.
    __test__ = False

    all: Shares
    overlaid: Shares
    covered_share: float
    parts: tuple[Shares, ...]
    games: tuple[GameFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    wrong_streams: tuple[str, ...]


class HeldOutGame(_Figures):
    """A game that was never trained on.

    Attributes:
        auroc: of its streams against the known test streams of its fold.
        refused: share of its streams that the shipped threshold refuses.
        taken_for: what most of its streams look like to the network.
    """

    id: str
    streams: int
    auroc: float
    refused: float
    taken_for: str


class UnknownFigures(_Figures):
    """How well games that were never trained on are told from known ones.

    Attributes:
        score: what the unknown rule looks at.
        stream_auroc: all folds, each within itself, averaged.
        frame_auroc: as above, single frames.
        stream_auroc_of_scores: what the other scores would have come to.
        held_out_refused: share of held-out games' streams that the shipped threshold refuses.
        known_refused: share of known games' unseen streams refused, by a threshold fitted on the other rotations.
        known_refused_in_folds: as above, by the shipped threshold, in the networks of the folds.
        threshold: the shipped one.
    """

    score: NoveltyScore
    stream_auroc: float
    frame_auroc: float
    stream_auroc_of_scores: dict[str, float]
    held_out_refused: float
    known_refused: float
    known_refused_in_folds: float
    threshold: float
    games: tuple[HeldOutGame, ...]


class ProtocolFigures(_Figures):
    """All that is measured about a way to train, before a model is trained on all streams that way."""

    by_stream: TestFigures
    by_random_frame: Shares
    authors: dict[str, Shares]
    unknown: UnknownFigures
    temperature: float
    best_epochs: tuple[int, ...]
