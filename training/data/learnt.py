"""Which frames a model has learnt from: kept in its directory, so that nobody judges it by them unawares.

The file `learnt.txt` has a line a frame: the first 16 digits of its file's SHA-256, and what it was for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from core.errors import ArtifactError
from training.data.split import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.recognition.artifact import Artifact
    from training.data.folders import FrameFile

LEARNT_NAME = "learnt.txt"

_DIGITS = 16
"""64 bits: among a million frames two are alike once in forty million data sets."""


def learnt_text(frames: Mapping[Part, Iterable[FrameFile]]) -> str:
    """The file's text; the same frames give the same text.

    Args:
        frames: trained on, and what decided when to stop and gave temperature and threshold.

    Raises:
        OSError: a frame cannot be read.
    """
    return "".join(sorted(f"{_digits(frame)} {part}\n" for part, some in frames.items() for frame in some))


def learnt_of(model: Artifact) -> dict[str, Part] | None:
    """What each frame was for, by its digits; None of a model that does not tell.

    Raises:
        ArtifactError: the file is not as `learnt_text` writes it.
    """
    if LEARNT_NAME not in model.manifest.files:
        return None
    try:
        lines = (model.directory / LEARNT_NAME).read_text(encoding="ascii").splitlines()
        return {digits: Part(part) for digits, part in (line.split(" ") for line in lines)}
    except (OSError, ValueError) as error:
        raise ArtifactError(f"The {LEARNT_NAME} of the model in {model.directory} cannot be read.") from error


def streams_learnt(frames: Iterable[FrameFile], learnt: Mapping[str, Part]) -> dict[Part, frozenset[str]]:
    """The streams of which a model has seen any frame, by what that was for; a file that cannot be read is left out."""
    found: dict[Part, set[str]] = {part: set() for part in Part}
    for frame in frames:
        try:
            part = learnt.get(_digits(frame))
        except OSError:
            continue
        if part is not None:
            found[part].add(frame.stream)
    return {part: frozenset(streams) for part, streams in found.items()}


def _digits(frame: FrameFile) -> str:
    sha256 = frame.sha256 or hashlib.sha256(frame.path.read_bytes()).hexdigest()
    return sha256[:_DIGITS]
