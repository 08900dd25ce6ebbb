"""The qualities in which a channel can be watched; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo.channels import BundledClip, DrawnGame, FullHdClip

if TYPE_CHECKING:
    from demo.channels import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """One quality of a stream.

    Attributes:
        name: as Twitch names it in ``STABLE-VARIANT-ID``.
        width_px: of a picture; 0 without pictures.
        height_px: of a picture; 0 without pictures.
        fps: pictures a second, nominal.
        bits_per_s: the peak, as ``BANDWIDTH`` gives it.
        codecs: in the words of RFC 6381.
    """

    name: str
    width_px: int
    height_px: int
    fps: float
    bits_per_s: int
    codecs: str

    @property
    def audio_only(self) -> bool:
        """Whether it has no pictures."""
        return self.height_px == 0


P1080 = Rendition(
    name="1080p60",
    width_px=1920,
    height_px=1080,
    fps=60.0,
    bits_per_s=6_500_000,
    codecs="avc1.64002A,mp4a.40.2",
)
P360 = Rendition(
    name="360p30",
    width_px=640,
    height_px=360,
    fps=30.0,
    bits_per_s=1_200_000,
    codecs="avc1.4D401E,mp4a.40.2",
)
P160 = Rendition(
    name="160p30",
    width_px=284,
    height_px=160,
    fps=30.0,
    bits_per_s=450_000,
    codecs="avc1.4D400C,mp4a.40.2",
)
AUDIO_ONLY = Rendition(
    name="audio_only",
    width_px=0,
    height_px=0,
    fps=0.0,
    bits_per_s=160_000,
    codecs="mp4a.40.2",
)


def renditions_of(source: Source) -> tuple[Rendition, ...]:
    """The qualities of a stream, best first."""
    match source:
        case FullHdClip():
            return (P1080, P360, P160, AUDIO_ONLY)
        case BundledClip() | DrawnGame():
            return (P360, P160, AUDIO_ONLY)
