"""The web server itself: what is sent, how fast, and what is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import threading
import time
from collections import Counter
from datetime import timedelta

import aiohttp
import pytest

from demo.channels import BundledClip, Channel
from demo.faults import Fault, Faults, Kind
from demo.graphql import PERSISTED_QUERIES, signature
from demo.pocket_twitch import PocketTwitch

CHANNEL = Channel(
    login="quick",
    display_name="Quick",
    title="one clip",
    declared_category="Chess",
    source=BundledClip(name="chess__s00"),
)


def studio_threads():
    return sum(thread.name.startswith("studio") for thread in threading.enumerate())


async def query(http, twitch, operation, **variables):
    body = {
        "operationName": operation,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": PERSISTED_QUERIES.get(operation, "0")}},
        "variables": variables,
    }
    async with http.post(f"{twitch.base_url}/gql", json=body, headers={"Client-ID": "x"}) as response:
        return response.status, await response.json()


async def playlist_url(http, twitch, login, *, rendition="360p30"):
    _, answer = await query(http, twitch, "PlaybackAccessToken", login=login)
    token = answer["data"]["streamPlaybackAccessToken"]
    params = {"token": token["value"], "sig": token["signature"]}
    async with http.get(f"{twitch.base_url}/api/v2/channel/hls/{login}.m3u8", params=params) as response:
        assert response.status == 200
        return next(line for line in (await response.text()).split("\n") if f"/{rendition}/" in line)


async def segment_urls(http, url):
    async with http.get(url) as response:
        return [line for line in (await response.text()).split("\n") if line.startswith("http")]


@pytest.fixture
async def quick(clock):
    async with PocketTwitch(channels=[CHANNEL], clock=clock) as twitch:
        yield twitch


async def test_a_query_with_another_hash_is_refused(http, twitch):
    _, answer = await query(http, twitch, "SomethingElse")
    assert answer == {"errors": [{"message": "PersistedQueryNotFound"}]}


async def test_a_query_without_a_client_is_refused(http, twitch):
    async with http.post(f"{twitch.base_url}/gql", json={}) as response:
        assert response.status == 400


async def test_the_metadata_query_tells_live_offline_and_unknown_apart(http, twitch):
    shells, users = {}, {}
    for login in ("mira_plays", "sleepy_sam", "nobody"):
        _, answer = await query(http, twitch, "ChannelShell", login=login)
        shells[login] = answer["data"]["userOrError"]
        _, answer = await query(http, twitch, "StreamMetadata", channelLogin=login)
        users[login] = answer["data"]["user"]
    assert shells["mira_plays"]["displayName"] == "Mira_Plays"
    assert shells["sleepy_sam"]["displayName"] == "Sleepy_Sam"
    assert "displayName" not in shells["nobody"]
    assert users["mira_plays"]["stream"]["game"]["name"] == "Freedoom"
    assert users["sleepy_sam"]["stream"] is None
    assert users["nobody"] is None


async def test_usher_wants_the_token_that_was_signed(http, twitch):
    url = f"{twitch.base_url}/api/v2/channel/hls/mira_plays.m3u8"
    async with http.get(url, params={"token": "{}", "sig": "wrong"}) as response:
        assert response.status == 403
    async with http.get(url, params={"token": "{}", "sig": signature("{}")}) as response:
        assert response.status == 200


async def test_a_range_of_a_segment_is_sent_alone(http, quick):
    url = (await segment_urls(http, await playlist_url(http, quick, "quick")))[0]
    async with http.get(url) as response:
        whole = await response.read()
        assert response.headers["Accept-Ranges"] == "bytes"
    quick.traffic.reset()
    async with http.get(url, headers={"Range": "bytes=100-299"}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 100-299/{len(whole)}"
        assert await response.read() == whole[100:300]
    assert quick.traffic.bytes_sent == {Kind.SEGMENT: 200}
    async with http.get(url, headers={"Range": "bytes=-50"}) as response:
        assert await response.read() == whole[-50:]
    async with http.get(url, headers={"Range": f"bytes={len(whole)}-"}) as response:
        assert response.status == 416
    async with http.get(url, headers={"Range": "bytes=nonsense"}) as response:
        assert response.status == 200


async def test_segments_that_are_not_there_yet_or_no_more_are_missing(http, quick, clock):
    urls = await segment_urls(http, await playlist_url(http, quick, "quick"))
    clock.pass_s(300)
    async with http.get(urls[0]) as response:
        assert response.status == 404
    for wrong in ("stream-1-0.ts", "stream-99999999-0.ts"):
        async with http.get(f"{quick.base_url}/v1/quick/360p30/{wrong}") as response:
            assert response.status == 404


async def test_a_stream_that_has_only_just_begun_lists_nothing_yet(http, clock):
    fresh = dataclasses.replace(CHANNEL, on_air_for=timedelta(seconds=1))
    async with PocketTwitch(channels=[fresh], clock=clock) as twitch:
        url = await playlist_url(http, twitch, "quick")
        async with http.get(url) as response:
            assert response.status == 404
        clock.pass_s(5)
        assert len(await segment_urls(http, url)) == 2


async def test_requests_and_bytes_are_counted_by_kind(http, quick):
    url = await playlist_url(http, quick, "quick")
    for segment in (await segment_urls(http, url))[:3]:
        async with http.get(segment) as response:
            await response.read()
    assert quick.traffic.requests == {
        Kind.GRAPHQL: 1,
        Kind.MASTER: 1,
        Kind.PLAYLIST: 1,
        Kind.SEGMENT: 3,
    }
    assert quick.traffic.bytes_sent[Kind.SEGMENT] > 100_000


async def test_the_line_is_as_slow_as_it_was_asked_to_be(clock):
    shaped = PocketTwitch(channels=[CHANNEL], clock=clock, latency_s=0.05, rate_bytes_per_s=400_000)
    async with shaped as twitch, aiohttp.ClientSession() as http:
        await twitch.prepare()
        urls = await segment_urls(http, await playlist_url(http, twitch, "quick"))
        twitch.traffic.reset()

        async def fetch(url):
            async with http.get(url) as response:
                return len(await response.read())

        started_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            fetches = [group.create_task(fetch(url)) for url in urls[:4]]
        took_s = time.monotonic() - started_s
        largest = max(task.result() for task in fetches)
        # Four connections at once: as long as the largest alone, not as all together.
        assert took_s >= 0.05 + largest / 400_000
        assert took_s < 0.05 + 2.5 * largest / 400_000


async def test_a_viewer_who_hangs_up_early_is_not_sent_the_rest(clock, caplog):
    shaped = PocketTwitch(channels=[CHANNEL], clock=clock, rate_bytes_per_s=200_000)
    async with shaped as twitch:
        async with aiohttp.ClientSession() as http:
            url = (await segment_urls(http, await playlist_url(http, twitch, "quick")))[0]
            twitch.traffic.reset()
            response = await http.get(url)
            await response.content.readexactly(5000)
            response.close()
        await asyncio.sleep(0.3)
        assert twitch.traffic.bytes_sent[Kind.SEGMENT] < 50_000
    assert not caplog.records


@pytest.mark.parametrize("fault", list(Fault))
async def test_every_fault_is_seen_by_the_viewer_and_ends_with_the_server(clock, caplog, fault):
    twitch = PocketTwitch(channels=[CHANNEL], clock=clock)
    # Only what never ends is not waited for.
    patience = aiohttp.ClientTimeout(total=1.5 if fault in {Fault.STALL, Fault.ENDLESS} else 60.0)
    async with twitch, aiohttp.ClientSession() as http:
        url = (await segment_urls(http, await playlist_url(http, twitch, "quick")))[0]
        async with http.get(url) as response:
            good = await response.read()
        twitch.faults.plan[Kind.SEGMENT], twitch.faults.slow_s = fault, 0.1
        try:
            async with http.get(url, timeout=patience) as response:
                seen = (response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            seen = type(error)
        match fault:
            case Fault.RESET:
                assert seen is aiohttp.ServerDisconnectedError
            case Fault.INTERNAL_ERROR:
                assert seen[0] == 500
            case Fault.SERVER_ERROR:
                assert seen[0] == 503
            case Fault.NOT_FOUND:
                assert seen[0] == 404
            case Fault.UNAUTHORISED:
                assert seen[0] == 401
            case Fault.TOO_MANY_REQUESTS:
                assert seen[0] == 429
            case Fault.SLOW:
                assert seen == (200, good)
            case Fault.CUT_SHORT:
                assert seen == (200, good[: len(good) // 2])
            case Fault.EMPTY:
                assert seen == (200, b"")
            case Fault.OTHER_SHAPE:
                assert seen[0] == 200
                json.loads(seen[1])
            case Fault.STALL | Fault.ENDLESS:
                assert seen is TimeoutError
            case Fault.TRUNCATED:
                assert seen is aiohttp.ClientPayloadError
            case Fault.GARBAGE:
                assert len(seen[1]) == len(good)
                assert seen[1] != good
            case Fault.HUGE:
                assert len(seen[1]) > 10_000_000
    assert not caplog.records


def test_a_share_of_faults_is_the_same_in_every_run():
    runs = [Faults({Kind.SEGMENT: Fault.RESET}, share=0.05, seed=3) for _ in range(2)]
    first, second = ([faults.draw(Kind.SEGMENT) for _ in range(400)] for faults in runs)
    assert first == second
    assert 5 <= first.count(Fault.RESET) <= 40
    assert runs[0].draw(Kind.PLAYLIST) is None


def test_several_faults_of_one_kind_come_as_often_as_their_shares_say():
    faults = Faults({Kind.SEGMENT: {Fault.RESET: 0.1, Fault.SLOW: 0.3}}, seed=5)
    drawn = Counter(faults.draw(Kind.SEGMENT) for _ in range(4000))
    assert drawn.keys() == {None, Fault.RESET, Fault.SLOW}
    assert 330 <= drawn[Fault.RESET] <= 470
    assert 1100 <= drawn[Fault.SLOW] <= 1300


@pytest.mark.parametrize("kind", list(Kind))
def test_on_a_bad_day_the_same_share_of_every_kind_of_answer_is_spoiled_in_many_ways(kind):
    faults = Faults.of_everything(share=0.05, seed=2)
    drawn = Counter(faults.draw(kind) for _ in range(8000))
    assert 330 <= 8000 - drawn[None] <= 470
    assert len(drawn) >= 7
    # What would say for good that a channel is not there, and what no answer ever ends, are not passing faults.
    assert not drawn.keys() & {Fault.STALL, Fault.ENDLESS, Fault.HUGE}
    assert kind is Kind.SEGMENT or Fault.NOT_FOUND not in drawn


async def test_spoiled_answers_are_counted(http, clock):
    async with PocketTwitch(
        channels=[CHANNEL], clock=clock, faults=Faults.of_everything(share=0.3, slow_s=0)
    ) as twitch:
        for _ in range(200):
            with contextlib.suppress(aiohttp.ClientError, ValueError):
                await query(http, twitch, "ChannelShell", login="quick")
        assert 30 <= sum(twitch.traffic.faults.values()) <= 90
        assert {kind for kind, _ in twitch.traffic.faults} == {Kind.GRAPHQL}
        twitch.traffic.reset()
        assert not twitch.traffic.faults


async def test_a_taken_port_is_an_os_error_and_leaves_nothing(quick):
    port = int(quick.base_url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await PocketTwitch(channels=[CHANNEL], port=port).__aenter__()
    assert studio_threads() == 0


async def test_nothing_is_left_when_it_ends(clock):
    tasks = asyncio.all_tasks()
    async with PocketTwitch(channels=[CHANNEL], clock=clock) as twitch, aiohttp.ClientSession() as http:
        url = await playlist_url(http, twitch, "quick")
        # Ended while a rendition is still being made for somebody.
        small = (await segment_urls(http, url.replace("360p30", "160p30")))[0]
        asking = asyncio.create_task(http.get(small))
        await asyncio.sleep(0.2)
        asking.cancel()
    await asyncio.wait([asking])
    assert asyncio.all_tasks() == tasks
    assert studio_threads() == 0
    gc.collect()  # a socket that was left open warns now, and a warning is an error
