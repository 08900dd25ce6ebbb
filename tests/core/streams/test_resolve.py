"""Streamlink's own Twitch plugin, led to a server whose every answer is written here."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import logging.handlers
import threading
import time

import pytest
from aiohttp import web

from core.errors import (
    ChannelNotFound,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.streams.reference import StreamRef, parse_reference
from core.streams.resolve import StreamResolver
from tests.core.streams.stage import CHANNEL, Stage, media_playlist, session_led_to

USHER = f"/api/v2/channel/hls/{CHANNEL.channel}.m3u8"

OFFLINE = [{"data": {"userOrError": {"displayName": "Somebody"}}}, {"data": {"user": {"stream": None}}}]
UNKNOWN = [{"data": {"userOrError": {"userDoesNotExist": CHANNEL.channel}}}, {"data": {"user": None}}]
LIVE = [
    {"data": {"userOrError": {"displayName": "Somebody"}}},
    {"data": {"user": {"lastBroadcast": {"title": "x"}, "stream": {"id": "1", "game": {"name": "Chess"}}}}},
]

RENDITIONS = {
    "1080p60": 'BANDWIDTH=6000000,RESOLUTION=1920x1080,CODECS="avc1.64002A,mp4a.40.2",FRAME-RATE=60',
    "360p30": 'BANDWIDTH=700000,RESOLUTION=640x360,CODECS="avc1.4D401F,mp4a.40.2",FRAME-RATE=30',
    "audio_only": 'BANDWIDTH=160000,CODECS="mp4a.40.2"',
}


@pytest.fixture
async def stage():
    async with Stage() as stage:
        yield stage


@pytest.fixture
async def resolver(stage):
    resolver = StreamResolver(session_led_to(stage.url), timeout_s=5)
    yield resolver
    await resolver.aclose()


@pytest.fixture
def root_log():
    """What an application's own handler gets; caplog also listens to loggers that pass nothing on."""
    handler = logging.handlers.BufferingHandler(1000)
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def token(*restricted):
    value = json.dumps({"chansub": {"restricted_bitrates": list(restricted)}})
    return {"data": {"streamPlaybackAccessToken": {"value": value, "signature": "s"}}}


def twitch(stage, *, playback=None, metadata=None, usher=None, renditions=RENDITIONS):
    """A channel that is live, but for what is said otherwise."""

    async def gql(request):
        asked = await request.json()
        if isinstance(asked, list):
            return web.json_response(LIVE if metadata is None else metadata)
        return web.json_response(token() if playback is None else playback)

    lines = ["#EXTM3U"]
    for name, said in renditions.items():
        lines += [f'#EXT-X-STREAM-INF:{said},STABLE-VARIANT-ID="{name}"', f"{stage.url}/{name}.m3u8"]
        stage.handlers[f"/{name}.m3u8"] = stage.gives(media_playlist(["a.ts", "b.ts"]))
    stage.handlers["/gql"] = gql
    stage.handlers[USHER] = stage.gives("\n".join(lines)) if usher is None else usher


def usher_error(stage, status, message, code):
    return stage.gives(json.dumps([{"type": "error", "error": message, "error_code": code}]), status=status)


async def test_a_live_channel_gives_its_renditions_as_the_playlist_lists_them(stage, resolver):
    twitch(stage)
    resolved = await resolver.resolve(CHANNEL)
    assert [(rendition.name, rendition.height_px) for rendition in resolved.renditions] == [
        ("audio_only", None),
        ("360p30", 360),
        ("1080p60", 1080),
    ]
    small = resolved.renditions[1]
    assert (small.url, small.width_px, small.bandwidth_bps) == (f"{stage.url}/360p30.m3u8", 640, 700_000)
    assert small.codecs == ("avc1.4D401F", "mp4a.40.2")
    assert resolved.bytes_fetched > 500


async def test_the_playlists_that_streamlink_has_looked_into_come_along(stage, resolver):
    twitch(stage)
    resolved = await resolver.resolve(CHANNEL)
    assert resolved.media_playlists[f"{stage.url}/360p30.m3u8"] == media_playlist(["a.ts", "b.ts"])
    assert USHER not in " ".join(resolved.media_playlists)


async def test_all_media_playlists_are_asked_for_at_once_and_each_only_once(stage, resolver):
    twitch(stage)
    everybody = asyncio.Barrier(len(RENDITIONS))

    async def waits_for_the_others(request):
        async with asyncio.timeout(10):
            await everybody.wait()
        return web.Response(text=media_playlist(["a.ts"]))

    for name in RENDITIONS:
        stage.handlers[f"/{name}.m3u8"] = waits_for_the_others
    resolved = await resolver.resolve(CHANNEL)
    assert len(resolved.renditions) == len(RENDITIONS)
    asked = [path for path, _ in stage.requests if path.endswith(".m3u8") and path != USHER]
    assert sorted(asked) == sorted(f"/{name}.m3u8" for name in RENDITIONS)


async def test_a_site_whose_plugin_looks_into_no_media_playlist_is_asked_for_none(stage):
    variants = "\n".join(f"#EXT-X-STREAM-INF:{said}\n{name}.m3u8" for name, said in RENDITIONS.items())
    stage.handlers["/live/somebody.m3u8"] = stage.gives(f"#EXTM3U\n{variants}")
    resolver = StreamResolver()
    resolved = await resolver.resolve(parse_reference("somebody", url_template=f"{stage.url}/live/{{channel}}.m3u8"))
    assert {rendition.height_px for rendition in resolved.renditions} >= {360, 1080}
    assert {path for path, _ in stage.requests} == {"/live/somebody.m3u8"}
    await resolver.aclose()


async def test_a_plain_playlist_address_gives_one_rendition_of_unknown_size(stage):
    stage.handlers["/live/somebody.m3u8"] = stage.gives(media_playlist(["a.ts"]))
    resolver = StreamResolver()
    ref = parse_reference("somebody", url_template=f"{stage.url}/live/{{channel}}.m3u8")
    resolved = await resolver.resolve(ref)
    assert [(rendition.url, rendition.height_px) for rendition in resolved.renditions] == [(ref.url, None)]
    await resolver.aclose()


NULL_TOKEN = {"data": {"streamPlaybackAccessToken": None}}

OUTCOMES = {
    "offline": (lambda stage: {"playback": NULL_TOKEN, "metadata": OFFLINE}, StreamOffline),
    "unknown": (lambda stage: {"playback": NULL_TOKEN, "metadata": UNKNOWN}, ChannelNotFound),
    "offline, and nothing more is said": (lambda stage: {"playback": NULL_TOKEN, "metadata": {}}, StreamOffline),
    "token for a stream that has ended": (
        lambda stage: {
            "usher": usher_error(stage, 404, "Can not find channel", "transcode_does_not_exist"),
            "metadata": OFFLINE,
        },
        StreamOffline,
    ),
    "token for a name nobody has": (
        lambda stage: {"usher": usher_error(stage, 404, "Can not find channel", "x"), "metadata": UNKNOWN},
        ChannelNotFound,
    ),
    "geo-blocked": (
        lambda stage: {"usher": usher_error(stage, 403, "Content Restricted In Region", "content_geoblocked")},
        StreamRestricted,
    ),
    "subscribers only": (
        lambda stage: {"usher": usher_error(stage, 403, "Unauthorized", "unauthorized_entitlements")},
        StreamRestricted,
    ),
    "only sound without a subscription": (
        lambda stage: {
            "playback": token("1080p60", "360p30"),
            "renditions": {"audio_only": RENDITIONS["audio_only"]},
        },
        StreamRestricted,
    ),
    "usher is down": (lambda stage: {"usher": stage.gives("", status=503)}, StreamUnreachable),
    "usher hangs up": (lambda stage: {"usher": stage.resets}, StreamUnreachable),
    "usher talks nonsense": (lambda stage: {"usher": stage.gives("<html>")}, StreamUnreachable),
    "usher breaks off": (lambda stage: {"usher": stage.truncates(b"#EXTM3U\n" * 100)}, StreamUnreachable),
    "usher leads to a file": (lambda stage: {"usher": stage.leads_to("file:///etc/passwd")}, StreamUnreachable),
    "usher never ends": (lambda stage: {"usher": stage.endless(b"#EXTM3U\n", b"#" * 9999)}, StreamUnreachable),
    "a zipped bomb": (
        lambda stage: {"usher": stage.gives(gzip.compress(bytes(1 << 28)), headers={"Content-Encoding": "gzip"})},
        StreamUnreachable,
    ),
    "a stale query": (
        lambda stage: {"playback": {"errors": [{"message": "PersistedQueryNotFound"}]}},
        StreamUnreachable,
    ),
    "the integrity check": (
        lambda stage: {"playback": {"error": "Forbidden", "message": "failed integrity check"}},
        StreamUnreachable,
    ),
    "an answer of another shape": (lambda stage: {"playback": {"data": 7}}, StreamUnreachable),
}


@pytest.mark.parametrize(("said", "outcome"), OUTCOMES.values(), ids=OUTCOMES)
async def test_each_answer_of_twitch_has_its_outcome(stage, resolver, said, outcome):
    twitch(stage, **said(stage))
    with pytest.raises(StreamProblem) as problem:
        await resolver.resolve(CHANNEL)
    assert type(problem.value) is outcome


MEDIA = {
    "gone": (lambda stage: stage.gives("", status=404), StreamOffline),
    "forbidden": (lambda stage: stage.gives("", status=403), StreamRestricted),
    "down": (lambda stage: stage.gives("", status=502), StreamUnreachable),
    "nonsense": (lambda stage: stage.gives("<html>"), StreamUnreachable),
    "ten megabytes": (lambda stage: stage.gives("#EXTM3U\n" + "#EXTINF:2,\na\n" * 700_000), StreamUnreachable),
}


@pytest.mark.parametrize(("make", "outcome"), MEDIA.values(), ids=MEDIA)
async def test_a_channel_whose_playlists_are_all_of_no_use_has_an_outcome_too(stage, resolver, make, outcome):
    twitch(stage, metadata=OFFLINE)
    for name in RENDITIONS:
        stage.handlers[f"/{name}.m3u8"] = make(stage)
    with pytest.raises(StreamProblem) as problem:
        await resolver.resolve(CHANNEL)
    assert type(problem.value) is outcome


async def test_usher_s_own_words_are_kept_for_the_log(stage, resolver):
    twitch(stage, usher=usher_error(stage, 403, "Content Restricted In Region", "content_geoblocked"))
    with pytest.raises(StreamRestricted, match="Content Restricted In Region, content_geoblocked"):
        await resolver.resolve(CHANNEL)


async def test_a_rendition_for_subscribers_is_left_out_and_the_rest_is_used(stage, resolver, capfd, root_log):
    twitch(stage, playback=token("1080p60"), renditions={"360p30": RENDITIONS["360p30"]})
    resolved = await resolver.resolve(CHANNEL)
    assert [rendition.name for rendition in resolved.renditions] == ["360p30"]
    # Streamlink warns of it, which is for no terminal and no log of ours but the most detailed.
    assert capfd.readouterr() == ("", "")
    assert [record for record in root_log.buffer if record.levelno > logging.DEBUG] == []


async def test_a_session_that_cannot_be_made_is_unreachable(caplog):
    def factory():
        raise KeyError("proxy")

    with pytest.raises(StreamUnreachable), caplog.at_level(logging.CRITICAL):
        await StreamResolver(factory).resolve(CHANNEL)


async def test_no_file_is_read_even_where_an_address_says_so(tmp_path):
    playlist = tmp_path / "live.m3u8"
    playlist.write_text(media_playlist(["a.ts"]))
    with pytest.raises(StreamUnreachable):
        await StreamResolver().resolve(StreamRef(channel="x1", url=f"hls://file://{playlist}"))


async def test_an_address_of_no_known_site_is_unreachable():
    with pytest.raises(StreamUnreachable):
        await StreamResolver().resolve(StreamRef(channel="x1", url="https://example.org/x1"))


async def test_a_server_that_does_not_answer_in_time_is_too_slow(stage):
    stage.handlers["/gql"] = stage.hangs
    resolver = StreamResolver(session_led_to(stage.url), timeout_s=0.5)
    async with asyncio.timeout(20):
        with pytest.raises(StreamTooSlow):
            await resolver.resolve(CHANNEL)


def resolving_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("resolve")]


async def none_is_left():
    async with asyncio.timeout(20):
        while resolving_threads():
            await asyncio.sleep(0.02)


class DrippingHead:
    """Answers with a header line that never ends."""

    def __init__(self):
        self.ended = asyncio.Event()

    async def __call__(self, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not reader.at_eof() and not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)
        writer.close()
        self.ended.set()


@pytest.mark.parametrize("how", ["hangs", "drips", "drips in the head"])
async def test_giving_up_ends_the_thread_whatever_the_server_does(stage, how):
    """Far from any time-out: a thread that waits for a socket ends because the socket is shut."""
    stage.handlers["/gql"] = stage.hangs if how == "hangs" else stage.drips(b"{" * 10_000)
    dripping_head = DrippingHead()
    async with await asyncio.start_server(dripping_head, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        base_url = f"http://127.0.0.1:{port}" if how == "drips in the head" else stage.url
        resolver = StreamResolver(session_led_to(base_url), timeout_s=600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await resolver.resolve(CHANNEL)
        await none_is_left()
        if how == "drips in the head":
            await dripping_head.ended.wait()


async def test_closing_ends_what_is_under_way(stage, resolver):
    stage.handlers["/gql"] = stage.hangs
    asking = asyncio.create_task(resolver.resolve(CHANNEL))
    while not stage.requests:
        await asyncio.sleep(0.01)
    await resolver.aclose(patience_s=20)
    await none_is_left()
    with pytest.raises(StreamProblem):
        await asking


async def test_no_more_threads_than_agreed_resolve_at_the_same_time(stage):
    at_once, most, lock = 0, [], threading.Lock()

    def factory():
        nonlocal at_once
        with lock:
            at_once += 1
            most.append(at_once)
        time.sleep(0.1)
        with lock:
            at_once -= 1
        return session_led_to(stage.url)()

    twitch(stage)
    resolver = StreamResolver(factory, max_threads=2)
    await asyncio.gather(*[resolver.resolve(CHANNEL) for _ in range(6)])
    assert len(most) == 6
    assert max(most) == 2


async def test_the_event_loop_goes_on_while_streamlink_blocks(stage):
    def factory():
        time.sleep(3)
        return session_led_to(stage.url)()

    twitch(stage)
    asking = asyncio.create_task(StreamResolver(factory).resolve(CHANNEL))
    ticks = 0
    while not asking.done():
        await asyncio.sleep(0.05)
        ticks += 1
    assert ticks > 10
    await asking


async def test_warming_sends_nothing(stage, resolver):
    await resolver.warm()
    assert stage.requests == []
