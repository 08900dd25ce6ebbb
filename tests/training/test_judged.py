from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from core.frames import decode_jpeg
from core.games import Game
from training.scoring.judged import JudgedFrames, micro_roc, mistakes

GAMES = tuple(Game(id=name, name=name.title()) for name in ("chess", "doom", "go"))
CHESS, DOOM, GO = range(3)


def judged(frames: list[tuple[int, list[float], str]], *, withheld: tuple[str, ...] = ()) -> JudgedFrames:
    def picture(place: int) -> np.ndarray:
        return np.full((180, 320, 3), 20 * place % 256, dtype=np.uint8)

    return JudgedFrames(
        games=GAMES,
        logits=np.array([logits for _, logits, _ in frames], dtype=np.float32).reshape(-1, 3),
        labels=np.array([label for label, _, _ in frames], dtype=np.int64),
        streams=np.array([stream for _, _, stream in frames], dtype=np.str_),
        temperature=2.0,
        picture=picture,
        withheld=frozenset(withheld),
    )


def test_the_surest_mistake_comes_first_with_what_was_shown_and_answered() -> None:
    found = mistakes(
        judged([(CHESS, [1, 3, 0], "chess/1"), (CHESS, [9, 0, 0], "chess/2"), (GO, [0, 8, 2], "go/1")]), most=5
    )

    assert [(one.shown, one.answered, one.stream) for one in found] == [
        ("Go", "Doom", "go/1"),
        ("Chess", "Doom", "chess/1"),
    ]
    surest = np.exp([0, 4, 1]) / np.exp([0, 4, 1]).sum()
    assert (found[0].confidence, found[0].right_confidence) == (pytest.approx(surest[1]), pytest.approx(surest[2]))
    assert found[0].frame is not None
    assert np.allclose(decode_jpeg(found[0].frame), 40, atol=2)
    assert [one.place for one in found] == [2, 0]


def test_a_stream_that_is_wrong_all_along_is_shown_once_and_counted() -> None:
    wrong = [(CHESS, [0, strength, 0], "chess/1") for strength in (2.0, 5.0, 3.0)]
    found = mistakes(judged([*wrong, (CHESS, [0, 0, 1], "chess/1"), (GO, [0, 1, 0], "go/1")]))

    assert [(one.answered, one.stream, one.others) for one in found] == [
        ("Doom", "chess/1", 2),
        ("Go", "chess/1", 0),
        ("Doom", "go/1", 0),
    ]
    assert found[0].frame is not None
    assert np.allclose(decode_jpeg(found[0].frame), 20, atol=2)


def test_a_game_whose_pictures_may_not_be_passed_on_is_told_and_not_drawn() -> None:
    found = mistakes(judged([(CHESS, [0, 2, 0], "chess/1"), (GO, [0, 1, 0], "go/1")], withheld=("chess", "doom")))

    assert [(one.shown, one.frame is None) for one in found] == [("Chess", True), ("Go", False)]


def test_where_nothing_is_wrong_there_is_nothing_to_show() -> None:
    assert mistakes(judged([(CHESS, [2, 0, 0], "chess/1")])) == ()
    assert mistakes(judged([])) == ()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_every_mistake_is_one_sure_ones_are_first_and_no_stream_shows_one_twice(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [
        (int(rng.integers(3)), rng.normal(0, 2, 3).tolist(), f"stream/{rng.integers(4)}")
        for _ in range(rng.integers(30))
    ]
    everything = judged(frames)
    found = mistakes(everything, most=most)

    wrong = int((everything.logits.argmax(axis=1) != everything.labels).sum()) if frames else 0
    assert len(found) <= most
    assert sum(1 + one.others for one in mistakes(everything, most=100)) >= wrong
    assert all(one.shown != one.answered and one.confidence >= one.right_confidence for one in found)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    assert len({(one.stream, one.answered) for one in found}) == len(found)


def test_the_curve_of_all_games_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    frames = [(int(rng.integers(3)), rng.normal(0, 1, 3).tolist(), "any/1") for _ in range(200)]
    everything = judged(frames)

    curve = micro_roc(everything)
    assert curve is not None
    chances = np.exp(everything.logits / 2.0)
    chances /= chances.sum(axis=1, keepdims=True)
    truth = np.eye(3)[everything.labels]
    assert curve.area == pytest.approx(roc_auc_score(truth, chances, average="micro"))
    assert (curve.false_positives[0], curve.true_positives[-1]) == (0, 1)
    assert micro_roc(judged([])) is None
