"""``python -m bot health``: asks the bot that runs on this machine how it is, for whoever watches over it."""

from __future__ import annotations

import http.client
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bot.command_line import ConfigOption, settings_or_exit
from core.errors import WebError

if TYPE_CHECKING:
    from bot.settings import WebSettings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens, and where it is then asked
_LONGEST_ANSWER_BYTES = 64_000


def health(
    *,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = 5.0,
    config: ConfigOption = None,
) -> None:
    """Ask the running bot whether its chats are connected, and database and model answer. HTTP must be on.

    Ends with 0 when all is well, with 1 when something is not, and with 2 when HTTP is off or a setting is wrong.
    """
    web = settings_or_exit(config).web
    if not web.enabled:
        print("The bot can be asked over HTTP only, which is off: set [web] enabled = true.", file=sys.stderr)
        raise typer.Exit(2)
    try:
        is_good, parts = ask(web, timeout_s=timeout_s)
    except WebError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    for part, said in parts.items():
        print(f"{part}: {said}")
    if not is_good:
        raise typer.Exit(1)


def ask(web: WebSettings, *, timeout_s: float) -> tuple[bool, dict[str, str]]:
    """Ask for ``/healthz``.

    Args:
        web: where it is.
        timeout_s: for each of connecting and answering.

    Returns:
        Whether all is well, and how each part is.

    Raises:
        WebError: nobody answers there, or not in this way.
    """
    host = _EVERYWHERE.get(web.host, web.host)
    where = f"{host}:{web.port}"
    connection = http.client.HTTPConnection(host, web.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        # An answer that is the last one of its connection is not closed with it.
        with connection.getresponse() as answer:
            body = json.loads(answer.read(_LONGEST_ANSWER_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise WebError(f"No bot answers at {where}. Does it run, and is [web] port the same?") from error
    except ValueError as error:
        raise WebError(f"What answers at {where} is not the bot: see [web] port.") from error
    finally:
        connection.close()
    parts = body.get("parts") if isinstance(body, dict) else None
    if not isinstance(parts, dict):
        raise WebError(f"What answers at {where} is not the bot: see [web] port.")
    return answer.status == http.client.OK, {str(part): str(said) for part, said in parts.items()}
