"""The sampler against a server whose every answer is written here; Streamlink has no part in it."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import numpy as np
import pytest

from core.errors import AdvertsOnly, StreamBlack, StreamOffline, StreamRestricted, StreamTooSlow, StreamUnreachable
from core.frames import to_stored
from core.streams import sampler as sampler_module
from core.streams.sampler import Reason, Rejected, SamplingLimits, StreamSampler, first_range_bytes
from tests.core.streams import footage
from tests.core.streams.stage import CHANNEL, FixedResolver, Stage, media_playlist

QUICK = SamplingLimits(resolve_s=5, playlist_s=1.5, segments_s=3, straggler_s=1, total_s=8)
LIVE = "/live.m3u8"


@pytest.fixture
async def stage():
    async with Stage() as stage:
        yield stage


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def sample(stage, http):
    sampler = StreamSampler(FixedResolver(f"{stage.url}{LIVE}"), http, QUICK)
    yield lambda: sampler.sample(CHANNEL)
    await sampler.aclose()


def broadcast(stage, segments, *, ranges=True, head="", each=""):
    """Put segments and their playlist on the stage."""
    names = []
    for index, segment in enumerate(segments):
        names.append(f"{index}.ts")
        stage.handlers[f"/{index}.ts"] = (stage.ranges if ranges else stage.gives)(segment.data)
    stage.handlers[LIVE] = stage.gives(media_playlist(names, head=head, each=each))


def gamut(count):
    return [footage.transport_stream(seed) for seed in range(1, count + 1)]


def assert_frames_show(frames, segments):
    assert len(frames) == len(segments)
    for frame, segment in zip(frames, segments, strict=True):
        assert np.abs(frame.picture.astype(int) - to_stored(segment.picture)).mean() < 12


async def test_a_sample_is_one_stored_picture_of_each_segment_in_order(stage, sample):
    broadcast(stage, gamut(5))
    taken = await sample()
    assert_frames_show(taken.frames, gamut(5))
    assert [frame.at_s for frame in taken.frames] == [0, 2, 4, 6, 8]
    assert taken.window_s == 10
    assert (taken.rejected.failed, taken.rejected.duplicates, taken.rejected.black) == (0, 0, 0)
    assert min(taken.elapsed.playlist_ms, taken.elapsed.segments_ms, taken.elapsed.decode_ms) > 0


async def test_thirteen_segments_of_a_long_window_are_taken(stage, sample):
    broadcast(stage, gamut(5) * 6)
    taken = await sample()
    assert len(stage.requests) == 1 + 13
    assert len(taken.frames) + taken.rejected.duplicates == 13


async def test_fragmented_mp4_shares_one_initialization_segment(stage, sample):
    segments = [footage.fragment(seed) for seed in (1, 2, 3)]
    broadcast(stage, segments, head='#EXT-X-MAP:URI="init.mp4"')
    stage.handlers["/init.mp4"] = stage.ranges(segments[0].init)
    assert_frames_show((await sample()).frames, segments)
    assert [path for path, _ in stage.requests].count("/init.mp4") == 1


async def test_segments_may_be_parts_of_one_file(stage, sample):
    segments = [footage.fragment(seed) for seed in (1, 2)]
    body, lines, at = segments[0].init, [], len(segments[0].init)
    for segment in segments:
        lines += [f"#EXT-X-BYTERANGE:{len(segment.data)}@{at}", "#EXTINF:2,", "all.mp4"]
        at += len(segment.data)
        body += segment.data
    head = f'#EXTM3U\n#EXT-X-MAP:URI="all.mp4",BYTERANGE="{len(segments[0].init)}@0"\n'
    stage.handlers[LIVE] = stage.gives(head + "\n".join(lines))
    for handler in (stage.ranges(body), stage.gives(body)):
        stage.handlers["/all.mp4"] = handler
        assert_frames_show((await sample()).frames, segments)


async def test_a_part_of_a_file_is_not_read_beyond_its_end(stage, sample):
    stage.handlers[LIVE] = stage.gives("#EXTM3U\n#EXT-X-BYTERANGE:3000@188\n#EXTINF:2,\nall.ts\n")
    for handler in (stage.ranges, stage.gives):
        stage.handlers["/all.ts"] = handler(footage.transport_stream().data)
        with pytest.raises(StreamUnreachable):
            await sample()
    assert {header for path, header in stage.requests if path == "/all.ts"} == {"bytes=188-3187"}


async def test_black_and_repeated_pictures_are_dropped_and_counted(stage, sample):
    broadcast(stage, [footage.transport_stream(seed) for seed in (1, -1, 1, 2)])
    taken = await sample()
    assert_frames_show(taken.frames, [footage.transport_stream(1), footage.transport_stream(2)])
    assert (taken.rejected.black, taken.rejected.duplicates) == (1, 1)


async def test_what_was_left_out_is_there_for_showing_in_the_order_of_the_stream(stage, sample):
    broadcast(stage, [footage.transport_stream(seed) for seed in (1, -1, 1, 2, 3)])
    stage.handlers["/4.ts"] = stage.gives(b"nothing of a segment")
    titles = ("", "", "", "", "", "Amazon|1", "Amazon|1")
    lines = [f"#EXTINF:2,{title}\n{at}.ts" for at, title in enumerate(titles)]
    stage.handlers[LIVE] = stage.gives("#EXTM3U\n" + "\n".join(lines))
    taken = await sample()
    assert [(one.at_s, one.reason, one.thumbnail is not None) for one in taken.left_out] == [
        (2, Reason.BLACK, True),
        (4, Reason.DUPLICATE, True),
        (8, Reason.FAILED, False),
        (10, Reason.ADVERT, False),
        (12, Reason.ADVERT, False),
    ]
    assert taken.rejected == Rejected(adverts=2, black=1, duplicates=1, failed=1)
    repeated = taken.left_out[1].thumbnail
    assert repeated.shape == (90, 160, 3)
    assert abs(float(repeated.mean()) - float(taken.frames[0].picture.mean())) < 3


async def test_adverts_are_never_fetched(stage, sample):
    broadcast(stage, gamut(3))
    playlist = "#EXTM3U\n#EXTINF:2,Amazon|1\n0.ts\n#EXTINF:2,live\n1.ts\n#EXTINF:2,live\n2.ts\n"
    stage.handlers[LIVE] = stage.gives(playlist)
    taken = await sample()
    assert taken.rejected.adverts == 1
    assert "/0.ts" not in [path for path, _ in stage.requests]
    assert taken.frames[0].at_s == 2


# How much is read


def large(seed):
    """A segment of which the keyframe is a small part."""
    return footage.transport_stream(seed, pictures=24, width_px=960, height_px=540)


async def test_of_a_segment_no_more_is_asked_than_ranges_that_cover_the_keyframe(stage, sample):
    segment = large(1)
    broadcast(stage, [segment])
    taken = await sample()
    first = first_range_bytes(taken.rendition)
    needed = _needed(segment)
    steps = [header for path, header in stage.requests if path == "/0.ts"]
    assert steps[0] == f"bytes=0-{first - 1}"
    assert taken.segment_bytes < max(first, needed + first)
    assert taken.segment_bytes < len(segment.data)
    assert taken.bytes_fetched > taken.segment_bytes


async def test_a_server_that_ignores_ranges_is_hung_up_on(stage, sample):
    padding = footage.transport_stream(1).data[:188] * 20_000  # tables: harmless, and 3.7 MB of them
    segment = footage.Segment(init=b"", data=large(1).data + padding, picture=large(1).picture)
    broadcast(stage, [segment], ranges=False)
    taken = await sample()
    assert_frames_show(taken.frames, [segment])
    assert taken.segment_bytes < _needed(segment) + 128_000
    assert taken.segment_bytes < len(segment.data) / 10


async def test_fmp4_asks_a_second_time_for_exactly_the_rest(stage, sample, http):
    segment = footage.fragment(1)
    broadcast(stage, [segment], head='#EXT-X-MAP:URI="init.mp4"')
    stage.handlers["/init.mp4"] = stage.gives(segment.init)
    big = footage.Segment(init=segment.init, data=_with_offset(segment.data, 80_000), picture=segment.picture)
    stage.handlers["/0.ts"] = stage.ranges(big.data)
    taken = await sample()
    assert_frames_show(taken.frames, [segment])
    needed = _needed(big)
    asked = [header for path, header in stage.requests if path == "/0.ts"]
    assert asked == [f"bytes=0-{37_500 - 1}", f"bytes=37500-{needed - 1}"]


async def test_a_keyframe_beyond_the_cap_is_given_up(stage, http):
    limits = SamplingLimits(segments_s=5, segment_bytes=4_000)
    sampler = StreamSampler(FixedResolver(f"{stage.url}{LIVE}"), http, limits)
    broadcast(stage, gamut(2))
    with pytest.raises(StreamUnreachable):
        await sampler.sample(CHANNEL)
    assert stage.bytes_sent < 9_000
    await sampler.aclose()


async def test_a_segment_that_ends_with_a_range_is_complete(stage, http):
    whole = footage.transport_stream(3, pictures=1)
    null_packet = b"\x47\x1f\xff\x10" + bytes(184)
    data = whole.data + null_packet * (100 - len(whole.data) // 188)
    broadcast(stage, [footage.Segment(init=b"", data=data, picture=whole.picture)])
    sampler = StreamSampler(FixedResolver(f"{stage.url}{LIVE}", bandwidth_bps=round(len(data) * 8 / 0.5)), http, QUICK)
    taken = await sampler.sample(CHANNEL)
    assert_frames_show(taken.frames, [whole])
    assert taken.segment_bytes == first_range_bytes(taken.rendition) == len(data)
    await sampler.aclose()


async def test_the_next_sample_goes_over_the_same_connections(stage, sample):
    broadcast(stage, gamut(5))
    for index, segment in enumerate(gamut(5)):
        stage.handlers[f"/{index}.ts"] = stage.ranges(segment.data, pause_s=0.05)
    await sample()
    opened = len(stage.connections)
    await sample()
    assert len(stage.connections) == opened


async def test_a_box_that_ends_beyond_the_cap_is_not_read_to_its_end(stage, sample):
    broadcast(stage, [footage.Segment(init=b"", data=b"\x40\x00\x00\x00free" + bytes(200_000), picture=None)])
    with pytest.raises(StreamUnreachable):
        await sample()
    assert [header for path, header in stage.requests if path == "/0.ts"] == ["bytes=0-37499"]


def _needed(segment):
    cutter = sampler_module.KeyframeCutter(init=segment.init)
    return next(at + 1 for at in range(len(segment.data)) if cutter.feed(segment.data[at : at + 1]) is not None)


def _with_offset(data, gap):
    """The same fragment with a gap between its boxes: a free box of ``gap`` bytes in front of mdat."""
    mdat = data.index(b"mdat") - 4
    free = gap.to_bytes(4, "big") + b"free" + bytes(gap - 8)
    moved = bytearray(data[:mdat] + free + data[mdat:])
    at = 0
    while (at := moved.find(b"trun", at, mdat)) >= 0:
        offset = int.from_bytes(moved[at + 12 : at + 16], "big") + gap
        moved[at + 12 : at + 16] = offset.to_bytes(4, "big")
        at += 4
    return bytes(moved)


# What can go wrong


async def test_what_came_in_time_is_the_answer_when_the_rest_hangs(stage, sample):
    broadcast(stage, gamut(5))
    for index in (1, 3):
        stage.handlers[f"/{index}.ts"] = stage.hangs
    taken = await sample()
    assert [frame.at_s for frame in taken.frames] == [0, 4, 8]
    assert taken.rejected.failed == 2


async def test_stragglers_are_waited_for_only_a_moment(stage, http):
    limits = SamplingLimits(segments_s=60, straggler_s=0.5, total_s=60)
    sampler = StreamSampler(FixedResolver(f"{stage.url}{LIVE}"), http, limits)
    broadcast(stage, gamut(5))
    stage.handlers["/4.ts"] = stage.hangs
    async with asyncio.timeout(20):
        assert len((await sampler.sample(CHANNEL)).frames) == 4
    await sampler.aclose()


@pytest.mark.parametrize("fault", ["reset", "truncated", "garbage", "gone", "loop", "file"])
async def test_broken_segments_cost_only_themselves(stage, sample, fault):
    broadcast(stage, gamut(4))
    stage.handlers["/2.ts"] = {
        "reset": stage.resets,
        "truncated": stage.truncates(footage.transport_stream(3).data),
        "garbage": stage.gives(np.random.default_rng(0).bytes(50_000)),
        "gone": stage.gives("", status=404),
        "loop": stage.leads_to("/2.ts"),
        "file": stage.leads_to("file:///etc/passwd"),
    }[fault]
    taken = await sample()
    assert [frame.at_s for frame in taken.frames] == [0, 2, 6]
    assert taken.rejected.failed == 1


def _endless(stage):
    # Pictures for ever, none of them a keyframe.
    data = footage.transport_stream(1).data
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    tables, later = packets[:3], packets[-60:]
    return stage.endless(b"".join(tables), b"".join(later))


ALL_SEGMENTS = {
    "resets": (lambda stage: stage.resets, StreamUnreachable),
    "truncates": (lambda stage: stage.truncates(footage.transport_stream(1).data), StreamUnreachable),
    "garbage": (lambda stage: stage.gives(np.random.default_rng(0).bytes(50_000)), StreamUnreachable),
    "empty": (lambda stage: stage.gives(b""), StreamUnreachable),
    "no keyframe for ever": (_endless, StreamUnreachable),
    "server error": (lambda stage: stage.gives(b"", status=503), StreamUnreachable),
    "forbidden": (lambda stage: stage.gives(b"", status=403), StreamRestricted),
    "hangs": (lambda stage: stage.hangs, StreamTooSlow),
    "drips": (lambda stage: stage.drips(footage.transport_stream(1).data), StreamTooSlow),
    "black": (lambda stage: stage.ranges(footage.transport_stream(-1).data), StreamBlack),
}


@pytest.mark.parametrize(("make", "outcome"), ALL_SEGMENTS.values(), ids=ALL_SEGMENTS)
async def test_when_no_segment_is_of_use_the_outcome_says_why(stage, sample, make, outcome):
    broadcast(stage, gamut(3))
    for index in range(3):
        stage.handlers[f"/{index}.ts"] = make(stage)
    async with asyncio.timeout(30):
        with pytest.raises(outcome) as problem:
            await sample()
    assert type(problem.value) is outcome
    # Three segments, of which no more than the cap is read, whatever the server has to offer.
    assert stage.bytes_sent < 3 * (QUICK.segment_bytes + (4 << 20))


PLAYLISTS = {
    "gone": (lambda stage: stage.gives("", status=404), StreamOffline),
    "forbidden": (lambda stage: stage.gives("", status=403), StreamRestricted),
    "server error": (lambda stage: stage.gives("", status=500), StreamUnreachable),
    "resets": (lambda stage: stage.resets, StreamUnreachable),
    "truncates": (lambda stage: stage.truncates(b"#EXTM3U\n" * 100), StreamUnreachable),
    "garbage": (lambda stage: stage.gives(np.random.default_rng(0).bytes(5_000)), StreamUnreachable),
    "no segment": (lambda stage: stage.gives("#EXTM3U\n"), StreamUnreachable),
    "ten megabytes": (lambda stage: stage.gives("#EXTM3U\n" + "#EXTINF:2,\na.ts\n" * 600_000), StreamUnreachable),
    "endless": (lambda stage: stage.endless(b"#EXTM3U\n", b"#comment\n" * 1000), StreamUnreachable),
    "hangs": (lambda stage: stage.hangs, StreamTooSlow),
    "drips": (lambda stage: stage.drips(b"#EXTM3U\n" * 1000), StreamTooSlow),
    "adverts": (lambda stage: stage.gives("#EXTM3U\n#EXTINF:2,Amazon\na.ts\n"), AdvertsOnly),
    "encrypted": (
        lambda stage: stage.gives('#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:2,\na.ts\n'),
        StreamRestricted,
    ),
    "file segments": (lambda stage: stage.gives("#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n"), StreamUnreachable),
    "leads to a file": (lambda stage: stage.leads_to("file:///etc/passwd"), StreamUnreachable),
}


@pytest.mark.parametrize(("make", "outcome"), PLAYLISTS.values(), ids=PLAYLISTS)
async def test_when_the_playlist_is_of_no_use_the_outcome_says_why(stage, sample, make, outcome):
    stage.handlers[LIVE] = make(stage)
    async with asyncio.timeout(30):
        with pytest.raises(outcome):
            await sample()


async def test_an_initialization_segment_that_fails_fails_its_segments(stage, sample):
    broadcast(stage, [footage.fragment(1), footage.fragment(2)], head='#EXT-X-MAP:URI="init.mp4"')
    stage.handlers["/init.mp4"] = stage.gives(b"", status=403)
    with pytest.raises(StreamRestricted):
        await sample()
    stage.handlers["/init.mp4"] = stage.endless(b"", bytes(10_000))
    with pytest.raises(StreamUnreachable):
        await sample()


async def test_nobody_listening_is_unreachable(http):
    sampler = StreamSampler(FixedResolver("http://127.0.0.1:9/live.m3u8"), http, QUICK)
    with pytest.raises(StreamUnreachable):
        await sampler.sample(CHANNEL)
    await sampler.aclose()


async def test_the_total_time_is_the_longest_that_a_sample_takes(stage, http):
    limits = SamplingLimits(playlist_s=60, segments_s=60, total_s=1)
    sampler = StreamSampler(FixedResolver(f"{stage.url}{LIVE}"), http, limits)
    broadcast(stage, gamut(2))
    for index in range(2):
        stage.handlers[f"/{index}.ts"] = stage.hangs
    async with asyncio.timeout(20):
        with pytest.raises(StreamTooSlow):
            await sampler.sample(CHANNEL)
    await sampler.aclose()


async def test_decoding_is_done_off_the_event_loop(stage, sample, monkeypatch):
    threads = set()

    def decode_keyframe(keyframe):
        threads.add(threading.current_thread())
        return real(keyframe)

    real = sampler_module.decode_keyframe
    monkeypatch.setattr(sampler_module, "decode_keyframe", decode_keyframe)
    broadcast(stage, gamut(3))
    await sample()
    assert threads
    assert threading.main_thread() not in threads
