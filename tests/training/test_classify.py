"""Single pictures, and what the starter model says of them."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import pytest

from core.errors import DataSetError
from training.classify import classify

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "starter"


@pytest.fixture(scope="module")
def doom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first picture of one of the demo's clips, as PNG and larger than frames are stored."""
    path = tmp_path_factory.mktemp("pictures") / "doom.png"
    with av.open(str(ROOT / "demo" / "clips" / "doom__s01.mp4")) as video:
        cv2.imwrite(str(path), next(video.decode(video=0)).to_ndarray(format="bgr24"))
    return path


def test_the_likeliest_games_of_a_picture_are_told_the_likeliest_first(
    doom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = classify(MODEL, [doom], is_json=True)
    assert said.predictions[0].label == "Freedoom"
    assert [one.probability for one in said.predictions] == sorted(
        (one.probability for one in said.predictions), reverse=True
    )
    assert sum(one.probability for one in said.predictions) == pytest.approx(1.0)
    assert json.loads(capsys.readouterr().out)[0]["predictions"][0]["label"] == "Freedoom"


def test_a_person_reads_the_three_likeliest(doom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classify(MODEL, [doom], is_json=False)
    assert capsys.readouterr().out.count(" %") == 3


def test_what_is_no_picture_is_told_and_left_out(doom: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("no picture")
    said = classify(MODEL, [tmp_path / "notes.jpg", tmp_path / "missing.jpg", doom], is_json=False)
    assert [one.fault for one in said] == ["it is no picture", "it cannot be opened: No such file or directory", None]


def test_when_no_picture_can_be_read_that_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="Not one of the pictures can be read"):
        classify(MODEL, [tmp_path / "missing.jpg"], is_json=False)
