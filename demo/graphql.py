"""What gql.twitch.tv answers to an anonymous viewer; pure.

Requests and answers are those of Streamlink's plugin (``TwitchAPI`` in streamlink/plugins/twitch.py): persisted
queries, alone or several in a list. Fields that the plugin does not read are left out.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, TypeAlias

from demo.playlists import broadcast_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from demo.channels import Channel

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"

PERSISTED_QUERIES = {
    "PlaybackAccessToken": "ed230aa1e33e07eebb8928504583da78a5173989fadfb1ac94be06a04f3cdbe9",
    "ChannelShell": "fea4573a7bf2644f5b3f2cbbdcbee0d17312e48d2e55f080589d053aad353f11",
    "StreamMetadata": "b57f9b910f8cd1a4659d894fe7550ccc81ec9052c01e438b290fd66a040b9b93",
}
"""Operation and hash: Twitch knows a query by its hash alone, so a stale one fails here as it would there."""

_TOKEN_LIFE_S = 1200


def answer(request: JsonValue, channels: Mapping[str, Channel], now: datetime) -> JsonValue:
    """The body of the answer to one POST.

    Args:
        request: the decoded body: one query, or a list of them.
        channels: by login.
        now: the wall clock.
    """
    if isinstance(request, list):
        return [_answer_one(query, channels, now) for query in request]
    return _answer_one(request, channels, now)


def _answer_one(query: JsonValue, channels: Mapping[str, Channel], now: datetime) -> JsonValue:
    operation = _text(query, "operationName")
    if _text(query, "extensions", "persistedQuery", "sha256Hash") != PERSISTED_QUERIES.get(operation):
        return {"errors": [{"message": "PersistedQueryNotFound"}]}
    match operation:
        case "PlaybackAccessToken":
            channel = channels.get(_text(query, "variables", "login").lower())
            return {"data": {"streamPlaybackAccessToken": _token(channel, now) if channel else None}}
        case "ChannelShell":
            login = _text(query, "variables", "login")
            return {"data": {"userOrError": _user_or_error(login, channels)}}
        case _:
            channel = channels.get(_text(query, "variables", "channelLogin").lower())
            return {"data": {"user": _user(channel) if channel else None}}


def _token(channel: Channel, now: datetime) -> JsonValue:
    value: JsonValue = {
        "adblock": False,
        "authorization": {
            "forbidden": channel.closed is not None,
            "reason": (channel.closed or "").upper(),
        },
        "channel": channel.login,
        "chansub": {"restricted_bitrates": [], "view_until": 1924905600},
        "expires": int(now.timestamp()) + _TOKEN_LIFE_S,
        "geoblock_reason": "",
        "hide_ads": False,
        "server_ads": True,
        "show_ads": True,
        "version": 2,
    }
    text = json.dumps(value, separators=(",", ":"))
    return {"value": text, "signature": signature(text), "__typename": "PlaybackAccessToken"}


def signature(token: str) -> str:
    """What usher asks back with a token; there is no secret in a pocket."""
    return hashlib.sha1(token.encode(), usedforsecurity=False).hexdigest()


def _user_or_error(login: str, channels: Mapping[str, Channel]) -> JsonValue:
    channel = channels.get(login.lower())
    if channel is None:
        return {"login": login, "reason": "UNKNOWN", "__typename": "UserDoesNotExist"}
    return {"login": channel.login, "displayName": channel.display_name, "__typename": "User"}


def _user(channel: Channel) -> JsonValue:
    game: JsonValue = None
    if channel.declared_category is not None:
        game = {"name": channel.declared_category, "__typename": "Game"}
    stream: JsonValue = None
    if channel.source is not None:
        stream = {"id": str(broadcast_id(channel)), "type": "live", "game": game, "__typename": "Stream"}
    return {
        "lastBroadcast": {"title": channel.title, "__typename": "Broadcast"},
        "stream": stream,
        "__typename": "User",
    }


def _text(value: JsonValue, *path: str) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
