from __future__ import annotations

import numpy as np

from training.fitting.genre_head import fit_genre_head, genre_logits

# Of four games, two are in pixels and two are shooters; one is both.
MARKS = np.array([[True, False], [True, True], [False, True], [False, False]])


def seen(counts: list[int], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features in which either genre has a direction of its own, and the games."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = rng.normal(0.0, 0.3, size=(len(labels), 6))
    features[:, 0] += 4.0 * MARKS[labels, 0]
    features[:, 3] += 0.5 * MARKS[labels, 1] - 7.0
    return features.astype(np.float32), labels


def test_what_can_be_told_apart_is_learnt() -> None:
    features, labels = seen([600, 600, 600, 600])
    head = fit_genre_head([features, features], labels=labels, marks=MARKS, seed=0)
    other, games = seen([20, 20, 20, 20], seed=1)
    logits = genre_logits(head, other)
    assert logits.dtype == np.float32
    assert logits.shape == (80, 2)
    assert ((logits[:, 0] > 0) == MARKS[games, 0]).mean() == 1.0
    # This one lies within the noise of a single frame.
    assert ((logits[:, 1] > 0) == MARKS[games, 1]).mean() > 0.7


def test_how_much_was_recorded_of_a_game_does_not_matter() -> None:
    """Two games look alike and only one has the genre: that one has fifty times the frames tips no scales."""
    marks = np.array([[True], [False]])

    def answered(counts: list[int]) -> float:
        rng = np.random.default_rng(0)
        features = rng.normal(0.0, 1.0, size=(sum(counts), 3)).astype(np.float32)
        labels = np.repeat([0, 1], counts)
        return float(genre_logits(fit_genre_head([features], labels=labels, marks=marks, seed=0), features).mean())

    for counts in ([1000, 20], [20, 1000]):
        assert abs(answered(counts)) < 0.02


def test_the_same_seed_gives_the_same_head() -> None:
    features, labels = seen([30, 30, 30, 30])
    one, other = (fit_genre_head([features], labels=labels, marks=MARKS, seed=4) for _ in range(2))
    np.testing.assert_allclose(one.kernel, other.kernel, rtol=1e-5)


def test_a_game_that_is_held_out_and_a_genre_that_nobody_has_do_no_harm() -> None:
    features, labels = seen([30, 30, 30, 0])
    marks = np.concatenate([MARKS, np.zeros((4, 1), dtype=bool)], axis=1)
    head = fit_genre_head([features], labels=labels, marks=marks, seed=0)
    logits = genre_logits(head, features)
    assert np.isfinite(logits).all()
    assert (logits[:, 2] < 0).all()
