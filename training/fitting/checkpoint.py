"""How far a training has come, on disk: written whole behind each epoch, read whole or refused.

A directory holds ``state.json`` (the epochs, the best one, and the sums of the two files it names), the running
weights with the optimizer's state, and the best weights. The state is replaced last and in one step: a kill at any
moment leaves the epoch before.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from core.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import keras

_STATE = "state.json"


class Phase(StrEnum):
    """What is trained."""

    HEAD = "head"
    """The head alone, on a pretrained network that stays as it is."""
    WHOLE = "whole"
    """All that is to be trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What an epoch came to.

    Attributes:
        number: from 1, over all phases.
        loss: of the training examples.
        learning_rate: in it.
        validation_loss: mean cross-entropy on validation frames.
        validation_streams_right: share, 0 to 1.
        validation_frames_right: share, 0 to 1.
        seconds: what it took.
    """

    number: int
    phase: Phase
    loss: float
    learning_rate: float
    validation_loss: float
    validation_streams_right: float
    validation_frames_right: float
    seconds: float


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """All epochs so far.

    Attributes:
        of: names the data, the configuration and the split that this is the training of.
        best: number of the best epoch; 0 before the first.
        ended: phases that are over.
        sums: file name to SHA-256.
    """

    of: str
    epochs: tuple[Epoch, ...] = ()
    best: int = 0
    ended: tuple[Phase, ...] = ()
    sums: dict[str, str] | None = None
    format: Literal[1] = 1

    def epochs_of(self, phase: Phase) -> tuple[Epoch, ...]:
        """Those of one phase."""
        return tuple(epoch for epoch in self.epochs if epoch.phase is phase)

    def is_past(self, phase: Phase) -> bool:
        """Whether a phase is over."""
        return phase in self.ended


class Checkpoint:
    """The state of one training, in a directory or in memory alone."""

    def __init__(self, directory: Path | None, *, of: str, is_read_only: bool = False) -> None:
        """Name it; nothing is read or written yet.

        Args:
            directory: None keeps the state in memory.
            of: names what is trained; a state of something else is left aside.
            is_read_only: what another process writes is read, and nothing written.
        """
        self._directory = directory
        self._is_read_only = is_read_only
        self._best: list[npt.NDArray[np.float32]] = []
        self.state = State(of=of)

    def read(self) -> State:
        """Where the training is; at its beginning when there is nothing, or the state of another training.

        Raises:
            TrainingError: what is there is not as it was written.
        """
        if self._directory is None or not (self._directory / _STATE).is_file():
            return self.state
        try:
            state = TypeAdapter(State).validate_json((self._directory / _STATE).read_bytes())
        except (OSError, ValidationError) as error:
            raise self._corrupt(_STATE) from error
        if state.of != self.state.of:
            return self.state
        for name, sha256 in (state.sums or {}).items():
            try:
                with (self._directory / name).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise self._corrupt(name) from error
            if found != sha256:
                raise self._corrupt(name)
        self.state = state
        if state.best:
            with np.load(self._directory / _best_name(state.best)) as kept:
                self._best = [kept[name] for name in sorted(kept.files, key=int)]
        return state

    def restore(self, model: keras.Model) -> None:
        """Put a compiled model and its optimizer back to where they were after the last epoch.

        Raises:
            TrainingError: they do not fit.
        """
        if self._directory is None or not self.state.epochs:
            return
        running = _running_name(self.state.epochs[-1].number)
        model.optimizer.build(model.trainable_variables)
        try:
            with np.load(self._directory / running) as kept:
                for name, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
                    for place, variable in enumerate(variables):
                        variable.assign(kept[f"{name}-{place}"])
        except (OSError, ValueError, KeyError) as error:
            raise self._corrupt(running) from error

    def best_weights(self) -> list[npt.NDArray[np.float32]]:
        """Of the best epoch so far."""
        return self._best

    def write(
        self,
        model: keras.Model,
        *,
        epoch: Epoch,
        best_weights: Sequence[npt.NDArray[np.float32]] | None,
        is_last: bool,
    ) -> None:
        """Write an epoch down.

        Args:
            model: compiled; its weights and its optimizer's state are kept.
            epoch: what it came to.
            best_weights: if this epoch is the best so far; None if it is not.
            is_last: whether its phase is over.
        """
        before = self.state
        if best_weights is not None:
            self._best = list(best_weights)
        best = epoch.number if best_weights is not None else before.best
        ended = (*before.ended, epoch.phase) if is_last else before.ended
        sums: dict[str, str] | None = None
        if self._directory is not None and not self._is_read_only:
            self._directory.mkdir(parents=True, exist_ok=True)
            # Plain arrays and not Keras' own file, whose writing is a step that all of several processes must take.
            # `variables` are the weights and what dropout draws from: that goes on as well.
            state = {f"model-{place}": np.array(one) for place, one in enumerate(model.variables)}
            state |= {f"optimizer-{place}": np.array(one) for place, one in enumerate(model.optimizer.variables)}
            running = self._directory / _running_name(epoch.number)
            sums = {running.name: _saved(running, state)}
            kept = self._directory / _best_name(best)
            if best_weights is not None:
                sums[kept.name] = _saved(kept, {str(place): one for place, one in enumerate(self._best)})
            elif before.sums is not None and kept.name in before.sums:
                sums[kept.name] = before.sums[kept.name]
        self.state = State(of=before.of, epochs=(*before.epochs, epoch), best=best, ended=ended, sums=sums)
        if sums is not None and self._directory is not None:
            beside = self._directory / f"{_STATE}.part"
            beside.write_text(json.dumps(asdict(self.state), indent=1), encoding="utf-8")
            _synced_sum(beside)
            beside.replace(self._directory / _STATE)
            for name in set(before.sums or {}) - set(sums):
                (self._directory / name).unlink(missing_ok=True)

    def _corrupt(self, name: str) -> TrainingError:
        return TrainingError(
            f"The checkpoint in {self._directory} is corrupt ({name} is not as it was written): delete that folder to "
            "begin this training anew."
        )


def _running_name(epoch: int) -> str:
    return f"epoch-{epoch:04d}.npz"


def _best_name(epoch: int) -> str:
    return f"best-{epoch:04d}.npz"


def _saved(path: Path, arrays: dict[str, npt.NDArray[np.float32]]) -> str:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return _synced_sum(path)


def _synced_sum(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
