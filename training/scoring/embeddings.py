"""What a network makes of frames before it names a game: a vector each, by which they can be compared or told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.errors import DataSetError
from training.scoring.answers import picture_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

    from training.data.folders import FrameFile

_BATCH = 16


def embedded(
    embed: keras.Model, frames: Sequence[FrameFile], *, progress: Callable[[int], None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """The frames' embeddings, and which of them could be read; one batch of pictures is in memory at a time.

    Args:
        embed: uint8[n, 180, 320, 3] -> float[n, features].
        frames: of a data set.
        progress: is told how many frames are done.

    Returns:
        float32[readable frames, features], bool[frames].

    Raises:
        DataSetError: not one of the frames can be read.
    """
    rows: list[npt.NDArray[np.float32]] = []
    is_read = np.zeros(len(frames), dtype=np.bool_)
    for start in range(0, len(frames), _BATCH):
        pictures = []
        for place, frame in enumerate(frames[start : start + _BATCH], start=start):
            try:
                pictures.append(picture_of(frame))
            except (OSError, ValueError):
                continue
            is_read[place] = True
        if pictures:
            rows.append(np.asarray(embed.predict_on_batch(np.stack(pictures)), dtype=np.float32))
        progress(min(start + _BATCH, len(frames)))
    if not rows:
        raise DataSetError(f"Not one of the {len(frames)} frames that are to be embedded can be read.")
    return np.concatenate(rows), is_read
