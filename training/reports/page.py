"""The report (one HTML file that opens from disk, without network or script) and the model card of a trained model.

The report tells one story: what was tested, how good it is, beside what, where it errs, what it looks at, how it was
made. A section is there when its figures are. Frames are shown only of games whose pictures may be passed on: see
`judged`. The card shows none.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2
import numpy as np

from core.frames import encode_jpeg
from training.reports import charts
from training.scoring.judged import MICRO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.recognition.artifact import Manifest
    from training.fitting.checkpoint import Epoch
    from training.fitting.litert import Agreement
    from training.reports.look import Looks
    from training.scoring.figures import (
        AnswerFigures,
        EvaluationFigures,
        GenreFigures,
        ModelFigures,
        ProtocolFigures,
        RocFigures,
        TestFigures,
    )

LOW = 0.97
"""Share of a game's frames below which the report calls the game weak."""

_WORST_CURVES = 10
_TEXT_TABLE_GAMES = 8
_COMMON_CONFUSIONS = 12
_JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True, slots=True)
class GameShare:
    """How much of a game the data set holds.

    Attributes:
        broadcasters: how many different ones, or units that no split divides; None where the data does not say.
    """

    name: str
    streams: int
    frames: int
    validation_streams: int
    broadcasters: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What the card says of the model's rights and of its data's time.

    Attributes:
        licence: of the weights, as Hugging Face calls it (``mit``, ``apache-2.0``, ``other``); None if not chosen.
        first_day: of the data set's frames, ISO 8601; None where the data does not say.
        last_day: as above.
    """

    licence: str | None = None
    first_day: str | None = None
    last_day: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """All that there is to tell about a model.

    Attributes:
        test: figures on streams never seen; of the protocols' rotations, or of the model's own test streams.
        protocols: the whole of the protocols' figures, if this model was made with them.
        split: one sentence on what was trained, validated and tested on.
        agreement: of the exported network with Keras; None while nothing is exported.
        evaluation: this model first, others and baselines beside it, on the same streams.
        micro_roc: the curve of all games together; see `judged.micro_roc`.
        looks: pictures of frames, filters and mistakes.
        tune: PNG or SVG of the search for the configuration.
    """

    manifest: Manifest
    games: tuple[GameShare, ...]
    test: TestFigures
    protocols: ProtocolFigures | None
    split: str
    config_json: str
    epochs: Sequence[Epoch]
    best_epoch: int
    agreement: Agreement | None
    provenance: Provenance = Provenance()
    evaluation: EvaluationFigures | None = None
    micro_roc: RocFigures | None = None
    looks: Looks | None = None
    tune: bytes | None = None

    @property
    def evaluated(self) -> ModelFigures | None:
        """This model's part of the evaluation."""
        return self.evaluation.models[0] if self.evaluation is not None and self.evaluation.models else None

    @property
    def genres(self) -> dict[str, GenreFigures]:
        """Figures of the genres, by what they are of."""
        if self.protocols is not None and self.protocols.genres is not None:
            measured = self.protocols.genres
            return {"games held out whole": measured.held_out, "unseen streams of known games": measured.known}
        if self.evaluated is None:
            return {}
        both = {"unknown games": self.evaluated.genres_of_unknown, "all evaluated streams": self.evaluated.genres}
        return {name: figures for name, figures in both.items() if figures is not None}

    @property
    def has_unknown(self) -> bool:
        """Whether anything is told of games that the model does not know."""
        return self.protocols is not None or (self.evaluated is not None and self.evaluated.unknown is not None)

    @property
    def has_rivals(self) -> bool:
        """Whether there is anything to compare the model with."""
        others = self.evaluation is not None and len(self.evaluation.models) + len(self.evaluation.baselines) > 1
        return others or (self.protocols is not None and bool(self.protocols.nulls))


@dataclass(frozen=True, kw_only=True, slots=True)
class Confused:
    """Frames of one game that were taken for another."""

    shown: str
    answered: str
    frames: int
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfusionTable:
    """Who was taken for whom: the games that were shown, and every game that was answered.

    Attributes:
        counts: int per answered game, per shown game.
        common: the most frequent mistakes, most first.
    """

    shown: tuple[str, ...]
    answered: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    common: tuple[Confused, ...]

    @property
    def is_small(self) -> bool:
        """Whether a table of numbers can still be read."""
        return len(self.answered) <= _TEXT_TABLE_GAMES


def html(story: Story) -> str:
    """The report, with its pictures inside."""
    table = confusion_table(story)
    return (
        _templates()
        .get_template("report.html")
        .render(
            story=story,
            sections=_sections(story),
            low=LOW,
            weakest=weakest(story.test),
            confusion=table,
            confusion_chart=_confusion_chart(table),
            curves=charts.learning_curves(story.epochs, best=story.best_epoch),
            reliability={name: charts.reliability(answers.bins) for name, answers in _answers(story).items()},
            coverage=charts.coverage({name: answers.coverage for name, answers in _answers(story).items()}),
            answers=_answers(story),
            roc=_roc_charts(story),
        )
    )


def model_card(story: Story) -> str:
    """The card, in Markdown, with front matter as Hugging Face reads it."""
    template = _templates().get_template("card.md")
    return template.render(
        story=story,
        shares={game.name: game for game in story.games},
        weakest=weakest(story.test),
        answers=_answers(story),
        has_layout=bool(json.loads(story.config_json).get("layout")),
    )


def weakest(test: TestFigures) -> list[str]:
    """The names of the games of whose frames fewest are right, the worst first; only those below `LOW`."""
    below = [game for game in test.games if game.shares.frames_right < LOW]
    return [game.name for game in sorted(below, key=lambda game: game.shares.frames_right)]


def confusion_table(story: Story) -> ConfusionTable:
    """The confusion of single frames, without games that were neither shown nor answered."""
    counts = np.array(story.test.confusion, dtype=np.int64)
    names = [label.name for label in story.manifest.labels]
    if len(names) != len(counts):
        # Figures that were measured on other games than these: those that were tested have names.
        tested = counts.sum(axis=1) > 0
        counts, names = counts[tested][:, tested], [game.name for game in story.test.games]
    rows, columns = counts.sum(axis=1) > 0, counts.sum(axis=(0)) + counts.sum(axis=1) > 0
    shown, answered = _named(names, rows), _named(names, columns)
    kept = counts[rows][:, columns]
    common = sorted(
        (
            Confused(shown=one, answered=other, frames=int(count), share=float(count / row.sum()))
            for one, row in zip(shown, kept, strict=True)
            for other, count in zip(answered, row, strict=True)
            if other != one and count
        ),
        key=lambda confused: (-confused.frames, confused.shown, confused.answered),
    )
    return ConfusionTable(
        shown=shown,
        answered=answered,
        counts=tuple(tuple(row) for row in kept.tolist()),
        common=tuple(common[:_COMMON_CONFUSIONS]),
    )


def percent(share: float) -> str:
    """98.5 % of 0.985."""
    return f"{100 * share:.1f} %"


def told(epoch: Epoch) -> str:
    """One line on an epoch."""
    right = f"{percent(epoch.validation_streams_right)} of streams, {percent(epoch.validation_frames_right)} of frames"
    return f"epoch {epoch.number}: loss {epoch.loss:.3f}, right on validation {right}"


def _sections(story: Story) -> dict[str, str]:
    """Titles by the name of the section's template, in the order of the story."""
    pictures = story.looks
    everything = {
        "tested": ("On streams that it never saw", True),
        "compared": ("Beside other ways to answer", story.has_rivals),
        "games": ("Game by game", True),
        "confusion": ("What is taken for what", True),
        "mistakes": ("The surest mistakes", pictures is not None),
        "sureness": ("How sure, and how often right", bool(_answers(story))),
        "roc": ("One game against all others", bool(_roc_charts(story))),
        "unknown": ("Games that it does not know", story.has_unknown),
        "genres": ("Genres of games", bool(story.genres)),
        "attention": ("What it looks at", pictures is not None and bool(pictures.attention or pictures.filters)),
        "training": ("How it was made", True),
    }
    return {name: title for name, (title, is_there) in everything.items() if is_there}


def _answers(story: Story) -> dict[str, AnswerFigures]:
    both = {"streams": story.test.of_streams, "frames": story.test.of_frames}
    return {name: figures for name, figures in both.items() if figures is not None}


def _roc_charts(story: Story) -> dict[str, charts.Svg]:
    """The worst games with all of them together, and the worst genres, as far as their curves are kept."""
    names = {label.id: label.name for label in story.manifest.labels} | {MICRO: "all games"}
    drawn = {}
    of_games = _worst(story.test.of_frames.roc) if story.test.of_frames is not None else []
    if story.micro_roc is not None:
        of_games.insert(0, story.micro_roc)
    if of_games:
        drawn["games"] = charts.roc(of_games, names=names)
    for figures in story.genres.values():
        of_genres = _worst(figures.roc)
        if of_genres:
            drawn["genres"] = charts.roc(of_genres, names={genre.id: genre.name for genre in figures.genres})
            break
    return drawn


def _worst(curves: Sequence[RocFigures]) -> list[RocFigures]:
    return sorted((curve for curve in curves if curve.false_positives), key=lambda curve: curve.area)[:_WORST_CURVES]


def _confusion_chart(table: ConfusionTable) -> charts.Svg:
    counts = np.array(table.counts, dtype=np.int64).reshape(len(table.shown), len(table.answered))
    return charts.confusion(counts, rows=table.shown, columns=table.answered)


def _named(names: Sequence[str], which: np.typing.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, is_kept in zip(names, which, strict=True) if is_kept)


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training.reports", "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, three=_three, as_data=_as_data, as_jpeg=_as_jpeg, cell=_cell)
    return environment


def _three(value: float) -> str:
    return f"{value:.3f}"


def _as_data(picture: bytes) -> str:
    """A picture as an address that holds it whole."""
    kinds = {b"\xff\xd8": "jpeg", b"\x89PNG": "png"}
    kind = next((kind for start, kind in kinds.items() if picture.startswith(start)), "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _as_jpeg(picture: np.typing.NDArray[np.uint8]) -> bytes:
    return encode_jpeg(picture, quality=_JPEG_QUALITY)


def _cell(text: str) -> str:
    """Text that cannot end a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
