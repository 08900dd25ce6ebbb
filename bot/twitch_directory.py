"""Twitch's directory: Helix over TwitchIO's HTTP layer, with an app access token.

TwitchIO sends a request, decodes the answer and asks again after a 503, as Twitch wants it. What it leaves open is
here: where to, how often and how fast, and how much of an answer to believe. Its client's methods are not used: they
raise in the middle of a page at a row that lacks a key, and its token handling renews for ever and writes the
client's secret into addresses and with them into exceptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias, TypeVar

import aiohttp
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from twitchio.exceptions import HTTPException
from twitchio.http import HTTPClient, Route

from core.collection.directory import Category, Channel, LiveStream
from core.errors import DirectoryProblem, DirectoryRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from types import SimpleNamespace, TracebackType
    from typing import Self

    from tenacity import RetryCallState

_LOG = logging.getLogger(__name__)

_HELIX = "https://api.twitch.tv"
_ID = "https://id.twitch.tv"

_BATCH = 100
"""Rows of a page, and names of a look-up, at most."""

_MINUTE_S = 60.0

_IDENTIFIER = re.compile(r"[0-9]{1,20}")
_LOGIN = re.compile(r"[a-z0-9_]{1,25}")

Params: TypeAlias = "dict[str, str | int | list[str]]"


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectoryLimits:
    """How patient the directory is.

    Attributes:
        request_s: for one request and its answer.
        call_s: for one call of a method, with all its pages and repetitions. Longer than Twitch's minute, after
            which spent points are back.
        attempts: of one request.
        first_wait_s: between the first two, at most; it doubles from there.
        longest_wait_s: between any two, but for what Twitch itself asks for.
        parallel: requests on the way at any time.
    """

    request_s: float = 10.0
    call_s: float = 150.0
    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0
    parallel: int = 8


class TwitchDirectory:
    """Asks Helix what is live; an async context manager."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        helix_url: str | None = None,
        id_url: str | None = None,
        limits: DirectoryLimits | None = None,
    ) -> None:
        """Keep the credentials; nothing is opened yet.

        Args:
            client_id: of the application.
            client_secret: of the application; it is sent to ``id_url`` in the body of a request and appears nowhere
                else.
            helix_url: origin in place of ``https://api.twitch.tv``.
            id_url: origin in place of ``https://id.twitch.tv``.
            limits: how patient to be.
        """
        self._client_id = client_id
        self._client_secret = client_secret
        self._id_url = (id_url or _ID).rstrip("/")
        self._limits = limits if limits is not None else DirectoryLimits()
        self._slots = asyncio.Semaphore(self._limits.parallel)
        self._points = _Points()
        self._token: str | None = None
        self._renewing = asyncio.Lock()
        self._opened = contextlib.AsyncExitStack()

        class Elsewhere(Route):
            """TwitchIO's Route takes its address from a class attribute; a class of one's own has its own.

            So nothing of TwitchIO is changed, two directories can be led to different places, and nothing is left
            to be undone.
            """

            BASE: ClassVar[str] = f"{(helix_url or _HELIX).rstrip('/')}/helix/"

        self._route: type[Route] = Elsewhere

    async def __aenter__(self) -> Self:
        """Open the connection pool; Twitch is asked for a token when the first question needs one."""
        # TwitchIO shows nobody an answer's headers, so that the session has to tell what is left of the points.
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._heard)
        self._session = await self._opened.enter_async_context(
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._limits.request_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[trace],
            )
        )
        self._http = HTTPClient(self._session, client_id=self._client_id)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    # What is asked

    async def top_categories(self, *, limit: int) -> Sequence[Category]:
        """The most watched categories, most watched first, ``limit`` of them or as many as there are.

        What came in before a page failed for good is returned.

        Raises:
            DirectoryProblem: nothing came in.
        """
        return await self._listed("games/top", {}, _GameRow, _GameRow.entry, limit)

    async def live_streams(self, category_id: str, *, limit: int) -> Sequence[LiveStream]:
        """Live streams of a category, most watched first, ``limit`` of them or as many as there are.

        What came in before a page failed for good is returned.

        Raises:
            DirectoryProblem: nothing came in.
        """
        if not _IDENTIFIER.fullmatch(category_id):
            return ()
        return await self._listed("streams", {"game_id": category_id}, _StreamRow, _StreamRow.entry, limit)

    async def categories(self, category_ids: Collection[str]) -> Mapping[str, Category]:
        """Look names up in batches; ids that Twitch does not know are left out.

        Raises:
            DirectoryProblem: a batch got no answer; who is missing would seem to be unknown otherwise.
        """
        found: dict[str, Category] = {}
        async with self._hurry("games"):
            for batch in _batches(category_ids, _IDENTIFIER):
                _, rows = await self._ask("games", {"id": batch}, _GameRow)
                found |= [row.entry() for row in rows]
        return found

    async def channels(self, logins: Collection[str]) -> Mapping[str, Channel]:
        """Look channels and what they declare up by login, in batches; logins nobody has are left out.

        Args:
            logins: in any case; the answer has them in lower case.

        Raises:
            DirectoryProblem: a batch got no answer; who is missing would seem to be unknown otherwise.
        """
        found: dict[str, Channel] = {}
        async with self._hurry("channels"):
            for batch in _batches([login.lower() for login in logins], _LOGIN):
                # Only the users endpoint takes logins, and only the channels endpoint knows the category.
                _, users = await self._ask("users", {"login": batch}, _UserRow)
                if not users:
                    continue
                _, rows = await self._ask("channels", {"broadcaster_id": [user.id for user in users]}, _ChannelRow)
                declared = {row.broadcaster_id: row for row in rows}
                found |= {user.login: declared[user.id].of(user) for user in users if user.id in declared}
        return found

    async def _listed(
        self, path: str, params: Params, kind: type[_R], entry: Callable[[_R], tuple[str, _V]], limit: int
    ) -> Sequence[_V]:
        found: dict[str, _V] = {}
        try:
            async with self._hurry(path):
                cursor: str | None = None
                while len(found) < limit:
                    page: Params = {**params, "first": min(_BATCH, limit)}
                    if cursor is not None:
                        page["after"] = cursor
                    cursor, rows = await self._ask(path, page, kind)
                    known = len(found)
                    # The list moves while it is read: what slides to the next page is there twice.
                    for key, value in map(entry, rows):
                        found.setdefault(key, value)
                    if cursor is None or len(found) == known:
                        break
        except DirectoryProblem as problem:
            if not found:
                raise
            _LOG.warning("The list of %s ends after %d: %s", path, len(found), problem)
        return tuple(itertools.islice(found.values(), limit))

    @contextlib.asynccontextmanager
    async def _hurry(self, path: str) -> AsyncIterator[None]:
        call_s = self._limits.call_s
        try:
            async with asyncio.timeout(call_s):
                yield
        except TimeoutError:
            raise DirectoryProblem(f"Twitch's directory had not answered {path} after {call_s:g} s.") from None

    # How it is asked

    async def _ask(self, path: str, params: Params, kind: type[_R]) -> tuple[str | None, list[_R]]:
        """One page: where the next begins, and the usable rows.

        Raises:
            DirectoryProblem: there is no answer, however often one asks.
        """

        def log(state: RetryCallState) -> None:
            said = state.outcome.exception() if state.outcome is not None else None
            wait_s = state.next_action.sleep if state.next_action is not None else 0.0
            _LOG.info("%s: %s Asking again in %.1f s (%d so far).", path, said, wait_s, state.attempt_number)

        limits = self._limits
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_MayPass),
            stop=stop_after_attempt(limits.attempts),
            wait=wait_random_exponential(multiplier=limits.first_wait_s, max=limits.longest_wait_s),
            before_sleep=log,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, path, params, kind)
        except _MayPass as passing:
            raise passing.last_word(path) from None

    async def _attempt(self, path: str, params: Params, kind: type[_R]) -> tuple[str | None, list[_R]]:
        async with self._slots:
            token = await self._current_token()
            await self._points.available()
            # TwitchIO takes parameters that are None out of the mapping it is given, and puts headers into its own.
            route = self._route("GET", path, params=dict(params), headers={"Authorization": f"Bearer {token}"})
            with self._points.spending():
                body = await self._sent(path, token, route)
        return _read(path, body, kind)

    async def _sent(self, path: str, token: str, route: Route) -> Any:  # noqa: ANN401 - any JSON at all
        problem: Exception
        try:
            return await self._http.request_json(route)
        except HTTPException as error:
            problem = _judged(path, error)
            if error.status == 401 and self._token == token:
                self._token = None
        except _BROKEN as error:
            problem = _MayPass(f"The request failed ({type(error).__name__}).")
        # Outside the handlers: what libraries say of a failed request can hold addresses and headers, so it does not
        # travel on as a context either.
        raise problem

    async def _current_token(self) -> str:
        async with self._renewing:
            if self._token is None:
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> str:
        """The client credentials grant (RFC 6749 section 4.4), with the secret in the body."""
        problem: Exception
        try:
            async with self._session.post(
                f"{self._id_url}/oauth2/token",
                # Not named, so that no traceback that shows variables shows it.
                data={
                    "client_id": self._client_id,
                    "client_secret": self._client_secret,
                    "grant_type": "client_credentials",
                },
                allow_redirects=False,
            ) as response:
                if response.status == 200:
                    return _TokenAnswer.model_validate_json(await response.read()).access_token
                problem = _judged_token(response.status)
        except _BROKEN as error:
            problem = _MayPass(f"The request for a token failed ({type(error).__name__}).")
        raise problem

    async def _heard(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        self._points.told(params.response.headers)


class _Points:
    """What Helix said last about the points that are left; shared by all requests that are on the way."""

    def __init__(self) -> None:
        self._left = 0
        self._back_at_s = 0.0
        self._on_the_way = 0
        self._news = asyncio.Event()

    def told(self, headers: Mapping[str, str]) -> None:
        """Learn from an answer's headers; without them there is nothing to learn."""
        left, back_at = headers.get("Ratelimit-Remaining", ""), headers.get("Ratelimit-Reset", "")
        if not (_IDENTIFIER.fullmatch(left) and _IDENTIFIER.fullmatch(back_at)):
            return
        # Points come back within a minute; a clock that goes wrong here or there must not make it an hour.
        wait_s = min(max(int(back_at) - time.time(), 0.0), _MINUTE_S)
        # Whether the points of those that are still on the way are counted already, nobody can tell.
        self._left = int(left) - max(self._on_the_way - 1, 0)
        self._back_at_s = time.monotonic() + wait_s
        self._news.set()
        self._news = asyncio.Event()

    async def available(self) -> None:
        """Wait until there is a point, or until all are said to be back."""
        while self._left <= 0 and (wait_s := self._back_at_s - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Take a point for one request."""
        self._left -= 1
        self._on_the_way += 1
        try:
            yield
        finally:
            self._on_the_way -= 1


# What went wrong


class _MayPass(Exception):
    """This time there was no usable answer; there may be one when it is asked for again."""

    def last_word(self, path: str) -> DirectoryProblem:
        return DirectoryProblem(f"Twitch's directory gave no usable answer to {path}: {self}")


class _TokenRefused(_MayPass):
    """A token that has just been made, too, when it is the last word."""

    def last_word(self, path: str) -> DirectoryProblem:
        return DirectoryRefused(f"Twitch's directory keeps refusing the tokens that Twitch gives us ({path}).")


_BROKEN = (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError)
"""No answer, half of one, or one that is not JSON or not a token (pydantic raises a ValueError)."""


def _judged(path: str, error: HTTPException) -> Exception:
    status = error.status
    if status == 401:
        return _TokenRefused("The token was refused (401).")
    if status == 429:
        return _MayPass("There were too many requests (429).")
    # TwitchIO says 500, too, when the answer is not JSON.
    if status == 408 or status >= 500:
        return _MayPass(f"The server failed ({status}).")
    return DirectoryProblem(f"Twitch's directory does not take our question for {path} (status {status}).")


def _judged_token(status: int) -> Exception:
    if status in (400, 401, 403):
        return DirectoryRefused(f"Twitch does not accept the client id or its secret (status {status}).")
    return _MayPass(f"There was no token to be had (status {status}).")


# What is believed of an answer

_V = TypeVar("_V")
_R = TypeVar("_R", bound=BaseModel)


def _batches(names: Iterable[str], form: re.Pattern[str]) -> Iterable[list[str]]:
    """Names in batches, each once; one that cannot exist would let Twitch refuse the whole batch."""
    possible = [name for name in dict.fromkeys(names) if form.fullmatch(name)]
    return (possible[start : start + _BATCH] for start in range(0, len(possible), _BATCH))


def _read(path: str, body: Any, kind: type[_R]) -> tuple[str | None, list[_R]]:  # noqa: ANN401 - any JSON at all
    """Take an answer apart; rows that make no sense are left out.

    Raises:
        _MayPass: it is no page at all, or not one of its rows makes sense.
    """
    page: _Page | None = None
    with contextlib.suppress(ValidationError):
        page = _Page.model_validate(body)
    if page is None:
        raise _MayPass("The answer has another shape.")
    rows = []
    for row in page.data:
        with contextlib.suppress(ValidationError):
            rows.append(kind.model_validate(row))
    missing = len(page.data) - len(rows)
    if missing and not rows:
        raise _MayPass(f"Not one of {missing} row(s) makes sense.")
    if missing:
        _LOG.warning("%s: %d of %d rows make no sense and were left out.", path, missing, len(page.data))
    return page.pagination.cursor if page.pagination is not None else None, rows


def _text(value: object) -> object:
    """Only text: pydantic would take a number for a date, too."""
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - pydantic wants it so
    return value


def _without_nul(value: str) -> str:
    # JSON can carry it, PostgreSQL cannot store it.
    return value.replace("\0", "")


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


_Identifier = Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]
_Login = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,25}$")]
_Text = Annotated[str, AfterValidator(_without_nul)]
_Moment = Annotated[AwareDatetime, BeforeValidator(_text), AfterValidator(_utc)]
_Count = Annotated[int, Field(strict=True, ge=0)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _TokenAnswer(_Answer):
    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")]


class _Pagination(_Answer):
    cursor: str | None = None


class _Page(_Answer):
    data: list[Any]
    pagination: _Pagination | None = None


class _GameRow(_Answer):
    id: _Identifier
    name: Annotated[_Text, Field(min_length=1)]

    def entry(self) -> tuple[str, Category]:
        return self.id, Category(id=self.id, name=self.name)


class _Declaration(_Answer):
    """Who declares nothing has empty strings."""

    game_id: str | None = None
    game_name: _Text | None = None
    title: _Text

    @property
    def category(self) -> Category | None:
        if not self.game_id or not self.game_name or not _IDENTIFIER.fullmatch(self.game_id):
            return None
        return Category(id=self.game_id, name=self.game_name)


class _StreamRow(_Declaration):
    id: _Identifier
    user_id: _Identifier
    user_login: _Login
    user_name: _Text
    viewer_count: _Count
    started_at: _Moment
    language: _Text

    def entry(self) -> tuple[str, LiveStream]:
        return self.user_id, LiveStream(
            id=self.id,
            broadcaster_id=self.user_id,
            login=self.user_login,
            display_name=self.user_name or self.user_login,
            category=self.category,
            title=self.title,
            language=self.language,
            started_at=self.started_at,
            viewers=self.viewer_count,
        )


class _UserRow(_Answer):
    id: _Identifier
    login: _Login
    display_name: _Text


class _ChannelRow(_Declaration):
    broadcaster_id: _Identifier

    def of(self, user: _UserRow) -> Channel:
        return Channel(
            broadcaster_id=user.id,
            login=user.login,
            display_name=user.display_name or user.login,
            category=self.category,
            title=self.title,
        )
