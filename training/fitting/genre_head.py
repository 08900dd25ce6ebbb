"""The second head: several genres at once, from the features that the games were learnt with.

One sigmoid a genre and binary cross-entropy, each genre weighted so that its few frames count as much as the many
without it. It is trained when the games are, on features that then stay as they are: what names the games is not
changed by it. Every game counts the same, however much of it was recorded: to a genre, a game is one example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.pipeline.shards import Labels
    from training.scoring.genre_scores import Marks

_EPOCHS = 20
_LEAST_EXAMPLES = 5_120
"""In an epoch: a small data set is shown several times in each."""
_BATCH = 256
_RATE = 1e-3
_PENALTY = 1e-4
_HEAVIEST = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GenreHead:
    """A fitted head: `features @ kernel + bias` are the genres' logits.

    Attributes:
        kernel: float32[features, genres].
        bias: float32[genres].
    """

    kernel: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def fit_genre_head(
    features: Sequence[npt.NDArray[np.float32]], *, labels: Labels, marks: Marks, seed: int
) -> GenreHead:
    """Fit a head on training frames.

    Args:
        features: float32[n, features] of the plain frames, then of augmented views of the same.
        labels: int64[n], the game of each frame.
        marks: bool[games, genres]: what genres each game has.
        seed: of the order of examples.
    """
    keras.utils.set_random_seed(seed)
    seen = np.concatenate(features)
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + np.float32(1e-3)
    targets = np.tile(marks[labels], (len(features), 1)).astype(np.float32)
    per_game = np.bincount(labels, minlength=len(marks))
    shown = per_game > 0
    weights = np.tile(1.0 / (per_game[labels] * shown.sum()), len(features)).astype(np.float32)
    weights *= np.float32(len(weights) / weights.sum())
    common = marks[shown].mean(axis=0)
    # (1 - share) / share makes both answers weigh the same; a genre of one game alone is not blown up without end.
    heavier = np.clip((1.0 - common) / np.maximum(common, 1e-6), 1.0 / _HEAVIEST, _HEAVIEST).astype(np.float32)

    taken = keras.Input((seen.shape[1],))
    last = keras.layers.Dense(
        marks.shape[1], kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(_PENALTY), dtype="float32"
    )
    model = keras.Model(taken, last(taken))

    def loss(truth: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
        each = keras.ops.binary_crossentropy(truth, logits, from_logits=True)
        return keras.ops.mean(each * (1.0 + truth * (heavier - 1.0)), axis=-1)

    model.compile(keras.optimizers.Adam(_RATE), loss, jit_compile=False)
    times = -(-_LEAST_EXAMPLES // len(seen))
    model.fit(
        np.tile((seen - mean) / spread, (times, 1)),
        np.tile(targets, (times, 1)),
        sample_weight=np.tile(weights, times),
        epochs=_EPOCHS,
        batch_size=_BATCH,
        verbose=0,
    )
    kernel, bias = last.get_weights()
    kernel = kernel / spread[:, None]
    return GenreHead(kernel=kernel.astype(np.float32), bias=(bias - mean @ kernel).astype(np.float32))


def genre_logits(head: GenreHead, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[n, genres] of float32[n, features]."""
    return np.asarray(features @ head.kernel + head.bias, dtype=np.float32)
