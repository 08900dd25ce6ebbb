"""Discord on loopback: as much of its REST interface and of its gateway as one bot uses, and what it minds.

It keeps what a real Discord keeps (commands, messages, sessions with their events, rate limits), plays the people who
ask, and writes down under ``violations`` whatever a bot must not do. With the environment variable
GAMESPOTTER_DISCORD_OPENAPI, which holds the path of Discord's OpenAPI document, every body that a bot sends and every
answer that is given here is held against that document.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import itertools
import json
import math
import os
import re
import time
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

TOKEN = "bot-token-of-the-stand-in"
BOT_ID = 900_000_000_000_000_001
GUILD_ID = 900_000_000_000_000_002
CHANNEL_ID = 900_000_000_000_000_003
MODERATORS_ROLE_ID = 900_000_000_000_000_004
ELSEWHERE_ID = 900_000_000_000_000_006
OTHER_ROLE_ID = 900_000_000_000_000_005

MANAGE_MESSAGES = 1 << 13
SEND_MESSAGES = 1 << 11

MESSAGE_CONTENT = 1 << 15
CONTENT_GRANTED = 1 << 19
EPHEMERAL = 1 << 6

ACKNOWLEDGE_S = 3.0
OPENAPI = os.environ.get("GAMESPOTTER_DISCORD_OPENAPI")

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 7, 9, 10, 11

_FILES = web.RequestKey("files", list[tuple[str, bytes]])
_NUMBER = web.RequestKey("number", int)

_ids = itertools.count(910_000_000_000_000_000)


def new_id() -> int:
    return next(_ids)


@dataclass(kw_only=True)
class Person:
    """Somebody who asks."""

    id: int = field(default_factory=new_id)
    name: str = "asker"
    permissions: int = SEND_MESSAGES
    roles: tuple[int, ...] = ()
    locale: str = "en-US"

    def user(self) -> dict[str, Any]:
        return user(self.id, self.name)

    def member(self) -> dict[str, Any]:
        return {
            "user": self.user(),
            "roles": [str(role) for role in self.roles],
            "joined_at": "2024-01-01T00:00:00+00:00",
            "deaf": False,
            "mute": False,
            "flags": 0,
            "permissions": str(self.permissions),
        }


@dataclass(kw_only=True)
class Asked:
    """One interaction and what became of it."""

    id: int
    token: str
    kind: int
    at_s: float
    person: Person
    channel_id: int
    acknowledged_s: float | None = None
    callback: dict[str, Any] | None = None
    deferred_ephemeral: bool = False
    original: dict[str, Any] | None = None
    was_deleted: bool = False
    followups: list[dict[str, Any]] = field(default_factory=list)
    late: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [*([self.original] if self.original else []), *self.followups]

    async def acknowledged(self, *, within_s: float = 10.0) -> Asked:
        return await self._until(lambda: self.callback is not None, within_s)

    async def answered(self, *, within_s: float = 10.0) -> dict[str, Any]:
        """The first message that says something."""
        await self._until(lambda: bool(self.messages), within_s)
        return self.messages[0]

    async def gone(self, *, within_s: float = 10.0) -> Asked:
        return await self._until(lambda: self.was_deleted, within_s)

    async def _until(self, done: Any, within_s: float) -> Asked:
        async with asyncio.timeout(within_s):
            while not done():
                self.changed.clear()
                await self.changed.wait()
        return self


@dataclass(kw_only=True)
class Fault:
    """What the next requests that fit are answered with."""

    method: str
    path: re.Pattern[str]
    status: int
    times: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    is_done: bool = False


@dataclass(kw_only=True)
class Session:
    """One shard's session at the gateway."""

    id: str
    shard: tuple[int, int]
    intents: int
    events: list[dict[str, Any]] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None
    send: Any = None

    @property
    def seq(self) -> int:
        return len(self.events)


class DiscordStandIn:
    """An async context manager that listens on a port of its own."""

    def __init__(self, *, granted: int = CONTENT_GRANTED, shards: int = 1, content_allowed: bool = True) -> None:
        self.granted = granted
        self.content_allowed = content_allowed
        self.shards = shards
        self.token = TOKEN
        self.starts_left = 1000
        self.heartbeat_ms = 41_250
        self.identify_gap_s = 0.0
        self.gateway_refuses = 0
        self.close_on_identify: list[int] = []
        self.close_on_resume: list[int] = []
        self.servers = {GUILD_ID: [CHANNEL_ID]}
        self.commands: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.answers_checked = 0
        self.bodies_checked = 0
        self.violations: list[str] = []
        self.messages: dict[int, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.files: dict[int, list[bytes]] = {}
        self.asked: dict[str, Asked] = {}
        self.sessions: dict[str, Session] = {}
        self.identifies: list[dict[str, Any]] = []
        self.resumes: list[dict[str, Any]] = []
        self.heartbeats = 0
        self.faults: list[Fault] = []
        self.allowed_mentions: list[Any] = []
        self.answer_delay_s = 0.0
        self._nonces: dict[tuple[int, str], dict[str, Any]] = {}
        self._global: deque[float] = deque()
        self._buckets: dict[str, deque[float]] = defaultdict(deque)
        self._changed = asyncio.Event()
        self._open: set[web.WebSocketResponse] = set()
        self._listening = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._minded])
        app.router.add_get("/gateway-ws", self._gateway)
        app.router.add_get("/gateway-ws/", self._gateway)
        api = "/api/v10"
        app.router.add_get(f"{api}/users/@me", self._me)
        app.router.add_get(f"{api}/oauth2/applications/@me", self._application)
        app.router.add_get(f"{api}/gateway/bot", self._gateway_bot)
        app.router.add_get(f"{api}/applications/{{application_id}}/commands", self._get_commands)
        app.router.add_put(f"{api}/applications/{{application_id}}/commands", self._put_commands)
        app.router.add_post(f"{api}/interactions/{{interaction_id}}/{{token}}/callback", self._callback)
        app.router.add_post(f"{api}/webhooks/{{application_id}}/{{token}}", self._follow_up)
        app.router.add_patch(f"{api}/webhooks/{{application_id}}/{{token}}/messages/@original", self._edit_original)
        app.router.add_delete(f"{api}/webhooks/{{application_id}}/{{token}}/messages/@original", self._delete_original)
        app.router.add_post(f"{api}/channels/{{channel_id}}/messages", self._create_message)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        self._listening.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in list(self._open):
            await socket.close(code=1001)
        await self._listening.aclose()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/v10"

    @property
    def gateway_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gateway-ws"

    @property
    def channels(self) -> list[int]:
        return self.servers[GUILD_ID]

    @channels.setter
    def channels(self, channels: list[int]) -> None:
        self.servers[GUILD_ID] = channels

    def add_server_on(self, shard: int) -> int:
        """A server more, which belongs to a shard; it has one channel."""
        number = next(number for number in itertools.count(new_id(), 1 << 22) if (number >> 22) % self.shards == shard)
        self.servers[number] = [new_id()]
        return number

    # What people do

    async def slash(
        self,
        name: str,
        *,
        person: Person | None = None,
        age_s: float = 0.0,
        where: str = "server",
        server: int | None = None,
        **options: Any,
    ) -> Asked:
        """A command of a person.

        With ``age_s`` it was on its way for so long; ``where`` may be ``dm``, or ``elsewhere``: a server that the bot
        is no member of, by somebody who has it installed. With ``server`` all are told that hear its shard, which may
        be nobody.
        """
        if server is None:
            await self.connected()
        data = self._command_data(name, options)
        return await self._interact(2, data, person=person, age_s=age_s, where=where, server=server)

    async def suggestions(self, name: str, *, person: Person | None = None, focused: str, **options: Any) -> list[str]:
        await self.connected()
        data = self._command_data(name, options)
        for option in data["options"]:
            option["focused"] = option["name"] == focused
        asked = await self._interact(4, data, person=person)
        await asked.acknowledged()
        assert asked.callback is not None
        return [choice["value"] for choice in asked.callback["data"]["choices"]]

    async def press(self, message: dict[str, Any], label: str, *, person: Person | None = None) -> Asked:
        button = next(part for part in self.components(message) if part.get("label") == label)
        data = {"component_type": 2, "custom_id": button["custom_id"], "id": button["id"]}
        return await self._interact(3, data, person=person, message=message)

    async def choose(self, message: dict[str, Any], label: str, *, person: Person | None = None) -> Asked:
        select = next(part for part in self.components(message) if part["type"] == 3)
        value = next(option["value"] for option in select["options"] if option["label"] == label)
        data = {"component_type": 3, "custom_id": select["custom_id"], "id": select["id"], "values": [value]}
        return await self._interact(3, data, person=person, message=message)

    async def send_in(self, form: Asked, text: str, *, person: Person | None = None) -> Asked:
        assert form.callback is not None
        data = form.callback["data"]
        (row,) = data["components"]
        field_id = row["component"]["custom_id"]
        components = [{"type": 18, "id": 1, "component": {"type": 4, "id": 2, "custom_id": field_id, "value": text}}]
        return await self._interact(5, {"custom_id": data["custom_id"], "components": components}, person=person)

    async def message_command(self, name: str, message: dict[str, Any], *, person: Person | None = None) -> Asked:
        await self.connected()
        command = next(command for command in self.commands if command["name"] == name)
        data = {
            "id": command["id"],
            "name": name,
            "type": 3,
            "target_id": message["id"],
            "resolved": {"messages": {message["id"]: message}},
        }
        return await self._interact(2, data, person=person)

    async def say(
        self,
        text: str,
        *,
        person: Person | None = None,
        channel_id: int = CHANNEL_ID,
        mentions_bot: bool = False,
        message_id: int | None = None,
        server: int | None = None,
    ) -> dict[str, Any]:
        """A message of a person; its text is only told to a bot that may read it."""
        person = person or Person()
        if server is not None:
            channel_id = self.servers[server][0]
        message = self._message(message_id or new_id(), channel_id, person.user(), {"content": text})
        if mentions_bot:
            message["mentions"] = [user(BOT_ID, "GameSpotter", bot=True)]
        member = person.member()
        del member["user"], member["permissions"]
        event = {**message, "guild_id": str(server or GUILD_ID), "member": member}
        self.messages[int(message["id"])] = message
        for session in [await self.connected()] if server is None else self.hearing(server):
            if not session.intents & MESSAGE_CONTENT and not mentions_bot:
                event["content"] = ""
            await self._dispatch(session, "MESSAGE_CREATE", event)
        return event

    async def replies_to(
        self, message: dict[str, Any], *, count: int = 1, within_s: float = 10.0
    ) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]]:
            return [
                sent for sent in self.sent if (sent.get("message_reference") or {}).get("message_id") == message["id"]
            ]

        await self.until(lambda: len(found()) >= count, within_s=within_s)
        return found()

    @staticmethod
    def components(message: dict[str, Any]) -> list[dict[str, Any]]:
        return [part for row in message["components"] for part in row["components"]]

    async def repeat(self, asked: Asked) -> None:
        """The same event once more, as after a resumed session."""
        session = await self.connected()
        event = next(
            event["d"]
            for one in self.sessions.values()
            for event in one.events
            if event["t"] == "INTERACTION_CREATE" and event["d"]["id"] == str(asked.id)
        )
        await self._dispatch(session, "INTERACTION_CREATE", event)

    # What Discord does

    async def connected(self, *, count: int = 1, within_s: float = 10.0) -> Session:
        """The session of the first shard, as soon as ``count`` shards are there."""

        await self.until(lambda: len(self.open_sessions()) >= count, within_s=within_s)
        return min(self.open_sessions(), key=lambda one: one.shard)

    def open_sessions(self) -> list[Session]:
        return [one for one in self.sessions.values() if one.socket is not None and not one.socket.closed]

    def hearing(self, server: int) -> list[Session]:
        """Those that are told what happens in a server."""
        return [one for one in self.open_sessions() if one.shard[0] == (server >> 22) % one.shard[1]]

    async def hang_up(self, code: int) -> None:
        """Close every shard's connection; the sessions stay, to be resumed."""
        for session in self.sessions.values():
            if session.socket is not None and not session.socket.closed:
                socket, session.socket = session.socket, None
                await socket.close(code=code)

    async def close_all(self, code: int) -> None:
        """The same, and the sessions are gone."""
        await self.hang_up(code)
        self.sessions.clear()

    async def forget(self) -> None:
        """Let sessions end as they do when a client was away for too long."""
        sockets = [session.socket for session in self.sessions.values() if session.socket is not None]
        self.sessions.clear()
        for socket in sockets:
            await socket.close(code=4000)

    async def miss(self, session: Session, text: str) -> dict[str, Any]:
        """A message that comes while nobody is connected."""
        person = Person()
        message = self._message(new_id(), CHANNEL_ID, person.user(), {"content": text})
        member = person.member()
        del member["user"], member["permissions"]
        event = {**message, "guild_id": str(GUILD_ID), "member": member}
        session.events.append({"op": DISPATCH, "t": "MESSAGE_CREATE", "s": session.seq + 1, "d": event})
        return event

    @property
    def is_connected(self) -> bool:
        return bool(self._open)

    def lose_answers(self, method: str, path: str, *, times: int) -> None:
        """Do what is asked, and answer as if it had failed."""
        self.fail(method, path, 500, times=times)
        self.faults[-1].is_done = True

    async def talk_nonsense(self) -> None:
        session = await self.connected()
        await self._dispatch(session, "INTERACTION_CREATE", {"id": "1"})

    async def ask_to_reconnect(self) -> None:
        session = await self.connected()
        await session.send({"op": RECONNECT, "d": None})

    def fail(self, method: str, path: str, status: int, *, times: int = 1, body: Any = None, **headers: str) -> None:
        self.faults.append(
            Fault(
                method=method,
                path=re.compile(path),
                status=status,
                times=times,
                body=body if body is not None else {"message": "fault", "code": 0},
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            )
        )

    async def until(self, done: Any, *, within_s: float = 10.0) -> None:
        async with asyncio.timeout(within_s):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    def count(self, method: str, path: str) -> int:
        return sum(1 for verb, where, _ in self.requests if verb == method and re.fullmatch(path, where))

    # Interactions

    def _command_data(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        command = next(command for command in self.commands if command["name"] == name)
        kinds = {option["name"]: option["type"] for option in command.get("options") or ()}
        return {
            "id": command["id"],
            "name": name,
            "type": 1,
            "options": [{"name": key, "type": kinds[key], "value": value} for key, value in options.items()],
        }

    async def _interact(
        self,
        kind: int,
        data: dict[str, Any],
        *,
        person: Person | None,
        message: dict[str, Any] | None = None,
        age_s: float = 0.0,
        where: str = "server",
        server: int | None = None,
    ) -> Asked:
        person = person or Person()
        sessions = [await self.connected()] if server is None else self.hearing(server)
        number = new_id()
        asked = Asked(
            id=number,
            token=f"interaction-token-{number}",
            kind=kind,
            at_s=time.monotonic() - age_s,
            person=person,
            channel_id=CHANNEL_ID,
        )
        self.asked[asked.token] = asked
        event: dict[str, Any] = {
            "id": str(asked.id),
            "application_id": str(BOT_ID),
            "type": kind,
            "token": asked.token,
            "version": 1,
            "data": data,
            "guild_id": str(GUILD_ID),
            "channel_id": str(CHANNEL_ID),
            "channel": {
                "id": str(CHANNEL_ID),
                "type": 0,
                "name": "general",
                "position": 0,
                "permissions": "0",
                "guild_id": str(GUILD_ID),
            },
            "guild": {"id": str(GUILD_ID), "locale": "en-US", "features": []},
            "member": person.member(),
            "locale": person.locale,
            "guild_locale": "en-US",
            "app_permissions": "2147483647",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(GUILD_ID)},
            "context": 0,
            "attachment_size_limit": 10_485_760,
        }
        if message is not None:
            event["message"] = message
        if where == "dm":
            for key in ("guild_id", "guild", "member", "guild_locale"):
                del event[key]
            event["user"] = person.user()
            event["context"] = 1
            event["channel"] = {
                "id": str(CHANNEL_ID),
                "type": 1,
                "recipients": [person.user()],
                "last_message_id": None,
            }
            event["authorizing_integration_owners"] = {"1": str(person.id)}
        elif where == "elsewhere":
            event["guild_id"] = event["guild"]["id"] = event["channel"]["guild_id"] = str(ELSEWHERE_ID)
            event["authorizing_integration_owners"] = {"1": str(person.id)}
        elif server is not None:
            event["guild_id"] = event["guild"]["id"] = event["channel"]["guild_id"] = str(server)
            event["authorizing_integration_owners"] = {"0": str(server)}
        for session in sessions:
            await self._dispatch(session, "INTERACTION_CREATE", event)
        return asked

    async def _callback(self, request: web.Request) -> web.Response:
        asked = self.asked.get(request.match_info["token"])
        body = await self._body(request)
        if asked is None or str(asked.id) != request.match_info["interaction_id"]:
            return self._error(404, 10062, "Unknown interaction")
        if asked.callback is not None:
            self.violations.append(f"interaction {asked.id} was acknowledged twice")
            return self._error(400, 40060, "Interaction has already been acknowledged.")
        now_s = time.monotonic()
        if now_s - asked.at_s > ACKNOWLEDGE_S:
            asked.late = True
            self.violations.append(f"interaction {asked.id} was acknowledged after {now_s - asked.at_s:.1f} s")
            return self._error(404, 10062, "Unknown interaction")
        asked.acknowledged_s = now_s - asked.at_s
        asked.callback = body
        kind, data = body["type"], body.get("data") or {}
        answer: dict[str, Any] = {"id": str(asked.id), "type": asked.kind}
        whole: dict[str, Any] = {"interaction": answer}
        if kind in (4, 5):
            ephemeral = bool(data.get("flags", 0) & EPHEMERAL)
            if kind == 4:
                asked.original = self._message(new_id(), asked.channel_id, _me(), data)
                self.messages[int(asked.original["id"])] = asked.original
                answer["response_message_id"] = asked.original["id"]
                whole["resource"] = {"type": kind, "message": asked.original}
            else:
                asked.deferred_ephemeral = ephemeral
                answer["response_message_id"] = str(new_id())
            answer["response_message_ephemeral"] = ephemeral
            answer["response_message_loading"] = kind == 5
        self._tell(asked)
        if request.query.get("with_response") in ("1", "true"):
            return self._json(request, whole)
        return web.Response(status=204)

    async def _edit_original(self, request: web.Request) -> web.Response:
        asked = self.asked.get(request.match_info["token"])
        body = await self._body(request)
        if asked is None or asked.callback is None or asked.was_deleted:
            return self._error(404, 10008, "Unknown Message")
        flags = EPHEMERAL if asked.deferred_ephemeral else 0
        number = int(asked.original["id"]) if asked.original else new_id()
        asked.original = self._message(number, asked.channel_id, _me(), {**body, "flags": flags}, files=request[_FILES])
        self.messages[number] = asked.original
        self._tell(asked)
        return self._json(request, asked.original)

    async def _delete_original(self, request: web.Request) -> web.Response:
        asked = self.asked.get(request.match_info["token"])
        if asked is None or asked.callback is None or asked.was_deleted:
            return self._error(404, 10008, "Unknown Message")
        asked.was_deleted = True
        asked.original = None
        self._tell(asked)
        return web.Response(status=204)

    async def _follow_up(self, request: web.Request) -> web.Response:
        asked = self.asked.get(request.match_info["token"])
        body = await self._body(request)
        if asked is None or asked.callback is None:
            return self._error(404, 10015, "Unknown Webhook")
        message = self._message(new_id(), asked.channel_id, _me(), body, files=request[_FILES])
        self.messages[int(message["id"])] = message
        if asked.callback["type"] == 5 and asked.original is None and not asked.was_deleted:
            # The first one takes the place of what was announced, and is for whom that was.
            message["flags"] = EPHEMERAL if asked.deferred_ephemeral else 0
            asked.original = message
        else:
            asked.followups.append(message)
        self._tell(asked)
        return self._json(request, message)

    async def _create_message(self, request: web.Request) -> web.Response:
        channel_id = int(request.match_info["channel_id"])
        body = await self._body(request)
        if not any(channel_id in channels for channels in self.servers.values()):
            return self._error(404, 10003, "Unknown Channel")
        key = (channel_id, str(body.get("nonce")))
        if body.get("enforce_nonce") and key in self._nonces:
            return self._json(request, self._nonces[key])
        message = self._message(new_id(), channel_id, _me(), body, files=request[_FILES])
        if reference := body.get("message_reference"):
            message["type"] = 19
            message["message_reference"] = {"type": 0, "channel_id": str(channel_id), "guild_id": str(GUILD_ID)}
            message["message_reference"]["message_id"] = str(reference["message_id"])
        if body.get("enforce_nonce"):
            self._nonces[key] = message
        self.messages[int(message["id"])] = message
        self.sent.append(message)
        self._changed.set()
        return self._json(request, message)

    def _tell(self, asked: Asked) -> None:
        asked.changed.set()
        self._changed.set()

    def _message(
        self,
        number: int,
        channel_id: int,
        author: dict[str, Any],
        body: dict[str, Any],
        *,
        files: list[tuple[str, bytes]] | None = None,
    ) -> dict[str, Any]:
        ids = itertools.count(1)
        components = copy.deepcopy(body.get("components") or [])
        for row in components:
            row["id"] = next(ids)
            for part in row["components"]:
                part["id"] = next(ids)
                if part["type"] == 3:
                    part.setdefault("min_values", 1)
                    part.setdefault("max_values", 1)
        attachments = [
            {
                "id": str(new_id()),
                "filename": name,
                "size": len(content),
                "url": f"http://127.0.0.1:{self.port}/attachments/{name}",
                "proxy_url": f"http://127.0.0.1:{self.port}/attachments/{name}",
            }
            for name, content in files or ()
        ]
        self.files[number] = [content for _, content in files or ()]
        embeds = []
        for embed in copy.deepcopy(body.get("embeds") or []):
            embed["type"] = "rich"
            for name, _ in files or ():
                if (embed.get("image") or {}).get("url") == f"attachment://{name}":
                    embed["image"] = {
                        "url": f"http://127.0.0.1:{self.port}/attachments/{name}",
                        "width": 1,
                        "height": 1,
                    }
            if str((embed.get("image") or {}).get("url", "")).startswith("attachment://"):
                self.violations.append("an embed shows a file that was not sent")
            embeds.append(embed)
        return {
            "id": str(number),
            "type": 0,
            "channel_id": str(channel_id),
            "author": author,
            "content": body.get("content") or "",
            "mentions": [],
            "mention_roles": [],
            "mention_everyone": False,
            "attachments": attachments,
            "embeds": embeds,
            "timestamp": datetime.now(UTC).isoformat(),
            "edited_timestamp": None,
            "flags": int(body.get("flags") or 0),
            "components": components,
            "pinned": False,
            "tts": False,
        }

    # The rest of REST

    async def _me(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bot {self.token}":
            return self._error(401, 0, "401: Unauthorized")
        return self._json(request, {**_me(), "mfa_enabled": True, "locale": "en-US", "bot": True})

    async def _application(self, request: web.Request) -> web.Response:
        return self._json(
            request,
            {
                "id": str(BOT_ID),
                "name": "GameSpotter",
                "icon": None,
                "description": "",
                "type": None,
                "verify_key": "0" * 64,
                "flags": self.granted,
                "flags_new": str(self.granted),
                "redirect_uris": [],
                "interactions_endpoint_url": None,
                "role_connections_verification_url": None,
                "owner": user(new_id(), "owner"),
                "approximate_guild_count": 1,
                "approximate_user_install_count": 0,
                "approximate_user_authorization_count": 0,
                "explicit_content_filter": 0,
                "team": None,
                "eligible_oauth2_scopes": [],
                "bot_public": True,
                "bot_require_code_grant": False,
            },
        )

    async def _gateway_bot(self, request: web.Request) -> web.Response:
        limit = {"total": 1000, "remaining": self.starts_left, "reset_after": 3_600_000, "max_concurrency": 1}
        return self._json(request, {"url": self.gateway_url, "shards": self.shards, "session_start_limit": limit})

    async def _get_commands(self, request: web.Request) -> web.Response:
        commands = copy.deepcopy(self.commands)
        if request.query.get("with_localizations") != "true":
            for command in commands:
                for part in (command, *(command.get("options") or ())):
                    part.pop("name_localizations", None)
                    part.pop("description_localizations", None)
        return self._json(request, commands)

    async def _put_commands(self, request: web.Request) -> web.Response:
        self.commands = []
        for command in await self._body(request):
            permissions = command.get("default_member_permissions")
            kept = {
                **command,
                "id": str(new_id()),
                "application_id": str(BOT_ID),
                "version": str(new_id()),
                "description": command.get("description", ""),
                "default_member_permissions": None if permissions is None else str(permissions),
            }
            # Discord leaves out what is as if it was not said.
            kept["options"] = [
                {key: value for key, value in option.items() if value not in (False, None, [], {})}
                for option in command.get("options") or ()
            ]
            if not kept["options"]:
                del kept["options"]
            self.commands.append(kept)
        return self._json(request, self.commands)

    async def _body(self, request: web.Request) -> Any:
        """What was sent, held against the document; pictures go to what is kept beside the request."""
        request[_FILES] = []
        if request.content_type == "multipart/form-data":
            body: Any = None
            async for part in await request.multipart():
                assert isinstance(part, aiohttp.BodyPartReader)
                if part.name == "payload_json":
                    body = json.loads(await part.text())
                else:
                    request[_FILES].append((part.filename, bytes(await part.read())))
        else:
            text = await request.text()
            body = json.loads(text) if text else None
        self.requests[request[_NUMBER]] = (request.method, request.path.removeprefix("/api/v10"), body)
        if body is not None:
            self._check(request, body, answer=False)
        # Whatever is said carries it; an acknowledgement says nothing yet.
        said = (body.get("data") if "/callback" in request.path else body) if isinstance(body, dict) else None
        if isinstance(said, dict) and ("content" in said or "embeds" in said):
            self.allowed_mentions.append(said.get("allowed_mentions"))
            if (said.get("allowed_mentions") or {"parse": "everything"}).get("parse") != []:
                self.violations.append(f"{request.path} may mention people")
        return body

    def _json(self, request: web.Request, body: Any) -> web.Response:
        self._check(request, body, answer=True)
        # discord.py reads nothing that has a charset in its content type.
        response = web.Response(body=json.dumps(body).encode())
        response.headers["Content-Type"] = "application/json"
        return response

    @staticmethod
    def _error(status: int, code: int, message: str, **headers: str) -> web.Response:
        response = web.Response(status=status, body=json.dumps({"message": message, "code": code}).encode())
        response.headers["Content-Type"] = "application/json"
        response.headers.update(headers)
        return response

    @web.middleware
    async def _minded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        path = request.path.removeprefix("/api/v10")
        request[_NUMBER] = len(self.requests)
        self.requests.append((request.method, path, None))
        self._changed.set()
        for fault in self.faults:
            if fault.times and fault.method == request.method and fault.path.fullmatch(path):
                fault.times -= 1
                if fault.is_done:
                    await handler(request)
                await request.read()
                return web.Response(
                    status=fault.status,
                    body=json.dumps(fault.body).encode(),
                    headers={"Content-Type": "application/json", **fault.headers},
                )
        is_interaction = path.startswith(("/interactions/", "/webhooks/"))
        if not is_interaction and request.headers.get("Authorization") != f"Bot {self.token}":
            return self._error(401, 0, "401: Unauthorized")
        limited = self._limited(request.method, path, is_global=not is_interaction)
        if limited is not None:
            await request.read()
            return limited
        if self.answer_delay_s:
            await asyncio.sleep(self.answer_delay_s)
        response: web.StreamResponse = await handler(request)
        response.headers.update(self._limit_headers(request.method, path))
        return response

    # Rate limits: 50 a second in all but for interactions, and for each route and its major parameter

    @staticmethod
    def _bucket(method: str, path: str) -> tuple[str, int, float] | None:
        if method == "POST" and (match := re.fullmatch(r"/channels/(\d+)/messages", path)):
            return f"messages:{match[1]}", 5, 5.0
        if match := re.fullmatch(r"/webhooks/\d+/([^/]+)(/messages/.*)?", path):
            return f"webhook:{match[1]}", 5, 2.0
        if method == "PUT":
            return "commands", 10, 60.0
        return None

    def _limited(self, method: str, path: str, *, is_global: bool) -> web.Response | None:
        now_s = time.monotonic()
        if is_global:
            while self._global and now_s - self._global[0] >= 1.0:
                self._global.popleft()
            if len(self._global) >= 50:
                self.violations.append(f"more than 50 requests in a second: {method} {path}")
                return self._too_many(1.0 - (now_s - self._global[0]), everywhere=True)
            self._global.append(now_s)
        bucket = self._bucket(method, path)
        if bucket is None:
            return None
        name, limit, window_s = bucket
        used = self._buckets[name]
        if used and now_s - used[0] >= window_s:  # a window begins with its first request, and ends as a whole
            used.clear()
        if len(used) >= limit:
            self.violations.append(f"more than {limit} requests in {window_s} s: {method} {path}")
            return self._too_many(window_s - (now_s - used[0]), everywhere=False)
        used.append(now_s)
        return None

    def _too_many(self, wait_s: float, *, everywhere: bool) -> web.Response:
        body = {"message": "You are being rate limited.", "retry_after": round(wait_s, 3), "global": everywhere}
        return web.Response(
            status=429,
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Via": "1.1 stand-in", "Retry-After": f"{wait_s:.3f}"},
        )

    def _limit_headers(self, method: str, path: str) -> dict[str, str]:
        bucket = self._bucket(method, path)
        if bucket is None:
            return {}
        name, limit, window_s = bucket
        used = self._buckets[name]
        reset_s = max(window_s - (time.monotonic() - used[0]), 0.0) if used else 0.0
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - len(used), 0)),
            "X-RateLimit-Reset": f"{time.time() + reset_s:.3f}",
            "X-RateLimit-Reset-After": f"{math.ceil(reset_s * 1000) / 1000:.3f}",
            "X-RateLimit-Bucket": name.partition(":")[0],
        }

    # The gateway

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        if self.gateway_refuses:
            self.gateway_refuses -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        self._open.add(socket)
        deflate = zlib.compressobj() if request.query.get("compress") == "zlib-stream" else None

        async def send(payload: dict[str, Any]) -> None:
            if socket.closed:
                return
            text = json.dumps({"s": None, "t": None, **payload})
            with contextlib.suppress(ConnectionError):
                if deflate is None:
                    await socket.send_str(text)
                else:
                    await socket.send_bytes(deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH))

        try:
            await send({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_ms}})
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                payload = json.loads(message.data)
                match payload["op"]:
                    case 1:
                        self.heartbeats += 1
                        self._changed.set()
                        await send({"op": HEARTBEAT_ACK, "d": None})
                    case 2:
                        await self._identify(socket, send, payload["d"])
                    case 6:
                        await self._resume(socket, send, payload["d"])
        finally:
            self._open.discard(socket)
            self._changed.set()
        return socket

    async def _identify(self, socket: web.WebSocketResponse, send: Any, data: dict[str, Any]) -> None:
        now_s = time.monotonic()
        if self.identifies and now_s - self.identifies[-1]["at_s"] < self.identify_gap_s:
            self.violations.append("sessions were asked for too fast")
        self.identifies.append({**data, "at_s": now_s})
        self._changed.set()
        if self.close_on_identify:
            await socket.close(code=self.close_on_identify.pop(0))
            return
        if data["token"] != self.token:
            await socket.close(code=4004)
            return
        if data["intents"] & MESSAGE_CONTENT and not self.content_allowed:
            await socket.close(code=4014)
            return
        self.starts_left -= 1
        shard = tuple(data.get("shard") or (0, 1))
        session = Session(id=f"session-{new_id()}", shard=shard, intents=data["intents"], socket=socket, send=send)
        ready = {
            "v": 10,
            "user": {**_me(), "mfa_enabled": True, "verified": True, "email": None},
            "guilds": [
                {"id": str(number), "unavailable": True}
                for number in self.servers
                if shard[0] == (number >> 22) % shard[1]
            ],
            "session_id": session.id,
            "resume_gateway_url": self.gateway_url,
            "shard": list(shard),
            "application": {"id": str(BOT_ID), "flags": self.granted},
            "private_channels": [],
        }
        await self._dispatch(session, "READY", ready)
        for guild in ready["guilds"]:
            await self._dispatch(session, "GUILD_CREATE", self._guild(int(guild["id"])))
        self.sessions[session.id] = session
        self._changed.set()

    async def _resume(self, socket: web.WebSocketResponse, send: Any, data: dict[str, Any]) -> None:
        self.resumes.append(data)
        if self.close_on_resume:
            await socket.close(code=self.close_on_resume.pop(0))
            return
        if data["token"] != self.token:
            await socket.close(code=4004)
            return
        session = self.sessions.get(data["session_id"])
        if session is None:
            await send({"op": INVALID_SESSION, "d": False})
            return
        session.send = send
        for event in session.events[data["seq"] :]:
            await send(event)
        await self._dispatch(session, "RESUMED", {})
        session.socket = socket
        self._changed.set()

    async def _dispatch(self, session: Session, name: str, data: dict[str, Any]) -> None:
        event = {"op": DISPATCH, "t": name, "s": session.seq + 1, "d": data}
        session.events.append(event)
        if session.send is not None:
            await session.send(event)

    def _guild(self, guild_id: int) -> dict[str, Any]:
        def role(number: int, name: str, permissions: int) -> dict[str, Any]:
            return {
                "id": str(number),
                "name": name,
                "permissions": str(permissions),
                "position": 1,
                "color": 0,
                "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
                "hoist": False,
                "managed": False,
                "mentionable": False,
                "flags": 0,
            }

        return {
            "id": str(guild_id),
            "name": "A server",
            "owner_id": str(new_id()),
            "roles": [
                role(guild_id, "@everyone", SEND_MESSAGES),
                role(MODERATORS_ROLE_ID, "mods", MANAGE_MESSAGES),
                role(OTHER_ROLE_ID, "helpers", SEND_MESSAGES),
            ],
            "channels": [
                {"id": str(number), "type": 0, "name": "general", "position": 0, "permission_overwrites": []}
                for number in self.servers[guild_id]
            ],
            "members": [{**Person(id=BOT_ID, name="GameSpotter").member(), "roles": []}],
            "member_count": 2,
            "threads": [],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "emojis": [],
            "stickers": [],
            "features": [],
            "preferred_locale": "en-US",
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "premium_progress_bar_enabled": False,
            "system_channel_flags": 0,
            "afk_timeout": 300,
            "large": False,
            "unavailable": False,
        }

    # Discord's own description

    def _check(self, request: web.Request, body: Any, *, answer: bool) -> None:
        if OPENAPI is None:
            return
        path = request.path.removeprefix("/api/v10")
        problem = _described(OPENAPI).problem(request.method.lower(), path, body, answer=answer)
        if answer:
            self.answers_checked += 1
        else:
            self.bodies_checked += 1
        if problem:
            self.violations.append(f"{'answer to' if answer else 'body of'} {request.method} {path}: {problem}")


def user(number: int, name: str, *, bot: bool = False) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": str(number),
        "username": name,
        "avatar": None,
        "discriminator": "0",
        "public_flags": 0,
        "flags": 0,
        "global_name": None if bot else name,
        "primary_guild": None,
    }
    if bot:
        row["bot"] = True
    return row


def _me() -> dict[str, Any]:
    return user(BOT_ID, "GameSpotter", bot=True)


class _Description:
    """Discord's OpenAPI document."""

    def __init__(self, path: str) -> None:
        self._answers = json.loads(Path(path).read_text(encoding="utf-8"))
        self._requests = copy.deepcopy(self._answers)
        # Discord takes ids as numbers too, as clients have always sent them.
        self._requests["components"]["schemas"]["SnowflakeType"] = {"type": ["string", "integer"]}
        self._templates = [
            (re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template))), template)
            for template in sorted(self._answers["paths"], key=lambda template: template.count("{"))
        ]
        self._validators: dict[tuple[str, str, bool], Any] = {}

    def problem(self, method: str, path: str, body: Any, *, answer: bool) -> str | None:
        template = next((template for pattern, template in self._templates if pattern.fullmatch(path)), None)
        if template is None or method not in self._answers["paths"][template]:
            return "Discord has no such operation"
        key = (method, template, answer)
        if key not in self._validators:
            self._validators[key] = self._validator(method, template, answer=answer)
        validator = self._validators[key]
        if validator is None:
            return "Discord describes no body here"
        errors = sorted(validator.iter_errors(body), key=lambda error: len(error.path))
        if not errors:
            return None
        worst = best_match(iter(errors))
        return f"{'/'.join(map(str, worst.absolute_path))}: {worst.message}"[:600]

    def _validator(self, method: str, template: str, *, answer: bool) -> Any:
        document = self._answers if answer else self._requests
        operation = document["paths"][template][method]
        holder = operation["responses"].get("200") if answer else operation.get("requestBody")
        content = (holder or {}).get("content", {})
        if "application/json" not in content:
            return None
        registry = Registry().with_resource("urn:discord", DRAFT202012.create_resource(document))
        schema = _absolute(content["application/json"]["schema"])
        return Draft202012Validator(schema, registry=registry)


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: f"urn:discord{value}" if key == "$ref" and isinstance(value, str) else _absolute(value)
            for key, value in schema.items()
        }
    return [_absolute(value) for value in schema] if isinstance(schema, list) else schema


@functools.cache
def _described(path: str) -> _Description:
    return _Description(path)
