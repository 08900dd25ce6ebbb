"""The first bytes of a segment -> its first keyframe. No I/O.

A segment of two seconds holds some hundred pictures, of which the first stands for itself. It ends where the second
one begins, so a reader that is told when to stop leaves nine tenths of the segment where they are. No library says
when: demuxers want the whole file or a blocking reader. Hence the two small readers here; the picture itself is
FFmpeg's work.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np

if TYPE_CHECKING:
    from core.frames import RgbPicture

MAX_SIDE_PX = 4096
MAX_PICTURE_PX = 4096 * 2304
"""A little more than 3840 x 2160 either way round; the decoder refuses a larger one before it takes memory for it."""

_MAX_BOX_BYTES = 1 << 20
"""A moov or moof box that is larger describes no live segment."""

_FIRST_BOXES = frozenset(
    {b"styp", b"ftyp", b"sidx", b"ssix", b"emsg", b"prft", b"free", b"skip", b"uuid", b"moov", b"moof"}
)
"""What a fragmented MP4 segment may begin with (ISO 14496-12 section 8.16)."""

_TS_PACKET_BYTES = 188
_TS_SYNC = 0x47
_PAT_PID = 0
_STREAM_TYPE_H264 = 0x1B
_NAL_SPS = 7
_START_CODE = b"\x00\x00\x01"

_SECTION_HEADER_BYTES = 3
_MAX_SECTION_BYTES = 1024


class KeyframeError(ValueError):
    """The segment gives no keyframe: broken, of another format, or encrypted. The message says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyframe:
    """One complete H.264 access unit that can be decoded by itself.

    Attributes:
        access_unit: with start codes (ISO 14496-10 annex B), or length-prefixed when ``avcc`` is there.
        avcc: the AVCDecoderConfigurationRecord of ISO 14496-15, empty for annex B.
    """

    access_unit: bytes
    avcc: bytes = b""


class _Reader(Protocol):
    wanted_bytes: int | None

    def feed(self, data: bytes) -> Keyframe | None: ...

    def finish(self) -> Keyframe | None: ...


class KeyframeCutter:
    """Takes a segment in pieces of any size and says when the first keyframe is complete.

    The format is told by the first bytes: MPEG-TS (ISO 13818-1) or fragmented MP4 (ISO 14496-12). A segment whose
    first picture cannot be decoded alone is read on until one can; how long that may take is the caller's limit.
    """

    def __init__(self, *, init: bytes = b"") -> None:
        """``init`` is the whole initialization segment (EXT-X-MAP); empty for MPEG-TS."""
        self._init = init
        self._head = bytearray()
        self._reader: _Reader | None = None

    @property
    def wanted_bytes(self) -> int | None:
        """How many bytes from the segment's start the keyframe needs, where the format has said so already."""
        return None if self._reader is None else self._reader.wanted_bytes

    def feed(self, data: bytes) -> Keyframe | None:
        """Take the segment's next bytes.

        Returns:
            The first keyframe as soon as it is complete, else None.

        Raises:
            KeyframeError: these bytes will never give one.
        """
        if self._reader is not None:
            return self._reader.feed(data)
        self._head += data
        if len(self._head) < 8:
            return None
        if self._head[0] == _TS_SYNC:
            self._reader = _TransportStreamReader()
        elif bytes(self._head[4:8]) in _FIRST_BOXES:
            self._reader = _FragmentReader(init=self._init)
        else:
            raise KeyframeError("neither MPEG-TS nor fragmented MP4")
        head = bytes(self._head)
        self._head.clear()
        return self._reader.feed(head)

    def finish(self) -> Keyframe | None:
        """Say that the segment has no more bytes.

        Returns:
            The keyframe that only the segment's end completes (a segment of one picture), else None.

        Raises:
            KeyframeError: as for :meth:`feed`.
        """
        return None if self._reader is None else self._reader.finish()


class _TransportStreamReader:
    """MPEG-TS packets -> the video's elementary stream -> access units (ISO 13818-1 section 2.4.3)."""

    def __init__(self) -> None:
        self.wanted_bytes: int | None = None
        self._rest = b""
        self._pat = _SectionReader()
        self._pmt = _SectionReader()
        self._pmt_pids: frozenset[int] = frozenset()
        self._video_pid: int | None = None
        self._video = _AccessUnitReader()
        self._pes_header = bytearray()
        self._in_pes_header = False
        self._pes_seen = False

    def feed(self, data: bytes) -> Keyframe | None:
        data = self._rest + data
        whole = len(data) - len(data) % _TS_PACKET_BYTES
        self._rest = data[whole:]
        for start in range(0, whole, _TS_PACKET_BYTES):
            keyframe = self._packet(data[start : start + _TS_PACKET_BYTES])
            if keyframe is not None:
                return keyframe
        return None

    def finish(self) -> Keyframe | None:
        return self._video.finish()

    def _packet(self, packet: bytes) -> Keyframe | None:
        if packet[0] != _TS_SYNC:
            raise KeyframeError("lost the MPEG-TS packet rhythm")
        flags, control = packet[1], packet[3]
        if flags & 0x80:  # transport_error_indicator
            raise KeyframeError("an MPEG-TS packet is marked as damaged")
        starts_unit = bool(flags & 0x40)
        pid = (flags & 0x1F) << 8 | packet[2]
        start = 4
        if control & 0x20:  # an adaptation field goes before the payload
            start += 1 + packet[4]
        if not control & 0x10 or start >= _TS_PACKET_BYTES:
            return None
        payload = packet[start:]
        if pid == self._video_pid:
            if control & 0xC0:  # transport_scrambling_control
                raise KeyframeError("the video is encrypted")
            return self._video_payload(payload, starts_unit=starts_unit)
        if pid == _PAT_PID:
            section = self._pat.feed(payload, starts_unit=starts_unit)
            if section is not None:
                self._pmt_pids = _pmt_pids(section)
        elif pid in self._pmt_pids and self._video_pid is None:
            section = self._pmt.feed(payload, starts_unit=starts_unit)
            if section is not None:
                self._video_pid = _h264_pid(section)
                if self._video_pid is None and len(self._pmt_pids) == 1:
                    raise KeyframeError("the segment has no H.264 video")
        return None

    def _video_payload(self, payload: bytes, *, starts_unit: bool) -> Keyframe | None:
        if starts_unit:
            self._pes_header.clear()
            self._in_pes_header = True
            self._pes_seen = True
        if not self._pes_seen:
            return None
        if self._in_pes_header:
            # Section 2.4.3.6: nine fixed bytes, of which the last says how many more follow.
            self._pes_header += payload
            if len(self._pes_header) < 9:
                return None
            if not self._pes_header.startswith(_START_CODE):
                raise KeyframeError("a video packet has no PES header")
            header_bytes = 9 + self._pes_header[8]
            if len(self._pes_header) < header_bytes:
                return None
            payload = bytes(self._pes_header[header_bytes:])
            self._in_pes_header = False
        return self._video.feed(payload)


class _AccessUnitReader:
    """An H.264 byte stream (annex B) -> its first access unit that carries its own parameter sets."""

    def __init__(self) -> None:
        self._unit = bytearray()
        self._scan = 0
        self._has_picture = False
        self._has_sps = False

    def feed(self, data: bytes) -> Keyframe | None:
        self._unit += data
        while True:
            found = self._unit.find(_START_CODE, self._scan)
            # Two bytes behind the start code are looked at: NAL header, and of a slice its first_mb_in_slice.
            if found < 0 or found + 5 > len(self._unit):
                self._scan = max(self._scan, len(self._unit) - 2) if found < 0 else found
                return None
            self._scan = found + 3
            nal_type = self._unit[found + 3] & 0x1F
            is_slice = nal_type in (1, 2, 5)
            first_slice = is_slice and bool(self._unit[found + 4] & 0x80)
            if self._has_picture and (first_slice or nal_type in (6, 7, 8, 9) or 14 <= nal_type <= 18):
                # ISO 14496-10 section 7.4.1.2.3: after a picture's slices, these begin the next access unit.
                keyframe = self._close(found)
                if keyframe is not None:
                    return keyframe
                self._scan = 3
            self._has_picture = self._has_picture or is_slice
            self._has_sps = self._has_sps or nal_type == _NAL_SPS

    def finish(self) -> Keyframe | None:
        return self._close(len(self._unit)) if self._has_picture else None

    def _close(self, end: int) -> Keyframe | None:
        # A segment should bring what initializes a decoder (RFC 8216 section 3), and a decoder is new for each of them
        # here: a unit without parameter sets cannot be decoded by itself, whatever else it is.
        keyframe = Keyframe(access_unit=bytes(self._unit[:end])) if self._has_sps else None
        del self._unit[:end]
        self._has_picture = False
        self._has_sps = False
        return keyframe


class _SectionReader:
    """Puts a PSI section together that may be longer than one packet (ISO 13818-1 section 2.4.4)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._started = False

    def feed(self, payload: bytes, *, starts_unit: bool) -> bytes | None:
        if starts_unit:
            self._data.clear()
            self._started = True
            payload = payload[1 + payload[0] :]  # pointer_field
        if not self._started:
            return None
        self._data += payload
        if len(self._data) < _SECTION_HEADER_BYTES:
            return None
        length = (self._data[1] & 0x0F) << 8 | self._data[2]
        if length + _SECTION_HEADER_BYTES > _MAX_SECTION_BYTES:
            raise KeyframeError("a program table is too long")
        if len(self._data) < length + _SECTION_HEADER_BYTES:
            return None
        self._started = False
        return bytes(self._data[: length + _SECTION_HEADER_BYTES])


def _pmt_pids(section: bytes) -> frozenset[int]:
    """Program association section (ISO 13818-1 section 2.4.4.3): where the program maps are."""
    pids = set()
    for at in range(8, len(section) - 4 - 3, 4):
        program, pid = struct.unpack_from(">HH", section, at)
        if program:  # 0 names the network table
            pids.add(pid & 0x1FFF)
    return frozenset(pids)


def _h264_pid(section: bytes) -> int | None:
    """Program map section (ISO 13818-1 section 2.4.4.8): the first elementary stream that is H.264."""
    if len(section) < 12:
        return None
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while at + 5 <= len(section) - 4:  # the CRC is at the end
        if section[at] == _STREAM_TYPE_H264:
            return (section[at + 1] & 0x1F) << 8 | section[at + 2]
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _VideoTrack:
    track_id: int
    avcc: bytes
    default_sample_bytes: int
    default_sample_flags: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Box:
    kind: bytes
    start: int
    """Of the content, behind the header."""
    end: int


class _FragmentReader:
    """Boxes of a fragmented MP4 segment -> where its first sync sample lies (ISO 14496-12 section 8.8)."""

    def __init__(self, *, init: bytes) -> None:
        self.wanted_bytes: int | None = None
        self._data = bytearray()
        self._next_box = 0
        self._sample: tuple[int, int] | None = None
        self._track: _VideoTrack | None = None
        if init:
            for box in _boxes(init, 0, len(init)):
                if box.kind == b"moov":
                    self._track = _video_track(init, box)
            if self._track is None:
                raise KeyframeError("the initialization segment describes no video")

    def feed(self, data: bytes) -> Keyframe | None:
        self._data += data
        while self._sample is None:
            box = self._complete_box()
            if box is None:
                return None
            if box.kind == b"moov":  # a segment that brings its own initialization
                self._track = _video_track(bytes(self._data[: box.end]), box)
            elif box.kind == b"moof":
                if self._track is None:
                    raise KeyframeError("a fragmented MP4 segment without an initialization segment")
                self._sample = _first_sync_sample(self._data, box, moof_start=self._next_box, track=self._track)
            self._next_box = box.end
        start, end = self._sample
        self.wanted_bytes = end
        if len(self._data) < end or self._track is None:
            return None
        return Keyframe(access_unit=bytes(self._data[start:end]), avcc=self._track.avcc)

    def finish(self) -> Keyframe | None:
        return None

    def _complete_box(self) -> _Box | None:
        """The next top-level box; of moov and moof the whole must be there, all others are stepped over."""
        box = _box_header(self._data, self._next_box)
        if box is None:
            self.wanted_bytes = self._next_box + 16
            return None
        if box.kind in (b"moov", b"moof"):
            if box.end - box.start > _MAX_BOX_BYTES:
                raise KeyframeError("the segment's description is too large")
            if len(self._data) < box.end:
                self.wanted_bytes = box.end
                return None
        return box


def _box_header(data: bytes | bytearray, at: int) -> _Box | None:
    """Read a box header (ISO 14496-12 section 4.2); None while its bytes are not all there."""
    if len(data) < at + 8:
        return None
    size = int.from_bytes(data[at : at + 4], "big")
    kind = bytes(data[at + 4 : at + 8])
    header_bytes = 8
    if size == 1:
        if len(data) < at + 16:
            return None
        size = int.from_bytes(data[at + 8 : at + 16], "big")
        header_bytes = 16
    if size < header_bytes:  # 0, "to the end of the file", is for a file that is being written
        raise KeyframeError("a box of impossible size")
    return _Box(kind=kind, start=at + header_bytes, end=at + size)


def _boxes(data: bytes | bytearray, start: int, end: int) -> list[_Box]:
    """All boxes in a container box; one that is cut off or runs over its container is an error."""
    found = []
    at = start
    while at < end:
        box = _box_header(data, at)
        if box is None or box.end > end or box.end > len(data):
            raise KeyframeError("a box is cut off")
        found.append(box)
        at = box.end
    return found


def _child(data: bytes | bytearray, parent: _Box, *path: bytes) -> _Box | None:
    for kind in path:
        found = next((box for box in _boxes(data, parent.start, parent.end) if box.kind == kind), None)
        if found is None:
            return None
        parent = found
    return parent


def _uint(data: bytes | bytearray, at: int, length: int, box: _Box) -> int:
    if at + length > box.end:
        raise KeyframeError("a box is too short for what it says to hold")
    return int.from_bytes(data[at : at + length], "big")


def _video_track(data: bytes, moov: _Box) -> _VideoTrack:
    """The first H.264 track of a moov box (ISO 14496-12 section 8.3, sample entry: ISO 14496-15 section 5.4)."""
    other_video: bytes | None = None
    for trak in _boxes(data, moov.start, moov.end):
        if trak.kind != b"trak":
            continue
        header = _child(data, trak, b"tkhd")
        handler = _child(data, trak, b"mdia", b"hdlr")
        described = _child(data, trak, b"mdia", b"minf", b"stbl", b"stsd")
        if header is None or handler is None or described is None:
            continue
        if data[handler.start + 8 : handler.start + 12] != b"vide":
            continue
        version = _uint(data, header.start, 1, header)
        track_id = _uint(data, header.start + (20 if version == 1 else 12), 4, header)
        for entry in _boxes(data, described.start + 8, described.end):
            if entry.kind in (b"avc1", b"avc3"):
                # A visual sample entry has 78 bytes of its own before its boxes (section 12.1.3).
                inside = _Box(kind=entry.kind, start=entry.start + 78, end=entry.end)
                avcc = _child(data, inside, b"avcC")
                if avcc is not None:
                    sample_bytes, flags = _track_defaults(data, moov, track_id)
                    return _VideoTrack(
                        track_id=track_id,
                        avcc=data[avcc.start : avcc.end],
                        default_sample_bytes=sample_bytes,
                        default_sample_flags=flags,
                    )
            other_video = entry.kind
    if other_video == b"encv":
        raise KeyframeError("the video is encrypted")
    raise KeyframeError("the segment has no H.264 video")


def _track_defaults(data: bytes, moov: _Box, track_id: int) -> tuple[int, int]:
    """default_sample_size and default_sample_flags of trex (ISO 14496-12 section 8.8.3)."""
    extends = _child(data, moov, b"mvex")
    for trex in _boxes(data, extends.start, extends.end) if extends is not None else ():
        if trex.kind == b"trex" and _uint(data, trex.start + 4, 4, trex) == track_id:
            return _uint(data, trex.start + 16, 4, trex), _uint(data, trex.start + 20, 4, trex)
    return 0, 0


_IS_NON_SYNC = 0x0001_0000
"""sample_is_non_sync_sample of the sample flags, ISO 14496-12 section 8.8.3.1."""


def _first_sync_sample(data: bytearray, moof: _Box, *, moof_start: int, track: _VideoTrack) -> tuple[int, int] | None:
    """Start and end, from the segment's first byte, of the first sync sample that a moof box describes."""
    for traf in _boxes(data, moof.start, moof.end):
        if traf.kind != b"traf":
            continue
        header = _child(data, traf, b"tfhd")
        if header is None or _uint(data, header.start + 4, 4, header) != track.track_id:
            continue
        # Section 8.8.7: optional fields in this order.
        present = _uint(data, header.start, 4, header) & 0xFF_FFFF
        at = header.start + 8
        base = moof_start
        if present & 0x01:
            # Counted from the start of the resource, which a segment cut out of a file does not know.
            raise KeyframeError("the fragment counts from the start of a file")
        at += 4 if present & 0x02 else 0
        at += 4 if present & 0x08 else 0
        sample_bytes, flags = track.default_sample_bytes, track.default_sample_flags
        if present & 0x10:
            sample_bytes = _uint(data, at, 4, header)
            at += 4
        if present & 0x20:
            flags = _uint(data, at, 4, header)
        where = base
        for run in _boxes(data, traf.start, traf.end):
            if run.kind == b"trun":
                sample, where = _sync_sample_of_run(data, run, base, where, sample_bytes, flags)
                if sample is not None:
                    return _plausible(sample, moof.end)
    return None


def _sync_sample_of_run(
    data: bytearray, run: _Box, base: int, where: int, default_bytes: int, default_flags: int
) -> tuple[tuple[int, int] | None, int]:
    """The run's first sync sample, and where the run's data ends (ISO 14496-12 section 8.8.8)."""
    present = _uint(data, run.start, 4, run) & 0xFF_FFFF
    count = _uint(data, run.start + 4, 4, run)
    at = run.start + 8
    if present & 0x001:
        offset = _uint(data, at, 4, run)
        where = base + (offset - (1 << 32) if offset >> 31 else offset)
        at += 4
    first_flags: int | None = None
    if present & 0x004:
        first_flags = _uint(data, at, 4, run)
        at += 4
    entry_bytes = 4 * sum(bool(present & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    if entry_bytes == 0:
        # Nothing is said of single samples: the first is the only one that can differ.
        flags = default_flags if first_flags is None else first_flags
        if count and not flags & _IS_NON_SYNC:
            return (where, where + default_bytes), where
        return None, where + count * default_bytes
    if at + count * entry_bytes > run.end:
        raise KeyframeError("a box is too short for what it says to hold")
    for index in range(count):
        field = at + index * entry_bytes + (4 if present & 0x100 else 0)
        sample_bytes, flags = default_bytes, default_flags
        if present & 0x200:
            sample_bytes = _uint(data, field, 4, run)
            field += 4
        if present & 0x400:
            flags = _uint(data, field, 4, run)
        if index == 0 and first_flags is not None:
            flags = first_flags
        if not flags & _IS_NON_SYNC:
            return (where, where + sample_bytes), where
        where += sample_bytes
    return None, where


def _plausible(sample: tuple[int, int], moof_end: int) -> tuple[int, int]:
    start, end = sample
    if start < moof_end or end <= start:
        raise KeyframeError("the first picture lies nowhere")
    return sample


def decode_keyframe(keyframe: Keyframe) -> RgbPicture:
    """Decode one access unit, from memory, on the calling thread.

    Returns:
        uint8 RGB, shape (height, width, 3), of the size that the stream has.

    Raises:
        KeyframeError: it cannot be decoded, is damaged, or is larger than 4K.
    """
    try:
        decoder = av.CodecContext.create("h264", "r")
        decoder.thread_count = 1
        decoder.options = {"max_pixels": str(MAX_PICTURE_PX)}
        if keyframe.avcc:
            decoder.extradata = keyframe.avcc
        # The flush makes the decoder give the picture that it would otherwise hold back for reordering.
        frames = [*decoder.decode(av.Packet(keyframe.access_unit)), *decoder.decode(None)]
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise KeyframeError(f"the keyframe cannot be decoded: {error}") from error
    for frame in frames:
        if isinstance(frame, av.VideoFrame):
            if frame.is_corrupt:
                raise KeyframeError("the keyframe is damaged")
            if max(frame.width, frame.height) > MAX_SIDE_PX:
                raise KeyframeError("the picture is too large")
            return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    raise KeyframeError("the keyframe gives no picture")
