"""Moderators put answers right: a flag on the look that was answered from, taken back, listed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from bot.commands import wording
from bot.commands.matching import MatchKind
from bot.commands.request import Choice, Flag, FlagLook, Reply, Role
from core.errors import BadReference
from core.games import UNKNOWN
from core.storage.records import FlagState, Moderator
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bot.commands.matching import Matcher
    from bot.commands.parser import CommandWords
    from bot.commands.request import Asker, ListFlags, Place, Request, Withdraw
    from core.games import Game
    from core.storage.flags import FlagStore
    from core.storage.records import FlagOutcome, LookRecord

log = logging.getLogger(__name__)

_MEANT = timedelta(hours=24)
"""A look that is older is not what a moderator has just read: its frames are gone by default."""

_LISTED = 10
_LARGEST_NUMBER = 2**53


class StoresLooks(Protocol):
    """What is needed of :class:`bot.recording.Recorder`."""

    async def settled(self, key: str) -> None:
        """Wait until a look is stored or cannot be."""
        ...

    async def all_settled(self) -> None:
        """Wait until all looks so far are stored or cannot be."""
        ...


class Flagging:
    """Answers the commands about flags."""

    def __init__(
        self,
        flags: FlagStore,
        looks: StoresLooks,
        *,
        words: CommandWords,
        url_template: str,
        servers: Collection[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            flags: where they are kept.
            looks: what is flagged must have been stored.
            words: how commands are written.
            url_template: of a channel's stream, with ``{channel}`` in it.
            servers: whose moderators are heard, where a place is part of one; none means all.
            clock: the wall clock, UTC.
        """
        self._flags = flags
        self._looks = looks
        self._words = words
        self._url_template = url_template
        self._servers = frozenset(servers)
        self._clock = clock

    async def flag(self, command: Flag | FlagLook, request: Request, *, matcher: Matcher) -> Reply:
        """Say that an answer was wrong, or right.

        Raises:
            StorageError: it could not be stored.
        """
        asker, language = request.asker, request.asker.language
        if not self._is_heard(request):
            return Reply(text=wording.only_moderators_flag(language=language), private=True)
        if isinstance(command, Flag):
            found = await self._last_look(command.channel, request.place, language)
            if isinstance(found, Reply):
                return found
            if not command.game:
                return self._which_game(language)
        else:
            await self._looks.settled(command.look)
            look = await self._flags.look(command.look)
            if look is None:
                return Reply(text=wording.look_is_gone(language=language), private=True)
            found = look
        game = self._game(command, found, matcher, language)
        if isinstance(game, Reply):
            return game
        outcome = await self._flags.flag(
            found.key,
            game,
            by=_moderator(asker, request.place, found.channel),
            place=request.place.id,
            server=request.place.server,
            at=self._clock(),
        )
        if outcome is None:
            return Reply(text=wording.look_is_gone(language=language), private=True)
        return Reply(text=_outcome(outcome, language))

    async def withdraw(self, command: Withdraw, request: Request) -> Reply:
        """Take a flag back.

        Raises:
            StorageError: it could not be stored.
        """
        asker, language = request.asker, request.asker.language
        if not self._is_heard(request):
            return Reply(text=wording.only_moderators_flag(language=language), private=True)
        if not command.flag:
            text = wording.written_like(
                "unflag", prefix=self._words.prefix, word=self._words.word("unflag"), language=language
            )
            return Reply(text=text, private=True)
        typed = command.flag.lstrip("#")
        number = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) <= len(str(_LARGEST_NUMBER)) else 0
        flag = await self._flags.find(number) if 0 < number <= _LARGEST_NUMBER else None
        if flag is None or flag.state is FlagState.REJECTED:
            return Reply(text=wording.flag_not_found(command.flag, language=language), private=True)
        by = _moderator(asker, request.place, flag.channel)
        withdrawn = await self._flags.withdraw(
            number,
            by=by,
            may_withdraw_others=asker.operates or by.moderates_channel,
            place=request.place.id,
            at=self._clock(),
        )
        if withdrawn is None:
            return Reply(text=wording.flag_of_another(number, language=language), private=True)
        text = wording.flag_withdrawn(withdrawn.id, channel=withdrawn.channel, game=withdrawn.game, language=language)
        return Reply(text=text)

    async def list(self, command: ListFlags, request: Request) -> Reply:
        """The latest flags that stand.

        Raises:
            StorageError: the database cannot be asked.
        """
        language = request.asker.language
        if not self._is_heard(request):
            return Reply(text=wording.only_moderators_flag(language=language), private=True)
        channel = None
        if command.channel or request.place.channel:
            try:
                channel = self._channel(command.channel or request.place.channel or "")
            except BadReference as error:
                return self._bad_reference(error, language)
        flags = await self._flags.flags(channel, limit=_LISTED)
        return Reply(text=wording.flags_list(flags, channel=channel, language=language), private=True)

    def _is_heard(self, request: Request) -> bool:
        server = request.place.server
        trusted = not server or not self._servers or server in self._servers
        return request.asker.operates or (request.asker.moderates and trusted)

    async def _last_look(self, typed: str, place: Place, language: str) -> LookRecord | Reply:
        try:
            channel = self._channel(typed or place.channel or "")
        except BadReference as error:
            return self._bad_reference(error, language)
        await self._looks.all_settled()
        look = await self._flags.last_look(channel, since=self._clock() - _MEANT)
        if look is not None:
            return look
        word = self._words.word("game")
        text = wording.nothing_to_flag(channel, prefix=self._words.prefix, word=word, language=language)
        return Reply(text=text, private=True)

    def _game(self, command: Flag | FlagLook, look: LookRecord, matcher: Matcher, language: str) -> Game | Reply:
        if not command.game:
            if look.recognised is None or look.recognised.id == UNKNOWN.id:
                return self._which_game(language)
            return look.recognised
        match = matcher.match(command.game)
        if match.game is not None:
            return match.game
        if match.kind is MatchKind.UNSURE:
            return Reply(
                text=wording.did_you_mean(command.game, match.games, language=language),
                private=True,
                choices=tuple(
                    Choice(label=game.name, command=FlagLook(look=look.key, game=game.name)) for game in match.games
                ),
            )
        text = wording.game_not_known(
            command.game, prefix=self._words.prefix, word=self._words.word("games"), language=language
        )
        return Reply(text=text, private=True)

    def _which_game(self, language: str) -> Reply:
        text = wording.which_game(prefix=self._words.prefix, word=self._words.word("flag"), language=language)
        return Reply(text=text, private=True)

    def _channel(self, typed: str) -> str:
        return parse_reference(typed, url_template=self._url_template).channel

    def _bad_reference(self, error: BadReference, language: str) -> Reply:
        text = wording.bad_reference(
            error.fault, error.text, prefix=self._words.prefix, word=self._words.word("flag"), language=language
        )
        return Reply(text=text, private=True)


def _moderator(asker: Asker, place: Place, channel: str) -> Moderator:
    looks_after = place.channel == channel and asker.role in (Role.MODERATOR, Role.BROADCASTER)
    return Moderator(
        platform=asker.platform,
        id=asker.id or asker.name,
        name=asker.name,
        moderates_channel=looks_after or asker.own_channel == channel or asker.operates,
    )


def _outcome(outcome: FlagOutcome, language: str) -> str:
    flag = outcome.flag
    if outcome.now is FlagState.ACCEPTED:
        text = wording.flag_accepted(flag.id, channel=flag.channel, game=flag.game, language=language)
    elif outcome.disagreeing:
        text = wording.flag_disputed(flag.id, channel=flag.channel, game=flag.game, language=language)
    else:
        missing = max(1, outcome.needed - outcome.agreeing)
        text = wording.flag_waits(flag.id, channel=flag.channel, game=flag.game, missing=missing, language=language)
    if outcome.was is not None and outcome.was != flag.game:
        before = wording.flag_changed(flag.id, game=flag.game, before=outcome.was, language=language)
        text = f"{before} {text}"
    return text
