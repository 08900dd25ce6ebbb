"""The qualities in which a channel can be watched; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from demo.channels import BundledClip, DrawnGame, FullHdClip

if TYPE_CHECKING:
    from demo.channels import Source


class Quality(StrEnum):
    """A rendition's name, as Twitch gives it in ``STABLE-VARIANT-ID``."""

    P1080 = "1080p60"
    P360 = "360p30"
    P160 = "160p30"
    AUDIO_ONLY = "audio_only"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """One quality of a stream, as the multivariant playlist declares it.

    Attributes:
        quality: which one.
        width_px: of a picture; 0 without pictures.
        height_px: of a picture; 0 without pictures.
        fps: pictures a second, nominal.
        bits_per_s: ``BANDWIDTH``.
        codecs: in the words of RFC 6381.
    """

    quality: Quality
    width_px: int
    height_px: int
    fps: float
    bits_per_s: int
    codecs: str


def renditions_of(source: Source) -> tuple[Rendition, ...]:
    """The qualities of a stream, best first, which is what its broadcaster sends.

    Twitch's transcodes declare the same rate and codec for every channel; the broadcaster's own is declared as it
    is measured.
    """
    full_hd = Rendition(
        quality=Quality.P1080,
        width_px=1920,
        height_px=1080,
        fps=60.0,
        bits_per_s=6_900_000,
        codecs="avc1.64002A,mp4a.40.2",
    )
    sent_as_360p = _transcode(Quality.P360, 640, 360, bits_per_s=1_300_000)
    transcodes = (
        _transcode(Quality.P160, 284, 160, bits_per_s=230_000),
        Rendition(quality=Quality.AUDIO_ONLY, width_px=0, height_px=0, fps=0.0, bits_per_s=160_000, codecs="mp4a.40.2"),
    )
    match source:
        case FullHdClip():
            return (full_hd, _transcode(Quality.P360, 640, 360, bits_per_s=630_000), *transcodes)
        case BundledClip() | DrawnGame():
            return (sent_as_360p, *transcodes)


def _transcode(quality: Quality, width_px: int, height_px: int, *, bits_per_s: int) -> Rendition:
    return Rendition(
        quality=quality,
        width_px=width_px,
        height_px=height_px,
        fps=30.0,
        bits_per_s=bits_per_s,
        codecs="avc1.4D401F,mp4a.40.2",
    )
