"""What a network is measured beside: a linear machine on a frozen network, in every trial that `protocols` trains.

It learns from the same training streams and is asked the same frames, so that each figure has its own beside it.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from core.errors import TrainingError
from training.config import Pretrained
from training.protocols import Outcome, linear_figures
from training.scoring.baselines import fit_and_ask, frozen_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from rich.console import Console

    from core.games import Game
    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.pipeline.prepare import Prepared
    from training.pipeline.shards import PackedFrames
    from training.protocols import Trial
    from training.scoring.figures import LinearFigures

_BATCH = 32


def measure_linear(
    planned: Sequence[Trial], prepared: Prepared, *, work: Path, console: Console
) -> LinearFigures | None:
    """What the machine comes to in all trials.

    Args:
        planned: the trials.
        prepared: the data set, and the way to train, whose pretrained network is looked through as it comes.
        work: where what it sees of the frames is kept.
        console: for the progress.

    Returns:
        None where the way to train has no pretrained network.

    Raises:
        TrainingError: the network cannot be built, or `work` cannot be written to.
    """
    frames, config = prepared.frames, prepared.config
    if not isinstance(config.network, Pretrained):
        return None
    with Progress(console=console, transient=True) as progress:
        plain = _kept(frames, config, work, "plain", frames.picture, progress)
        overlaid = _kept(frames, config, work, "overlaid", frames.overlaid_picture, progress)
        task = progress.add_task("fitting linear machines", total=len(planned))

        def outcome(trial: Trial) -> Outcome:
            found = _outcome(trial, frames, plain, overlaid)
            progress.advance(task)
            return found

        # liblinear works on one processor core, and lets other threads run meanwhile.
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            outcomes = dict(zip((trial.name for trial in planned), pool.map(outcome, planned), strict=True))
    return linear_figures(frames, outcomes, name=f"linear SVM on {config.network.name}")


def _outcome(
    trial: Trial, frames: PackedFrames, plain: npt.NDArray[np.float32], overlaid: npt.NDArray[np.float32]
) -> Outcome:
    """Its margins stand for logits."""
    ids = frames.game_ids
    labels = tuple(game for game in frames.games if game.id not in trial.held_out)
    is_known = np.isin(ids, [game.id for game in labels])
    train, test = (rows[is_known[rows]] for rows in (trial.split.train, trial.split.test))
    held_out = np.flatnonzero(~is_known)
    asked = [plain[test], overlaid[test], plain[held_out]]
    margins = fit_and_ask(plain[train], games=ids[train].tolist(), asked=np.concatenate(asked))
    table = _table(margins, labels, count=sum(map(len, asked)))
    ends = np.cumsum([len(part) for part in asked])
    return Outcome(
        labels=labels,
        test_rows=test,
        test=table[: ends[0]],
        overlaid=table[ends[0] : ends[1]],
        held_out_rows=held_out,
        held_out=table[ends[1] :],
        best_epoch=0,
    )


def _table(margins: dict[str, npt.NDArray[np.float64]], labels: Sequence[Game], *, count: int) -> Logits:
    table = np.full((count, len(labels)), -np.inf, dtype=np.float32)
    for place, game in enumerate(labels):
        if game.id in margins:
            table[:, place] = margins[game.id]
    return table


def _kept(
    frames: PackedFrames,
    config: TrainConfig,
    work: Path,
    kind: str,
    picture: Callable[[int], npt.NDArray[np.uint8]],
    progress: Progress,
) -> npt.NDArray[np.float32]:
    """float32[frames, features], computed or read."""
    path = work / "embeddings" / f"{kind}-{_fingerprint(frames, config)}.npy"
    if not path.is_file():
        rows = _embedded(frozen_network(config), len(frames), picture, progress, f"embedding frames, {kind}")
        unfinished = path.with_suffix(".part.npy")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(unfinished, rows, allow_pickle=False)
            unfinished.rename(path)
        except OSError as error:
            msg = f"What the linear machine learns from cannot be kept in {path.parent} ({error.strerror})."
            raise TrainingError(msg) from error
    kept: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return kept


def _embedded(
    embed: keras.Model, count: int, picture: Callable[[int], npt.NDArray[np.uint8]], progress: Progress, what: str
) -> npt.NDArray[np.float32]:
    task = progress.add_task(what, total=count)
    rows = []
    for start in range(0, count, _BATCH):
        shown = np.stack([picture(row) for row in range(start, min(start + _BATCH, count))])
        rows.append(np.asarray(embed.predict_on_batch(shown), dtype=np.float32))
        progress.update(task, completed=start + len(shown))
    return np.concatenate(rows)


def _fingerprint(frames: PackedFrames, config: TrainConfig) -> str:
    """Changes with the data set and with what looks at it."""
    looked = (frames.sha256, frames.names, config.network, config.input_height_px, config.input_width_px)
    return hashlib.sha256(repr(looked).encode()).hexdigest()[:16]
