"""Working doubles of what stands at the project's borders."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from core.collection.directory import Channel
from core.frames import Frame
from core.games import Game
from core.recognition.aggregate import AnswerRule, Logits, NoveltyScore
from core.streams.playlist import Rendition
from core.streams.sampler import Rejected, Sample, StepTimings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from core.collection.directory import Category, LiveStream
    from core.recognition.verdict import Verdict
    from core.streams.reference import StreamRef

GAMES = tuple(Game(id=name.casefold(), name=name) for name in ("VALORANT", "Chess", "Freedoom"))

RULE = AnswerRule(
    labels=GAMES, temperature=1.0, novelty_score=NoveltyScore.MAX_LOGIT, unknown_threshold=0.0, model="test-1"
)


class BrightnessNetwork:
    """Looks at the mean brightness alone: thirds of the range are the three GAMES, each with a clear lead.

    ``lead`` of 0 makes every picture strange: its highest logit is then negative.
    """

    def __init__(self, *, lead: float = 5.0) -> None:
        self.lead = lead
        self.batches: list[int] = []
        self.fault: Exception | None = None

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        self.batches.append(len(pictures))
        if self.fault is not None:
            raise self.fault
        chosen = pictures.reshape(len(pictures), -1).mean(axis=1) // 86
        return np.where(np.arange(3) == chosen[:, None], self.lead, -0.1).astype(np.float32)


def frame(brightness: int, *, at_s: float = 0.0) -> Frame:
    return Frame(picture=np.full((180, 320, 3), brightness, dtype=np.uint8), at_s=at_s)


def sample_of(frames: Sequence[Frame], *, channel: str = "some_channel", adverts: int = 0) -> Sample:
    return Sample(
        channel=channel,
        frames=tuple(frames),
        rendition=Rendition(url="http://127.0.0.1/360p.m3u8", name="360p"),
        window_s=30.0,
        rejected=Rejected(adverts=adverts),
        bytes_fetched=1234,
        segment_bytes=1000,
        elapsed=StepTimings(resolve_ms=1.0, playlist_ms=2.0, segments_ms=3.0, decode_ms=4.0),
    )


class FakeSampler:
    """Gives each channel's frames, or raises what it is told to; holds all askers while ``gate`` is closed."""

    def __init__(self) -> None:
        self.frames: dict[str, list[Frame]] = {}
        self.problems: dict[str, BaseException] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = 0

    async def sample(self, ref: StreamRef) -> Sample:
        self.asked.append(ref.channel)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if ref.channel in self.problems:
            raise self.problems[ref.channel]
        return sample_of(self.frames[ref.channel], channel=ref.channel)


class FakeRecords:
    """Keeps what was seen in a list; raises ``problem`` from whatever would ask a database."""

    def __init__(self) -> None:
        self.kept: list[tuple[Sample, Verdict]] = []
        self.left_alone: dict[str, str] = {}
        self.problem: Exception | None = None

    def keep(self, key: str, sample: Sample, verdict: Verdict, *, declared: Category | None) -> None:
        self.kept.append((sample, verdict))

    async def is_left_alone(self, channel: str) -> bool:
        if self.problem is not None:
            raise self.problem
        return channel in self.left_alone

    async def leave_alone(self, channel: str, *, by: str) -> int:
        if self.problem is not None:
            raise self.problem
        self.left_alone[channel] = by
        return sum(len(sample.frames) for sample, _ in self.kept if sample.channel == channel)


class FakeDirectory:
    """A platform's directory in memory.

    ``problems`` are raised by the method of that name, or by ``live_streams`` for the category of that id.
    """

    def __init__(self, streams: Iterable[LiveStream] = (), *, offline: Iterable[Channel] = ()) -> None:
        self.streams = list(streams)
        self.offline = list(offline)
        self.problems: dict[str, Exception] = {}
        self.asked: list[str] = []

    async def top_categories(self, *, limit: int) -> Sequence[Category]:
        await self._ask("top_categories")
        viewers: Counter[Category] = Counter()
        for stream in self.streams:
            if stream.category is not None:
                viewers[stream.category] += stream.viewers
        return [category for category, _ in viewers.most_common(max(limit, 0))]

    async def live_streams(self, category_id: str, *, limit: int) -> Sequence[LiveStream]:
        await self._ask("live_streams", category_id)
        live = [stream for stream in self.streams if stream.category and stream.category.id == category_id]
        return sorted(live, key=lambda stream: -stream.viewers)[: max(limit, 0)]

    async def categories(self, category_ids: Collection[str]) -> Mapping[str, Category]:
        await self._ask("categories")
        declared = {item.category for item in (*self.streams, *self.offline) if item.category is not None}
        return {category.id: category for category in declared if category.id in set(category_ids)}

    async def channels(self, logins: Collection[str]) -> Mapping[str, Channel]:
        await self._ask("channels")
        live = (
            Channel(
                broadcaster_id=stream.broadcaster_id,
                login=stream.login,
                display_name=stream.display_name,
                category=stream.category,
                title=stream.title,
            )
            for stream in self.streams
        )
        wanted = {login.lower() for login in logins}
        return {channel.login: channel for channel in (*live, *self.offline) if channel.login in wanted}

    async def _ask(self, *what: str) -> None:
        await asyncio.sleep(0)
        self.asked.append(" ".join(what))
        for key in what:
            if key in self.problems:
                raise self.problems[key]
