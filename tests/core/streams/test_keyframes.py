from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.streams.keyframes import Keyframe, KeyframeCutter, KeyframeError, decode_keyframe
from tests.core.streams import footage

CONTAINERS = {
    "mpegts": footage.transport_stream,
    "fmp4": footage.fragment,
    "fmp4 of many fragments": lambda seed=1: footage.fragment(seed, flags="frag_every_frame"),
    "fmp4 of a fragment a track": lambda seed=1: footage.fragment(seed, flags="frag_keyframe+separate_moof"),
}


def cut(segment, *, piece_bytes=188, finish=True):
    """The keyframe, and the bytes that were fed until it was there."""
    cutter = KeyframeCutter(init=segment.init)
    for start in range(0, len(segment.data), piece_bytes):
        keyframe = cutter.feed(segment.data[start : start + piece_bytes])
        if keyframe is not None:
            return keyframe, min(start + piece_bytes, len(segment.data))
    return (cutter.finish() if finish else None), len(segment.data)


def assert_shows(picture, expected):
    assert picture.shape == expected.shape
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - expected).mean() < 12


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("piece_bytes", [1, 7, 188, 5000, 1 << 20])
def test_the_first_keyframe_is_cut_whole_from_pieces_of_any_size(make, piece_bytes):
    segment = make()
    keyframe, _ = cut(segment, piece_bytes=piece_bytes)
    assert_shows(decode_keyframe(keyframe), segment.picture)


@pytest.mark.parametrize("make", CONTAINERS.values(), ids=CONTAINERS)
def test_no_more_is_read_than_the_keyframe_needs(make):
    segment = make()
    keyframe, needed = cut(segment, piece_bytes=1)
    assert len(keyframe.access_unit) <= needed
    # What is interleaved with the keyframe (tables, sound, a box header) is small beside it.
    assert needed < len(keyframe.access_unit) * 1.1 + 4096
    assert needed < len(segment.data) * 0.6


def test_the_keyframe_is_all_of_the_first_picture_and_nothing_of_the_second():
    segment = footage.transport_stream()
    keyframe, _ = cut(segment)
    for share in (0.3, 0.8, 0.98):
        with pytest.raises(KeyframeError):
            decode_keyframe(Keyframe(access_unit=keyframe.access_unit[: int(len(keyframe.access_unit) * share)]))


def test_fmp4_says_how_much_it_wants_as_soon_as_its_description_is_there():
    segment = footage.fragment()
    cutter = KeyframeCutter(init=segment.init)
    mdat = segment.data.index(b"mdat")
    assert cutter.feed(segment.data[: mdat + 4]) is None
    wanted = cutter.wanted_bytes
    assert wanted is not None
    assert cutter.feed(segment.data[mdat + 4 : wanted - 1]) is None
    assert cutter.feed(segment.data[wanted - 1 : wanted]) is not None


def test_a_segment_of_a_single_picture_is_complete_at_its_end():
    segment = footage.transport_stream(3, pictures=1)
    keyframe, _ = cut(segment, finish=False)
    assert keyframe is None
    keyframe, _ = cut(segment)
    assert_shows(decode_keyframe(keyframe), segment.picture)


def test_a_segment_that_begins_in_the_middle_is_read_on_to_its_first_keyframe():
    """Two groups of pictures with the first one's keyframe taken out."""
    segment = footage.transport_stream(4, pictures=30)
    packets = [segment.data[at : at + 188] for at in range(0, len(segment.data), 188)]
    video = [index for index, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    starts = [index for index in video if packets[index][1] & 0x40]
    headless = [packet for index, packet in enumerate(packets) if not (index in video and index < starts[1])]
    keyframe, needed = cut(footage.Segment(init=b"", data=b"".join(headless), picture=segment.picture))
    assert needed > len(segment.data) / 2
    assert_shows(decode_keyframe(keyframe), np.roll(segment.picture, 24 * 4, axis=1))


def test_pictures_that_share_one_packet_and_have_no_delimiter_are_told_apart():
    units = footage.annex_b(5)
    payload = b"\x00\x00\x01\xe0\x00\x00\x80\x00\x00" + b"".join(units)
    pieces = [payload[at : at + 184] for at in range(0, len(payload), 184)]
    packets = [_ts_packet(256, piece, starts=at == 0) for at, piece in enumerate(pieces)]
    data = footage.transport_stream().data[: 188 * 3] + b"".join(packets)
    keyframe, _ = cut(footage.Segment(init=b"", data=data, picture=footage.picture(5)), finish=False)
    assert keyframe.access_unit.rstrip(b"\0") == units[0].rstrip(b"\0")


def test_a_fragment_without_a_sync_sample_is_passed_over():
    segment = footage.fragment(4, pictures=30)
    # first_sample_flags, behind trun's sample_count and data_offset: no sync sample, depends on others
    at = segment.data.index(b"trun") + 16
    assert segment.data[at : at + 4] == b"\x02\x00\x00\x00"
    headless = segment.data[:at] + b"\x01\x01\x00\x00" + segment.data[at + 4 :]
    keyframe, _ = cut(footage.Segment(init=segment.init, data=headless, picture=segment.picture))
    assert_shows(decode_keyframe(keyframe), np.roll(segment.picture, 24 * 4, axis=1))


def test_fragments_of_one_picture_are_passed_over_up_to_the_keyframe():
    segment = footage.fragment(4, pictures=30, flags="frag_every_frame")
    second = segment.data.index(b"moof", segment.data.index(b"moof") + 4) - 4
    headless = footage.Segment(init=segment.init, data=segment.data[second:], picture=segment.picture)
    assert_shows(decode_keyframe(cut(headless)[0]), np.roll(segment.picture, 24 * 4, axis=1))


@pytest.mark.parametrize(
    "data",
    [
        b"<!doctype html><html></html>",
        bytes(1000),
        b"\x00\x00\x00\x10moof" + b"\xff" * 100,
        b"\x00\x00\x00\x10moov" + b"\xff" * 100,
        b"\xff\xff\xff\xffmoof" + bytes(100),
        b"\x00\x00\x00\x03styp" + bytes(100),
        b"\x00\x00\x00\x00mdat" + bytes(100),
        b"G" + b"\x00" * 187 + b"H" * 188,
        b"ID3\x04" + bytes(100),
    ],
)
def test_what_is_neither_container_is_an_error_of_ours(data):
    with pytest.raises(KeyframeError):
        KeyframeCutter().feed(data)


def test_an_initialization_segment_without_h264_is_refused():
    segment = footage.fragment()
    for init in (b"\x00\x00\x00\x08moov", segment.init.replace(b"avc1", b"hvc1"), b"garbage!" * 20):
        with pytest.raises(KeyframeError):
            KeyframeCutter(init=init).feed(segment.data)
    with pytest.raises(KeyframeError, match="without an initialization"):
        KeyframeCutter().feed(segment.data)


def test_encrypted_video_is_refused_by_name():
    segment = footage.fragment()
    with pytest.raises(KeyframeError, match="encrypted"):
        KeyframeCutter(init=segment.init.replace(b"avc1", b"encv")).feed(segment.data)
    packets = bytearray(footage.transport_stream().data)
    for at in range(0, len(packets), 188):
        if packets[at + 1] & 0x1F == 1 and packets[at + 2] == 0:
            packets[at + 3] |= 0x80
    with pytest.raises(KeyframeError, match="encrypted"):
        KeyframeCutter().feed(bytes(packets))


def test_other_codecs_in_mpegts_are_refused():
    with pytest.raises(KeyframeError, match=r"no H\.264"):
        KeyframeCutter().feed(footage.transport_stream(1, pictures=2, codec="mpeg2video").data)


@pytest.mark.parametrize(("width_px", "height_px"), [(3600, 2800), (4800, 400)])
def test_a_picture_larger_than_4k_is_refused(width_px, height_px):
    segment = footage.transport_stream(1, pictures=1, width_px=width_px, height_px=height_px)
    keyframe, _ = cut(segment)
    with pytest.raises(KeyframeError):
        decode_keyframe(keyframe)


@settings(max_examples=200)
@given(st.data())
def test_damaged_segments_give_a_keyframe_or_an_error_of_ours(data):
    name = data.draw(st.sampled_from(["mpegts", "fmp4", "fmp4 of a fragment a track"]))
    segment = CONTAINERS[name]()
    damaged = bytearray(segment.data[: data.draw(st.integers(0, 20_000))])
    # The tables and boxes at the start are where a parser goes wrong.
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=12)):
        if at < len(damaged):
            damaged[at] = value
    init = bytearray(segment.init)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=4)):
        if at < len(init):
            init[at] = value
    try:
        keyframe, _ = cut(footage.Segment(init=bytes(init), data=bytes(damaged), picture=segment.picture))
        if keyframe is not None:
            decode_keyframe(keyframe)
    except KeyframeError:
        pass


@settings(max_examples=300)
@given(st.binary(max_size=2000), st.sampled_from([b"", b"G", b"\x00\x00\x00\x20moof", b"\x00\x00\x00\x40moov"]))
def test_any_bytes_give_nothing_or_an_error_of_ours(data, head):
    cutter = KeyframeCutter()
    try:
        for start in range(0, len(data), 100):
            cutter.feed((head if start == 0 else b"") + data[start : start + 100])
        cutter.finish()
    except KeyframeError:
        pass


def _ts_packet(pid, payload, *, starts):
    stuffing = 184 - len(payload)
    if stuffing:
        head = bytes([0x47, (0x40 if starts else 0) | pid >> 8, pid & 255, 0x30, stuffing - 1])
        field = b"" if stuffing == 1 else b"\x00" + b"\xff" * (stuffing - 2)
        return head + field + payload
    return bytes([0x47, (0x40 if starts else 0) | pid >> 8, pid & 255, 0x10]) + payload


def _hostile():
    real = footage.transport_stream().data
    pes_head = b"\x00\x00\x01\xe0\x00\x00\x80\x00\x00"

    def video(payload):
        first = _ts_packet(256, pes_head + payload[:175], starts=True)
        return real[: 188 * 3] + first + _ts_packet(256, payload, starts=False) * 11_000

    yield "start codes", b"", video(b"\x00\x00\x01\x09\xf0" * 36 + bytes(4))
    yield "pictures", b"", video(b"\x00\x00\x01\x41\x80" * 36 + bytes(4))
    yield "no start code", b"", video(bytes(184))
    yield "boxes", footage.fragment().init, b"\x00\x00\x00\x08free" * 260_000
    yield "tables", b"", real[:188] * 11_000


@pytest.mark.parametrize(("init", "data"), [case[1:] for case in _hostile()], ids=[case[0] for case in _hostile()])
def test_two_megabytes_of_the_worst_take_linear_time(init, data):
    started = time.process_time()
    cutter = KeyframeCutter(init=init)
    for start in range(0, len(data), 16_384):
        assert cutter.feed(data[start : start + 16_384]) is None
    assert time.process_time() - started < 10
