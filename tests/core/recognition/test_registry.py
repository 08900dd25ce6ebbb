from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ArtifactError
from core.recognition import registry as module
from core.recognition.artifact import Manifest, write_artifact
from core.recognition.registry import CurrentChangedError, Means, Pointer, Registry, Term, moved_back, moved_on

Tracer: TypeAlias = Any

ROOT = Path(__file__).parents[3]
NOON = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
MANIFEST = {
    "version": "m-1",
    "labels": [{"id": "doom", "name": "Freedoom"}, {"id": "chess", "name": "Chess"}],
    "image": {"width_px": 320, "height_px": 180, "color": "RGB", "dtype": "uint8", "layout": "NHWC", "fit": "pad"},
    "temperature": 1.5,
    "unknown": {"score": "energy", "threshold": -3.0},
    "data_set": {"name": "a few", "sha256": "0" * 64, "games": 2, "streams": 4, "frames": 40},
    "commit": "unknown",
    "created": "2026-11-21T10:00:00Z",
    "files": {"network.tflite": "0" * 64},
}


def model(directory: Path, version: str, *, network: bytes = b"a network") -> Path:
    manifest = Manifest.model_validate({**MANIFEST, "version": version})
    files: dict[str, Path | bytes] = {"network.tflite": network, "reports/report.html": b"<p>good</p>"}
    return write_artifact(directory / version, manifest=manifest, files=files).directory


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return tmp_path / "made"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", now=lambda: NOON)


def current(registry: Registry) -> str | None:
    artifact = registry.current()
    return None if artifact is None else artifact.manifest.version


def test_a_new_registry_is_empty_and_reading_it_writes_nothing(registry: Registry) -> None:
    assert registry.current() is None
    assert registry.versions() == ()
    assert not registry.directory.exists()


def test_what_is_published_is_current_and_checked_and_read_only(registry: Registry, made: Path) -> None:
    pointer = registry.publish(model(made, "m-1"), replacing=None)

    assert pointer == Pointer(current=Term(version="m-1", since=NOON, means=Means.PUBLISHED))
    found = registry.current()
    assert found is not None
    assert found.directory == registry.directory / "models" / "m-1"
    assert found.network_path.read_bytes() == b"a network"
    assert found.network_path.stat().st_mode & 0o777 == 0o444


def test_a_version_can_be_added_without_answering(registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)

    registry.add(model(made, "m-2"))

    assert registry.versions() == ("m-1", "m-2")
    assert current(registry) == "m-1"
    registry.use("m-2")
    assert current(registry) == "m-2"


def test_rollback_goes_back_one_version_each_time_and_then_has_no_more(registry: Registry, made: Path) -> None:
    for before, version in itertools.pairwise([None, "m-1", "m-2", "m-3"]):
        assert version is not None
        registry.publish(model(made, version), replacing=before)

    assert registry.rollback().current.version == "m-2"
    assert registry.rollback().current.version == "m-1"
    with pytest.raises(ArtifactError, match="no version was current before"):
        registry.rollback()
    assert current(registry) == "m-1"


def test_how_a_version_became_current_is_remembered(registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    registry.publish(model(made, "m-2"), replacing="m-1")

    assert registry.rollback().current.means is Means.ROLLED_BACK
    assert registry.use("m-2", means=Means.PROMOTED).current.means is Means.PROMOTED
    assert registry.use("m-2").current.means is Means.PROMOTED
    assert registry.use("m-2", means=Means.INSISTED).current.means is Means.INSISTED
    assert [term.version for term in registry.use("m-1").before] == ["m-1", "m-2"]


def test_what_was_decided_about_another_current_is_not_done(registry: Registry, made: Path) -> None:
    for before, version in itertools.pairwise([None, "m-1", "m-2", "m-3"]):
        registry.publish(model(made, version), replacing=before)  # type: ignore[arg-type]

    with pytest.raises(CurrentChangedError, match="m-3 is current now, no longer m-2"):
        registry.use("m-1", replacing="m-2")
    with pytest.raises(CurrentChangedError):
        registry.rollback(replacing="m-2")
    assert current(registry) == "m-3"
    assert registry.rollback(replacing="m-3").current.version == "m-2"


def test_a_challenger_is_tried_until_it_is_current_or_its_challenge_ends(registry: Registry, made: Path) -> None:
    assert registry.challenger() is None
    registry.publish(model(made, "m-1"), replacing=None)
    for version in ("m-2", "m-3"):
        registry.add(model(made, version))

    assert registry.challenge("m-2") == registry.challenger() == Term(version="m-2", since=NOON)
    assert registry.challenge("m-3").version == "m-3"
    assert not registry.end_challenge("m-2")
    assert registry.end_challenge("m-3")
    assert registry.challenger() is None
    registry.challenge("m-2")
    registry.use("m-3")
    assert registry.challenger() == Term(version="m-2", since=NOON)
    registry.use("m-2")
    assert registry.challenger() is None


def test_only_what_is_there_and_not_current_can_challenge(registry: Registry, made: Path) -> None:
    registry.add(model(made, "m-1"))
    with pytest.raises(ArtifactError, match="nothing is current"):
        registry.challenge("m-1")
    registry.use("m-1")
    with pytest.raises(ArtifactError, match="m-1 is current already"):
        registry.challenge("m-1")
    with pytest.raises(ArtifactError, match="no version m-9"):
        registry.challenge("m-9")
    (registry.directory / "challenger").write_text("{")
    with pytest.raises(ArtifactError, match="does not say which model is tried"):
        registry.challenger()


def test_publishing_again_changes_nothing(registry: Registry, made: Path) -> None:
    directory = model(made, "m-1")
    first = registry.publish(directory, replacing=None)
    before = (registry.directory / "current").stat().st_ino

    assert registry.publish(directory, replacing="m-1") == first
    assert registry.publish(directory, replacing=None) == first
    assert (registry.directory / "current").stat().st_ino == before


def test_a_version_is_never_changed(registry: Registry, made: Path, tmp_path: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)

    with pytest.raises(ArtifactError, match="another model as m-1 already"):
        registry.publish(model(tmp_path / "again", "m-1", network=b"another"), replacing="m-1")

    found = registry.current()
    assert found is not None
    assert found.network_path.read_bytes() == b"a network"


def test_what_was_compared_with_another_current_is_not_published(registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    registry.publish(model(made, "m-2"), replacing="m-1")

    with pytest.raises(CurrentChangedError, match="m-2 is current now, no longer m-1"):
        registry.publish(model(made, "m-3"), replacing="m-1")

    assert registry.versions() == ("m-1", "m-2")
    assert current(registry) == "m-2"


@pytest.mark.parametrize("fault", ["changed", "missing", "nothing"])
def test_a_bad_model_leaves_everything_as_it_was(registry: Registry, made: Path, fault: str) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    bad = model(made, "m-2")
    if fault == "changed":
        (bad / "network.tflite").write_bytes(b"half a netw")
    elif fault == "missing":
        (bad / "reports" / "report.html").unlink()
    else:
        shutil.rmtree(bad)

    with pytest.raises(ArtifactError):
        registry.publish(bad, replacing="m-1")

    assert registry.versions() == ("m-1",)
    assert current(registry) == "m-1"


def test_a_published_model_that_was_damaged_is_not_made_current(registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    registry.publish(model(made, "m-2"), replacing="m-1")
    network = registry.artifact("m-1").network_path
    network.chmod(0o644)
    network.write_bytes(b"bit rot")

    with pytest.raises(ArtifactError, match="corrupt"):
        registry.rollback()
    with pytest.raises(ArtifactError, match="corrupt"):
        registry.use("m-1")
    assert current(registry) == "m-2"


@pytest.mark.parametrize("name", ["nowhere", "../registry", "", ".", "/etc", "m-1/../m-1", "m-1\n"])
def test_only_a_published_version_can_be_used(registry: Registry, made: Path, name: str) -> None:
    registry.publish(model(made, "m-1"), replacing=None)

    with pytest.raises(ArtifactError):
        registry.use(name)
    assert current(registry) == "m-1"


@pytest.mark.parametrize("content", [b"", b"m-1", b'{"format": 2}', b'{"current": {"version": "../x"}}', b"\xff"])
def test_a_pointer_that_is_not_ours_is_refused_with_a_sentence(registry: Registry, made: Path, content: bytes) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    (registry.directory / "current").write_bytes(content)

    with pytest.raises(ArtifactError, match="does not say which model is current"):
        registry.pointer()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, made: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ArtifactError, match="cannot be written"):
        Registry(tmp_path / "file").add(model(made, "m-1"))


def test_what_a_killed_publisher_left_is_never_seen_and_is_swept_up(registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    half = registry.directory / "models" / ".unfinished-abc"
    shutil.copytree(made / "m-1", half)
    (registry.directory / ".unfinished-def").write_text("{")

    assert registry.versions() == ("m-1",)
    registry.add(model(made, "m-2"))
    assert sorted(path.name for path in registry.directory.rglob(".unfinished*")) == []


# Publishes for ever: each turn under new names, since a version that is there already is not copied again.
_PUBLISHER = """
import itertools, json, sys
from pathlib import Path
from core.recognition.registry import Registry
made, registry = Path(sys.argv[1]), Registry(Path(sys.argv[2]))
print("ready", flush=True)
for turn in itertools.count():
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["version"] = f"b-{turn}"
    (made / "manifest.json").write_text(json.dumps(manifest))
    registry.add(made)
    registry.use(f"b-{turn}")
    if turn % 3 == 2:
        registry.rollback()
"""


def test_a_kill_at_any_moment_leaves_a_valid_current(tmp_path: Path, made: Path) -> None:
    steady = model(made, "a-1")
    rng = random.Random(1)
    left_something = 0
    for attempt in range(8):
        registry = Registry(tmp_path / f"registry-{attempt}")
        registry.publish(steady, replacing=None)
        other = model(tmp_path / f"made-{attempt}", "b-0", network=os.urandom(3_000_000))
        with subprocess.Popen(
            [sys.executable, "-c", _PUBLISHER, str(other), str(registry.directory)], cwd=ROOT, stdout=subprocess.PIPE
        ) as publisher:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 0.2))
            publisher.kill()
        assert publisher.returncode == -signal.SIGKILL
        left_something += any(registry.directory.rglob(".unfinished*"))

        assert current(registry) in registry.versions()
        for version in registry.versions():
            registry.artifact(version)
        # The lock of the dead is nobody's.
        registry.use("a-1")
        assert not any(registry.directory.rglob(".unfinished*"))
    assert left_something, "no kill came while something was being written"


@pytest.mark.parametrize("step", range(40))
def test_a_death_at_any_step_leaves_the_old_or_the_new_current(step: int, registry: Registry, made: Path) -> None:
    registry.publish(model(made, "m-1"), replacing=None)
    new = model(made, "m-2")
    pid = os.fork()
    if pid == 0:
        steps = itertools.count()

        def died(frame: FrameType, event: str, _: object) -> Tracer:
            if event == "line" and frame.f_code.co_filename == module.__file__ and next(steps) == step * 3:
                os._exit(9)
            return died

        sys.settrace(died)
        registry.publish(new, replacing="m-1")
        os._exit(0)
    _, status = os.waitpid(pid, 0)

    ended = os.waitstatus_to_exitcode(status)
    assert ended in {0, 9}
    assert current(registry) == "m-2" if ended == 0 else current(registry) in {"m-1", "m-2"}
    assert set(registry.versions()) <= {"m-1", "m-2"}
    for version in registry.versions():
        registry.artifact(version)
    assert registry.publish(new, replacing=current(registry)).before[-1].version == "m-1"
    assert not any(registry.directory.rglob(".unfinished*"))


def test_of_publishers_at_once_one_wins_and_the_others_are_told(registry: Registry, made: Path) -> None:
    models = [model(made, f"m-{number}", network=os.urandom(100_000)) for number in range(8)]

    def publish(directory: Path) -> bool:
        try:
            Registry(registry.directory).publish(directory, replacing=None)
        except CurrentChangedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(publish, models))

    assert won.count(True) == 1
    assert registry.versions() == (models[won.index(True)].name,)


def test_publishers_and_readers_at_once_lose_nothing(registry: Registry, made: Path) -> None:
    models = [model(made, f"m-{number}") for number in range(6)]

    def publish(directory: Path) -> None:
        Registry(registry.directory).add(directory)
        Registry(registry.directory).use(directory.name)

    with ThreadPoolExecutor(6) as pool:
        under_way = [pool.submit(publish, directory) for directory in models]
        while not all(one.done() for one in under_way):
            seen = current(registry)
            assert seen is None or seen in registry.versions()
        for one in under_way:
            one.result()

    pointer = registry.pointer()
    assert pointer is not None
    assert sorted(term.version for term in (*pointer.before, pointer.current)) == [path.name for path in models]


VERSIONS = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(st.one_of(VERSIONS, st.none()), max_size=150))
def test_the_pointer_is_a_stack_of_versions_none_twice_in_a_row(moves: list[str | None]) -> None:
    pointer: Pointer | None = None
    stack: list[str] = []
    for number, move in enumerate(moves):
        at = NOON + dt.timedelta(minutes=number)
        if move is not None:
            pointer = moved_on(pointer, move, at=at)
            stack += [move] if stack[-1:] != [move] else []
        elif pointer is not None:
            back = moved_back(pointer, at=at)
            assert (back is None) == (len(stack) == 1)
            if back is not None:
                pointer = back
                stack.pop()
        found = [] if pointer is None else [*(term.version for term in pointer.before), pointer.current.version]
        assert found == stack[-101:]
        # What cannot be followed by a look back is not kept for ever.
        stack = stack[-101:]
        if pointer is not None:
            assert Pointer.model_validate_json(pointer.model_dump_json()) == pointer


@settings(max_examples=200)
@given(
    st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda tree: json.dumps(tree).encode())
)
def test_no_content_of_the_pointer_ends_in_anything_but_a_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "current").write_bytes(content)
        with pytest.raises(ArtifactError):
            Registry(Path(name)).pointer()
