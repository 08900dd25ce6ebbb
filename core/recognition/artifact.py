"""A model on disk: a directory with ``manifest.json`` and the files it names, each under its SHA-256.

The manifest says everything that turns the network's output into an answer (labels, temperature, unknown rule), what
it was trained on, and the image convention it expects. A directory that lacks a file, holds a changed one or
contradicts itself is refused with one sentence; nothing of it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ArtifactError
from core.frames import IMAGE_CONVENTION, ImageConvention
from core.games import Game
from core.recognition.aggregate import AnswerRule, GenreRule, NoveltyScore

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST_NAME = "manifest.json"
NETWORK_NAME = "network.tflite"

_MANIFEST_LIMIT_BYTES = 4 * 1024 * 1024

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelSection(_Section):
    """One game that the network can name, in the order of its outputs."""

    id: Name
    name: Name


class GenreSection(_Section):
    """One kind of game that the network can see, in the order of its outputs behind the labels'.

    Attributes:
        threshold: the chance, 0 to 1, from which on it is answered.
    """

    id: Name
    name: Name
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ImageSection(_Section):
    """The image convention the network was trained with; see :class:`core.frames.ImageConvention`."""

    width_px: int
    height_px: int
    color: str
    dtype: str
    layout: str
    fit: str


class UnknownSection(_Section):
    """When the answer is that the game is unknown; see :class:`core.recognition.aggregate.AnswerRule`."""

    score: Annotated[NoveltyScore, Field(strict=False)]
    threshold: Annotated[float, Field(allow_inf_nan=False)]


class DataSetSection(_Section):
    """What the network was trained on.

    Attributes:
        sha256: of the sorted list of the frames' hashes, so that two equal data sets have one name.
        manifest: SHA-256 of the exported manifest that lists them; None for plain folders.
        flags: numbers of the moderators' flags that it has learnt from.
    """

    name: Name
    sha256: Sha256
    games: Annotated[int, Field(ge=1)]
    streams: Annotated[int, Field(ge=1)]
    frames: Annotated[int, Field(ge=1)]
    manifest: Sha256 | None = None
    flags: Annotated[tuple[int, ...], Field(strict=False)] = ()


class Manifest(_Section):
    """``manifest.json`` of an artifact, format 1.

    Attributes:
        version: names the model in answers; unique among a registry's models.
        genres: kinds of game, for games that are no label; an older model has none.
        commit: of the code that trained it, or ``"unknown"``.
        created: UTC time in ISO 8601.
        files: name to SHA-256 of every other file of the directory.
    """

    format: Literal[1] = 1
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    labels: Annotated[tuple[LabelSection, ...], Field(min_length=2, strict=False)]
    image: ImageSection
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unknown: UnknownSection
    data_set: DataSetSection
    commit: Name
    created: Name
    files: dict[str, Sha256]
    genres: Annotated[tuple[GenreSection, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Manifest:
        for what, ids in (("label", [label.id for label in self.labels]), ("genre", [one.id for one in self.genres])):
            if len(set(ids)) != len(ids):
                twice = next(one for one in ids if ids.count(one) > 1)
                msg = f"the {what} {twice!r} is there twice"
                raise ValueError(msg)
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or name != str(path) or "\\" in name:
                msg = f"the file name {name!r} leads out of the directory"
                raise ValueError(msg)
        if NETWORK_NAME not in self.files:
            msg = f"it names no {NETWORK_NAME}"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A model directory whose every file was found as the manifest says."""

    directory: Path
    manifest: Manifest

    @property
    def network_path(self) -> Path:
        """The LiteRT network."""
        return self.directory / NETWORK_NAME

    @property
    def rule(self) -> AnswerRule:
        """What turns the network's logits into an answer."""
        return AnswerRule(
            labels=tuple(Game(id=label.id, name=label.name) for label in self.manifest.labels),
            temperature=self.manifest.temperature,
            novelty_score=self.manifest.unknown.score,
            unknown_threshold=self.manifest.unknown.threshold,
            model=self.manifest.version,
            genres=tuple(
                GenreRule(id=genre.id, name=genre.name, threshold=genre.threshold) for genre in self.manifest.genres
            ),
        )


def read_artifact(directory: Path) -> Artifact:
    """Read a model directory and check all of it: manifest, files, checksums, image convention.

    Raises:
        ArtifactError: with one sentence that says what is wrong.
    """
    manifest = _read_manifest(directory)
    expected = ImageConvention(**manifest.image.model_dump())
    if expected != IMAGE_CONVENTION:
        ours, theirs = asdict(IMAGE_CONVENTION), asdict(expected)
        differences = ", ".join(
            f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]
        )
        msg = f"The model in {directory} was trained on other pictures than this program takes: {differences}."
        raise ArtifactError(msg)
    for name, sha256 in manifest.files.items():
        path = directory / name
        try:
            found = sha256_of(path)
        except FileNotFoundError:
            msg = f"The model in {directory} is incomplete: {name} is missing."
            raise ArtifactError(msg) from None
        except OSError as error:
            msg = f"The model in {directory} cannot be read: {name}: {error.strerror}."
            raise ArtifactError(msg) from error
        if found != sha256:
            msg = f"The model in {directory} is corrupt: {name} is not the file that the manifest describes."
            raise ArtifactError(msg)
    return Artifact(directory=directory, manifest=manifest)


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST_NAME
    try:
        if path.stat().st_size > _MANIFEST_LIMIT_BYTES:
            msg = f"The model in {directory} has a {MANIFEST_NAME} of more than 4 MiB, which is not one of ours."
            raise ArtifactError(msg)
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        what = "has no manifest.json" if directory.is_dir() else "does not exist"
        msg = f"There is no model in {directory}: the directory {what}."
        raise ArtifactError(msg) from None
    except OSError as error:
        msg = f"The model in {directory} cannot be read: {MANIFEST_NAME}: {error.strerror}."
        raise ArtifactError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"The model in {directory} has a {MANIFEST_NAME} that is not JSON."
        raise ArtifactError(msg) from error
    version = content.get("format") if isinstance(content, dict) else None
    if version != 1:
        msg = f"The model in {directory} has a manifest of format {version!r:.20}; this program reads format 1."
        raise ArtifactError(msg)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else first["msg"]
        msg = f"The model in {directory} has a faulty {MANIFEST_NAME}: {where + ': ' if where else ''}{what}."
        raise ArtifactError(msg) from error


def write_artifact(directory: Path, *, manifest: Manifest, files: Mapping[str, Path | bytes]) -> Artifact:
    """Write a model directory whole or not at all, and read it back with every check.

    Args:
        directory: must not exist; its parent is made.
        manifest: its ``files`` is filled in here from what is written.
        files: name to content, or to a file that is copied.

    Raises:
        ArtifactError: the directory exists, or what was written does not pass the checks.
    """
    if directory.exists():
        msg = f"There is already something at {directory}; a model is never written over."
        raise ArtifactError(msg)
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        # mkdtemp makes a private directory; a model is as readable as any other file.
        beside.chmod(0o755)
        for name, content in files.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_synced(path, content if isinstance(content, bytes) else content.read_bytes())
        sums = {name: sha256_of(beside / name) for name in sorted(files)}
        whole = Manifest.model_validate({**manifest.model_dump(), "files": sums})
        text = json.dumps(whole.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        _write_synced(beside / MANIFEST_NAME, (text + "\n").encode())
        read_artifact(beside)
        beside.rename(directory)
        _sync_directory(directory.parent)
    except ValidationError as error:
        msg = f"The model for {directory} contradicts itself: {error.errors(include_url=False)[0]['msg']}."
        raise ArtifactError(msg) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_artifact(directory)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    # So that the rename itself survives a power cut; not every system lets a directory be opened.
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
