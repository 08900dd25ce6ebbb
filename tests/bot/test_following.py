"""What becomes current in the registry answers, if it is fit; what is not is refused once, and the old one goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bot.models.following import Answering, FirstModel, ModelFollower, Refusal, first_model
from core.errors import ArtifactError
from core.games import Game
from core.recognition import candidate as candidate_module
from core.recognition.aggregate import Logits
from core.recognition.artifact import Artifact
from core.recognition.candidate import Candidate, FitnessRules
from core.recognition.golden import GOLDEN_NAME
from core.recognition.recognizer import Recognizer
from core.recognition.registry import Means, Registry, Term
from core.recognition.runtime import Network
from tests.artifacts import NETWORKS, brightness_artifact, golden_brightness_files
from tests.fakes import GAMES, frame

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = FitnessRules(slower_at_most=20.0)
"""Networks of a few microseconds take turns on a busy machine."""


@dataclass
class Listener:
    """Hears of models."""

    news: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    async def taken_over(self, model: Answering, *, before: str) -> None:
        self.news.append(f"{before} -> {model.model.version}")

    async def refused(self, refusal: Refusal, *, answering: str) -> None:
        self.news.append(f"{refusal.term.version} refused, {answering} answers")
        self.sentences.append(refusal.sentence)


@dataclass
class Canary:
    """Tries challengers."""

    tried: list[str] = field(default_factory=list)

    def challenge(self, model: Candidate, term: Term) -> None:
        self.tried.append(model.version)

    def end(self) -> None:
        if self.tried and self.tried[-1] != "none":
            self.tried.append("none")


@dataclass
class Place:
    """A registry whose m-1 answers, and who follows it."""

    folder: Path
    registry: Registry
    recognizer: Recognizer
    follower: ModelFollower
    heard: Listener
    canary: Canary

    def add(self, version: str, **changes: object) -> Path:
        """Bring in a model; its directory in the registry, which may then be spoilt."""
        made = brightness_artifact(self.folder / "made" / version, version=version, **changes)  # type: ignore[arg-type]
        return self.registry.add(made.directory).directory

    async def answers(self) -> str:
        """The version that an asker is answered by."""
        return (await self.recognizer.recognize([frame(10)])).model


@asynccontextmanager
async def following(folder: Path, *, directory: Path | None = None) -> AsyncIterator[Place]:
    registry = Registry(folder / "registry")
    if directory is None:
        first_files = golden_brightness_files()
        first = brightness_artifact(folder / "made" / "m-1", version="m-1", files=first_files)
        registry.add(first.directory)
        registry.use("m-1")
        directory = folder / "made" / "m-1"
    started = first_model(registry, directory, threads=1, rules=RULES, now=NOON)
    answering = started.answering.model
    recognizer = Recognizer(answering.network, answering.artifact.rule)
    del answering
    heard, canary = Listener(), Canary()
    follower = ModelFollower(
        registry, recognizer, started, threads=1, rules=RULES, poll_s=0.01, hears=heard, canary=canary
    )
    # Nothing but who follows holds on to a model: it waits for the old one to go.
    del started
    serving = asyncio.create_task(recognizer.run())
    try:
        yield Place(folder, registry, recognizer, follower, heard, canary)
    finally:
        serving.cancel()
        await asyncio.wait({serving})


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with following(tmp_path) as place:
        yield place


async def test_a_new_current_is_taken_over(place: Place) -> None:
    place.add("m-2")
    assert await place.answers() == "m-1"

    pointer = place.registry.use("m-2")
    await place.follower.look()

    assert await place.answers() == "m-2"
    assert place.follower.answering.since == pointer.current.since
    assert place.heard.news == ["m-1 -> m-2"]


async def test_following_goes_on_by_itself_and_can_be_woken(tmp_path: Path) -> None:
    async with following(tmp_path) as place:
        wake = asyncio.Event()
        follower = ModelFollower(
            place.registry,
            place.recognizer,
            FirstModel(answering=place.follower.answering),
            threads=1,
            rules=RULES,
            poll_s=600,
            wake=wake,
        )
        running = asyncio.create_task(follower.run())
        await asyncio.sleep(0.05)
        place.add("m-2")
        place.registry.use("m-2")

        wake.set()
        async with asyncio.timeout(30):
            while await place.answers() != "m-2":
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})


async def test_a_rollback_is_followed_though_the_older_model_is_the_worse_one(place: Place) -> None:
    place.add("m-0", games=(GAMES[1], GAMES[0], GAMES[2]))
    place.registry.use("m-0", means=Means.INSISTED)
    await place.follower.look()
    place.registry.use("m-1")
    await place.follower.look()
    assert await place.answers() == "m-1"

    assert place.registry.rollback().current.version == "m-0"
    await place.follower.look()

    assert await place.answers() == "m-0"


def corrupt(place: Place) -> None:
    network = place.add("m-2") / "network.tflite"
    network.chmod(0o644)
    network.write_bytes(network.read_bytes()[:-1] + b"\0")


def half_written(place: Place) -> None:
    (place.add("m-2") / "network.tflite").unlink()


def without_manifest(place: Place) -> None:
    (place.add("m-2") / "manifest.json").unlink()


def with_other_pictures(place: Place) -> None:
    manifest = place.add("m-2") / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace('"fit": "pad"', '"fit": "crop"'))


def no_network(place: Place) -> None:
    place.add("m-2", files={"network.tflite": b"no network"})


def of_another_shape(place: Place) -> None:
    place.add("m-2", network="other_size")


def with_labels_missing(place: Place) -> None:
    place.add("m-2", labels=2)


def with_games_missing(place: Place) -> None:
    place.add("m-2", games=(GAMES[0], GAMES[1], Game(id="quake", name="Quake")))


def erring(place: Place) -> None:
    place.add("m-2", games=(GAMES[1], GAMES[0], GAMES[2]))


def not_as_it_was_made(place: Place) -> None:
    files = golden_brightness_files()
    said = json.loads(files[GOLDEN_NAME])
    said["frames"][0]["probabilities"].reverse()
    place.add("m-2", files={**files, GOLDEN_NAME: json.dumps(said).encode()})


def slow(place: Place) -> None:
    place.add("m-2")


BAD: dict[Callable[[Place], None], str] = {
    corrupt: "is corrupt",
    half_written: "is incomplete: network.tflite is missing",
    without_manifest: "has no manifest.json",
    with_other_pictures: "fit crop instead of pad",
    no_network: "cannot be loaded",
    of_another_shape: r"takes uint8 \(240, 320, 3\)",
    with_labels_missing: "the manifest has 2 labels",
    with_games_missing: "lacks 1 of the games of m-1: Freedoom",
    erring: "worse than m-1 on their golden frames: 1 of 3 right instead of 3",
    not_as_it_was_made: r"off by [01]\.\d\d",
    slow: "too slow",
}


class _SlowWhereItIsSlow(Network):
    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        self._pause_s = 0.0
        super().__init__(artifact, threads=threads)
        self._pause_s = 0.3 if artifact.manifest.version == "m-2" else 0.0

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        time.sleep(self._pause_s)
        return super().logits(pictures)


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
async def test_a_bad_model_is_refused_once_and_the_old_one_goes_on(
    spoil: Callable[[Place], None],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if spoil is slow:
        monkeypatch.setattr(candidate_module, "Network", _SlowWhereItIsSlow)
    opened = []
    real = Registry.artifact
    spoil(place)
    _make_current(place.registry, "m-2")
    monkeypatch.setattr(Registry, "artifact", lambda self, version: (opened.append(version), real(self, version))[1])

    for _ in range(3):
        await place.follower.look()
        assert await place.answers() == "m-1"

    assert place.heard.news == ["m-2 refused, m-1 answers"]
    with pytest.raises(AssertionError, match=BAD[spoil]):
        raise AssertionError(place.heard.sentences[0])
    assert opened == ["m-2"]
    assert place.follower.last_refusal is not None
    assert [r.levelno for r in caplog.records if "m-2 is refused, and m-1 goes on" in r.message] == [logging.ERROR]


def _make_current(registry: Registry, version: str) -> None:
    """As no verb does it: past all checks, as somebody with an editor."""
    pointer = json.loads((registry.directory / "current").read_text())
    pointer["before"].append(pointer["current"])
    pointer["current"] = {"version": version, "since": NOON.isoformat(), "means": "published"}
    (registry.directory / "current").write_text(json.dumps(pointer))


async def test_a_model_that_was_half_written_is_taken_over_when_it_is_whole(place: Place) -> None:
    half_written(place)
    _make_current(place.registry, "m-2")
    await place.follower.look()
    assert await place.answers() == "m-1"

    shutil.copyfile(NETWORKS / "brightness.tflite", place.registry.directory_of("m-2") / "network.tflite")
    await place.follower.look()

    assert await place.answers() == "m-2"
    assert place.follower.last_refusal is None


async def test_what_was_refused_is_taken_over_when_a_person_insists_on_it(place: Place) -> None:
    erring(place)
    place.registry.use("m-2")
    await place.follower.look()
    assert await place.answers() == "m-1"

    place.registry.use("m-2", means=Means.INSISTED)
    await place.follower.look()

    assert await place.answers() == "m-2"


async def test_no_insisting_helps_a_model_that_is_damaged(place: Place) -> None:
    corrupt(place)
    _make_current(place.registry, "m-2")
    pointer = (place.registry.directory / "current").read_text()
    (place.registry.directory / "current").write_text(pointer.replace("published", "insisted"))

    await place.follower.look()

    assert await place.answers() == "m-1"


async def test_a_registry_that_cannot_be_read_changes_nothing_and_is_complained_of_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    current = place.registry.directory / "current"
    kept = current.read_text()
    current.write_text("{")
    for _ in range(3):
        await place.follower.look()
    assert await place.answers() == "m-1"
    assert len([r for r in caplog.records if "does not say which model is current" in r.message]) == 1

    current.write_text(kept)
    place.add("m-2")
    place.registry.use("m-2")
    await place.follower.look()
    assert await place.answers() == "m-2"


async def test_a_challenger_is_tried_until_it_is_no_longer(place: Place) -> None:
    place.add("m-2")
    place.registry.challenge("m-2")
    for _ in range(2):
        await place.follower.look()
    assert place.canary.tried == ["m-2"]
    assert await place.answers() == "m-1"

    place.registry.use("m-2")
    await place.follower.look()

    assert place.canary.tried == ["m-2", "none"]


async def test_a_challenger_that_is_unfit_is_never_tried(place: Place) -> None:
    erring(place)
    place.registry.challenge("m-2")
    for _ in range(2):
        await place.follower.look()

    assert place.canary.tried == []
    assert place.heard.news == ["m-2 refused, m-1 answers"]


async def test_askers_are_answered_throughout_by_one_model_or_the_other(place: Place) -> None:
    """20 at a time, while the registry changes: see also benchmarks/reload.py."""
    place.add("m-2")
    failed: list[BaseException] = []
    models: list[str] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            try:
                models.append((await place.recognizer.recognize([frame(250)] * 3)).model)
            except Exception as error:  # noqa: BLE001
                failed.append(error)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(ask())
        for number in range(20):
            place.registry.use("m-2" if number % 2 == 0 else "m-1")
            await place.follower.look()
        over.set()

    assert failed == []
    assert set(models) == {"m-1", "m-2"}
    assert len(place.heard.news) == 20


def test_the_directory_answers_while_the_registry_has_nothing(tmp_path: Path) -> None:
    made = brightness_artifact(tmp_path / "model", version="starter")

    for registry in (None, Registry(tmp_path / "registry")):
        first = first_model(registry, made.directory, threads=1, rules=RULES, now=NOON)
        assert first.answering.model.version == "starter"
        assert first.answering.since == NOON


def test_a_bot_starts_with_the_latest_model_that_can_answer(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for version in ("m-1", "m-2", "m-3"):
        registry.add(brightness_artifact(tmp_path / version, version=version).directory)
        registry.use(version)
    for version in ("m-2", "m-3"):
        (registry.directory_of(version) / "network.tflite").unlink()

    first = first_model(registry, tmp_path / "none", threads=1, rules=RULES, now=NOON)
    assert first.answering.model.version == "m-1"
    assert [refusal.term.version for refusal in first.refused] == ["m-3", "m-2"]

    (registry.directory_of("m-1") / "network.tflite").unlink()
    starter = brightness_artifact(tmp_path / "starter", version="starter")
    first = first_model(registry, starter.directory, threads=1, rules=RULES, now=NOON)
    assert first.answering.model.version == "starter"
    with pytest.raises(ArtifactError):
        first_model(registry, tmp_path / "none", threads=1, rules=RULES, now=NOON)


async def test_what_was_refused_at_the_start_is_told_and_taken_over_when_it_is_mended(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for version in ("m-1", "m-2"):
        registry.add(brightness_artifact(tmp_path / version, version=version).directory)
        registry.use(version)
    (registry.directory_of("m-2") / "network.tflite").unlink()

    async with following(tmp_path, directory=tmp_path / "m-1") as place:
        running = asyncio.create_task(place.follower.run())
        await asyncio.sleep(0.2)
        assert place.heard.news == ["m-2 refused, m-1 answers"]
        assert await place.answers() == "m-1"

        shutil.copyfile(NETWORKS / "brightness.tflite", registry.directory_of("m-2") / "network.tflite")
        async with asyncio.timeout(30):
            while await place.answers() != "m-2":
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
