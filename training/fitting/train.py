"""Fit a network: its head alone first where it was pretrained, then all that is to be trained; keep the best epoch.

After every epoch all that training needs to go on is written down (`checkpoint`), so that one that was killed goes on
behind its last whole epoch and ends as it would have.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
from scipy.special import log_softmax

from core.errors import TrainingError
from training.config import Monitor, Optimizer, Pretrained, Schedule
from training.fitting.checkpoint import Checkpoint, Epoch, Phase
from training.fitting.devices import within_memory
from training.fitting.network import Network, build, let_train
from training.pipeline.shards import FrameBatches
from training.scoring.accuracy import stream_means

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from core.recognition.aggregate import Logits
    from training.config import Fitting, TrainConfig
    from training.data.split import Rows
    from training.fitting.devices import Devices
    from training.pipeline.shards import Examples, Inputs, Labels

_PREDICT_BATCH = 128
_FLOOR_OF_COSINE = 0.05
_MOMENTUM = 0.9
_FRAMES_BESIDE_STREAMS = 1e-3
"""What a share of frames counts beside the same share of streams: it decides among equals only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A trained network and how it got there."""

    network: Network
    epochs: tuple[Epoch, ...]
    best_epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What is to be learnt.

    Attributes:
        examples: what the network is shown.
        labels: the game of each frame, 0 to `games` - 1 on all rows used.
        streams: the stream of each frame.
        train: rows to train on.
        validation: rows that decide when to stop.
        games: how many there are.
    """

    examples: Examples
    labels: Labels
    streams: npt.NDArray[np.str_]
    train: Rows
    validation: Rows
    games: int


@within_memory()
def fit(
    task: Task,
    *,
    config: TrainConfig,
    devices: Devices,
    directory: Path | None,
    progress: Callable[[Epoch], None],
    tensorboard: Path | None = None,
) -> Fitted:
    """Train a network, or go on with one.

    Args:
        task: what to learn.
        config: how.
        devices: on what.
        directory: where the way is written down, and looked for; None writes nothing.
        progress: is told of every epoch, also of those that were trained before.
        tensorboard: a folder for TensorBoard's logs.

    Raises:
        TrainingError: the loss is no longer a number, the network cannot be built or does not fit in memory, or the
            checkpoint is corrupt.
    """
    fitting = config.fitting
    if tensorboard is not None and keras.backend.backend() != "tensorflow":
        raise TrainingError("TensorBoard's logs are written with KERAS_BACKEND=tensorflow only.")
    checkpoint = Checkpoint(directory, of=_fingerprint(task, config), is_read_only=not devices.is_first)
    state = checkpoint.read()
    if not devices.agree(len(state.epochs)):
        raise TrainingError(
            "The processes did not find the same checkpoint: give them one work folder that all of them can read, or "
            "an empty one to begin anew."
        )
    with devices.training():
        network = build(config, games=task.games)
    for epoch in state.epochs:
        progress(epoch)
    judge = _Judge(task, config=config, devices=devices, network=network)
    phases = [phase for phase in (Phase.HEAD, Phase.WHOLE) if _epochs_of(phase, config)]
    for phase in phases:
        if state.is_past(phase):
            continue
        done = len(state.epochs_of(phase))
        batches = FrameBatches(
            task.examples,
            labels=task.labels,
            streams=task.streams,
            rows=task.train,
            games=task.games,
            batch_size=fitting.batch_size,
            balance=fitting.balance,
            blended_share=fitting.blended_share,
            seed=config.seed,
            first_epoch=len(state.epochs),
            threads=1 if config.has_stem else max(1, (os.cpu_count() or 1)),
            share=devices.share,
        )
        let_train(network, config, backbone=phase is Phase.WHOLE)
        deciding = _deciding(phase, fitting)
        # `judge` fills in what the callbacks behind it look at; `keeping` writes down what they came to.
        keeping = _Keeping(checkpoint, phase=phase, judge=judge, deciding=deciding, progress=progress)
        callbacks = [judge.at(phase), *deciding, keeping]
        if tensorboard is not None:
            callbacks.insert(1, keras.callbacks.TensorBoard(str(tensorboard / phase), write_graph=False))
        with devices.training():
            optimizer = _optimizer(phase, fitting, steps=len(batches) * _epochs_of(phase, config))
            loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=fitting.label_smoothing)
            # JAX compiles whatever it runs; on a processor TensorFlow's XLA is many times slower than none.
            network.tail.compile(optimizer, loss, jit_compile=keras.backend.backend() == "jax")
            if done:
                checkpoint.restore(network.tail)
            elif state.epochs:
                # The phase before ended on some epoch; what it found best is where this one begins, as it did then.
                network.tail.set_weights(checkpoint.best_weights())
            network.tail.fit(
                batches,
                initial_epoch=done,
                epochs=_epochs_of(phase, config),
                callbacks=callbacks,
                # Else Keras asks for the batches in an order that depends on what was drawn in this process before.
                shuffle=False,
                verbose=0,
            )
        state = checkpoint.state
    network.tail.set_weights(checkpoint.best_weights())
    return Fitted(network=network, epochs=state.epochs, best_epoch=state.best)


def predict(model: keras.Model, take: Callable[[Rows], Inputs], rows: Rows) -> Logits:
    """What a model makes of some rows; float32[rows, ...].

    Args:
        model: takes what `take` gives.
        take: gives the inputs of some rows, as `Examples.plain` does.
        rows: of frames, at least one.
    """
    return np.concatenate(
        [
            np.asarray(model.predict_on_batch(inputs), dtype=np.float32)[:count]
            for inputs, count in in_batches(take, rows)
        ]
    )


def in_batches(take: Callable[[Rows], Inputs], rows: Rows) -> Iterator[tuple[Inputs, int]]:
    """The inputs of some rows in batches, and how many of each count: one filled up at the end costs no new tracing."""
    for start in range(0, len(rows), _PREDICT_BATCH):
        inputs = take(rows[start : start + _PREDICT_BATCH])
        missing = _PREDICT_BATCH - len(inputs) if start else 0
        filled = np.concatenate([inputs, np.zeros((missing, *inputs.shape[1:]), inputs.dtype)]) if missing else inputs
        yield filled, len(inputs)


def merit(epoch: Epoch) -> float:
    """How good an epoch is: most validation streams named right, among equals most frames."""
    return epoch.validation_streams_right + _FRAMES_BESIDE_STREAMS * epoch.validation_frames_right


def write_log(epochs: Sequence[Epoch]) -> str:
    """The epochs as CSV."""
    file = io.StringIO()
    columns = [field.name for field in dataclasses.fields(Epoch)]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for epoch in epochs:
        writer.writerow([getattr(epoch, column) for column in columns])
    return file.getvalue()


def _epochs_of(phase: Phase, config: TrainConfig) -> int:
    if phase is Phase.WHOLE:
        return config.fitting.epochs
    return config.fitting.head_epochs if isinstance(config.network, Pretrained) else 0


def _optimizer(phase: Phase, fitting: Fitting, *, steps: int) -> keras.optimizers.Optimizer:
    if phase is Phase.HEAD:
        return keras.optimizers.Adam(fitting.head_rate)
    rate: float | keras.optimizers.schedules.LearningRateSchedule = fitting.learning_rate
    if fitting.schedule is Schedule.COSINE:
        rate = keras.optimizers.schedules.CosineDecay(fitting.learning_rate, steps, alpha=_FLOOR_OF_COSINE)
    average = {"use_ema": True, "ema_momentum": fitting.average_momentum} if fitting.average_momentum else {}
    match fitting.optimizer:
        case Optimizer.ADAM:
            return keras.optimizers.Adam(rate, **average)
        case Optimizer.ADAMW:
            return keras.optimizers.AdamW(rate, weight_decay=fitting.weight_decay, **average)
        case Optimizer.ADADELTA:
            return keras.optimizers.Adadelta(rate, **average)
        case Optimizer.SGD:
            return keras.optimizers.SGD(rate, momentum=_MOMENTUM, nesterov=True, **average)


def _deciding(phase: Phase, fitting: Fitting) -> list[keras.callbacks.Callback]:
    watched = {"monitor": "val_merit", "mode": "max"}
    if fitting.monitor is Monitor.LOSS:
        watched = {"monitor": "val_loss", "mode": "min"}
    if phase is Phase.HEAD:
        return []
    deciding: list[keras.callbacks.Callback] = [
        keras.callbacks.EarlyStopping(**watched, patience=fitting.patience, min_delta=fitting.min_delta)
    ]
    if fitting.schedule is Schedule.PLATEAU:
        reducing = keras.callbacks.ReduceLROnPlateau(
            **watched,
            factor=fitting.plateau_factor,
            patience=fitting.plateau_patience,
            min_lr=fitting.smallest_rate,
            min_delta=fitting.min_delta,
        )
        deciding.insert(0, reducing)
    return deciding


class _Judge(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """At the end of an epoch, what the network makes of validation; must be the first callback."""

    def __init__(self, task: Task, *, config: TrainConfig, devices: Devices, network: Network) -> None:
        super().__init__()
        self._task = task
        self._fitting = config.fitting
        self._phase = Phase.HEAD
        self._begun = 0.0
        self._twin: keras.Model | None = None
        if devices.needs_twin:
            # What is spread over devices is asked on one of them: each process judges by itself, all alike.
            with devices.alone():
                self._twin = build(config, games=task.games).tail
        self._devices = devices
        self._tail = network.tail
        self.last: Epoch | None = None
        self.weights: list[npt.NDArray[np.float32]] = []

    def at(self, phase: Phase) -> _Judge:
        """Itself, at this phase."""
        self._phase = phase
        return self

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 (Keras')
        self._begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        seen = logs if logs is not None else {}
        if not np.isfinite(seen["loss"]):
            raise TrainingError("The loss is no longer a number: the learning rate is too high for this data.")
        optimizer = getattr(self._tail.optimizer, "inner_optimizer", self._tail.optimizer)
        rate = float(np.asarray(optimizer.learning_rate))
        running = self._tail.get_weights()
        if optimizer.use_ema:
            # The average is what is judged and kept; training itself goes on from where it was.
            optimizer.finalize_variable_values(self._tail.trainable_variables)
        self.weights = self._tail.get_weights()
        if optimizer.use_ema:
            # With JAX the model would now share the average's arrays, and lose them to whatever it is asked.
            self._tail.set_weights(self.weights)
        logits = self._asked()
        if optimizer.use_ema:
            self._tail.set_weights(running)
        labels, streams = self._task.labels[self._task.validation], self._task.streams[self._task.validation]
        means = stream_means(logits, labels=labels, streams=streams)
        self.last = Epoch(
            number=epoch,
            phase=self._phase,
            loss=float(seen["loss"]),
            learning_rate=rate,
            validation_loss=-float(log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()),
            validation_streams_right=float((means.logits.argmax(axis=1) == means.labels).mean()),
            validation_frames_right=float((logits.argmax(axis=1) == labels).mean()),
            seconds=time.monotonic() - self._begun,
        )
        seen.update(_watched(self.last))

    def _asked(self) -> Logits:
        rows, plain = self._task.validation, self._task.examples.plain
        if self._twin is None:
            return predict(self._tail, plain, rows)
        self._twin.set_weights(self.weights)
        with self._devices.alone():
            return predict(self._twin, plain, rows)

    def merit(self, epoch: Epoch) -> float:
        """What decides which epoch is the best; more is better."""
        watched = _watched(epoch)
        return -watched["val_loss"] if self._fitting.monitor is Monitor.LOSS else watched["val_merit"]


def _watched(epoch: Epoch) -> dict[str, float]:
    """As the callbacks know it."""
    return {
        "val_loss": epoch.validation_loss,
        "val_merit": merit(epoch),
        "val_streams_right": epoch.validation_streams_right,
        "val_frames_right": epoch.validation_frames_right,
    }


class _Keeping(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Writes down each epoch, and puts the callbacks before it back to where they were; must be the last callback."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        phase: Phase,
        judge: _Judge,
        deciding: Sequence[keras.callbacks.Callback],
        progress: Callable[[Epoch], None],
    ) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._phase = phase
        self._judge = judge
        self._deciding = deciding
        self._progress = progress

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 (Keras')
        # Keras' callbacks forget when training begins. What they knew, the epochs tell them again; the learning rate
        # that they changed came back with the optimizer.
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        epochs = self._checkpoint.state.epochs_of(self._phase)
        if not epochs:
            return
        state = [np.array(variable) for variable in optimizer.variables]
        for callback in self._deciding:
            for place, epoch in enumerate(epochs):
                callback.on_epoch_end(place, _watched(epoch))
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 (Keras')
        judged = self._judge.last
        if judged is None:
            return
        epochs = self._checkpoint.state.epochs
        numbered = dataclasses.replace(judged, number=len(epochs) + 1)
        best = max((*epochs, numbered), key=lambda one: (self._judge.merit(one), -one.number))
        is_last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        self._checkpoint.write(
            self.model,
            epoch=numbered,
            best_weights=self._judge.weights if best is numbered else None,
            is_last=is_last,
        )
        self._progress(numbered)


def _fingerprint(task: Task, config: TrainConfig) -> str:
    """Changes with everything that the way of a training depends on."""
    sum_ = hashlib.sha256(repr((config, task.games)).encode())
    for part in (task.labels, task.train, task.validation):
        sum_.update(np.ascontiguousarray(part).tobytes())
    sum_.update("\n".join(task.streams.tolist()).encode())
    return sum_.hexdigest()
