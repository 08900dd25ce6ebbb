"""What Streamlink's unmodified Twitch plugin makes of the pocket Twitch."""

from __future__ import annotations

import io

import av
import pytest
from streamlink.plugins.twitch import TwitchM3U8Parser
from streamlink.stream.hls import parse_m3u8


async def playlist_of(http, url):
    async with http.get(url) as response:
        assert response.status == 200
        return await response.text()


async def marks_of(http, url):
    return parse_m3u8(await playlist_of(http, url), base_uri=url, parser=TwitchM3U8Parser).segments


async def pictures_of(http, *urls):
    data = b""
    for url in urls:
        async with http.get(url) as response:
            assert response.status == 200
            data += await response.read()
    with av.open(io.BytesIO(data), "r") as media:
        return [frame.to_ndarray(format="rgb24") for frame in media.decode(video=0)]


async def test_a_live_channel_has_its_renditions_and_its_declared_category(resolve):
    found = await resolve("pixelpekka")
    assert {"audio_only", "160p30", "360p30", "best"} <= set(found.streams)
    assert found.streams["best"] == found.streams["360p30"]
    assert (found.author, found.category) == ("PixelPekka", "Just Chatting")
    assert found.id is not None
    assert found.title


async def test_the_name_may_be_typed_in_any_case(resolve):
    assert (await resolve("PixelPekka")).streams


async def test_an_offline_channel_is_known_and_has_nothing(resolve, twitch, http):
    found = await resolve("sleepy_sam")
    assert found.streams == {}
    assert found.id is None


async def test_an_unknown_channel_has_nothing(resolve):
    found = await resolve("nobody_of_this_name")
    assert found.streams == {}
    assert found.id is None


@pytest.mark.parametrize("login", ["subs_only_sue", "faraway_finn"])
async def test_a_closed_channel_is_live_and_has_nothing(resolve, login):
    found = await resolve(login)
    assert found.streams == {}
    assert found.id is not None


async def test_a_declared_category_may_be_missing(resolve):
    found = await resolve("grenade_gus")
    assert found.streams
    assert found.category is None


async def test_a_whole_window_plays(resolve, http):
    url = (await resolve("mira_plays")).streams["360p30"]
    segments = await marks_of(http, url)
    whole = [segment for segment in segments if not segment.prefetch]
    assert len(whole) == 15
    assert len(segments) == 17
    for segment in segments:
        pictures = await pictures_of(http, segment.uri)
        assert pictures[0].shape == (360, 640, 3)
        assert len(pictures) >= 50


async def test_fragmented_mp4_plays_after_its_initialization_section(resolve, http):
    url = (await resolve("hookshot_hana")).streams["360p30"]
    for segment in await marks_of(http, url):
        pictures = await pictures_of(http, segment.map.uri, segment.uri)
        assert len(pictures) == 60
        assert pictures[0].shape == (360, 640, 3)


async def test_the_small_rendition_shows_the_same_and_cuts_alike(resolve, http):
    found = await resolve("rookandroll")
    small = await marks_of(http, found.streams["160p30"])
    large = await marks_of(http, found.streams["360p30"])
    assert [segment.duration for segment in small] == [segment.duration for segment in large]
    for index in (0, 7):
        first = (await pictures_of(http, small[index].uri))[0]
        same = (await pictures_of(http, large[index].uri))[0]
        assert first.shape == (160, 284, 3)
        assert abs(float(first.mean()) - float(same.mean())) < 4


async def test_the_preroll_is_marked_at_the_start_of_the_window_and_looks_different(resolve, http):
    url = (await resolve("lemming_lou")).streams["360p30"]
    segments = await marks_of(http, url)
    assert [segment.ad for segment in segments] == [True] * 7 + [False] * 10
    advert, stream = [await pictures_of(http, segments[at].uri) for at in (0, 7)]
    assert advert[0].mean() > 200
    assert abs(float(advert[0].mean()) - float(stream[0].mean())) > 50


async def test_the_preroll_slides_out_of_a_session_and_a_new_session_has_it_again(resolve, http, clock):
    url = (await resolve("lemming_lou")).streams["360p30"]
    clock.pass_s(10)
    assert sum(segment.ad for segment in await marks_of(http, url)) == 2
    clock.pass_s(10)
    assert not any(segment.ad for segment in await marks_of(http, url))
    again = (await resolve("lemming_lou")).streams["360p30"]
    assert sum(segment.ad for segment in await marks_of(http, again)) == 7


async def test_a_channel_with_adverts_only_has_nothing_else(resolve, http, clock):
    url = (await resolve("adbreak_andy")).streams["360p30"]
    for _ in range(3):
        segments = await marks_of(http, url)
        assert len(segments) == 15
        assert all(segment.ad for segment in segments)
        clock.pass_s(40)


async def test_no_channel_without_adverts_is_marked(resolve, http, twitch):
    for channel in twitch.channels:
        if channel.source is not None and channel.closed is None and channel.adverts == "none":
            url = (await resolve(channel.login)).streams["360p30"]
            assert not any(segment.ad for segment in await marks_of(http, url)), channel.login
