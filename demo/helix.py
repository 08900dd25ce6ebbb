"""What id.twitch.tv and api.twitch.tv/helix answer to an application; no I/O.

Shapes, limits and the words of refusals are those of Twitch's reference (dev.twitch.tv/docs/api/reference) and of
its answers as people quote them. Only what an app access token is good for is here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from demo.playlists import broadcast_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from demo.channels import Channel
    from demo.graphql import JsonValue

    Query = Mapping[str, Sequence[str]]
    Row = dict[str, JsonValue]

_T = TypeVar("_T")

CLIENT_ID = "pocket0twitch0client0id0000000"
CLIENT_SECRET = "made0up0secret0of0the0pocket00"  # noqa: S105 - opens nothing but the pocket Twitch
"""The one application that the pocket Twitch knows."""

TOKEN_LIFETIME = timedelta(days=58)
"""About what Twitch gives an app access token."""

POINTS = 800
POINTS_PERIOD = timedelta(minutes=1)
"""What Twitch gives an application; each request here costs one."""

_MOST = 100
_FIRST = 20
_ID = re.compile(r"[0-9]+")
_LOGIN = re.compile(r"[a-zA-Z0-9_]{1,25}")

_CATEGORY_IDS = {
    "Just Chatting": 509658,
    "Music": 26936,
    "Art": 509660,
    "Sports": 518203,
    "Talk Shows & Podcasts": 417752,
    "Science & Technology": 509670,
    "ASMR": 509659,
    "Special Events": 509663,
    "Software and Game Development": 1469308723,
    "Chess": 743,
    "GeoGuessr": 369418,
    "Minecraft": 27471,
}
"""Twitch's own ids; a category that is not here gets one from its name."""


def category_id(name: str) -> str:
    """A category's id: the same in every run."""
    return str(_CATEGORY_IDS.get(name) or 2_000_000_000 + _number(f"category {name}"))


def broadcaster_id(login: str) -> str:
    """A broadcaster's id: the same in every run."""
    return str(100_000_000 + _number(f"broadcaster {login}"))


def _number(name: str) -> int:
    # 40 bits: too few channels fit on a pocket Twitch for two of them to meet.
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:5], "big")


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonAnswer:
    """What is sent back: a status, a JSON body, and headers of its own."""

    status: int = 200
    body: JsonValue
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """An error in Helix's words."""
    body: JsonValue = {"error": HTTPStatus(status).phrase, "status": status, "message": message}
    return JsonAnswer(status=status, body=body, headers=headers or {})


class _Refused(Exception):
    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.answer = refusal(status, message)


class AppTokens:
    """id.twitch.tv: hands out app access tokens and knows which are still good."""

    def __init__(self, *, lifetime: timedelta = TOKEN_LIFETIME) -> None:
        """Know no token yet; each lives for ``lifetime``."""
        self._lifetime = lifetime
        self._ends_at: dict[str, datetime] = {}

    def revoke_all(self) -> None:
        """Let every token be refused from now on."""
        self._ends_at.clear()

    def is_good(self, token: str, now: datetime) -> bool:
        """Whether a token was handed out, and neither revoked nor used up."""
        ends_at = self._ends_at.get(token)
        return ends_at is not None and now < ends_at

    def issue(self, form: Mapping[str, str], now: datetime) -> JsonAnswer:
        """``POST /oauth2/token``, the client credentials grant (RFC 6749 section 4.4)."""
        if not form.get("client_id"):
            return _id_refusal(400, "missing client id")
        if form["client_id"] != CLIENT_ID:
            return _id_refusal(400, "invalid client")
        if not form.get("client_secret"):
            return _id_refusal(400, "missing client secret")
        if form["client_secret"] != CLIENT_SECRET:
            return _id_refusal(403, "invalid client secret")
        if form.get("grant_type") != "client_credentials":
            return _id_refusal(400, "invalid grant type" if form.get("grant_type") else "missing grant type")
        token = secrets.token_hex(15)
        self._ends_at[token] = now + self._lifetime
        lifetime_s = int(self._lifetime.total_seconds())
        return JsonAnswer(body={"access_token": token, "expires_in": lifetime_s, "token_type": "bearer"})

    def validate(self, authorization: str, now: datetime) -> JsonAnswer:
        """``GET /oauth2/validate``; TwitchIO's client asks it when it logs in."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() not in ("oauth", "bearer") or not token:
            return _id_refusal(401, "missing authorization token")
        if not self.is_good(token, now):
            return _id_refusal(401, "invalid access token")
        rest_s = int((self._ends_at[token] - now).total_seconds())
        return JsonAnswer(body={"client_id": CLIENT_ID, "scopes": [], "expires_in": rest_s})


def _id_refusal(status: int, message: str) -> JsonAnswer:
    """Unlike Helix, id.twitch.tv does not name the status."""
    return JsonAnswer(status=status, body={"status": status, "message": message})


class PointBucket:
    """The points that an application may spend: all of them at first, and refilled all the time."""

    def __init__(self, *, points: int = POINTS, period: timedelta = POINTS_PERIOD) -> None:
        """Start full.

        Args:
            points: how many fit.
            period: in which as many come back.
        """
        self._points = points
        self._point_s = period.total_seconds() / points
        self._level = float(points)
        self._at: datetime | None = None

    def spend(self, now: datetime) -> bool:
        """Take one point; False when there is none."""
        if self._at is not None:
            refilled = (now - self._at).total_seconds() / self._point_s
            self._level = min(float(self._points), self._level + refilled)
        self._at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def headers(self, now: datetime) -> dict[str, str]:
        """What every answer says of the bucket."""
        full_at_s = now.timestamp() + (self._points - self._level) * self._point_s
        return {
            "Ratelimit-Limit": str(self._points),
            "Ratelimit-Remaining": str(int(self._level)),
            "Ratelimit-Reset": str(math.ceil(full_at_s)),
        }


class Helix:
    """api.twitch.tv/helix over a fixed set of channels.

    Attributes:
        tokens: who may ask.
        points: how much.
    """

    def __init__(
        self, channels: Iterable[Channel], *, started_at: datetime, tokens: AppTokens, points: PointBucket
    ) -> None:
        """Sort out who is live where.

        Args:
            channels: all of them, live or not.
            started_at: when the server started; channels count their time on air from there.
            tokens: who may ask.
            points: how much.
        """
        self.tokens = tokens
        self.points = points
        self._started_at = started_at
        self._by_login = {channel.login: channel for channel in channels}
        self._by_id = {broadcaster_id(login): channel for login, channel in self._by_login.items()}
        self._names = {
            category_id(channel.declared_category): channel.declared_category
            for channel in self._by_login.values()
            if channel.declared_category is not None
        }
        self._live = sorted(
            (channel for channel in self._by_login.values() if channel.source is not None),
            key=lambda channel: -channel.viewers,
        )
        self._live_in: defaultdict[str, list[Channel]] = defaultdict(list)
        viewers: defaultdict[str, int] = defaultdict(int)
        for channel in self._live:
            if channel.declared_category is not None:
                self._live_in[category_id(channel.declared_category)].append(channel)
                viewers[category_id(channel.declared_category)] += channel.viewers
        self._top = sorted(viewers, key=lambda id_: -viewers[id_])
        self._endpoints: Mapping[str, Callable[[Query], Row]] = {
            "games/top": self._top_games,
            "games": self._games,
            "streams": self._streams,
            "users": self._users,
            "channels": self._channels,
        }

    @property
    def paths(self) -> tuple[str, ...]:
        """What can be asked, below ``/helix/``."""
        return tuple(self._endpoints)

    def answer(
        self, path: str, query: Query, *, authorization: str | None, client_id: str | None, now: datetime
    ) -> JsonAnswer:
        """The answer to one GET.

        Args:
            path: one of :attr:`paths`.
            query: every value of every parameter.
            authorization: the header.
            client_id: the header.
            now: the wall clock.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return refusal(401, "OAuth token is missing")
        if not self.tokens.is_good(token, now):
            return refusal(401, "Invalid OAuth token")
        if client_id != CLIENT_ID:
            return refusal(401, "Client ID and OAuth token do not match" if client_id else "Client ID is missing")
        granted = self.points.spend(now)
        headers = self.points.headers(now)
        if not granted:
            return refusal(429, "Request limit exceeded", headers)
        try:
            return JsonAnswer(body=self._endpoints[path](query), headers=headers)
        except _Refused as refused:
            return JsonAnswer(status=refused.answer.status, body=refused.answer.body, headers=headers)

    # The endpoints

    def _top_games(self, query: Query) -> Row:
        return _page(query, self._top, self._game)

    def _games(self, query: Query) -> Row:
        ids, names = _ids(query, "id"), list(query.get("name", ()))
        _check_count("id", len(ids) + len(names) + len(query.get("igdb_id", ())))
        if not (ids or names or query.get("igdb_id")):
            raise _Refused("The request must specify the id or name or igdb_id query parameter.")
        known = [id_ for id_ in ids if id_ in self._names]
        known += [category_id(name) for name in names if category_id(name) in self._names]
        return {"data": [self._game(id_) for id_ in dict.fromkeys(known)]}

    def _streams(self, query: Query) -> Row:
        games, ids = _ids(query, "game_id"), set(_ids(query, "user_id"))
        logins = {login.lower() for login in query.get("user_login", ())}
        languages = set(query.get("language", ()))
        for name in ("game_id", "user_id", "user_login", "language"):
            _check_count(name, len(query.get(name, ())))
        found: Iterable[Channel] = self._live
        if games:
            found = [channel for id_ in dict.fromkeys(games) for channel in self._live_in.get(id_, ())]
            found.sort(key=lambda channel: -channel.viewers)
        if ids or logins:
            found = [channel for channel in found if channel.login in logins or broadcaster_id(channel.login) in ids]
        if languages:
            found = [channel for channel in found if channel.language in languages]
        return _page(query, list(found), self._stream)

    def _users(self, query: Query) -> Row:
        ids, logins = list(query.get("id", ())), list(query.get("login", ()))
        _check_count("login", len(ids) + len(logins))
        if not (ids or logins):
            raise _Refused("Must provide an ID, Login or OAuth Token.")
        if not (all(map(_ID.fullmatch, ids)) and all(map(_LOGIN.fullmatch, logins))):
            raise _Refused("Invalid username(s), email(s), or ID(s). Bad Identifiers.")
        found = [self._by_id.get(id_) for id_ in ids] + [self._by_login.get(login.lower()) for login in logins]
        return {"data": [self._user(channel) for channel in dict.fromkeys(found) if channel is not None]}

    def _channels(self, query: Query) -> Row:
        ids = _ids(query, "broadcaster_id")
        if not ids:
            raise _Refused('Missing required parameter "broadcaster_id"')
        _check_count("broadcaster_id", len(ids))
        found = [self._by_id.get(id_) for id_ in dict.fromkeys(ids)]
        return {"data": [self._channel(channel) for channel in found if channel is not None]}

    # The rows

    def _game(self, id_: str) -> Row:
        box_art_url = f"https://static-cdn.jtvnw.net/ttv-boxart/{id_}-{{width}}x{{height}}.jpg"
        return {"id": id_, "name": self._names[id_], "box_art_url": box_art_url, "igdb_id": ""}

    def _stream(self, channel: Channel) -> Row:
        return {
            "id": str(broadcast_id(channel)),
            "user_id": broadcaster_id(channel.login),
            "user_login": channel.login,
            "user_name": channel.display_name,
            **_declared(channel),
            "type": "live",
            "title": channel.title,
            "viewer_count": channel.viewers,
            "started_at": _timestamp(self._started_at - channel.on_air_for),
            "language": channel.language,
            "thumbnail_url": (
                f"https://static-cdn.jtvnw.net/previews-ttv/live_user_{channel.login}-{{width}}x{{height}}.jpg"
            ),
            "tag_ids": [],
            "tags": [],
            "is_mature": False,
        }

    def _user(self, channel: Channel) -> Row:
        return {
            "id": broadcaster_id(channel.login),
            "login": channel.login,
            "display_name": channel.display_name,
            "type": "",
            "broadcaster_type": "",
            "description": "",
            "profile_image_url": "",
            "offline_image_url": "",
            "view_count": 0,
            "created_at": "2019-03-02T18:20:00Z",
        }

    def _channel(self, channel: Channel) -> Row:
        return {
            "broadcaster_id": broadcaster_id(channel.login),
            "broadcaster_login": channel.login,
            "broadcaster_name": channel.display_name,
            "broadcaster_language": channel.language,
            **_declared(channel),
            "title": channel.title,
            "delay": 0,
            "tags": [],
            "content_classification_labels": [],
            "is_branded_content": False,
        }


def _declared(channel: Channel) -> Row:
    """Who declares nothing has empty strings."""
    name = channel.declared_category
    return {"game_id": category_id(name) if name else "", "game_name": name or ""}


def _ids(query: Query, name: str) -> list[str]:
    values = list(query.get(name, ()))
    if not all(map(_ID.fullmatch, values)):
        raise _Refused(f'The parameter "{name}" was malformed: the value must match the regular expression /^[0-9]+$/')
    return values


def _check_count(name: str, count: int) -> None:
    if count > _MOST:
        raise _Refused(f'The parameter "{name}" was malformed: the value must be less than or equal to {_MOST}')


def _page(query: Query, everything: Sequence[_T], row: Callable[[_T], Row]) -> Row:
    start, size = _cursor_place(query), _page_size(query)
    stop = start + size
    pagination: Row = {"cursor": _cursor(stop)} if stop < len(everything) else {}
    return {"data": [row(item) for item in everything[start:stop]], "pagination": pagination}


def _page_size(query: Query) -> int:
    first = (query.get("first") or (str(_FIRST),))[-1]
    if not _ID.fullmatch(first) or int(first) < 1:
        raise _Refused('The parameter "first" was malformed: the value must be greater than or equal to 1')
    _check_count("first", int(first))
    return int(first)


def _cursor(place: int) -> str:
    """Opaque, and longer than it need be, as Twitch's is."""
    inner = base64.b64encode(json.dumps({"s": place, "d": False, "t": True}).encode()).decode()
    return base64.urlsafe_b64encode(json.dumps({"b": None, "a": {"Cursor": inner}}).encode()).decode()


def _cursor_place(query: Query) -> int:
    cursor = (query.get("after") or ("",))[-1]
    if not cursor:
        return 0
    try:
        inner = json.loads(base64.urlsafe_b64decode(cursor))["a"]["Cursor"]
        return int(json.loads(base64.b64decode(inner))["s"])
    except (ValueError, KeyError, TypeError):
        raise _Refused('The parameter "after" was malformed: the value is not a cursor') from None


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
