"""The one file that runs a network: a checked artifact to logits, on LiteRT."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from core.errors import ArtifactError
from core.frames import IMAGE_CONVENTION
from core.quiet import quiet_native_stderr

if TYPE_CHECKING:
    from typing import Self

    from core.recognition.aggregate import Logits
    from core.recognition.artifact import Artifact

_SLICE_FRAMES = 3
"""Frames per invocation: the first layers take some 7 MB of activations a frame, and larger slices are no faster."""


class _TensorDetails(TypedDict):
    index: int
    shape_signature: npt.NDArray[np.int32]
    dtype: type[np.generic]


class _LiteRt(Protocol):
    """What we use of the interpreter, whose own package has no types."""

    def get_input_details(self) -> list[_TensorDetails]: ...
    def get_output_details(self) -> list[_TensorDetails]: ...
    def resize_tensor_input(self, index: int, shape: list[int]) -> None: ...
    def allocate_tensors(self) -> None: ...
    def set_tensor(self, index: int, value: npt.NDArray[np.uint8]) -> None: ...
    def invoke(self) -> None: ...
    def get_tensor(self, index: int) -> npt.NDArray[np.float32]: ...


class Network:
    """A loaded network. Threads that run it at the same time take turns, some frames each."""

    def __init__(self, artifact: Artifact, *, threads: int) -> None:
        """Load the artifact's network and hold it against the manifest.

        Args:
            artifact: as :func:`core.recognition.artifact.read_artifact` returned it.
            threads: processor threads that one run may use.

        Raises:
            ArtifactError: it is no LiteRT network, or takes or gives other tensors than the manifest says.
        """
        where = f"The network of the model in {artifact.directory}"
        try:
            # Read whole: a file that LiteRT maps by its path ends the process when somebody writes over it.
            content = artifact.network_path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{where} cannot be read: {error.strerror}.") from error
        manifest = artifact.manifest
        self._open(content, labels=len(manifest.labels), genres=len(manifest.genres), threads=threads, where=where)

    @classmethod
    def of_content(cls, content: bytes, *, labels: int, genres: int = 0, threads: int) -> Self:
        """Load a network that is no artifact's yet.

        Args:
            content: of a LiteRT file.
            labels: games that it names.
            genres: kinds of game that it sees.
            threads: processor threads that one run may use.

        Raises:
            ArtifactError: as above.
        """
        network = cls.__new__(cls)
        network._open(content, labels=labels, genres=genres, threads=threads, where="The new network")
        return network

    def _open(self, content: bytes, *, labels: int, genres: int, threads: int, where: str) -> None:
        try:
            interpreter = cast("_LiteRt", Interpreter(model_content=content, num_threads=threads))
            (takes,) = interpreter.get_input_details()
            (gives,) = interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            msg = f"{where} cannot be loaded: it is no LiteRT network with one input and one output."
            raise ArtifactError(msg) from error
        picture = [IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3]
        if list(takes["shape_signature"][1:]) != picture or takes["dtype"] is not np.uint8:
            found = f"{takes['dtype'].__name__} {_shape(takes)}"
            msg = f"{where} takes {found} instead of uint8 {tuple(picture)} pictures."
            raise ArtifactError(msg)
        if list(gives["shape_signature"][1:]) != [labels + genres] or gives["dtype"] is not np.float32:
            found = f"{gives['dtype'].__name__} {_shape(gives)}"
            wanted = f"{labels} labels and {genres} genres" if genres else f"{labels} labels"
            msg = f"{where} gives {found} for a picture, but the manifest has {wanted}."
            raise ArtifactError(msg)
        self._running = threading.Lock()
        self._interpreter = interpreter
        self._input_index = takes["index"]
        self._output_index = gives["index"]
        self._columns = labels + genres
        self._allocated_frames = 0
        self._where = where
        # The first run also builds the delegate that does the work: here, so that no asker waits for it.
        # LiteRT has no setting for what it says at this (looked for in 2.3).
        with quiet_native_stderr():
            self.logits(np.zeros((_SLICE_FRAMES, *picture), dtype=np.uint8))

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        """Run the network.

        Args:
            pictures: uint8 RGB, shape (frames, 180, 320, 3).

        Returns:
            float32, shape (frames, labels + genres).

        Raises:
            ArtifactError: the network fails on well-formed pictures, which is the artifact's fault.
        """
        rows = np.empty((len(pictures), self._columns), dtype=np.float32)
        try:
            for start in range(0, len(pictures), _SLICE_FRAMES):
                part = pictures[start : start + _SLICE_FRAMES]
                # It has memory for one run at a time. A slice each: who tries a newer model out on this one's golden
                # frames keeps no asker waiting for all of them.
                with self._running:
                    self._allocate(len(part))
                    self._interpreter.set_tensor(self._input_index, np.ascontiguousarray(part))
                    self._interpreter.invoke()
                    rows[start : start + len(part)] = self._interpreter.get_tensor(self._output_index)
        except (ValueError, RuntimeError) as error:
            msg = f"{self._where} fails when it is run."
            raise ArtifactError(msg) from error
        return rows

    def _allocate(self, frames: int) -> None:
        if frames == self._allocated_frames:
            return
        self._allocated_frames = 0
        shape = [frames, IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3]
        self._interpreter.resize_tensor_input(self._input_index, shape)
        self._interpreter.allocate_tensors()
        self._allocated_frames = frames


def give_memory_back() -> None:
    """Hand what closed networks had used back to the system; takes some milliseconds, and does nothing without glibc.

    By itself glibc keeps it: having once freed a block of some megabytes, it takes the next ones from its heaps, which
    grow by the gaps between what is in use. Exchanged a few hundred times, models would fill the memory so.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _shape(details: _TensorDetails) -> tuple[int, ...]:
    return tuple(int(size) for size in details["shape_signature"][1:])
