"""Measure a way to train: every stream tested once, every game held out once, authors apart, and the careless split.

Fifteen or so networks are trained, each on streams that exclude what it is judged on. What they answered is
kept in the working directory, so that a run that was stopped goes on where it was.

* **by stream**: five rotations; over them every stream is tested once by a network that never saw it.
* **random frames**: one rotation of the split that everybody warns of, for comparison.
* **authors**: a game that unrelated people recorded, trained on some of them and tested on the other.
* **unknown games**: five folds; a fifth of the games is held out whole (every fifth in alphabetical order), a
  network learns the others and is shown both the held-out games and known games' streams that it never saw.

The shipped temperature and threshold come from the five rotations' answers to streams that they never saw. What they
come to is measured with a temperature and a threshold from the four other rotations; so are genres, whose thresholds
come from the games held out in the other folds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from core.errors import DataSetError
from core.recognition.aggregate import AnswerRule, NoveltyScore, softmax
from training.data.genres import GenreTable
from training.data.split import ROTATIONS, Split, by_author, by_random_frame, by_stream, held_out_games
from training.fitting.calibrate import fit_temperature, fit_threshold
from training.fitting.learn import Asked, learn
from training.fitting.train import Task
from training.pipeline.overlays import covered_share, with_overlays
from training.scoring.accuracy import Accuracy, JudgedStream, accuracy, auroc, confusion, judge, sampled_means, together
from training.scoring.figures import (
    AnswerFigures,
    GameFigures,
    GenreFigures,
    GenreProtocolFigures,
    HeldOutGame,
    HeldOutGroup,
    LinearFigures,
    NamedScores,
    ProtocolFigures,
    Shares,
    TestFigures,
    UnknownFigures,
)
from training.scoring.genre_scores import choose_thresholds
from training.scoring.scores import (
    Answers,
    Shown,
    UnknownScores,
    concatenated,
    frame_answers,
    majority_answers,
    novelties,
    score,
    stream_answers,
    unknown_scores,
)
from training.scoring.summary import answer_figures, genre_figures, score_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.games import Game
    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.data.genres import Genre
    from training.data.split import Rows
    from training.fitting.checkpoint import Epoch
    from training.fitting.devices import Devices
    from training.pipeline.prepare import Prepared
    from training.pipeline.shards import PackedFrames
    from training.scoring.genre_scores import Chances, Marks

Names: TypeAlias = npt.NDArray[np.str_]
_NEVER = 1e9
_COVER_SAMPLE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A network to be trained and what it is to be asked.

    Attributes:
        name: of the file in which its answers are kept.
        split: training, validation and test rows, of all games.
        held_out: ids of games whose rows are left out of all three.
    """

    name: str
    split: Split
    held_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a trial's network answered.

    Attributes:
        labels: the games it knows.
        test: logits of the test rows of these games.
        overlaid: the same with overlays.
        held_out: logits of all rows of the held-out games.
        genres: of the network's second head, in its order; none without one.
        test_genres: its logits of the test rows, float32[n, genres].
        held_out_genres: its logits of the held-out games' rows.
    """

    labels: tuple[Game, ...]
    test_rows: Rows
    test: Logits
    overlaid: Logits
    held_out_rows: Rows
    held_out: Logits
    best_epoch: int
    genres: tuple[Genre, ...] = ()
    test_genres: Logits | None = None
    held_out_genres: Logits | None = None


def trials(frames: PackedFrames, *, authors: Sequence[tuple[str, str]]) -> tuple[Trial, ...]:
    """All networks that the protocols train; `authors` pairs a game with how its tested author's streams begin.

    Raises:
        DataSetError: there are too few games or streams for a protocol.
    """
    streams, units, games = frames.streams.tolist(), frames.units.tolist(), frames.game_ids.tolist()
    if len(frames.games) < 3:
        raise DataSetError("With fewer than three games none can be held out while two are left to tell apart.")
    folds = min(ROTATIONS, len(frames.games))
    rotations = [by_stream(units, games, rotation=turn, rotations=ROTATIONS) for turn in range(ROTATIONS)]
    return (
        *(Trial(name=f"rotation-{turn}", split=split, held_out=()) for turn, split in enumerate(rotations)),
        *(
            Trial(
                name=f"held-out-{fold}",
                split=rotations[fold],
                held_out=held_out_games(games, fold=fold, folds=folds),
            )
            for fold in range(folds)
        ),
        *(
            Trial(
                name=f"author-{game}-{tested}",
                split=by_author(rotations[0], streams, game=game, tested=tested),
                held_out=(),
            )
            for game, tested in authors
        ),
        Trial(name="random-frames", split=by_random_frame(frames.names, rotation=0, rotations=ROTATIONS), held_out=()),
    )


def attempt(
    trial: Trial,
    prepared: Prepared,
    *,
    devices: Devices,
    directory: Path,
    progress: Callable[[Epoch], None],
) -> Outcome:
    """Train a trial's network and ask it, or read what it answered before.

    Args:
        trial: what to train on and to ask.
        prepared: the data set and how to train.
        devices: on what.
        directory: where answers are kept, and how far a training that was stopped had come.
        progress: is told of every epoch.
    """
    frames, config = prepared.frames, prepared.config
    known = tuple(game for game in frames.games if game.id not in trial.held_out)
    number = {game.id: place for place, game in enumerate(known)}
    ids = frames.game_ids
    labels = np.array([number.get(str(name), -1) for name in ids], dtype=np.int64)
    train, validation, test = (
        rows[labels[rows] >= 0] for rows in (trial.split.train, trial.split.validation, trial.split.test)
    )
    held_out = np.flatnonzero(labels < 0)
    table = GenreTable.bundled()
    # The same list in every trial, so that their answers can be put together.
    genres = table.learnable(frames.games)
    kept = directory / f"{trial.name}-{_fingerprint(frames, config)}.npz"
    if not kept.is_file():
        on_the_way = kept.with_suffix("")
        learnt = learn(
            Task(
                examples=prepared.examples,
                labels=labels,
                streams=frames.streams,
                train=train,
                validation=validation,
                games=len(known),
            ),
            config=config,
            devices=devices,
            marks=table.marks(known, genres) if genres else None,
            directory=on_the_way,
            progress=progress,
        )
        examples = prepared.examples
        asked = {
            "test": learnt.ask(examples.plain, test),
            "overlaid": learnt.ask(examples.overlaid, test),
            "held_out": learnt.ask(examples.plain, held_out),
        }
        parts: dict[str, npt.NDArray[np.generic]] = {"best_epoch": np.array(learnt.fitted.best_epoch)}
        for name, answers in asked.items():
            given = {"appearance": answers.appearance, "layout": answers.layout, "genres": answers.genres}
            parts |= {f"{name}_{kind}": values for kind, values in given.items() if values is not None}
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".part.npz")
        np.savez(unfinished, allow_pickle=False, **parts)
        unfinished.rename(kept)
        shutil.rmtree(on_the_way, ignore_errors=True)
    with np.load(kept) as read:

        def logits(name: str) -> Logits:
            layout = read.get(f"{name}_layout")
            return Asked(appearance=read[f"{name}_appearance"], layout=layout, genres=None).joined(config.layout_weight)

        return Outcome(
            labels=known,
            test_rows=test,
            test=logits("test"),
            overlaid=logits("overlaid"),
            held_out_rows=held_out,
            held_out=logits("held_out"),
            best_epoch=int(read["best_epoch"]),
            genres=genres,
            test_genres=read["test_genres"] if genres else None,
            held_out_genres=read["held_out_genres"] if genres else None,
        )


def figures(
    frames: PackedFrames, outcomes: dict[str, Outcome], *, config: TrainConfig, kinds: GenreTable | None = None
) -> ProtocolFigures:
    """All figures, from the answers of every trial by its name.

    Args:
        frames: the data set.
        outcomes: of all trials.
        config: says what the unknown rule looks at.
        kinds: which games are of one kind; the project's own table if left out.
    """
    kinds = kinds or GenreTable.bundled()
    rotations = [outcomes[f"rotation-{turn}"] for turn in range(ROTATIONS)]
    folds = [one for name, one in outcomes.items() if name.startswith("held-out-")]
    temperature = _temperature(frames, rotations)
    # Judged by a temperature that the very same streams gave, confidences would look better than they are.
    crossed = [_temperature(frames, [*rotations[:turn], *rotations[turn + 1 :]]) for turn in range(ROTATIONS)]
    authors = {name: one for name, one in outcomes.items() if name.startswith("author-")}
    careless = outcomes["random-frames"]
    return ProtocolFigures(
        by_stream=test_figures(frames, rotations, temperatures=crossed),
        by_random_frame=Shares.of(_accuracy(frames, careless)),
        authors={name.removeprefix("author-"): Shares.of(_accuracy(frames, one)) for name, one in authors.items()},
        unknown=_unknown(frames, rotations, folds, temperature=temperature, config=config, kinds=kinds),
        temperature=temperature,
        best_epochs=tuple(one.best_epoch for one in rotations),
        of_random_frames=_of_frames(frames, [careless], temperatures=[temperature]),
        genres=_genres(frames, rotations, folds, kinds=kinds),
        nulls=(_majority(frames, rotations),),
    )


def linear_figures(frames: PackedFrames, outcomes: dict[str, Outcome], *, name: str) -> LinearFigures:
    """What a machine that gives no chances answered in every trial.

    Args:
        frames: the data set.
        outcomes: of all trials; margins in place of logits.
        name: what it is called in tables.
    """
    rotations = [outcomes[f"rotation-{turn}"] for turn in range(ROTATIONS)]
    folds = [one for trial, one in outcomes.items() if trial.startswith("held-out-")]
    parts = [_accuracy(frames, one) for one in rotations]
    return LinearFigures(
        name=name,
        by_stream=Shares.of(together(parts)),
        overlaid=Shares.of(together([_accuracy(frames, one, overlaid=True) for one in rotations])),
        parts=tuple(Shares.of(part) for part in parts),
        by_random_frame=Shares.of(_accuracy(frames, outcomes["random-frames"])),
        authors={
            trial.removeprefix("author-"): Shares.of(_accuracy(frames, one))
            for trial, one in outcomes.items()
            if trial.startswith("author-")
        },
        stream_auroc=float(
            np.mean(
                [
                    unknown_scores(
                        _shown(frames, one.test, one.test_rows),
                        _shown(frames, one.held_out, one.held_out_rows),
                        rule=rule_of(one.labels),
                    ).stream_auroc
                    for one in folds
                ]
            )
        ),
    )


def test_figures(
    frames: PackedFrames,
    outcomes: Sequence[Outcome],
    *,
    temperatures: Sequence[float] | None = None,  # noqa: PT028 (no test, whatever its name begins with)
) -> TestFigures:
    """What networks of all games answered to streams that they never saw; the outcomes' test rows do not overlap.

    Args:
        frames: the data set.
        outcomes: of the networks.
        temperatures: of each, fitted on other streams; without them nothing is told that rests on confidence.
    """
    parts = [_accuracy(frames, one) for one in outcomes]
    overlaid = [_accuracy(frames, one, overlaid=True) for one in outcomes]
    rows = np.concatenate([one.test_rows for one in outcomes])
    ids = np.array([game.id for game in frames.games])
    right = frames.game_ids[rows]
    answered = ids[np.concatenate([one.test for one in outcomes]).argmax(axis=1)]
    answered_overlaid = ids[np.concatenate([one.overlaid for one in outcomes]).argmax(axis=1)]
    judged = [stream for one in outcomes for stream in _judged(frames, one)]
    table = confusion(right.tolist(), answered.tolist(), frames.games)
    sample = rows[:: max(1, len(rows) // _COVER_SAMPLE)]
    figures_ = TestFigures(
        all=Shares.of(together(parts)),
        overlaid=Shares.of(together(overlaid)),
        covered_share=float(np.mean([_covered(frames, int(row)) for row in sample])),
        parts=tuple(Shares.of(part) for part in parts),
        games=tuple(
            _game_figures(frames, place, right, answered, answered_overlaid, judged, table)
            for place, game in enumerate(frames.games)
            if (right == game.id).any()
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in table),
        wrong_streams=tuple(f"{one.stream} taken for {one.verdict.best.game.id}" for one in judged if not one.is_right),
    )
    if temperatures is None:
        return figures_
    return figures_.model_copy(
        update={
            "of_frames": _of_frames(frames, outcomes, temperatures=temperatures),
            "of_streams": _of_streams(frames, outcomes, temperatures=temperatures),
            "overlaid_frames": _of_frames(frames, outcomes, temperatures=temperatures, overlaid=True),
            "overlaid_streams": _of_streams(frames, outcomes, temperatures=temperatures, overlaid=True),
        }
    )


def rule_of(
    labels: tuple[Game, ...],
    *,
    temperature: float = 1.0,
    score: NoveltyScore = NoveltyScore.MAX_LOGIT,
    threshold: float = _NEVER,
) -> AnswerRule:
    """A rule for judging; by itself it refuses nothing."""
    return AnswerRule(
        labels=labels, temperature=temperature, novelty_score=score, unknown_threshold=threshold, model="measured"
    )


def _accuracy(frames: PackedFrames, one: Outcome, *, overlaid: bool = False) -> Accuracy:
    return accuracy(
        one.overlaid if overlaid else one.test,
        game_ids=frames.game_ids[one.test_rows],
        streams=frames.streams[one.test_rows],
        rule=rule_of(one.labels),
    )


def _judged(
    frames: PackedFrames, one: Outcome, *, overlaid: bool = False, rule: AnswerRule | None = None
) -> tuple[JudgedStream, ...]:
    return judge(
        one.overlaid if overlaid else one.test,
        game_ids=frames.game_ids[one.test_rows],
        streams=frames.streams[one.test_rows],
        rule=rule or rule_of(one.labels),
    )


def _temperature(frames: PackedFrames, outcomes: Sequence[Outcome]) -> float:
    rows = np.concatenate([one.test_rows for one in outcomes])
    return fit_temperature(
        np.concatenate([one.test for one in outcomes]), labels=frames.labels[rows], streams=frames.streams[rows]
    )


def _of_frames(
    frames: PackedFrames, outcomes: Sequence[Outcome], *, temperatures: Sequence[float], overlaid: bool = False
) -> AnswerFigures:
    logits = [one.overlaid if overlaid else one.test for one in outcomes]
    labels = [frames.labels[one.test_rows] for one in outcomes]

    def answers(temperature_of: Sequence[float]) -> Answers:
        of_outcomes = zip(logits, labels, temperature_of, strict=True)
        return concatenated(
            [frame_answers(said, labels=shown, temperature=temperature) for said, shown, temperature in of_outcomes]
        )

    return answer_figures(
        answers(temperatures),
        uncalibrated=answers([1.0] * len(outcomes)),
        chances=np.concatenate(
            [
                softmax(said.astype(np.float64) / temperature)
                for said, temperature in zip(logits, temperatures, strict=True)
            ]
        ),
        games=frames.games,
    )


def _of_streams(
    frames: PackedFrames, outcomes: Sequence[Outcome], *, temperatures: Sequence[float], overlaid: bool = False
) -> AnswerFigures:
    def answers(temperature_of: Sequence[float]) -> Answers:
        return concatenated(
            [
                stream_answers(
                    _judged(frames, one, overlaid=overlaid, rule=rule_of(one.labels, temperature=temperature)),
                    games=one.labels,
                )
                for one, temperature in zip(outcomes, temperature_of, strict=True)
            ]
        )

    means = [
        sampled_means(one.overlaid if overlaid else one.test, streams=frames.streams[one.test_rows]) for one in outcomes
    ]
    return answer_figures(
        answers(temperatures),
        uncalibrated=answers([1.0] * len(outcomes)),
        chances=np.concatenate(
            [softmax(mean / temperature) for mean, temperature in zip(means, temperatures, strict=True)]
        ),
        games=frames.games,
    )


def _majority(frames: PackedFrames, rotations: Sequence[Outcome]) -> NamedScores:
    """Of each rotation, what most of the other streams' frames, or most of the other streams, show."""
    games = len(frames.games)
    _, first, of_frame = np.unique(frames.streams, return_index=True, return_inverse=True)
    of_frames, of_streams = [], []
    for one in rotations:
        is_tested = np.isin(np.arange(len(frames)), one.test_rows)
        of_frames.append(majority_answers(frames.labels[~is_tested], labels=frames.labels[is_tested], games=games))
        of_streams.append(
            majority_answers(
                frames.labels[first[np.unique(of_frame[~is_tested])]],
                labels=frames.labels[first[np.unique(of_frame[is_tested])]],
                games=games,
            )
        )
    return NamedScores(
        name="the commonest game",
        of_frames=score_figures(score(concatenated(of_frames))),
        of_streams=score_figures(score(concatenated(of_streams))),
    )


def _unknown(
    frames: PackedFrames,
    rotations: Sequence[Outcome],
    folds: Sequence[Outcome],
    *,
    temperature: float,
    config: TrainConfig,
    kinds: GenreTable,
) -> UnknownFigures:
    score_ = config.novelty_score
    by_score = {
        other: [
            unknown_scores(
                _shown(frames, one.test, one.test_rows),
                _shown(frames, one.held_out, one.held_out_rows),
                rule=rule_of(one.labels, temperature=temperature, score=other),
            )
            for one in folds
        ]
        for other in NoveltyScore
    }

    def unseen(one: Outcome, *, overlaid: bool = False) -> npt.NDArray[np.float64]:
        rule = rule_of(one.labels, temperature=temperature, score=score_)
        return novelties(_judged(frames, one, overlaid=overlaid, rule=rule))

    known = [unseen(one) for one in rotations]
    threshold = fit_threshold(np.concatenate(known), refused=config.known_refused)
    crossed = [
        fit_threshold(np.concatenate([*known[:turn], *known[turn + 1 :]]), refused=config.known_refused)
        for turn in range(len(rotations))
    ]
    measured = by_score[score_]
    games = [
        _held_out_game(game, one, found, threshold=threshold, frames=frames, kinds=kinds)
        for one, found in zip(folds, measured, strict=True)
        for game in found.stream_auroc_of_games
    ]
    games.sort(key=lambda game: game.id)
    held_out = np.concatenate([found.of_streams.unknown for found in measured])
    in_folds = np.concatenate([found.of_streams.known for found in measured])
    return UnknownFigures(
        score=score_,
        stream_auroc=float(np.mean([found.stream_auroc for found in measured])),
        frame_auroc=float(np.mean([found.frame_auroc for found in measured])),
        stream_auroc_of_scores={
            str(other): float(np.mean([found.stream_auroc for found in of_folds]))
            for other, of_folds in by_score.items()
        },
        held_out_refused=float((held_out > threshold).mean()),
        known_refused=_refused(known, crossed),
        known_refused_in_folds=float((in_folds > threshold).mean()),
        threshold=threshold,
        games=tuple(games),
        known_refused_overlaid=_refused([unseen(one, overlaid=True) for one in rotations], crossed),
        near=_group([game for game in games if game.near], measured, threshold=threshold),
        far=_group([game for game in games if game.near == ()], measured, threshold=threshold),
    )


def _shown(frames: PackedFrames, logits: Logits, rows: Rows) -> Shown:
    return Shown(logits=logits, game_ids=frames.game_ids[rows], streams=frames.streams[rows])


def _refused(novelties_: Sequence[npt.NDArray[np.float64]], thresholds: Sequence[float]) -> float:
    pairs = zip(novelties_, thresholds, strict=True)
    return float(np.concatenate([mine > threshold for mine, threshold in pairs]).mean())


def _held_out_game(
    game: str, one: Outcome, found: UnknownScores, *, threshold: float, frames: PackedFrames, kinds: GenreTable
) -> HeldOutGame:
    mine = [stream for stream in found.judged if stream.game == game]
    answers = [stream.verdict.best.game.id for stream in mine]
    (itself,) = [other for other in frames.games if other.id == game]
    return HeldOutGame(
        id=game,
        streams=len(mine),
        auroc=found.stream_auroc_of_games[game],
        refused=float((novelties(mine) > threshold).mean()),
        taken_for=max(sorted(set(answers)), key=answers.count),
        near=near_ones(itself, one.labels, kinds),
    )


def near_ones(game: Game, known: Sequence[Game], kinds: GenreTable) -> tuple[str, ...] | None:
    """Ids of the known games of the same kind; None where the table says nothing of the game itself.

    Of the same kind is what shares two thirds of the genres that either has (the Jaccard index): a shooter among
    shooters is, a building game in which one may also shoot is not.
    """
    mine = set(kinds.of(game.name))
    if not mine:
        return None
    others = {other.id: set(kinds.of(other.name)) for other in known}
    return tuple(sorted(name for name, theirs in others.items() if 3 * len(mine & theirs) >= 2 * len(mine | theirs)))


def _group(games: Sequence[HeldOutGame], measured: Sequence[UnknownScores], *, threshold: float) -> HeldOutGroup | None:
    ids = [game.id for game in games]
    of_folds = [(found.of_streams, np.array([one.game in ids for one in found.judged])) for found in measured]
    some = [(streams.known, streams.unknown[mine]) for streams, mine in of_folds if mine.any()]
    if not some:
        return None
    theirs = np.concatenate([unknown for _, unknown in some])
    return HeldOutGroup(
        games=tuple(ids),
        streams=len(theirs),
        stream_auroc=float(np.mean([auroc(known, unknown) for known, unknown in some])),
        refused=float((theirs > threshold).mean()),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _GenreStreams:
    """Streams of one outcome: their chances and right genres, and the genres of all streams but those."""

    chances: Chances
    truth: Marks
    others: Marks


def _genres(
    frames: PackedFrames, rotations: Sequence[Outcome], folds: Sequence[Outcome], *, kinds: GenreTable
) -> GenreProtocolFigures | None:
    known = [_genre_streams(frames, one, one.test_genres, one.test_rows, kinds) for one in rotations]
    held_out = [_genre_streams(frames, one, one.held_out_genres, one.held_out_rows, kinds) for one in folds]
    both = ([one for one in known if one is not None], [one for one in held_out if one is not None])
    if len(both[0]) < len(rotations) or len(both[1]) < len(folds):
        return None
    if not all(sum(len(part.chances) for part in parts) for parts in both):
        return None
    genres = folds[0].genres

    def crossed(parts: Sequence[_GenreStreams]) -> GenreFigures:
        thresholds = [
            np.broadcast_to(_genre_thresholds([*parts[:turn], *parts[turn + 1 :]]), part.chances.shape)
            for turn, part in enumerate(parts)
        ]
        return genre_figures(
            np.concatenate([part.chances for part in parts]),
            truth=np.concatenate([part.truth for part in parts]),
            thresholds=np.concatenate(thresholds),
            genres=genres,
            trained_on=np.concatenate([part.others for part in parts]),
        )

    chosen = _genre_thresholds(both[1])
    return GenreProtocolFigures(
        known=crossed(both[0]),
        held_out=crossed(both[1]),
        thresholds={genre.id: float(threshold) for genre, threshold in zip(genres, chosen, strict=True)},
    )


def _genre_streams(
    frames: PackedFrames, one: Outcome, logits: Logits | None, rows: Rows, kinds: GenreTable
) -> _GenreStreams | None:
    if logits is None or not len(rows):
        return None
    of_games = [set(kinds.of(game.name)) for game in frames.games]
    marks = np.array([[genre in mine for genre in one.genres] for mine in of_games], dtype=np.bool_)
    _, first = np.unique(frames.streams, return_index=True)
    shown = frames.labels[first]
    # What a game nobody has put into the table looks like, nobody can be right about.
    is_told = np.array([bool(mine) for mine in of_games], dtype=np.bool_)[shown]
    is_tested = np.isin(first, rows)
    chances = np.asarray(expit(sampled_means(logits, streams=frames.streams[rows])), dtype=np.float64)
    return _GenreStreams(
        chances=chances[is_told[is_tested]],
        truth=marks[shown[is_tested & is_told]],
        others=marks[shown[~is_tested & is_told]],
    )


def _genre_thresholds(parts: Sequence[_GenreStreams]) -> Chances:
    return choose_thresholds(
        np.concatenate([part.chances for part in parts]), truth=np.concatenate([part.truth for part in parts])
    )


def _game_figures(
    frames: PackedFrames,
    place: int,
    right: Names,
    answered: Names,
    answered_overlaid: Names,
    judged: Sequence[JudgedStream],
    table: npt.NDArray[np.int64],
) -> GameFigures:
    game = frames.games[place]
    mine = right == game.id
    streams = [stream for stream in judged if stream.game == game.id]
    others = [other for other in np.argsort(-table[place]) if other != place and table[place, other] > 0]
    return GameFigures(
        id=game.id,
        name=game.name,
        shares=Shares(
            frames_right=float((answered[mine] == game.id).mean()),
            streams_right=float(np.mean([stream.is_right for stream in streams])),
            frames=int(mine.sum()),
            streams=len(streams),
        ),
        overlaid_frames_right=float((answered_overlaid[mine] == game.id).mean()),
        taken_for=tuple(frames.games[other].name for other in others[:2]),
    )


def _fingerprint(frames: PackedFrames, config: TrainConfig) -> str:
    """Changes with the data set and with all of the configuration that a trial's own answers depend on."""
    layout = config.layout and dataclasses.replace(config.layout, weight=0.0)
    aside = dataclasses.replace(
        config, layout=layout, known_refused=0.0, novelty_score=NoveltyScore.MAX_LOGIT, streams_per_game=0
    )
    return hashlib.sha256(repr((frames.sha256, frames.names, frames.units.tolist(), aside)).encode()).hexdigest()[:16]


def _covered(frames: PackedFrames, row: int) -> float:
    picture = frames.picture(row)
    return covered_share(picture, with_overlays(picture, stream=str(frames.streams[row]), index=row))
