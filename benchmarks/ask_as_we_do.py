"""One ask our way, through the bot's own service; then the same channel again, which is answered from memory."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer
from measuring import Asked, Stopwatch, report, wait_for_the_word

from bot.app import open_looking, open_service
from bot.commands.answer import Answer, Status
from bot.commands.request import Asker, Identify, Request, Role
from bot.settings import ModelSettings, Settings, TwitchSettings

if TYPE_CHECKING:
    from bot.commands.service import CommandService

_START_S = 2.0
_OPERATOR = Asker(platform="console", name="operator", role=Role.OPERATOR)
"""Is never asked to slow down."""
"""A bot that has just started still reads Streamlink's list of sites; that belongs to its start, not to an ask."""


def main(login: str, *, base_url: Annotated[str, typer.Option()], model: Annotated[Path, typer.Option()]) -> None:
    """Ask twice."""
    settings = Settings(
        twitch=TwitchSettings(gql_url=base_url, usher_url=base_url),
        model=ModelSettings(directory=model),
    )
    asyncio.run(_ask_twice(settings, login))


async def _ask_twice(settings: Settings, login: str) -> None:
    async with open_looking(settings, many_looks=True) as looking, open_service(settings, looking) as service:
        await asyncio.sleep(_START_S)
        wait_for_the_word()
        cold = await _ask(service, login)
        again = await _ask(service, login)
    report(cold, again)


async def _ask(service: CommandService, login: str) -> Asked:
    watch = Stopwatch()
    reply = await service.handle(Request(command=Identify(channel=login), asker=_OPERATOR))
    answer = reply.answer or Answer(channel=login, status=Status.FAILED)
    if answer.verdict is None:
        raise SystemExit(f"no answer: {reply.text}")
    return watch.stop(frames=len(answer.verdict.frames), answer=reply.text, steps_ms=dict(answer.elapsed_ms))


if __name__ == "__main__":
    typer.run(main)
