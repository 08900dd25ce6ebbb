"""Keras -> LiteRT with float16 weights, and the proof that both say the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from core.errors import TrainingError
from core.recognition.aggregate import softmax

if TYPE_CHECKING:
    import keras
    import numpy.typing as npt

    from core.recognition.aggregate import Logits

_BATCH = 4
_LARGEST_DIFFERENCE = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far the exported network is from the one that was trained.

    Attributes:
        frames: compared.
        same_answers: share of frames with the same likeliest game, 0 to 1.
        largest_difference: of any probability on any frame, 0 to 1.
    """

    frames: int
    same_answers: float
    largest_difference: float

    def told(self) -> str:
        """One sentence."""
        return (
            f"The exported network gave the same answer as Keras on {self.same_answers:.1%} of {self.frames} frames; "
            f"probabilities are at most {self.largest_difference:.5f} apart."
        )


def export(model: keras.Model, *, halved: bool = True) -> bytes:
    """A LiteRT network whose batch size can be chosen when it is loaded.

    Args:
        model: to be exported.
        halved: whether its weights become float16, which takes half the room.
    """
    half = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "network.tflite"
        model.export(path, format="litert", verbose=False, **(half if halved else {}))
        return path.read_bytes()


def check(
    network: bytes, model: keras.Model, pictures: npt.NDArray[np.uint8], *, temperature: float, games: int
) -> Agreement:
    """Run both on the same frames, and compare what they say of the games; genres follow those in their outputs.

    Raises:
        TrainingError: they give different answers, or probabilities that differ by more than 0.02.
    """
    exported = run(network, pictures)[:, :games]
    trained = np.concatenate(
        [
            np.asarray(model.predict_on_batch(pictures[start : start + _BATCH]))
            for start in range(0, len(pictures), _BATCH)
        ]
    )[:, :games]
    ours = softmax(exported.astype(np.float64) / temperature)
    theirs = softmax(trained.astype(np.float64) / temperature)
    agreement = Agreement(
        frames=len(pictures),
        same_answers=float((exported.argmax(axis=1) == trained.argmax(axis=1)).mean()),
        largest_difference=float(np.abs(ours - theirs).max()),
    )
    if agreement.same_answers < 1.0 or agreement.largest_difference > _LARGEST_DIFFERENCE:
        raise TrainingError(
            f"The exported network answers differently: {agreement.same_answers:.1%} of {agreement.frames} frames "
            f"alike, probabilities up to {agreement.largest_difference:.4f} apart."
        )
    return agreement


def run(network: bytes, pictures: npt.NDArray[np.uint8]) -> Logits:
    """Logits of the exported network; float32[n, games]."""
    interpreter = Interpreter(model_content=network)
    takes, gives = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    parts = []
    for start in range(0, len(pictures), _BATCH):
        part = np.ascontiguousarray(pictures[start : start + _BATCH])
        interpreter.resize_tensor_input(takes, list(part.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(takes, part)
        interpreter.invoke()
        parts.append(np.array(interpreter.get_tensor(gives)))
    return cast("Logits", np.concatenate(parts))
