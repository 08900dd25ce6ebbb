"""What models say of the frames of a data set, run as the bot runs them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.frames import to_stored
from core.recognition.runtime import Network
from training.data.pictures import read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.frames import RgbPicture
    from core.recognition.aggregate import Logits
    from core.recognition.artifact import Artifact
    from training.data.folders import FrameFile, Listing

FIGURES_NAME = "figures.json"
"""A model that holds this was made by `run --figures`: it has learnt from what is the test part for others."""

_THREADS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What networks said.

    Attributes:
        frames: that can be read.
        logits: of each network, float32[frames, columns of its rule].
        unreadable: the other ones, and why.
    """

    frames: tuple[FrameFile, ...]
    logits: tuple[Logits, ...]
    unreadable: tuple[str, ...]


def ask(
    frames: Sequence[FrameFile],
    models: Sequence[Artifact],
    *,
    progress: Callable[[int, int], None],
    change: Callable[[FrameFile, RgbPicture], RgbPicture] | None = None,
) -> Said:
    """Show all frames to all models; one picture is in memory at a time.

    Args:
        frames: in the order of their streams.
        models: to be asked.
        progress: is told how many of how many frames are done.
        change: what is done to a picture before it is shown; None for nothing.

    Raises:
        ArtifactError: a network cannot be run.
    """
    networks = [Network(model, threads=_THREADS) for model in models]
    read: list[FrameFile] = []
    unreadable: list[str] = []
    rows: list[list[Logits]] = [[] for _ in networks]
    for done, frame in enumerate(frames, start=1):
        try:
            picture = picture_of(frame)
        except OSError as error:
            unreadable.append(f"{frame.path}: it cannot be opened: {error.strerror}")
        except ValueError as fault:
            unreadable.append(f"{frame.path}: {fault}")
        else:
            read.append(frame)
            picture = picture if change is None else change(frame, picture)
            for network, said in zip(networks, rows, strict=True):
                said.append(network.logits(picture[None]))
        progress(done, len(frames))
    return Said(
        frames=tuple(read),
        logits=tuple(
            np.concatenate(said) if said else np.zeros((0, model.rule.columns), dtype=np.float32)
            for model, said in zip(models, rows, strict=True)
        ),
        unreadable=tuple(unreadable),
    )


def picture_of(frame: FrameFile) -> RgbPicture:
    """A frame at the stored size.

    Raises:
        OSError: its file cannot be opened.
        ValueError: it is no picture, or not the file that the data set names; says which.
    """
    data = frame.path.read_bytes()
    if frame.sha256 is not None and hashlib.sha256(data).hexdigest() != frame.sha256:
        raise ValueError("it is not the file that the data set names")
    return to_stored(read_picture(data))


def is_made_of(model: Artifact, listing: Listing) -> bool:
    """Whether a model was made of this very data set, whichever part it learnt from."""
    if listing.manifest is not None and listing.manifest == model.manifest.data_set.manifest:
        return True
    sums = []
    for frame in listing.frames:
        try:
            sums.append(frame.sha256 or hashlib.sha256(frame.path.read_bytes()).hexdigest())
        except OSError:
            continue  # nor could it be learnt from
    sums.sort()
    return hashlib.sha256("\n".join(sums).encode()).hexdigest() == model.manifest.data_set.sha256
