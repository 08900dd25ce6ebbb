"""A film in memory, cut into the media segments of one loop of a live stream.

A film is an MP4 file held as bytes: H.264 with a keyframe about every 2 s and no sound. Cutting copies its
packets, adds those of a sound track, and encodes nothing. Everything here blocks; ``demo/studio.py`` calls it
in threads.
"""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as AnyPacket
    from av.video.stream import VideoStream

    Packet = AnyPacket[VideoStream] | AnyPacket[AudioStream]

_MIN_SEGMENT_S = 1.5
"""A keyframe opens a new segment once the one before it is this long: some clips have two keyframes in 2 s."""

_LEAD_S = 1
"""Added to every time stamp: B-frames make the first decoding times negative, which no MPEG-TS can hold."""

_FRAGMENTED = "empty_moov+default_base_moof+frag_keyframe+negative_cts_offsets+skip_trailer+cmaf"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One media segment: it begins with a keyframe and needs no other segment to be decoded."""

    data: bytes
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reel:
    """One loop of one rendition.

    Attributes:
        init: the media initialization section (``EXT-X-MAP``); empty for MPEG-TS.
        segments: in playing order, at least one.
    """

    init: bytes
    segments: tuple[Segment, ...]

    @property
    def durations_s(self) -> tuple[float, ...]:
        """The length of each segment."""
        return tuple(segment.duration_s for segment in self.segments)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cut:
    """The packets of one segment; times are of the film."""

    video: tuple[Packet, ...]
    audio: tuple[Packet, ...]
    duration_s: float


def cut_mpeg_ts(film: bytes, sound: bytes) -> Reel:
    """Cut a film into MPEG-TS segments, each with its own PAT and PMT (RFC 8216 section 3.2).

    Args:
        film: MP4 with H.264.
        sound: MP4 with AAC, at least as long as the film.

    Raises:
        ValueError: the film holds no keyframe.
    """
    with _open(film) as pictures, _open(sound) as sounds:
        cuts = _cuts(pictures, sounds)
        video, audio = pictures.streams.video[0], sounds.streams.audio[0]
        return _mpeg_ts(cuts, lambda cut, target: _mux([cut], video, audio, target))


def cut_fragmented_mp4(film: bytes, sound: bytes) -> Reel:
    """Cut a film into an initialization section and movie fragments (RFC 8216 section 3.3).

    Args:
        film: MP4 with H.264.
        sound: MP4 with AAC, at least as long as the film.

    Raises:
        ValueError: the film holds no keyframe.
    """
    buffer = io.BytesIO()
    with _open(film) as pictures, _open(sound) as sounds:
        cuts = _cuts(pictures, sounds)
        # One muxer for the whole loop, or decoding times would start from zero in every fragment.
        with av.open(buffer, "w", format="mp4", options={"movflags": _FRAGMENTED}) as target:
            _mux(cuts, pictures.streams.video[0], sounds.streams.audio[0], target)
    head, fragments = _fragments(buffer.getvalue())
    segments = []
    for cut in cuts:
        # The muxer opens a fragment at every keyframe; a segment may hold more than one.
        keyframes = sum(packet.is_keyframe for packet in cut.video)
        data = b"".join(itertools.islice(fragments, keyframes))
        segments.append(Segment(data=data, duration_s=cut.duration_s))
    return Reel(init=head, segments=tuple(segments))


def cut_sound_only(film: bytes, sound: bytes) -> Reel:
    """Cut a sound track into MPEG-TS segments that last as long as a film's, without its pictures.

    Args:
        film: MP4 with H.264.
        sound: MP4 with AAC, at least as long as the film.

    Raises:
        ValueError: the film holds no keyframe.
    """
    with _open(film) as pictures, _open(sound) as sounds:
        audio = sounds.streams.audio[0]
        return _mpeg_ts(
            _cuts(pictures, sounds),
            lambda cut, target: _mux_packets(cut.audio, target.add_stream_from_template(audio), target),
        )


def _mpeg_ts(cuts: Iterable[_Cut], mux: Callable[[_Cut, OutputContainer], None]) -> Reel:
    """One MPEG-TS file for each cut, filled by ``mux``."""
    segments = []
    for cut in cuts:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mpegts") as target:
            mux(cut, target)
        segments.append(Segment(data=buffer.getvalue(), duration_s=cut.duration_s))
    return Reel(init=b"", segments=tuple(segments))


def _open(data: bytes) -> InputContainer:
    # Some clips hide their first two seconds with an edit list; their packets are as good as the others.
    return av.open(io.BytesIO(data), "r", options={"ignore_editlist": "1"})


def _cuts(pictures: InputContainer, sounds: InputContainer) -> list[_Cut]:
    if not pictures.streams.video:
        raise ValueError("the film holds no pictures")
    groups: list[list[Packet]] = []
    opened_at_s = 0.0
    end_s = 0.0
    for packet in pictures.demux(pictures.streams.video[0]):
        if packet.pts is None or packet.dts is None:
            continue  # the demuxer's empty last packet
        at_s = _seconds(packet.pts, packet)
        if packet.is_keyframe and (not groups or at_s - opened_at_s >= _MIN_SEGMENT_S):
            groups.append([])
            opened_at_s = at_s
        if groups:
            groups[-1].append(packet)
            end_s = max(end_s, at_s + _seconds(packet.duration or 0, packet))
    if not groups:
        raise ValueError("the film holds no keyframe")
    starts_s = [_seconds(group[0].pts or 0, group[0]) for group in groups]
    if len(groups) > 1 and end_s - starts_s[-1] < _MIN_SEGMENT_S:
        groups.pop()  # the tail of a clip that was not cut at a keyframe
        end_s = starts_s.pop()
    audio = [packet for packet in sounds.demux(sounds.streams.audio[0]) if packet.dts is not None]
    return [
        _Cut(
            video=tuple(group),
            audio=tuple(_between(audio, start_s - starts_s[0], stop_s - starts_s[0])),
            duration_s=stop_s - start_s,
        )
        for group, start_s, stop_s in zip(groups, starts_s, [*starts_s[1:], end_s], strict=True)
    ]


def _between(packets: Iterable[Packet], start_s: float, stop_s: float) -> Iterator[Packet]:
    return (packet for packet in packets if start_s <= _seconds(packet.dts or 0, packet) < stop_s)


def _mux(cuts: Iterable[_Cut], video: VideoStream, audio: AudioStream, target: OutputContainer) -> None:
    video_out = target.add_stream_from_template(video)
    audio_out = target.add_stream_from_template(audio)
    for cut in cuts:
        # The muxer interleaves by decoding time, so the order here does not matter within a segment.
        _mux_packets(cut.video, video_out, target)
        _mux_packets(cut.audio, audio_out, target)


def _mux_packets(packets: Iterable[Packet], out: VideoStream | AudioStream, target: OutputContainer) -> None:
    for packet in packets:
        lead = round(_LEAD_S / packet.time_base)
        packet.pts = (packet.pts or 0) + lead
        packet.dts = (packet.dts or 0) + lead
        packet.stream = out
        target.mux(packet)


def _seconds(ticks: int, packet: Packet) -> float:
    return float(ticks * Fraction(packet.time_base))


def _fragments(data: bytes) -> tuple[bytes, Iterator[bytes]]:
    """Everything before the first movie fragment, and each fragment with its data (ISO/IEC 14496-12)."""
    boxes: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        boxes.append((kind, data[at : at + size]))
        at += size
    first = next((index for index, (kind, _) in enumerate(boxes) if kind == b"moof"), len(boxes))
    head = b"".join(box for _, box in boxes[:first])
    fragments: list[list[bytes]] = []
    for kind, box in boxes[first:]:
        if kind == b"moof":
            fragments.append([])
        fragments[-1].append(box)
    return head, (b"".join(fragment) for fragment in fragments)
