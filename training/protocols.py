"""Measure a way to train: every stream tested once, every game held out once, authors apart, and the careless split.

Fifteen or so networks are trained, each on streams that exclude what it is judged on. What they answered is
kept in the working directory, so that a run that was stopped goes on where it was.

* **by stream**: five rotations; over them every stream is tested once by a network that never saw it.
* **random frames**: one rotation of the split that everybody warns of, for comparison.
* **authors**: a game that unrelated people recorded, trained on some of them and tested on the other.
* **unknown games**: five folds; a fifth of the games is held out whole (every fifth in alphabetical order), a
  network learns the others and is shown both the held-out games and known games' streams that it never saw.

The shipped temperature and threshold come from the five rotations' answers to streams that they never saw. The
share of known streams that is refused is measured with a threshold from the four other rotations.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from core.errors import DataSetError
from core.recognition.aggregate import AnswerRule, NoveltyScore
from training.calibrate import fit_temperature, fit_threshold
from training.evaluate import Accuracy, JudgedStream, accuracy, auroc, confusion, judge, together
from training.figures import (
    GameFigures,
    HeldOutGame,
    ProtocolFigures,
    Shares,
    TestFigures,
    UnknownFigures,
)
from training.layout import cosines, fit_layout, joined
from training.overlays import covered_share, with_overlays
from training.split import Split, by_author, by_random_frame, by_stream, held_out_games
from training.train import Epoch, fit, predict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.games import Game
    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.pipeline import Activations, PackedFrames
    from training.split import Rows

ROTATIONS = 5
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
    """

    labels: tuple[Game, ...]
    test_rows: Rows
    test: Logits
    overlaid: Logits
    held_out_rows: Rows
    held_out: Logits
    best_epoch: int


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
    frames: PackedFrames,
    views: tuple[Activations, ...],
    overlaid: Activations,
    *,
    config: TrainConfig,
    directory: Path,
    progress: Callable[[Epoch], None],
) -> Outcome:
    """Train a trial's network and ask it, or read what it answered before."""
    known = tuple(game for game in frames.games if game.id not in trial.held_out)
    number = {game.id: place for place, game in enumerate(known)}
    ids = frames.game_ids
    labels = np.array([number.get(str(name), -1) for name in ids], dtype=np.int64)
    train, validation, test = (
        rows[labels[rows] >= 0] for rows in (trial.split.train, trial.split.validation, trial.split.test)
    )
    held_out = np.flatnonzero(labels < 0)
    learnt = np.sort(np.concatenate([train, validation]))
    kept = directory / f"{trial.name}-{_fingerprint(frames, config)}.npz"
    if not kept.is_file():
        fitted = fit(
            views,
            labels=labels,
            streams=frames.streams,
            train=train,
            validation=validation,
            games=len(known),
            config=config,
            progress=progress,
        )
        layout = fit_layout(views, labels=labels, rows=learnt, games=len(known), grid=config.layout_grid)
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".part.npz")
        asked = {"test": (views[0], test), "overlaid": (overlaid, test), "held_out": (views[0], held_out)}
        parts: dict[str, npt.NDArray[np.generic]] = {}
        for name, (activations, rows) in asked.items():
            empty = np.zeros((0, len(known)), dtype=np.float32)
            parts[f"{name}_appearance"] = predict(fitted.network.tail, activations, rows) if len(rows) else empty
            parts[f"{name}_layout"] = cosines(layout, activations, rows) if len(rows) else empty
        parts["best_epoch"] = np.array(fitted.best_epoch)
        np.savez(unfinished, allow_pickle=False, **parts)
        unfinished.rename(kept)
    with np.load(kept) as answers:
        return Outcome(
            labels=known,
            test_rows=test,
            test=joined(answers["test_appearance"], answers["test_layout"], weight=config.layout_weight),
            overlaid=joined(answers["overlaid_appearance"], answers["overlaid_layout"], weight=config.layout_weight),
            held_out_rows=held_out,
            held_out=joined(answers["held_out_appearance"], answers["held_out_layout"], weight=config.layout_weight),
            best_epoch=int(answers["best_epoch"]),
        )


def figures(frames: PackedFrames, outcomes: dict[str, Outcome], *, config: TrainConfig) -> ProtocolFigures:
    """All figures, from the answers of every trial by its name."""
    rotations = [outcomes[f"rotation-{turn}"] for turn in range(ROTATIONS)]
    folds = [one for name, one in outcomes.items() if name.startswith("held-out-")]
    temperature = fit_temperature(
        np.concatenate([one.test for one in rotations]),
        labels=np.concatenate([frames.labels[one.test_rows] for one in rotations]),
        streams=np.concatenate([frames.streams[one.test_rows] for one in rotations]),
    )
    authors = {name: one for name, one in outcomes.items() if name.startswith("author-")}
    return ProtocolFigures(
        by_stream=test_figures(frames, rotations),
        by_random_frame=Shares.of(_accuracy(frames, outcomes["random-frames"])),
        authors={name.removeprefix("author-"): Shares.of(_accuracy(frames, one)) for name, one in authors.items()},
        unknown=_unknown(frames, rotations, folds, temperature=temperature, config=config),
        temperature=temperature,
        best_epochs=tuple(one.best_epoch for one in rotations),
    )


def test_figures(frames: PackedFrames, outcomes: Sequence[Outcome]) -> TestFigures:
    """What networks of all games answered to streams that they never saw; the outcomes' test rows do not overlap."""
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
    return TestFigures(
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
    frames: PackedFrames, one: Outcome, *, held_out: bool = False, single: bool = False, rule: AnswerRule | None = None
) -> tuple[JudgedStream, ...]:
    rows = one.held_out_rows if held_out else one.test_rows
    streams = np.asarray(frames.names)[rows] if single else frames.streams[rows]
    return judge(
        one.held_out if held_out else one.test,
        game_ids=frames.game_ids[rows],
        streams=streams,
        rule=rule or rule_of(one.labels),
    )


def _novelties(judged: Sequence[JudgedStream]) -> npt.NDArray[np.float64]:
    return np.array([one.verdict.novelty for one in judged])


def _unknown(
    frames: PackedFrames,
    rotations: Sequence[Outcome],
    folds: Sequence[Outcome],
    *,
    temperature: float,
    config: TrainConfig,
) -> UnknownFigures:
    def novel(one: Outcome, score: NoveltyScore, *, held_out: bool, single: bool = False) -> npt.NDArray[np.float64]:
        rule = rule_of(one.labels, temperature=temperature, score=score)
        return _novelties(_judged(frames, one, held_out=held_out, single=single, rule=rule))

    def mean_auroc(score: NoveltyScore, *, single: bool = False) -> float:
        return float(
            np.mean(
                [
                    auroc(
                        novel(one, score, held_out=False, single=single),
                        novel(one, score, held_out=True, single=single),
                    )
                    for one in folds
                ]
            )
        )

    score = config.novelty_score
    unseen = [novel(one, score, held_out=False) for one in rotations]
    threshold = fit_threshold(np.concatenate(unseen), refused=config.known_refused)
    crossed = [
        mine > fit_threshold(np.concatenate(unseen[:turn] + unseen[turn + 1 :]), refused=config.known_refused)
        for turn, mine in enumerate(unseen)
    ]
    games: list[HeldOutGame] = []
    refused: list[bool] = []
    for one in folds:
        known = novel(one, score, held_out=False)
        rule = rule_of(one.labels, temperature=temperature, score=score, threshold=threshold)
        judged = _judged(frames, one, held_out=True, rule=rule)
        refused += [stream.is_refused for stream in judged]
        for game in sorted({stream.game for stream in judged}):
            mine = [stream for stream in judged if stream.game == game]
            answers = [stream.verdict.best.game.id for stream in mine]
            games.append(
                HeldOutGame(
                    id=game,
                    streams=len(mine),
                    auroc=auroc(known, _novelties(mine)),
                    refused=float(np.mean([stream.is_refused for stream in mine])),
                    taken_for=max(sorted(set(answers)), key=answers.count),
                )
            )
    in_folds = np.concatenate([novel(one, score, held_out=False) > threshold for one in folds])
    return UnknownFigures(
        score=score,
        stream_auroc=mean_auroc(score),
        frame_auroc=mean_auroc(score, single=True),
        stream_auroc_of_scores={str(other): mean_auroc(other) for other in NoveltyScore},
        held_out_refused=float(np.mean(refused)),
        known_refused=float(np.concatenate(crossed).mean()),
        known_refused_in_folds=float(in_folds.mean()),
        threshold=threshold,
        games=tuple(sorted(games, key=lambda game: game.id)),
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
    aside = dataclasses.replace(
        config, layout_weight=0.0, known_refused=0.0, novelty_score=NoveltyScore.MAX_LOGIT, streams_per_game=0
    )
    return hashlib.sha256(repr((frames.sha256, frames.names, frames.units.tolist(), aside)).encode()).hexdigest()[:16]


def _covered(frames: PackedFrames, row: int) -> float:
    picture = frames.picture(row)
    return covered_share(picture, with_overlays(picture, stream=str(frames.streams[row]), index=row))
