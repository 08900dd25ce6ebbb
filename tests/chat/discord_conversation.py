"""A DiscordChat that talks to the stand-in, and somebody who answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from bot.chat.discord_chat import DiscordChat, DiscordLimits
from bot.commands.answer import Answer, EvidenceTile, Status
from bot.commands.request import Reply, Request
from core.collection.directory import Category
from core.games import UNKNOWN
from core.recognition.verdict import FrameVerdict, Likelihood, Verdict
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.fakes import GAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from core.games import Game

QUICK = DiscordLimits(
    first_wait_s=0.02, longest_wait_s=0.05, identify_gap_s=0.0, request_gap_s=0.0, drain_s=2.0, connects=1
)
LOOK = "look-0123456789abcdef0123456789abcdef"


class Answerer:
    """Gives each command the reply that it is told to give."""

    def __init__(self, reply: Reply | Callable[[Request], Reply] | None = None, *, takes_s: float = 0.0) -> None:
        self.reply = reply if reply is not None else Reply(text="an answer")
        self.takes_s = takes_s
        self.requests: list[Request] = []
        self.asked = asyncio.Event()
        self.problem: Exception | None = None
        self.cancelled = 0

    async def handle(self, request: Request) -> Reply:
        self.requests.append(request)
        self.asked.set()
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.problem is not None:
            raise self.problem
        return self.reply(request) if callable(self.reply) else self.reply


@contextlib.asynccontextmanager
async def chatting(discord: DiscordStandIn, answerer: Answerer, **options: Any) -> AsyncIterator[DiscordChat]:
    """A chat that runs, until the block ends."""
    options = {"languages": ("en", "de"), "limits": QUICK, **options}
    chat = DiscordChat(TOKEN, api_url=discord.api_url, gateway_url=discord.gateway_url, **options)
    running = asyncio.create_task(chat.run(answerer.handle))
    try:
        yield chat
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def seen(
    *, channel: str = "some_channel", game: Game = GAMES[0], declared: str | None = "Just Chatting", look: str = LOOK
) -> Answer:
    best = GAMES[0] if game == UNKNOWN else game
    return Answer(
        channel=channel,
        status=Status.ANSWERED,
        verdict=Verdict(
            game=game,
            confidence=0.97,
            best=Likelihood(game=best, confidence=0.97),
            runners_up=(),
            frames=tuple(FrameVerdict(game=best, confidence=0.9, at_s=float(at)) for at in range(13)),
            votes=12,
            score=5.0,
            novelty=0.1,
            model="test-1",
        ),
        look=look,
        declared=Category(id="1", name=declared) if declared else None,
        evidence=(EvidenceTile(picture=b"a picture", label=best, confidence=0.9, at_s=0.0),),
    )


def fields(message: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in message["embeds"][0]["fields"]}
