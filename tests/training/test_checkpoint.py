"""What a checkpoint holds, whenever its writer is killed. No network: what it keeps are arrays."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from core.errors import TrainingError
from training.fitting.checkpoint import Checkpoint, Epoch, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
ARRAYS, SIZE = 4, 40_000

# Writes epochs, each with weights that are its number; says so when the first is there.
WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.training.test_checkpoint import epoch, model
from training.fitting.checkpoint import Checkpoint
checkpoint = Checkpoint(Path(sys.argv[1]), of="this")
checkpoint.read()
while True:
    number = len(checkpoint.state.epochs) + 1
    is_best = number % 3 == 1
    written = model(number)
    checkpoint.write(
        written, epoch=epoch(number), best_weights=written.get_weights() if is_best else None, is_last=False
    )
    print(number, flush=True)
"""


class Variable:
    """As Keras': an array that something can be assigned to."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def assign(self, value: np.ndarray) -> None:
        assert value.shape == self.value.shape
        self.value = np.asarray(value)

    def numpy(self) -> np.ndarray:
        return self.value

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.value


class Model:
    """What a checkpoint needs of a model: weights, and an optimizer's variables."""

    def __init__(self, number: float) -> None:
        self.weights = [Variable(np.full(SIZE, number, np.float32)) for _ in range(ARRAYS)]
        self.variables = [*self.weights, Variable(np.array([number], np.uint32))]
        self.trainable_variables = self.weights
        self.optimizer = SimpleNamespace(variables=[Variable(np.array(number))], build=lambda variables: None)

    def get_weights(self) -> list[np.ndarray]:
        return [one.value for one in self.weights]

    def set_weights(self, values: list[np.ndarray]) -> None:
        for one, value in zip(self.weights, values, strict=True):
            one.assign(value)


model: Callable[[float], Any] = Model


def epoch(number: int) -> Epoch:
    return Epoch(
        number=number,
        phase=Phase.WHOLE,
        loss=1.0,
        learning_rate=1e-3,
        validation_loss=1.0,
        validation_streams_right=0.5,
        validation_frames_right=0.5,
        seconds=0.0,
    )


def restored(checkpoint: Checkpoint) -> float:
    """The number that all of the running state is."""
    taken = model(0)
    checkpoint.restore(taken)
    values = {float(one) for weights in taken.get_weights() for one in np.unique(weights)}
    values |= {float(one.value.ravel()[0]) for one in (*taken.optimizer.variables, *taken.variables)}
    assert len(values) == 1
    return values.pop()


def write(checkpoint: Checkpoint, numbers: range, *, last: int = 0) -> None:
    for number in numbers:
        checkpoint.write(
            model(number),
            epoch=epoch(number),
            best_weights=model(number).get_weights() if number % 3 == 1 else None,
            is_last=number == last,
        )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(Checkpoint(tmp_path / "way", of="this"), range(1, 6))
    return tmp_path / "way"


def test_what_was_written_is_read_again(directory: Path) -> None:
    checkpoint = Checkpoint(directory, of="this")
    state = checkpoint.read()
    assert [one.number for one in state.epochs] == [1, 2, 3, 4, 5]
    assert (state.best, checkpoint.best_weights()[0][0]) == (4, 4.0)
    assert restored(checkpoint) == 5.0
    assert not state.is_past(Phase.WHOLE)
    # Only what is still needed lies there.
    assert {path.name for path in directory.iterdir()} == {"state.json", "epoch-0005.npz", "best-0004.npz"}


def test_a_phase_that_is_over_is_over_when_it_is_read_again(directory: Path) -> None:
    checkpoint = Checkpoint(directory, of="this")
    checkpoint.read()
    write(checkpoint, range(6, 7), last=6)
    assert Checkpoint(directory, of="this").read().ended == (Phase.WHOLE,)


def test_the_checkpoint_of_another_training_is_left_aside_and_written_over(directory: Path) -> None:
    other = Checkpoint(directory, of="that")
    assert other.read().epochs == ()
    write(other, range(1, 2))
    assert len(Checkpoint(directory, of="that").read().epochs) == 1


@pytest.mark.parametrize("name", ["state.json", "epoch-0005.npz", "best-0004.npz"])
@pytest.mark.parametrize("damage", ["cut short", "changed", "gone"])
def test_a_corrupt_checkpoint_is_one_sentence(directory: Path, name: str, damage: str) -> None:
    path = directory / name
    content = path.read_bytes()
    if damage == "gone":
        if name == "state.json":
            pytest.skip("nothing there is the beginning of a training")
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut short" else b"x" + content[1:])
    with pytest.raises(TrainingError, match=rf"corrupt \({name}.* delete that folder to begin this training anew"):
        Checkpoint(directory, of="this").read()


def test_a_process_that_only_reads_writes_nothing(directory: Path) -> None:
    checkpoint = Checkpoint(directory, of="this", is_read_only=True)
    checkpoint.read()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    write(checkpoint, range(6, 9))
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert len(checkpoint.state.epochs) == 8


def test_without_a_folder_the_state_is_kept_in_memory() -> None:
    checkpoint = Checkpoint(None, of="this")
    assert checkpoint.read().epochs == ()
    write(checkpoint, range(1, 5))
    assert (checkpoint.state.best, checkpoint.best_weights()[0][0]) == (4, 4.0)


def test_a_kill_at_any_moment_leaves_a_whole_epoch(tmp_path: Path) -> None:
    """One process writes as fast as it can; what it leaves when it is killed is read, and the next one goes on."""
    chance = random.Random(5)
    least = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path / "way"), str(ROOT)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            told = int(child.stdout.readline())
            assert told == least + 1
            time.sleep(chance.uniform(0.0, 0.15))
            child.send_signal(signal.SIGKILL)
            later = child.stdout.read().split()
        told = int(later[-1]) if later else told
        checkpoint = Checkpoint(tmp_path / "way", of="this")
        state = checkpoint.read()
        # It was killed before it could tell, or before it had written the one behind.
        least = len(state.epochs)
        assert least in {told, told + 1}
        assert restored(checkpoint) == least
        assert state.best == (least - 1) // 3 * 3 + 1
        assert {float(one[0]) for one in checkpoint.best_weights()} == {float(state.best)}
