"""``python -m bot doctor``: looks at all that the bot needs, and says of each what to do."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import shutil
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import typer
from packaging.requirements import InvalidRequirement, Requirement

from bot.command_line import ConfigOption, DebugOption, log_to_stderr, run_or_exit, settings_or_exit
from bot.commands.wording import size
from core.errors import ArtifactError, ChatProblem, ChatRefused, SchemaOutdated, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from pathlib import Path

    from bot.settings import Settings

_OLDEST_PYTHON = (3, 11)
_DISTRIBUTION = "gamespotter"
_NATIVE = ("ai_edge_litert.interpreter", "av", "cryptography.hazmat.bindings._rust", "cv2", "numpy", "PIL.Image")
"""Modules with a library in another language, which may lack what it stands on."""

_INSTALL = (
    "Install it again in its venv: `pip install --constraint requirements.lock gamespotter-*.whl`, "
    "or `--editable .` in a checkout."
)
_ENOUGH_BYTES = 10**9
_WAIT_S = 8.0
_CLOCK_OFF_S = 5.0
_CLOCK_WRONG_S = 60.0
_DISCORD_API = "https://discord.com/api/v10"
_TWITCH = {
    "helix_url": "https://api.twitch.tv",
    "id_url": "https://id.twitch.tv",
    "gql_url": "https://gql.twitch.tv",
    "usher_url": "https://usher.ttvnw.net",
}
_MESSAGE_CONTENT_FLAGS = (1 << 18) | (1 << 19)
"""GATEWAY_MESSAGE_CONTENT and, below the threshold of review, GATEWAY_MESSAGE_CONTENT_LIMITED."""


class State(StrEnum):
    """How a part is."""

    GOOD = "ok"
    OFF = "off"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What was found of one part.

    Attributes:
        part: its name.
        state: how it is.
        said: what was found; without any secret.
        do: what to do about it; empty when there is nothing to be done.
    """

    part: str
    state: State
    said: str
    do: str = ""


def good(part: str, said: str) -> Finding:
    """Nothing is to be done."""
    return Finding(part=part, state=State.GOOD, said=said)


def off(part: str, said: str, do: str = "") -> Finding:
    """It is not wanted, or not set up."""
    return Finding(part=part, state=State.OFF, said=said, do=do)


def warning(part: str, said: str, do: str) -> Finding:
    """The bot runs, and something will be missed."""
    return Finding(part=part, state=State.WARNING, said=said, do=do)


def bad(part: str, said: str, do: str) -> Finding:
    """The bot does not run, or not with this part."""
    return Finding(part=part, state=State.BAD, said=said, do=do)


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody on the network.")] = False,
    config: ConfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Look at all that the bot needs, and say what to do about what is not as it should be.

    Changes nothing. Ends with 0 when nothing stands in the way, with 1 when something does, and with 2 when a setting
    is wrong.
    """
    log_to_stderr(debug=debug)
    settings = settings_or_exit(config)
    findings = run_or_exit(examine(settings, offline=offline))
    for finding in findings:
        print(_as_json(finding) if as_json else _as_line(finding), flush=True)
    if any(finding.state is State.BAD for finding in findings):
        raise typer.Exit(1)


async def examine(settings: Settings, *, offline: bool = False) -> list[Finding]:
    """Look at every part; one that cannot be looked at does not hide the others.

    Args:
        settings: all of them.
        offline: ask nobody on the network.
    """
    found = [
        await _looked("Python", asyncio.to_thread(python)),
        await _looked("Libraries", asyncio.to_thread(libraries)),
        await _looked("Disk", asyncio.to_thread(disk, settings)),
        await _looked("Database", database(settings)),
        await _looked("Model", asyncio.to_thread(model, settings)),
        await _looked("HTTP", asyncio.to_thread(http_port, settings)),
    ]
    if offline:
        return [*found, off("Network", "not looked at, as --offline says")]
    timeout = aiohttp.ClientTimeout(total=_WAIT_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        dates: list[tuple[float, str]] = []
        parts: dict[str, Awaitable[Finding]] = {
            "Network": network(settings, http, dates),
            "Twitch": twitch(settings, http),
            "Discord": discord(settings, http),
        }
        found += await asyncio.gather(*(_looked(part, looking) for part, looking in parts.items()))
    return [*found, clock(dates)]


async def _looked(part: str, looking: Awaitable[Finding]) -> Finding:
    try:
        return await looking
    except Exception as error:  # noqa: BLE001 - a doctor who dies of what the patient has is of no use
        return bad(part, f"could not be looked at ({type(error).__name__})", "Run it with --debug, and report this.")


# Here


def python() -> Finding:
    """The interpreter."""
    version = ".".join(str(number) for number in sys.version_info[:3])
    if sys.version_info < _OLDEST_PYTHON:
        needed = ".".join(str(number) for number in _OLDEST_PYTHON)
        return bad("Python", version, f"Set the bot up with Python {needed} or newer.")
    return good("Python", version)


def libraries(requirements: Iterable[str] | None = None, native: Iterable[str] = _NATIVE) -> Finding:
    """What is installed, against what this version asks for; and whether native libraries load.

    Args:
        requirements: as in a package's metadata; those of the bot when not given.
        native: modules that are loaded.
    """
    if requirements is None:
        try:
            requirements = metadata.requires(_DISTRIBUTION) or ()
        except metadata.PackageNotFoundError:
            return warning("Libraries", "the bot itself is not installed, so that nobody can say", _INSTALL)
    met = [_missing(text) for text in requirements]
    problems = [problem for problem in met if problem]
    for name in native:
        try:
            importlib.import_module(name)
        except ImportError as error:
            problems.append(f"{name} does not load ({str(error).splitlines()[0]:.100})")
    if problems:
        return bad("Libraries", "; ".join(problems), _INSTALL)
    return good("Libraries", f"{met.count('')} as they should be")


def _missing(text: str) -> str | None:
    """What is wrong with one requirement; nothing when it is met, and None when it does not count here."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{text!r:.60} cannot be read"
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} is {version}, and {requirement.specifier} is needed"
    return ""


def disk(settings: Settings) -> Finding:
    """Whether there is room for frames, and whether they may be written."""
    directory = settings.data.directory.absolute()
    there = next(folder for folder in (directory, *directory.parents) if folder.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor-"):
            pass
    except OSError as error:
        return bad(
            "Disk",
            f"{there} cannot be written to ({error.strerror})",
            "Give it to the bot's user, or set [data] directory.",
        )
    free = shutil.disk_usage(there).free
    wanted = int(settings.data.max_gb * 10**9)
    if free < _ENOUGH_BYTES:
        return bad("Disk", f"{size(free)} free at {there}", f"Make room: at least {size(_ENOUGH_BYTES)}.")
    if free < wanted - _held(settings.frames_directory):
        return warning(
            "Disk",
            f"{size(free)} free at {there}, and [data] max_gb lets frames take {size(wanted)}",
            "Make room, or set [data] max_gb lower.",
        )
    return good("Disk", f"{size(free)} free at {there}")


def _held(frames: Path) -> int:
    return sum(path.stat().st_size for path in frames.rglob("*") if path.is_file()) if frames.is_dir() else 0


async def database(settings: Settings) -> Finding:
    """Whether it answers, and has this version's tables."""
    from core.storage.database import Database  # noqa: PLC0415 - takes its time

    try:
        async with Database.at(settings.database_url) as opened, asyncio.timeout(_WAIT_S):
            try:
                await opened.check()
            except SchemaOutdated as outdated:
                if opened.is_embedded:
                    return good("Database", f"{opened.url}: the bot makes its tables when it starts")
                return bad("Database", str(outdated), "Run `python -m bot db migrate`.")
            return good("Database", f"{opened.url} answers, and its tables are up to date")
    except StorageError as error:
        return bad("Database", str(error), "Set GAMESPOTTER_DATABASE__URL, and see that the database runs.")
    except TimeoutError:
        return bad("Database", f"it does not answer within {_WAIT_S:.0f} s", "See that it runs and can be reached.")


def model(settings: Settings) -> Finding:
    """Whether the model that would answer can, and how fast."""
    from bot.models.following import first_model  # noqa: PLC0415 - takes its time
    from core.recognition.candidate import FitnessRules  # noqa: PLC0415
    from core.recognition.registry import Registry  # noqa: PLC0415

    chosen = settings.model
    registry = None if chosen.registry is None else Registry(chosen.registry)
    rules = FitnessRules(slower_at_most=chosen.slower_at_most, games_lost_at_most=chosen.games_lost_at_most)
    try:
        first = first_model(registry, chosen.directory, threads=chosen.threads, rules=rules, now=datetime.now(UTC))
    except ArtifactError as error:
        return bad("Model", str(error), "Set [model] directory to a whole model; models/starter is one.")
    answering = first.answering.model
    pictures = np.zeros((settings.streams.frames, 180, 320, 3), dtype=np.uint8)
    began_s = time.perf_counter()
    answering.network.logits(pictures)
    took_ms = (time.perf_counter() - began_s) * 1e3
    rule = answering.artifact.rule
    said = f"{rule.model}, {len(rule.labels)} games, {len(pictures)} frames in {took_ms:.0f} ms"
    if first.refused:
        return warning(
            "Model", f"{said}; {first.refused[0].sentence}", "`python -m bot models list` says which there are."
        )
    return good("Model", said)


def http_port(settings: Settings) -> Finding:
    """Whether the port can be had, and whoever can reach it is to."""
    web = settings.web
    if not web.enabled:
        return off("HTTP", "[web] enabled is false")
    where = f"{web.host}:{web.port}"
    try:
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        with socket.create_server((web.host, web.port), family=family):
            pass
    except OSError as error:
        return warning(
            "HTTP", f"{where} cannot be opened ({error.strerror})", "Unless the bot runs already, set [web] port."
        )
    if not web.tokens:
        return warning(
            "HTTP",
            f"{where} is free, and there is no token: /v1 is closed to everybody",
            "Set GAMESPOTTER_WEB__TOKEN in the environment; `openssl rand -hex 32` makes a good one.",
        )
    if not _is_loopback(web.host):
        return warning(
            "HTTP", f"{where} is free, and more than this machine can reach it", "Have a proxy with TLS in front of it."
        )
    return good("HTTP", f"{where} is free")


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


# Elsewhere


def addresses(settings: Settings) -> tuple[str, ...]:
    """The origins that a bot with these settings asks."""
    chosen = settings.twitch
    wanted = ["gql_url", "usher_url"]
    if chosen.has_credentials:
        wanted += ["helix_url", "id_url"]
    found = [getattr(chosen, name) or _TWITCH[name] for name in wanted]
    if settings.discord.chat and settings.discord.has_token:
        parts = urlsplit(settings.discord.api_url or _DISCORD_API)
        found.append(f"{parts.scheme}://{parts.netloc}")
    return tuple(dict.fromkeys(found))


async def network(settings: Settings, http: aiohttp.ClientSession, dates: list[tuple[float, str]]) -> Finding:
    """Whether everybody that is asked can be reached, whatever they answer.

    Args:
        settings: all of them.
        http: for the requests.
        dates: is filled with what the others take the time for: the moment here, and the header there.
    """
    wanted = addresses(settings)

    async def reach(address: str) -> str:
        try:
            async with http.get(address, allow_redirects=False) as answer:
                if "Date" in answer.headers:
                    dates.append((time.time(), answer.headers["Date"]))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{urlsplit(address).hostname} ({_reason(error)})"
        return ""

    began_s = time.perf_counter()
    lost = [name for name in await asyncio.gather(*(reach(address) for address in wanted)) if name]
    took_ms = (time.perf_counter() - began_s) * 1e3
    if lost:
        return bad("Network", f"not reached: {', '.join(lost)}", "See to DNS, firewall and proxy of this machine.")
    return good("Network", f"{len(wanted)} services reached in {took_ms:.0f} ms")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return type(error).__name__


def clock(dates: Iterable[tuple[float, str]]) -> Finding:
    """This machine's clock against those of whom it asked.

    Args:
        dates: the moment here, seconds since 1970, and the others' ``Date`` header.
    """
    off_s = []
    for here_s, header in dates:
        try:
            off_s.append(here_s - parsedate_to_datetime(header).timestamp())
        except ValueError:
            continue
    if not off_s:
        return off("Clock", "there was nobody to compare it with")
    # Of several, the least: a header counts whole seconds, and a cache may have kept it for a while.
    least_s = min(off_s, key=abs)
    if abs(least_s) < _CLOCK_OFF_S:
        return good("Clock", "as others have it")
    said = f"{abs(least_s):.0f} s {'fast' if least_s > 0 else 'slow'}"
    do = "Let the system keep the time (timedatectl set-ntp true)."
    return (bad if abs(least_s) >= _CLOCK_WRONG_S else warning)("Clock", said, do)


async def twitch(settings: Settings, http: aiohttp.ClientSession) -> Finding:
    """Credentials, tokens and scopes. Nothing is renewed: that is the running bot's to do."""
    chosen = settings.twitch
    if not chosen.has_credentials:
        return off(
            "Twitch",
            "no credentials: neither chat, nor nightly collection, nor what channels declare",
            "Set [twitch] client_id, and GAMESPOTTER_TWITCH__CLIENT_SECRET in the environment.",
        )
    from bot.app import open_storage  # noqa: PLC0415 - takes its time
    from bot.chat.opening import token_vault  # noqa: PLC0415
    from bot.chat.twitch_id import TwitchId  # noqa: PLC0415
    from bot.chat.twitch_tokens import BOT_SCOPES  # noqa: PLC0415

    secret = chosen.client_secret.get_secret_value() if chosen.client_secret is not None else ""
    identity = TwitchId(http, client_id=chosen.client_id, client_secret=secret, id_url=chosen.id_url)
    try:
        async with asyncio.timeout(_WAIT_S):
            await identity.app_token()
    except ChatRefused as refused:
        return bad("Twitch", str(refused), "See [twitch] client_id and GAMESPOTTER_TWITCH__CLIENT_SECRET.")
    except (ChatProblem, TimeoutError):
        return bad("Twitch", "it gives out no token just now", "Try again; see https://status.twitch.tv.")
    if not chosen.chat:
        return good("Twitch", "the credentials are accepted; [twitch] chat is false")
    if not chosen.has_token_key:
        return warning(
            "Twitch",
            "the credentials are accepted; the chat is off without a key for its tokens",
            "Set GAMESPOTTER_TWITCH__TOKEN_KEY; `python -m bot authorise --new-key` makes one.",
        )
    try:
        async with open_storage(settings, at_once=False) as storage:
            # Asked for tokens before it is there, SQLite would make an empty file.
            await storage.database.check()
            tokens = await token_vault(settings, storage).all()
    except ChatRefused as refused:
        return bad("Twitch", str(refused), "Set GAMESPOTTER_TWITCH__TOKEN_KEY to the key that was used so far.")
    except StorageError:
        tokens = ()
    bot = next((each for each in tokens if each.is_bot), None)
    if bot is None:
        return bad("Twitch", "no account was granted to the bot", "Run `python -m bot authorise`.")
    if missing := sorted(set(BOT_SCOPES) - set(bot.scopes)):
        return bad(
            "Twitch", f"{bot.login} has not granted {', '.join(missing)}", "Run `python -m bot authorise` again."
        )
    try:
        owner = await identity.owner(bot.access)
    except ChatProblem:
        owner = None
    broadcasters = sum(1 for each in tokens if each.is_broadcaster)
    spent = "" if owner is not None else "; its token is spent and renewed at the next start"
    return good("Twitch", f"chat as {bot.login}, {broadcasters} broadcasters authorised it{spent}")


async def discord(settings: Settings, http: aiohttp.ClientSession) -> Finding:
    """Token and intents."""
    chosen = settings.discord
    if not chosen.chat:
        return off("Discord", "[discord] chat is false")
    if not chosen.has_token or chosen.token is None:
        return off("Discord", "no token", "Set GAMESPOTTER_DISCORD__TOKEN in the environment.")
    address = f"{(chosen.api_url or _DISCORD_API).rstrip('/')}/oauth2/applications/@me"
    headers = {"Authorization": f"Bot {chosen.token.get_secret_value()}"}
    try:
        async with http.get(address, headers=headers, allow_redirects=False) as answer:
            status, body = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return bad("Discord", f"it does not answer ({_reason(error)})", "Try again; see https://discordstatus.com.")
    if status in (401, 403):
        return bad("Discord", "it does not accept the token", "Make a new one in its developer portal, and set it.")
    application = _object(body)
    if status != 200 or application is None:
        return bad("Discord", f"it answers with status {status}", "Try again; see https://discordstatus.com.")
    name, flags = application.get("name"), application.get("flags")
    said = f"the token of {name if isinstance(name, str) else 'the bot'} is accepted"
    if chosen.message_content and not (isinstance(flags, int) and flags & _MESSAGE_CONTENT_FLAGS):
        return warning(
            "Discord",
            f"{said}, and the intent to read messages is not granted",
            "Switch on Message Content Intent in its developer portal, or set [discord] message_content = false.",
        )
    return good("Discord", said)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


# What is printed


def _as_line(finding: Finding) -> str:
    line = f"{finding.state:<8} {finding.part:<10} {_one_line(finding.said)}"
    return f"{line}\n{'':<20}→ {finding.do}" if finding.do else line


def _as_json(finding: Finding) -> str:
    return json.dumps(
        {"part": finding.part, "state": finding.state.value, "said": finding.said, "do": finding.do},
        ensure_ascii=False,
    )


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().removesuffix(".")
