"""Playlist text -> the live window's segments; renditions -> the one to sample. No I/O.

The text is read with Streamlink's own parser for Twitch, which marks adverts and prefetch segments and is kept up
with what Twitch does. It is no published interface: ``pyproject.toml`` pins Streamlink, and this is the one file that
uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from streamlink.plugins.twitch import TwitchHLSSegment, TwitchM3U8Parser
from streamlink.stream.hls.m3u8 import parse_m3u8

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PLAYLIST_BYTES = 1 << 20
MAX_SEGMENTS = 2_000
MAX_DATERANGES = 200
MAX_PREFETCHES = 20
MIN_LINES_PX = 360

_MAX_SEGMENT_S = 600.0


class PlaylistError(ValueError):
    """The text is no playlist that can be sampled; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """One quality of a stream.

    Attributes:
        url: of its media playlist.
        name: as the platform calls it, such as ``360p30``.
        width_px: None when the multivariant playlist does not say.
        height_px: as above.
        codecs: RFC 6381 strings such as ``avc1.4D401F``; empty when not said.
        bandwidth_bps: peak bits per second, None when not said.
    """

    url: str
    name: str
    width_px: int | None = None
    height_px: int | None = None
    codecs: tuple[str, ...] = ()
    bandwidth_bps: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRange:
    """Part of a resource, RFC 8216 section 4.3.2.2."""

    start: int
    length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class InitSegment:
    """What a fragmented MP4 segment needs before it, RFC 8216 section 4.3.2.5 (EXT-X-MAP)."""

    url: str
    byterange: ByteRange | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One media segment of the window.

    Attributes:
        url: http or https.
        at_s: seconds from the start of the window to the start of this segment.
        duration_s: of this segment.
        byterange: the part of the resource that is the segment; None for all of it.
        init: the initialization segment; None for MPEG-TS.
        encryption: METHOD of EXT-X-KEY (``AES-128``, ``SAMPLE-AES``); None for a clear segment.
        advert: stitched in by the platform: not what the channel shows.
        prefetch: announced before it is complete (Twitch's low latency).
        discontinuity: encoding or clock changes before this segment.
    """

    url: str
    at_s: float
    duration_s: float
    byterange: ByteRange | None = None
    init: InitSegment | None = None
    encryption: str | None = None
    advert: bool = False
    prefetch: bool = False
    discontinuity: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveWindow:
    """What a media playlist lists at this moment, oldest first."""

    segments: tuple[Segment, ...]
    duration_s: float


def choose_rendition(renditions: Sequence[Rendition]) -> Rendition:
    """The smallest H.264 rendition of at least 360 lines, else the tallest one.

    One whose codecs are unknown is taken only if none is known to be H.264. Lines are the shorter side, so that a
    portrait picture of 360 x 640 counts as 360 as its landscape sister does. Of two equally tall ones the one of fewer
    bits per second wins: a keyframe costs bytes, frame rate is of no use here.

    Raises:
        PlaylistError: none of them has a video that can be decoded here (no rendition, audio only, other codecs).
    """
    video = [rendition for rendition in renditions if not _is_audio_only(rendition)]
    h264 = [rendition for rendition in video if any(_is_h264(codec) for codec in rendition.codecs)]
    unknown = [rendition for rendition in video if not rendition.codecs]
    candidates = h264 or unknown
    if not candidates:
        raise PlaylistError("no rendition has H.264 video")
    tall_enough = [rendition for rendition in candidates if _lines_px(rendition) >= MIN_LINES_PX]
    if tall_enough:
        return min(tall_enough, key=lambda rendition: (_lines_px(rendition), rendition.bandwidth_bps or 0))
    return max(candidates, key=lambda rendition: (_lines_px(rendition), rendition.bandwidth_bps or 0))


def _is_h264(codec: str) -> bool:
    return codec.startswith(("avc1", "avc3"))


def _is_audio_only(rendition: Rendition) -> bool:
    if rendition.name.startswith("audio"):
        return True
    return bool(rendition.codecs) and all(
        codec.startswith(("mp4a", "ac-3", "ec-3", "opus", "Opus", "flac")) for codec in rendition.codecs
    )


def _lines_px(rendition: Rendition) -> int:
    sides_px = [side_px for side_px in (rendition.width_px, rendition.height_px) if side_px]
    return min(sides_px, default=0)


def check_playlist_size(text: str) -> None:
    """Refuse a text that the parser would take too long over.

    Streamlink compares every segment with every advert range, and averages all segments at every prefetch tag: a
    playlist of a few hundred kilobytes made for it would keep a processor busy for minutes. So tags are counted first.

    Raises:
        PlaylistError: the playlist is longer than any real one.
    """
    if len(text) > MAX_PLAYLIST_BYTES:
        raise PlaylistError(f"the playlist is larger than {MAX_PLAYLIST_BYTES} bytes")
    for tags, limit in (
        (("#EXTINF", "#EXT-X-BYTERANGE"), MAX_SEGMENTS * 2),
        (("#EXT-X-DATERANGE",), MAX_DATERANGES),
        (("#EXT-X-TWITCH-PREFETCH",), MAX_PREFETCHES),
    ):
        if sum(text.count(tag) for tag in tags) > limit:
            raise PlaylistError(f"the playlist has more than {limit} of {', '.join(tags)}")


def variant_addresses(text: str, *, url: str) -> tuple[str, ...]:
    """The media playlists that a multivariant playlist lists (RFC 8216 section 4.3.4.2), each once; none otherwise.

    Args:
        text: the whole playlist.
        url: where it came from, after redirects.
    """
    try:
        playlist = parse_m3u8(text, base_uri=url, parser=TwitchM3U8Parser)
    except (ValueError, ArithmeticError, TypeError, LookupError):
        return ()
    addresses = dict.fromkeys(entry.uri for entry in playlist.playlists)
    return tuple(address for address in addresses if urlsplit(address).scheme in {"http", "https"})


def parse_media_playlist(text: str, *, url: str) -> LiveWindow:
    """Read a media playlist (RFC 8216 section 4).

    Args:
        text: the whole playlist.
        url: where it came from, after redirects: what relative addresses in it are relative to.

    Raises:
        PlaylistError: it is garbage, a multivariant playlist, too large, or has addresses that are not http.
    """
    check_playlist_size(text)
    try:
        playlist = parse_m3u8(text, base_uri=url, parser=TwitchM3U8Parser)
    except (ValueError, ArithmeticError, TypeError, LookupError) as error:
        # All of these come out of the parser for numbers and dates that no playlist has.
        raise PlaylistError(f"not a readable playlist: {error}") from error
    if playlist.is_master:
        raise PlaylistError("a multivariant playlist where a media playlist should be")
    if not text.lstrip("\ufeff").startswith("#EXTM3U"):
        raise PlaylistError("not a playlist: empty")
    if len(playlist.segments) > MAX_SEGMENTS:
        raise PlaylistError(f"the playlist has more than {MAX_SEGMENTS} segments")
    segments: list[Segment] = []
    at_s = 0.0
    init: InitSegment | None = None
    previous: Segment | None = None
    for listed in playlist.segments:
        # EXT-X-MAP holds until the next one (section 4.3.2.5); Streamlink forgets it at a discontinuity.
        init = _init_segment(listed) or init
        segment = Segment(
            url=_http_only(listed.uri),
            at_s=at_s,
            duration_s=_duration_s(listed.duration),
            byterange=_byterange(listed, previous),
            init=init,
            encryption=_encryption(listed),
            advert=bool(listed.ad),
            prefetch=bool(listed.prefetch),
            discontinuity=bool(listed.discontinuity),
        )
        segments.append(segment)
        at_s += segment.duration_s
        previous = segment
    return LiveWindow(segments=tuple(segments), duration_s=at_s)


def pick_segments(window: LiveWindow, *, limit: int = 13) -> tuple[Segment, ...]:
    """Up to ``limit`` segments spread evenly over the window, oldest and newest included, adverts left out.

    A prefetch segment may not exist yet, and a server answers when it does: taken only if there is no other.
    """
    shown = [segment for segment in window.segments if not segment.advert]
    candidates = [segment for segment in shown if not segment.prefetch] or shown
    if len(candidates) <= limit:
        return tuple(candidates)
    if limit == 1:
        return (candidates[-1],)
    step = (len(candidates) - 1) / (limit - 1)
    return tuple(candidates[round(index * step)] for index in range(limit))


def _http_only(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError as error:
        raise PlaylistError("the playlist has an unreadable address") from error
    if not usable:
        raise PlaylistError(f"the playlist has an address that is not http: {uri[:80]!r}")
    return uri


def _duration_s(duration_s: float) -> float:
    return duration_s if math.isfinite(duration_s) and 0 <= duration_s <= _MAX_SEGMENT_S else 0.0


def _encryption(listed: TwitchHLSSegment) -> str | None:
    return None if listed.key is None or listed.key.method == "NONE" else listed.key.method


def _init_segment(listed: TwitchHLSSegment) -> InitSegment | None:
    if listed.map is None:
        return None
    part = listed.map.byterange
    return InitSegment(
        url=_http_only(listed.map.uri),
        byterange=None if part is None else ByteRange(start=part.offset or 0, length=part.range),
    )


def _byterange(listed: TwitchHLSSegment, previous: Segment | None) -> ByteRange | None:
    if listed.byterange is None:
        return None
    start = listed.byterange.offset
    if start is None:
        # Section 4.3.2.2: without an offset it begins where the previous range of the same resource ends.
        if previous is None or previous.byterange is None or previous.url != listed.uri:
            raise PlaylistError("a byte range without an offset follows no other range")
        start = previous.byterange.start + previous.byterange.length
    return ByteRange(start=start, length=listed.byterange.range)
