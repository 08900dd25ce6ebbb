from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands import wording
from bot.commands.answer import Answer, Status, to_json
from core.errors import ReferenceFault
from core.games import UNKNOWN
from core.recognition.verdict import FrameVerdict, Likelihood, Verdict
from tests.fakes import GAMES, RULE

VALORANT, CHESS, _ = GAMES

VERDICT = Verdict(
    game=VALORANT,
    confidence=0.9714,
    best=Likelihood(game=VALORANT, confidence=0.9714),
    runners_up=(Likelihood(game=CHESS, confidence=0.02),),
    frames=(
        FrameVerdict(game=VALORANT, confidence=0.99589, at_s=0.0),
        FrameVerdict(game=CHESS, confidence=0.5, at_s=2.0),
        FrameVerdict(game=VALORANT, confidence=1.0, at_s=4.0),
    ),
    votes=2,
    score=5.649,
    novelty=-5.649,
    model="m-1",
)
ANSWER = Answer(
    channel="some_channel",
    status=Status.ANSWERED,
    verdict=VERDICT,
    elapsed_ms={"resolve": 12.345, "total": 456.0},
    fetched_bytes=123,
)


def test_the_answer_says_how_sure_and_how_many_frames_agree() -> None:
    assert wording.answer_text(ANSWER, verbose=False) == "Seen: VALORANT, 97 % sure (2 of 3 frames)"


def test_one_frame_is_one_frame() -> None:
    verdict = replace(VERDICT, frames=VERDICT.frames[:1], votes=1)

    assert wording.seen(verdict) == "Seen: VALORANT, 97 % sure (1 of 1 frame)"


def test_no_answer_is_ever_a_hundred_per_cent_sure() -> None:
    assert "99 % sure" in wording.seen(replace(VERDICT, confidence=1.0))


def test_the_verbose_answer_has_every_frame_and_the_score_in_the_well_known_words() -> None:
    assert wording.answer_text(ANSWER, verbose=True).splitlines() == [
        "Frame 1: VALORANT with a 99.59% confidence.",
        "Frame 2: Chess with a 50.00% confidence.",
        "Frame 3: VALORANT with a 100.00% confidence.",
        "VALORANT with a score of 5.6",
        "Seen: VALORANT, 97 % sure (2 of 3 frames)",
    ]


def test_an_unknown_game_is_said_to_be_unknown_with_what_it_is_nearest_to() -> None:
    text = wording.seen(replace(VERDICT, game=UNKNOWN))

    assert text == "Seen: no game that I know (nearest: VALORANT; 3 frames)"


@pytest.mark.parametrize("status", [status for status in Status if status not in {Status.ANSWERED, Status.BAD_INPUT}])
def test_every_other_outcome_has_one_sentence_of_its_own(status: Status) -> None:
    text = wording.answer_text(Answer(channel="some_channel", status=status), verbose=True)

    assert text.endswith((".", "!"))
    assert "\n" not in text
    assert status is Status.FAILED or "some_channel" in text


def test_no_two_outcomes_share_a_sentence() -> None:
    statuses = [status for status in Status if status not in {Status.ANSWERED, Status.BAD_INPUT}]

    assert len({wording.answer_text(Answer(channel="x", status=status), verbose=False) for status in statuses}) == len(
        statuses
    )


@given(text=st.text(), fault=st.sampled_from(ReferenceFault))
def test_what_was_typed_is_quoted_short_and_harmless_to_a_terminal(text: str, fault: ReferenceFault) -> None:
    sentence = wording.bad_reference(fault, text, prefix="!")

    assert sentence.isprintable()
    assert len(sentence) < 200


def test_the_json_holds_all_of_the_verdict_under_the_promised_keys() -> None:
    content = to_json(ANSWER)

    assert list(content) == [
        "channel",
        "status",
        "game",
        "confidence",
        "best",
        "votes",
        "frames",
        "runners_up",
        "score",
        "novelty",
        "model",
        "elapsed_ms",
        "bytes",
        "adverts",
        "age_s",
    ]
    assert content["game"] == {"id": "valorant", "name": "VALORANT"}
    assert content["frames"][1] == {  # type: ignore[index,call-overload]
        "game": {"id": "chess", "name": "Chess"},
        "confidence": 0.5,
        "at_s": 2.0,
    }
    assert content["runners_up"] == [{"game": {"id": "chess", "name": "Chess"}, "confidence": 0.02}]
    assert content["elapsed_ms"] == {"resolve": 12.3, "total": 456.0}
    assert content["bytes"] == 123
    assert content["model"] == "m-1"


def test_the_json_of_a_failure_has_the_same_keys() -> None:
    content = to_json(Answer(channel="some_channel", status=Status.OFFLINE))

    assert list(content) == list(to_json(ANSWER))
    assert content["status"] == "offline"
    assert content["game"] is None
    assert content["frames"] == []


def test_the_model_is_named_with_how_much_it_knows() -> None:
    assert wording.model_text(RULE) == "Model test-1, which knows 3 games."
