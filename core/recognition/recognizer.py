"""Frames to a Verdict: one network on one worker thread, askers at the same time in one batch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from core.recognition.aggregate import aggregate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.frames import Frame
    from core.recognition.aggregate import AnswerRule, Logits
    from core.recognition.verdict import Verdict


class RunsNetwork(Protocol):
    """What the recognizer needs of :class:`core.recognition.runtime.Network`."""

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        """uint8 (frames, 180, 320, 3) to float32 (frames, labels + genres); called from one thread at a time."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ask:
    pictures: npt.NDArray[np.uint8]
    answer: asyncio.Future[Logits]


class Recognizer:
    """Answers what the frames of a stream show. :meth:`run` must be running for :meth:`recognize` to return."""

    def __init__(self, network: RunsNetwork, rule: AnswerRule, *, batch_frames: int = 64) -> None:
        """Build a recognizer around a loaded network.

        Args:
            network: used by one thread at a time.
            rule: turns the network's logits into a Verdict.
            batch_frames: no further asker joins a batch that holds as many frames.
        """
        self._network = network
        self._rule = rule
        self._batch_frames = batch_frames
        self._asks: asyncio.Queue[_Ask] = asyncio.Queue()

    @property
    def rule(self) -> AnswerRule:
        """Labels, temperature and unknown rule of the model that answers."""
        return self._rule

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        """Say what the frames of one stream, at least one, show.

        Raises:
            ArtifactError: the network failed.
            asyncio.CancelledError: also when :meth:`run` ends before the answer.
        """
        pictures = np.stack([frame.picture for frame in frames])
        answer: asyncio.Future[Logits] = asyncio.get_running_loop().create_future()
        self._asks.put_nowait(_Ask(pictures=pictures, answer=answer))
        logits = await answer
        return aggregate(logits, at_s=[frame.at_s for frame in frames], rule=self._rule)

    async def run(self) -> None:
        """Serve until cancelled; whoever still waits then is cancelled too."""
        batch: list[_Ask] = []
        try:
            while True:
                batch = await self._next_batch()
                pictures = np.concatenate([ask.pictures for ask in batch])
                try:
                    logits = await asyncio.to_thread(self._network.logits, pictures)
                except Exception as error:  # noqa: BLE001 - each asker gets it; the next batch may well succeed
                    for ask in batch:
                        if not ask.answer.done():
                            ask.answer.set_exception(error)
                    continue
                start = 0
                for ask in batch:
                    stop = start + len(ask.pictures)
                    if not ask.answer.done():
                        ask.answer.set_result(logits[start:stop])
                    start = stop
        finally:
            while not self._asks.empty():
                batch.append(self._asks.get_nowait())
            for ask in batch:
                ask.answer.cancel()

    async def _next_batch(self) -> list[_Ask]:
        batch: list[_Ask] = []
        while not batch:
            # The askers of one turn of the loop are all in the queue before the first of them is taken out.
            batch = _wanted(await self._asks.get())
            while not self._asks.empty() and sum(len(ask.pictures) for ask in batch) < self._batch_frames:
                batch += _wanted(self._asks.get_nowait())
        return batch


def _wanted(ask: _Ask) -> list[_Ask]:
    return [] if ask.answer.done() else [ask]
