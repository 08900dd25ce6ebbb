"""Twitch's chat over TwitchIO: EventSub tells what people write, Helix says what we answer.

Who does what: TwitchIO connects, decodes events and sends requests. What it leaves open is here: one loop compares the
subscriptions that Twitch says are live with those that are wanted, and mends what is missing, after every event that
breaks some and on a timer, because events get lost, too. Tokens are those of :mod:`bot.chat.twitch_tokens`, messages go
out through :mod:`bot.chat.twitch_outbox`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import aiohttp
import twitchio
from cachetools import TTLCache
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import AsyncRetrying, retry_if_exception, stop_never, wait_random_exponential
from twitchio.authentication.tokens import ManagedHTTPClient
from twitchio.eventsub import ChatMessageSubscription
from twitchio.exceptions import HTTPException, MessageRejectedError
from twitchio.http import HTTPClient, Route

from bot.chat.scrubbing import Scrubber
from bot.chat.sharing import Alone
from bot.chat.twitch_id import TwitchId
from bot.chat.twitch_outbox import LONGEST_LINE, NotSaid, Outbox, Pace, Tally, account_window
from bot.chat.twitch_socket import MOST_SUBSCRIPTIONS, EventSocket
from bot.chat.twitch_tokens import AUTHORISE, PLATFORM, TokenKeeper
from bot.commands.request import Asker, Place, Request, Role
from bot.commands.wording import single_line
from core.errors import ChatProblem, ChatRefused, GameSpotterError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tenacity import RetryCallState

    from bot.chat.platform import Handle
    from bot.chat.sharing import Sharing
    from bot.chat.twitch_id import IdPatience, UserTokens
    from bot.chat.twitch_tokens import TokenVault
    from bot.commands.request import Command, Reply

_LOG = logging.getLogger(__name__)

Read: TypeAlias = "Callable[[str], Command | None]"
"""A line of chat to a command, if it is one."""

_HELIX = "https://api.twitch.tv"
_CHAT_MESSAGE = "channel.chat.message"
_BATCH = 100
_CONNECTIONS = 3
"""That Twitch lets one account read chats over."""
_LOGIN = re.compile(r"[a-z0-9_]{1,25}")
_TOKEN_FAULTS = frozenset({"invalid access token", "invalid oauth token", "oauth token is missing"})
_MODERATOR_BADGES = frozenset({"moderator", "lead_moderator"})
_BOT_BADGES = frozenset({"bot-badge"})
"""What Twitch shows beside those who write as an application."""

KNOWN_BOTS = frozenset(
    {
        "botrixoficial",
        "fossabot",
        "moobot",
        "nightbot",
        "own3d",
        "phantombot",
        "pokemoncommunitygame",
        "sery_bot",
        "soundalerts",
        "streamelements",
        "streamlabs",
        "wizebot",
    }
)
"""Bots that many channels have, and that write as users."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TwitchPatience:
    """How patient the chat is with Twitch.

    Attributes:
        request_s: for one request and its answer.
        check_s: between two comparisons of the subscriptions with those that are wanted.
        validate_s: between two questions whether the tokens are good; Twitch wants one an hour.
        first_wait_s: before what failed is tried again, at most; it doubles from there.
        longest_wait_s: between two attempts.
        keepalive_s: after how long a silent connection is given up; Twitch takes 10 to 600.
        welcome_s: in which a connection has to be opened and welcomed.
        overlap_s: for which the old connection is read after a move.
        parallel: subscriptions that are made at the same time.
    """

    request_s: float = 10.0
    check_s: float = 60.0
    validate_s: float = 3300.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    keepalive_s: float = 10.0
    welcome_s: float = 10.0
    overlap_s: float = 2.0
    parallel: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class TwitchAddresses:
    """Origins in place of Twitch's own.

    Attributes:
        helix_url: of ``https://api.twitch.tv``.
        id_url: of ``https://id.twitch.tv``.
        eventsub_url: of ``wss://eventsub.wss.twitch.tv/ws``, whole.
    """

    helix_url: str | None = None
    id_url: str | None = None
    eventsub_url: str | None = None


class TwitchChat:
    """The channels that are set, and those of broadcasters who have asked for it."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        vault: TokenVault,
        read: Read,
        channels: Collection[str] = (),
        operators: Collection[str] = (),
        ignored: Collection[str] = KNOWN_BOTS,
        addresses: TwitchAddresses | None = None,
        sharing: Sharing | None = None,
        pace: Pace | None = None,
        patience: TwitchPatience | None = None,
        id_patience: IdPatience | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            client_id: of the application.
            client_secret: of the application.
            vault: has the tokens of the bot and of broadcasters.
            read: a line of chat to a command.
            channels: logins of channels whose moderators have let the bot in.
            operators: ids of the users whose own the bot is.
            ignored: logins of other bots, whose lines are no commands.
            addresses: for a stand-in of Twitch.
            sharing: divides the channels among processes; None where there is but this one.
            pace: how fast messages may go out.
            patience: with Twitch.
            id_patience: with Twitch where it gives out tokens.
        """
        self._client_id = client_id
        self._client_secret = client_secret
        self._vault = vault
        self._read = read
        self._channels = frozenset(login.casefold() for login in channels)
        self._operators = frozenset(operators)
        self._ignored = frozenset(login.casefold() for login in ignored)
        self._addresses = addresses if addresses is not None else TwitchAddresses()
        self._sharing: Sharing = sharing if sharing is not None else Alone()
        self._pace = pace if pace is not None else Pace()
        self._patience = patience if patience is not None else TwitchPatience()
        self._id_patience = id_patience
        self.tally = Tally()
        self._session: _Session | None = None
        # These outlive a session: what was seen before a connection broke is not answered again after it.
        self._seen: TTLCache[str, None] = TTLCache(maxsize=20_000, ttl=900)
        self._account = account_window(self._pace)
        self._outboxes: dict[str, Outbox] = {}

    @property
    def name(self) -> str:
        """Twitch's."""
        return PLATFORM

    @property
    def is_ready(self) -> bool:
        """Whether there is a connection over which chats are read, if any are to be; which, is another question."""
        return self._session is not None and (self._session.is_connected or self._session.is_idle)

    @property
    def live_subscriptions(self) -> int:
        """Channels whose chat is read just now."""
        return self._session.live if self._session is not None else 0

    @property
    def wanted_subscriptions(self) -> int:
        """Channels whose chat should be read."""
        return len(self._session.wanted) if self._session is not None else 0

    async def run(self, handle: Handle) -> None:
        """Take commands and answer them until cancelled; what Twitch fails at is tried again.

        Raises:
            ChatRefused: Twitch does not accept our credentials, or nobody has granted the bot its account.
            StorageError: the tokens cannot be read.
        """
        scrubber = Scrubber([self._client_secret])
        timeout = aiohttp.ClientTimeout(total=self._patience.request_s)
        with scrubber.on_every_handler():
            async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
                identity = TwitchId(
                    http,
                    client_id=self._client_id,
                    client_secret=self._client_secret,
                    id_url=self._addresses.id_url,
                    patience=self._id_patience,
                )
                keeper = TokenKeeper(identity, self._vault, scrubber)
                try:
                    await self._run(handle, http, keeper)
                except BaseExceptionGroup as group:
                    # One sentence goes further than a group around it.
                    if (problem := _only_problem(group)) is not None:
                        raise problem from None
                    raise
                finally:
                    self._session = None

    async def drained(self) -> None:
        """Wait until what was heard so far is answered, and said or dropped."""
        session = self._session
        while session is not None and session.answering:
            await asyncio.wait(session.answering)

    async def announce(self, place: Place, reply: Reply) -> bool:
        """Say it in the channel, when it is its turn."""
        session = self._session
        if session is None or place.platform != PLATFORM or reply.is_silent or not session.knows(place.id):
            return False
        return await session.outbox(place.id, place.channel or place.id).put(one_line(reply.text))

    async def _run(self, handle: Handle, http: aiohttp.ClientSession, keeper: TokenKeeper) -> None:
        bot = await self._retrying(self._granted, keeper)
        async with asyncio.TaskGroup() as group:
            session = _Session(self, handle=handle, group=group, http=http, keeper=keeper, bot=bot)
            self._session = session
            self._outboxes.clear()
            following = group.create_task(session.follow(), name="twitch-chat-sharing")
            try:
                await session.stay()
            finally:
                following.cancel()
                await session.close()

    async def _granted(self, keeper: TokenKeeper) -> UserTokens:
        await self._vault.reseal()
        await keeper.load()
        bot = keeper.bot
        if bot is None:
            raise ChatRefused(f"No Twitch account has been granted to the bot; run `{AUTHORISE}`.")
        await keeper.app_token()
        await keeper.check()
        return bot

    async def _retrying(self, step: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401 - whatever the step returns
        """Do a step until it works; only credentials that will not work end it."""

        def log(state: RetryCallState) -> None:
            said = state.outcome.exception() if state.outcome is not None else None
            wait_s = state.next_action.sleep if state.next_action is not None else 0.0
            _LOG.warning("%s Trying again in %.1f s.", said, wait_s)

        patience = self._patience
        return await AsyncRetrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, ChatProblem) and not isinstance(error, ChatRefused)
            ),
            stop=stop_never,
            wait=wait_random_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s),
            before_sleep=log,
        )(step, *args)


class _Session:
    """What lives from the first connection to the end: a client, its connection, and what is being answered."""

    def __init__(
        self,
        chat: TwitchChat,
        *,
        handle: Handle,
        group: asyncio.TaskGroup,
        http: aiohttp.ClientSession,
        keeper: TokenKeeper,
        bot: UserTokens,
    ) -> None:
        self._chat = chat
        self._handle = handle
        self._group = group
        self._keeper = keeper
        self._bot = bot
        self._client = _Client(self, chat._client_id, bot.user_id)
        self._http = _Http(http, chat._client_id, keeper, chat._addresses.helix_url)
        self._client._http = self._http
        self.sockets: set[EventSocket] = set()
        self.answering: set[asyncio.Task[None]] = set()
        self.wanted: dict[str, str] = {}
        self._known: dict[str, str] | None = None
        self._ids: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._as_user: set[str] = set()
        self._look = asyncio.Event()
        self._warned_at = 0
        self._closing = False

    # The loop that keeps the subscriptions up

    @property
    def live(self) -> int:
        return len(self._live_channels())

    @property
    def is_connected(self) -> bool:
        return self._current_socket() is not None

    @property
    def is_idle(self) -> bool:
        """Whether all channels are other processes' to read."""
        return bool(self._known) and not self.wanted

    def knows(self, channel_id: str) -> bool:
        """Whether the bot is in a channel, here or in another process."""
        return channel_id in self._live_channels() or channel_id in (self._known or {}).keys() - self.wanted.keys()

    def _live_channels(self) -> set[str]:
        socket = self._current_socket()
        if socket is None:
            return set()
        return {sub["condition"]["broadcaster_user_id"] for sub in socket.subscriptions.values()}

    def _current_socket(self) -> EventSocket | None:
        """The connection: after a move the one that it moved to."""
        for socket in self._client._websockets.get(self._bot.user_id, {}).values():
            if isinstance(socket, EventSocket) and socket.is_open:
                return socket
        return None

    async def stay(self) -> None:
        patience = self._chat._patience
        loop = asyncio.get_running_loop()
        # Without the client's secret: it asks for no token itself.
        await self._client.login(token=await self._keeper.app_token(), load_tokens=True, save_tokens=False)
        validated_s = loop.time()
        while True:
            self._look.clear()
            await self._chat._retrying(self._mend)
            self._note_live()
            if loop.time() - validated_s >= patience.validate_s:
                await self._chat._retrying(self._keeper.check)
                validated_s = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience.check_s):
                    await self._look.wait()

    async def _mend(self) -> None:
        """Make what is subscribed to what is wanted.

        Raises:
            ChatRefused: it never will be.
            ChatProblem: some of it is missing, and may be had when it is tried again.
        """
        try:
            await self._keeper.load()
        except StorageError as error:
            _LOG.warning("New grants are not seen just now: %s", error)
        await self._learn_wanted()
        socket = self._current_socket()
        if socket is None:
            if self.is_idle:
                return
            socket = self._new_socket()
            await socket.open()
        else:
            await self._compare(socket)
        missing = [id_ for id_ in self.wanted if id_ not in self._live_channels()]
        if missing:
            await self._subscribe_all(socket, missing[:MOST_SUBSCRIPTIONS])
        for id_, subscription in tuple(socket.subscriptions.items()):
            if self._chat._sharing.is_shared and subscription["condition"]["broadcaster_user_id"] not in self.wanted:
                await self._unsubscribe(socket, id_)
        if self.is_idle:
            # Twitch lets few connections be.
            await socket.close()

    async def follow(self) -> None:
        """Mend the subscriptions whenever other channels are this process's to read, until cancelled."""
        sharing, pace, since = self._chat._sharing, self._chat._pace, 0
        while True:
            since = await sharing.changed(since)
            # What all processes say counts together.
            self._chat._account.change({pace.account_window_s: max(1, pace.account // sharing.count)})
            if self._known is not None and self._mine(self._known) != self.wanted:
                self._look.set()

    def _mine(self, channels: dict[str, str]) -> dict[str, str]:
        names = {_shared_name(id_): id_ for id_ in channels}
        mine = self._chat._sharing.mine(names, among=_CONNECTIONS)
        return {id_: channels[id_] for name, id_ in names.items() if name in mine}

    def _new_socket(self) -> EventSocket:
        patience = self._chat._patience
        return EventSocket(
            client=self._client,
            http=self._http,
            token_for=self._bot.user_id,
            address=self._chat._addresses.eventsub_url,
            keepalive_s=patience.keepalive_s,
            welcome_s=patience.welcome_s,
            overlap_s=patience.overlap_s,
            opened=self.sockets.add,
        )

    async def _learn_wanted(self) -> None:
        granted = {tokens.user_id: tokens.login for tokens in self._keeper.broadcasters}
        unknown = [login for login in self._chat._channels if login not in self._ids and _LOGIN.fullmatch(login)]
        for start in range(0, len(unknown), _BATCH):
            batch = unknown[start : start + _BATCH]
            rows = await self._asked("users", _UserRow, params={"login": batch})
            self._ids |= {row.login: row.id for row in rows}
            for login in batch:
                if login not in self._ids:
                    self._refuse(login, f"There is no channel {login} on Twitch.")
        named = {self._ids[login]: login for login in self._chat._channels if login in self._ids}
        self._known = {**granted, **named}
        self.wanted = self._mine(self._known)
        if len(self.wanted) > MOST_SUBSCRIPTIONS:
            self._refuse("", f"Twitch lets a bot read {MOST_SUBSCRIPTIONS} channels; the rest are left out.")

    async def _compare(self, socket: EventSocket) -> None:
        """Forget subscriptions that Twitch does not know to be live on this connection."""
        rows = await self._asked(
            "eventsub/subscriptions", _SubscriptionRow, params={"type": _CHAT_MESSAGE}, token_for=self._bot.user_id
        )
        live = {row.id for row in rows if row.status == "enabled" and row.transport.session_id == socket.session_id}
        for id_ in tuple(socket.subscriptions):
            if id_ not in live:
                socket.subscriptions.pop(id_, None)

    async def _subscribe_all(self, socket: EventSocket, missing: list[str]) -> None:
        slots = asyncio.Semaphore(self._chat._patience.parallel)
        problems: list[ChatProblem] = []

        async def subscribe(channel_id: str) -> None:
            async with slots:
                try:
                    await self._subscribe(socket, channel_id)
                except ChatProblem as problem:
                    problems.append(problem)

        async with asyncio.TaskGroup() as group:
            for channel_id in missing:
                group.create_task(subscribe(channel_id))
        problems.sort(key=lambda problem: not isinstance(problem, ChatRefused))
        if problems:
            raise problems[0]

    async def _subscribe(self, socket: EventSocket, channel_id: str) -> None:
        login = self.wanted.get(channel_id, channel_id)
        wanted = ChatMessageSubscription(broadcaster_user_id=channel_id, user_id=self._bot.user_id)
        try:
            await self._client.subscribe_websocket(wanted, token_for=self._bot.user_id, socket_id=socket.session_id)
        except HTTPException as error:
            if error.status in (400, 403, 404):
                self._refuse(channel_id, f"Twitch does not let the bot read the chat of {login}: {_said(error)}")
                return
            raise _passing(f"The chat of {login} cannot be read just now", error.status) from None
        except (KeyError, ValueError):
            raise ChatProblem("The connection to Twitch's chat is gone again.") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ChatProblem(f"The chat of {login} cannot be read just now ({type(error).__name__}).") from None
        self._refused.pop(channel_id, None)

    async def _unsubscribe(self, socket: EventSocket, id_: str) -> None:
        try:
            await self._client.delete_eventsub_subscription(id_, token_for=self._bot.user_id)
        except HTTPException as error:
            if error.status != 404:
                raise _passing("A chat that another process reads cannot be left just now", error.status) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = f"A chat that another process reads cannot be left just now ({type(error).__name__})."
            raise ChatProblem(problem) from None
        socket.subscriptions.pop(id_, None)

    def _refuse(self, key: str, sentence: str) -> None:
        """Say once what does not work; it is tried again at the next look."""
        if self._refused.get(key) != sentence:
            self._refused[key] = sentence
            _LOG.warning("%s", sentence)

    def _note_live(self) -> None:
        channels = self._live_channels()
        self._chat._sharing.serves(PLATFORM, [_shared_name(id_) for id_ in channels])
        live = len(channels)
        if live < min(self._warned_at, len(self.wanted)):
            _LOG.warning("%d of %d channels' chats are read; it were %d.", live, len(self.wanted), self._warned_at)
        elif live != self._warned_at:
            _LOG.info("%d of %d channels' chats are read.", live, len(self.wanted))
        self._warned_at = live

    def broken(self) -> None:
        """Something is not subscribed any more."""
        if not self._closing:
            self._note_live()
            self._look.set()

    async def _asked(
        self, path: str, kind: type[_R], *, params: dict[str, Any], token_for: str | None = None
    ) -> list[_R]:
        """All rows of an answer.

        Raises:
            ChatProblem: there was no usable answer.
        """
        rows: list[_R] = []
        cursor: str | None = None
        while True:
            page = {**params, **({"after": cursor} if cursor else {})}
            route = Route("GET", path, params=page, token_for=token_for or "")
            try:
                body = await self._http.request_json(route)
                answer = _Page.model_validate(body)
                rows += [kind.model_validate(row) for row in answer.data]
            except HTTPException as error:
                raise _passing(f"Twitch does not answer {path}", error.status) from None
            except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
                raise ChatProblem(f"Twitch does not answer {path} ({type(error).__name__}).") from None
            cursor = answer.pagination.get("cursor")
            if not cursor or not answer.data:
                return rows

    async def close(self) -> None:
        self._closing = True
        for socket in tuple(self.sockets):
            await socket.close()
        await self._client.close(save_tokens=False)

    # What people write

    def heard(self, message: twitchio.ChatMessage) -> None:
        """Begin to answer a message, if it is a command."""
        if self._closing:
            return
        channel_id, author = message.broadcaster.id, message.chatter
        badges = {badge.set_id for badge in message.badges}
        if author.id == self._bot.user_id:
            if message.source_broadcaster is None:
                moderates = "broadcaster" in badges or bool(badges & _MODERATOR_BADGES)
                self.outbox(channel_id, message.broadcaster.name or channel_id).moderates(moderates)
            return
        login = (author.name or "").casefold()
        if login in self._chat._ignored or badges & _BOT_BADGES:
            return
        if message.source_broadcaster is not None and message.source_broadcaster.id != channel_id:
            # The copy of what was written in another channel of a shared chat; it is answered there.
            return
        if message.id in self._chat._seen:
            return
        self._chat._seen[message.id] = None
        command = self._chat._read(_written(message))
        if command is None:
            return
        asker = Asker(
            platform=PLATFORM,
            id=author.id,
            name=author.display_name or login,
            own_channel=login or None,
            role=self._role(author.id, badges),
        )
        place = Place(
            platform=PLATFORM,
            id=channel_id,
            name=message.broadcaster.display_name or message.broadcaster.name or "",
            channel=message.broadcaster.name,
            is_one_line=True,
        )
        task = self._group.create_task(self._answer(Request(command=command, asker=asker, place=place), message.id))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    def _role(self, user_id: str, badges: set[str]) -> Role:
        if user_id in self._chat._operators:
            return Role.OPERATOR
        if "broadcaster" in badges:
            return Role.BROADCASTER
        return Role.MODERATOR if badges & _MODERATOR_BADGES else Role.VIEWER

    async def _answer(self, request: Request, message_id: str) -> None:
        if not await self._chat._sharing.take(f"{PLATFORM}:{message_id}"):
            return
        try:
            reply = await self._handle(request)
        except Exception:  # noqa: BLE001 - one command's mistake is not the other channels'
            _LOG.exception("A command got no answer.")
            return
        if not reply.is_silent:
            outbox = self.outbox(request.place.id, request.place.channel or request.place.id)
            # The outbox says it in its turn; whoever drains waits for that, too.
            await outbox.put(one_line(reply.text), message_id)

    # What goes out

    def outbox(self, channel_id: str, login: str) -> Outbox:
        """A channel's, which works from the first time on that it is needed."""
        outboxes = self._chat._outboxes
        if channel_id not in outboxes:

            async def send(text: str, parent: str | None) -> str | None:
                return await self._send(channel_id, text, parent)

            chat = self._chat
            outboxes[channel_id] = Outbox(login, send, pace=chat._pace, account=chat._account, tally=chat.tally)
            self._group.create_task(outboxes[channel_id].work(), name=f"twitch-outbox-{login}")
        return outboxes[channel_id]

    async def _send(self, channel_id: str, text: str, parent: str | None) -> str | None:
        as_user = channel_id in self._as_user
        try:
            return await self._sent(channel_id, text, parent, as_user=as_user)
        except HTTPException as error:
            status, said = error.status, _said(error)
        if status in (401, 403) and not as_user:
            # Without the broadcaster's grant an application may not write, but the account may.
            try:
                code = await self._sent(channel_id, text, parent, as_user=True)
            except HTTPException as error:
                status, said = error.status, _said(error)
            else:
                self._as_user.add(channel_id)
                return code
        if status == 400 and parent is not None:
            # What it replies to has been deleted.
            try:
                return await self._sent(channel_id, text, None, as_user=channel_id in self._as_user)
            except HTTPException as error:
                status, said = error.status, _said(error)
        again = status == 429 or status >= 500
        raise NotSaid(f"{said} ({status}).", again=again, doubtful=status >= 500)

    async def _sent(self, channel_id: str, text: str, parent: str | None, *, as_user: bool) -> str | None:
        channel = self._client.create_partialuser(channel_id)
        try:
            sent = await channel.send_message(
                text,
                sender=self._bot.user_id,
                token_for=self._bot.user_id if as_user else None,
                reply_to_message_id=parent,
                # In a shared chat only here, where it was asked.
                source_only=None if as_user else True,
            )
        except MessageRejectedError as rejected:
            return rejected.code or "unknown"
        except aiohttp.ClientConnectorError as error:
            raise NotSaid(f"Twitch cannot be reached ({type(error).__name__}).", again=True) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # It is most likely there, and what is said twice is worse than what is not said.
            raise NotSaid(f"Twitch did not say whether it was ({type(error).__name__}).", again=False) from None
        except ChatRefused as refused:
            raise NotSaid(str(refused), again=False) from None
        except ChatProblem as problem:
            raise NotSaid(str(problem), again=True) from None
        except (KeyError, IndexError, TypeError) as error:
            raise NotSaid(f"Twitch's answer has another shape ({type(error).__name__}).", again=False) from None
        return None if sent.sent else "unknown"


class _Client(twitchio.Client):
    """TwitchIO's client, which tells the session what it hears."""

    def __init__(self, session: _Session, client_id: str, bot_id: str) -> None:
        super().__init__(client_id=client_id, bot_id=bot_id, fetch_client_user=False)
        self._told = session

    async def load_tokens(self, path: str | None = None) -> None:
        """They are in the vault, and read from there already."""

    async def save_tokens(self, path: str | None = None) -> None:
        """They were kept when they were renewed."""

    async def event_message(self, payload: twitchio.ChatMessage) -> None:
        self._told.heard(payload)

    async def event_subscription_revoked(self, payload: twitchio.SubscriptionRevoked) -> None:
        _LOG.warning("Twitch ended the reading of a chat (%s).", payload.status)
        self._told.broken()

    async def event_websocket_closed(self, payload: Any) -> None:  # noqa: ANN401 - TwitchIO keeps its type to itself
        self._told.sockets.discard(payload.socket)
        self._told.broken()


class _Http(ManagedHTTPClient):
    """TwitchIO's requests, with our tokens and to where we want them."""

    def __init__(
        self, session: aiohttp.ClientSession, client_id: str, keeper: TokenKeeper, helix_url: str | None
    ) -> None:
        super().__init__(session=session, client_id=client_id)
        self._keeper = keeper
        self._base = f"{(helix_url or _HELIX).rstrip('/')}/helix/"

    async def request(self, route: Route) -> Any:  # noqa: ANN401 - as TwitchIO has it
        """Send a request; a token that is spent is renewed once.

        Raises:
            HTTPException: Helix says no.
            ChatRefused: a token cannot be renewed.
            ChatProblem: a token cannot be renewed just now.
        """
        if route.url.startswith(Route.BASE):
            route._url = self._base + route.url.removeprefix(Route.BASE)
        # TwitchIO writes down for nobody as "None".
        user_id = route.token_for if route.token_for.isdecimal() else None
        token = self._keeper.user_token(user_id) if user_id else await self._keeper.app_token()
        route.update_headers({"Authorization": f"Bearer {token}"})
        try:
            return await HTTPClient.request(self, route)
        except HTTPException as error:
            if error.status != 401 or _said(error).casefold() not in _TOKEN_FAULTS:
                raise
        if user_id:
            token = await self._keeper.renewed_user_token(user_id, token)
        else:
            token = await self._keeper.renewed_app_token(token)
        route.update_headers({"Authorization": f"Bearer {token}"})
        return await HTTPClient.request(self, route)


def _shared_name(channel_id: str) -> str:
    return f"{PLATFORM}:{channel_id}"


# What is believed of an answer

_R = TypeVar("_R", bound=BaseModel)


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Page(_Row):
    data: list[Any]
    pagination: dict[str, Any] = {}


class _UserRow(_Row):
    id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    login: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,25}$")]


class _Transport(_Row):
    session_id: str | None = None


class _SubscriptionRow(_Row):
    id: str
    status: str
    transport: _Transport


def _said(error: HTTPException) -> str:
    """What Twitch says of a refusal; never TwitchIO's own text, which has the whole address."""
    return str(error.extra.get("message") or "no reason given")


def _passing(what: str, status: int) -> ChatProblem:
    return ChatProblem(f"{what} (status {status}).")


def _only_problem(group: BaseExceptionGroup[BaseException]) -> GameSpotterError | None:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, GameSpotterError) else None


# Lines

_INVISIBLE = "\U000e0000\u034f\u200b"
"""What chat clients append so that the same line can be said twice."""


def _written(message: twitchio.ChatMessage) -> str:
    text = message.text.strip(_INVISIBLE + " ")
    if message.reply is not None and text.startswith("@"):
        # A reply begins with the name of whom it replies to.
        text = text.partition(" ")[2].lstrip()
    return text


def one_line(text: str) -> str:
    """A reply as one line that Twitch takes, and that neither Twitch nor another bot takes for a command."""
    line = single_line(text, limit=LONGEST_LINE)
    return single_line(f"· {line}", limit=LONGEST_LINE) if line[:1] in {"/", ".", "!"} else line
