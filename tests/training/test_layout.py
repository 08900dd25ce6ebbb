from __future__ import annotations

import numpy as np
import pytest

from core.errors import TrainingError
from training.fitting.layout import cosines, fit_layout, grid_means, joined


def corners(*, games: int, per_game: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Activations of games that differ only in where something is, on backgrounds that differ from frame to frame."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(games), per_game)
    activations = rng.normal(size=(len(labels), 4, 4, 3)) + rng.normal(scale=3.0, size=(len(labels), 1, 1, 3))
    for row, game in enumerate(labels):
        activations[row, 2 * (game // 2) : 2 * (game // 2) + 2, 2 * (game % 2) : 2 * (game % 2) + 2] += 3.0
    return activations.astype(np.float16), labels


def test_games_that_differ_only_in_where_things_are_are_told_apart_on_unseen_frames() -> None:
    seen, labels = corners(games=4, per_game=40, seed=1)
    unseen, truth = corners(games=4, per_game=20, seed=2)
    layout = fit_layout([seen], labels=labels, rows=np.arange(len(seen)), games=4, grid=(2, 2))
    answers = cosines(layout, unseen, np.arange(len(unseen))).argmax(axis=1)
    assert (answers == truth).mean() > 0.95


def test_a_game_that_was_never_seen_points_less_clearly_at_any_other() -> None:
    activations, labels = corners(games=4, per_game=40, seed=1)
    known = np.flatnonzero(labels < 3)
    layout = fit_layout([activations], labels=labels, rows=known, games=3, grid=(2, 2))
    highest = cosines(layout, activations, np.arange(len(labels))).max(axis=1)
    assert highest[labels == 3].mean() < highest[known].mean() - 0.3


def test_only_the_rows_that_are_given_are_learnt_from() -> None:
    activations, labels = corners(games=3, per_game=20, seed=1)
    rows = np.arange(0, len(labels), 2)
    layout = fit_layout([activations], labels=labels, rows=rows, games=3, grid=(2, 2))
    spoiled = activations.copy()
    spoiled[1::2] = 9.0
    again = fit_layout([spoiled], labels=labels, rows=rows, games=3, grid=(2, 2))
    assert (layout.whitening == again.whitening).all()


def test_cells_are_means_in_reading_order() -> None:
    activations = np.arange(8, dtype=np.float16).reshape(1, 2, 4, 1)
    assert grid_means(activations, np.array([0]), (1, 2)).tolist() == [[2.5, 4.5]]


def test_a_grid_that_does_not_divide_is_refused() -> None:
    with pytest.raises(TrainingError, match="3 × 2 cells"):
        grid_means(np.zeros((1, 4, 4, 1), dtype=np.float16), np.array([0]), (3, 2))


def test_without_weight_only_the_appearance_counts() -> None:
    appearance, layout = np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0.0, 1.0]], dtype=np.float32)
    assert joined(appearance, layout, weight=0.0).argmax() == 0
    assert joined(appearance, layout, weight=40.0).argmax() == 1
