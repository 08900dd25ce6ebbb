"""A model that must not take another's place is told from one that may, with a sentence."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import ArtifactError
from core.games import Game
from core.recognition.candidate import Candidate, FitnessRules, check_against, open_candidate
from core.recognition.golden import GOLDEN_NAME
from tests.artifacts import brightness_artifact, golden_brightness_files
from tests.fakes import GAMES

RULES = FitnessRules(slower_at_most=1000.0)
RULED_OUT = (GAMES[1], GAMES[0], GAMES[2])


@pytest.fixture
def open_version(tmp_path: Path):  # type: ignore[no-untyped-def]
    def open_version(version: str, *, golden: bool = False, **changes: object) -> Candidate:
        files = golden_brightness_files() if golden else {}
        artifact = brightness_artifact(tmp_path / version, version=version, files=files, **changes)  # type: ignore[arg-type]
        return open_candidate(artifact, threads=1, rules=RULES)

    return open_version


def test_a_model_as_good_as_the_other_may_take_its_place(open_version) -> None:
    check_against(open_version("m-2", golden=True), open_version("m-1"), RULES)
    check_against(open_version("m-3"), open_version("m-4", golden=True), RULES)


def test_a_network_that_says_something_else_than_where_it_was_made_is_refused(tmp_path: Path) -> None:
    files = golden_brightness_files()
    said = json.loads(files[GOLDEN_NAME])
    said["frames"][0]["probabilities"].reverse()
    files[GOLDEN_NAME] = json.dumps(said).encode()

    artifact = brightness_artifact(tmp_path / "m-2", files=files)

    with pytest.raises(ArtifactError, match=r"off by [01]\.\d\d"):
        open_candidate(artifact, threads=1, rules=RULES)
    open_candidate(artifact, threads=1, rules=replace(RULES, reproduces_within=1.0))


@pytest.mark.parametrize("golden_of_the_old", [True, False])
def test_a_model_that_errs_where_the_other_does_not_is_refused(open_version, golden_of_the_old: bool) -> None:
    old = open_version("m-1", golden=golden_of_the_old)
    new = open_version("m-2", golden=not golden_of_the_old, games=RULED_OUT)

    with pytest.raises(ArtifactError, match="m-2 is worse than m-1 on their golden frames: 1 of 3 right instead of 3"):
        check_against(new, old, RULES)


def test_games_that_only_one_of_them_knows_do_not_count(open_version) -> None:
    old = open_version("m-1", golden=True)
    new = open_version("m-2", games=(Game(id="a", name="A"), Game(id="b", name="B"), GAMES[2]))

    check_against(new, old, replace(RULES, games_lost_at_most=2))


def test_a_model_that_lacks_games_is_refused(open_version) -> None:
    old = open_version("m-1")
    new = open_version("m-2", games=(GAMES[0], GAMES[1], Game(id="quake", name="Quake")))

    with pytest.raises(ArtifactError, match="m-2 lacks 1 of the games of m-1: Freedoom; 0 may be lost"):
        check_against(new, old, RULES)
    check_against(new, old, replace(RULES, games_lost_at_most=1))


def test_a_slow_model_is_refused(open_version) -> None:
    ticks = itertools.accumulate(itertools.cycle([0.0, 0.3, 0.0, 0.1]))
    old, new = open_version("m-1"), open_version("m-2")

    with pytest.raises(ArtifactError, match=r"m-2 is too slow: 100\.0 ms a frame, 3\.0 times as long as m-1"):
        check_against(new, old, FitnessRules(), clock_s=lambda: next(ticks))
    check_against(new, old, replace(RULES, slower_at_most=4.0), clock_s=lambda: next(ticks))


def test_a_network_with_other_outputs_than_labels_is_refused(tmp_path: Path) -> None:
    artifact = brightness_artifact(tmp_path / "m-2", labels=2)

    with pytest.raises(ArtifactError, match="the manifest has 2 labels"):
        open_candidate(artifact, threads=1, rules=RULES)
