"""Leads Streamlink's own Twitch plugin to other addresses than Twitch's, for a stand-in of Twitch."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

_TWITCH_GQL = "https://gql.twitch.tv/"
_TWITCH_USHER = "https://usher.ttvnw.net/"


class Detour(HTTPAdapter):
    """Sends the requests of one origin to another.

    The response keeps the address that really answered: Streamlink refuses a playlist of an https address that lists
    http ones, as a stand-in's does.
    """

    def __init__(self, goal: str) -> None:
        """Lead to ``goal``, an origin such as ``http://127.0.0.1:8080``."""
        super().__init__()
        self._goal = urlsplit(goal)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - the signature is the library's
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send the request to the other origin."""
        there = urlsplit(request.url or "")._replace(scheme=self._goal.scheme, netloc=self._goal.netloc)
        request.url = urlunsplit(there)
        return super().send(request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies)


def detours(*, gql_url: str | None, usher_url: str | None) -> dict[str, Detour]:
    """Which of Twitch's origins lead elsewhere: the prefix to mount on, and the adapter."""
    wanted = {_TWITCH_GQL: gql_url, _TWITCH_USHER: usher_url}
    return {prefix: Detour(goal) for prefix, goal in wanted.items() if goal}
