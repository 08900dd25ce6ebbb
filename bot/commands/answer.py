"""What came of asking about one channel: a value that every platform, the shell and the tests read alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from core.collection.directory import Category
    from core.games import Game
    from core.recognition.verdict import Likelihood, Verdict

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class Status(StrEnum):
    """How an ask ended. All but ``FAILED`` are expected."""

    ANSWERED = "answered"
    OFFLINE = "offline"
    NOT_FOUND = "not_found"
    ADVERTS = "adverts"
    BLACK = "black"
    RESTRICTED = "restricted"
    LEFT_ALONE = "left_alone"
    UNREACHABLE = "unreachable"
    TOO_SLOW = "too_slow"
    BUSY = "busy"
    BAD_INPUT = "bad_input"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class LastSeen:
    """What a channel showed when it was last looked at.

    Attributes:
        game: the answer of that time; ``UNKNOWN`` perhaps.
        at: timezone-aware, UTC.
    """

    game: Game
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceTile:
    """One picture of the evidence, made small.

    Attributes:
        picture: JPEG, 16:9; None where there was none to be had, as of an advert.
        label: what the network sees in it alone; None for what was not looked at.
        confidence: of the label, 0 to 1.
        at_s: seconds from the start of the live window; None when that is not known.
        rejected: why it did not count: ``advert``, ``black``, ``duplicate``, ``failed``; None when it did.
    """

    picture: bytes | None
    label: Game | None = None
    confidence: float = 0.0
    at_s: float | None = None
    rejected: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of asking about one channel.

    Attributes:
        channel: the normalised name, or what was typed where that names no channel.
        verdict: what the stream shows; there when the status is ``ANSWERED`` and only then.
        elapsed_ms: what each step took when the stream was looked at.
        fetched_bytes: what was read of playlists and segments.
        adverts: segments of the live window left out because they were adverts.
        age_s: seconds since the stream was looked at; above 0 when the answer came from memory.
        look: names the look at the stream that the answer is from, so that it can be flagged; empty without one.
        declared: what the broadcaster says it is, or of an offline channel said last; None when that is not known.
        last_seen: of an offline channel, where it was looked at before.
        evidence: the pictures that the answer is from, in the order of the stream.
    """

    channel: str
    status: Status
    verdict: Verdict | None = None
    elapsed_ms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    fetched_bytes: int = 0
    adverts: int = 0
    age_s: float = 0.0
    look: str = ""
    declared: Category | None = None
    last_seen: LastSeen | None = None
    evidence: tuple[EvidenceTile, ...] = field(default=(), repr=False)


def to_json(answer: Answer) -> dict[str, Json]:
    """All of an answer as JSON, with the same keys whatever the status; what is not there is null or empty."""
    verdict = answer.verdict
    return {
        "channel": answer.channel,
        "status": answer.status.value,
        "game": _game(verdict.game) if verdict else None,
        "confidence": _probability(verdict.confidence) if verdict else None,
        "best": _likelihood(verdict.best) if verdict else None,
        "votes": verdict.votes if verdict else None,
        "frames": [
            {
                "game": _game(frame.game),
                "confidence": _probability(frame.confidence),
                "at_s": round(frame.at_s, 3),
            }
            for frame in (verdict.frames if verdict else ())
        ],
        "genres": [
            {"id": genre.id, "name": genre.name, "confidence": _probability(genre.confidence)}
            for genre in (verdict.genres if verdict else ())
        ],
        "runners_up": [_likelihood(likelihood) for likelihood in (verdict.closest if verdict else ())],
        "score": round(verdict.score, 4) if verdict else None,
        "novelty": round(verdict.novelty, 4) if verdict else None,
        "model": verdict.model if verdict else None,
        "elapsed_ms": {step: round(duration_ms, 1) for step, duration_ms in answer.elapsed_ms.items()},
        "bytes": answer.fetched_bytes,
        "adverts": answer.adverts,
        "age_s": round(answer.age_s, 1),
        "declared": answer.declared.name if answer.declared else None,
    }


def _game(game: Game) -> dict[str, Json]:
    return {"id": game.id, "name": game.name}


def _likelihood(likelihood: Likelihood) -> dict[str, Json]:
    return {"game": _game(likelihood.game), "confidence": _probability(likelihood.confidence)}


def _probability(value: float) -> float:
    return round(value, 6)
