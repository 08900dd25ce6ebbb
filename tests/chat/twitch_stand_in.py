"""Twitch on loopback, as far as a chat bot sees it: tokens, subscriptions, chat; with a switch for every fault.

What tokens, points and refusals look like is :mod:`demo.helix`'s. Rate limits are counted here, and what breaks one is
written down in :attr:`TwitchStandIn.violations`; its seconds may be shorter than Twitch's.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.helix import CLIENT_ID, CLIENT_SECRET, AppTokens, PointBucket, broadcaster_id, refusal

BOT = "gamespotter_bot"
BOT_ID = broadcaster_id(BOT)
BOT_SCOPES = ["user:bot", "user:read:chat", "user:write:chat"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A message that got into chat."""

    channel: str
    text: str
    parent: str | None
    at_s: float
    as_user: bool
    source_only: bool | None


@dataclass
class Grant:
    """What a user has granted."""

    login: str
    scopes: list[str]
    access: str
    refresh: str
    good: bool = True
    refresh_good: bool = True


@dataclass
class Device:
    scopes: list[str]
    answer: str = "authorization_pending"
    login: str = ""


@dataclass(eq=False)
class Session:
    """One EventSub connection."""

    id: str
    socket: web.WebSocketResponse
    subscriptions: dict[str, str] = field(default_factory=dict)
    """Channel ids by their subscriptions' ids."""
    silent: bool = False


class TwitchStandIn:
    """A server; an async context manager.

    Attributes:
        fail: next answers of a path, such as ``chat/messages``: statuses, each used once.
        slow_s: how long a path's answers take.
        drop: next drop codes of messages; empty for none although the message was not sent.
        swallow: next statuses that messages are answered with although they were said.
        forbidden: logins whose chat must not be read.
        moderated: logins of channels where the bot is a moderator.
        needs_grant: whether an application may write only where the broadcaster has granted it.
        forgives_repetition: whether the same line may come twice, as it does when the first seemed to fail.
        violations: what Twitch would have minded.
    """

    def __init__(self, *, second_s=1.0, keepalive_s=10.0, points=800):
        self.second_s = second_s
        self.keepalive_s = keepalive_s
        self.app_tokens = AppTokens()
        self.points = PointBucket(points=points, period=timedelta(seconds=60 * second_s))
        self.logins = {}
        self.grants: dict[str, Grant] = {}
        self.devices: dict[str, Device] = {}
        self.sessions: list[Session] = []
        self.said: list[Said] = []
        self.violations: list[str] = []
        self.requests = Counter()
        self.addresses: list[str] = []
        self.secrets = {CLIENT_SECRET}
        self.fail: defaultdict[str, deque[int]] = defaultdict(deque)
        self.slow_s: dict[str, float] = {}
        self.drop: deque[str] = deque()
        self.swallow: deque[int] = deque()
        self.forbidden: set[str] = set()
        self.moderated: set[str] = set()
        self.needs_grant = False
        self.forgives_repetition = False
        self.welcomes = True
        self.refresh_once = False
        self.device_interval = 0
        self.device_lifetime = 1800
        self._sent: defaultdict[str, list[float]] = defaultdict(list)
        self._texts: dict[tuple[str, str], float] = {}
        self._numbers = count(1)
        self._keepalives: set[asyncio.Task] = set()
        app = web.Application(middlewares=[self._middleware])
        app.router.add_post("/oauth2/token", self._token)
        app.router.add_post("/oauth2/device", self._device)
        app.router.add_get("/oauth2/validate", self._validate)
        app.router.add_get("/helix/users", self._users)
        app.router.add_get("/helix/eventsub/subscriptions", self._list)
        app.router.add_post("/helix/eventsub/subscriptions", self._subscribe)
        app.router.add_delete("/helix/eventsub/subscriptions", self._unsubscribe)
        app.router.add_post("/helix/chat/messages", self._message)
        app.router.add_get("/ws", self._ws)
        self.server = TestServer(app)

    async def __aenter__(self):
        await self.server.start_server()
        self.url = str(self.server.make_url("")).rstrip("/")
        self.ws_url = self.url.replace("http://", "ws://") + "/ws"
        return self

    async def __aexit__(self, *_):
        for task in self._keepalives:
            task.cancel()
        for session in tuple(self.sessions):
            await session.socket.close(drain=False)
        await self.server.close()

    # Who there is

    def user(self, login):
        self.logins[broadcaster_id(login)] = login
        return broadcaster_id(login)

    def grant(self, login, scopes):
        """Let a user grant something; returns the grant with its tokens."""
        grant = Grant(login, list(scopes), self._secret(), self._secret())
        self.grants[self.user(login)] = grant
        return grant

    def spend(self, login):
        """Let a user's access token be good no more."""
        self.grants[broadcaster_id(login)].good = False

    def withdraw(self, login):
        """Let a user take everything back."""
        grant = self.grants[broadcaster_id(login)]
        grant.good = grant.refresh_good = False

    # What happens in chat

    async def write(self, channel, text, *, by="viewer", badges=(), id_=None, copies=1, source=None, reply=False):
        """Let someone write; says the message's id. Every connection that reads the channel is told."""
        message_id = id_ or f"message-{next(self._numbers)}"
        event = self._event(channel, text, by, badges, message_id, source, reply)
        channel_id = broadcaster_id(channel)
        for session in tuple(self.sessions):
            for subscription_id, subscribed in session.subscriptions.items():
                if subscribed == channel_id:
                    for _ in range(copies):
                        await self._tell(session, subscription_id, channel_id, event)
        return message_id

    def answers(self, parent):
        return [said.text for said in self.said if said.parent == parent]

    async def drop_connections(self, code=4007):
        for session in tuple(self.sessions):
            self.sessions.remove(session)
            await session.socket.close(code=code, drain=False)

    def cut_connections(self):
        """End them without a word."""
        for session in tuple(self.sessions):
            self.sessions.remove(session)
            session.socket._req.transport.abort()

    def lose_subscription(self, channel):
        """Forget one and say nothing of it."""
        for session in self.sessions:
            lost = [id_ for id_, there in session.subscriptions.items() if there == broadcaster_id(channel)]
            for id_ in lost:
                del session.subscriptions[id_]

    async def move(self, token="move"):
        """Ask every connection to move."""
        for session in tuple(self.sessions):
            await self._send(
                session,
                "session_reconnect",
                {"session": {**self._session(session), "reconnect_url": f"{self.ws_url}?move={session.id}"}},
            )

    async def revoke(self, channel, status="authorization_revoked"):
        for session in tuple(self.sessions):
            for id_, there in tuple(session.subscriptions.items()):
                if there == broadcaster_id(channel):
                    del session.subscriptions[id_]
                    subscription = self._subscription(id_, there, session, status=status)
                    await self._send(session, "revocation", {"subscription": subscription})

    @property
    def live(self):
        return sorted(self.logins[channel] for session in self.sessions for channel in session.subscriptions.values())

    # id.twitch.tv

    async def _token(self, request):
        form = await request.post()
        match form.get("grant_type"):
            case "refresh_token":
                return self._refreshed(form)
            case "urn:ietf:params:oauth:grant-type:device_code":
                return self._device_token(form)
        answer = self.app_tokens.issue(form, datetime.now(UTC))
        if answer.status == 200:
            self.secrets.add(answer.body["access_token"])
        return _json(answer.body, status=answer.status)

    def _refreshed(self, form):
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return _json({"status": 403, "message": "invalid client secret"}, status=403)
        grant = next((grant for grant in self.grants.values() if grant.refresh == form.get("refresh_token")), None)
        if grant is None or not grant.refresh_good:
            return _json({"error": "Bad Request", "status": 400, "message": "Invalid refresh token"}, status=400)
        grant.access, grant.good = self._secret(), True
        if self.refresh_once:
            grant.refresh = self._secret()
        return _json(self._tokens(grant))

    async def _device(self, request):
        form = await request.post()
        if form.get("client_id") != CLIENT_ID:
            return _json({"status": 400, "message": "invalid client"}, status=400)
        code = self._secret()
        self.devices[code] = Device((form.get("scopes") or "").split())
        body = {
            "device_code": code,
            "expires_in": self.device_lifetime,
            "interval": self.device_interval,
            "user_code": "ABCDEFGH",
            "verification_uri": "https://www.twitch.tv/activate?public=true&device-code=ABCDEFGH",
        }
        return _json(body)

    def _device_token(self, form):
        device = self.devices.get(form.get("device_code"))
        if device is None:
            return _json({"status": 400, "message": "invalid device code"}, status=400)
        if device.answer != "granted":
            return _json({"status": 400, "message": device.answer}, status=400)
        del self.devices[form["device_code"]]
        return _json(self._tokens(self.grant(device.login, device.scopes)))

    def decide(self, answer, login=""):
        """Let the person at the page say something."""
        for device in self.devices.values():
            device.answer, device.login = answer, login

    async def _validate(self, request):
        token = request.headers.get("Authorization", "").partition(" ")[2]
        for user_id, grant in self.grants.items():
            if grant.access == token and grant.good:
                body = {
                    "client_id": CLIENT_ID,
                    "login": grant.login,
                    "scopes": grant.scopes,
                    "user_id": user_id,
                    "expires_in": 14000,
                }
                return _json(body)
        answer = self.app_tokens.validate(request.headers.get("Authorization", ""), datetime.now(UTC))
        return _json(answer.body, status=answer.status)

    def _tokens(self, grant):
        return {
            "access_token": grant.access,
            "refresh_token": grant.refresh,
            "expires_in": 14000,
            "scope": grant.scopes,
            "token_type": "bearer",
        }

    def _secret(self):
        secret = secrets.token_hex(15)
        self.secrets.add(secret)
        return secret

    # Helix

    @web.middleware
    async def _middleware(self, request, handler):
        path = request.path.removeprefix("/helix/").removeprefix("/")
        self.requests[f"{request.method} {path}"] += 1
        self.addresses.append(request.path_qs)
        if any(secret in request.path_qs for secret in self.secrets):
            self.violations.append(f"a secret in the address of {path}")
        if path in self.slow_s:
            await asyncio.sleep(self.slow_s[path])
        if self.fail[path]:
            status = self.fail[path].popleft()
            return _json({"error": "planned", "status": status, "message": "planned"}, status=status)
        if not request.path.startswith("/helix/"):
            return await handler(request)
        if request.headers.get("Client-Id") != CLIENT_ID or self._asker(request) is None:
            answer = refusal(401, "Invalid OAuth token")
            return _json(answer.body, status=401)
        now = datetime.now(UTC)
        if not self.points.spend(now):
            self.violations.append("points")
            answer = refusal(429, "Too Many Requests", self.points.headers(now))
            return _json(answer.body, status=429, headers=answer.headers)
        return await handler(request)

    def _asker(self, request):
        """The id of the user whose token it is; empty for the application's; None for neither."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        for user_id, grant in self.grants.items():
            if grant.access == token:
                return user_id if grant.good else None
        return "" if self.app_tokens.is_good(token, datetime.now(UTC)) else None

    async def _users(self, request):
        wanted = request.query.getall("login", [])
        known = {login: id_ for id_, login in self.logins.items()}
        rows = [
            {"id": known[login], "login": login, "display_name": login.title(), "type": "", "broadcaster_type": ""}
            for login in wanted
            if login in known
        ]
        return _json({"data": rows})

    async def _list(self, request):
        rows = [
            self._subscription(id_, channel, session)
            for session in self.sessions
            for id_, channel in session.subscriptions.items()
        ]
        start = int(request.query.get("after") or 0)
        cursor = {"cursor": str(start + 100)} if len(rows) > start + 100 else {}
        body = {"total": len(rows), "data": rows[start : start + 100], "pagination": cursor}
        return _json({**body, "total_cost": 0, "max_total_cost": 10})

    async def _subscribe(self, request):
        asked = await request.json()
        condition, session_id = asked["condition"], asked["transport"]["session_id"]
        user_id = self._asker(request)
        if not user_id or condition["user_id"] != user_id:
            return _json(refusal(403, "subscription missing proper authorization").body, status=403)
        if "user:read:chat" not in self.grants[user_id].scopes:
            return _json(refusal(403, "subscription missing proper authorization").body, status=403)
        session = next((session for session in self.sessions if session.id == session_id), None)
        if session is None:
            return _json(refusal(400, "websocket transport session does not exist").body, status=400)
        channel = condition["broadcaster_user_id"]
        if self.logins.get(channel) in self.forbidden:
            return _json(refusal(403, "subscription missing proper authorization").body, status=403)
        if channel in session.subscriptions.values():
            return _json(refusal(409, "subscription already exists").body, status=409)
        id_ = f"subscription-{next(self._numbers)}"
        session.subscriptions[id_] = channel
        row = self._subscription(id_, channel, session)
        return _json({"data": [row], "total": 1, "total_cost": 0, "max_total_cost": 10}, status=202)

    async def _unsubscribe(self, request):
        if not self._asker(request):
            return _json(refusal(401, "Invalid OAuth token").body, status=401)
        for session in self.sessions:
            if session.subscriptions.pop(request.query["id"], None) is not None:
                return web.Response(status=204)
        return _json(refusal(404, "subscription not found").body, status=404)

    async def _message(self, request):
        asked = await request.json()
        user_id, channel = self._asker(request), asked["broadcaster_id"]
        if asked["sender_id"] != BOT_ID or user_id not in ("", BOT_ID):
            return _json(refusal(401, "sender_id must match the token").body, status=401)
        granted = self.grants.get(channel)
        may = granted is not None and "channel:bot" in granted.scopes
        if not user_id and self.needs_grant and not may and self.logins[channel] not in self.moderated:
            return _json(refusal(401, "Missing scope: channel:bot").body, status=401)
        if user_id and "for_source_only" in asked:
            return _json(refusal(400, "for_source_only needs an app access token").body, status=400)
        if len(asked["message"]) > 500:
            return _json(refusal(400, "message too long").body, status=400)
        now_s = asyncio.get_running_loop().time()
        code = self.drop.popleft() if self.drop else self._counted(channel, asked["message"], now_s)
        if code is None:
            said = Said(
                channel=self.logins[channel],
                text=asked["message"],
                parent=asked.get("reply_parent_message_id"),
                at_s=now_s,
                as_user=bool(user_id),
                source_only=asked.get("for_source_only"),
            )
            self.said.append(said)
            await self._echo(said)
        if self.swallow:
            status = self.swallow.popleft()
            return _json({"error": "planned", "status": status, "message": "planned"}, status=status)
        row = {"message_id": secrets.token_hex(8) if code is None else "", "is_sent": code is None}
        reason = {"drop_reason": {"code": code, "message": "planned"}} if code else {}
        return _json({"data": [row | reason]})

    async def _echo(self, said):
        badges = ["moderator"] if said.channel in self.moderated else []
        await self.write(said.channel, said.text, by=BOT, badges=badges)

    def _counted(self, channel, text, now_s):
        second_s, sent = self.second_s, self._sent[channel]
        login = self.logins[channel]
        moderated = login in self.moderated
        within = [at_s for at_s in sent if now_s - at_s < 30 * second_s]
        if len(within) >= (100 if moderated else 20):
            self.violations.append(f"{len(within) + 1} messages to {login} in 30 s")
        if sent and not moderated and now_s - sent[-1] < second_s:
            self.violations.append(f"two messages to {login} in {now_s - sent[-1]:.3f} s")
        sent.append(now_s)
        last_s = self._texts.get((channel, text))
        if last_s is not None and now_s - last_s < 30 * second_s:
            if not self.forgives_repetition:
                self.violations.append(f"the same twice to {login}")
            return None if moderated else "msg_duplicate"
        self._texts[channel, text] = now_s
        return None

    # EventSub

    async def _ws(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = Session(f"session-{next(self._numbers)}", socket)
        old = next((there for there in self.sessions if there.id == request.query.get("move")), None)
        if self.welcomes:
            if old is not None:
                session.subscriptions, old.subscriptions = old.subscriptions, {}
            self.sessions.append(session)
            await self._send(session, "session_welcome", {"session": self._session(session)})
        keepalive = asyncio.create_task(self._keepalive(session))
        self._keepalives.add(keepalive)
        try:
            async for message in socket:
                self.violations.append(f"the bot sent {message.type}")
                await socket.close(code=4001)
        finally:
            keepalive.cancel()
            self._keepalives.discard(keepalive)
            if session in self.sessions:
                self.sessions.remove(session)
        return socket

    async def _keepalive(self, session):
        while True:
            await asyncio.sleep(self.keepalive_s)
            if not session.silent:
                await self._send(session, "session_keepalive", {})

    def _session(self, session):
        return {
            "id": session.id,
            "status": "connected",
            "connected_at": datetime.now(UTC).isoformat(),
            "keepalive_timeout_seconds": 10,
            "reconnect_url": None,
        }

    def _subscription(self, id_, channel, session, status="enabled"):
        return {
            "id": id_,
            "status": status,
            "type": "channel.chat.message",
            "version": "1",
            "cost": 0,
            "condition": {"broadcaster_user_id": channel, "user_id": BOT_ID},
            "transport": {"method": "websocket", "session_id": session.id},
            "created_at": datetime.now(UTC).isoformat(),
        }

    async def _tell(self, session, subscription_id, channel_id, event):
        subscription = self._subscription(subscription_id, channel_id, session)
        await self._send(session, "notification", {"subscription": subscription, "event": event})

    async def _send(self, session, kind, payload):
        if session.silent or session.socket.closed:
            return
        metadata = {
            "message_id": secrets.token_hex(8),
            "message_type": kind,
            "message_timestamp": datetime.now(UTC).isoformat(),
        }
        if kind in ("notification", "revocation"):
            metadata |= {"subscription_type": "channel.chat.message", "subscription_version": "1"}
        try:
            await session.socket.send_str(json.dumps({"metadata": metadata, "payload": payload}))
        except ConnectionError:
            if session in self.sessions:
                self.sessions.remove(session)

    def _event(self, channel, text, by, badges, message_id, source, reply):
        source_id = broadcaster_id(source) if source else None
        parent = {
            "parent_message_id": "parent",
            "parent_message_body": "earlier",
            "parent_user_id": BOT_ID,
            "parent_user_login": BOT,
            "parent_user_name": BOT,
            "thread_message_id": "parent",
            "thread_user_id": BOT_ID,
            "thread_user_login": BOT,
            "thread_user_name": BOT,
        }
        return {
            "broadcaster_user_id": broadcaster_id(channel),
            "broadcaster_user_login": channel,
            "broadcaster_user_name": channel.title(),
            "chatter_user_id": broadcaster_id(by),
            "chatter_user_login": by,
            "chatter_user_name": by.title(),
            "message_id": message_id,
            "message": {
                "text": text,
                "fragments": [{"type": "text", "text": text, "cheermote": None, "emote": None, "mention": None}],
            },
            "color": "#FF0000",
            "badges": [{"set_id": badge, "id": "1", "info": ""} for badge in badges],
            "message_type": "text",
            "cheer": None,
            "reply": parent if reply else None,
            "channel_points_custom_reward_id": None,
            "channel_points_animation_id": None,
            "source_broadcaster_user_id": source_id,
            "source_broadcaster_user_login": source,
            "source_broadcaster_user_name": source.title() if source else None,
            "source_message_id": "source-message" if source else None,
            "source_badges": [] if source else None,
            "is_source_only": None,
        }


def _json(body, *, status=200, headers=None):
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json", headers=headers or {}
    )
