"""StreamRef -> the stream's renditions. The one caller of a Streamlink session.

Streamlink is synchronous, and it changes its session as it goes: each resolving has a session and a thread of its own.
A deadline cannot kill a thread, but a thread that waits for a socket ends when the socket is shut: everything that
Streamlink sends goes through :class:`_Wire`, which knows the sockets, limits what comes back and remembers it. What
Streamlink only logs (a geo-block, a subscriber-only channel) is read from those answers, not from its log's words.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from urllib.parse import urlsplit

from requests import PreparedRequest, Request, RequestException, Response
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import Timeout as RequestsTimeout
from streamlink.session.session import Streamlink
from streamlink.stream.hls.hls import HLSStream, MuxedHLSStream
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError as Urllib3Error

from core.errors import (
    ChannelNotFound,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.streams.playlist import MAX_PLAYLIST_BYTES, PlaylistError, Rendition, check_playlist_size, variant_addresses
from core.streams.reference import TWITCH_URL_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from streamlink.plugin import Plugin

    from core.streams.reference import StreamRef

log = logging.getLogger(__name__)

T = TypeVar("T")

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

_MAX_ANSWER_BYTES = 8 << 20
"""Of any answer that Streamlink asks for; other sites' pages have a megabyte or two."""

_MAX_AHEAD = 12
"""Media playlists that are asked for at once; Twitch lists up to eight."""

_CHUNK_BYTES = 16 << 10
_PLAYLIST_MARK = b"#EXTM3U"
_TWITCH = "twitch"
_TWITCH_GRAPHQL_HOST = "gql.twitch.tv"
_CLOSED_STATUSES = frozenset({401, 403, 451})
_GONE_STATUSES = frozenset({404, 410})


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedStream:
    """A live channel's renditions.

    Attributes:
        channel: the login that was asked for.
        renditions: as the multivariant playlist lists them; one of unknown size for a plain media playlist.
        media_playlists: text by rendition address, for those that Streamlink has looked into just now.
        bytes_fetched: of all answers' bodies.
    """

    channel: str
    renditions: tuple[Rendition, ...]
    media_playlists: Mapping[str, str]
    bytes_fetched: int


class StreamResolver:
    """Asks Streamlink for a channel's renditions, off the event loop."""

    def __init__(
        self,
        session_factory: Callable[[], Streamlink] = Streamlink,
        *,
        timeout_s: float = 8.0,
        max_threads: int = 8,
    ) -> None:
        """Start nothing yet.

        Args:
            session_factory: gives a new session at each call, with what it should be led by (adapters, proxies)
                mounted and shared with no other session.
            timeout_s: for the server to send the next bytes, for each request.
            max_threads: that resolve at the same time; further askers wait.
        """
        self._session_factory = session_factory
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(max_threads)
        self._running: dict[_Wire, asyncio.Event] = {}
        _hush("streamlink")
        _hush("urllib3")

    async def resolve(self, ref: StreamRef) -> ResolvedStream:
        """Find the channel's renditions.

        Cancelling shuts the thread's sockets, so that it ends as well.

        Raises:
            StreamProblem: ``StreamOffline``, ``ChannelNotFound``, ``StreamRestricted``, ``StreamUnreachable`` or
                ``StreamTooSlow``.
        """
        wire = _Wire()
        outcome = await self._in_thread(
            f"resolve {ref.channel}",
            wire,
            partial(_outcome, self._session_factory, ref, wire, timeout_s=self._timeout_s),
        )
        if isinstance(outcome, StreamProblem):
            raise outcome
        return outcome

    async def warm(self) -> None:
        """Do ahead of the first asker what Streamlink does once in a process: read and compile its list of sites."""

        def match() -> None:
            with suppress(Exception):
                session = self._session_factory()
                session.plugins.match_url(TWITCH_URL_TEMPLATE)
                session.http.close()

        await self._in_thread("resolve nothing yet", _Wire(), match)

    async def _in_thread(self, name: str, wire: _Wire, work: Callable[[], T]) -> T:
        """Run what never raises in a thread of its own; cancelling cuts its wire."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[T] = loop.create_future()
        ended = self._running[wire] = asyncio.Event()

        def land(result: T) -> None:
            del self._running[wire]
            ended.set()
            self._slots.release()
            if not landed.done():
                landed.set_result(result)

        def run() -> None:
            result = work()
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(land, result)

        # Not a ThreadPoolExecutor: the interpreter waits for its threads at exit, even for one that hangs in DNS.
        threading.Thread(target=run, name=name, daemon=True).start()
        try:
            return await landed
        except asyncio.CancelledError:
            wire.cut()
            raise

    async def aclose(self, *, patience_s: float = 2.0) -> None:
        """Shut all sockets and wait a moment for the threads to end."""
        running = dict(self._running)
        for wire in running:
            wire.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                for ended in running.values():
                    await ended.wait()


@dataclass(kw_only=True, slots=True, eq=False)
class _Exchange:
    """One request of Streamlink's and what came back."""

    url: str
    status: int | None = None
    body: bytes = b""
    failure: str = ""
    timed_out: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def is_playlist(self) -> bool:
        return self.body.startswith(_PLAYLIST_MARK)


@dataclass(kw_only=True, slots=True, eq=False)
class _Wire:
    """Everything that one session sends and receives; :meth:`cut` may be called from another thread.

    Attributes:
        looks_ahead: whether media playlists are asked for, all at once, as soon as a multivariant one lists them. For
            a plugin that will look into each of them, one after another: Twitch's.
        ahead: what was asked for so, by address.
    """

    exchanges: list[_Exchange] = field(default_factory=list)
    bytes_fetched: int = 0
    is_cut: bool = False
    looks_ahead: bool = False
    ahead: dict[str, Future[Response]] = field(default_factory=dict)
    _sockets: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def attach(self, session: Streamlink) -> None:
        """Put this wire between the session and each of its adapters; no adapter for files remains."""
        for prefix, adapter in list(session.http.adapters.items()):
            if urlsplit(prefix).scheme not in {"http", "https"}:
                del session.http.adapters[prefix]
                continue
            if isinstance(adapter, HTTPAdapter):
                adapter.poolmanager.pool_classes_by_scheme = _watched_pools(self)
            session.http.mount(prefix, _WiredAdapter(adapter, self, session))

    def adopt(self, connected: socket.socket) -> None:
        with self._lock:
            self._sockets.append(connected)
            is_cut = self.is_cut
        if is_cut:
            _shut(connected)

    def count(self, size_bytes: int) -> None:
        with self._lock:
            self.bytes_fetched += size_bytes

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            sockets = list(self._sockets)
        for connected in sockets:
            _shut(connected)


def _shut(connected: socket.socket) -> None:
    # The base class's shutdown: a TLS socket's own one would take the TLS state from under the thread that reads.
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _watched_pools(wire: _Wire) -> dict[str, type[HTTPConnectionPool]]:
    class WatchedConnection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                wire.adopt(self.sock)

    class WatchedTlsConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                wire.adopt(self.sock)

    class WatchedPool(HTTPConnectionPool):
        ConnectionCls = WatchedConnection

    class WatchedTlsPool(HTTPSConnectionPool):
        ConnectionCls = WatchedTlsConnection

    return {"http": WatchedPool, "https": WatchedTlsPool}


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    """The arguments of requests' adapters that a request is sent with."""

    timeout: float | tuple[float, float] | tuple[float, None] | None
    verify: bool | str
    cert: bytes | str | tuple[bytes | str, bytes | str] | None
    proxies: Mapping[str, str] | None


class _WiredAdapter(BaseAdapter):
    """Hands requests to the adapter that was there before, reads the whole answer up to a limit, and notes both."""

    def __init__(self, inner: BaseAdapter, wire: _Wire, session: Streamlink) -> None:
        super().__init__()
        self._inner = inner
        self._wire = wire
        self._session = session

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 - requests' interface
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        url = request.url or ""
        how = _How(timeout=timeout, verify=verify, cert=cert, proxies=proxies)
        asked = self._wire.ahead.pop(url, None) if request.method == "GET" else None
        if asked is None:
            exchange = _Exchange(url=url)
            self._wire.exchanges.append(exchange)
            response = self._fetch(request, exchange, how)
            if self._wire.looks_ahead and b"#EXT-X-STREAM-INF" in exchange.body:
                self._look_ahead(exchange, response, how)
        else:
            response = asked.result()
        # requests takes cookies from the socket's own answer, which is replaced here.
        self._session.http.cookies.update(response.cookies)
        return response

    def _fetch(self, request: PreparedRequest, exchange: _Exchange, how: _How) -> Response:
        try:
            if self._wire.is_cut:
                raise RequestsTimeout("given up")
            response = self._inner.send(
                request, stream=True, timeout=how.timeout, verify=how.verify, cert=how.cert, proxies=how.proxies
            )
            exchange.status = response.status_code
            exchange.body = self._read(response)
        except RequestException as error:
            exchange.failure = f"{type(error).__name__}: {error}"
            exchange.timed_out = isinstance(error, RequestsTimeout)
            raise
        response.raw = io.BytesIO(exchange.body)
        return response

    def _look_ahead(self, exchange: _Exchange, response: Response, how: _How) -> None:
        """Ask for the media playlists that were listed, each in a thread of its own."""
        text = exchange.body.decode("utf-8", errors="replace")
        for url in variant_addresses(text, url=response.url)[:_MAX_AHEAD]:
            adapter = self._session.http.get_adapter(url)
            if url in self._wire.ahead or not isinstance(adapter, _WiredAdapter):
                continue
            request = self._session.http.prepare_request(Request("GET", url))
            coming = _Exchange(url=url)
            self._wire.exchanges.append(coming)
            asked = self._wire.ahead[url] = Future()
            threading.Thread(
                target=adapter._land,
                args=(asked, request, coming, how),
                name="resolve, looking ahead",
                daemon=True,
            ).start()

    def _land(self, asked: Future[Response], request: PreparedRequest, exchange: _Exchange, how: _How) -> None:
        try:
            asked.set_result(self._fetch(request, exchange, how))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for this address
            asked.set_exception(error)

    def close(self) -> None:
        self._inner.close()

    def _read(self, response: Response) -> bytes:
        body = bytearray()
        try:
            for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=True):
                body += chunk
                self._wire.count(len(chunk))
                if len(body) > (MAX_PLAYLIST_BYTES if body.startswith(_PLAYLIST_MARK) else _MAX_ANSWER_BYTES):
                    raise RequestsConnectionError("the answer is too large")
        except Urllib3Error as error:
            raise RequestsConnectionError(f"the answer broke off: {error}") from error
        finally:
            response.raw.close()
        if body.startswith(_PLAYLIST_MARK):
            try:
                check_playlist_size(body.decode("utf-8", errors="replace"))
            except PlaylistError as error:
                raise RequestsConnectionError(str(error)) from error
        return bytes(body)


def _outcome(
    session_factory: Callable[[], Streamlink], ref: StreamRef, wire: _Wire, *, timeout_s: float
) -> ResolvedStream | StreamProblem:
    """Resolve on the calling thread; whatever goes wrong becomes one of our outcomes."""
    try:
        session = session_factory()
    except Exception as error:
        log.exception("no Streamlink session for %s", ref.channel)
        return StreamUnreachable(ref.channel, f"no Streamlink session: {error}")
    try:
        session.options.update(
            {
                "webbrowser": False,  # an unexpected answer of Twitch's would start one
                "no-plugin-cache": True,  # it would write a file
                "ffmpeg-no-validation": True,  # it would start ffmpeg to ask for its version
                "http-timeout": timeout_s,
            }
        )
        wire.attach(session)
        return _ask(session, ref, wire)
    except StreamProblem as problem:
        return problem.with_traceback(None)  # its frames would keep the session for as long as the problem
    except Exception as error:  # a plugin scrapes somebody's site: anything may come out of it
        log.debug("resolving %s failed", ref.channel, exc_info=True)
        return StreamUnreachable(ref.channel, f"{type(error).__name__}: {error}")
    finally:
        if wire.ahead:  # asked for, and no longer of interest
            wire.cut()
        session.http.close()


def _ask(session: Streamlink, ref: StreamRef, wire: _Wire) -> ResolvedStream:
    # Not session.streams(): its resolve_url() keeps the last 128 sessions alive in a cache, and follows redirects of
    # addresses that no plugin knows.
    matched = session.plugins.match_url(ref.url)
    if matched is None:
        raise StreamUnreachable(ref.channel, "Streamlink knows no site of this address")
    plugin_name, plugin_class = matched
    wire.looks_ahead = plugin_name == _TWITCH
    plugin = plugin_class(session, ref.url)
    # The constructor registers the plugin's cache to be saved at exit, where it would stay for good.
    atexit.unregister(plugin.cache._save)
    failure: Exception | None = None
    renditions: tuple[Rendition, ...] = ()
    try:
        renditions = _renditions(plugin.streams())
    except Exception as error:  # noqa: BLE001 - as above; what it means is told from the answers
        failure = error
    if any(rendition.height_px or not rendition.name.startswith("audio") for rendition in renditions):
        return ResolvedStream(
            channel=ref.channel,
            renditions=renditions,
            media_playlists={
                exchange.url: exchange.body.decode("utf-8", errors="replace")
                for exchange in wire.exchanges
                if exchange.status == 200 and exchange.is_playlist and b"#EXTINF" in exchange.body
            },
            bytes_fetched=wire.bytes_fetched,
        )
    if plugin_name == _TWITCH:
        raise _twitch_problem(ref.channel, plugin, wire, failure)
    raise _problem(ref.channel, wire.exchanges, failure) or StreamOffline(ref.channel, "the site lists no stream")


def _renditions(streams: Mapping[str, object]) -> tuple[Rendition, ...]:
    found: dict[str, Rendition] = {}
    for name, stream in streams.items():
        if isinstance(stream, MuxedHLSStream):
            stream = stream.substreams[0]  # the video; the others are sound  # noqa: PLW2901
        if not isinstance(stream, HLSStream):
            continue
        url = str(stream.args["url"])
        if url in found or urlsplit(url).scheme not in {"http", "https"}:  # "best" and "worst" come last
            continue
        listed = None
        if stream.multivariant is not None:
            listed = next((entry for entry in stream.multivariant.playlists if entry.uri == url), None)
        info = None if listed is None else listed.stream_info
        resolution = None if info is None else info.resolution
        found[url] = Rendition(
            url=url,
            name=name,
            width_px=(resolution.width or None) if resolution else None,
            height_px=(resolution.height or None) if resolution else None,
            codecs=tuple(codec.strip() for codec in info.codecs if codec.strip()) if info else (),
            bandwidth_bps=(info.bandwidth or None) if info else None,
        )
    return tuple(found.values())


def _problem(channel: str, exchanges: list[_Exchange], failure: Exception | None) -> StreamProblem | None:
    """What the answers say of a stream that did not come; None when they all look well."""
    if any(exchange.timed_out for exchange in exchanges):
        return StreamTooSlow(channel, "the platform did not answer in time")
    for exchange in exchanges:
        if exchange.status in _CLOSED_STATUSES:
            return StreamRestricted(channel, _said(exchange))
    for exchange in exchanges:
        if exchange.status in _GONE_STATUSES:
            return StreamOffline(channel, _said(exchange))
    for exchange in exchanges:
        if exchange.failure or (exchange.status or 0) >= 400:
            return StreamUnreachable(channel, _said(exchange))
    if failure is not None:
        return StreamUnreachable(channel, f"{type(failure).__name__}: {failure}")
    return None


def _said(exchange: _Exchange) -> str:
    """The failure in the platform's own words: usher sends ``[{"type": "error", "error": …, "error_code": …}]``."""
    answer = _json(exchange.body)
    if isinstance(answer, list) and answer and isinstance(answer[0], dict):
        words = [str(answer[0][key]) for key in ("error", "error_code") if answer[0].get(key)]
        if words:
            return f"{exchange.host} answered {exchange.status}: {', '.join(words)}"
    return f"{exchange.host}: {exchange.failure or f'HTTP {exchange.status}'}"


def _twitch_problem(channel: str, plugin: Plugin, wire: _Wire, failure: Exception | None) -> StreamProblem:
    """Tell why Twitch gives no stream: the plugin answers nothing alike to offline, unknown and closed channels."""
    graphql = [exchange for exchange in wire.exchanges if exchange.host == _TWITCH_GRAPHQL_HOST]
    # A refusal of the GraphQL query (a stale hash, the integrity check) is about us and not about the channel.
    others = [exchange for exchange in wire.exchanges if exchange not in graphql]
    token = next((found for found in map(_playback_token, graphql) if found is not None), None)
    if token is None:
        problem = _problem(channel, [entry for entry in graphql if entry.timed_out or entry.failure], failure)
        return problem or StreamUnreachable(channel, "Twitch gave no playback token")
    if token.is_given:
        problem = _problem(channel, others, failure)
        if problem is None and token.restricted:
            problem = StreamRestricted(channel, f"subscribers only: {', '.join(token.restricted)}")
        if problem is None:
            problem = StreamUnreachable(channel, "no media playlist could be read")
        if not isinstance(problem, StreamOffline):
            return problem
    # The plugin's metadata query is asked once; get_author() sends it if it has not gone out.
    with suppress(Exception):
        plugin.get_author()
    if _channel_is_unknown(wire.exchanges):
        return ChannelNotFound(channel)
    return StreamOffline(channel)


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlaybackToken:
    is_given: bool
    restricted: tuple[str, ...]


def _playback_token(exchange: _Exchange) -> _PlaybackToken | None:
    """Read the answer to PlaybackAccessToken; null is Twitch's answer for a channel that is not live."""
    answer = _json(exchange.body)
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or "streamPlaybackAccessToken" not in data:
        return None
    token = data["streamPlaybackAccessToken"]
    if not isinstance(token, dict):
        return _PlaybackToken(is_given=False, restricted=())
    value = _json(str(token.get("value", "")).encode())
    chansub = value.get("chansub") if isinstance(value, dict) else None
    restricted = chansub.get("restricted_bitrates") if isinstance(chansub, dict) else None
    names = tuple(str(name) for name in restricted) if isinstance(restricted, list) else ()
    return _PlaybackToken(is_given=True, restricted=names)


def _channel_is_unknown(exchanges: list[_Exchange]) -> bool:
    """Whether the answer to ChannelShell and StreamMetadata, asked together, says that there is no such user."""
    for exchange in exchanges:
        answers = _json(exchange.body) if exchange.host == _TWITCH_GRAPHQL_HOST else None
        if not isinstance(answers, list):
            continue
        data = [answer.get("data") for answer in answers if isinstance(answer, dict)]
        known = [entry for entry in data if isinstance(entry, dict)]
        if any("user" in entry and entry["user"] is None for entry in known):
            return True
        shells = [entry["userOrError"] for entry in known if "userOrError" in entry]
        if any(not isinstance(shell, dict) or "displayName" not in shell for shell in shells):
            return True
    return False


def _json(body: bytes) -> JsonValue:
    try:
        read: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return read


class _Demoted(logging.Handler):
    """Passes a library's warnings on as debug lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("%s: %s", record.name, record.getMessage())


def _hush(library: str) -> None:
    """Keep a library's log off the terminal: without a handler Python prints warnings to standard error."""
    logger = logging.getLogger(library)
    if not any(isinstance(handler, _Demoted) for handler in logger.handlers):
        logger.addHandler(_Demoted())
        logger.propagate = False
