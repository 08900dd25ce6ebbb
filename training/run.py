"""The verb `run`: a data set to a model directory, with everything that says how good it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from scipy.special import expit

from core.errors import ArtifactError, TrainingError
from core.frames import IMAGE_CONVENTION
from core.recognition.artifact import (
    NETWORK_NAME,
    DataSetSection,
    GenreSection,
    ImageSection,
    LabelSection,
    Manifest,
    UnknownSection,
)
from training.data.genres import GenreTable
from training.data.learnt import LEARNT_NAME, learnt_text
from training.data.split import Part
from training.finish import GoldenFrame, Trained, finish
from training.fitting.calibrate import fit_temperature, fit_threshold
from training.fitting.devices import prepare_devices
from training.fitting.learn import Learnt, learn
from training.fitting.train import Task, write_log
from training.pipeline.prepare import Prepared, prepare, split_of
from training.protocols import Outcome, rule_of, test_figures
from training.reports.look import looks
from training.reports.page import GameShare, Story, percent, told
from training.scoring.accuracy import judge, sampled_means
from training.scoring.figures import ProtocolFigures
from training.scoring.genre_scores import choose_thresholds
from training.scoring.judged import JudgedFrames, micro_roc

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data.genres import Genre
    from training.data.split import Split
    from training.fitting.checkpoint import Epoch
    from training.fitting.devices import Processes
    from training.scoring.figures import TestFigures

_COMPARED_FRAMES = 256
_GOLDEN_FRAMES_PER_GAME = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What `run` is asked for.

    Attributes:
        data: folders of games, or a manifest of `export`.
        stored: where the frames of a manifest lie.
        out: the model directory to write.
        work: what is kept between runs, and how far one that was stopped had come.
        figures: of `protocols`; None measures this one training.
        version: of the model.
        processes: that train together; None for this one alone.
        tensorboard: a folder for TensorBoard's logs; None for none.
        keeps_keras: whether the model directory also holds the network as Keras has it.
        is_fresh: whether to begin anew where a run was stopped on its way.
    """

    data: Path
    stored: Path
    out: Path
    work: Path
    figures: Path | None = None
    version: str = "gamespotter-1"
    processes: Processes | None = None
    tensorboard: Path | None = None
    keeps_keras: bool = False
    is_fresh: bool = False


def run(options: RunOptions, *, config: TrainConfig) -> None:
    """Train a model and write it to `options.out`; what was stopped goes on.

    Without `figures`, the parts are those that a manifest names, or a folder per part. Where there are none, a fifth
    of each game's streams is kept for the test, and one more stream each decides when to stop and gives temperature
    and threshold. With the figures of `protocols`, the recipe has been tested: temperature and threshold are taken
    from there, and all streams but those that decide when to stop are trained on.

    Raises:
        ArtifactError: there is something at `out` already.
        DataSetError: the data set cannot be trained on.
        TrainingError: the network cannot be built, fitted or exported, or there are no such figures.
    """
    console = Console()
    if options.out.exists():
        raise ArtifactError(f"There is already something at {options.out}; a model is never written over.")
    measured = _read_figures(options.figures) if options.figures is not None else None
    devices = prepare_devices(config.fitting.precision, processes=options.processes)
    console.print(f"Training with {devices.told}", highlight=False)
    # What is decoded each process keeps for itself, be it on one machine or another; the way of the training is one.
    kept = options.work if devices.is_first else options.work / f"process-{devices.share.process}"
    prepared = prepare(data=options.data, stored=options.stored, config=config, work=kept, console=console)
    frames = prepared.frames
    split = split_of(frames, is_tested=measured is None)
    on_the_way = options.work / "runs" / _fingerprint(prepared, split)
    if options.is_fresh and devices.is_first:
        shutil.rmtree(on_the_way, ignore_errors=True)
    table = GenreTable.bundled()
    genres = table.learnable(frames.games)

    layout_rows = split.train if measured is None else np.arange(len(frames))

    def ended(epoch: Epoch) -> None:
        console.print(told(epoch), highlight=False)

    learnt = learn(
        Task(
            examples=prepared.examples,
            labels=frames.labels,
            streams=frames.streams,
            train=split.train,
            validation=split.validation,
            games=len(frames.games),
        ),
        config=config,
        devices=devices,
        marks=table.marks(frames.games, genres) if genres else None,
        directory=on_the_way,
        progress=ended,
        layout_rows=layout_rows,
        tensorboard=options.tensorboard,
    )
    if not devices.is_first:
        return
    if measured is None:
        temperature, threshold = _calibrated(prepared, split, learnt)
        test = _tested(prepared, split, learnt, temperature=temperature)
    else:
        test, temperature, threshold = measured.by_stream, measured.temperature, measured.unknown.threshold
    manifest = Manifest(
        version=options.version,
        labels=tuple(LabelSection(id=game.id, name=game.name) for game in frames.games),
        genres=_genre_sections(prepared, split, learnt, genres, measured),
        image=ImageSection(**dataclasses.asdict(IMAGE_CONVENTION)),
        temperature=temperature,
        unknown=UnknownSection(score=config.novelty_score, threshold=threshold),
        data_set=DataSetSection(
            name=options.data.resolve().stem if options.data.is_file() else options.data.resolve().name,
            sha256=frames.sha256,
            games=len(frames.games),
            streams=len(set(frames.streams.tolist())),
            frames=len(frames),
            manifest=prepared.listing.manifest,
            flags=_flags_learnt(prepared, split),
        ),
        commit=_commit(),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        # `write_artifact` fills in the sums of what it writes; the network must be named for the manifest to be one.
        files={NETWORK_NAME: "0" * 64},
    )
    unseen = _unseen(prepared, split, learnt, temperature=temperature)
    story = Story(
        manifest=manifest,
        games=_shares(prepared, split),
        test=test,
        protocols=measured,
        split=_told(split, frames.streams),
        config_json=config.to_json(),
        epochs=learnt.fitted.epochs,
        best_epoch=learnt.fitted.best_epoch,
        agreement=None,
        micro_roc=micro_roc(unseen) if measured is None else None,
        looks=looks(
            learnt.fitted.network,
            unseen,
            of="frames of test streams"
            if len(split.test)
            else "frames of validation streams, which decided when to stop",
            augment=config.augment,
            seed=config.seed,
        ),
    )
    listed = prepared.listing.frames
    told_apart = {
        Part.TRAIN: [listed[row] for row in np.setdiff1d(layout_rows, split.validation)],
        Part.VALIDATION: [listed[row] for row in split.validation],
    }
    files = {
        "config.json": config.to_json().encode(),
        "log.csv": write_log(learnt.fitted.epochs).encode(),
        LEARNT_NAME: learnt_text(told_apart).encode(),
    }
    if measured is not None:
        files["figures.json"] = (measured.model_dump_json(indent=1) + "\n").encode()
    finish(
        Trained(
            network=learnt.whole(),
            manifest=manifest,
            story=story,
            files=files,
            golden=_golden(prepared, split),
            keeps_keras=options.keeps_keras,
            compared=np.stack([frames.picture(row) for row in _sample(len(frames))]),
        ),
        out=options.out,
        console=console,
    )
    shutil.rmtree(on_the_way, ignore_errors=True)
    console.print(
        f"{percent(test.all.frames_right)} of frames and {percent(test.all.streams_right)} of streams "
        f"never seen, {percent(test.overlaid.frames_right)} of frames with overlays",
        highlight=False,
    )


def _sample(frames: int) -> list[int]:
    return [int(row) for row in np.linspace(0, frames - 1, min(_COMPARED_FRAMES, frames)).astype(int)]


def _flags_learnt(prepared: Prepared, split: Split) -> tuple[int, ...]:
    """Numbers of the moderators' flags without which the network would have been told something else."""
    rows = [*split.train.tolist(), *split.validation.tolist()]
    return tuple(sorted({flag for row in rows for flag in prepared.listing.frames[row].flags}))


def _tested(prepared: Prepared, split: Split, learnt: Learnt, *, temperature: float) -> TestFigures:
    frames, examples = prepared.frames, prepared.examples
    outcome = Outcome(
        labels=frames.games,
        test_rows=split.test,
        test=learnt.logits(examples.plain, split.test),
        overlaid=learnt.logits(examples.overlaid, split.test),
        held_out_rows=np.zeros(0, dtype=np.int64),
        held_out=np.zeros((0, len(frames.games)), dtype=np.float32),
        best_epoch=learnt.fitted.best_epoch,
    )
    return test_figures(frames, [outcome], temperatures=[temperature])


def _unseen(prepared: Prepared, split: Split, learnt: Learnt, *, temperature: float) -> JudgedFrames:
    """Frames of streams that were not trained on, as the whole model answers them."""
    frames = prepared.frames
    rows = split.test if len(split.test) else split.validation
    return JudgedFrames(
        games=frames.games,
        logits=learnt.logits(prepared.examples.plain, rows),
        labels=frames.labels[rows],
        streams=frames.streams[rows],
        temperature=temperature,
        picture=lambda place: frames.picture(int(rows[place])),
        withheld=prepared.listing.withheld,
    )


def _calibrated(prepared: Prepared, split: Split, learnt: Learnt) -> tuple[float, float]:
    frames, config, rows = prepared.frames, prepared.config, split.validation
    answered = learnt.logits(prepared.examples.plain, rows)
    temperature = fit_temperature(answered, labels=frames.labels[rows], streams=frames.streams[rows])
    rule = rule_of(frames.games, temperature=temperature, score=config.novelty_score)
    judged = judge(answered, game_ids=frames.game_ids[rows], streams=frames.streams[rows], rule=rule)
    novelties = np.array([one.verdict.novelty for one in judged])
    return temperature, fit_threshold(novelties, refused=config.known_refused)


def _genre_sections(
    prepared: Prepared, split: Split, learnt: Learnt, genres: tuple[Genre, ...], measured: ProtocolFigures | None
) -> tuple[GenreSection, ...]:
    """Thresholds of games held out whole where there are such, else of validation streams of known games."""
    if not genres:
        return ()
    if measured is not None and measured.genres is not None:
        found = measured.genres.thresholds
        return tuple(GenreSection(id=one.id, name=one.name, threshold=found[one.id]) for one in genres)
    frames, rows = prepared.frames, split.validation
    logits = learnt.ask(prepared.examples.plain, rows).genres
    if logits is None:
        return ()
    # Of streams, as the bot answers; a game that nobody has put into the table tells nothing.
    _, first = np.unique(frames.streams[rows], return_index=True)
    truth = GenreTable.bundled().marks(frames.games, genres)[frames.labels[rows[first]]]
    chances = np.asarray(expit(sampled_means(logits, streams=frames.streams[rows])), dtype=np.float64)
    thresholds = choose_thresholds(chances[truth.any(axis=1)], truth=truth[truth.any(axis=1)])
    return tuple(
        GenreSection(id=one.id, name=one.name, threshold=float(value))
        for one, value in zip(genres, thresholds, strict=True)
    )


def _golden(prepared: Prepared, split: Split) -> tuple[GoldenFrame, ...]:
    """Frames of streams that were not trained on, of each game whose pictures may be passed on."""
    frames = prepared.frames
    unseen = split.test if len(split.test) else split.validation
    chosen = []
    for place, game in enumerate(frames.games):
        rows = unseen[frames.labels[unseen] == place]
        if game.id in prepared.listing.withheld or not len(rows):
            continue
        spread = np.linspace(0, len(rows) - 1, min(_GOLDEN_FRAMES_PER_GAME, len(rows))).round().astype(int)
        chosen += [GoldenFrame(game=game.id, picture=frames.picture(int(rows[one]))) for one in np.unique(spread)]
    return tuple(chosen)


def _shares(prepared: Prepared, split: Split) -> tuple[GameShare, ...]:
    frames = prepared.frames
    validating = set(frames.streams[split.validation].tolist())
    shares = []
    for place, game in enumerate(frames.games):
        streams = set(frames.streams[frames.labels == place].tolist())
        shares.append(
            GameShare(
                name=game.name,
                streams=len(streams),
                frames=int((frames.labels == place).sum()),
                validation_streams=len(streams & validating),
                # A folder says nothing of who recorded a stream.
                broadcasters=len(set(frames.units[frames.labels == place].tolist()))
                if prepared.listing.manifest is not None
                else None,
            )
        )
    return tuple(shares)


def _told(split: Split, streams: np.ndarray[tuple[int, ...], np.dtype[np.str_]]) -> str:
    trained, validating, tested = (
        len(set(streams[rows].tolist())) for rows in (split.train, split.validation, split.test)
    )
    if tested:
        return (
            f"Trained on {trained} streams; {validating} others decided when to stop and gave temperature and "
            f"threshold; the figures are of {tested} streams that took no part."
        )
    return (
        f"Trained on {trained} streams; {validating} others, one of each game, decided when to stop. "
        "The figures, the temperature and the threshold are those of the five rotations, in each of which a network "
        "was trained the same way on other streams than it was judged on."
    )


def _fingerprint(prepared: Prepared, split: Split) -> str:
    """Names the folder of a run on its way: the same data, split and configuration go on where they were."""
    sum_ = hashlib.sha256(repr((prepared.frames.sha256, prepared.config)).encode())
    for rows in (split.train, split.validation, split.test):
        sum_.update(rows.tobytes() + b"|")
    return sum_.hexdigest()[:16]


def _read_figures(path: Path) -> ProtocolFigures:
    try:
        return ProtocolFigures.model_validate_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"The figures in {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise TrainingError(f"{path} holds no figures of `python -m training protocols`.") from error


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"
