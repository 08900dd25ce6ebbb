"""The last step: a trained network to a model directory that the bot takes; and the verb `finish`.

The bot runs LiteRT, which TensorFlow makes. Where a training ran without TensorFlow, everything is written down beside
the place of the model, and `finish` goes on from there on a machine that has it.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from core.errors import ArtifactError, TrainingError
from core.frames import decode_jpeg, encode_jpeg
from core.recognition.artifact import NETWORK_NAME, Manifest, write_artifact
from core.recognition.golden import golden_files
from training.reports.page import Story, html, model_card

if TYPE_CHECKING:
    import numpy.typing as npt

    from training.fitting.litert import Agreement

_NETWORK, _DRAFT, _FILES, _GOLDEN = "network.keras", "draft.json", "files", "golden"


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenFrame:
    """A frame that stays with the model: id of the right game, and the picture, uint8[180, 320, 3]."""

    game: str
    picture: npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """All that makes a model directory, but for the network that the bot runs.

    Attributes:
        network: frames -> logits of games, then of genres.
        manifest: its `files` are filled in when they are written.
        story: for report and card; its `agreement` is filled in.
        files: name to content, beside network, report, card and golden set.
        golden: frames that stay with the model; may be none.
        keeps_keras: whether the model directory also holds this network.
        compared: uint8[n, 180, 320, 3]: on which the exported network must say what this one does.
    """

    network: keras.Model
    manifest: Manifest
    story: Story
    files: dict[str, bytes]
    golden: tuple[GoldenFrame, ...]
    compared: npt.NDArray[np.uint8]
    keeps_keras: bool = False


class _Draft(BaseModel):
    """What `finish` reads again; its pictures lie beside it."""

    model_config = ConfigDict(extra="forbid")

    manifest: Manifest
    golden: tuple[str, ...]


def finish(trained: Trained, *, out: Path, console: Console) -> None:
    """Write the model directory; without TensorFlow, what `finish_unfinished` makes it of.

    Raises:
        ArtifactError: there is something at `out`, or what was written does not pass the checks.
        TrainingError: the exported network says something else.
    """
    if importlib.util.find_spec("tensorflow") is None or keras.backend.backend() != "tensorflow":
        _set_aside(trained, out=out, console=console)
        return
    network, agreement = _exported(trained.network, trained.compared, trained.manifest, console)
    story = replace(trained.story, agreement=agreement)
    pages = {"report.html": html(story).encode(), "README.md": model_card(story).encode()}
    if trained.keeps_keras:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _NETWORK
            trained.network.save(path)
            pages[_NETWORK] = path.read_bytes()
    _write(out, network, trained.manifest, {**trained.files, **pages}, trained.golden, console)


def finish_unfinished(unfinished: Path, *, out: Path) -> None:
    """The verb `finish`: export what a training without TensorFlow left, and write the model directory.

    Raises:
        ArtifactError: there is something at `out`, or what was written does not pass the checks.
        TrainingError: `unfinished` is nothing of the kind, or the exported network says something else.
    """
    console = Console()
    if out.exists():
        raise ArtifactError(f"There is already something at {out}; a model is never written over.")
    if keras.backend.backend() != "tensorflow":
        raise TrainingError("`finish` exports with TensorFlow: leave KERAS_BACKEND out.")
    try:
        draft = _Draft.model_validate_json((unfinished / _DRAFT).read_bytes())
        model = keras.models.load_model(unfinished / _NETWORK, compile=False)
        files = {path.name: path.read_bytes() for path in sorted((unfinished / _FILES).iterdir())}
        pictures = [
            decode_jpeg((unfinished / _GOLDEN / f"{place:04}.jpg").read_bytes()) for place in range(len(draft.golden))
        ]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{unfinished} is not what a training without TensorFlow leaves, or not whole.") from error
    golden = tuple(GoldenFrame(game=game, picture=one) for game, one in zip(draft.golden, pictures, strict=True))
    noise = np.random.default_rng(0).integers(0, 256, size=(4, *model.input.shape[1:])).astype(np.uint8)
    compared = np.stack([one.picture for one in golden]) if golden else noise
    network, agreement = _exported(model, compared, draft.manifest, console)
    files["README.md"] += f"\n{agreement.told()}\n".encode()
    _write(out, network, draft.manifest, files, golden, console)


def _exported(
    model: keras.Model, compared: npt.NDArray[np.uint8], manifest: Manifest, console: Console
) -> tuple[bytes, Agreement]:
    from training.fitting.litert import check, export  # noqa: PLC0415 (TensorFlow need not be there)

    temperature, games = manifest.temperature, len(manifest.labels)
    network = export(model)
    try:
        agreement = check(network, model, compared, temperature=temperature, games=games)
    except TrainingError:
        # A network that is very sure, as few data make it, magnifies what rounding does to its weights.
        network = export(model, halved=False)
        agreement = check(network, model, compared, temperature=temperature, games=games)
    console.print(agreement.told(), highlight=False)
    return network, agreement


def _write(
    out: Path,
    network: bytes,
    manifest: Manifest,
    files: dict[str, bytes],
    golden: tuple[GoldenFrame, ...],
    console: Console,
) -> None:
    from training.fitting.litert import run  # noqa: PLC0415 (TensorFlow need not be there)

    kept: dict[str, Path | bytes] = {NETWORK_NAME: network, **files}
    if golden:
        # As the bot will read it, so that what is recorded is what it must find.
        with tempfile.TemporaryDirectory() as folder:
            rule = write_artifact(Path(folder) / "model", manifest=manifest, files=kept).rule
        frames = [(one.game, one.picture) for one in golden]
        kept |= golden_files(frames, rule=rule, logits=lambda pictures: run(network, pictures))
    write_artifact(out, manifest=manifest, files=kept)
    console.print(f"The model is in {out}", highlight=False)


def _set_aside(trained: Trained, *, out: Path, console: Console) -> None:
    goal = out.with_name(f"{out.name}.unfinished")
    if goal.exists():
        raise ArtifactError(f"There is already something at {goal}; finish it or delete it.")
    goal.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{goal.name}-", dir=goal.parent))
    try:
        beside.chmod(0o755)
        trained.network.save(beside / _NETWORK)
        pages = {"report.html": html(trained.story).encode(), "README.md": model_card(trained.story).encode()}
        for folder, contents in (
            (_FILES, {**trained.files, **pages}),
            (_GOLDEN, {f"{place:04}.jpg": encode_jpeg(one.picture) for place, one in enumerate(trained.golden)}),
        ):
            (beside / folder).mkdir()
            for name, content in contents.items():
                (beside / folder / name).write_bytes(content)
        draft = _Draft(manifest=trained.manifest, golden=tuple(one.game for one in trained.golden))
        (beside / _DRAFT).write_text(json.dumps(draft.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        beside.rename(goal)
    except ValidationError as error:
        raise TrainingError("The model contradicts itself.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    console.print(
        f"The network is trained, and {goal} holds all of it. The bot runs LiteRT, which TensorFlow makes; where it is "
        f"installed:\n  python -m training finish {goal} --out {out}",
        highlight=False,
    )
