"""Everything that is learnt from a data set, one after the other: the network, the layout, the genres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from core.errors import TrainingError
from training.fitting.genre_head import GenreHead, fit_genre_head, genre_logits
from training.fitting.layout import cosines, fit_layout, joined
from training.fitting.network import FEATURES, build, join
from training.fitting.train import Fitted, Task, fit, in_batches, predict
from training.pipeline.views import KeptViews

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.data.split import Rows
    from training.fitting.checkpoint import Epoch
    from training.fitting.devices import Devices
    from training.fitting.layout import Layout
    from training.pipeline.shards import Inputs
    from training.scoring.genre_scores import Marks


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What was answered to some frames.

    Attributes:
        appearance: float32[n, games]: logits of the network.
        layout: float32[n, games]: cosines of the layout; None without one.
        genres: float32[n, genres]: logits of the second head; None without one.
    """

    appearance: Logits
    layout: npt.NDArray[np.float32] | None
    genres: Logits | None

    def joined(self, weight: float) -> Logits:
        """float32[n, games]: the logits that are answered with."""
        return self.appearance if self.layout is None else joined(self.appearance, self.layout, weight=weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learnt:
    """All that was learnt.

    Attributes:
        answering: the tail with two outputs: logits and features.
    """

    config: TrainConfig
    fitted: Fitted
    answering: keras.Model
    layout: Layout | None
    genres: GenreHead | None

    def ask(self, take: Callable[[Rows], Inputs], rows: Rows) -> Asked:
        """What it answers to some frames.

        Args:
            take: gives the inputs of rows: `Examples.plain` or `.overlaid`.
            rows: may be none.
        """
        tail = self.fitted.network.tail
        games = tail.output.shape[-1]
        genres = 0 if self.genres is None else self.genres.kernel.shape[1]
        appearance = np.zeros((len(rows), games), dtype=np.float32)
        layout = None if self.layout is None else np.zeros((len(rows), games), dtype=np.float32)
        marks = None if self.genres is None else np.zeros((len(rows), genres), dtype=np.float32)
        start = 0
        for inputs, count in in_batches(take, rows):
            part = slice(start, start + count)
            logits, features = self.answering.predict_on_batch(inputs)
            appearance[part] = logits[:count]
            if self.layout is not None and layout is not None:
                layout[part] = cosines(self.layout, inputs, np.arange(count))
            if self.genres is not None and marks is not None:
                marks[part] = genre_logits(self.genres, np.asarray(features[:count], dtype=np.float32))
            start += count
        return Asked(appearance=appearance, layout=layout, genres=marks)

    def logits(self, take: Callable[[Rows], Inputs], rows: Rows) -> Logits:
        """float32[rows, games]: what frames are answered with."""
        return self.ask(take, rows).joined(self.config.layout_weight)

    def whole(self) -> keras.Model:
        """The network as it is exported, in float32 whatever it was trained in: frames -> answers."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            tail = self.fitted.network.tail
            exact = build(self.config, games=tail.output.shape[-1])
            exact.tail.set_weights(tail.get_weights())
        finally:
            keras.config.set_dtype_policy(before)
        return join(exact, layout=self.layout, weight=self.config.layout_weight, genres=self.genres)


def learn(
    task: Task,
    *,
    config: TrainConfig,
    devices: Devices,
    marks: Marks | None,
    directory: Path | None,
    progress: Callable[[Epoch], None],
    layout_rows: Rows | None = None,
    tensorboard: Path | None = None,
) -> Learnt:
    """Train a network, or go on with one, and fit what goes with it.

    Args:
        task: what to learn.
        config: how.
        devices: on what.
        marks: bool[games, genres]; None for no second head.
        directory: where the way of the training is written down; None writes nothing.
        progress: is told of every epoch.
        layout_rows: frames that the layout is fitted to; None for those of training and validation, as nothing of it
            is chosen on the latter.
        tensorboard: a folder for TensorBoard's logs.

    Raises:
        TrainingError: see `training.fitting.train.fit`; or the layout's grid does not fit.
    """
    fitted = fit(task, config=config, devices=devices, directory=directory, progress=progress, tensorboard=tensorboard)
    if devices.needs_twin:
        # From here on one device is enough.
        alone = build(config, games=task.games)
        alone.tail.set_weights(fitted.network.tail.get_weights())
        fitted = Fitted(network=alone, epochs=fitted.epochs, best_epoch=fitted.best_epoch)
    devices.disband()
    genres = None if marks is None else _genres(fitted, task, marks, seed=config.seed)
    tail = fitted.network.tail
    answering = keras.Model(tail.input, [tail.output, tail.get_layer(FEATURES).output])
    layout = _layout(task, config, layout_rows)
    return Learnt(config=config, fitted=fitted, answering=answering, layout=layout, genres=genres)


def _layout(task: Task, config: TrainConfig, rows: Rows | None) -> Layout | None:
    if config.layout is None:
        return None
    if not isinstance(task.examples, KeptViews):
        raise TrainingError("The layout looks at kept activations, and there are none.")
    learnt = np.sort(np.concatenate([task.train, task.validation])) if rows is None else rows
    return fit_layout(task.examples.views, labels=task.labels, rows=learnt, games=task.games, grid=config.layout.grid)


def _genres(fitted: Fitted, task: Task, marks: Marks, *, seed: int) -> GenreHead:
    tail = fitted.network.tail
    features = keras.Model(tail.input, tail.get_layer(FEATURES).output)
    rng = np.random.default_rng(seed)

    def augmented(rows: Rows) -> Inputs:
        shown = np.stack([task.examples.training(int(row), rng) for row in rows])
        return shown.astype(np.float32) if shown.dtype == np.float16 else shown

    # A game that nobody has put into the table is no example of anything.
    is_listed = np.asarray(marks.any(axis=1), dtype=np.bool_)
    rows = task.train[is_listed[task.labels[task.train]]]
    seen = [predict(features, take, rows) for take in (task.examples.plain, augmented)]
    return fit_genre_head(seen, labels=task.labels[rows], marks=marks, seed=seed)
