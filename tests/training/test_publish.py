from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import training.publish as module
from core.errors import ArtifactError, DataSetError
from core.frames import encode_jpeg
from core.recognition.artifact import Artifact, read_artifact, write_artifact
from core.recognition.registry import Means, Pointer, Registry
from tests.artifacts import NETWORKS, brightness_artifact
from training.data.folders import FrameFile
from training.data.learnt import learnt_text
from training.data.split import Part
from training.publish import Compared, ComparedBy, Comparison, Decision, decide
from training.scoring.figures import ProtocolFigures

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "models" / "starter"
BRIGHTNESS = {"valorant": 20, "chess": 128, "freedoom": 235}


def model(
    directory: Path,
    version: str,
    *,
    labels: tuple[str, ...] = ("valorant", "chess", "freedoom"),
    threshold: float = 100.0,
    figures: ProtocolFigures | None = None,
    data_set: str = "0" * 64,
    learnt: str = "",
) -> Path:
    """A brightness network; with its labels in another order, it names the wrong games."""
    plain = brightness_artifact(directory / f"{version}-plain", threshold=threshold).manifest.model_dump(mode="json")
    plain["version"] = version
    plain["labels"] = [{"id": label, "name": label} for label in labels]
    plain["data_set"]["sha256"] = data_set
    files: dict[str, Path | bytes] = {"network.tflite": NETWORKS / "brightness.tflite"}
    if learnt:
        files["learnt.txt"] = learnt.encode()
    if figures is not None:
        files["figures.json"] = figures.model_dump_json().encode()
    manifest = type(read_artifact(directory / f"{version}-plain").manifest).model_validate(plain)
    return write_artifact(directory / version, manifest=manifest, files=files).directory


@pytest.fixture(scope="module")
def figures() -> ProtocolFigures:
    return ProtocolFigures.model_validate_json((STARTER / "figures.json").read_bytes())


def changed(figures: ProtocolFigures, **shares: float) -> ProtocolFigures:
    test = figures.by_stream
    return figures.model_copy(update={"by_stream": test.model_copy(update={"all": test.all.model_copy(update=shares)})})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data")


def pictures(root: Path, *, below: str = "") -> Path:
    for game, brightness in BRIGHTNESS.items():
        for stream in ("one", "two"):
            path = root / below / game / stream
            path.mkdir(parents=True)
            for number in range(2):
                shade = brightness + number
                (path / f"{number}.jpg").write_bytes(encode_jpeg(np.full((180, 320, 3), shade, dtype=np.uint8)))
    return root


def publish(model: Path, registry: Registry, *, data: Path | None = None, is_forced: bool = False) -> Decision:
    return module.publish(
        model, registry=registry.directory, data=data, frames=registry.directory / "frames", is_forced=is_forced
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def current(registry: Registry) -> str:
    pointer = registry.pointer()
    assert pointer is not None
    return pointer.current.version


def test_the_first_model_is_published(tmp_path: Path, registry: Registry) -> None:
    decision = publish(model(tmp_path, "m-1"), registry)

    assert decision.is_published
    assert decision.reason == "m-1 is published: the registry had no model yet."
    assert current(registry) == "m-1"


def test_models_measured_on_the_same_streams_are_compared_by_their_figures(
    tmp_path: Path, registry: Registry, figures: ProtocolFigures
) -> None:
    publish(model(tmp_path, "m-1", figures=figures), registry)

    worse = publish(model(tmp_path, "m-2", figures=changed(figures, frames_right=0.98)), registry)
    assert not worse.is_published
    assert worse.reason == (
        "m-2 is refused, as it is worse than m-1 on the same 205 test streams: "
        f"98.00% of frames named right against {100 * figures.by_stream.all.frames_right:.2f}%."
    )
    assert current(registry) == "m-1"
    assert registry.versions() == ("m-1",)

    equal = publish(model(tmp_path, "m-3", figures=figures), registry)
    assert equal.is_published
    assert equal.comparison is not None
    assert equal.comparison.by is ComparedBy.FIGURES
    better = publish(model(tmp_path, "m-4", figures=changed(figures, streams_right=1.0)), registry)
    assert better.is_published
    assert current(registry) == "m-4"


def test_figures_of_other_streams_are_not_compared(
    tmp_path: Path, registry: Registry, figures: ProtocolFigures
) -> None:
    publish(model(tmp_path, "m-1", figures=figures), registry)
    other_frames = model(tmp_path, "m-2", figures=figures, data_set="1" * 64)
    fewer = changed(figures)
    test = fewer.by_stream
    other_division = fewer.model_copy(update={"by_stream": test.model_copy(update={"parts": test.parts[1:]})})

    for directory in (other_frames, model(tmp_path, "m-3", figures=other_division), model(tmp_path, "m-4")):
        with pytest.raises(ArtifactError, match="not measured on the same test streams: name test data with --data"):
            publish(directory, registry)
    assert current(registry) == "m-1"


def test_other_models_are_run_on_test_data(tmp_path: Path, registry: Registry, data: Path) -> None:
    publish(model(tmp_path, "m-1"), registry)

    swapped = publish(model(tmp_path, "m-2", labels=("chess", "valorant", "freedoom")), registry, data=data)
    assert not swapped.is_published
    assert swapped.comparison is not None
    assert swapped.comparison.by is ComparedBy.DATA
    assert swapped.comparison.streams == 6
    assert [share.current for share in swapped.comparison.shares] == [1.0, 1.0, 1.0]
    assert [share.new for share in swapped.comparison.shares] == pytest.approx([1 / 3, 1 / 3, 1 / 3])

    assert publish(model(tmp_path, "m-3"), registry, data=data).is_published
    assert current(registry) == "m-3"


def test_a_model_that_calls_everything_unknown_is_worse(tmp_path: Path, registry: Registry, data: Path) -> None:
    publish(model(tmp_path, "m-1"), registry)

    decision = publish(model(tmp_path, "m-2", threshold=-1000.0), registry, data=data)

    assert not decision.is_published
    assert decision.reason.endswith("0.00% of streams answered right against 100.00%.")


def test_only_the_test_part_is_run(tmp_path: Path, registry: Registry) -> None:
    publish(model(tmp_path, "m-1"), registry)
    parted = pictures(tmp_path / "parted", below="test")
    for part in ("training", "validation"):
        for game in BRIGHTNESS:
            path = parted / part / game / part
            path.mkdir(parents=True)
            (path / "0.jpg").write_bytes(encode_jpeg(np.zeros((180, 320, 3), dtype=np.uint8)))

    decision = publish(model(tmp_path, "m-2"), registry, data=parted)

    assert decision.comparison is not None
    assert decision.comparison.streams == 6


def test_streams_that_a_model_has_learnt_from_do_not_judge_it(tmp_path: Path, registry: Registry, data: Path) -> None:
    sums = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in data.rglob("*.jpg"))
    made_of = hashlib.sha256("\n".join(sums).encode()).hexdigest()
    publish(model(tmp_path, "m-1"), registry)

    decision = publish(model(tmp_path, "m-2", data_set=made_of), registry, data=data)

    assert not decision.is_published
    assert "it has learnt from the test streams" in decision.reason


@pytest.mark.parametrize(("part", "is_published"), [(Part.TRAIN, False), (Part.VALIDATION, True)])
def test_a_model_that_lists_what_it_has_learnt_from_is_not_judged_by_any_of_it(
    tmp_path: Path, registry: Registry, data: Path, part: Part, is_published: bool
) -> None:
    publish(model(tmp_path, "m-1"), registry)
    path = next(data.rglob("*.jpg"))
    one = FrameFile(path=path, game="chess", stream="chess/elsewhere", unit="chess/elsewhere")

    decision = publish(model(tmp_path, "m-2", learnt=learnt_text({part: [one]})), registry, data=data)

    assert decision.is_published is is_published


def test_test_data_of_which_nothing_can_be_read_is_refused(tmp_path: Path, registry: Registry, data: Path) -> None:
    publish(model(tmp_path, "m-1"), registry)
    for path in data.rglob("*.jpg"):
        path.write_bytes(b"no picture")

    with pytest.raises(DataSetError, match="Not one of the 12 test frames can be read"):
        publish(model(tmp_path, "m-2"), registry, data=data)


def test_force_publishes_whatever_is_current(tmp_path: Path, registry: Registry) -> None:
    publish(model(tmp_path, "m-1"), registry)
    network = registry.artifact("m-1").network_path
    network.chmod(0o644)
    network.write_bytes(b"bit rot")
    bad = model(tmp_path, "m-2", labels=("chess", "valorant", "freedoom"))

    with pytest.raises(ArtifactError, match="corrupt"):
        publish(bad, registry)
    decision = publish(bad, registry, is_forced=True)

    assert decision.is_published
    assert "by force" in decision.reason
    assert current(registry) == "m-2"
    pointer = registry.pointer()
    assert pointer is not None
    # So that no running bot refuses it for knowing fewer games.
    assert pointer.current.means is Means.INSISTED


def test_no_force_publishes_what_is_no_network(tmp_path: Path, registry: Registry) -> None:
    bad = brightness_artifact(tmp_path / "bad", network="other_size").directory

    with pytest.raises(ArtifactError):
        publish(bad, registry, is_forced=True)
    assert registry.versions() == ()


def test_publishing_what_is_current_already_changes_nothing(tmp_path: Path, registry: Registry) -> None:
    directory = model(tmp_path, "m-1")
    publish(directory, registry)

    assert publish(directory, registry).reason == "m-1 is current already."


def test_a_model_published_in_the_meantime_is_compared_with(
    tmp_path: Path, registry: Registry, figures: ProtocolFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(model(tmp_path, "m-1", figures=changed(figures, streams_right=0.5)), registry)
    best = model(tmp_path, "m-2", figures=changed(figures, streams_right=1.0))
    real = Registry.publish

    def publish_after_another(self: Registry, directory: Path, *, replacing: str | None, insists: bool) -> Pointer:
        monkeypatch.setattr(Registry, "publish", real)
        real(self, best, replacing=replacing)
        return real(self, directory, replacing=replacing, insists=insists)

    monkeypatch.setattr(Registry, "publish", publish_after_another)
    decision = publish(model(tmp_path, "m-3", figures=changed(figures, streams_right=0.9)), registry)

    assert not decision.is_published
    assert decision.replacing == "m-2"
    assert current(registry) == "m-2"


def test_one_worse_share_is_enough_to_refuse_and_rounding_is_not() -> None:
    def of(new: float) -> Decision:
        shares = (Compared(name="streams", new=1.0, current=0.5), Compared(name="frames", new=new, current=0.3))
        return decide(Comparison(by=ComparedBy.DATA, streams=2, shares=shares), version="m-2", replacing="m-1")

    assert of(0.1 + 0.2).is_published
    assert of(0.3 - 1e-12).is_published
    assert not of(0.2999).is_published


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "publish", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_verb_says_why_and_ends_with_0_3_or_1(tmp_path: Path, registry: Registry, data: Path) -> None:
    first = run(model(tmp_path, "m-1"), "--registry", registry.directory)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "m-1 is published: the registry had no model yet.\n"

    worse = model(tmp_path, "m-2", labels=("chess", "valorant", "freedoom"))
    refused = run(worse, "--registry", registry.directory, "--data", data, "--json")
    assert refused.returncode == 3
    told = json.loads(refused.stdout)
    assert (told["version"], told["replacing"], told["is_published"]) == ("m-2", "m-1", False)
    assert told["comparison"]["by"] == "data"

    bad = run(tmp_path / "nowhere", "--registry", registry.directory)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == f"There is no model in {tmp_path / 'nowhere'}: the directory does not exist.\n"


def test_the_starter_model_is_compared_with_itself_by_its_figures() -> None:
    starter: Artifact = read_artifact(STARTER)

    comparison = module.compare_figures(starter, starter)

    assert comparison is not None
    assert comparison.streams == 205
