"""Captures and all that hangs on them: games, broadcasters, streams, frames, recognitions, labels, opt-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from core.storage.database import Database
    from core.storage.frame_store import FrameStore
    from core.storage.records import Broadcaster, DataSetSummary, GameCount, NewCapture, OptOuts


class CaptureStore:
    """The questions that are asked about captures. Every method raises StorageError if the database cannot be used."""

    def __init__(self, database: Database, frames: FrameStore) -> None:
        """Keep the parts; both stay the caller's to close."""
        self._database = database
        self._frames = frames

    async def add(self, capture: NewCapture) -> int | None:
        """Keep a capture, in one transaction, whole or not at all.

        Returns:
            Its id, which is the old one when a capture with this key is there already; None when the broadcaster has
            opted out: then nothing is kept, and the pick's outcome says so.

        Raises:
            StorageError: the database cannot be used, or a frame's file is not in the frame store.
        """
        raise NotImplementedError

    async def recent_hashes(self, broadcaster: Broadcaster, *, limit: int) -> tuple[int, ...]:
        """Perceptual hashes of the broadcaster's nightly frames that still have pixels, the latest first."""
        raise NotImplementedError

    async def game_counts(self) -> tuple[GameCount, ...]:
        """What is kept of every game, in the alphabetical order of their names."""
        raise NotImplementedError

    async def summary(self) -> DataSetSummary:
        """The whole data set, of one moment."""
        raise NotImplementedError

    async def broadcasters_seen(self) -> Mapping[str, int]:
        """Nightly captures ever taken, by the broadcaster's platform id."""
        raise NotImplementedError

    async def captured_since(self, at: datetime) -> Mapping[str, int]:
        """Nightly captures taken at or after a moment, by the broadcaster's platform id."""
        raise NotImplementedError

    async def opt_out(self, broadcaster: Broadcaster, *, by: str, at: datetime) -> None:
        """Write down that a broadcaster is never to be sampled again; :meth:`Upkeep.forget` also deletes what is kept.

        A second opting out changes nothing but what was not known before.
        """
        raise NotImplementedError

    async def opted_out(self) -> OptOuts:
        """Who has opted out."""
        raise NotImplementedError
