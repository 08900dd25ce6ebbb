"""Watched channels and tonight's timeline, as commands; and when a difference is worth an alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bot.commands import wording
from bot.commands.answer import Answer, Status
from bot.commands.request import Reply
from core.errors import BadReference
from core.games import NOT_A_GAME, UNKNOWN
from core.storage.records import AuditEntry, Mismatch, Watch, WatchState
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.commands.parser import CommandWords
    from bot.commands.request import Request, Timeline
    from bot.commands.request import Watch as WatchCommand
    from core.aliases import AliasTable
    from core.storage.audit import AuditStore
    from core.storage.sightings import SightingStore
    from core.storage.watches import WatchStore

_TONIGHT = timedelta(hours=12)
_MOST_WATCHES = 50
"""Of one place; each costs a look every few minutes."""


def next_state(
    state: WatchState, answer: Answer, *, aliases: AliasTable, windows: int, at: datetime
) -> tuple[WatchState, bool]:
    """What a watch remembers after a look, and whether to say something now; pure.

    Only a game that was recognised can differ: menus, desktops, unknown games, adverts and offline streams say nothing
    for or against. One alert is given per change: the same difference is not told again until it was over.

    Args:
        state: before the look.
        answer: of the look.
        aliases: know which names mean the same to viewers.
        windows: looks in a row that must differ in the same way.
        at: now, UTC.
    """
    looked = replace(state, looked_at=at)
    verdict = answer.verdict
    if answer.status is not Status.ANSWERED or verdict is None or verdict.game in (UNKNOWN, NOT_A_GAME):
        return looked, False
    if answer.declared is None or aliases.same_for_viewers(verdict.game.name, answer.declared.name):
        return replace(looked, differing=0, mismatch=None, alerted=None), False
    mismatch = Mismatch(seen=verdict.game.id, declared=answer.declared.id)
    differing = state.differing + 1 if mismatch == state.mismatch else 1
    alerts = differing >= windows and state.alerted != mismatch
    return (
        replace(looked, differing=differing, mismatch=mismatch, alerted=mismatch if alerts else state.alerted),
        alerts,
    )


def audit_entry(action: str, channel: str, request: Request, *, at: datetime) -> AuditEntry:
    """What is written down of a command that changes something."""
    asker, place = request.asker, request.place
    return AuditEntry(
        at=at,
        platform=asker.platform,
        place=place.id,
        by=asker.id or asker.name,
        by_name=asker.name,
        action=action,
        subject=channel,
    )


class Watching:
    """Answers the commands about watched channels and what was seen on a channel."""

    def __init__(
        self,
        watches: WatchStore,
        sightings: SightingStore,
        audit: AuditStore,
        *,
        words: CommandWords,
        url_template: str,
        every_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            watches: where they are kept.
            sightings: what was seen.
            audit: where it is written down who had what watched.
            words: how commands are written.
            url_template: of a channel's stream, with ``{channel}`` in it.
            every_s: how often a watched channel is looked at.
            clock: the wall clock, UTC.
        """
        self._watches = watches
        self._sightings = sightings
        self._audit = audit
        self._words = words
        self._url_template = url_template
        self._every_s = every_s
        self._clock = clock

    async def watch(self, command: WatchCommand, request: Request) -> Reply:
        """Watch a channel from here, or no longer, or say which are watched.

        Raises:
            StorageError: it could not be stored.
        """
        asker, place, language = request.asker, request.place, request.asker.language
        if not asker.moderates:
            return Reply(text=wording.only_moderators_watch(language=language), private=True)
        if not place.platform:
            return Reply(text=wording.watch_nowhere(language=language), private=True)
        here = await self._watches.watches(platform=place.platform, place_id=place.id)
        if command.on is None:
            return Reply(text=wording.watch_list([one.login for one in here], language=language), private=True)
        try:
            channel = self._channel(command.channel or place.channel or "")
        except BadReference as error:
            return self._bad_reference(error, "watch", language)
        if not command.on:
            gone = await self._watches.remove(channel, platform=place.platform, place_id=place.id)
            if gone:
                await self._write_down("unwatch", channel, request)
            say = wording.watch_off if gone else wording.watch_off_already
            return Reply(text=say(channel, language=language))
        if len(here) >= _MOST_WATCHES:
            return Reply(text=wording.watch_full(len(here), language=language), private=True)
        watch = Watch(
            login=channel,
            platform=place.platform,
            place_id=place.id,
            server_id=place.server,
            place_name=place.name,
            by=asker.key,
            at=self._clock(),
        )
        is_new = await self._watches.put(watch)
        if is_new is None:
            left_alone = Answer(channel=channel, status=Status.LEFT_ALONE)
            return Reply(text=wording.answer_text(left_alone, verbose=False, language=language), private=True)
        if not is_new:
            return Reply(text=wording.watch_on_already(channel, language=language))
        await self._write_down("watch", channel, request)
        return Reply(text=wording.watch_on(channel, every_s=self._every_s, language=language))

    async def timeline(self, command: Timeline, request: Request) -> Reply:
        """Which games were seen on a channel tonight.

        Raises:
            StorageError: the database cannot be asked.
        """
        language = request.asker.language
        try:
            channel = self._channel(command.channel or request.place.channel or "")
        except BadReference as error:
            return self._bad_reference(error, "timeline", language)
        sightings = await self._sightings.timeline(channel, since=self._clock() - _TONIGHT)
        return Reply(text=wording.timeline_text(channel, sightings, language=language))

    async def _write_down(self, action: str, channel: str, request: Request) -> None:
        await self._audit.write(audit_entry(action, channel, request, at=self._clock()))

    def _channel(self, typed: str) -> str:
        return parse_reference(typed, url_template=self._url_template).channel

    def _bad_reference(self, error: BadReference, command: str, language: str) -> Reply:
        word = self._words.word(command)
        text = wording.bad_reference(error.fault, error.text, prefix=self._words.prefix, word=word, language=language)
        return Reply(text=text, private=True)
