from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.commands import mosaic
from bot.commands.answer import EvidenceTile
from core.frames import Frame, decode_jpeg, encode_jpeg
from core.games import NOT_A_GAME, UNKNOWN, Game
from core.recognition.verdict import FrameVerdict, Likelihood, Verdict
from core.streams.sampler import Reason, RejectedSegment, Sample
from tests.fakes import GAMES, frame, sample_of

VALORANT, CHESS, _ = GAMES
AMBER, GREEN = (255, 176, 46), (87, 202, 138)


def noise(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    return encode_jpeg(random.integers(0, 256, (180, 320, 3), dtype=np.uint8), quality=100)


def look(*labels: Game, adverts: int = 0) -> tuple[Sample, Verdict]:
    frames = [frame(40 + 10 * at, at_s=2.0 * (at + adverts)) for at in range(len(labels))]
    verdict = Verdict(
        game=labels[0],
        confidence=0.9,
        best=Likelihood(game=labels[0], confidence=0.9),
        runners_up=(),
        frames=tuple(
            FrameVerdict(game=label, confidence=0.5, at_s=one.at_s) for label, one in zip(labels, frames, strict=True)
        ),
        votes=1,
        score=1.0,
        novelty=-1.0,
        model="m",
    )
    left_out = tuple(RejectedSegment(at_s=2.0 * at, reason=Reason.ADVERT) for at in range(adverts))
    return replace(sample_of(frames, adverts=adverts), left_out=left_out), verdict


def drawn(evidence: tuple[EvidenceTile, ...], *, channel: str = "some_channel", language: str = "en") -> np.ndarray:
    data = mosaic.draw(evidence, channel=channel, language=language)
    assert len(data) < mosaic.MAX_BYTES
    return decode_jpeg(data)


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(axis=2) < 12).sum() > 500)


def test_every_frame_is_a_tile_and_what_did_not_count_stands_where_it_was() -> None:
    sample, verdict = look(VALORANT, CHESS, adverts=2)
    thumbnail = np.full((90, 160, 3), 90, dtype=np.uint8)
    late = RejectedSegment(at_s=5.0, reason=Reason.DUPLICATE, thumbnail=thumbnail)
    evidence = mosaic.tiles(replace(sample, left_out=(*sample.left_out, late)), verdict)

    assert [(tile.at_s, tile.label, tile.rejected) for tile in evidence] == [
        (0.0, None, "advert"),
        (2.0, None, "advert"),
        (4.0, VALORANT, None),
        (5.0, None, "duplicate"),
        (6.0, CHESS, None),
    ]
    assert evidence[0].picture is None
    assert decode_jpeg(evidence[2].picture or b"").shape == (180, 320, 3)
    assert decode_jpeg(evidence[3].picture or b"").shape == (90, 160, 3)


def test_frames_of_another_game_are_marked() -> None:
    same = drawn(mosaic.tiles(*look(VALORANT, VALORANT, VALORANT)))
    other = drawn(mosaic.tiles(*look(VALORANT, CHESS, VALORANT)))

    assert has(same, GREEN)
    assert has(other, GREEN)
    assert has(other, AMBER)
    assert not has(same, AMBER)


def test_the_answer_decides_which_frames_agree() -> None:
    evidence = mosaic.tiles(*look(VALORANT, VALORANT))

    assert has(decode_jpeg(mosaic.draw(evidence, channel="x", language="en", seen=VALORANT)), GREEN)
    chess = decode_jpeg(mosaic.draw(evidence, channel="x", language="en", seen=CHESS))
    assert has(chess, AMBER)
    assert not has(chess, GREEN)
    unknown = decode_jpeg(mosaic.draw(evidence, channel="x", language="en", seen=UNKNOWN))
    assert not has(unknown, GREEN)
    assert not has(unknown, AMBER)


def test_what_did_not_count_is_grey() -> None:
    red = np.zeros((180, 320, 3), dtype=np.uint8)
    red[:, :, 0] = 255
    counted = EvidenceTile(picture=encode_jpeg(red), label=VALORANT, confidence=0.9, at_s=0.0)
    rejected = replace(counted, label=None, rejected="duplicate")

    assert has(drawn((counted,)), (254, 0, 0))
    picture = drawn((rejected,))[60:200, 20:300].astype(int)
    assert np.abs(picture - picture.mean(axis=2, keepdims=True)).max() < 6


def test_adverts_in_a_row_are_one_tile() -> None:
    few = drawn(mosaic.tiles(*look(VALORANT, VALORANT, VALORANT, adverts=1)))
    many = drawn(mosaic.tiles(*look(VALORANT, VALORANT, VALORANT, adverts=12)))

    assert few.shape == many.shape
    assert not np.array_equal(few, many)


def test_the_reader_chooses_the_language() -> None:
    evidence = mosaic.tiles(*look(VALORANT, adverts=2))

    assert not np.array_equal(drawn(evidence, language="en"), drawn(evidence, language="de"))


@pytest.mark.parametrize("name", ["Pokémon", "東方紅魔郷", "Тетрис", "한국어", "x" * 500, "\u202e\x00\n\ud800🎮", ""])
def test_any_name_can_be_written_in_the_room_that_there_is(name: str) -> None:
    game = Game(id="g", name=name)
    tile = EvidenceTile(picture=None, label=game, confidence=0.5, at_s=1.0)

    assert drawn((tile, tile), channel=name).shape == drawn((replace(tile, label=CHESS),) * 2).shape


def test_names_of_other_scripts_are_not_written_as_question_marks() -> None:
    def written(name: str) -> np.ndarray:
        return drawn((EvidenceTile(picture=None, label=Game(id="g", name=name), at_s=1.0),))

    assert not np.array_equal(written("東方"), written("??"))
    assert not np.array_equal(written("東方"), written("紅魔"))


@pytest.mark.parametrize("count", [1, 2, 5, 13, 26, 60])
def test_pictures_of_noise_still_fit(count: int) -> None:
    """What JPEG can do least with."""
    evidence = tuple(
        EvidenceTile(picture=noise(at), label=GAMES[at % 3], confidence=1.0, at_s=at * 2.0) for at in range(count)
    )
    picture = drawn(evidence)

    assert picture.shape[1] >= 320


def test_thirteen_frames_of_a_game_keep_their_size() -> None:
    """Pictures as busy as a game's: noise of large grain."""
    evidence = []
    for at in range(13):
        grain = np.random.default_rng(at).integers(0, 256, (30, 54, 3), dtype=np.uint8)
        picture = np.asarray(cv2.resize(grain, (320, 180), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        evidence.append(EvidenceTile(picture=encode_jpeg(picture), label=CHESS, confidence=0.9, at_s=2.0 * at))

    assert drawn(tuple(evidence)).shape[1] == 1320


def test_without_any_evidence_there_is_still_a_picture() -> None:
    assert drawn(()).size > 0


tile = st.builds(
    EvidenceTile,
    picture=st.sampled_from([None, b"", b"no picture", noise(1), encode_jpeg(np.zeros((9, 400, 3), dtype=np.uint8))]),
    label=st.one_of(st.none(), st.sampled_from([*GAMES, UNKNOWN, NOT_A_GAME])),
    confidence=st.floats(0, 1),
    at_s=st.one_of(st.none(), st.floats(0, 1e6)),
    rejected=st.one_of(st.none(), st.sampled_from([reason.value for reason in Reason])),
)


@settings(max_examples=40)
@given(evidence=st.lists(tile, max_size=40), channel=st.text(max_size=40), language=st.sampled_from(["en", "de", "xx"]))
def test_any_evidence_can_be_drawn(evidence: list[EvidenceTile], channel: str, language: str) -> None:
    assert drawn(tuple(evidence), channel=channel, language=language).shape[2] == 3


def test_a_verdict_of_other_frames_is_refused() -> None:
    sample, verdict = look(VALORANT, CHESS)

    with pytest.raises(ValueError, match="shorter"):
        mosaic.tiles(
            replace(sample, frames=(*sample.frames, Frame(picture=sample.frames[0].picture, at_s=9.0))), verdict
        )
