"""What turns logits into a probability and into "I do not know": a temperature and a threshold; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from core.errors import TrainingError

if TYPE_CHECKING:
    from core.recognition.aggregate import Logits
    from training.pipeline.shards import Labels

_COLDEST, _HOTTEST = 0.05, 20.0


def fit_temperature(logits: Logits, *, labels: Labels, streams: npt.NDArray[np.str_]) -> float:
    """The temperature of least negative log-likelihood (Guo et al., ICML 2017, section 4.2).

    Every stream counts the same, however many frames it has. Fitted on single frames: whole streams are right
    so often that a few dozen of them hold no error to learn a temperature from. The mean of a stream's frames
    is surer than its confidence then says, never less sure.

    Args:
        logits: float32[n, games], of streams that were not trained on.
        labels: what the frames show.
        streams: the stream of each frame.

    Raises:
        TrainingError: no temperature can be found.
    """
    _, of_frame, counts = np.unique(streams, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[of_frame]
    values = logits.astype(np.float64)
    rows = np.arange(len(values))

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        return float(np.average(logsumexp(scaled, axis=1) - scaled[rows, labels], weights=weights))

    found = minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    if not found.success:
        raise TrainingError("No temperature fits the validation streams.")
    return float(np.exp(found.x))


def fit_threshold(novelties: npt.NDArray[np.float64], *, refused: float) -> float:
    """The novelty above which the share `refused` of known games' unseen streams lies.

    Args:
        novelties: of streams of known games that were not trained on; at least one.
        refused: 0 to 1.
    """
    return float(np.quantile(novelties, 1.0 - refused))
