"""Models are measured on streams that they did not learn from, and the figures come out as worked by hand."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import training.evaluate as module
from core.errors import ArtifactError, DataSetError
from core.frames import encode_jpeg
from core.games import Game
from core.recognition.artifact import Manifest, write_artifact
from tests.artifacts import NETWORKS, brightness_artifact
from training.data.folders import FrameFile, list_frames
from training.data.learnt import LEARNT_NAME, learnt_text
from training.data.split import Part
from training.evaluate import chosen, number_of, read_declared
from training.scoring.figures import EvaluationFigures, ProtocolFigures
from training.scoring.scores import NO_GAME
from training.scoring.tables import confusion_text, print_evaluation

ROOT = Path(__file__).parents[2]
BRIGHTNESS = {"valorant": 20, "chess": 128, "freedoom": 235}
STREAMS = ("a", "b", "c", "d", "e")


def model(
    directory: Path,
    version: str = "m-1",
    *,
    labels: tuple[str, ...] = ("valorant", "chess", "freedoom"),
    genres: tuple[tuple[str, float], ...] = (),
    threshold: float = 100.0,
    temperature: float = 1.0,
    data_set: str = "0" * 64,
    with_figures: bool = False,
    learnt: str | None = None,
) -> Path:
    """A network that tells dark, middle and bright; its columns are called by the labels, then by the genres."""
    plain = brightness_artifact(directory / f"{version}-plain").manifest.model_dump(mode="json")
    plain |= {
        "version": version,
        "labels": [{"id": label, "name": label.title()} for label in labels],
        "genres": [{"id": genre, "name": genre, "threshold": least} for genre, least in genres],
        "temperature": temperature,
        "unknown": {"score": "max_logit", "threshold": threshold},
    }
    plain["data_set"]["sha256"] = data_set
    files: dict[str, Path | bytes] = {"network.tflite": NETWORKS / "brightness.tflite"}
    if with_figures:
        files["figures.json"] = b"{}"
    if learnt is not None:
        files[LEARNT_NAME] = learnt.encode()
    return write_artifact(directory / version, manifest=Manifest.model_validate(plain), files=files).directory


def pictures(root: Path, games: dict[str, int], streams: tuple[str, ...] = STREAMS) -> Path:
    for game, brightness in games.items():
        for place, stream in enumerate(streams):
            path = root / game / stream
            path.mkdir(parents=True)
            for number in range(2):
                shade = brightness + 2 * place + number
                (path / f"{number}.jpg").write_bytes(encode_jpeg(np.full((180, 320, 3), shade, dtype=np.uint8)))
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data", BRIGHTNESS)


def evaluate(*models: Path, data: Path, part: str = "test", declared: Path | None = None) -> EvaluationFigures:
    return module.evaluate(
        models, data=data, stored=data, part=part, declared=declared, wanted_accuracy=0.99, out=None, as_json=True
    )


def test_models_stand_side_by_side_on_the_same_streams(tmp_path: Path, data: Path) -> None:
    right = model(tmp_path, "right")
    swapped = model(tmp_path, "swapped", labels=("chess", "valorant", "freedoom"))

    found = evaluate(right, swapped, data=data)

    assert (found.frames, found.streams, found.part) == (6, 3, "test")
    one, other = found.models
    assert (one.name, one.of_frames.accuracy, one.of_streams.accuracy, one.answered) == ("right", 1.0, 1.0, 1.0)
    assert other.of_frames.accuracy == other.of_streams.accuracy == pytest.approx(1 / 3)
    # Swapped: of three games one is right, the two others are each other.
    assert other.of_frames.confusion == ((0, 2, 0, 0), (2, 0, 0, 0), (0, 0, 2, 0))
    assert other.of_frames.macro_f1 == pytest.approx(1 / 3)
    assert [curve.id for curve in one.of_frames.roc] == ["valorant", "chess", "freedoom"]
    assert one.least_confidence is not None
    assert found.baselines[0].name == "the commonest game"
    assert found.baselines[0].of_streams is not None
    assert found.baselines[0].of_streams.accuracy == pytest.approx(1 / 3)


def test_the_same_streams_are_the_test_as_in_run(data: Path) -> None:
    parts = chosen(list_frames(data), "test")
    streams = [{frame.stream for frame in part} for part in (parts.test, parts.validation, parts.train)]
    assert [len(names) for names in streams] == [3, 3, 9]
    assert not streams[0] & streams[1]
    assert not (streams[0] | streams[1]) & streams[2]


def test_parts_that_the_data_brings_are_kept(tmp_path: Path) -> None:
    for part, stream in (("train", "a"), ("val", "b"), ("test", "c")):
        pictures(tmp_path / "parted" / part, BRIGHTNESS, (stream,))
    listing = list_frames(tmp_path / "parted")

    assert {frame.stream for frame in chosen(listing, "test").test} == {"chess/c", "freedoom/c", "valorant/c"}
    assert {frame.part for frame in chosen(listing, "validation").test} == {Part.VALIDATION}
    assert chosen(listing, "validation").validation == ()
    assert len(chosen(listing, "all").test) == 18


def test_games_that_a_model_does_not_know_measure_its_unknown_rule(tmp_path: Path) -> None:
    # A dark picture's highest logit is 10 - 30 * 20/255; of the middle it is 0, as it is of what nobody knows.
    data = pictures(tmp_path / "data", {**BRIGHTNESS, "tetris": 95})

    found = evaluate(model(tmp_path, labels=("valorant", "chess", "freedoom"), threshold=-1.5), data=data)

    (one,) = found.models
    assert one.of_streams.count == 3
    assert one.unknown is not None
    assert (one.unknown.streams, one.unknown.frames) == (1, 2)
    assert one.unknown.games == {"tetris": one.unknown.stream_auroc}
    assert one.unknown.refused.unknown == 1.0
    # Chess looks as strange, with the highest logit at 0, and is refused although it is named right.
    assert one.unknown.refused.known == pytest.approx(1 / 3)
    assert one.answered == pytest.approx(2 / 3)
    assert one.of_streams.accuracy == 1.0
    assert one.unknown.searched is not None
    assert any("does not know 1 of the 4 games" in note for note in found.notes)


def test_a_model_that_was_made_of_these_streams_is_said_to_be(tmp_path: Path, data: Path) -> None:
    sums = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in data.rglob("*.jpg"))
    made_of = hashlib.sha256("\n".join(sums).encode()).hexdigest()
    with_all = model(tmp_path, "all", data_set=made_of, with_figures=True)
    with_parts = model(tmp_path, "parts", data_set=made_of)
    other = model(tmp_path, "other")

    told = [one.learnt_from for one in evaluate(with_all, with_parts, other, data=data).models]
    assert told[0] == "all has learnt from these very streams, which therefore say nothing of how good it is."
    assert told[1:] == [None, None]
    told = [one.learnt_from for one in evaluate(with_all, with_parts, other, data=data, part="validation").models]
    assert told[1] == "parts was chosen and calibrated on these very streams, which therefore flatter it."
    told = [one.learnt_from for one in evaluate(with_all, with_parts, other, data=data, part="all").models]
    assert told[1] is not None
    assert told[2] is None


def test_a_model_that_lists_its_frames_is_marked_by_them_whatever_the_data_set(tmp_path: Path, data: Path) -> None:
    parts = chosen(list_frames(data), "test")
    others = Path(pictures(tmp_path / "others", {"valorant": 60, "chess": 100}))

    def told(version: str, learnt: dict[Part, tuple[FrameFile, ...]]) -> tuple[str | None, list[str]]:
        made = model(tmp_path, version, learnt=learnt_text(learnt))
        found = evaluate(made, data=data)
        return found.models[0].learnt_from, [note for note in found.notes if "cannot be told" in note]

    one_stream = tuple(frame for frame in parts.test if frame.game == "chess")
    trained = told("m-1", {Part.TRAIN: one_stream})
    assert trained == ("m-1 has learnt from 1 of these 3 streams, which say nothing of it.", [])
    chosen_by = told("m-2", {Part.TRAIN: parts.train, Part.VALIDATION: parts.test})
    assert chosen_by == ("m-2 was chosen and calibrated on 3 of these 3 streams, which flatter it.", [])
    assert told("m-3", {Part.TRAIN: list_frames(others).frames, Part.VALIDATION: parts.validation}) == (None, [])
    silent = evaluate(model(tmp_path, "m-4"), data=data)
    assert silent.models[0].learnt_from is None
    assert any(note.startswith("m-4 was made of another data set") for note in silent.notes)


def test_a_list_of_frames_that_is_none_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ArtifactError, match=r"The learnt.txt of the model in .* cannot be read"):
        evaluate(model(tmp_path, learnt="what is this"), data=data)


def test_thresholds_are_searched_only_where_there_is_something_to_search_on(tmp_path: Path, data: Path) -> None:
    found = evaluate(model(tmp_path), data=data, part="all")
    assert found.models[0].least_confidence is None
    assert found.baselines == ()
    assert any("no validation part" in note for note in found.notes)


def test_the_least_confidence_comes_from_validation_and_is_told_of_the_test(tmp_path: Path) -> None:
    for part, stream in (("train", "a"), ("val", "b"), ("test", "c")):
        pictures(tmp_path / "parted" / part, BRIGHTNESS, (stream,))
    # On validation a stream of Freedoom looks like chess, surely but less so than a dark one looks like VALORANT; in
    # the test two are sure enough, and one of chess is not.
    pictures(tmp_path / "parted" / "val", {"freedoom": 150}, ("d",))
    pictures(tmp_path / "parted" / "test", {"chess": 105}, ("e",))

    (one,) = evaluate(model(tmp_path), data=tmp_path / "parted").models

    least = one.least_confidence
    assert least is not None
    assert least.threshold is not None
    assert (least.on_validation.accuracy, least.on_validation.coverage) == (1.0, 0.75)
    assert (least.on_test.accuracy, least.on_test.coverage) == (1.0, 0.75)
    assert one.of_streams.accuracy == 1.0


def test_the_same_frames_with_overlays_are_a_row_of_their_own(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def darkened(frame: np.ndarray, *, stream: str, index: int) -> np.ndarray:
        drawn.append((stream, index))
        return frame // 8

    monkeypatch.setattr(module, "with_overlays", darkened)
    found = module.evaluate(
        [model(tmp_path)],
        data=data,
        stored=data,
        part="test",
        declared=None,
        wanted_accuracy=0.99,
        out=None,
        overlays=True,
        as_json=True,
    )
    (one,) = found.models
    assert one.of_frames.accuracy == 1.0
    assert one.overlaid_frames is not None
    assert one.overlaid_streams is not None
    assert one.overlaid_frames.accuracy == one.overlaid_streams.accuracy == pytest.approx(1 / 3)
    # Numbered by their place in the data set, as for `protocols`.
    listed = list_frames(data).frames
    assert drawn == [(frame.stream, listed.index(frame)) for frame in chosen(list_frames(data), "test").test]
    assert "with overlays" in printed(found)
    assert "with overlays" not in printed(evaluate(model(tmp_path, "m-2"), data=data))


def printed(found: EvaluationFigures) -> str:
    console = Console(width=120, file=io.StringIO())
    print_evaluation(found, console, normalise=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_temperature_changes_the_calibration_and_no_answer(tmp_path: Path, data: Path) -> None:
    cold, hot = evaluate(model(tmp_path, "cold"), model(tmp_path, "hot", temperature=20.0), data=data).models
    assert cold.of_frames.accuracy == hot.of_frames.accuracy == 1.0
    assert hot.of_frames.ece > 0.3 > cold.of_frames.ece
    assert hot.of_frames.ece_uncalibrated == pytest.approx(cold.of_frames.ece)


def test_genres_are_scored_where_a_model_tells_them(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", {"valorant": 20, "chess": 128, "doom": 235, "nobody knows it": 235})
    # The third column says shooter: rightly of Doom, wrongly not of VALORANT; Doom is no label.
    two_labels = model(tmp_path, labels=("valorant", "chess"), genres=(("shooter", 0.5),))

    (one,) = evaluate(two_labels, data=data).models

    assert one.of_frames.accuracy == 1.0
    assert one.genres is not None
    assert (one.genres.count, one.genres.top_class) == (3, pytest.approx(2 / 3))
    assert one.genres.hamming_loss == pytest.approx(1 / 3)
    assert one.genres.genres[0].recall == 0.5
    assert one.genres_of_unknown is not None
    assert (one.genres_of_unknown.count, one.genres_of_unknown.hamming_loss) == (1, 0.0)


def test_a_game_is_the_model_s_by_its_name_where_the_ids_differ(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", {"516575": 20, "chess": 128})
    (data / "games.csv").write_text("slug,title\n516575,VALORANT\nchess,Chess\n")
    assert evaluate(model(tmp_path), data=data).models[0].of_frames.accuracy == 1.0


def test_believing_the_declared_category_is_a_null_model(tmp_path: Path, data: Path) -> None:
    tested = sorted({frame.stream for frame in chosen(list_frames(data), "test").test})
    categories = {tested[0]: "Chess", tested[1].partition("/")[2]: "Just Chatting", tested[2]: "Valorant"}
    table = tmp_path / "declared.csv"
    table.write_text("stream,category\n" + "".join(f"{name},{said}\n" for name, said in categories.items()))

    found = evaluate(model(tmp_path), data=data, declared=table)

    null = found.baselines[1]
    assert null.of_streams is not None
    assert null.of_streams.accuracy == pytest.approx(2 / 3)
    assert null.of_streams.count == 3


def test_a_category_is_a_game_by_id_name_or_another_name() -> None:
    games = (Game(id="cs2", name="Counter-Strike 2"), Game(id="mc", name="Minecraft"))
    aliases = module.AliasTable.bundled()
    assert [number_of(said, games, aliases) for said in ("mc", "counter strike 2", "CS2", "Just Chatting")] == [
        1,
        0,
        0,
        NO_GAME,
    ]


def test_files_that_hold_no_picture_are_listed(tmp_path: Path, data: Path) -> None:
    broken = chosen(list_frames(data), "test").test[0].path
    broken.write_bytes(b"no picture")
    found = evaluate(model(tmp_path), data=data)
    assert found.frames == 5
    assert found.unreadable == (f"{broken}: it is no picture",)


def test_where_nothing_can_be_measured_one_sentence_says_why(tmp_path: Path, data: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no model in"):
        evaluate(tmp_path / "nowhere", data=data)
    with pytest.raises(DataSetError, match=r"m-1 knows none of the games that the part test shows: chess, freedoom"):
        evaluate(model(tmp_path, labels=("a", "b", "c")), data=data)
    few = pictures(tmp_path / "few", BRIGHTNESS, ("a", "b"))
    with pytest.raises(DataSetError, match=r"too few streams .* Say --part all"):
        evaluate(model(tmp_path, "m-2"), data=few)
    assert evaluate(model(tmp_path, "m-3"), data=few, part="all").frames == 12
    for path in data.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataSetError, match="Not one of the 6 frames of the part test can be read"):
        evaluate(model(tmp_path, "m-4"), data=data)
    with pytest.raises(DataSetError, match=r"The figures cannot be written to .*few"):
        module.evaluate(
            [model(tmp_path, "m-5")],
            data=few,
            stored=few,
            part="all",
            declared=None,
            wanted_accuracy=0.99,
            out=few,
            as_json=True,
        )
    table = tmp_path / "declared.csv"
    table.write_text("name,game\n")
    with pytest.raises(DataSetError, match="no table with the columns 'stream' and 'category'"):
        read_declared(table)


def test_a_part_that_shows_one_game_tells_nothing(tmp_path: Path) -> None:
    pictures(tmp_path / "parted" / "train", BRIGHTNESS, ("a",))
    pictures(tmp_path / "parted" / "val", BRIGHTNESS, ("b",))
    pictures(tmp_path / "parted" / "test", {"chess": 128}, ("c",))
    with pytest.raises(DataSetError, match="The part test shows one game only, chess"):
        evaluate(model(tmp_path), data=tmp_path / "parted")


def test_two_models_of_one_version_are_told_apart_by_where_they_lie(tmp_path: Path, data: Path) -> None:
    one, other = model(tmp_path / "x"), model(tmp_path / "y")
    assert [found.name for found in evaluate(one, other, data=data).models] == [f"m-1 in {one}", f"m-1 in {other}"]


def test_the_confusion_is_text_with_a_row_for_each_game_that_is_shown() -> None:
    counts = ((3, 1, 0, 0), (0, 0, 0, 0), (0, 0, 4, 4))
    assert confusion_text(("a", "bb", "c"), counts, normalise=False).splitlines() == [
        "         1    2    3 none",
        "  1 a    3    1    ·    ·",
        "  3 c    ·    ·    4    4",
    ]
    assert confusion_text(("a", "bb", "c"), counts, normalise=True).splitlines()[1] == "  1 a   75   25    ·    ·"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "evaluate", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_verb_prints_tables_or_json_and_writes_the_figures(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "figures" / "evaluated.json"
    told = run(model(tmp_path), "--data", data, "--out", out, "--normalise")
    assert (told.returncode, told.stderr) == (0, "")
    for part in ("per frame", "per stream", "Confusion of frames", "of 100", "the commonest game", "ROC area"):
        assert part in told.stdout
    written = EvaluationFigures.model_validate_json(out.read_bytes())

    as_json = run(model(tmp_path, "m-2"), "--data", data, "--json")
    assert EvaluationFigures.model_validate(json.loads(as_json.stdout)).streams == written.streams == 3

    bad = run(tmp_path / "nowhere", "--data", data)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"There is no model in {tmp_path / 'nowhere'}: the directory does not exist.\n"


def test_figures_that_were_written_before_are_still_read() -> None:
    found = ProtocolFigures.model_validate_json((ROOT / "models" / "starter" / "figures.json").read_bytes())
    assert found.by_stream.all.streams == 205
