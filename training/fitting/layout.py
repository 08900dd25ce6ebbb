"""Where things are on the screen: a discriminant on a grid of the stem's activations, solved in closed form.

A game's interface stays where it is while levels change: score, map, weapon, bars. Averaging a picture over
all places, as the head of a classifier does, throws that away. Here the activations are averaged within the
cells of a grid only, and the classical linear discriminant (Fisher 1936; shared covariance within classes,
shrunk as in Friedman, JASA 1989) is fitted to them: whitened by the covariance within games, a frame points in
some direction from the centre of all games, and is compared by the angle to each game's mean. The angle also
tells the unknown: a game that was never trained points elsewhere, however far from the centre it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import log_softmax

from core.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.recognition.aggregate import Logits
    from training.data.split import Rows
    from training.pipeline.shards import Activations, Inputs, Labels

_CHUNK = 512
_SHRINKAGE = 0.1
_SMALLEST_SPREAD = 0.05
_LARGEST_WEIGHT = 64.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A fitted discriminant.

    Attributes:
        grid: rows and columns of cells.
        whitening: float32[features, features]; features are the cells' channels, row by row.
        offset: float32[features]: what is taken away after whitening.
        directions: float32[features, games]: unit vectors, whitened.
    """

    grid: tuple[int, int]
    whitening: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]


def fit_layout(
    views: Sequence[Activations], *, labels: Labels, rows: Rows, games: int, grid: tuple[int, int]
) -> Layout:
    """Fit the discriminant on some rows; every game counts the same, and plain frames as much as all augmented views.

    Args:
        views: activations float16[n, height, width, channels] of the plain frames, then of augmented views.
        labels: the game of each frame.
        rows: frames to fit on; every game is among them.
        games: how many there are.
        grid: rows and columns of cells; must divide height and width of the activations.

    Raises:
        TrainingError: the grid does not fit.
    """
    mine = labels[rows]
    per_frame = 1.0 / np.bincount(mine, minlength=games)[mine] / games
    augmented = len(views) - 1
    shares = [1.0] if not augmented else [0.5, *([0.5 / augmented] * augmented)]
    cells = [grid_means(view, rows, grid) for view in views]
    spread = cells[0].std(axis=0)
    # A channel that hardly ever answers in some cell must not be blown up to the size of the others.
    scale = np.maximum(spread, _SMALLEST_SPREAD * spread.mean() + np.float32(1e-12))
    means = np.zeros((games, cells[0].shape[1]))
    for share, features in zip(shares, cells, strict=True):
        np.add.at(means, mine, features / scale * (share * games * per_frame)[:, None])
    within = np.zeros((means.shape[1], means.shape[1]))
    for share, features in zip(shares, cells, strict=True):
        deviations = (features / scale - means[mine]).astype(np.float32)
        within += (deviations * (share * per_frame)[:, None].astype(np.float32)).T @ deviations
    within += np.eye(len(within)) * _SHRINKAGE * np.trace(within) / len(within)
    values, vectors = linalg.eigh(within)
    whitening = vectors / np.sqrt(values) / scale[:, None]
    # Angles do not change with size; the exported network's float16 has most room around here.
    whitening *= _LARGEST_WEIGHT / np.abs(whitening).max()
    centre = means.mean(axis=0) * scale
    directions = (means * scale - centre) @ whitening
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Layout(
        grid=grid,
        whitening=whitening.astype(np.float32),
        offset=(centre @ whitening).astype(np.float32),
        directions=directions.T.astype(np.float32),
    )


def cosines(layout: Layout, activations: Inputs, rows: Rows) -> npt.NDArray[np.float32]:
    """float32[rows, games]: the cosine of each frame's direction to each game's."""
    whitened = grid_means(activations, rows, layout.grid) @ layout.whitening - layout.offset
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True) + np.float32(1e-9)
    return np.asarray(whitened @ layout.directions, dtype=np.float32)


def joined(appearance: Logits, layout: npt.NDArray[np.float32], *, weight: float) -> Logits:
    """One vector of logits of two witnesses: log-probabilities of the one, `weight` times cosines of the other."""
    return np.asarray(log_softmax(appearance, axis=1) + np.float32(weight) * layout, dtype=np.float32)


def grid_means(activations: Inputs, rows: Rows, grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """float32[rows, cells * channels]: means over each cell, cells in reading order.

    Raises:
        TrainingError: the grid does not divide the activations.
    """
    check_grid(activations, grid)
    down, across = grid
    _, height, width, channels = activations.shape
    means = np.empty((len(rows), down * across * channels), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = activations[rows[start : start + _CHUNK]].astype(np.float32)
        cut = part.reshape(len(part), down, height // down, across, width // across, channels)
        means[start : start + len(part)] = cut.mean(axis=(2, 4)).reshape(len(part), -1)
    return means


def check_grid(activations: Inputs, grid: tuple[int, int]) -> None:
    """Look before anything is computed.

    Raises:
        TrainingError: the grid does not divide the activations.
    """
    down, across = grid
    _, height, width, _ = activations.shape
    if height % down or width % across:
        raise TrainingError(f"A grid of {down} × {across} cells does not divide activations of {height} × {width}.")
