"""Whether a data set can be trained on, as one report; what cannot be read is never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import DataSetError
from core.games import Game
from tests.training.collected import Collected, jpeg, put
from training.__main__ import app
from training.check import CheckReport, Fault, GameFound, Minimum, check_directory, check_store
from training.data.split import Part

LITTLE = Minimum(frames=2, broadcasters=2, training_frames=4)


def checked(tree: Path, *, minimum: Minimum = LITTLE, quarantine: Path | None = None) -> CheckReport:
    return check_directory(tree, minimum=minimum, quarantine=quarantine, progress=lambda done, total: None)


def checked_store(store: Collected, *, quarantine: Path | None = None) -> CheckReport:
    return check_store(
        database=store.database,
        frames=store.frames,
        minimum=LITTLE,
        quarantine=quarantine,
        progress=lambda done, total: None,
    )


def faults(report: CheckReport) -> list[Fault]:
    return [finding.fault for finding in report.findings]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A data set in three parts that can be trained on."""
    root = tmp_path / "tree"
    for place, game in enumerate(("chess", "doom")):
        for number, (part, stream) in enumerate(
            [("training", "a"), ("training", "a"), ("training", "b"), ("validation", "c"), ("test", "d")]
        ):
            put(root / part / game / f"{stream}_{number}.jpg", jpeg(10 * place + number))
    return root


def test_a_data_set_that_can_be_trained_on_has_no_findings(tree: Path) -> None:
    report = checked(tree)
    assert report.is_fit
    assert report.parts == tuple(Part)
    assert report.games == tuple(
        GameFound(game=game, frames={Part.TRAIN: 3, Part.VALIDATION: 1, Part.TEST: 1}, broadcasters=4)
        for game in ("chess", "doom")
    )


def test_games_side_by_side_need_no_parts(tree: Path) -> None:
    report = checked(tree / "training")
    assert (report.parts, faults(report)) == ((), [])
    assert [game.frames for game in report.games] == [{None: 3}, {None: 3}]


def test_a_missing_part_is_told(tree: Path, tmp_path: Path) -> None:
    (tree / "validation").rename(tmp_path / "elsewhere")
    report = checked(tree)
    assert faults(report) == [Fault.PART_MISSING]
    assert report.findings[0].sentence == "There is no validation part."


def test_a_game_that_a_part_lacks_is_told_whatever_the_order_of_the_folders(tree: Path, tmp_path: Path) -> None:
    (tree / "test" / "doom").rename(tmp_path / "elsewhere")
    (tree / "validation" / "zelda").mkdir()
    report = checked(tree)
    assert faults(report) == [
        Fault.CLASSES_DIFFER,
        Fault.TOO_FEW_FRAMES,
        Fault.TOO_FEW_BROADCASTERS,
    ]
    assert report.findings[0].sentence == "doom has no picture in test."


def test_a_game_in_only_one_part_is_told(tree: Path) -> None:
    for stream in ("a", "b"):
        put(tree / "training" / "zelda" / f"{stream}_1.jpg", jpeg(99))
    report = checked(tree)
    assert faults(report) == [Fault.CLASS_IN_ONE_PART]
    assert report.findings[0].sentence == "zelda has no picture in validation and test."


def test_one_game_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    for stream in ("a", "b"):
        put(tmp_path / "doom" / f"{stream}_1.jpg", jpeg(1))
    assert faults(checked(tmp_path)) == [Fault.ONE_CLASS]


def test_an_empty_folder_has_no_game(tmp_path: Path) -> None:
    assert faults(checked(tmp_path)) == [Fault.NO_CLASS]
    with pytest.raises(DataSetError, match="does not exist"):
        checked(tmp_path / "nowhere")


def test_too_few_frames_and_too_few_broadcasters_are_told_by_game(tree: Path) -> None:
    report = checked(tree, minimum=Minimum(frames=6, broadcasters=5, training_frames=4))
    assert [finding.sentence for finding in report.findings] == [
        "chess has 5 of at least 6 frames.",
        "chess has 4 of at least 5 broadcasters.",
        "doom has 5 of at least 6 frames.",
        "doom has 4 of at least 5 broadcasters.",
    ]


def test_the_training_part_must_have_enough_and_more_than_the_validation(tree: Path) -> None:
    assert faults(checked(tree, minimum=Minimum(frames=2, broadcasters=2))) == [Fault.TRAINING_TOO_SMALL]
    for number in range(10):
        put(tree / "validation" / "doom" / f"c_{50 + number}.jpg", jpeg(50 + number))
    assert faults(checked(tree)) == [Fault.TRAINING_TOO_SMALL]


def test_pictures_that_tell_no_broadcaster_do_not_count_as_one(tmp_path: Path) -> None:
    for number, place in enumerate(("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")):
        put(tmp_path / place, jpeg(number))
    report = checked(tmp_path)
    assert faults(report) == [Fault.TOO_FEW_BROADCASTERS] * 2
    assert report.findings[0].sentence == (
        "a has 0 of at least 2 broadcasters (2 pictures do not tell whose they are)."
    )
    assert checked(tmp_path, minimum=Minimum(frames=2, broadcasters=0)).is_fit


def test_a_stream_in_two_parts_is_told(tree: Path) -> None:
    put(tree / "test" / "doom" / "a_9.jpg", jpeg(9))
    report = checked(tree)
    assert [finding.sentence for finding in report.findings] == ["In more than one part lie the streams doom/a."]


def test_unreadable_pictures_are_listed_not_counted_and_left_where_they_are(tree: Path) -> None:
    cut = put(tree / "training" / "doom" / "a_0.jpg", jpeg(1)[:-300])
    report = checked(tree)
    assert [(one.path, one.why, one.moved_to) for one in report.unreadable] == [(cut, "it was cut short", None)]
    assert faults(report) == [Fault.UNREADABLE]
    assert report.games[1].all_frames == 4
    assert cut.exists()


def test_on_request_they_go_to_a_quarantine_and_nothing_there_is_written_over(tree: Path, tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine"
    there = put(quarantine / "training" / "doom" / "a_0.jpg", b"from the last time")
    content = jpeg(1)[:-300]
    cut = put(tree / "training" / "doom" / "a_0.jpg", content)
    report = checked(tree, quarantine=quarantine)
    assert report.is_fit
    assert not cut.exists()
    assert report.unreadable[0].moved_to == quarantine / "training" / "doom" / "a_0-2.jpg"
    assert (quarantine / "training" / "doom" / "a_0-2.jpg").read_bytes() == content
    assert there.read_bytes() == b"from the last time"
    assert checked(tree).unreadable == ()


def test_a_quarantine_within_the_data_set_is_refused(tree: Path) -> None:
    put(tree / "training" / "doom" / "a_0.jpg", b"")
    with pytest.raises(DataSetError, match="must lie outside"):
        checked(tree, quarantine=tree / "training" / "bad")
    assert (tree / "training" / "doom" / "a_0.jpg").exists()


@pytest.fixture
def store(tmp_path: Path) -> Collected:
    store = Collected(tmp_path / "store")
    store.fill(broadcasters=6)
    return store


def test_the_store_is_checked_as_it_would_be_exported(store: Collected) -> None:
    report = checked_store(store)
    assert report.is_fit
    assert [(game.game, game.all_frames, game.broadcasters) for game in report.games] == [
        ("chess", 12, 6),
        ("doom", 12, 6),
    ]
    assert all(set(game.frames) == set(Part) for game in report.games)


def test_a_game_of_two_broadcasters_cannot_be_in_three_parts(store: Collected) -> None:
    for number in range(2):
        store.capture(f"z{number}", by=f"z{number}", declared=None)
        store.flag(f"z{number}", Game(id="zelda", name="Zelda"))
    report = checked_store(store)
    assert faults(report) == [Fault.CLASSES_DIFFER]
    assert report.findings[0].sentence.startswith("zelda has too few broadcasters to be in ")


def test_files_of_the_store_that_are_gone_or_changed_are_told(store: Collected, tmp_path: Path) -> None:
    gone, changed, *_ = sorted(store.frames.rglob("*.jpg"))
    gone.unlink()
    changed.write_bytes(jpeg(4711))
    report = checked_store(store, quarantine=tmp_path / "quarantine")
    assert faults(report) == [Fault.FILES_GONE]
    assert report.unreadable[0].why == "it is not the file that was stored"
    assert (tmp_path / "quarantine" / changed.parent.name / changed.name).read_bytes() == jpeg(4711)
    assert sum(game.all_frames for game in report.games) == 22


def test_a_store_without_labels_has_no_game(tmp_path: Path) -> None:
    store = Collected(tmp_path / "store")
    store.capture("unlabelled", by="anna", declared=None)
    assert faults(checked_store(store)) == [Fault.NO_CLASS]


def test_exit_status_and_figures_for_a_program(tree: Path, store: Collected, tmp_path: Path) -> None:
    options = ["--min-frames", "2", "--min-broadcasters", "2", "--min-training-frames", "4"]
    fit = CliRunner().invoke(app, ["check", str(tree), *options, "--json"])
    assert (fit.exit_code, json.loads(fit.stdout)["is_fit"]) == (0, True)
    put(tree / "training" / "doom" / "a_0.jpg", b"")
    unfit = CliRunner().invoke(app, ["check", str(tree), *options, "--json"])
    assert unfit.exit_code == 3
    assert json.loads(unfit.stdout)["findings"] == [
        {"fault": "unreadable", "sentence": "Files that hold no readable picture: 1."}
    ]
    assert CliRunner().invoke(app, ["check", "--store", *options, *store.options()]).exit_code == 0
    assert CliRunner().invoke(app, ["check"]).exit_code == 2
    assert CliRunner().invoke(app, ["check", str(tree), "--store"]).exit_code == 2
