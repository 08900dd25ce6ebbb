"""Which segments a live media playlist lists at a moment; pure.

A stream plays its reel over and over since it went live, so that a segment's number, time and content follow
from the clock alone and nothing has to run in the background. Each viewer's session may begin with adverts in
place of the stream, as Twitch stitches them: a session is known by the number of the first segment it was given.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from demo.channels import Adverts


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One segment's place in a session.

    Attributes:
        sequence: media sequence number (RFC 8216 section 3).
        starts_at: wall clock time of its first sample.
        duration_s: its length.
        advert: an advert is played in place of the stream.
        reel_index: which segment of the reel (the advert's or the stream's) it is.
        cut: its time stamps do not follow those of the segment before it (``EXT-X-DISCONTINUITY``).
    """

    sequence: int
    starts_at: datetime
    duration_s: float
    advert: bool
    reel_index: int
    cut: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What one media playlist lists.

    Attributes:
        slots: whole segments, oldest first.
        prefetch: segments that are about to be finished, as Twitch announces them.
        discontinuity_sequence: discontinuities of this session before the first slot (RFC 8216 section 6.2.2).
        advert_starts_at: where this session's adverts begin.
        advert_slots: how many slots from there on are adverts; 0 when the session has none.
        advert_duration_s: how long these are together.
        on_air_s: how long the stream has been live at the window's end.
    """

    slots: tuple[Slot, ...]
    prefetch: tuple[Slot, ...]
    discontinuity_sequence: int
    advert_starts_at: datetime
    advert_slots: int
    advert_duration_s: float
    on_air_s: float


class Timeline:
    """The stream of one channel: when it went live, and how long the segments of its loop are."""

    _PREFETCHED = 2
    _PREROLL_SLOTS = 7
    """14 s: a short pod, which leaves about half of the first window to the stream."""
    _KEPT_SLOTS = 60
    """A segment can still be fetched when it has left the window."""

    def __init__(self, *, live_since: datetime, durations_s: tuple[float, ...], window_slots: int) -> None:
        self._live_since = live_since
        self._durations_s = durations_s
        self._ends_s = tuple(itertools.accumulate(durations_s))
        self._window_slots = window_slots

    @property
    def live_since(self) -> datetime:
        """When the stream went live."""
        return self._live_since

    def new_session(self, now: datetime) -> int:
        """The first segment that a viewer who comes now is given."""
        return max(0, self._finished(now) - self._window_slots)

    def can_be_fetched(self, sequence: int, now: datetime) -> bool:
        """Whether the edge still has, or already has, a segment."""
        finished = self._finished(now)
        return finished - self._KEPT_SLOTS <= sequence < finished + self._PREFETCHED

    def window(self, *, session: int, adverts: Adverts, advert_reel_slots: int, now: datetime) -> Window:
        """What a session's playlist lists at a moment.

        Args:
            session: from :meth:`new_session`.
            adverts: of the channel.
            advert_reel_slots: segments in the advert's reel.
            now: timezone-aware.
        """
        finished = self._finished(now)
        first = max(session, finished - self._window_slots)
        advert_slots = self._advert_slots(session, adverts, last=finished + self._PREFETCHED)

        def slot(sequence: int) -> Slot:
            return self._slot(sequence, session, advert_slots, advert_reel_slots)

        return Window(
            slots=tuple(slot(sequence) for sequence in range(first, finished)),
            prefetch=tuple(slot(sequence) for sequence in range(finished, finished + self._PREFETCHED)),
            discontinuity_sequence=sum(slot(sequence).cut for sequence in range(session, first)),
            advert_starts_at=self._starts_at(session),
            advert_slots=advert_slots,
            advert_duration_s=self._offset_s(session + advert_slots) - self._offset_s(session),
            on_air_s=self._offset_s(finished),
        )

    def _advert_slots(self, session: int, adverts: Adverts, *, last: int) -> int:
        match adverts:
            case Adverts.NONE:
                return 0
            case Adverts.PREROLL:
                return self._PREROLL_SLOTS
            case Adverts.ALWAYS:
                return last - session

    def _slot(self, sequence: int, session: int, advert_slots: int, advert_reel_slots: int) -> Slot:
        advert = sequence < session + advert_slots
        reel_index = (sequence - session) % advert_reel_slots if advert else sequence % len(self._durations_s)
        back_to_stream = sequence == session + advert_slots
        return Slot(
            sequence=sequence,
            starts_at=self._starts_at(sequence),
            duration_s=self._durations_s[sequence % len(self._durations_s)],
            advert=advert,
            reel_index=reel_index,
            # A session's own first segment follows nothing.
            cut=sequence > session and (reel_index == 0 or back_to_stream),
        )

    def _finished(self, now: datetime) -> int:
        """How many segments are whole at a moment; it is also the number of the one being made."""
        on_air_s = max(0.0, (now - self._live_since).total_seconds())
        loops, rest_s = divmod(on_air_s, self._ends_s[-1])
        return int(loops) * len(self._ends_s) + bisect.bisect_right(self._ends_s, rest_s)

    def _offset_s(self, sequence: int) -> float:
        loops, index = divmod(sequence, len(self._ends_s))
        return loops * self._ends_s[-1] + (self._ends_s[index - 1] if index else 0.0)

    def _starts_at(self, sequence: int) -> datetime:
        return self._live_since + timedelta(seconds=self._offset_s(sequence))


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
