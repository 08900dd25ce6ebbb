from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.streams.playlist import (
    MAX_PLAYLIST_BYTES,
    ByteRange,
    InitSegment,
    PlaylistError,
    Rendition,
    choose_rendition,
    parse_media_playlist,
    pick_segments,
)
from tests.core.streams.stage import media_playlist

URL = "https://edge.example/v1/live.m3u8"
AVC = ("avc1.4D401F", "mp4a.40.2")


def rendition(name, width_px=None, height_px=None, codecs=AVC, bandwidth_bps=None):
    return Rendition(
        url=f"https://edge.example/{name}.m3u8",
        name=name,
        width_px=width_px,
        height_px=height_px,
        codecs=codecs,
        bandwidth_bps=bandwidth_bps,
    )


TWITCH = [
    rendition("1080p60", 1920, 1080, bandwidth_bps=6_000_000),
    rendition("720p60", 1280, 720, bandwidth_bps=3_000_000),
    rendition("480p", 852, 480, bandwidth_bps=1_400_000),
    rendition("360p", 640, 360, bandwidth_bps=700_000),
    rendition("160p", 284, 160, bandwidth_bps=230_000),
    rendition("audio_only", codecs=("mp4a.40.2",)),
]


def test_the_smallest_rendition_of_360_lines_is_chosen():
    assert choose_rendition(TWITCH).name == "360p"


def test_the_tallest_is_chosen_where_none_is_tall_enough():
    assert choose_rendition([TWITCH[-1], TWITCH[-2], rendition("240p", 426, 240)]).name == "240p"


def test_of_two_equally_tall_ones_the_lighter_is_chosen():
    both = [rendition("360p60", 640, 360, bandwidth_bps=1_200_000), TWITCH[3]]
    assert choose_rendition(both).name == "360p"


def test_a_portrait_picture_is_measured_across():
    portrait = [rendition("wide", 360, 640), rendition("narrow", 202, 360), rendition("large", 1080, 1920)]
    assert choose_rendition(portrait).name == "wide"


def test_h264_goes_before_unknown_codecs_and_other_codecs_are_left_out():
    hevc = rendition("360p", 640, 360, codecs=("hvc1.1.6.L93.B0",))
    unknown = rendition("480p", 852, 480, codecs=())
    assert choose_rendition([hevc, unknown, TWITCH[0]]).name == "1080p60"
    assert choose_rendition([hevc, unknown]) == unknown
    for nothing in ([], [hevc], [TWITCH[-1]]):
        with pytest.raises(PlaylistError):
            choose_rendition(nothing)


def test_segments_come_with_their_place_in_the_window():
    window = parse_media_playlist(media_playlist(["a.ts", "b.ts", "/c.ts"]), url=URL)
    assert [segment.url for segment in window.segments] == [
        "https://edge.example/v1/a.ts",
        "https://edge.example/v1/b.ts",
        "https://edge.example/c.ts",
    ]
    assert [segment.at_s for segment in window.segments] == [0.0, 2.0, 4.0]
    assert window.duration_s == 6.0


def test_an_impossible_duration_counts_as_none():
    text = f"#EXTM3U\n#EXTINF:{'9' * 400},\na.ts\n#EXTINF:99999,\nb.ts\n#EXTINF:2,\nc.ts\n"
    assert parse_media_playlist(text, url=URL).duration_s == 2.0


def test_adverts_are_marked_as_twitch_announces_them():
    text = """#EXTM3U
#EXT-X-DATERANGE:ID="stitched-ad-1",CLASS="twitch-stitched-ad",START-DATE="2026-01-01T00:00:00Z",DURATION=4.0
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z
#EXTINF:2.000,Amazon|123
ad-1.ts
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02Z
#EXTINF:2.000,
ad-2.ts
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:04Z
#EXTINF:2.000,live
live-1.ts
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:06Z
#EXTINF:2.000,live
live-2.ts
#EXT-X-TWITCH-PREFETCH:https://edge.example/v1/next.ts
"""
    window = parse_media_playlist(text, url=URL)
    assert [segment.advert for segment in window.segments] == [True, True, False, False, False]
    assert [segment.prefetch for segment in window.segments] == [False, False, False, False, True]
    assert window.segments[2].discontinuity
    assert [segment.url.rpartition("/")[2] for segment in pick_segments(window)] == ["live-1.ts", "live-2.ts"]


def test_an_initialization_segment_holds_until_the_next_one():
    text = """#EXTM3U
#EXT-X-MAP:URI="init.mp4",BYTERANGE="700@20"
#EXTINF:2,
a.mp4
#EXT-X-DISCONTINUITY
#EXTINF:2,
b.mp4
#EXT-X-MAP:URI="other.mp4"
#EXTINF:2,
c.mp4
"""
    first = InitSegment(url="https://edge.example/v1/init.mp4", byterange=ByteRange(start=20, length=700))
    other = InitSegment(url="https://edge.example/v1/other.mp4")
    assert [segment.init for segment in parse_media_playlist(text, url=URL).segments] == [first, first, other]


def test_a_byte_range_without_an_offset_follows_the_one_before():
    text = "#EXTM3U\n#EXT-X-BYTERANGE:100@50\n#EXTINF:2,\na.ts\n#EXT-X-BYTERANGE:70\n#EXTINF:2,\na.ts\n"
    window = parse_media_playlist(text, url=URL)
    assert [segment.byterange for segment in window.segments] == [
        ByteRange(start=50, length=100),
        ByteRange(start=150, length=70),
    ]
    with pytest.raises(PlaylistError):
        parse_media_playlist("#EXTM3U\n#EXT-X-BYTERANGE:70\n#EXTINF:2,\na.ts\n", url=URL)


def test_encrypted_segments_say_so():
    text = '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXTINF:2,\na.ts\n#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\nb.ts\n'
    assert [segment.encryption for segment in parse_media_playlist(text, url=URL).segments] == ["AES-128", None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "<!doctype html><title>no</title>",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n",
        "#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n",
        "#EXTM3U\n#EXTINF:2,\nftp://edge.example/a.ts\n",
        "#EXTM3U\n#EXTINF:2,\nhttp://edge.example/a.ts\n",  # from https down to http
        "#EXTM3U\n#EXTINF:2,\nhttps:///a.ts\n",
        "#EXTM3U\n#EXTINF:2,\nhttps://[::1/a.ts\n",
        '#EXTM3U\n#EXT-X-MAP:URI="data:video/mp4;base64,AAAA"\n#EXTINF:2,\na.mp4\n',
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:many\n",
        '#EXTM3U\n#EXT-X-DATERANGE:ID="a",DURATION=1e400\n',
        "#EXTM3U\n" + "#EXTINF:2,\na.ts\n" * 2001,
        "#EXTM3U\n" + "#" * MAX_PLAYLIST_BYTES,
    ],
)
def test_what_is_no_playlist_of_http_segments_is_refused(text):
    with pytest.raises(PlaylistError):
        parse_media_playlist(text, url=URL)


def test_a_playlist_made_to_keep_the_parser_busy_is_refused_at_once():
    adverts = '#EXT-X-DATERANGE:ID="stitched-ad-1",START-DATE="2026-01-01T00:00:00Z"\n' * 5_000
    segments = "#EXT-X-PROGRAM-DATE-TIME:2025-01-01T00:00:00Z\n#EXTINF:2,\na\n" * 5_000
    started = time.monotonic()
    with pytest.raises(PlaylistError):
        parse_media_playlist(f"#EXTM3U\n{adverts}{segments}", url=URL)
    assert time.monotonic() - started < 5


TAGS = st.sampled_from(
    """\
#EXTM3U
#EXTINF:2.0,x
#EXTINF:
#EXTINF:99999999999999999999999,
#EXT-X-DISCONTINUITY
a.ts
//
?
#EXT-X-BYTERANGE:5@1
#EXT-X-BYTERANGE:5
#EXT-X-KEY:METHOD=AES-128
#EXT-X-MAP:URI="i"
#EXT-X-TWITCH-PREFETCH:p
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00
#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z
#EXT-X-DATERANGE:CLASS="twitch-stitched-ad",START-DATE="2026-01-01T00:00:00Z",DURATION=5
#EXT-X-DATERANGE:CLASS="twitch-stitched-ad",START-DATE="2026-01-01",PLANNED-DURATION=1e300
#EXT-X-DATERANGE:
#EXT-X-TARGETDURATION:x
#EXT-X-START:TIME-OFFSET=x
#EXT-X-VERSION:
#EXT-X-STREAM-INF:BANDWIDTH=0
#EXT-X-MEDIA:TYPE=AUDIO
#EXT-X-TWITCH-LIVE-SEQUENCE:1""".splitlines()
)


@settings(max_examples=300)
@given(st.lists(st.one_of(TAGS, st.text(max_size=30))))
def test_any_text_is_a_window_or_a_playlist_error(lines):
    try:
        window = parse_media_playlist("\n".join(["#EXTM3U", *lines]), url=URL)
    except PlaylistError:
        return
    assert all(segment.url.startswith(("http://", "https://")) for segment in window.segments)
    assert all(0 <= segment.at_s <= window.duration_s for segment in window.segments)


@given(st.integers(1, 60), st.integers(1, 20))
def test_picks_are_spread_over_the_window_with_both_ends(count, limit):
    window = parse_media_playlist(media_playlist([f"{index}.ts" for index in range(count)]), url=URL)
    picked = pick_segments(window, limit=limit)
    assert len(picked) == min(count, limit)
    assert picked[-1] == window.segments[-1]
    assert limit == 1 or picked[0] == window.segments[0]
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(picked)]
    assert not gaps or max(gaps) - min(gaps) <= 2.0


def test_a_prefetch_segment_is_taken_only_where_there_is_no_other():
    text = media_playlist(["a.ts"], each="#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z")
    both = parse_media_playlist(text + "#EXT-X-TWITCH-PREFETCH:b.ts\n", url=URL)
    assert [segment.prefetch for segment in both.segments] == [False, True]
    assert [segment.url for segment in pick_segments(both)] == ["https://edge.example/v1/a.ts"]
