"""Playlist text in Twitch's dialect of HLS; pure.

Standard tags follow RFC 8216. Which of Twitch's own tags matter is read off Streamlink's plugin
(``TwitchM3U8Parser`` in streamlink/plugins/twitch.py): stream names come from ``STABLE-VARIANT-ID``, adverts are
the segments inside a ``twitch-stitched-ad`` date range or titled "Amazon", ``EXT-X-TWITCH-PREFETCH`` lists
segments ahead of time, and ``EXT-X-TWITCH-LIVE-SEQUENCE`` after a discontinuity says that the stream goes on.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.renditions import Quality

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from demo.channels import Channel
    from demo.renditions import Rendition
    from demo.timeline import Slot, Window

_ADVERT_TITLES = ("Amazon|3942071605", "DCM|259975342")
"""Both spots of a pod are adverts by their date range; only the first also by its title."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaAddresses:
    """Where a media playlist's parts are.

    Attributes:
        segment: the address of a slot's media segment.
        init: the address of the initialization section of the stream (False) or of the adverts (True); None for
            containers without one.
    """

    segment: Callable[[Slot], str]
    init: Callable[[bool], str] | None


def master_playlist(
    channel: Channel,
    renditions: tuple[Rendition, ...],
    *,
    now: datetime,
    live_since: datetime,
    address: Callable[[Quality], str],
) -> str:
    """What usher answers: the renditions of a live channel, best first."""
    info = {
        "NODE": "pocket",
        "MANIFEST-NODE-TYPE": "weaver_cluster",
        "SUPPRESS": "false",
        "SERVER-TIME": f"{now.timestamp():.2f}",
        "STREAM-TIME": f"{(now - live_since).total_seconds():.6f}",
        "CLUSTER": "pocket",
        "BROADCAST-ID": str(broadcast_id(channel)),
    }
    lines = ["#EXTM3U", "#EXT-X-TWITCH-INFO:" + ",".join(f'{key}="{value}"' for key, value in info.items())]
    for index, rendition in enumerate(renditions):
        name = f"{rendition.quality} (source)" if index == 0 else rendition.quality
        automatic = "NO" if rendition.quality is Quality.AUDIO_ONLY else "YES"
        lines.append(
            f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{rendition.quality}",NAME="{name}",'
            f"AUTOSELECT={automatic},DEFAULT={automatic}"
        )
        picture = (
            ""
            if rendition.quality is Quality.AUDIO_ONLY
            else f",RESOLUTION={rendition.width_px}x{rendition.height_px},FRAME-RATE={rendition.fps:.3f}"
        )
        lines.append(
            f'#EXT-X-STREAM-INF:BANDWIDTH={rendition.bits_per_s},CODECS="{rendition.codecs}"{picture},'
            f'VIDEO="{rendition.quality}",STABLE-VARIANT-ID="{rendition.quality}",IVS-NAME="{rendition.quality}",'
            f'IVS-GROUPS="landscape",IVS-VARIANT-SOURCE="{"source" if index == 0 else "transcode"}"'
        )
        lines.append(address(rendition.quality))
    return "\n".join(lines) + "\n"


def media_playlist(window: Window, addresses: MediaAddresses) -> str:
    """The live window of one rendition."""
    slots = window.slots
    longest_s = max(slot.duration_s for slot in slots)
    listed_s = sum(slot.duration_s for slot in slots)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{3 if addresses.init is None else 6}",
        f"#EXT-X-TARGETDURATION:{math.ceil(longest_s)}",
        f"#EXT-X-MEDIA-SEQUENCE:{slots[0].sequence}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{window.discontinuity_sequence}",
        f"#EXT-X-TWITCH-LIVE-SEQUENCE:{slots[0].sequence}",
        f"#EXT-X-TWITCH-ELAPSED-SECS:{window.on_air_s - listed_s:.3f}",
        f"#EXT-X-TWITCH-TOTAL-SECS:{window.on_air_s:.3f}",
        _stream_source(slots[0]),
    ]
    if slots[0].advert:
        lines.append(_stitched_advert(window))
    adverts: bool | None = None
    for slot in slots:
        if slot.cut:
            lines.append("#EXT-X-DISCONTINUITY")
            if not slot.advert:
                lines.append(f"#EXT-X-TWITCH-LIVE-SEQUENCE:{slot.sequence}")
        # Streamlink forgets the section at a discontinuity, though by RFC 8216 section 4.3.2.5 it holds until the next.
        if addresses.init is not None and (slot.cut or slot.advert != adverts):
            lines.append(f'#EXT-X-MAP:URI="{addresses.init(slot.advert)}"')
        adverts = slot.advert
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_timestamp(slot.starts_at)}")
        title = _ADVERT_TITLES[slot.sequence % 2] if slot.advert else "live"
        lines.append(f"#EXTINF:{slot.duration_s:.3f},{title}")
        lines.append(addresses.segment(slot))
    for slot in window.prefetch:
        if slot.advert:
            break  # playlists that end in adverts announce nothing
        if slot.cut:
            lines.append("#EXT-X-DISCONTINUITY")
            lines.append(f"#EXT-X-TWITCH-LIVE-SEQUENCE:{slot.sequence}")
        lines.append(f"#EXT-X-TWITCH-PREFETCH:{addresses.segment(slot)}")
    return "\n".join(lines) + "\n"


def _stream_source(first: Slot) -> str:
    return (
        f'#EXT-X-DATERANGE:ID="source-{int(first.starts_at.timestamp())}",CLASS="twitch-stream-source",'
        f'START-DATE="{_timestamp(first.starts_at)}",END-ON-NEXT=YES,'
        f'X-TV-TWITCH-STREAM-SOURCE="{"Amazon" if first.advert else "live"}"'
    )


def _stitched_advert(window: Window) -> str:
    starts_at = window.advert_starts_at
    # Rounded down like every date here, or the first segment of the stream would begin inside the range.
    duration_s = math.floor(window.advert_duration_s * 1000) / 1000
    return (
        f'#EXT-X-DATERANGE:ID="stitched-ad-{int(starts_at.timestamp())}",CLASS="twitch-stitched-ad",'
        f'START-DATE="{_timestamp(starts_at)}",DURATION={duration_s:.3f},'
        f'X-TV-TWITCH-AD-ROLL-TYPE="PREROLL",X-TV-TWITCH-AD-POD-LENGTH="2",'
        f'X-TV-TWITCH-AD-POD-FILLED-DURATION="{duration_s:.3f}",'
        f'X-TV-TWITCH-AD-COMMERCIAL-ID="pocket-{int(starts_at.timestamp())}"'
    )


def broadcast_id(channel: Channel) -> int:
    """A number that looks like Twitch's and is the same in every run."""
    return 310_000_000_000 + int.from_bytes(hashlib.sha256(channel.login.encode()).digest()[:5], "big")


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
