"""The verb `embed`: the vector that a model makes of each frame before it names a game, for other programs.

Frames that lie near each other look alike to the model: for finding wrong labels, for clustering what no game was named
for, or to train something else on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from core.errors import ArtifactError, DataSetError
from core.recognition.artifact import read_artifact
from training.data.folders import list_frames
from training.data.manifest import list_manifest
from training.fitting.network import features_of
from training.scoring.embeddings import embedded

if TYPE_CHECKING:
    from pathlib import Path

NETWORK_NAME = "network.keras"
"""In a model directory that was written with `run --keras`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """What was embedded, in the order of the data set's streams; the arrays of the file have the fields' names.

    Attributes:
        embeddings: float32[n, features].
        files: str[n]: the pictures' paths.
        games: str[n]: what is shown, by the data set's ids.
        streams: str[n].
        parts: str[n]: that the data set gives them to; empty where it gives none.
    """

    embeddings: npt.NDArray[np.float32]
    files: npt.NDArray[np.str_]
    games: npt.NDArray[np.str_]
    streams: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]


def embed(model: Path, *, data: Path, stored: Path, out: Path) -> Embedded:
    """Write the embeddings of a data set's frames to `out`, replacing what is there.

    Args:
        model: its directory, with the network as Keras has it.
        data: folders of games, or a manifest of `export`.
        stored: where the frames of a manifest lie.
        out: the .npz to write; it holds no pickles.

    Raises:
        ArtifactError: the model cannot be used, or has no network for Keras.
        DataSetError: the data set cannot be used, or the file cannot be written.
    """
    if out.suffix.lower() != ".npz":
        raise DataSetError(f"Embeddings are an .npz of NumPy's; give it a name that ends so instead of {out.name}.")
    console = Console()
    network = _network(model)
    listing = list_manifest(data, stored) if data.is_file() else list_frames(data)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("embedding", total=len(listing.frames))
        rows, is_read = embedded(network, listing.frames, progress=lambda done: progress.update(task, completed=done))
    read = [frame for frame, one in zip(listing.frames, is_read, strict=True) if one]
    found = Embedded(
        embeddings=rows,
        files=np.array([str(frame.path) for frame in read]),
        games=np.array([frame.game for frame in read]),
        streams=np.array([frame.stream for frame in read]),
        parts=np.array([frame.part.value if frame.part is not None else "" for frame in read]),
    )
    _write(out, found)
    left_out = len(listing.frames) - len(read)
    beside = f"; {left_out} cannot be read (`check` names them)" if left_out else ""
    console.print(f"{out}: {rows.shape[0]:,} frames, {rows.shape[1]:,} numbers each{beside}", highlight=False)
    return found


def _network(model: Path) -> keras.Model:
    """uint8[n, 180, 320, 3] -> float32[n, features]."""
    artifact = read_artifact(model)
    if NETWORK_NAME not in artifact.manifest.files:
        raise ArtifactError(f"The model in {model} has no network for Keras; make it with `run --keras`.")
    try:
        whole = keras.models.load_model(model / NETWORK_NAME, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f"{model / NETWORK_NAME} cannot be used by this version of Keras.") from error
    return features_of(whole)


def _write(out: Path, found: Embedded) -> None:
    unfinished = out.with_name(f".{out.stem}.part.npz")
    try:
        np.savez(
            unfinished,
            allow_pickle=False,
            embeddings=found.embeddings,
            files=found.files,
            games=found.games,
            streams=found.streams,
            parts=found.parts,
        )
        unfinished.replace(out)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        why = (error.strerror or "the system does not say why").lower()
        raise DataSetError(f"The embeddings cannot be written to {out}: {why}.") from error
