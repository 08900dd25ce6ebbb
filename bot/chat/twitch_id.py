"""id.twitch.tv: where Twitch's tokens come from.

Secrets travel in the bodies of requests alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import ChatProblem, ChatRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ID = "https://id.twitch.tv"
_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, kw_only=True, slots=True)
class UserTokens:
    """What one account has granted.

    Attributes:
        user_id: Twitch's.
        login: the account's name when it granted this.
        access: what requests are made with.
        refresh: what the next access token is asked for with.
        scopes: what was granted.
        granted_at: when the person granted it; renewing does not change it.
    """

    user_id: str
    login: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scopes: tuple[str, ...]
    granted_at: datetime

    @property
    def is_bot(self) -> bool:
        """Whether chat can be read with it."""
        return "user:read:chat" in self.scopes

    @property
    def is_broadcaster(self) -> bool:
        """Whether it wants the bot in its chat."""
        return "channel:bot" in self.scopes


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
            scopes=tokens.scopes,
            granted_at=tokens.granted_at,
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

    async def device_tokens(self, code: DeviceCode, scopes: Sequence[str]) -> UserTokens:
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
            granted_at=datetime.now(UTC),
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


_Token = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")]


class _AppAnswer(_Answer):
    access_token: _Token


class _UserAnswer(_Answer):
    access_token: _Token
    refresh_token: _Token | None = None


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
