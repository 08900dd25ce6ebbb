"""What tests of the Twitch chat share: a store in memory, patience in fractions of seconds, a chat that runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from datetime import UTC, datetime

from bot.chat.twitch_chat import TwitchAddresses, TwitchChat, TwitchPatience
from bot.chat.twitch_id import IdPatience, UserTokens
from bot.chat.twitch_outbox import Pace
from bot.chat.twitch_tokens import TokenVault, new_key
from bot.commands.parser import CommandWords, parse_command
from bot.commands.request import Reply
from core.errors import ChatRefused
from demo.helix import CLIENT_ID, CLIENT_SECRET, broadcaster_id
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES

KEY = new_key()
QUICK = TwitchPatience(
    request_s=2.0,
    check_s=0.3,
    first_wait_s=0.02,
    longest_wait_s=0.1,
    welcome_s=0.5,
    overlap_s=0.2,
)
QUICK_ID = IdPatience(request_s=2.0, attempts=3, first_wait_s=0.01, longest_wait_s=0.05)
QUICK_PACE = Pace(gap_s=0.02, window_s=0.6, longest_wait_s=3.0, same_text_s=0.6, again_s=(0.02, 0.1))
"""Twitch's limits with seconds that are 50 times shorter."""
SECOND_S = 0.02


class MemoryTokens:
    """Keeps sealed tokens as :class:`core.storage.tokens.TokenStore` does."""

    def __init__(self):
        self.kept = {}

    async def get(self, platform, user_id):
        return self.kept.get((platform, user_id))

    async def all(self, platform):
        return tuple(token for (there, _), token in sorted(self.kept.items()) if there == platform)

    async def put(self, token):
        self.kept[token.platform, token.user_id] = token

    async def replace(self, old, new):
        if self.kept.get((old.platform, old.user_id)) != old:
            return False
        self.kept[new.platform, new.user_id] = new
        return True

    async def remove(self, old):
        if self.kept.get((old.platform, old.user_id)) != old:
            return False
        del self.kept[old.platform, old.user_id]
        return True


def tokens_of(grant, *, granted_at=datetime(2026, 1, 1, tzinfo=UTC)):
    return UserTokens(
        user_id=broadcaster_id(grant.login),
        login=grant.login,
        access=grant.access,
        refresh=grant.refresh,
        scopes=tuple(grant.scopes),
        granted_at=granted_at,
    )


class Bench:
    """A chat against a stand-in, with a handle that remembers what it was asked."""

    def __init__(self, twitch, **kwargs):
        self.twitch = twitch
        self.store = MemoryTokens()
        self.vault = TokenVault(self.store, [KEY])
        self.asked = []
        self.kwargs = kwargs
        self.answer = lambda request: Reply(text=f"Seen: {request.command.channel or 'here'} for {request.asker.name}")
        self.chat = self.new_chat()

    def new_chat(self, **kwargs):
        wanted = {"pace": QUICK_PACE, "patience": QUICK, "id_patience": QUICK_ID, **self.kwargs, **kwargs}
        return TwitchChat(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            vault=self.vault,
            read=functools.partial(parse_command, words=CommandWords()),
            addresses=TwitchAddresses(
                helix_url=self.twitch.url, id_url=self.twitch.url, eventsub_url=self.twitch.ws_url
            ),
            **wanted,
        )

    async def handle(self, request):
        self.asked.append(request)
        reply = self.answer(request)
        return await reply if asyncio.iscoroutine(reply) else reply

    async def granted(self):
        await self.vault.keep(tokens_of(self.twitch.grant(BOT, BOT_SCOPES)))

    @contextlib.asynccontextmanager
    async def running(self, chat=None, *, live=None):
        chat = chat or self.chat
        task = asyncio.create_task(chat.run(self.handle))
        try:
            wanted = live if live is not None else len(self.kwargs.get("channels", ()))
            await until(lambda: chat.live_subscriptions >= wanted or task.done())
            if task.done():
                await task
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ChatRefused):
                await task


async def until(happened, timeout_s=4.0):
    async with asyncio.timeout(timeout_s):
        while not happened():
            await asyncio.sleep(0.005)
