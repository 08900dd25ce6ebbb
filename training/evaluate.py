"""The verb `evaluate`: models, run as the bot runs them, on streams of a data set that they did not learn from.

The streams are those of the data set's part `test`; where it brings no parts, those that `run` would keep for the test.
Games that a model does not know are what its unknown rule is measured by. Thresholds are searched on the part
`validation` and told of the part that is evaluated.
"""

from __future__ import annotations

import csv
import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress
from scipy.special import expit

from core.aliases import AliasTable, plain
from core.errors import DataSetError
from core.recognition.aggregate import softmax
from core.recognition.artifact import read_artifact
from training.data.folders import list_frames
from training.data.genres import Genre, GenreTable
from training.data.learnt import learnt_of, streams_learnt
from training.data.manifest import list_manifest
from training.data.split import ROTATIONS, Part, by_stream
from training.pipeline.overlays import with_overlays
from training.scoring.accuracy import judge, sampled, sampled_means
from training.scoring.answers import FIGURES_NAME, ask, is_made_of
from training.scoring.figures import (
    EvaluatedUnknown,
    EvaluationFigures,
    KeptFigures,
    LeastConfidenceFigures,
    ModelFigures,
    NamedScores,
    RefusedFigures,
    UnknownThresholdFigures,
)
from training.scoring.scores import (
    NO_GAME,
    Shown,
    declared_answers,
    frame_answers,
    least_confidence,
    majority_answers,
    refused,
    score,
    stream_answers,
    unknown_scores,
    unknown_threshold,
)
from training.scoring.summary import answer_figures, genre_figures, score_figures
from training.scoring.tables import print_evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from core.frames import RgbPicture
    from core.games import Game
    from core.recognition.aggregate import AnswerRule, Logits
    from core.recognition.artifact import Artifact
    from training.data.folders import FrameFile, Listing
    from training.pipeline.shards import Labels
    from training.scoring.answers import Said
    from training.scoring.figures import GenreFigures, ScoreFigures
    from training.scoring.scores import Answers, Kept, Refused, UnknownScores

    Baseline = Callable[["Parts", Said], NamedScores]
    Change = Callable[[FrameFile, RgbPicture], RgbPicture]

_DECLARED = "the declared category"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What of a data set is evaluated, and beside it what thresholds are searched on and null models learn from.

    Attributes:
        listing: the whole data set.
        part: the name of what is tested.
        test: frames.
        validation: frames; none where the tested part holds them.
        train: as above.
    """

    listing: Listing
    part: str
    test: tuple[FrameFile, ...]
    validation: tuple[FrameFile, ...]
    train: tuple[FrameFile, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Frames that a model was shown, by its own games' ids, in the order of their streams.

    Attributes:
        logits: float32[n, columns of its rule].
        game_ids: str[n]: what is really shown.
        streams: str[n].
    """

    logits: Logits
    game_ids: npt.NDArray[np.str_]
    streams: npt.NDArray[np.str_]

    def of(self, rows: npt.NDArray[np.bool_]) -> Seen:
        """Some of them."""
        return Seen(logits=self.logits[rows], game_ids=self.game_ids[rows], streams=self.streams[rows])

    def is_known(self, rule: AnswerRule) -> npt.NDArray[np.bool_]:
        """bool[n]: whether the model knows the game."""
        return np.isin(self.game_ids, [game.id for game in rule.labels])


def evaluate(
    models: Sequence[Path],
    *,
    data: Path,
    stored: Path,
    part: str,
    declared: Path | None,
    wanted_accuracy: float,
    out: Path | None,
    baselines: Sequence[Baseline] = (),
    overlays: bool = False,
    normalise: bool = False,
    as_json: bool = False,
) -> EvaluationFigures:
    """Measure models on the same streams, print the figures and write them.

    Args:
        models: their directories.
        data: folders of games, or a manifest of `export`.
        stored: where the frames of a manifest lie.
        part: ``test``, ``validation`` or ``all``.
        declared: a CSV with the columns ``stream`` and ``category``, in place of what a manifest tells; for the null
            model that believes it.
        wanted_accuracy: the share of streams' answers that the searched least confidence is to keep right, 0 to 1.
        out: the JSON file of figures to write.
        baselines: what else is to stand in the table.
        overlays: show the same frames once more, with webcam, chat and alerts over them.
        normalise: print the confusion as shares.
        as_json: print for a program.

    Raises:
        ArtifactError: a model cannot be used.
        DataSetError: the data set cannot be used, or a model knows none of its games.
    """
    console = Console(stderr=as_json)
    artifacts = [read_artifact(model) for model in models]
    listing = list_manifest(data, stored) if data.is_file() else list_frames(data)
    if declared is not None:
        listing = _declaring(listing, read_declared(declared))
    parts = chosen(listing, part)
    with Progress(console=console, transient=True) as progress:

        def asked(frames: Sequence[FrameFile], what: str, change: Change | None = None) -> Said:
            task = progress.add_task(what, total=None)
            return ask(
                frames,
                artifacts,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
                change=change,
            )

        said = asked(parts.test, "running the models")
        if not said.frames:
            raise DataSetError(f"Not one of the {len(parts.test)} frames of the part {parts.part} can be read.")
        searched = asked(parts.validation, "running them on validation")
        overlaid = asked(parts.test, "running them on overlays", _with_overlays(listing)) if overlays else None
    measured = tuple(
        _of_model(
            replace(artifact.rule, model=_name(artifact, artifacts)),
            artifact,
            parts,
            _seen(artifact, place, said, listing.games),
            _seen(artifact, place, searched, listing.games),
            wanted_accuracy,
        )
        for place, artifact in enumerate(artifacts)
    )
    if overlaid is not None:
        measured = tuple(
            _with_overlaid(figures, artifact.rule, _seen(artifact, place, overlaid, listing.games))
            for place, (artifact, figures) in enumerate(zip(artifacts, measured, strict=True))
        )
    nulls = [] if not parts.train else [_majority(parts, said)]
    nulls += [_declared(parts, said)] if any(frame.declared is not None for frame in said.frames) else []
    found = EvaluationFigures(
        data=data.resolve().stem if data.is_file() else data.resolve().name,
        part=parts.part,
        frames=len(said.frames),
        streams=len({frame.stream for frame in said.frames}),
        models=measured,
        baselines=(*nulls, *(baseline(parts, said) for baseline in baselines)),
        unreadable=(*said.unreadable, *searched.unreadable),
        notes=(*_cannot_be_told(artifacts, parts), *_notes(parts, said, measured)),
    )
    if out is not None:
        _write(out, found)
    if as_json:
        Console().print_json(found.model_dump_json())
    else:
        print_evaluation(found, console, normalise=normalise)
    return found


def chosen(listing: Listing, part: str) -> Parts:
    """Which frames are evaluated.

    Raises:
        DataSetError: there are none in this part, or a game has too few streams for the data set to be divided.
    """
    frames = listing.frames
    if any(frame.part is not None for frame in frames):
        of_part = {one: tuple(frame for frame in frames if frame.part is one) for one in Part}
    elif part == "all":
        of_part = dict.fromkeys(Part, ())
    else:
        try:
            split = by_stream(
                [frame.unit for frame in frames], [frame.game for frame in frames], rotation=0, rotations=ROTATIONS
            )
        except DataSetError as error:
            raise DataSetError(f"{error} Say --part all to evaluate on all of the data.") from error
        rows = {Part.TRAIN: split.train, Part.VALIDATION: split.validation, Part.TEST: split.test}
        of_part = {one: tuple(frames[row] for row in rows[one]) for one in Part}
    tested = frames if part == "all" else of_part[Part(part)]
    if not tested:
        raise DataSetError(f"The data set has no frame in the part {part}.")
    if len({frame.game for frame in tested}) == 1:
        raise DataSetError(f"The part {part} shows one game only, {tested[0].game}: there is nothing to tell apart.")
    return Parts(
        listing=listing,
        part=part,
        test=tested,
        validation=of_part[Part.VALIDATION] if part == Part.TEST else (),
        train=of_part[Part.TRAIN] if part != "all" else (),
    )


def read_declared(path: Path) -> dict[str, str]:
    """Declared categories by stream.

    Raises:
        DataSetError: the file cannot be read, or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{path} cannot be read as a table of declared categories.") from error
    if not rows or not {"stream", "category"} <= rows[0].keys():
        raise DataSetError(f"{path} is no table with the columns 'stream' and 'category'.")
    return {row["stream"]: row["category"] for row in rows}


def _declaring(listing: Listing, categories: Mapping[str, str]) -> Listing:
    """With these categories, which are named by ``game/stream``, or by the stream alone."""

    def of(stream: str) -> str | None:
        return categories.get(stream, categories.get(stream.partition("/")[2]))

    return replace(listing, frames=tuple(replace(frame, declared=of(frame.stream)) for frame in listing.frames))


def number_of(category: str, games: Sequence[Game], aliases: AliasTable) -> int:
    """The number of the game that is called so, by its id, its name or another name of it; else `NO_GAME`."""
    names = {plain(name) for name in (category, *aliases.of(category))}
    for number, game in enumerate(games):
        if category == game.id or plain(game.name) in names:
            return number
    return NO_GAME


def _seen(model: Artifact, place: int, said: Said, games: Sequence[Game]) -> Seen:
    called = {game.id: _label(game, model.rule.labels) for game in games}
    return Seen(
        logits=said.logits[place],
        game_ids=np.array([called[frame.game] for frame in said.frames], dtype=np.str_),
        streams=np.array([frame.stream for frame in said.frames], dtype=np.str_),
    )


def _label(game: Game, labels: Sequence[Game]) -> str:
    """What a model calls a game: data sets of folders and of a store give one game two ids, but hardly two names."""
    if any(label.id == game.id for label in labels):
        return game.id
    return next((label.id for label in labels if plain(label.name) == plain(game.name)), game.id)


def _name(model: Artifact, models: Sequence[Artifact]) -> str:
    """The version, and where it lies if others are called the same."""
    version = model.manifest.version
    is_alone = sum(other.manifest.version == version for other in models) == 1
    return version if is_alone else f"{version} in {model.directory}"


def _of_model(
    rule: AnswerRule, model: Artifact, parts: Parts, test: Seen, validation: Seen, wanted_accuracy: float
) -> ModelFigures:
    is_known = test.is_known(rule)
    known = test.of(is_known)
    if not is_known.any():
        games = sorted(set(test.game_ids.tolist()))
        some = ", ".join(games[:5]) + (f" and {len(games) - 5} more" if len(games) > 5 else "")
        raise DataSetError(f"{rule.model} knows none of the games that the part {parts.part} shows: {some}.")
    labels = _numbers(known, rule)
    calibrated = frame_answers(known.logits[:, : len(rule.labels)], labels=labels, temperature=rule.temperature)
    plain_rule = replace(rule, temperature=1.0)
    judged = judge(known.logits, game_ids=known.game_ids, streams=known.streams, rule=rule)
    means = sampled_means(known.logits, streams=known.streams)[:, : len(rule.labels)]
    of_streams = stream_answers(judged, games=rule.labels)
    return ModelFigures(
        name=rule.model,
        games=tuple(game.id for game in rule.labels),
        of_frames=answer_figures(
            calibrated,
            uncalibrated=frame_answers(known.logits[:, : len(rule.labels)], labels=labels, temperature=1.0),
            chances=softmax(known.logits[:, : len(rule.labels)].astype(np.float64) / rule.temperature),
            games=rule.labels,
        ),
        of_streams=answer_figures(
            of_streams,
            uncalibrated=_streams_answers(known, plain_rule),
            chances=softmax(means / rule.temperature),
            games=rule.labels,
        ),
        answered=float(np.mean([one.is_right and not one.is_refused for one in judged])),
        unknown=_unknown(rule, test, validation),
        least_confidence=_least_confidence(rule, of_streams, validation, wanted_accuracy),
        genres=_genres(rule, parts, test, only_unknown=False),
        genres_of_unknown=_genres(rule, parts, test, only_unknown=True),
        learnt_from=_learnt_from(rule.model, model, parts),
    )


def _with_overlays(listing: Listing) -> Change:
    """Numbered as `protocols` numbers them, so that the same frames look the same."""
    number = {frame.path: row for row, frame in enumerate(listing.frames)}

    def change(frame: FrameFile, picture: RgbPicture) -> RgbPicture:
        return with_overlays(picture, stream=frame.stream, index=number[frame.path])

    return change


def _with_overlaid(figures: ModelFigures, rule: AnswerRule, overlaid: Seen) -> ModelFigures:
    known = overlaid.of(overlaid.is_known(rule))
    of_frames = frame_answers(
        known.logits[:, : len(rule.labels)], labels=_numbers(known, rule), temperature=rule.temperature
    )
    return figures.model_copy(
        update={
            "overlaid_frames": score_figures(score(of_frames)),
            "overlaid_streams": score_figures(score(_streams_answers(known, rule))),
        }
    )


def _write(out: Path, found: EvaluationFigures) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DataSetError(f"The figures cannot be written to {out}: {error.strerror}.") from error


def _numbers(seen: Seen, rule: AnswerRule) -> Labels:
    number = {game.id: place for place, game in enumerate(rule.labels)}
    return np.array([number[game] for game in seen.game_ids.tolist()], dtype=np.int64)


def _streams_answers(known: Seen, rule: AnswerRule) -> Answers:
    judged = judge(known.logits, game_ids=known.game_ids, streams=known.streams, rule=rule)
    return stream_answers(judged, games=rule.labels)


def _unknown(rule: AnswerRule, test: Seen, validation: Seen) -> EvaluatedUnknown | None:
    found = _unknown_scores(rule, test)
    if found is None:
        return None
    searched = _unknown_scores(rule, validation)
    best = None if searched is None else unknown_threshold(searched.of_streams, found.of_streams)
    return EvaluatedUnknown(
        frames=int((~test.is_known(rule)).sum()),
        streams=len(found.judged),
        frame_auroc=found.frame_auroc,
        stream_auroc=found.stream_auroc,
        games=found.stream_auroc_of_games,
        refused=_refused_figures(refused(found.of_streams, threshold=rule.unknown_threshold)),
        searched=None
        if best is None
        else UnknownThresholdFigures(
            threshold=best.threshold,
            on_validation=_refused_figures(best.on_validation),
            on_test=_refused_figures(best.on_test),
        ),
    )


def _unknown_scores(rule: AnswerRule, seen: Seen) -> UnknownScores | None:
    """None unless there are both known and unknown games."""
    is_known = seen.is_known(rule)
    if is_known.all() or not is_known.any():
        return None
    known, unknown = (
        Shown(logits=some.logits, game_ids=some.game_ids, streams=some.streams)
        for some in (seen.of(is_known), seen.of(~is_known))
    )
    return unknown_scores(known, unknown, rule=rule)


def _least_confidence(
    rule: AnswerRule, of_streams: Answers, validation: Seen, wanted_accuracy: float
) -> LeastConfidenceFigures | None:
    known = validation.of(validation.is_known(rule))
    if not len(known.logits):
        return None
    found = least_confidence(_streams_answers(known, rule), of_streams, accuracy=wanted_accuracy)
    return LeastConfidenceFigures(
        accuracy=wanted_accuracy,
        threshold=found.threshold if np.isfinite(found.threshold) else None,
        on_validation=_kept_figures(found.on_validation),
        on_test=_kept_figures(found.on_test),
    )


def _genres(rule: AnswerRule, parts: Parts, test: Seen, *, only_unknown: bool) -> GenreFigures | None:
    """Of the streams whose game the table of genres has; None without such streams, or a head that tells genres."""
    if not rule.genres:
        return None
    table = GenreTable.bundled()
    names = {game.id: game.name for game in (*rule.labels, *parts.listing.games)}
    seen = test.of(~test.is_known(rule)) if only_unknown else test
    seen = seen.of(np.array([bool(table.of(names[game])) for game in seen.game_ids.tolist()], dtype=np.bool_))
    if not len(seen.logits):
        return None
    wanted = [genre.id for genre in rule.genres]
    first = [rows[0] for _, rows in sampled(seen.streams)]
    return genre_figures(
        np.asarray(expit(sampled_means(seen.logits, streams=seen.streams)[:, len(rule.labels) :])),
        truth=_marks([names[game] for game in seen.game_ids[first].tolist()], table, wanted),
        thresholds=np.array([genre.threshold for genre in rule.genres]),
        genres=[Genre(id=genre.id, name=genre.name) for genre in rule.genres],
        # What the model learnt from is not here; its games are.
        trained_on=_marks([game.name for game in rule.labels], table, wanted),
    )


def _marks(names: Sequence[str], table: GenreTable, wanted: Sequence[str]) -> npt.NDArray[np.bool_]:
    ids = [{genre.id for genre in table.of(name)} for name in names]
    return np.array([[one in mine for one in wanted] for mine in ids], dtype=np.bool_)


def _learnt_from(version: str, model: Artifact, parts: Parts) -> str | None:
    """Why the tested streams say too much for a model; None if it has not seen them, or if that cannot be told."""
    learnt = learnt_of(model)
    if learnt is not None:
        seen = streams_learnt(parts.test, learnt)
        streams = len({frame.stream for frame in parts.test})
        if trained := seen[Part.TRAIN]:
            return f"{version} has learnt from {len(trained)} of these {streams} streams, which say nothing of it."
        if chose := seen[Part.VALIDATION]:
            return f"{version} was chosen and calibrated on {len(chose)} of these {streams} streams, which flatter it."
        return None
    if not is_made_of(model, parts.listing):
        return None
    if FIGURES_NAME in model.manifest.files:
        return f"{version} has learnt from these very streams, which therefore say nothing of how good it is."
    if parts.part == "all":
        return f"{version} has learnt from most of these streams, which therefore say little of how good it is."
    if parts.part == Part.VALIDATION:
        return f"{version} was chosen and calibrated on these very streams, which therefore flatter it."
    return None


def _cannot_be_told(artifacts: Sequence[Artifact], parts: Parts) -> list[str]:
    """Models of other data sets that do not list what they have learnt from."""
    return [
        f"{_name(artifact, artifacts)} was made of another data set and does not list its frames: "
        "whether it has learnt from these streams cannot be told."
        for artifact in artifacts
        if learnt_of(artifact) is None and not is_made_of(artifact, parts.listing)
    ]


def _majority(parts: Parts, said: Said) -> NamedScores:
    games = parts.listing.games
    trained, tested = _game_numbers(parts.train, games), _game_numbers(said.frames, games)
    return NamedScores(
        name="the commonest game",
        of_frames=score_figures(score(majority_answers(trained, labels=tested, games=len(games)))),
        of_streams=score_figures(
            score(
                majority_answers(
                    trained[_first_of_streams(parts.train)],
                    labels=tested[_first_of_streams(said.frames)],
                    games=len(games),
                )
            )
        ),
    )


def _declared(parts: Parts, said: Said) -> NamedScores:
    games, aliases = parts.listing.games, AliasTable.bundled()
    categories = {frame.declared for frame in said.frames if frame.declared is not None}
    numbers: dict[str | None, int] = {category: number_of(category, games, aliases) for category in categories}
    declared = np.array([numbers.get(frame.declared, NO_GAME) for frame in said.frames], dtype=np.int64)
    tested = _game_numbers(said.frames, games)

    def told(rows: npt.NDArray[np.int64]) -> ScoreFigures:
        return score_figures(score(declared_answers(declared[rows], labels=tested[rows], games=len(games))))

    return NamedScores(
        name=_DECLARED, of_frames=told(np.arange(len(tested))), of_streams=told(_first_of_streams(said.frames))
    )


def _game_numbers(frames: Sequence[FrameFile], games: Sequence[Game]) -> Labels:
    number = {game.id: place for place, game in enumerate(games)}
    return np.array([number[frame.game] for frame in frames], dtype=np.int64)


def _first_of_streams(frames: Sequence[FrameFile]) -> npt.NDArray[np.int64]:
    _, first = np.unique([frame.stream for frame in frames], return_index=True)
    return np.asarray(first, dtype=np.int64)


def _notes(parts: Parts, said: Said, models: Sequence[ModelFigures]) -> list[str]:
    games = len({frame.game for frame in said.frames})
    notes = [model.learnt_from for model in models if model.learnt_from is not None]
    notes += [
        f"{model.name} does not know {len(model.unknown.games)} of the {games} games: "
        "their streams are not in its rows, but measure its unknown rule."
        for model in models
        if model.unknown is not None
    ]
    if parts.listing.missing:
        notes.append(f"Files that the data set names and that are not there: {parts.listing.missing}.")
    if not parts.validation:
        notes.append("No threshold was searched: there is no validation part beside what is evaluated.")
    if not parts.train:
        notes.append("The commonest game is not told: there is no training part beside what is evaluated.")
    streams = {frame.stream for frame in said.frames}
    silent = {frame.stream for frame in said.frames if frame.declared is None}
    if silent == streams:
        notes.append("What believing the declared category comes to is not told: name it with --declared.")
    elif silent:
        notes.append(f"Streams without a declared category, which count as wrong for it: {len(silent)}.")
    return notes


def _refused_figures(shares: Refused) -> RefusedFigures:
    return RefusedFigures(known=shares.known, unknown=shares.unknown)


def _kept_figures(shares: Kept) -> KeptFigures:
    return KeptFigures(coverage=shares.coverage, accuracy=shares.accuracy)
