"""The one door: a Request of whatever platform in, a Reply out."""

from __future__ import annotations

import asyncio
import logging
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from bot.commands import wording
from bot.commands.answer import Answer, Status
from bot.commands.limits import SharedLooks
from bot.commands.request import Help, Identify, OptOut, Reply, ShowModel, Unrecognised
from core.errors import (
    AdvertsOnly,
    BadReference,
    ChannelNotFound,
    StreamBlack,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.commands.request import Asker, Request
    from core.frames import Frame
    from core.recognition.aggregate import AnswerRule
    from core.recognition.verdict import Verdict
    from core.streams.reference import StreamRef
    from core.streams.sampler import Sample

log = logging.getLogger(__name__)

_STATUS_OF_PROBLEM: dict[type[StreamProblem], Status] = {
    StreamOffline: Status.OFFLINE,
    StreamBlack: Status.BLACK,
    ChannelNotFound: Status.NOT_FOUND,
    AdvertsOnly: Status.ADVERTS,
    StreamRestricted: Status.RESTRICTED,
    StreamUnreachable: Status.UNREACHABLE,
    StreamTooSlow: Status.TOO_SLOW,
}


class SamplesStreams(Protocol):
    """What the service needs of :class:`core.streams.sampler.StreamSampler`."""

    async def sample(self, ref: StreamRef) -> Sample:
        """Frames of the live stream; raises a StreamProblem where there is none to be had."""
        ...


class RecognizesFrames(Protocol):
    """What the service needs of :class:`core.recognition.recognizer.Recognizer`."""

    @property
    def rule(self) -> AnswerRule:
        """Of the model that answers."""
        ...

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        """What the frames of one stream show."""
        ...


class KeepsRecords(Protocol):
    """What the service needs of :class:`bot.recording.Recorder`."""

    def keep(self, sample: Sample, verdict: Verdict) -> None:
        """Take over what was seen, to be stored behind the answer; returns at once."""
        ...

    async def is_left_alone(self, channel: str) -> bool:
        """Whether the broadcaster asked not to be looked at."""
        ...

    async def leave_alone(self, channel: str, *, by: str) -> int:
        """Never look at a channel again, and remove what was kept of it; returns how many frames that were.

        Raises:
            StorageError: it could not be written down.
        """
        ...


class CommandService:
    """Answers commands, on every platform alike."""

    def __init__(
        self,
        *,
        sampler: SamplesStreams,
        recognizer: RecognizesFrames,
        url_template: str,
        prefix: str,
        reuse_s: float,
        recognize_timeout_s: float,
        records: KeepsRecords | None = None,
    ) -> None:
        """Build the service.

        Args:
            sampler: takes frames of a stream.
            recognizer: says what they show.
            url_template: of a channel's stream, with ``{channel}`` in it.
            prefix: what a command begins with, for the sentences that show one.
            reuse_s: how long an answer about a channel is given again.
            recognize_timeout_s: how long the network may take.
            records: where what was seen is kept; None keeps nothing.
        """
        self._sampler = sampler
        self._recognizer = recognizer
        self._url_template = url_template
        self._prefix = prefix
        self._recognize_timeout_s = recognize_timeout_s
        self._records = records
        self._looks = SharedLooks(self._look, reuse_s=reuse_s)

    async def aclose(self) -> None:
        """End what is under way."""
        await self._looks.aclose()

    async def handle(self, request: Request) -> Reply:
        """Answer one command. Whatever goes wrong, there is a Reply; only cancellation passes through."""
        match request.command:
            case Identify() as identify:
                return await self._identify(identify)
            case Help():
                return Reply(text=wording.help_text(prefix=self._prefix))
            case ShowModel():
                return Reply(text=wording.model_text(self._recognizer.rule))
            case OptOut(channel=typed):
                return await self._opt_out(typed, request.asker)
            case Unrecognised(word=word):
                return Reply(text=wording.unrecognised(word, prefix=self._prefix))
            case command:
                return Reply(text=wording.unrecognised(type(command).__name__.lower(), prefix=self._prefix))

    async def _identify(self, identify: Identify) -> Reply:
        try:
            ref = parse_reference(identify.channel, url_template=self._url_template)
        except BadReference as error:
            return Reply(
                text=wording.bad_reference(error.fault, error.text, prefix=self._prefix),
                answer=Answer(channel=identify.channel, status=Status.BAD_INPUT),
            )
        try:
            if self._records is not None and await self._records.is_left_alone(ref.channel):
                answer = Answer(channel=ref.channel, status=Status.LEFT_ALONE)
            else:
                answer = await self._looks.ask(ref)
        except StreamProblem as problem:
            log.info("%s: %s", type(problem).__name__, problem)
            answer = Answer(channel=ref.channel, status=_STATUS_OF_PROBLEM[type(problem)])
        except Exception:
            log.exception("asking about %s failed", ref.channel)
            answer = Answer(channel=ref.channel, status=Status.FAILED)
        return Reply(text=wording.answer_text(answer, verbose=identify.verbose), answer=answer)

    async def _opt_out(self, typed: str, asker: Asker) -> Reply:
        try:
            named = parse_reference(typed, url_template=self._url_template).channel if typed else None
        except BadReference as error:
            return Reply(text=wording.bad_reference(error.fault, error.text, prefix=self._prefix))
        channel = named or asker.own_channel
        if channel is None or not (asker.operates or channel == asker.own_channel):
            return Reply(text=wording.only_the_broadcaster(channel, prefix=self._prefix))
        if self._records is None:
            return Reply(text=wording.nothing_is_kept())
        try:
            frames = await self._records.leave_alone(channel, by=f"{asker.platform}:{asker.name}")
        except Exception:
            log.exception("opting %s out failed", channel)
            return Reply(text=wording.SOMETHING_WENT_WRONG)
        return Reply(text=wording.opted_out(channel, frames=frames))

    async def _look(self, ref: StreamRef) -> Answer:
        began_s = time.perf_counter()
        sample = await self._sampler.sample(ref)
        sampled_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._recognize_timeout_s):
                verdict = await self._recognizer.recognize(sample.frames)
        except TimeoutError as error:
            raise StreamTooSlow(ref.channel, "the network took too long") from error
        done_s = time.perf_counter()
        if self._records is not None:
            self._records.keep(sample, verdict)
        elapsed_ms = {
            "resolve": sample.elapsed.resolve_ms,
            "playlist": sample.elapsed.playlist_ms,
            "segments": sample.elapsed.segments_ms,
            "decode": sample.elapsed.decode_ms,
            "recognize": (done_s - sampled_s) * 1000,
            "total": (done_s - began_s) * 1000,
        }
        return Answer(
            channel=ref.channel,
            status=Status.ANSWERED,
            verdict=verdict,
            elapsed_ms=MappingProxyType(elapsed_ms),
            fetched_bytes=sample.bytes_fetched,
            adverts=sample.rejected.adverts,
        )
