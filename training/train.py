"""Fit the tail: the last layer first, then everything behind the stem at a small rate; keep the best.

Best means: the most validation streams named right, and among equals the most validation frames. The loss is no
guide: it goes on improving on streams that resemble training while others are lost.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from core.errors import TrainingError
from training.evaluate import stream_means
from training.network import Network, build, let_train
from training.pipeline import FrameBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from core.recognition.aggregate import Logits
    from training.config import TrainConfig
    from training.pipeline import Activations, Labels
    from training.split import Rows

_PREDICT_BATCH = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What an epoch of fine-tuning came to (epoch 0 is the last layer alone)."""

    number: int
    loss: float
    validation_streams_right: float
    validation_frames_right: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A trained network and how it got there."""

    network: Network
    epochs: tuple[Epoch, ...]
    best_epoch: int


def fit(
    views: Sequence[Activations],
    *,
    labels: Labels,
    streams: npt.NDArray[np.str_],
    train: Rows,
    validation: Rows,
    games: int,
    config: TrainConfig,
    progress: Callable[[Epoch], None],
) -> Fitted:
    """Train a network for `games` games on some rows of the views.

    Args:
        views: what the stem made of the frames as they are, then of their augmented views.
        labels: the game of each frame, 0 to `games` - 1 on all rows used.
        streams: the stream of each frame.
        train: rows to train on.
        validation: rows that decide when to stop.
        games: how many there are.
        config: how.
        progress: is told of every epoch.

    Raises:
        TrainingError: the loss is no longer a number, or the network cannot be built.
    """
    network = build(config, games=games)
    batches = FrameBatches(
        views,
        labels=labels,
        streams=streams,
        rows=train,
        games=games,
        batch_size=config.batch_size,
        plain_share=config.plain_share,
        blended_share=config.blended_share,
        seed=config.seed,
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    epochs: list[Epoch] = []

    def ended(number: int, last_loss: float) -> Epoch:
        if not np.isfinite(last_loss):
            raise TrainingError("The loss is no longer a number: the learning rate is too high for this data.")
        logits = predict(network.tail, views[0], validation)
        right_frames = float((logits.argmax(axis=1) == labels[validation]).mean())
        means = stream_means(logits, labels=labels[validation], streams=streams[validation])
        right_streams = float((means.logits.argmax(axis=1) == means.labels).mean())
        epoch = Epoch(
            number=number, loss=last_loss, validation_streams_right=right_streams, validation_frames_right=right_frames
        )
        epochs.append(epoch)
        progress(epoch)
        return epoch

    let_train(network, backbone=False)
    network.tail.compile(keras.optimizers.Adam(config.head_rate), loss, jit_compile=False)
    best = ended(0, _run_epochs(network.tail, batches, config.head_epochs))
    best_weights = network.tail.get_weights()

    let_train(network, backbone=True)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(config.learning_rate, len(batches) * config.epochs, alpha=0.05),
        weight_decay=config.weight_decay,
        use_ema=True,
        ema_momentum=config.average_momentum,
    )
    network.tail.compile(optimizer, loss, jit_compile=False)
    for number in range(1, config.epochs + 1):
        last_loss = _run_epochs(network.tail, batches, 1)
        # The average is what is judged and kept; training itself goes on from where it was.
        running = network.tail.get_weights()
        optimizer.finalize_variable_values(network.tail.trainable_variables)
        epoch = ended(number, last_loss)
        if _merit(epoch) > _merit(best):
            best, best_weights = epoch, network.tail.get_weights()
        network.tail.set_weights(running)
        if number - best.number >= config.patience:
            break
    network.tail.set_weights(best_weights)
    return Fitted(network=network, epochs=tuple(epochs), best_epoch=best.number)


def predict(model: keras.Model, activations: Activations, rows: Rows) -> Logits:
    """What a model that takes activations makes of some rows; float32[rows, ...]."""
    return np.concatenate(
        [
            np.asarray(model.predict_on_batch(activations[rows[start : start + _PREDICT_BATCH]].astype(np.float32)))
            for start in range(0, len(rows), _PREDICT_BATCH)
        ]
    )


def write_log(epochs: Sequence[Epoch]) -> str:
    """The epochs as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("epoch", "loss", "validation_streams_right", "validation_frames_right"))
    for epoch in epochs:
        writer.writerow((epoch.number, epoch.loss, epoch.validation_streams_right, epoch.validation_frames_right))
    return file.getvalue()


def _run_epochs(model: keras.Model, batches: FrameBatches, epochs: int) -> float:
    history = model.fit(batches, epochs=epochs, verbose=0)
    return float(history.history["loss"][-1])


def _merit(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_streams_right, epoch.validation_frames_right
