"""Twitch's tokens: asked for at id.twitch.tv, renewed once, kept sealed, and scrubbed from every log.

TwitchIO's own handling of tokens is not used: it writes the client's secret and refresh tokens into addresses, and
with them into exceptions; it renews the same token once for every request that meets a 401; and it asks again for
ever when a token that has just been made is refused. Here secrets travel in the bodies of requests alone, TwitchIO is
never told the client's secret, and a token is renewed by one at a time, in all replicas that share a database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, TypeVar

import aiohttp
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import ChatProblem, ChatRefused, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LOG = logging.getLogger(__name__)

PLATFORM = "twitch"
TOKEN_KEY_VARIABLE = "GAMESPOTTER_TOKEN_KEY"  # noqa: S105 - the name of a variable

BOT_SCOPES = ("user:bot", "user:read:chat", "user:write:chat")
"""What the bot's own account has to grant."""

BROADCASTER_SCOPES = ("channel:bot",)
"""What a broadcaster grants who wants the bot in their chat."""

_ID = "https://id.twitch.tv"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_EXPIRES_SOON_S = 3600.0

AUTHORISE = "python -m bot authorise"


@dataclass(frozen=True, kw_only=True, slots=True)
class UserTokens:
    """What one account has granted.

    Attributes:
        user_id: Twitch's.
        login: the account's name when it granted this.
        access: what requests are made with.
        refresh: what the next access token is asked for with.
        scopes: what was granted.
        granted_at_s: when the person granted it, in seconds since 1970; renewing does not change it.
    """

    user_id: str
    login: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scopes: tuple[str, ...]
    granted_at_s: float

    @property
    def is_bot(self) -> bool:
        """Whether chat can be read with it."""
        return "user:read:chat" in self.scopes

    @property
    def is_broadcaster(self) -> bool:
        """Whether it wants the bot in its chat."""
        return "channel:bot" in self.scopes


# Where they are kept


class SealedTokens(Protocol):
    """Keeps bytes that it cannot read."""

    async def get(self, platform: str, user_id: str) -> bytes | None:
        """What is kept of a user, or None."""
        ...

    async def put(self, platform: str, user_id: str, sealed: bytes) -> None:
        """Keep this, whatever was there."""
        ...

    async def replace(self, platform: str, user_id: str, old: bytes, new: bytes) -> bool:
        """Keep ``new`` if ``old`` is what is there; says whether it was."""
        ...

    async def all(self, platform: str) -> Mapping[str, bytes]:
        """What is kept of all users, by their ids."""
        ...

    async def remove(self, platform: str, user_id: str) -> None:
        """Forget a user."""
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
        wanted = [key.strip() for key in keys if key.strip()]
        if not wanted:
            raise ChatRefused(
                f"Tokens are kept sealed, and {TOKEN_KEY_VARIABLE} is not set; "
                f"`{AUTHORISE} --new-key` makes a key to put there."
            )
        try:
            self._fernet = MultiFernet([Fernet(key) for key in wanted])
        except ValueError:
            raise ChatRefused(
                f"{TOKEN_KEY_VARIABLE} holds something that is no key; `{AUTHORISE} --new-key` makes one."
            ) from None

    async def tokens(self, user_id: str) -> UserTokens | None:
        """What is kept of a user.

        Raises:
            ChatRefused: it was sealed with another key.
        """
        sealed = await self._store.get(PLATFORM, user_id)
        return self._opened(sealed) if sealed is not None else None

    async def all(self) -> tuple[UserTokens, ...]:
        """What is kept of all users, first granted first.

        Raises:
            ChatRefused: something was sealed with another key.
        """
        found = [self._opened(sealed) for sealed in (await self._store.all(PLATFORM)).values()]
        return tuple(sorted(found, key=lambda tokens: tokens.granted_at_s))

    async def keep(self, tokens: UserTokens) -> None:
        """Keep what a person has just granted, in place of what was there."""
        await self._store.put(PLATFORM, tokens.user_id, self._sealed(tokens))

    async def renew(self, old: UserTokens, new: UserTokens) -> UserTokens:
        """Keep ``new`` if ``old`` is still what is there.

        Returns:
            What is there now: of two replicas that renewed at the same time, both get what one of them wrote.

        Raises:
            ChatRefused: what is there was sealed with another key.
        """
        sealed = await self._store.get(PLATFORM, old.user_id)
        if sealed is None:
            # Withdrawn meanwhile, by whoever runs the bot: it must not come back by itself.
            return new
        kept = self._opened(sealed)
        if kept.refresh != old.refresh or kept.access != old.access:
            return kept
        if await self._store.replace(PLATFORM, old.user_id, sealed, self._sealed(new)):
            return new
        return await self.tokens(old.user_id) or new

    async def forget(self, user_id: str) -> None:
        """Keep nothing of a user any more."""
        await self._store.remove(PLATFORM, user_id)

    async def reseal(self) -> int:
        """Seal everything with the first key; says how much was sealed with another one.

        Raises:
            ChatRefused: something was sealed with a key that is not here.
        """
        resealed = 0
        for user_id, sealed in (await self._store.all(PLATFORM)).items():
            tokens = self._opened(sealed)
            if self._is_sealed_with_first(sealed):
                continue
            resealed += await self._store.replace(PLATFORM, user_id, sealed, self._sealed(tokens))
        return resealed

    def _is_sealed_with_first(self, sealed: bytes) -> bool:
        first = MultiFernet(self._fernet._fernets[:1])
        with contextlib.suppress(InvalidToken):
            first.decrypt(sealed)
            return True
        return False

    def _sealed(self, tokens: UserTokens) -> bytes:
        kept = {name: getattr(tokens, name) for name in UserTokens.__slots__}
        return self._fernet.encrypt(json.dumps(kept).encode())

    def _opened(self, sealed: bytes) -> UserTokens:
        try:
            kept = json.loads(self._fernet.decrypt(sealed))
            return UserTokens(**{**kept, "scopes": tuple(kept["scopes"])})
        except InvalidToken:
            raise ChatRefused(
                f"The tokens in the database were sealed with another key than {TOKEN_KEY_VARIABLE}."
            ) from None
        except (ValueError, TypeError, KeyError):
            raise ChatRefused(f"The tokens in the database make no sense; `{AUTHORISE}` writes them anew.") from None


# Where they come from


class RefreshRefused(ChatRefused):
    """A refresh token is not accepted (any more)."""


class DeviceRefused(ChatRefused):
    """The person said no, or the code ran out."""


class StillWaiting(ChatProblem):
    """The person has not said anything yet.

    Attributes:
        slower: Twitch wants to be asked less often.
    """

    def __init__(self, *, slower: bool) -> None:
        super().__init__("Nobody has granted it yet.")
        self.slower = slower


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """Whose an access token is.

    Attributes:
        expires_s: seconds that it is still good for.
    """

    user_id: str
    login: str
    scopes: tuple[str, ...]
    expires_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceCode:
    """What a person needs to grant something (RFC 8628).

    Attributes:
        user_code: what the page asks for, if it does not know already.
        address: of the page.
        device_code: what we ask with.
        interval_s: between two questions.
        expires_s: in how many seconds it is too late.
    """

    user_code: str
    address: str
    device_code: str = field(repr=False)
    interval_s: float
    expires_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IdPatience:
    """How patient one is with id.twitch.tv.

    Attributes:
        request_s: for one request and its answer.
        attempts: of one request.
        first_wait_s: between the first two, at most; it doubles from there.
        longest_wait_s: between any two.
    """

    request_s: float = 10.0
    attempts: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0


class TwitchId:
    """Asks id.twitch.tv for tokens."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        client_id: str,
        client_secret: str,
        id_url: str | None = None,
        patience: IdPatience | None = None,
    ) -> None:
        """Hold the credentials; nothing is asked yet.

        Args:
            session: what requests are made with.
            client_id: of the application.
            client_secret: of the application; it is sent in the bodies of requests and appears nowhere else.
            id_url: origin in place of ``https://id.twitch.tv``.
            patience: how long to wait and how often to ask.
        """
        self._session = session
        self._client_id = client_id
        self._client_secret = client_secret
        self._url = (id_url or _ID).rstrip("/")
        self._patience = patience if patience is not None else IdPatience()

    async def app_token(self) -> str:
        """A new app access token: the client credentials grant (RFC 6749 section 4.4).

        Raises:
            ChatRefused: the client id or its secret is not accepted.
            ChatProblem: there was none to be had.
        """
        status, body = await self._post(
            "token", {"client_secret": self._client_secret, "grant_type": "client_credentials"}
        )
        if status != 200:
            raise ChatRefused(f"Twitch does not accept the client id or its secret (status {status}).")
        return _read(_AppAnswer, body).access_token

    async def refreshed(self, tokens: UserTokens) -> UserTokens:
        """The same grant with a new access token.

        Raises:
            RefreshRefused: the refresh token is not accepted.
            ChatProblem: there was none to be had.
        """
        form = {
            "client_secret": self._client_secret,
            "grant_type": "refresh_token",
            "refresh_token": tokens.refresh,
        }
        status, body = await self._post("token", form)
        if status != 200:
            raise RefreshRefused(f"Twitch does not accept the refresh token of {tokens.login} (status {status}).")
        answer = _read(_UserAnswer, body)
        return UserTokens(
            user_id=tokens.user_id,
            login=tokens.login,
            access=answer.access_token,
            refresh=answer.refresh_token or tokens.refresh,
            scopes=answer.scope or tokens.scopes,
            granted_at_s=tokens.granted_at_s,
        )

    async def owner(self, access: str) -> Owner | None:
        """Whose a token is; None when it is not good any more.

        Raises:
            ChatProblem: that could not be learned.
        """
        status, body = await self._ask("GET", "validate", headers={"Authorization": f"OAuth {access}"})
        if status != 200:
            return None
        answer = _read(_OwnerAnswer, body)
        return Owner(
            user_id=answer.user_id, login=answer.login, scopes=tuple(answer.scopes), expires_s=answer.expires_in
        )

    async def device_code(self, scopes: Sequence[str]) -> DeviceCode:
        """Begin the device code grant.

        Raises:
            ChatRefused: the client id is not accepted, or the application must not do that.
            ChatProblem: there was none to be had.
        """
        status, body = await self._post("device", {"scopes": " ".join(scopes)})
        if status != 200:
            raise ChatRefused(f"Twitch lets this client id ask nobody for anything (status {status}).")
        answer = _read(_DeviceAnswer, body)
        return DeviceCode(
            user_code=answer.user_code,
            address=answer.verification_uri,
            device_code=answer.device_code,
            interval_s=answer.interval,
            expires_s=answer.expires_in,
        )

    async def device_tokens(self, code: DeviceCode, scopes: Sequence[str], *, now_s: float) -> UserTokens:
        """Ask once whether the person has granted it.

        Raises:
            StillWaiting: not yet.
            DeviceRefused: never with this code.
            ChatProblem: there was no answer.
        """
        form = {"scopes": " ".join(scopes), "device_code": code.device_code, "grant_type": _DEVICE_GRANT}
        status, body = await self._post("token", form)
        if status != 200:
            raise _judged_device(body)
        answer = _read(_UserAnswer, body)
        owner = await self.owner(answer.access_token)
        if owner is None or answer.refresh_token is None:
            raise ChatProblem("Twitch gave a token that it does not know itself.")
        return UserTokens(
            user_id=owner.user_id,
            login=owner.login,
            access=answer.access_token,
            refresh=answer.refresh_token,
            scopes=owner.scopes,
            granted_at_s=now_s,
        )

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        return await self._ask("POST", path, form={"client_id": self._client_id, **form})

    async def _ask(
        self, method: str, path: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Ask until there is an answer that means something: 200, or 400 to 403.

        Raises:
            ChatProblem: there is none, however often one asks.
        """
        patience = self._patience
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_MayPass),
            stop=stop_after_attempt(patience.attempts),
            wait=wait_random_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s),
            reraise=True,
        )
        try:
            return await retrying(self._attempt, method, path, form, headers)
        except _MayPass as passing:
            raise ChatProblem(f"Twitch gives out no tokens just now: {passing}") from None

    async def _attempt(
        self, method: str, path: str, form: Mapping[str, str] | None, headers: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        problem: Exception
        try:
            async with self._session.request(
                method,
                f"{self._url}/oauth2/{path}",
                data=form,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._patience.request_s),
            ) as response:
                if response.status in (200, 400, 401, 403):
                    return response.status, await response.read()
                problem = _MayPass(f"it answers with status {response.status}.")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = _MayPass(f"the request failed ({type(error).__name__}).")
        # Outside the handler: what aiohttp says of a failed request does not travel on as a context.
        raise problem


class _MayPass(Exception):
    """There was no usable answer this time."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


_Token = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", repr=False)]


class _AppAnswer(_Answer):
    access_token: _Token


class _UserAnswer(_Answer):
    access_token: _Token
    refresh_token: _Token | None = None
    scope: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()


class _OwnerAnswer(_Answer):
    user_id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
    login: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,25}$")]
    scopes: list[str] = []
    expires_in: float


class _DeviceAnswer(_Answer):
    device_code: _Token
    user_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,40}$")]
    verification_uri: Annotated[str, Field(pattern=r"^https?://[\x21-\x7e]+$")]
    expires_in: Annotated[float, Field(gt=0)]
    interval: Annotated[float, Field(ge=0)] = 5.0


class _Message(_Answer):
    message: str = ""


_A = TypeVar("_A", bound=_Answer)


def _read(kind: type[_A], body: bytes) -> _A:
    with contextlib.suppress(ValidationError):
        return kind.model_validate_json(body)
    raise ChatProblem("Twitch's answer to a question for tokens has another shape.")


def _judged_device(body: bytes) -> ChatProblem:
    said = ""
    with contextlib.suppress(ValidationError):
        said = _Message.model_validate_json(body).message.casefold().replace("_", " ")
    if "pending" in said or "slow down" in said:
        return StillWaiting(slower="slow down" in said)
    if "denied" in said:
        return DeviceRefused("It was not granted.")
    return DeviceRefused("The code is not good any more.")


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
        return max(able, key=lambda tokens: tokens.granted_at_s, default=None)

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


# What no log may show


class Scrubber(logging.Filter):
    """Takes secrets out of log records: those it was told, and whatever stands where one usually stands."""

    _PLACES: ClassVar[re.Pattern[str]] = re.compile(
        r"""((?:client_secret|refresh_token|access_token|device_code)["']?\s*[=:]\s*["']?|\b(?:Bearer|OAuth)\s+)"""
        r"""([A-Za-z0-9._~+/%-]{6,}=*)"""
    )
    _MOST = 10_000

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know these secrets."""
        super().__init__()
        self._secrets: dict[str, None] = {}
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Know these secrets, too."""
        for secret in secrets:
            if len(secret) >= 6:
                self._secrets[secret] = None
        while len(self._secrets) > self._MOST:
            # The first is the client's own secret.
            del self._secrets[next(name for name in list(self._secrets)[1:])]

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its secrets."""
        message = record.getMessage()
        clean = self.scrubbed(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            # A handler uses the text when it is there.
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.scrubbed(record.exc_text)
        return True

    def scrubbed(self, text: str) -> str:
        """A text without secrets."""
        text = self._PLACES.sub(r"\1***", text)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    @contextlib.contextmanager
    def on_every_handler(self) -> Iterator[None]:
        """Scrub what the root logger's handlers write; a logger's own filters do not see records of others."""
        handlers = tuple(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(self)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self)


def keys_of(value: str | None) -> tuple[str, ...]:
    """The keys in an environment variable: parted by commas or blanks, the one that seals first."""
    return tuple(re.split(r"[,\s]+", value.strip())) if value and value.strip() else ()
