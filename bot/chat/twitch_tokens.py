"""Twitch's tokens: renewed once and kept sealed.

TwitchIO's own handling of tokens is not used: it writes the client's secret and refresh tokens into addresses, and
with them into exceptions; it renews the same token once for every request that meets a 401; and it asks again for
ever when a token that has just been made is refused. Here TwitchIO is never told the client's secret, and a token is
renewed by one at a time, in all replicas that share a database.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bot.chat.twitch_id import RefreshRefused, UserTokens
from core.errors import ChatRefused, StorageError
from core.storage.records import StoredToken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.chat.scrubbing import Scrubber
    from bot.chat.twitch_id import TwitchId

_LOG = logging.getLogger(__name__)

PLATFORM = "twitch"
TOKEN_KEY_VARIABLE = "GAMESPOTTER_TWITCH__TOKEN_KEY"  # noqa: S105 - the name of a variable
AUTHORISE = "python -m bot authorise"

BOT_SCOPES = ("user:bot", "user:read:chat", "user:write:chat")
"""What the bot's own account has to grant."""

BROADCASTER_SCOPES = ("channel:bot",)
"""What a broadcaster grants who wants the bot in their chat."""

_EXPIRES_SOON_S = 3600.0


# Where they are kept


class SealedTokens(Protocol):
    """Keeps bytes that it cannot read; :class:`core.storage.tokens.TokenStore` is one."""

    async def get(self, platform: str, user_id: str) -> StoredToken | None:
        """What is kept of a user, or None."""
        ...

    async def all(self, platform: str) -> tuple[StoredToken, ...]:
        """What is kept of all users."""
        ...

    async def put(self, token: StoredToken) -> None:
        """Keep this, whatever was there."""
        ...

    async def replace(self, old: StoredToken, new: StoredToken) -> bool:
        """Keep ``new`` if ``old`` is what is there; says whether it was."""
        ...

    async def remove(self, old: StoredToken) -> bool:
        """Forget it if it is still what is there; says whether it was."""
        ...


def new_key() -> str:
    """A key for :class:`TokenVault`."""
    return Fernet.generate_key().decode()


class TokenVault:
    """Seals tokens before they are kept, and opens them again (Fernet: AES-128-CBC with HMAC-SHA256)."""

    def __init__(self, store: SealedTokens, keys: Sequence[str]) -> None:
        """Hold the keys; nothing is read yet.

        Args:
            store: where the sealed tokens are.
            keys: the first seals; all open, so that a new key is put in front of the old one and the old one
                removed when :meth:`reseal` has run.

        Raises:
            ChatRefused: there is no key, or one that is none.
        """
        self._store = store
        if not keys:
            raise ChatRefused(
                f"Tokens are kept sealed, and {TOKEN_KEY_VARIABLE} is not set; "
                f"`{AUTHORISE} --new-key` makes a key to put there."
            )
        try:
            fernets = [Fernet(key) for key in keys]
        except ValueError:
            raise ChatRefused(
                f"{TOKEN_KEY_VARIABLE} holds something that is no key; `{AUTHORISE} --new-key` makes one."
            ) from None
        self._first, self._any = fernets[0], MultiFernet(fernets)

    async def tokens(self, user_id: str) -> UserTokens | None:
        """What is kept of a user.

        Raises:
            ChatRefused: it was sealed with another key.
        """
        kept = await self._store.get(PLATFORM, user_id)
        return self._opened(kept) if kept is not None else None

    async def all(self) -> tuple[UserTokens, ...]:
        """What is kept of all users, first granted first.

        Raises:
            ChatRefused: something was sealed with another key.
        """
        found = [self._opened(kept) for kept in await self._store.all(PLATFORM)]
        return tuple(sorted(found, key=lambda tokens: tokens.granted_at))

    async def keep(self, tokens: UserTokens) -> None:
        """Keep what a person has just granted, in place of what was there."""
        await self._store.put(self._sealed(tokens))

    async def renew(self, old: UserTokens, new: UserTokens) -> UserTokens:
        """Keep ``new`` if ``old`` is still what is there.

        Returns:
            What is there now: of two replicas that renewed at the same time, both get what one of them wrote. If
            nothing is there any more, ``new``, which is not kept: who withdrew it does not want it back.

        Raises:
            ChatRefused: what is there was sealed with another key.
        """
        kept = await self._store.get(PLATFORM, old.user_id)
        if kept is None:
            return new
        there = self._opened(kept)
        if (there.access, there.refresh) != (old.access, old.refresh):
            return there
        if await self._store.replace(kept, self._sealed(new)):
            return new
        return await self.tokens(old.user_id) or new

    async def forget(self, user_id: str) -> bool:
        """Keep nothing of a user any more; says whether there was something."""
        kept = await self._store.get(PLATFORM, user_id)
        return kept is not None and await self._store.remove(kept)

    async def reseal(self) -> int:
        """Seal everything with the first key; says how much was sealed with another one.

        Raises:
            ChatRefused: something was sealed with a key that is not here.
        """
        resealed = 0
        for kept in await self._store.all(PLATFORM):
            tokens = self._opened(kept)
            try:
                self._first.decrypt(kept.secret)
            except InvalidToken:
                resealed += await self._store.replace(kept, self._sealed(tokens))
        return resealed

    def _sealed(self, tokens: UserTokens) -> StoredToken:
        secret = {
            "login": tokens.login,
            "access": tokens.access,
            "refresh": tokens.refresh,
            "granted_at": tokens.granted_at.isoformat(),
        }
        return StoredToken(
            platform=PLATFORM,
            user_id=tokens.user_id,
            secret=self._first.encrypt(json.dumps(secret).encode()),
            scopes=tokens.scopes,
            at=datetime.now(UTC),
        )

    def _opened(self, kept: StoredToken) -> UserTokens:
        try:
            secret = json.loads(self._any.decrypt(kept.secret))
            return UserTokens(
                user_id=kept.user_id,
                login=secret["login"],
                access=secret["access"],
                refresh=secret["refresh"],
                scopes=kept.scopes,
                granted_at=datetime.fromisoformat(secret["granted_at"]),
            )
        except InvalidToken:
            raise ChatRefused(
                f"The tokens in the database were sealed with another key than {TOKEN_KEY_VARIABLE} has."
            ) from None
        except (ValueError, TypeError, KeyError):
            raise ChatRefused(f"The tokens in the database make no sense; `{AUTHORISE}` writes them anew.") from None


# Who has them in hand


class TokenKeeper:
    """The tokens that requests are made with; each is renewed by one at a time."""

    def __init__(self, identity: TwitchId, vault: TokenVault, scrubber: Scrubber | None = None) -> None:
        """Hold nothing yet; see :meth:`load`.

        Args:
            identity: where new ones come from.
            vault: where users' ones are kept.
            scrubber: is told every token, so that none gets into a log.
        """
        self._identity = identity
        self._vault = vault
        self._scrubber = scrubber
        self._app: str | None = None
        self._users: dict[str, UserTokens] = {}
        self._unsaved: dict[str, tuple[UserTokens, UserTokens]] = {}
        self._app_lock = asyncio.Lock()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self) -> None:
        """Read what is kept; what was granted or renewed elsewhere meanwhile is taken over.

        Raises:
            ChatRefused: it cannot be opened.
            StorageError: it cannot be read.
        """
        await self._save()
        found = {tokens.user_id: tokens for tokens in await self._vault.all()}
        for user_id in self._unsaved:
            if user_id in found:
                found[user_id] = self._users[user_id]
        self._users = found
        for tokens in found.values():
            self._hide(tokens)

    @property
    def bot(self) -> UserTokens | None:
        """The account that reads chat: of several, the one that granted it last."""
        able = [tokens for tokens in self._users.values() if tokens.is_bot]
        return max(able, key=lambda tokens: tokens.granted_at, default=None)

    @property
    def broadcasters(self) -> tuple[UserTokens, ...]:
        """Who wants the bot in their chat."""
        return tuple(tokens for tokens in self._users.values() if tokens.is_broadcaster)

    async def app_token(self) -> str:
        """The app access token.

        Raises:
            ChatRefused: the client id or its secret is not accepted.
            ChatProblem: there is none to be had.
        """
        return await self.renewed_app_token(None) if self._app is None else self._app

    async def renewed_app_token(self, spent: str | None) -> str:
        """One that is not ``spent``; raises as :meth:`app_token` does."""
        async with self._app_lock:
            if self._app is None or self._app == spent:
                self._app = await self._identity.app_token()
                if self._scrubber is not None:
                    self._scrubber.hide(self._app)
            return self._app

    def user_token(self, user_id: str) -> str:
        """A user's access token.

        Raises:
            ChatRefused: the user has granted nothing.
        """
        tokens = self._users.get(user_id)
        if tokens is None:
            raise ChatRefused(f"The Twitch account {user_id} has granted nothing; run `{AUTHORISE}`.")
        return tokens.access

    async def renewed_user_token(self, user_id: str, spent: str) -> str:
        """One that is not ``spent``: from another replica, or a new one, which is kept at once.

        Raises:
            ChatRefused: the user has to grant it again.
            ChatProblem: there is none to be had.
        """
        async with self._locks[user_id]:
            known = self._users.get(user_id)
            if known is None:
                return self.user_token(user_id)
            if known.access != spent:
                return known.access
            if user_id not in self._unsaved and (kept := await self._kept(known)) is not None:
                return self._adopt(kept)
            try:
                new = await self._identity.refreshed(known)
            except RefreshRefused:
                if (kept := await self._kept(known)) is not None:
                    return self._adopt(kept)
                verb = AUTHORISE if known.is_bot else f"{AUTHORISE} --broadcaster"
                raise ChatRefused(
                    f"Twitch does not accept the authorisation of {known.login} any more; run `{verb}` again."
                ) from None
            self._adopt(new)
            self._unsaved[user_id] = (self._unsaved[user_id][0] if user_id in self._unsaved else known, new)
            await self._save()
            return self._users[user_id].access

    async def check(self) -> None:
        """Ask Twitch whether the users' tokens are good, as it wants it every hour, and renew those that are not.

        A broadcaster's grant that cannot be renewed is logged and left out from now on.

        Raises:
            ChatRefused: the bot's own cannot be renewed.
            ChatProblem: Twitch gives no answer.
        """
        bot = self.bot
        for tokens in tuple(self._users.values()):
            try:
                owner = await self._identity.owner(tokens.access)
                if owner is None or owner.expires_s < _EXPIRES_SOON_S:
                    await self.renewed_user_token(tokens.user_id, tokens.access)
            except ChatRefused as refused:
                if bot is not None and tokens.user_id == bot.user_id:
                    raise
                _LOG.warning("%s", refused)
                self._users.pop(tokens.user_id, None)

    async def _kept(self, known: UserTokens) -> UserTokens | None:
        """What another replica has kept since, if it has."""
        try:
            kept = await self._vault.tokens(known.user_id)
        except StorageError as error:
            _LOG.warning("Tokens are renewed without the database: %s", error)
            return None
        return kept if kept is not None and kept.access != known.access else None

    async def _save(self) -> None:
        for user_id, (old, new) in tuple(self._unsaved.items()):
            try:
                self._adopt(await self._vault.renew(old, new))
            except StorageError as error:
                # The only good refresh token may be the one in memory: it is tried again at every look.
                _LOG.error("The renewed tokens of %s could not be kept: %s", new.login, error)
            else:
                del self._unsaved[user_id]

    def _adopt(self, tokens: UserTokens) -> str:
        self._hide(tokens)
        self._users[tokens.user_id] = tokens
        return tokens.access

    def _hide(self, tokens: UserTokens) -> None:
        if self._scrubber is not None:
            self._scrubber.hide(tokens.access, tokens.refresh)
