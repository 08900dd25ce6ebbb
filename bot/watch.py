"""The mismatch watch: looks at watched channels every few minutes, and tells the moderators what differs."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bot.commands import wording
from bot.commands.request import DEFAULT_LANGUAGE, Place, Reply
from bot.commands.watching import next_state
from core.errors import StorageError
from core.games import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.chat.platform import ChatPlatform
    from bot.commands.answer import Answer
    from bot.commands.service import CommandService
    from core.aliases import AliasTable
    from core.storage.flags import FlagStore
    from core.storage.records import DueWatch, FlagRecord
    from core.storage.watches import WatchStore

log = logging.getLogger(__name__)

_AT_ONCE = 4
_POLL_S = 5.0
_TRIES = 5
"""Of telling a moderator in a place that may be gone; minutes lie between them."""

_GIVING_BACK_S = 2.0
_LEASE_S = 120.0
"""More than looking at a handful of channels takes, however slow they are."""


class MismatchWatch:
    """Carries out watches, and tells moderators which model has learnt from their flags; any number of replicas may."""

    def __init__(
        self,
        service: CommandService,
        watches: WatchStore,
        flags: FlagStore,
        *,
        platforms: Mapping[str, ChatPlatform],
        aliases: AliasTable,
        holder: str,
        every_s: float,
        windows: int,
        poll_s: float = _POLL_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            service: looks at channels, sharing looks with all who ask.
            watches: what to do.
            flags: of which models may have learnt.
            platforms: where something can be said, by name.
            aliases: know which names mean the same to viewers.
            holder: names this process.
            every_s: how often a channel is looked at.
            windows: looks in a row that must differ.
            poll_s: how often to see what is due.
            clock: the wall clock, UTC.
        """
        self._service = service
        self._watches = watches
        self._flags = flags
        self._platforms = platforms
        self._aliases = aliases
        self._holder = holder
        self._every_s = every_s
        self._windows = windows
        self._poll_s = poll_s
        self._clock = clock
        self._in_hand: tuple[DueWatch, ...] = ()
        self._tries: Counter[int] = Counter()

    async def run(self) -> None:
        """Do what is due until cancelled."""
        try:
            while True:
                try:
                    self._in_hand = await self._watches.claim_due(holder=self._holder, lease_s=_LEASE_S, limit=_AT_ONCE)
                    async with asyncio.TaskGroup() as group:
                        for due in self._in_hand:
                            group.create_task(self._look(due), name=f"watch {due.watch.login}")
                    await self._tell_what_was_learnt()
                except* StorageError as errors:
                    log.error("watching rests: %s", errors.exceptions[0])  # noqa: TRY400 - a sentence
                    self._in_hand = ()
                if not self._in_hand:
                    await asyncio.sleep(self._poll_s)
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        """Leave what was begun to others, who need not wait for the lease to run out; what is done is not touched."""
        with suppress(StorageError, TimeoutError):
            async with asyncio.timeout(_GIVING_BACK_S):
                for due in self._in_hand:
                    await self._watches.done(due, holder=self._holder, state=due.state, again_in_s=0.0)

    async def _look(self, due: DueWatch) -> None:
        answer = await self._service.look_at(due.watch.login)
        now = self._clock()
        state, alerts = next_state(due.state, answer, aliases=self._aliases, windows=self._windows, at=now)
        kept = await self._watches.done(due, holder=self._holder, state=state, again_in_s=self._every_s)
        if alerts and kept:
            await self._alert(due, answer, since=now - timedelta(seconds=self._every_s * (state.differing - 1)))

    async def _alert(self, due: DueWatch, answer: Answer, *, since: datetime) -> None:
        watch = due.watch
        platform = self._platforms.get(watch.platform)
        shown = answer.verdict.game if answer.verdict is not None else UNKNOWN
        declared = answer.declared.name if answer.declared is not None else None
        text = wording.mismatch(watch.login, declared=declared, shown=shown, since=since, language=DEFAULT_LANGUAGE)
        place = Place(platform=watch.platform, id=watch.place_id, server=watch.server_id, name=watch.place_name)
        if platform is None or not await platform.announce(place, Reply(text=text, answer=answer)):
            log.warning("nobody could be told in %s, which is tried again with the next look: %s", place.key, text)
            await self._watches.untold(due)

    async def _tell_what_was_learnt(self) -> None:
        due = await self._flags.notices_due(limit=_AT_ONCE, lease_s=_LEASE_S, platforms=tuple(self._platforms))
        for flag in due:
            await self._tell(flag)

    async def _tell(self, flag: FlagRecord) -> None:
        platform = self._platforms[flag.by.platform]
        text = wording.notice_learnt(flag.id, channel=flag.channel, game=flag.game, model=flag.used_by or "")
        place = Place(platform=flag.by.platform, id=flag.place, server=flag.server)
        self._tries[flag.id] += 1
        if await platform.announce(place, Reply(text=text)):
            del self._tries[flag.id]
        elif self._tries[flag.id] < _TRIES:
            return
        else:
            log.warning("nobody could be told in %s: %s", place.key, text)
        await self._flags.notice_sent(flag.id)
