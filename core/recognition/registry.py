"""The published models, and which of them is `current`: a folder that several processes share.

::

    DIR/models/<version>/   a model directory each; never changed once it is there
    DIR/current             one small JSON file: the version that answers, since when, and those before it
    DIR/challenger          a smaller one: the version that is tried beside it; not there while none is
    DIR/.lock               held by whoever changes something; the system lets go of it when its holder dies

Reading takes no lock. Whatever is written lies under a name with a dot in front until it is whole, checked and on the
disk, and then gets its name by one rename: at whatever point a publisher is killed, what is seen is as it was before or
as it was to be. What a killed one left behind is swept up by the next.
"""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from core.errors import ArtifactError
from core.recognition.artifact import MANIFEST_NAME, read_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.recognition.artifact import Artifact

MODELS_NAME = "models"
CURRENT_NAME = "current"
CHALLENGER_NAME = "challenger"

_LOCK_NAME = ".lock"
_UNFINISHED = ".unfinished-"
_REMEMBERED = 100
"""Earlier versions that `current` names: far more than anybody rolls back, and still one small file."""

_POINTER_LIMIT_BYTES = 1024 * 1024

_VERSION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

_SectionT = TypeVar("_SectionT", bound="_Section")

Version = Annotated[str, Field(pattern=_VERSION_PATTERN)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Means(StrEnum):
    """How a version became current, or the challenger."""

    PUBLISHED = "published"
    """By training, which found it no worse."""
    PROMOTED = "promoted"
    """It was tried beside the one before it, and found better."""
    CHOSEN = "chosen"
    """By a person."""
    INSISTED = "insisted"
    """By a person, whatever speaks against it."""
    ROLLED_BACK = "rolled_back"
    """The one after it was taken back."""


class Term(_Section):
    """A version, since when it answers or answered (UTC), and how that came."""

    version: Version
    since: AwareDatetime
    means: Means = Means.CHOSEN


class Pointer(_Section):
    """What the file `current` holds, format 1.

    Attributes:
        current: the version that answers.
        before: what `rollback` goes back to, the latest last; a version that was rolled back is not among them.
    """

    format: Literal[1] = 1
    current: Term
    before: Annotated[tuple[Term, ...], Field(max_length=_REMEMBERED)] = ()


class CurrentChangedError(ArtifactError):
    """Somebody else made another version current in the meantime."""


def moved_on(pointer: Pointer | None, version: str, *, at: dt.datetime, means: Means = Means.CHOSEN) -> Pointer:
    """The pointer after `version` was made current; the same one where it is current already. Pure.

    One that is current already is insisted on by a new term, so that whoever refused it looks at it again.
    """
    term = Term(version=version, since=at, means=means)
    if pointer is None:
        return Pointer(current=term)
    if pointer.current.version == version:
        insists = means is Means.INSISTED and pointer.current.means is not Means.INSISTED
        return Pointer(current=term, before=pointer.before) if insists else pointer
    return Pointer(current=term, before=(*pointer.before, pointer.current)[-_REMEMBERED:])


def moved_back(pointer: Pointer, *, at: dt.datetime) -> Pointer | None:
    """The pointer after a rollback; None where there is nothing to go back to. Pure."""
    if not pointer.before:
        return None
    back = Term(version=pointer.before[-1].version, since=at, means=Means.ROLLED_BACK)
    return Pointer(current=back, before=pointer.before[:-1])


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


class Registry:
    """A folder of published models.

    Any number of threads and processes may read and publish at once. Every call may block: on the disk, and those
    that change something on whoever changes something just then.
    """

    def __init__(self, directory: Path, *, now: Callable[[], dt.datetime] = _now) -> None:
        """Name the folder; it is made when something is put into it.

        Args:
            directory: of the registry.
            now: tells the time, with its zone.
        """
        self.directory = directory
        self._models = directory / MODELS_NAME
        self._now = now

    def pointer(self) -> Pointer | None:
        """Which version is current; None before the first was published. Cheap: no model is opened.

        Raises:
            ArtifactError: the file is not one of ours, or cannot be read.
        """
        return self._read(CURRENT_NAME, Pointer, "which model is current")

    def challenger(self) -> Term | None:
        """Which version is tried beside the current one; None while none is. Cheap: no model is opened.

        Raises:
            ArtifactError: the file is not one of ours, or cannot be read.
        """
        return self._read(CHALLENGER_NAME, Term, "which model is tried")

    def current(self) -> Artifact | None:
        """The current model, with every check; None before the first was published.

        Raises:
            ArtifactError: the model or the pointer to it is not as it was published.
        """
        pointer = self.pointer()
        return None if pointer is None else self.artifact(pointer.current.version)

    def artifact(self, version: str) -> Artifact:
        """A published model, with every check.

        Raises:
            ArtifactError: there is none of that version, or it is not as it was published.
        """
        if not re.fullmatch(_VERSION_PATTERN, version):
            raise ArtifactError(f"{version!r:.120} is no name of a version.")
        directory = self.directory_of(version)
        if not directory.is_dir():
            raise ArtifactError(f"There is no version {version} in the registry {self.directory}.")
        artifact = read_artifact(directory)
        if artifact.manifest.version != version:
            raise ArtifactError(f"The model in {directory} calls itself {artifact.manifest.version}.")
        return artifact

    def directory_of(self, version: str) -> Path:
        """Where a published version lies, or would."""
        return self._models / version

    def versions(self) -> tuple[str, ...]:
        """All that were published, in the order of their names; no model is opened.

        Raises:
            ArtifactError: the folder cannot be read.
        """
        try:
            found = [path.name for path in self._models.iterdir() if path.is_dir() and not path.name.startswith(".")]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ArtifactError(f"The registry {self.directory} cannot be read: {error.strerror}.") from error
        return tuple(sorted(found))

    def add(self, model: Path) -> Artifact:
        """Bring a model directory in under its version, without making it current.

        Done again with the same model, it finds that it is there.

        Raises:
            ArtifactError: the model does not pass the checks, another one has that version, or it cannot be written.
        """
        source = read_artifact(model)
        with self._changing():
            return self._add(source)

    def use(self, version: str, *, means: Means = Means.CHOSEN, replacing: str | None = None) -> Pointer:
        """Make a published version current; it is no challenger any more.

        Args:
            version: which.
            means: how that was decided.
            replacing: the version that was current when it was; None where that does not matter.

        Raises:
            CurrentChangedError: another version is current now; nothing was changed.
            ArtifactError: there is none of that version, or it does not pass the checks. The old one stays current.
        """
        with self._changing():
            self.artifact(version)
            pointer = self.pointer()
            self._expect(pointer, replacing)
            moved = self._point(moved_on(pointer, version, at=self._now(), means=means))
            self._end_challenge(version)
            return moved

    def challenge(self, version: str) -> Term:
        """Have a published version tried beside the current one, in the place of any other.

        Raises:
            ArtifactError: there is none of that version, it does not pass the checks, or it is the current one.
        """
        with self._changing():
            self.artifact(version)
            pointer = self.pointer()
            if pointer is None or pointer.current.version == version:
                what = "nothing is current" if pointer is None else f"{version} is current already"
                raise ArtifactError(f"In the registry {self.directory}, {what}; there is nothing to try it beside.")
            term = self.challenger()
            if term is None or term.version != version:
                term = Term(version=version, since=self._now())
                self._write(CHALLENGER_NAME, term)
            return term

    def end_challenge(self, version: str) -> bool:
        """Have a version tried no longer; False when it was not."""
        with self._changing():
            return self._end_challenge(version)

    def publish(self, model: Path, *, replacing: str | None, insists: bool = False) -> Pointer:
        """Bring a model in and make it current, if what it was compared with is current still.

        Args:
            model: the model's directory.
            replacing: the version that was current when that was decided; None if there was none.
            insists: a person wants it whatever speaks against it; no bot is to refuse it for being worse.

        Raises:
            CurrentChangedError: another version is current now; nothing was changed.
            ArtifactError: as of `add` and `use`. The old one stays current.
        """
        source = read_artifact(model)
        version = source.manifest.version
        with self._changing():
            pointer = self.pointer()
            found = None if pointer is None else pointer.current.version
            if found not in {replacing, version}:
                raise CurrentChangedError(
                    f"In the registry {self.directory}, {found or 'nothing'} is current now, "
                    f"no longer {replacing or 'nothing'}."
                )
            self._add(source)
            means = Means.INSISTED if insists else Means.PUBLISHED
            moved = self._point(moved_on(pointer, version, at=self._now(), means=means))
            self._end_challenge(version)
            return moved

    def rollback(self, *, replacing: str | None = None) -> Pointer:
        """Make the version current that was so before.

        Args:
            replacing: the version that was current when that was decided; None where that does not matter.

        Raises:
            CurrentChangedError: another version is current now; nothing was changed.
            ArtifactError: there is none, or it does not pass the checks. The present one stays current.
        """
        with self._changing():
            pointer = self.pointer()
            self._expect(pointer, replacing)
            back = None if pointer is None else moved_back(pointer, at=self._now())
            if back is None:
                raise ArtifactError(f"In the registry {self.directory}, no version was current before.")
            self.artifact(back.current.version)
            moved = self._point(back)
            self._end_challenge(back.current.version)
            return moved

    def _read(self, name: str, section: type[_SectionT], what: str) -> _SectionT | None:
        path = self.directory / name
        try:
            with path.open("rb") as file:
                content = file.read(_POINTER_LIMIT_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}.") from error
        try:
            return section.model_validate_json(content)
        except ValidationError as error:
            raise ArtifactError(f"{path} does not say {what}: it is not as it was written.") from error

    def _expect(self, pointer: Pointer | None, version: str | None) -> None:
        found = None if pointer is None else pointer.current.version
        if version is not None and found != version:
            raise CurrentChangedError(
                f"In the registry {self.directory}, {found or 'nothing'} is current now, no longer {version}."
            )

    def _end_challenge(self, version: str) -> bool:
        term = self.challenger()
        if term is None or term.version != version:
            return False
        (self.directory / CHALLENGER_NAME).unlink(missing_ok=True)
        _sync(self.directory)
        return True

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone among all who change something; a full disk is told as such, any other fault as a sentence."""
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            with (self.directory / _LOCK_NAME).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._sweep()
                yield
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise ArtifactError(f"The registry {self.directory} cannot be written: {error.strerror}.") from error

    def _sweep(self) -> None:
        # Only the holder of the lock writes, so whatever is unfinished now was left by one who died.
        for left in self._models.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self.directory.glob(f"{_UNFINISHED}*"):
            left.unlink(missing_ok=True)

    def _add(self, source: Artifact) -> Artifact:
        version = source.manifest.version
        goal = self._models / version
        if goal.exists():
            there = self.artifact(version)
            if there.manifest != source.manifest:
                raise ArtifactError(
                    f"The registry {self.directory} has another model as {version} already; "
                    "a version is never changed: give the new one another name."
                )
            return there
        beside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._models))
        try:
            # mkdtemp makes a private directory; a model is as readable as any other file.
            beside.chmod(0o755)
            for name in (*source.manifest.files, MANIFEST_NAME):
                path = beside / name
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.directory / name, path)
                path.chmod(0o444)
            # What was copied, not what was looked at before, is what will answer.
            if read_artifact(beside).manifest != source.manifest:
                raise ArtifactError(f"The model in {source.directory} was changed while it was read.")
            for path in (*beside.rglob("*"), beside):
                _sync(path)
            beside.rename(goal)
            _sync(self._models)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return self.artifact(version)

    def _point(self, pointer: Pointer) -> Pointer:
        if pointer != self.pointer():
            self._write(CURRENT_NAME, pointer)
        return pointer

    def _write(self, name: str, section: _Section) -> None:
        descriptor, unfinished = tempfile.mkstemp(prefix=_UNFINISHED, dir=self.directory)
        beside = Path(unfinished)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(section.model_dump_json(indent=1) + "\n")
            beside.chmod(0o644)
            _sync(beside)
            beside.replace(self.directory / name)
            _sync(self.directory)
        finally:
            beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """On the disk, with a directory's names: a power cut after this loses nothing of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
