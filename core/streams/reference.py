"""What a person typed -> :class:`StreamRef`. Pure, and the only door: nothing else ever reaches the resolver.

Streamlink reads more from its input than an address (``hls://``, ``file://``, ``key=value`` arguments after a blank),
so what goes to it is never what somebody typed: it is the operator's template with a checked login in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from core.errors import BadReference, ReferenceFault

TWITCH_URL_TEMPLATE = "https://www.twitch.tv/{channel}"
"""The template that bot.toml has unless the operator writes another one."""

_LOGIN = re.compile(r"[a-z0-9_]+")
_LOGIN_MIN_CHARS = 2
_LOGIN_MAX_CHARS = 25

_MAX_TEXT_CHARS = 512
"""More than any link to a channel has; a chat message can be longer than what is worth looking at."""

_PLACEHOLDER = "{channel}"
_CHANNEL_HOSTS = frozenset({"twitch.tv", "www.twitch.tv", "m.twitch.tv"})
_LINK = re.compile(r"(?:https?://)?(?P<host>[^/?#]*)(?P<path>[^?#]*)(?:[?#].*)?", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_PRINTABLE = re.compile(r"[!-~]+")

_SITE_PAGES = frozenset({
    "about", "activate", "bits", "clips", "collections", "communities", "creatorcamp", "directory", "downloads",
    "drops", "embed", "event", "following", "friends", "inventory", "jobs", "login", "logout", "messages",
    "moderator", "p", "payments", "popout", "prime", "privacy", "products", "redeem", "search", "settings", "signup",
    "store", "subscriptions", "subs", "team", "teams", "turbo", "u", "user", "v", "video", "videos", "wallet",
})  # fmt: skip
"""First path segments of twitch.tv that are pages of the site. As a bare name they stay a name: Twitch then says
itself that there is no such channel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRef:
    """One channel, safe to hand to Streamlink.

    Attributes:
        channel: the login, ``[a-z0-9_]{2,25}``.
        url: the page or playlist of this channel, from the operator's template.
    """

    channel: str
    url: str


def parse_reference(text: str, *, url_template: str = TWITCH_URL_TEMPLATE) -> StreamRef:
    """Read what a person typed as a channel: ``name``, ``@Name``, ``twitch.tv/name``, ``https://www.twitch.tv/Name?x``.

    Links to Twitch are understood only where the template is Twitch's: elsewhere the same login is somebody else.

    Args:
        text: what was typed, unchecked.
        url_template: an address with ``{channel}`` in it, accepted by :func:`check_url_template`.

    Raises:
        BadReference: the text names no channel; its ``fault`` says why.
    """
    typed = text.strip(" ")
    if not typed:
        _refuse(ReferenceFault.EMPTY, text)
    if len(typed) > _MAX_TEXT_CHARS:
        _refuse(ReferenceFault.TOO_LONG, text)
    if _PRINTABLE.fullmatch(typed) is None:
        # Before any lower(): the Kelvin sign and the dotted I would come out of it as plain letters.
        _refuse(ReferenceFault.BAD_CHARACTER, text)
    if any(mark in typed for mark in "/.:\\"):
        name = _channel_of_link(typed, text, url_template)
    else:
        name = typed.removeprefix("@")
    login = name.lower()
    if not login:
        _refuse(ReferenceFault.EMPTY, text)
    if _LOGIN.fullmatch(login) is None:
        _refuse(ReferenceFault.BAD_CHARACTER, text)
    if len(login) < _LOGIN_MIN_CHARS:
        _refuse(ReferenceFault.TOO_SHORT, text)
    if len(login) > _LOGIN_MAX_CHARS:
        _refuse(ReferenceFault.TOO_LONG, text)
    return StreamRef(channel=login, url=url_template.replace(_PLACEHOLDER, login))


def check_url_template(template: str) -> str | None:
    """Say in one sentence what is wrong with ``[streams] url`` of the settings file; None when nothing is.

    A template is an ``http`` or ``https`` address with ``{channel}`` once in its path or query. ``hls://`` may stand
    before it, as Streamlink has it for a playlist whose address does not end in .m3u8.
    """
    if _PRINTABLE.fullmatch(template) is None:
        return "The address must be plain ASCII without blanks."
    if template.count(_PLACEHOLDER) != 1 or "{" in template.replace(_PLACEHOLDER, ""):
        return "The address must contain {channel} exactly once, and no other braces."
    if "}" in template.replace(_PLACEHOLDER, ""):
        return "The address must contain {channel} exactly once, and no other braces."
    address = template.removeprefix("hls://")
    try:
        parts = urlsplit(address)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return "The address cannot be read."
    if parts.scheme not in {"http", "https"}:
        return "The address must begin with http:// or https://."
    if not host:
        return "The address names no host."
    if _PLACEHOLDER not in parts.path + parts.query:
        return "{channel} must stand in the path or the query of the address."
    return None


def _channel_of_link(typed: str, text: str, url_template: str) -> str:
    link = _LINK.fullmatch(typed)
    if link is None:
        _refuse(ReferenceFault.OTHER_SITE, text)
    host = link["host"].lower()
    if not _is_on_twitch(url_template):
        _refuse(ReferenceFault.OTHER_SITE, text)
    if host not in _CHANNEL_HOSTS:
        # clips.twitch.tv and its sisters; userinfo or a port in front of them is somebody's trick.
        ours = _HOST.fullmatch(host) is not None and host.endswith(".twitch.tv")
        _refuse(ReferenceFault.NOT_A_CHANNEL if ours else ReferenceFault.OTHER_SITE, text)
    name = link["path"].removeprefix("/").removesuffix("/")
    if not name or "/" in name or name.lower() in _SITE_PAGES:
        _refuse(ReferenceFault.NOT_A_CHANNEL, text)
    return name


def _is_on_twitch(url_template: str) -> bool:
    try:
        return urlsplit(url_template).hostname in _CHANNEL_HOSTS
    except ValueError:
        return False


def _refuse(fault: ReferenceFault, text: str) -> NoReturn:
    raise BadReference(fault, text)
