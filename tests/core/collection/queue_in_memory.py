"""A queue of picks without workers: the test is all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from core.collection.handing_out import HandedOut, Place
from core.errors import StorageError
from core.storage.records import Pick

BEGINNINGS = 5


class QueueInMemory:
    """See :class:`core.collection.handing_out.PickQueue`.

    Attributes:
        put_in: ids of all picks that were ever put in, in order.
        fault: raised by whatever is asked, while it is set.
    """

    def __init__(self) -> None:
        self.put_in: list[int] = []
        self.fault: StorageError | None = None
        self._entries: dict[int, HandedOut] = {}
        self._runs: dict[int, int] = {}
        self._silent: set[int] = set()
        self._deaths: dict[int, int] = {}

    async def put(self, picks: Sequence[Pick]) -> None:
        self._answer()
        for pick in picks:
            if pick.id not in self._entries:
                self._entries[pick.id] = HandedOut(pick_id=pick.id, place=Place.WAITING)
                self._runs[pick.id] = pick.run_id
                self.put_in.append(pick.id)

    async def handed_out(self, run_id: int) -> tuple[HandedOut, ...]:
        self._answer()
        return tuple(self._of(run_id))

    async def take_back(self, run_id: int) -> None:
        self._answer()
        for entry in self._of(run_id):
            if entry.place is Place.WAITING:
                del self._entries[entry.pick_id]

    async def remove_broken(self, run_id: int) -> None:
        self._answer()
        for entry in self._of(run_id):
            if entry.place is Place.BROKEN:
                del self._entries[entry.pick_id]

    async def rescue(self, give_up: Callable[[int], Awaitable[object]]) -> None:
        self._answer()
        for pick_id in sorted(self._silent):
            self._deaths[pick_id] = self._deaths.get(pick_id, 0) + 1
            if self._deaths[pick_id] == BEGINNINGS:
                await give_up(pick_id)
                del self._entries[pick_id]
            else:
                self._move(pick_id, Place.WAITING)
        self._silent.clear()

    # What workers do

    def begin(self) -> int | None:
        """Take the pick that waits first; None when none waits."""
        waiting = sorted(
            (entry for entry in self._entries.values() if entry.place is Place.WAITING),
            key=lambda entry: (entry.failures, entry.pick_id),
        )
        if not waiting:
            return None
        self._move(waiting[0].pick_id, Place.IN_HAND)
        return waiting[0].pick_id

    def done(self, pick_id: int) -> None:
        del self._entries[pick_id]

    def failed(self, pick_id: int) -> None:
        """In a way that may pass."""
        entry = self._entries[pick_id]
        self._entries[pick_id] = replace(entry, place=Place.WAITING, failures=entry.failures + 1)

    def break_(self, pick_id: int) -> None:
        self._move(pick_id, Place.BROKEN)

    def die(self, pick_id: int) -> None:
        """The worker that has it."""
        self._silent.add(pick_id)

    def _of(self, run_id: int) -> list[HandedOut]:
        return [entry for entry in self._entries.values() if self._runs[entry.pick_id] == run_id]

    def _move(self, pick_id: int, place: Place) -> None:
        self._entries[pick_id] = replace(self._entries[pick_id], place=place)

    def _answer(self) -> None:
        if self.fault is not None:
            raise self.fault
