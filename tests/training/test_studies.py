"""A study's trials, without a network: what is tried, what is tried again, and what a kill costs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from core.errors import TrainingError
from training.search.studies import Counts, Study, open_study, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]

# Runs one trial that writes its values down and then hangs; its parent kills it.
HANGING = """
import sys, time
from pathlib import Path
from training.search.studies import open_study
study = open_study(sys.argv[1], name="s", of="this", directory=Path(sys.argv[2]), longest=9, seed=0)
def hang(trial, folder):
    value = trial.suggest_float("x", 0, 1)
    (folder / "progress").write_text(repr(value))
    print("hanging", flush=True)
    time.sleep(60)
study.run_next(hang)
"""
# Works on a study until it has so many trials.
WORKING = """
import sys, time
from pathlib import Path
from training.search.studies import open_study
study = open_study(sys.argv[1], name="s", of="this", directory=Path(sys.argv[2]), longest=9, seed=0)
def quick(trial, folder):
    time.sleep(0.05)
    return trial.suggest_float("x", 0, 1)
while study.counts().settled < int(sys.argv[3]):
    study.run_next(quick)
"""


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "SQLite":
        yield str(tmp_path / "studies.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.fresh_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def opened(tmp_path: Path, storage: str) -> Iterator[Callable[..., Study]]:
    studies = []

    def open_(*, of: str = "this", name: str = "s", folder: str = "work") -> Study:
        studies.append(open_study(storage, name=name, of=of, directory=tmp_path / folder, longest=9, seed=0))
        return studies[-1]

    yield open_
    for study in studies:
        study.close()


def drawn(trial: optuna.Trial, folder: Path) -> float:
    return trial.suggest_float("x", 0, 1)


def killed(tmp_path: Path, storage: str) -> None:
    """A trial begins in a process that then dies."""
    with subprocess.Popen(
        [sys.executable, "-c", HANGING, storage, str(tmp_path / "work")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "hanging\n"
        child.send_signal(signal.SIGKILL)


def test_a_trial_that_was_killed_is_tried_again_in_the_folder_where_it_left_off(
    opened: Callable[..., Study], tmp_path: Path, storage: str
) -> None:
    killed(tmp_path, storage)
    study = opened()
    assert study.counts() == Counts(complete=0, pruned=0, failed=0, running=1)

    assert study.take_back_dead() == 1
    found: dict[str, Any] = {}

    def goes_on(trial: optuna.Trial, folder: Path) -> float:
        found["left"] = float((folder / "progress").read_text())
        return drawn(trial, folder)

    study.run_next(goes_on)
    best = study.best()
    assert best is not None
    assert best.value == found["left"]
    assert study.counts() == Counts(complete=1, pruned=0, failed=0, running=0)
    assert [one.params["x"] for one in study.trials()] == [found["left"]]
    assert not list((tmp_path / "work" / "s").glob("trial-*"))


def test_a_trial_that_is_killed_each_time_has_failed_in_the_end(opened: Callable[..., Study]) -> None:
    study = opened()
    for _ in range(3):
        with pytest.warns(UserWarning, match="Heartbeat"):
            begun = study._study.ask()  # by a process that dies at once
        assert study._again(study._study.trials[begun.number]) == 1
    assert study.counts() == Counts(complete=0, pruned=0, failed=1, running=0)
    assert reason(study.trials()[0]) == "it was killed each time that it was tried"


def test_a_running_trial_of_a_living_process_stays_its_own(opened: Callable[..., Study]) -> None:
    ours, theirs = opened(), opened()

    def looked_at(trial: optuna.Trial, folder: Path) -> float:
        assert theirs.take_back_dead() == 0
        assert theirs.counts().running == 1
        return drawn(trial, folder)

    ours.run_next(looked_at)
    assert theirs.counts() == Counts(complete=1, pruned=0, failed=0, running=0)


def test_a_trial_in_a_folder_that_is_not_ours_is_left_to_its_signs_of_life(opened: Callable[..., Study]) -> None:
    ours, elsewhere = opened(), opened(folder="another machine's")

    def looked_at(trial: optuna.Trial, folder: Path) -> float:
        assert elsewhere.take_back_dead() == 0
        return drawn(trial, folder)

    ours.run_next(looked_at)


def test_processes_share_a_study(opened: Callable[..., Study], tmp_path: Path, storage: str) -> None:
    work = [sys.executable, "-c", WORKING, storage, str(tmp_path / "work"), "6"]
    children = [subprocess.Popen(work, cwd=ROOT) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]

    # Each may have begun one when the other was at its last.
    study = opened()
    assert study.counts().complete in {6, 7}
    assert study.counts().settled == study.counts().complete
    values = [one.params["x"] for one in study.trials()]
    assert len(set(values)) == len(values)


def test_what_fails_counts_with_its_reason_and_the_study_goes_on(opened: Callable[..., Study]) -> None:
    study = opened()

    def fails(trial: optuna.Trial, folder: Path) -> float:
        raise TrainingError("The loss is no longer a number.")

    study.run_next(fails)
    study.run_next(drawn)
    assert study.counts() == Counts(complete=1, pruned=0, failed=1, running=0)
    assert reason(study.trials()[0]) == "The loss is no longer a number."


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_what_is_interrupted_is_tried_again_and_the_interruption_passes_through(
    opened: Callable[..., Study], stop: type[BaseException]
) -> None:
    study, seen = opened(), []

    def interrupted(trial: optuna.Trial, folder: Path) -> float:
        seen.append(drawn(trial, folder))
        raise stop

    with pytest.raises(stop):
        study.run_next(interrupted)
    study.run_next(drawn)
    assert [one.params["x"] for one in study.trials()] == seen
    assert study.counts() == Counts(complete=1, pruned=0, failed=0, running=0)


def test_a_trial_that_another_process_has_taken_over_is_let_go(opened: Callable[..., Study]) -> None:
    ours, theirs = opened(), opened()

    def asleep_too_long(trial: optuna.Trial, folder: Path) -> float:
        value = drawn(trial, folder)
        running = theirs.trials()[0]
        assert theirs._again(running) == 1  # as when no sign of life came for two minutes
        trial.report(0.5, step=1)
        return value

    ours.run_next(asleep_too_long)
    ours.run_next(drawn)
    assert ours.counts() == Counts(complete=1, pruned=0, failed=0, running=0)


def test_a_search_draws_the_same_however_often_it_was_started(tmp_path: Path) -> None:
    def values(name: str, starts: int, each: int) -> list[float]:
        for _ in range(starts):
            study = open_study(
                str(tmp_path / f"{name}.db"), name="s", of="", directory=tmp_path / name, longest=9, seed=3
            )
            for _ in range(each):
                study.run_next(drawn)
        return [one.params["x"] for one in study.trials()]

    assert values("at once", 1, 12) == values("bit by bit", 2, 6)


def test_a_search_begins_with_what_it_was_told_and_only_then(opened: Callable[..., Study]) -> None:
    study = opened()
    for _ in range(2):
        study.begin_with({"x": 0.125})
        study.run_next(drawn)
    first, second = study.trials()
    assert first.params["x"] == 0.125
    assert second.params["x"] != 0.125


def test_the_importances_tell_what_matters_once_there_is_something_to_tell(opened: Callable[..., Study]) -> None:
    study = opened()
    assert study.importances() == {}

    def matters(trial: optuna.Trial, folder: Path) -> float:
        trial.suggest_float("idle", 0, 1)
        return drawn(trial, folder)

    for _ in range(7):
        study.run_next(matters)
    assert list(study.importances()) == ["x", "idle"]


def test_a_study_of_something_else_is_refused(opened: Callable[..., Study]) -> None:
    opened()
    with pytest.raises(TrainingError, match="'s' is of other data"):
        opened(of="that")
    opened(of="that", name="t")


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("nowhere/at/all.db", "unable to open database file"),
        ("mysql://user:hush@nowhere/x", "driver of the study's storage is not installed"),
        ("nonsense://x", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence_without_its_password(
    storage: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=sentence) as refused:
        open_study(storage, name="s", of="", directory=tmp_path, longest=9, seed=0)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "studies.db").write_text("once upon a time" * 100)
    with pytest.raises(TrainingError, match="not a database"):
        open_study(str(tmp_path / "studies.db"), name="s", of="", directory=tmp_path, longest=9, seed=0)
