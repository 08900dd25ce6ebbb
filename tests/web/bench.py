"""The HTTP interface over fakes, on a real port of the loopback interface."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from bot.commands.answer import Answer, Status
from bot.commands.request import Identify, Reply, Request
from bot.operation.figures import Figures
from bot.web.guards import Tokens
from bot.web.health import OK, Check, HealthCheck
from bot.web.pictures import PictureLimits
from bot.web.routes import Routes, WebLimits
from bot.web.server import WebServer
from core.recognition.recognizer import Recognizer
from tests.fakes import RULE, BrightnessNetwork

TOKEN = "a-token-of-the-operator"
OTHER_TOKEN = "another-token-of-theirs"


async def fine() -> str:
    return OK


class Door:
    """Answers each channel with the status that it is told; holds all who ask while ``gate`` is closed."""

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {}
        self.heard: list[Request] = []
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: Request) -> Reply:
        self.heard.append(request)
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        assert isinstance(request.command, Identify)
        channel = request.command.channel
        status = self.statuses.get(channel, Status.OFFLINE)
        return Reply(text=f"{channel}: {status}.", answer=Answer(channel=channel, status=status))


@dataclass
class Bench:
    """What tests hold on to."""

    url: str
    http: aiohttp.ClientSession
    door: Door
    network: BrightnessNetwork
    health: HealthCheck
    figures: Figures
    tokens: Tokens
    headers: Mapping[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    async def classify(self, picture: bytes, *, name: str = "img", **headers: str) -> tuple[int, dict[str, Any]]:
        form = aiohttp.FormData()
        form.add_field(name, io.BytesIO(picture), filename="picture.jpg", content_type="image/jpeg")
        async with self.http.post(f"{self.url}/v1/classify", data=form, headers={**self.headers, **headers}) as answer:
            return answer.status, await answer.json()

    async def game(self, channel: str, **headers: str) -> tuple[int, dict[str, Any]]:
        body = {"channel": channel}
        async with self.http.post(f"{self.url}/v1/game", json=body, headers={**self.headers, **headers}) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self.http.get(self.url + path) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def bench(
    *,
    checks: Mapping[str, Check] | None = None,
    tokens: tuple[str, ...] = (TOKEN, OTHER_TOKEN),
    asks: int = 100_000,
    asks_s: float = 60.0,
    file_bytes: int = 1 << 20,
    pixels: int = 4_000_000,
    body_s: float = 5.0,
    answer_s: float = 5.0,
    connections: int = 64,
    idle_s: float = 30.0,
    pictures_at_once: int = 8,
) -> AsyncIterator[Bench]:
    door, network, figures = Door(), BrightnessNetwork(), Figures()
    recognizer = Recognizer(network, RULE)
    running = asyncio.create_task(recognizer.run())
    health = HealthCheck(checks if checks is not None else {"database": fine})
    guard = Tokens(tokens, asks=asks, asks_s=asks_s)
    routes = Routes(
        handle=door.handle,
        recognizer=recognizer,
        health=health,
        figures=figures,
        tokens=guard,
        limits=WebLimits(
            picture=PictureLimits(file_bytes=file_bytes, pixels=pixels),
            body_s=body_s,
            answer_s=answer_s,
            pictures_at_once=pictures_at_once,
        ),
        version="1",
    )
    server = WebServer(routes.application(), host="127.0.0.1", port=0, connections=connections, idle_s=idle_s)
    try:
        async with server.open(), aiohttp.ClientSession() as http:
            yield Bench(
                url=server.url,
                http=http,
                door=door,
                network=network,
                health=health,
                figures=figures,
                tokens=guard,
            )
    finally:
        await health.aclose()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def picture(brightness: int, *, kind: str = "JPEG", size: tuple[int, int] = (640, 360), mode: str = "RGB") -> bytes:
    """A file of one colour."""
    values = np.full((size[1], size[0], 3), brightness, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, kind)
    return file.getvalue()
