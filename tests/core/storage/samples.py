"""Captures, streams and verdicts to fill a store with."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from datetime import UTC, datetime, timedelta

from core.collection.directory import Category, LiveStream
from core.games import Game
from core.recognition.verdict import FrameVerdict, Likelihood, Verdict
from core.storage.frame_store import FrameStore
from core.storage.records import (
    Broadcaster,
    BroadcastStream,
    CaptureKind,
    KeptFrame,
    NewCapture,
    NewRecognition,
    PlannedPick,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOOM = Category(id="101", name="DOOM")
CHESS = Category(id="743", name="Chess")
ANNA = Broadcaster(login="anna", platform_id="1", display_name="Anna")
BERT = Broadcaster(login="bert", platform_id="2", display_name="Bert")

_numbers = itertools.count()


def picture(*of: object) -> bytes:
    """The file of a frame; the same for the same arguments."""
    return b"\xff\xd8" + hashlib.sha256(repr(of or next(_numbers)).encode()).digest() * 4


async def kept(store: FrameStore, *pictures: bytes) -> tuple[KeptFrame, ...]:
    """Put pictures into a frame store."""
    frames = []
    for number, data in enumerate(pictures):
        stored = await store.put(data)
        frames.append(
            KeptFrame(
                sha256=stored.sha256,
                size_bytes=stored.size_bytes,
                perceptual_hash=int.from_bytes(hashlib.sha256(data).digest()[:8], "big"),
                at_s=2.0 * number,
            )
        )
    return tuple(frames)


def nightly(**changes) -> NewCapture:
    """A nightly capture without frames, of Anna's stream of DOOM."""
    return NewCapture(
        **{
            "kind": CaptureKind.NIGHTLY,
            "key": str(uuid.uuid4()),
            "broadcaster": ANNA,
            "stream": BroadcastStream(platform_id="900", started_at=NOON, title="hello", language="en"),
            "declared": DOOM,
            "is_game": True,
            "at": NOON,
            "rendition": "360p30",
            "window_s": 26.0,
            "frames": (),
        }
        | changes
    )


def asked(**changes) -> NewCapture:
    """An asked capture of somebody known by login alone, of whom nothing else is known."""
    return nightly(
        **{
            "kind": CaptureKind.ASKED,
            "broadcaster": Broadcaster(login="anna"),
            "stream": None,
            "declared": None,
            "is_game": None,
        }
        | changes
    )


def recognition(game: Game, *, best: Game | None = None, model: str = "starter-1", at: datetime = NOON):
    """What a model says of two frames."""
    best = best or game
    verdict = Verdict(
        game=game,
        confidence=0.9,
        best=Likelihood(game=best, confidence=0.9),
        runners_up=(Likelihood(game=Game(id="crawl", name="Dungeon Crawl: Stone Soup"), confidence=0.1),),
        frames=tuple(FrameVerdict(game=best, confidence=0.9, at_s=at_s) for at_s in (0.0, 2.0)),
        votes=2,
        score=5.6,
        novelty=0.25,
        model=model,
    )
    return NewRecognition(at=at, verdict=verdict)


def live(number: int, *, category: Category | None = DOOM) -> LiveStream:
    """A stream as the directory lists it."""
    return LiveStream(
        id=f"stream-{number}",
        broadcaster_id=f"{number}",
        login=f"channel{number}",
        display_name=f"Channel{number}",
        category=category,
        title="a title \N{VIDEO GAME}",
        language="en",
        started_at=NOON - timedelta(hours=1),
        viewers=100 + number,
    )


def planned(position: int, *, category: Category = DOOM, spare: bool = False) -> PlannedPick:
    return PlannedPick(
        position=position, category=category, is_game=True, stream=live(position, category=category), spare=spare
    )
