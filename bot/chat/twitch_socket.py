"""TwitchIO's EventSub connection, taught to leave its repair to one place and to lose nothing when it moves."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from twitchio.eventsub.websockets import Websocket
from twitchio.exceptions import TwitchioException

from core.errors import ChatProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twitchio import Client
    from twitchio.authentication.tokens import ManagedHTTPClient

_LOG = logging.getLogger(__name__)

_ADDRESS = "wss://eventsub.wss.twitch.tv/ws"

MOST_SUBSCRIPTIONS = 300
"""What Twitch takes on one connection."""


class EventSocket(Websocket):
    """One connection.

    TwitchIO's own repairs itself: it waits as long as it likes, forgets subscriptions that fail while it restores
    them, and stays away for good when a welcome does not come. This one closes instead, which its client is told, and
    :class:`bot.chat.twitch_chat.TwitchChat` opens another.
    When Twitch asks it to move, TwitchIO's own reads nothing until it has moved; here the old connection is read until
    the new one has been welcomed, and a moment longer for what is still on the way.
    """

    __slots__ = ("_address", "_opened", "_overlap_s", "_welcome_s")

    def __init__(
        self,
        *,
        client: Client,
        http: ManagedHTTPClient,
        token_for: str,
        address: str | None,
        keepalive_s: float,
        welcome_s: float,
        overlap_s: float,
        opened: Callable[[EventSocket], object],
    ) -> None:
        """Connect to nothing yet.

        Args:
            client: is told what comes in.
            http: TwitchIO's way to Helix.
            token_for: whose token reads chat.
            address: in place of Twitch's.
            keepalive_s: after how long a silent connection is given up; Twitch takes 10 to 600.
            welcome_s: in which a connection has to be opened and welcomed.
            overlap_s: for which the old connection is read after a move.
            opened: is told of this connection, and of those that it moves to, before they are opened.
        """
        super().__init__(client=client, http=http, token_for=token_for, keep_alive_timeout=keepalive_s)
        self._keep_alive_timeout = keepalive_s  # type: ignore[assignment] # it takes nothing below 10 otherwise
        self._address = address or _ADDRESS
        self._welcome_s = welcome_s
        self._overlap_s = overlap_s
        self._opened = opened

    @property
    def is_open(self) -> bool:
        """Whether something can come in."""
        return self.connected and not self._closed and self._listen_task is not None and not self._listen_task.done()

    @property
    def subscriptions(self) -> dict[str, Any]:
        """By their ids, as Twitch gave them."""
        return self._subscriptions

    async def open(self, url: str | None = None) -> None:
        """Connect, and wait for the welcome.

        Args:
            url: where Twitch wants to be connected to; its usual address by default.

        Raises:
            ChatProblem: it did not work.
        """
        self._opened(self)
        url = url or f"{self._address}?keepalive_timeout_seconds={max(int(self._keep_alive_timeout), 10)}"
        try:
            async with asyncio.timeout(self._welcome_s):
                await self.connect(url=url, fail_once=True)
        except (TwitchioException, TimeoutError, OSError) as error:
            await self.close()
            raise ChatProblem(f"Twitch's chat cannot be reached ({type(error).__name__}).") from None
        except BaseException:
            await self.close()
            raise
        if self._client is not None and self._token_for is not None and self._session_id is not None:
            self._client._websockets[self._token_for] = {self._session_id: self}

    async def close(self, cleanup: bool = True, *, reassociate: bool = True) -> None:  # noqa: FBT001, FBT002 - TwitchIO's
        """Close it, and stop moving to another one."""
        await super().close(cleanup, reassociate=reassociate)
        for task in tuple(self._connection_tasks):
            if task is not asyncio.current_task():
                task.cancel()

    # What TwitchIO calls

    async def _listen(self) -> None:
        try:
            await super()._listen()
        except Exception as error:  # noqa: BLE001 - whatever an unheard-of message does to it
            _LOG.warning("Twitch's chat sent something that makes no sense (%s).", type(error).__name__)
            await self._create_connection_task()

    async def _create_connection_task(self) -> None:
        # On its own: closing cancels the tasks that find out that it has to be closed.
        self._start(self.close())

    async def _process_reconnect(self, data: Any) -> None:  # noqa: ANN401 - TwitchIO's types of messages are private
        url = data["payload"]["session"]["reconnect_url"]
        self._start(self._move(url))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="twitch-chat-socket")
        self._connection_tasks.add(task)
        task.add_done_callback(self._connection_tasks.discard)

    async def _move(self, url: str) -> None:
        assert self._client is not None  # noqa: S101 - both were given
        assert self._token_for is not None  # noqa: S101
        successor = EventSocket(
            client=self._client,
            http=self._http,
            token_for=self._token_for,
            address=self._address,
            keepalive_s=self._keep_alive_timeout,
            welcome_s=self._welcome_s,
            overlap_s=self._overlap_s,
            opened=self._opened,
        )
        # Twitch takes the subscriptions over.
        successor._subscriptions = self._subscriptions
        try:
            await successor.open(url)
        except ChatProblem as problem:
            _LOG.warning("Moving to another connection failed: %s", problem)
        else:
            _LOG.info("Moved to the connection that Twitch asked for.")
            await asyncio.sleep(self._overlap_s)
        await self.close()
