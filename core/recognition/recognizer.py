"""Frames to a Verdict: one network on one worker thread, askers at the same time in one batch."""

from __future__ import annotations

import asyncio
import time
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
class Measured:
    """A Verdict, and how long the network ran for it.

    Attributes:
        verdict: what the frames show.
        network_ms: of a run that was shared, this asker's part; without waiting for a turn.
    """

    verdict: Verdict
    network_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    network: RunsNetwork
    rule: AnswerRule


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ran:
    logits: Logits
    rule: AnswerRule
    network_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ask:
    pictures: npt.NDArray[np.uint8]
    answer: asyncio.Future[_Ran]


class Recognizer:
    """Answers what the frames of a stream show. :meth:`run` must be running for :meth:`recognize` to return.

    The model can be exchanged at any moment: those whose frames the network has are answered by the one that was there,
    all others by the new one, and nobody by half of each. The old one is let go of when those answers are given, so
    that there are never more than two, however many askers wait.
    """

    def __init__(self, network: RunsNetwork, rule: AnswerRule, *, batch_frames: int = 64) -> None:
        """Build a recognizer around a loaded network.

        Args:
            network: used by one thread at a time.
            rule: turns the network's logits into a Verdict.
            batch_frames: no further asker joins a batch that holds as many frames.
        """
        self._model = _Model(network=network, rule=rule)
        self._batch_frames = batch_frames
        self._asks: asyncio.Queue[_Ask] = asyncio.Queue()

    @property
    def rule(self) -> AnswerRule:
        """Labels, temperature and unknown rule of the model that answers."""
        return self._model.rule

    def swap(self, network: RunsNetwork, rule: AnswerRule) -> None:
        """Answer with another model from now on; it should have run once, as no asker is to wait for that."""
        self._model = _Model(network=network, rule=rule)

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        """Say what the frames of one stream, at least one, show.

        Raises:
            ArtifactError: the network failed.
            asyncio.CancelledError: also when :meth:`run` ends before the answer.
        """
        return (await self.measured(frames)).verdict

    async def measured(self, frames: Sequence[Frame]) -> Measured:
        """The same, and how long the network ran for it.

        Raises:
            ArtifactError: the network failed.
            asyncio.CancelledError: also when :meth:`run` ends before the answer.
        """
        pictures = np.stack([frame.picture for frame in frames])
        answer: asyncio.Future[_Ran] = asyncio.get_running_loop().create_future()
        self._asks.put_nowait(_Ask(pictures=pictures, answer=answer))
        ran = await answer
        verdict = aggregate(ran.logits, at_s=[frame.at_s for frame in frames], rule=ran.rule)
        return Measured(verdict=verdict, network_ms=ran.network_ms)

    async def run(self) -> None:
        """Serve until cancelled; whoever still waits then is cancelled too."""
        batch: list[_Ask] = []
        try:
            while True:
                batch = await self._next_batch()
                await _answer(batch, self._model)
                # While it waits for the next, nothing here holds on to a model that may be exchanged.
                batch = []
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


async def _answer(batch: Sequence[_Ask], model: _Model) -> None:
    """Run the network for askers, and tell each."""
    pictures = np.concatenate([ask.pictures for ask in batch])
    try:
        ran = await asyncio.to_thread(_run, model, pictures)
    except Exception as error:  # noqa: BLE001 - each asker gets it; the next batch may well succeed
        for ask in batch:
            if not ask.answer.done():
                ask.answer.set_exception(error)
        return
    start = 0
    for ask in batch:
        stop = start + len(ask.pictures)
        if not ask.answer.done():
            part_ms = ran.network_ms * len(ask.pictures) / len(pictures)
            ask.answer.set_result(_Ran(logits=ran.logits[start:stop], rule=ran.rule, network_ms=part_ms))
        start = stop


def _run(model: _Model, pictures: npt.NDArray[np.uint8]) -> _Ran:
    began_s = time.perf_counter()
    logits = model.network.logits(pictures)
    return _Ran(logits=logits, rule=model.rule, network_ms=(time.perf_counter() - began_s) * 1000)


def _wanted(ask: _Ask) -> list[_Ask]:
    return [] if ask.answer.done() else [ask]
