"""The figures of a training, as values that are saved as JSON and read again by the report.

What is optional was not measured, or not yet when the figures were written: older files are read as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from core.recognition.aggregate import NoveltyScore

if TYPE_CHECKING:
    from training.scoring.accuracy import Accuracy


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


class ScoreFigures(_Figures):
    """How often answers are right, shares 0 to 1; see `scores.Scores`.

    Attributes:
        count: of answers.
    """

    count: int
    accuracy: float
    top_3: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


class BinFigures(_Figures):
    """Answers whose confidence lies above `over` and not above `up_to`; the means are 0 when there are none."""

    over: float
    up_to: float
    count: int
    confidence: float
    accuracy: float


class CoverageFigures(_Figures):
    """If only answers at least so sure are given: the share that is given, and of those the share that is right."""

    confidence: float
    coverage: float
    accuracy: float


class RocFigures(_Figures):
    """A class against all others.

    Attributes:
        id: of the game or genre.
        false_positives: a share for each point of the curve, rising from 0 to 1; empty where only the area is kept.
        true_positives: as above.
    """

    id: str
    area: float
    false_positives: tuple[float, ...] = ()
    true_positives: tuple[float, ...] = ()


class ClassFigures(_Figures):
    """A game among the answers: of what was so answered the share that is, of what is so the share answered."""

    id: str
    precision: float
    recall: float
    f1: float
    shown: int
    answered: int


class AnswerFigures(ScoreFigures):
    """All that is told of frames' answers, or of streams'.

    Attributes:
        ece: expected calibration error of the confidences.
        ece_uncalibrated: the same without a temperature.
        bins: of the reliability diagram, by rising confidence.
        coverage: from the surest answers alone to all of them; thinned.
        roc: of every game that some and not all show; thinned.
        games: in the order of the labels.
        confusion: int[games][games + 1]: row really shown, column answered, the last one none of the games.
    """

    ece: float
    ece_uncalibrated: float
    bins: tuple[BinFigures, ...]
    coverage: tuple[CoverageFigures, ...]
    roc: tuple[RocFigures, ...]
    games: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]


class GenreClassFigures(_Figures):
    """A genre, as `ClassFigures` of a game, and the chance from which on it is answered."""

    id: str
    name: str
    threshold: float
    precision: float
    recall: float
    f1: float
    shown: int
    answered: int


class GenreFigures(_Figures):
    """How right the genres of streams are, shares 0 to 1; see `genre_scores.GenreScores`.

    Attributes:
        count: of streams.
        null_hamming_none: Hamming loss of never answering any genre.
        null_hamming_usual: of always answering the genres that more than half of what was trained on has.
        null_top_class: of always answering the commonest genre.
        genres: in the order of the head.
        roc: of every genre that some and not all streams have; thinned.
    """

    count: int
    hamming_loss: float
    exact: float
    precision: float
    recall: float
    macro_f1: float
    top_class: float
    null_hamming_none: float
    null_hamming_usual: float
    null_top_class: float
    genres: tuple[GenreClassFigures, ...]
    roc: tuple[RocFigures, ...] = ()


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
        of_frames: more of the frames, by a temperature that was not fitted on them.
        of_streams: the same of the streams.
        overlaid_frames: the same of the frames with overlays.
        overlaid_streams: the same of the streams with overlays.
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
    of_frames: AnswerFigures | None = None
    of_streams: AnswerFigures | None = None
    overlaid_frames: AnswerFigures | None = None
    overlaid_streams: AnswerFigures | None = None


class HeldOutGame(_Figures):
    """A game that was never trained on.

    Attributes:
        auroc: of its streams against the known test streams of its fold.
        refused: share of its streams that the shipped threshold refuses.
        taken_for: what most of its streams look like to the network.
        near: ids of games that its network knows and that are of its kind; None where nobody says of what kind it is.
    """

    id: str
    streams: int
    auroc: float
    refused: float
    taken_for: str
    near: tuple[str, ...] | None = None


class HeldOutGroup(_Figures):
    """Games held out whole that have something in common.

    Attributes:
        games: ids.
        stream_auroc: of their streams against the known test streams of their fold, averaged over the folds.
        refused: share of their streams that the shipped threshold refuses.
    """

    games: tuple[str, ...]
    streams: int
    stream_auroc: float
    refused: float


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
        known_refused_overlaid: as `known_refused`, of the same streams with overlays.
        near: games of whose kind the network knows another one, as a shooter among shooters.
        far: the other games of a known kind.
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
    known_refused_overlaid: float | None = None
    near: HeldOutGroup | None = None
    far: HeldOutGroup | None = None


class GenreProtocolFigures(_Figures):
    """The genres, on streams and on games that the network judged never saw.

    Attributes:
        known: on unseen streams of known games; thresholds from the other rotations.
        held_out: on games held out whole; thresholds from the games held out in the other folds.
        thresholds: to be shipped, by genre: chosen on all games held out whole.
    """

    known: GenreFigures
    held_out: GenreFigures
    thresholds: dict[str, float]


class NamedScores(_Figures):
    """A way to answer that is no network of ours: a null model or a baseline; None where there is nothing of it.

    Attributes:
        name: what it is called in tables.
    """

    name: str
    of_frames: ScoreFigures | None
    of_streams: ScoreFigures | None


class LinearFigures(_Figures):
    """What a linear machine on a frozen network comes to in the same trials; as in `ProtocolFigures`.

    Attributes:
        name: what it is called in tables.
        stream_auroc: of games held out whole, by how far a stream lies on no known game's side.
    """

    name: str
    by_stream: Shares
    overlaid: Shares
    parts: tuple[Shares, ...]
    by_random_frame: Shares
    authors: dict[str, Shares]
    stream_auroc: float


class ProtocolFigures(_Figures):
    """All that is measured about a way to train, before a model is trained on all streams that way.

    Attributes:
        by_random_frame: the careless split's, beside `by_stream`.
        of_random_frames: more of the same.
        temperature: to be shipped.
        genres: None without a head for them.
        nulls: answers to the rotations' test streams that look at no picture.
        linear: to be beaten; None where the way to train has no pretrained network.
    """

    by_stream: TestFigures
    by_random_frame: Shares
    authors: dict[str, Shares]
    unknown: UnknownFigures
    temperature: float
    best_epochs: tuple[int, ...]
    of_random_frames: AnswerFigures | None = None
    genres: GenreProtocolFigures | None = None
    nulls: tuple[NamedScores, ...] = ()
    linear: LinearFigures | None = None


class KeptFigures(_Figures):
    """What a least confidence lets pass, and the share of those answers that is right."""

    coverage: float
    accuracy: float


class LeastConfidenceFigures(_Figures):
    """A least confidence of streams' answers that was searched on validation; None where none is enough.

    Attributes:
        accuracy: share of answers that was to be right.
    """

    accuracy: float
    threshold: float | None
    on_validation: KeptFigures
    on_test: KeptFigures


class RefusedFigures(_Figures):
    """Shares of known games' streams (wrongly) and of unknown ones' (rightly) that are refused."""

    known: float
    unknown: float


class UnknownThresholdFigures(_Figures):
    """A threshold of the unknown rule that was searched on validation."""

    threshold: float
    on_validation: RefusedFigures
    on_test: RefusedFigures


class EvaluatedUnknown(_Figures):
    """Games of the data that a model does not know.

    Attributes:
        frame_auroc: chance that a frame of theirs looks stranger than one of a known game.
        stream_auroc: the same of streams.
        games: the same of each unknown game's streams, by id.
        refused: by the model's own threshold.
        searched: the threshold that validation likes best; None where validation shows no unknown game.
    """

    frames: int
    streams: int
    frame_auroc: float
    stream_auroc: float
    games: dict[str, float]
    refused: RefusedFigures
    searched: UnknownThresholdFigures | None = None


class ModelFigures(_Figures):
    """A model on the streams of a data set.

    Attributes:
        name: the model's version.
        games: ids of its labels.
        of_frames: of the games that it knows.
        of_streams: as the bot answers them, refused or not.
        answered: share of known games' streams that is named right and not refused.
        genres: of all streams whose game has any; None without a head for them. So is the next one.
        genres_of_unknown: of those streams alone whose game it does not know.
        learnt_from: why these streams say too much for it, in a sentence; None if nothing is known against it.
        overlaid_frames: of the same frames with overlays; None where they were not shown. So is the next one.
        overlaid_streams: of the same streams with overlays.
    """

    name: str
    games: tuple[str, ...]
    of_frames: AnswerFigures
    of_streams: AnswerFigures
    answered: float
    unknown: EvaluatedUnknown | None
    least_confidence: LeastConfidenceFigures | None
    genres: GenreFigures | None
    genres_of_unknown: GenreFigures | None
    learnt_from: str | None
    overlaid_frames: ScoreFigures | None = None
    overlaid_streams: ScoreFigures | None = None


class EvaluationFigures(_Figures):
    """Models, and what they are to be compared with, on the same streams.

    Attributes:
        data: the data set's name.
        part: of it.
        unreadable: files that hold no readable picture.
        notes: what a reader has to know, a sentence each.
    """

    data: str
    part: str
    frames: int
    streams: int
    models: tuple[ModelFigures, ...]
    baselines: tuple[NamedScores, ...]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]
