"""The verb `run`: a data set to a model directory, with everything that says how good it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from pydantic import ValidationError
from rich.console import Console

from core.errors import ArtifactError, TrainingError
from core.frames import IMAGE_CONVENTION
from core.recognition.artifact import (
    NETWORK_NAME,
    DataSetSection,
    ImageSection,
    LabelSection,
    Manifest,
    UnknownSection,
    write_artifact,
)
from training.calibrate import fit_temperature, fit_threshold
from training.evaluate import judge
from training.figures import ProtocolFigures
from training.layout import cosines, fit_layout, joined
from training.litert import check, export
from training.network import join
from training.prepare import Prepared, prepare
from training.protocols import Outcome, rule_of, test_figures
from training.report import GameShare, Story, html, model_card, percent, told
from training.split import ROTATIONS, Split, all_but_validation, as_given, by_stream
from training.train import fit, predict, write_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.figures import TestFigures
    from training.pipeline import Activations, PackedFrames
    from training.split import Rows
    from training.train import Epoch, Fitted

    Answer: TypeAlias = Callable[[Activations, Rows], Logits]

_COMPARED_FRAMES = 256


def run(
    *, data: Path, stored: Path, out: Path, config: TrainConfig, work: Path, figures: Path | None, version: str
) -> None:
    """Train a model and write it to `out`.

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
    if out.exists():
        raise ArtifactError(f"There is already something at {out}; a model is never written over.")
    measured = _read_figures(figures) if figures is not None else None
    prepared = prepare(data=data, stored=stored, config=config, work=work, console=console)
    frames = prepared.frames
    streams = frames.streams.tolist()
    split = _split(frames, is_tested=measured is None)

    def ended(epoch: Epoch) -> None:
        console.print(told(epoch), highlight=False)

    fitted = fit(
        prepared.views,
        labels=frames.labels,
        streams=frames.streams,
        train=split.train,
        validation=split.validation,
        games=len(frames.games),
        config=config,
        progress=ended,
    )
    learnt = split.train if measured is None else np.arange(len(frames))
    layout = fit_layout(
        prepared.views, labels=frames.labels, rows=learnt, games=len(frames.games), grid=config.layout_grid
    )

    def logits(activations: Activations, rows: Rows) -> Logits:
        appearance = predict(fitted.network.tail, activations, rows)
        return joined(appearance, cosines(layout, activations, rows), weight=config.layout_weight)

    if measured is None:
        test = _tested(prepared, split, fitted, logits)
        temperature, threshold = _calibrated(prepared, split, logits)
    else:
        test, temperature, threshold = measured.by_stream, measured.temperature, measured.unknown.threshold
    whole = join(fitted.network, layout, weight=config.layout_weight)
    network = export(whole)
    sample = np.linspace(0, len(frames) - 1, min(_COMPARED_FRAMES, len(frames))).astype(int)
    pictures = np.stack([frames.picture(row) for row in sample])
    agreement = check(network, whole, pictures, temperature=temperature)
    console.print(
        f"LiteRT against Keras on {agreement.frames} frames: {percent(agreement.same_answers)} same answers, "
        f"probabilities at most {agreement.largest_difference:.5f} apart",
        highlight=False,
    )
    manifest = Manifest(
        version=version,
        labels=tuple(LabelSection(id=game.id, name=game.name) for game in frames.games),
        image=ImageSection(**dataclasses.asdict(IMAGE_CONVENTION)),
        temperature=temperature,
        unknown=UnknownSection(score=config.novelty_score, threshold=threshold),
        data_set=DataSetSection(
            name=data.resolve().stem if data.is_file() else data.resolve().name,
            sha256=frames.sha256,
            games=len(frames.games),
            streams=len(set(streams)),
            frames=len(frames),
            manifest=prepared.listing.manifest,
            flags=_flags_learnt(prepared, split),
        ),
        commit=_commit(),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        # `write_artifact` fills in the sums of what it writes; the network must be named for the manifest to be one.
        files={NETWORK_NAME: "0" * 64},
    )
    story = Story(
        manifest=manifest,
        games=_shares(prepared, split),
        test=test,
        protocols=measured,
        split=_told(split, frames.streams),
        config_json=config.to_json(),
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        agreement=agreement,
    )
    files: dict[str, Path | bytes] = {
        NETWORK_NAME: network,
        "config.json": config.to_json().encode(),
        "log.csv": write_log(fitted.epochs).encode(),
        "report.html": html(story).encode(),
        "README.md": model_card(story).encode(),
    }
    if measured is not None:
        files["figures.json"] = (measured.model_dump_json(indent=1) + "\n").encode()
    write_artifact(out, manifest=manifest, files=files)
    console.print(
        f"{out}: {percent(test.all.frames_right)} of frames and {percent(test.all.streams_right)} of streams "
        f"never seen, {percent(test.overlaid.frames_right)} of frames with overlays",
        highlight=False,
    )


def _split(frames: PackedFrames, *, is_tested: bool) -> Split:
    units, ids = frames.units.tolist(), frames.game_ids.tolist()
    given = as_given(frames.parts, ids)
    if is_tested:
        return given or by_stream(units, ids, rotation=0, rotations=ROTATIONS)
    if given is None:
        return all_but_validation(units, ids)
    learnt = np.sort(np.concatenate([given.train, given.test]))
    return Split(train=learnt, validation=given.validation, test=np.zeros(0, dtype=np.int64))


def _flags_learnt(prepared: Prepared, split: Split) -> tuple[int, ...]:
    """Numbers of the moderators' flags without which the network would have been told something else."""
    rows = [*split.train.tolist(), *split.validation.tolist()]
    return tuple(sorted({flag for row in rows for flag in prepared.listing.frames[row].flags}))


def _tested(prepared: Prepared, split: Split, fitted: Fitted, logits: Answer) -> TestFigures:
    frames = prepared.frames
    nothing = np.zeros(0, dtype=np.int64)
    outcome = Outcome(
        labels=frames.games,
        test_rows=split.test,
        test=logits(prepared.views[0], split.test),
        overlaid=logits(prepared.overlaid, split.test),
        held_out_rows=nothing,
        held_out=np.zeros((0, len(frames.games)), dtype=np.float32),
        best_epoch=fitted.best_epoch,
    )
    return test_figures(frames, [outcome])


def _calibrated(prepared: Prepared, split: Split, logits: Answer) -> tuple[float, float]:
    frames, config, rows = prepared.frames, prepared.config, split.validation
    answered = logits(prepared.views[0], rows)
    temperature = fit_temperature(answered, labels=frames.labels[rows], streams=frames.streams[rows])
    rule = rule_of(frames.games, temperature=temperature, score=config.novelty_score)
    judged = judge(answered, game_ids=frames.game_ids[rows], streams=frames.streams[rows], rule=rule)
    novelties = np.array([one.verdict.novelty for one in judged])
    return temperature, fit_threshold(novelties, refused=config.known_refused)


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
