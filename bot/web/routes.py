"""What each address answers. Everything that cannot be answered is one sentence in JSON."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from aiohttp import BodyPartReader, MultipartReader, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from structlog.contextvars import bound_contextvars

from bot.commands.answer import Status, to_json
from bot.commands.request import Asker, Identify, Place, Request, Role
from bot.web import refusals
from bot.web.guards import UNREADABLE, Hands, check_size, read_body, read_rest
from bot.web.openapi import description
from bot.web.pictures import read_picture
from bot.web.refusals import Refusal
from core.errors import GameSpotterError
from core.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bot.chat.platform import Handle
    from bot.commands.answer import Json
    from bot.web.guards import Caller, Tokens
    from bot.web.health import HealthCheck
    from bot.web.pictures import PictureLimits
    from core.recognition.verdict import Likelihood, Verdict

log = logging.getLogger(__name__)

PLATFORM = "http"
PICTURE_FIELD = "img"

_FIELDS_BYTES = 16 << 10
"""What may stand around the picture: boundaries, heads of parts."""

_GAME_BYTES = 4 << 10
_REST_BYTES = 1 << 20
_REST_S = 0.5
_HANDS_WAIT_S = 5.0

_STATUS = {
    Status.BAD_INPUT: 422,
    Status.NOT_FOUND: 404,
    Status.BUSY: 503,
    Status.UNREACHABLE: 502,
    Status.TOO_SLOW: 504,
    Status.FAILED: 500,
}
"""Of HTTP, for asks that ended so; the others are answers, of which "offline" is one."""

_BUSY_S = 5.0
_REQUEST_ID = web.RequestKey("request_id", str)


class RecognizesFrames(Protocol):
    """What is needed of :class:`core.recognition.recognizer.Recognizer`."""

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        """What the frames show."""
        ...


class CountsRequests(Protocol):
    """What is needed of :class:`bot.operation.figures.Figures`."""

    def answered_http(self, path: str, status: int, *, elapsed_s: float) -> None:
        """Count an answer over HTTP."""
        ...

    def text(self) -> tuple[bytes, str]:
        """All figures, and the content type that they are written in."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WebLimits:
    """How much is taken, and how long it may take.

    Attributes:
        picture: how large one may be.
        body_s: in which a request's body has to come.
        answer_s: for the network.
        pictures_at_once: that are read and decoded in one moment.
    """

    picture: PictureLimits
    body_s: float = 10.0
    answer_s: float = 10.0
    pictures_at_once: int = 8


class Routes:
    """The addresses and their answers."""

    def __init__(
        self,
        *,
        handle: Handle,
        recognizer: RecognizesFrames,
        health: HealthCheck,
        figures: CountsRequests,
        tokens: Tokens,
        limits: WebLimits,
        version: str,
    ) -> None:
        """Keep the parts.

        Args:
            handle: the one door.
            recognizer: looks at pictures.
            health: knows how it stands.
            figures: what was counted.
            tokens: who may ask.
            limits: how much.
            version: of the description.
        """
        self._handle = handle
        self._recognizer = recognizer
        self._health = health
        self._figures = figures
        self._tokens = tokens
        self._limits = limits
        self._hands = Hands(limits.pictures_at_once, wait_s=_HANDS_WAIT_S)
        self._description = description(version=version, picture=limits.picture)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def application(self) -> web.Application:
        """Everything put together."""
        app = web.Application(middlewares=[self._accompany])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_post("/v1/classify", self._classify)
        app.router.add_post("/v1/game", self._game)
        return app

    async def drained(self) -> None:
        """Wait until every request that came in is answered."""
        await self._idle.wait()

    @web.middleware
    async def _accompany(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Name each request, count it, and make a sentence of whatever goes wrong."""
        name, began_s = uuid.uuid4().hex, time.perf_counter()
        request[_REQUEST_ID] = name
        self._under_way += 1
        self._idle.clear()
        with bound_contextvars(request=name, platform=PLATFORM):
            try:
                response = await self._sentenced(request, handler)
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._idle.set()
            resource = request.match_info.route.resource
            # By what is there, not by what was asked for: strangers may ask for any number of addresses.
            path = resource.canonical if resource is not None else "other"
            elapsed_s = time.perf_counter() - began_s
            self._figures.answered_http(path, response.status, elapsed_s=elapsed_s)
            log.info("%s %s: %d in %.0f ms", request.method, path, response.status, elapsed_s * 1e3)
        response.headers["X-Request-Id"] = name
        if self._health.stops:
            # Whoever keeps the connection would send the next request into a closed one.
            response.force_close()
        return response

    async def _sentenced(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            if self._health.stops:
                # The connection is closed next, and closing one that has something unread resets it: whoever is still
                # sending would not get to read this.
                await read_rest(request, most_bytes=_REST_BYTES, timeout_s=_REST_S)
            return refusals.to_response(refusal)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            sentence = f"This address takes {allowed} alone."
            return refusals.to_response(Refusal(405, sentence, headers={"Allow": allowed}))
        except web.HTTPNotFound:
            return refusals.to_response(Refusal(404, "There is nothing here; /openapi.json says what there is."))
        except web.HTTPException as error:
            return refusals.to_response(Refusal(error.status, f"{error.reason}."))
        except ConnectionError:
            # Nobody is there to read it.
            return refusals.to_response(refusals.bad_request("The connection was closed."))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return refusals.to_response(refusals.failed())

    async def _healthz(self, _: web.Request) -> web.Response:
        health = await self._health.look()
        body: dict[str, Json] = {"success": health.is_good, "parts": dict(health.parts)}
        return web.json_response(body, status=200 if health.is_good else 503, headers={"Cache-Control": "no-store"})

    async def _metrics(self, _: web.Request) -> web.Response:
        text, content_type = self._figures.text()
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.json_response(self._description)

    async def _classify(self, request: web.Request) -> web.Response:
        self._admit(request)
        if request.content_type != "multipart/form-data":
            raise refusals.wrong_type(f"Send a form (multipart/form-data) with a picture in {PICTURE_FIELD}.")
        picture_limits = self._limits.picture
        check_size(request, most_bytes=picture_limits.file_bytes + _FIELDS_BYTES)
        async with self._hands:
            try:
                async with asyncio.timeout(self._limits.body_s):
                    data = await _picture_of(request, most_bytes=picture_limits.file_bytes)
            except TimeoutError:
                raise refusals.too_slow() from None
            picture = await asyncio.to_thread(read_picture, data, limits=picture_limits)
        try:
            async with asyncio.timeout(self._limits.answer_s):
                verdict = await self._recognizer.recognize([Frame(picture=picture, at_s=0.0)])
        except TimeoutError:
            raise refusals.busy(_BUSY_S) from None
        except GameSpotterError:
            log.exception("the network failed")
            raise refusals.failed() from None
        body: dict[str, Json] = {
            "predictions": [_prediction(likelihood) for likelihood in (verdict.best, *verdict.runners_up)],
            "success": True,
            "game": {"id": verdict.game.id, "name": verdict.game.name},
            "model": verdict.model,
        }
        return web.json_response(body)

    async def _game(self, request: web.Request) -> web.Response:
        caller = self._admit(request)
        if request.content_type != "application/json":
            raise refusals.wrong_type('Send JSON (application/json): {"channel": "some_channel"}.')
        body = await read_body(request, most_bytes=_GAME_BYTES, timeout_s=self._limits.body_s)
        wanted = _wanted(body)
        reply = await self._handle(_request(wanted, caller, request[_REQUEST_ID]))
        answer = reply.answer
        if answer is None:
            # The door did not get as far as to a look: it is closing, or this command is off here.
            raise refusals.stopping() if self._health.stops else refusals.failed()
        if answer.status in _STATUS:
            headers = {"Retry-After": f"{_BUSY_S:.0f}"} if answer.status is Status.BUSY else {}
            raise Refusal(_STATUS[answer.status], reply.text, headers=headers)
        found: dict[str, Json] = {"success": True, "text": reply.text, **to_json(answer)}
        return web.json_response(found)

    def _admit(self, request: web.Request) -> Caller:
        if self._health.stops:
            raise refusals.stopping()
        caller = self._tokens.admit(request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise refusals.wrong_type("Send the body as it is, without a Content-Encoding.")
        return caller


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    channel: Annotated[str, Field(min_length=1, max_length=200)]


def _wanted(body: bytes) -> _Wanted:
    try:
        return _Wanted.model_validate_json(body)
    except ValidationError as error:
        # Never the library's text, which repeats what was sent.
        if any(problem["type"] == "json_invalid" for problem in error.errors(include_input=False, include_url=False)):
            raise refusals.bad_request("The body is not JSON.") from None
        raise refusals.not_usable(
            'The body must be {"channel": "..."}: a channel\'s name or address of 1 to 200 characters.'
        ) from None


def _request(wanted: _Wanted, caller: Caller, name: str) -> Request:
    return Request(
        id=name,
        command=Identify(channel=wanted.channel),
        # Whoever has a token speaks for the operator, and has a limit of their own.
        asker=Asker(platform=PLATFORM, id=caller.id, name=caller.id, role=Role.OPERATOR),
        place=Place(platform=PLATFORM, id=caller.id),
    )


async def _picture_of(request: web.Request, *, most_bytes: int) -> bytes:
    """The bytes of the one picture in a form."""
    picture: bytes | None = None
    parts = 0
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            parts += 1
            if isinstance(part, MultipartReader) or part.name != PICTURE_FIELD or picture is not None or parts > 1:
                raise refusals.not_usable(f"Send one part, named {PICTURE_FIELD}, with the picture in it.")
            picture = await _part(part, most_bytes=most_bytes)
    except (*UNREADABLE, ValueError, AssertionError, LookupError, RuntimeError, web.HTTPException):
        # What aiohttp's reader raises of forms that are none.
        raise refusals.bad_request("The form cannot be read.") from None
    if picture is None:
        raise refusals.not_usable(f"Send one part, named {PICTURE_FIELD}, with the picture in it.")
    return picture


async def _part(part: BodyPartReader, *, most_bytes: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk():
        data += chunk
        if len(data) > most_bytes:
            raise refusals.too_large(f"A picture's file may have {most_bytes:,} bytes.")
    return bytes(data)


def _prediction(likelihood: Likelihood) -> Json:
    return {"label": likelihood.game.name, "probability": round(likelihood.confidence, 6)}
