"""What HTTP is told instead of an answer: a status and one sentence, as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.commands.answer import Json


class Refusal(Exception):
    """An answer that is none, with the sentence that says why and what to do.

    Attributes:
        status: of HTTP.
        sentence: for a person; it holds no secret and nothing of our insides.
        headers: besides.
    """

    def __init__(self, status: int, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


def bad_request(sentence: str) -> Refusal:
    """What was sent cannot be read."""
    return Refusal(400, sentence)


def not_authorised() -> Refusal:
    """The token is missing, or none of ours."""
    return Refusal(
        401,
        "Send one of the operator's tokens: Authorization: Bearer <token>.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def wrong_type(sentence: str) -> Refusal:
    """What was sent is of a kind that is not taken."""
    return Refusal(415, sentence)


def too_large(sentence: str) -> Refusal:
    """More was sent than is taken."""
    return Refusal(413, sentence)


def not_usable(sentence: str) -> Refusal:
    """What was sent can be read, and is not what is needed."""
    return Refusal(422, sentence)


def too_slow() -> Refusal:
    """The body did not come in time; the connection is given up."""
    return Refusal(408, "The request's body did not come in time.", headers={"Connection": "close"})


def too_often(wait_s: float) -> Refusal:
    """The token's share is used up."""
    seconds = max(1, math.ceil(wait_s))
    return Refusal(429, f"That was too often; try again in {seconds} s.", headers={"Retry-After": str(seconds)})


def busy(wait_s: float) -> Refusal:
    """All hands are full."""
    seconds = max(1, math.ceil(wait_s))
    return Refusal(
        503, f"There is too much to do just now; try again in {seconds} s.", headers={"Retry-After": str(seconds)}
    )


def stopping() -> Refusal:
    """The bot ends, and takes nothing more."""
    return Refusal(
        503, "The bot is being restarted; try again in a minute.", headers={"Retry-After": "60", "Connection": "close"}
    )


def not_open() -> Refusal:
    """The operator has set no token."""
    return Refusal(503, "This is off until the operator sets GAMESPOTTER_WEB__TOKEN in the environment.")


def failed() -> Refusal:
    """A mistake of ours, which is in the log."""
    return Refusal(500, "Something went wrong here; it is in the bot's log.")


def to_response(refusal: Refusal) -> web.Response:
    """As it goes out."""
    body: dict[str, Json] = {"success": False, "error": refusal.sentence}
    return web.json_response(body, status=refusal.status, headers=refusal.headers)
