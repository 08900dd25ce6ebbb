from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.games import Game
from core.recognition.aggregate import softmax
from training.fitting.calibrate import fit_temperature, fit_threshold
from training.protocols import rule_of
from training.scoring.accuracy import accuracy, auroc, judge, stream_means

GAMES = (Game(id="chess", name="Chess"), Game(id="doom", name="Doom"))


@pytest.mark.parametrize("true_temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_errors_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, size=(4000, 5))
    chances = softmax(logits / true_temperature)
    labels = np.array([rng.choice(5, p=chance) for chance in chances])
    streams = np.array([f"s{row // 40}" for row in range(4000)])
    found = fit_temperature(logits.astype(np.float32), labels=labels, streams=streams)
    assert found == pytest.approx(true_temperature, rel=0.15)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.2]))
def test_the_threshold_refuses_no_more_known_streams_than_it_may(seed: int, refused: float) -> None:
    novelties = np.random.default_rng(seed).normal(size=100)
    threshold = fit_threshold(novelties, refused=refused)
    assert (novelties > threshold).mean() <= refused


def test_a_stream_is_judged_by_all_its_frames_together() -> None:
    logits = np.array([[3, 0], [0, 1], [3, 0], [0, 2]], dtype=np.float32)
    ids, streams = np.array(["chess", "chess", "chess", "doom"]), np.array(["a", "a", "a", "b"])
    figures = accuracy(logits, game_ids=ids, streams=streams, rule=rule_of(GAMES))
    assert figures.frames_right == 0.75
    assert figures.streams_right == 1.0


def test_a_game_that_the_rule_does_not_know_is_never_right() -> None:
    logits = np.array([[3, 0]], dtype=np.float32)
    (one,) = judge(logits, game_ids=np.array(["go"]), streams=np.array(["c"]), rule=rule_of(GAMES))
    assert not one.is_right
    assert not one.is_refused


def test_what_lies_above_the_threshold_is_refused() -> None:
    logits = np.array([[3, 0]], dtype=np.float32)
    rule = rule_of(GAMES, threshold=-5.0)
    (one,) = judge(logits, game_ids=np.array(["chess"]), streams=np.array(["c"]), rule=rule)
    assert one.is_refused
    assert one.is_right


def test_means_are_of_each_stream_by_itself() -> None:
    means = stream_means(
        np.array([[1, 0], [0, 4], [3, 0]], dtype=np.float32),
        labels=np.array([0, 1, 0]),
        streams=np.array(["b", "a", "b"]),
    )
    assert means.streams == ("a", "b")
    assert means.logits.tolist() == [[0, 4], [2, 0]]
    assert means.labels.tolist() == [1, 0]


def test_auroc_is_one_when_every_unknown_is_stranger_than_every_known() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert auroc(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 0.0
