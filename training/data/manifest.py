"""A data set as one immutable file: which frames, by their content, what they show, and what each is for.

The first line holds the SHA-256 of all that follows, so that a manifest that was cut short or changed is refused. The
same store gives the same bytes. The frames' files stay in the frame store, from which :func:`list_manifest` lists them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import DataSetError
from core.frames import IMAGE_CONVENTION
from core.games import Game
from core.storage.records import LabelSource
from training.data.folders import FrameFile, Listing
from training.data.split import Part

if TYPE_CHECKING:
    from typing import Self

_FIRST_LINE = re.compile(rb'\{"sha256": "([0-9a-f]{64})",\n')

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GameEntry(_Section):
    """A game of the data set."""

    id: str
    name: str


class FrameEntry(_Section):
    """A frame.

    Attributes:
        sha256: of its file.
        perceptual_hash: 64 bits, as 16 hexadecimal digits.
        at_s: seconds from the start of the capture's window.
    """

    sha256: Sha256
    perceptual_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    at_s: float


class CaptureEntry(_Section):
    """A capture, with those of its frames that are in the data set.

    Attributes:
        key: of the capture.
        game: id of the label in force.
        source: who says so.
        broadcaster: whose stream: the platform's id, or the login where that is all that is known.
        unit: broadcasters of one unit share pictures and are in one part.
        stream: the platform's id of the broadcast; None when it is not known.
        declared: id of the category that the broadcaster declared; None when it is not known.
        part: what it is for.
        flags: numbers of the accepted flags that name this game.
        frames: in the order of the stream.
    """

    key: str
    game: str
    source: LabelSource
    broadcaster: str
    unit: str
    stream: str | None
    declared: str | None = None
    part: Part
    flags: tuple[int, ...]
    frames: Annotated[tuple[FrameEntry, ...], Field(min_length=1)]


class RuleEntry(_Section):
    """How the parts were made; see :class:`training.data.division.DivisionRule`."""

    near_bits: Annotated[int, Field(ge=0, le=64)]
    test_share: Annotated[float, Field(ge=0, le=1)]
    validation_share: Annotated[float, Field(ge=0, le=1)]


class LeftOut(_Section):
    """What has a label and is not in the data set.

    Attributes:
        opted_out_captures: their broadcaster has opted out.
        disputed_captures: an open flag names another game than the label.
        gone_frames: their pixels were removed, or their file is not there.
        repeated_frames: the very same file, of the same game, is there from another capture.
        contradictory_frames: the very same file is labelled as another game by as strong a source, or a stronger one.
        near_duplicate_frames: another part shows nearly the same picture.
    """

    opted_out_captures: int = 0
    disputed_captures: int = 0
    gone_frames: int = 0
    repeated_frames: int = 0
    contradictory_frames: int = 0
    near_duplicate_frames: int = 0


class DataManifest(_Section):
    """A data set, format 1.

    Attributes:
        image: the convention that the frames are stored in.
        games: in the order of their ids.
        flags: numbers of all flags that a label rests on.
        captures: in the order of their keys.
    """

    format: Literal[1] = 1
    image: dict[str, int | str]
    rule: RuleEntry
    games: Annotated[tuple[GameEntry, ...], Field(min_length=1)]
    left_out: LeftOut
    flags: tuple[int, ...]
    captures: Annotated[tuple[CaptureEntry, ...], Field(min_length=1)]

    @property
    def frames(self) -> int:
        """How many there are."""
        return sum(len(capture.frames) for capture in self.captures)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        known = {game.id for game in self.games}
        part_of: dict[str, Part] = {}
        for capture in self.captures:
            if capture.game not in known:
                raise ValueError(f"the game {capture.game!r} of capture {capture.key!r} is not among its games")
            for name in (f"broadcaster {capture.broadcaster!r}", f"unit {capture.unit!r}"):
                if part_of.setdefault(name, capture.part) is not capture.part:
                    raise ValueError(f"the {name} is in two parts")
        return self


def manifest_bytes(manifest: DataManifest) -> bytes:
    """The file's content: JSON, a line a capture, its SHA-256 in front."""
    head = manifest.model_dump(mode="json", exclude={"captures"})
    lines = [json.dumps(capture.model_dump(mode="json"), ensure_ascii=False) for capture in manifest.captures]
    body = json.dumps(head, ensure_ascii=False)[1:-1] + ',\n"captures": [\n' + ",\n".join(lines) + "\n]}\n"
    sum_ = hashlib.sha256(body.encode()).hexdigest()
    return f'{{"sha256": "{sum_}",\n{body}'.encode()


def write_manifest(path: Path, manifest: DataManifest) -> bool:
    """Write a manifest whole or not at all; never over another one.

    Returns:
        False when this very manifest is there already.

    Raises:
        DataSetError: something else is there, or the file cannot be written.
    """
    content = manifest_bytes(manifest)
    try:
        if path.exists():
            if path.is_file() and path.read_bytes() == content:
                return False
            raise _taken(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, content)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DataSetError(f"The manifest {path} cannot be written: {error.strerror}.") from error
    return True


def read_manifest(path: Path) -> tuple[DataManifest, str]:
    """Read a manifest and check all of it; with its SHA-256.

    Raises:
        DataSetError: with one sentence that says what is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataSetError(f"The manifest {path} cannot be read: {error.strerror}.") from error
    first = _FIRST_LINE.match(content)
    if first is None:
        raise DataSetError(f"{path} is no manifest of `python -m training export`.")
    named = first[1].decode()
    if hashlib.sha256(content[first.end() :]).hexdigest() != named:
        raise DataSetError(f"The manifest {path} is not as it was written: its checksum differs.")
    try:
        parsed = json.loads(content)
        parsed.pop("sha256")
        if parsed.get("format") != 1:
            raise DataSetError(
                f"The manifest {path} has the format {parsed.get('format')!r:.20}; this program reads format 1."
            )
        manifest = DataManifest.model_validate(parsed)
    except ValidationError as error:
        one = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in one["loc"])
        what = str(one["ctx"]["error"]) if "error" in one.get("ctx", {}) else one["msg"]
        raise DataSetError(f"The manifest {path} is faulty: {where + ': ' if where else ''}{what}.") from error
    if manifest.image != asdict(IMAGE_CONVENTION):
        raise DataSetError(f"The manifest {path} lists other pictures than this program trains on.")
    return manifest, named


def list_manifest(path: Path, frames: Path) -> Listing:
    """List a manifest's frames, as they lie in a frame store; those whose file is gone are counted.

    Args:
        path: of the manifest.
        frames: the frame store's directory.

    Raises:
        DataSetError: the manifest is none, it has one game only, or not one of its files is there.
    """
    manifest, sha256 = read_manifest(path)
    if not frames.is_dir():
        raise DataSetError(f"There are no frames in {frames}: the folder does not exist.")
    if len(manifest.games) == 1:
        raise DataSetError(f"The data set in {path} has one game only, {manifest.games[0].id}: nothing to tell apart.")
    listed: list[FrameFile] = []
    missing = 0
    for capture in manifest.captures:
        for frame in capture.frames:
            file = frame_path(frames, frame.sha256)
            if not file.is_file():
                missing += 1
                continue
            listed.append(
                FrameFile(
                    path=file,
                    game=capture.game,
                    stream=f"{capture.game}/{capture.stream or capture.key}",
                    unit=capture.unit,
                    part=capture.part,
                    flags=capture.flags,
                    declared=capture.declared,
                    sha256=frame.sha256,
                )
            )
    if not listed:
        raise DataSetError(f"Not one of the {missing} frames of {path} is in {frames}.")
    kept = {frame.game for frame in listed}
    return Listing(
        games=tuple(Game(id=game.id, name=game.name) for game in manifest.games if game.id in kept),
        frames=tuple(listed),
        missing=missing,
        manifest=sha256,
    )


def frame_path(frames: Path, sha256: str) -> Path:
    """Where :class:`core.storage.frame_store.FolderFrameStore` keeps a frame."""
    return frames / sha256[:2] / f"{sha256}.jpg"


def _taken(path: Path) -> DataSetError:
    return DataSetError(f"There is something else at {path} already; a manifest is never written over.")


def _write_whole(path: Path, content: bytes) -> None:
    """Beside, then linked to its name, which fails where there is one: two exports at once cannot mix."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o444)
        try:
            path.hardlink_to(beside)
        except FileExistsError:
            raise _taken(path) from None
        except OSError:
            beside.rename(path)  # not every file system has hard links
    finally:
        beside.unlink(missing_ok=True)
