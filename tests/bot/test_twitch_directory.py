"""The directory over Helix, against the pocket Twitch, and against a server that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import twitchio.authentication
import twitchio.http
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.twitch_directory import DirectoryLimits, TwitchDirectory
from core.collection.directory import Category, LiveStream
from core.collection.directory import Channel as Known
from core.errors import DirectoryProblem, DirectoryRefused
from demo.channels import BundledClip, Channel, demo_channels, night_channels
from demo.faults import Fault, Faults, Kind
from demo.helix import CLIENT_ID, CLIENT_SECRET, broadcaster_id, category_id
from demo.playlists import broadcast_id
from demo.pocket_twitch import PocketTwitch
from demo.timeline import utc_now
from tests.fakes import FakeDirectory

QUICK = DirectoryLimits(request_s=2.0, call_s=20.0, first_wait_s=0.01, longest_wait_s=0.05)
OPEN_TTD = category_id("OpenTTD")


def crowd(live, *, category="OpenTTD", offline=0):
    return [
        Channel(
            login=f"player_{number:03}",
            display_name=f"Player_{number:03}",
            title=f"run {number}",
            declared_category=category,
            source=BundledClip(name="openttd__s00") if number < live else None,
            viewers=100_000 - number,
        )
        for number in range(live + offline)
    ]


CHANNELS = [*crowd(230, offline=40), *demo_channels()]
CATEGORIES = len({channel.declared_category for channel in CHANNELS if channel.source} - {None})


def directory_at(url, *, secret=CLIENT_SECRET, limits=QUICK):
    return TwitchDirectory(client_id=CLIENT_ID, client_secret=secret, helix_url=url, id_url=url, limits=limits)


@pytest.fixture
async def twitch():
    async with PocketTwitch(channels=CHANNELS) as twitch:
        yield twitch


@pytest.fixture
async def directory(twitch):
    async with directory_at(twitch.base_url) as directory:
        yield directory


# What any directory does: the same statements about the fake one and about this one


def declared(channel):
    name = channel.declared_category
    return Category(id=category_id(name), name=name) if name is not None else None


def in_memory(channels, started_at):
    live = [
        LiveStream(
            id=str(broadcast_id(channel)),
            broadcaster_id=broadcaster_id(channel.login),
            login=channel.login,
            display_name=channel.display_name,
            category=declared(channel),
            title=channel.title,
            language=channel.language,
            started_at=(started_at - channel.on_air_for).replace(microsecond=0),
            viewers=channel.viewers,
        )
        for channel in channels
        if channel.source is not None
    ]
    offline = [
        Known(
            broadcaster_id=broadcaster_id(channel.login),
            login=channel.login,
            display_name=channel.display_name,
            category=declared(channel),
            title=channel.title,
        )
        for channel in channels
        if channel.source is None
    ]
    return FakeDirectory(live, offline=offline)


@pytest.fixture(scope="module")
def started_at():
    return utc_now()


@pytest.fixture(params=["fake", "helix"])
async def any_directory(request, started_at) -> AsyncIterator[FakeDirectory | TwitchDirectory]:
    if request.param == "fake":
        yield in_memory(CHANNELS, started_at)
    else:
        twitch = PocketTwitch(channels=CHANNELS, clock=lambda: started_at)
        async with twitch, directory_at(twitch.base_url) as directory:
            yield directory


async def test_categories_come_by_their_viewers(any_directory):
    top = await any_directory.top_categories(limit=100)
    assert [category.name for category in top[:3]] == ["OpenTTD", "Minecraft", "Chess"]
    assert top[2] == Category(id="743", name="Chess")
    assert len(set(top)) == len(top) == CATEGORIES
    assert list(await any_directory.top_categories(limit=2)) == list(top[:2])
    assert not await any_directory.top_categories(limit=0)


async def test_live_streams_come_by_their_viewers_over_any_number_of_pages(any_directory):
    live = await any_directory.live_streams(OPEN_TTD, limit=1000)
    assert len(live) == 232
    assert [stream.viewers for stream in live] == sorted((stream.viewers for stream in live), reverse=True)
    assert {stream.category for stream in live} == {Category(id=OPEN_TTD, name="OpenTTD")}
    for limit in (1, 100, 101, 230):
        assert list(await any_directory.live_streams(OPEN_TTD, limit=limit)) == list(live[:limit])


async def test_a_live_stream_is_told_whole(any_directory, started_at):
    first = (await any_directory.live_streams(OPEN_TTD, limit=1))[0]
    assert first == LiveStream(
        id=first.id,
        broadcaster_id=broadcaster_id("player_000"),
        login="player_000",
        display_name="Player_000",
        category=Category(id=OPEN_TTD, name="OpenTTD"),
        title="run 0",
        language="en",
        started_at=(started_at - timedelta(hours=1, minutes=47)).replace(microsecond=0),
        viewers=100_000,
    )
    assert first.started_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("nothing", ["1", "", "Chess", "743&game_id=1", "7 43", "٧٤٣"])
async def test_a_category_that_is_none_has_no_live_streams(any_directory, nothing):
    assert not await any_directory.live_streams(nothing, limit=10)


async def test_categories_are_looked_up_in_any_number_and_unknown_ones_left_out(any_directory):
    strange = ["", "x", "743\n", "%37", "9" * 50]
    found = await any_directory.categories(["743", OPEN_TTD, *map(str, range(250)), *strange])
    assert found == {"743": Category(id="743", name="Chess"), OPEN_TTD: Category(id=OPEN_TTD, name="OpenTTD")}
    assert await any_directory.categories([]) == {}


async def test_channels_are_looked_up_live_or_not(any_directory):
    found = await any_directory.channels(["player_000", "Sleepy_Sam", "grenade_gus", "nobody_of_this_name"])
    assert found.keys() == {"player_000", "sleepy_sam", "grenade_gus"}
    assert found["sleepy_sam"] == Known(
        broadcaster_id=broadcaster_id("sleepy_sam"),
        login="sleepy_sam",
        display_name="Sleepy_Sam",
        category=Category(id=category_id("Freedoom"), name="Freedoom"),
        title="see you on friday",
    )
    assert found["grenade_gus"].category is None


async def test_channels_are_looked_up_in_any_number_and_impossible_names_do_no_harm(any_directory):
    logins = [f"player_{number:03}" for number in range(270)]
    strange = ["", "no such", "a" * 26, "x&login=y", "%41", "+", "ünï", "player_000\n"]
    assert (await any_directory.channels([*logins, *strange])).keys() == set(logins)
    assert await any_directory.channels([]) == {}
    assert await any_directory.channels(strange) == {}


# Pages and batches


async def test_a_long_list_is_asked_for_page_by_page(directory, twitch):
    await directory.live_streams(OPEN_TTD, limit=230)
    assert twitch.traffic.requests == {Kind.TOKEN: 1, Kind.HELIX: 3}


async def test_a_look_up_is_asked_for_in_batches_of_a_hundred(directory, twitch):
    await directory.categories(map(str, range(250)))
    assert twitch.traffic.requests[Kind.HELIX] == 3
    await directory.channels([f"player_{number:03}" for number in range(250)])
    assert twitch.traffic.requests[Kind.HELIX] == 3 + 2 * 3


async def test_nothing_is_asked_when_there_is_nothing_to_ask(directory, twitch):
    await directory.categories(["", "x"])
    await directory.channels([])
    await directory.top_categories(limit=0)
    assert not twitch.traffic.requests


# A server that says what it is told to


class Stub:
    """Gives every token and answers each question under ``/helix/`` with what ``say`` returns."""

    def __init__(self):
        self.say = lambda request: {"data": []}
        self.say_token = lambda request: {"access_token": "abc", "expires_in": 9, "token_type": "bearer"}
        self.asked = []
        self.on_the_way = self.most_on_the_way = 0
        app = web.Application()
        app.router.add_post("/oauth2/token", self.token)
        app.router.add_get("/helix/{path:.*}", self.helix)
        self.server = TestServer(app)

    @contextlib.asynccontextmanager
    async def directory(self, **kwargs):
        await self.server.start_server()
        try:
            async with directory_at(str(self.server.make_url("/")), **kwargs) as directory:
                yield directory
        finally:
            await self.server.close()

    async def token(self, request):
        self.asked.append((request.path_qs, await request.text()))
        return self.answer(self.say_token(request))

    async def helix(self, request):
        self.on_the_way += 1
        self.most_on_the_way = max(self.on_the_way, self.most_on_the_way)
        self.asked.append((request.path_qs, dict(request.headers)))
        await asyncio.sleep(0.01)
        self.on_the_way -= 1
        said = self.say(request)
        return self.answer(await said if inspect.isawaitable(said) else said)

    @staticmethod
    def answer(said):
        if isinstance(said, web.Response):
            return said
        return web.Response(body=json.dumps(said).encode(), content_type="application/json")


def stream_row(number):
    return {
        "id": str(1000 + number),
        "user_id": str(number),
        "user_login": f"player_{number}",
        "user_name": f"Player_{number}",
        "game_id": "743",
        "game_name": "Chess",
        "type": "live",
        "title": "blitz",
        "viewer_count": 5,
        "started_at": "2026-11-21T20:00:00Z",
        "language": "en",
    }


def numbers(streams):
    return [int(stream.broadcaster_id) for stream in streams]


async def test_pages_may_be_short_and_overlap_as_the_list_moves():
    pages = {
        None: ([1, 2], "a"),
        "a": ([2, 3, 4], "b"),
        "b": ([5], None),
    }
    stub = Stub()

    def say(request):
        rows, cursor = pages[request.query.get("after")]
        return {"data": [stream_row(row) for row in rows], "pagination": {"cursor": cursor} if cursor else {}}

    stub.say = say
    async with stub.directory() as directory:
        assert numbers(await directory.live_streams("743", limit=100)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rows", [[], [1, 2]])
async def test_a_cursor_that_leads_nowhere_ends_the_list(rows):
    stub = Stub()
    stub.say = lambda request: {"data": [stream_row(row) for row in rows], "pagination": {"cursor": "again"}}
    async with stub.directory() as directory:
        assert numbers(await directory.live_streams("743", limit=100)) == rows
        assert len(stub.asked) <= 3


async def test_the_secret_is_sent_in_a_body_and_the_token_in_a_header():
    stub = Stub()
    async with stub.directory() as directory:
        await directory.top_categories(limit=5)
    (token_path, form), (helix_path, headers) = stub.asked
    assert token_path == "/oauth2/token"
    assert f"client_secret={CLIENT_SECRET}" in form
    assert helix_path == "/helix/games/top?first=5"
    assert (headers["Authorization"], headers["Client-ID"]) == ("Bearer abc", CLIENT_ID)
    assert CLIENT_SECRET not in str((helix_path, headers))


async def test_no_more_requests_are_on_the_way_than_allowed():
    stub = Stub()
    async with stub.directory(limits=DirectoryLimits(parallel=3)) as directory, asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(directory.live_streams(str(number), limit=1))
    assert stub.most_on_the_way == 3


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
async def test_a_question_that_is_not_taken_is_not_repeated(status):
    stub = Stub()
    stub.say = lambda request: web.json_response({"status": status, "message": "no"}, status=status)
    async with stub.directory() as directory:
        with pytest.raises(DirectoryProblem, match=str(status)) as raised:
            await directory.top_categories(limit=5)
        assert not isinstance(raised.value, DirectoryRefused)
    assert len(stub.asked) == 2


@pytest.mark.parametrize("status", [408, 500, 502, 504, 520, 429])
async def test_a_server_that_fails_is_asked_as_often_as_allowed(status):
    stub = Stub()
    stub.say = lambda request: web.Response(status=status, text="<html>sorry</html>")
    async with stub.directory() as directory:
        with pytest.raises(DirectoryProblem):
            await directory.top_categories(limit=5)
    assert len(stub.asked) == 1 + QUICK.attempts


@pytest.mark.parametrize(
    "token",
    [[], "", None, {"access_token": 7}, {"access_token": ""}, {"access_token": "two\r\nlines"}, {"expires_in": 3}],
)
async def test_a_token_that_is_none_is_not_used(token):
    stub = Stub()
    stub.say_token = lambda request: token
    async with stub.directory() as directory:
        with pytest.raises(DirectoryProblem, match="token"):
            await directory.top_categories(limit=5)
    assert len(stub.asked) == QUICK.attempts
    assert {path for path, _ in stub.asked} == {"/oauth2/token"}


async def test_a_token_is_not_fetched_from_where_the_answer_points():
    stub = Stub()
    stub.say_token = lambda request: web.Response(status=307, headers={"Location": "/helix/elsewhere"})
    async with stub.directory() as directory:
        with pytest.raises(DirectoryProblem, match="307"):
            await directory.top_categories(limit=5)
    assert {path for path, _ in stub.asked} == {"/oauth2/token"}


# Rows that make no sense


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": 7},
        {"id": "seven"},
        {"user_id": ""},
        {"user_login": "Not A Login"},
        {"user_login": "../../etc"},
        {"user_login": "\ud800"},
        {"title": None},
        {"title": ["x"]},
        {"viewer_count": "many"},
        {"viewer_count": -1},
        {"viewer_count": 1.5},
        {"viewer_count": True},
        {"started_at": ""},
        {"started_at": 1700000000},
        {"started_at": "2026-11-21T20:00:00"},
        {"started_at": "yesterday"},
        {"language": None},
        {"game_id": 743},
    ],
)
async def test_a_row_that_makes_no_sense_is_left_out_and_counted(change, caplog):
    stub = Stub()
    stub.say = lambda request: {"data": [stream_row(1), stream_row(2) | change, None, 7, "x", [], stream_row(3)]}
    async with stub.directory() as directory:
        assert numbers(await directory.live_streams("743", limit=100)) == [1, 3]
    assert "5 of 7 rows" in caplog.text


@pytest.mark.parametrize("key", ["id", "user_id", "user_login", "user_name", "title", "viewer_count", "started_at"])
async def test_a_row_that_lacks_a_key_is_left_out(key):
    stub = Stub()
    bad = {name: value for name, value in stream_row(2).items() if name != key}
    stub.say = lambda request: {"data": [bad, stream_row(3)]}
    async with stub.directory() as directory:
        assert numbers(await directory.live_streams("743", limit=100)) == [3]


async def test_what_we_do_not_need_may_be_missing_or_new():
    stub = Stub()
    needless = {"type", "game_id", "game_name"}
    row = {name: value for name, value in stream_row(1).items() if name not in needless} | {"new": [1]}
    stub.say = lambda request: {"data": [row], "total": 7}
    async with stub.directory() as directory:
        (stream,) = await directory.live_streams("743", limit=100)
    assert stream.category is None


@pytest.mark.parametrize(("id_", "name"), [("", "Chess"), ("743", ""), (None, None), ("x", "Chess")])
async def test_half_a_category_is_none(id_, name):
    stub = Stub()
    stub.say = lambda request: {"data": [stream_row(1) | {"game_id": id_, "game_name": name}]}
    async with stub.directory() as directory:
        (stream,) = await directory.live_streams("743", limit=100)
    assert stream.category is None


async def test_what_no_database_can_store_is_taken_out_of_a_title():
    stub = Stub()
    stub.say = lambda request: {"data": [stream_row(1) | {"title": "a\0b \U0001f3b2", "user_name": ""}]}
    async with stub.directory() as directory:
        (stream,) = await directory.live_streams("743", limit=100)
    assert (stream.title, stream.display_name) == ("ab \U0001f3b2", "player_1")


async def test_times_are_told_in_utc():
    stub = Stub()
    stub.say = lambda request: {"data": [stream_row(1) | {"started_at": "2026-11-21T22:00:00.5+02:00"}]}
    async with stub.directory() as directory:
        (stream,) = await directory.live_streams("743", limit=100)
    assert stream.started_at == datetime(2026, 11, 21, 20, 0, 0, 500_000, tzinfo=UTC)
    assert stream.started_at.tzinfo is UTC


async def test_a_page_without_a_single_sensible_row_is_asked_for_again():
    stub = Stub()
    pages = iter([{"data": [None, 7]}, {"data": [{}]}, {"data": [stream_row(1)]}])
    stub.say = lambda request: next(pages)
    async with stub.directory() as directory:
        assert numbers(await directory.live_streams("743", limit=100)) == [1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
CHANGES = st.dictionaries(st.sampled_from(sorted(stream_row(0))), JSON, min_size=1, max_size=3)
ROWS = st.lists(st.none() | CHANGES | JSON, max_size=8)


@settings(max_examples=60)
@given(rows=ROWS)
def test_sensible_rows_survive_among_any_others(rows):
    """None is a good row; a mapping changes a good one, and anything else stands in its place."""
    good = [number for number, row in enumerate(rows) if row is None]
    said = [
        stream_row(number) if row is None else stream_row(500 + number) | row if isinstance(row, dict) else row
        for number, row in enumerate(rows)
    ]
    stub = Stub()
    stub.say = lambda request: {"data": said}

    async def ask():
        async with stub.directory(limits=DirectoryLimits(attempts=1)) as directory:
            return await directory.live_streams("743", limit=100)

    if rows and not good:
        with contextlib.suppress(DirectoryProblem):
            asyncio.run(ask())
        return
    found = asyncio.run(ask())
    by_number = {stream.broadcaster_id: stream for stream in found}
    for number in good:
        assert by_number[str(number)].login == f"player_{number}"
    for stream in found:
        json.dumps([stream.title, stream.login]).encode()
        assert stream.viewers >= 0
        assert stream.started_at.utcoffset() == timedelta(0)


@settings(max_examples=60)
@given(
    body=JSON.map(json.dumps)
    | st.text(max_size=40)
    | st.dictionaries(st.sampled_from(["data", "pagination"]), JSON).map(json.dumps)
)
def test_any_answer_at_all_is_a_list_or_a_problem(body):
    stub = Stub()
    stub.say = lambda request: web.Response(body=body.encode("utf-8", "replace"), content_type="application/json")

    async def ask():
        async with stub.directory(limits=DirectoryLimits(attempts=1)) as directory:
            for question in (
                directory.top_categories(limit=150),
                directory.live_streams("743", limit=150),
                directory.categories(["743"]),
                directory.channels(["somebody"]),
            ):
                with contextlib.suppress(DirectoryProblem):
                    assert len(await question) <= 150

    asyncio.run(ask())


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"data":' * 5_000, b"\xff\xfe", b"NaN", b"1" * 10_000, b'{"data": 1e999}']
)
async def test_json_made_to_hurt_is_a_problem_like_any_other(body):
    stub = Stub()
    stub.say = lambda request: web.Response(body=body, content_type="application/json")
    async with stub.directory() as directory:
        with pytest.raises(DirectoryProblem):
            await directory.top_categories(limit=5)


# Faults


PASSING = [fault for fault in Fault if fault not in (Fault.SERVER_ERROR, Fault.NOT_FOUND)]


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *((Kind.HELIX, fault) for fault in PASSING),
        # A token is not refused with 401 when it is asked for.
        *((Kind.TOKEN, fault) for fault in PASSING if fault is not Fault.UNAUTHORISED),
    ],
)
async def test_every_fault_that_passes_is_waited_out(twitch, kind, fault):
    limits = DirectoryLimits(request_s=0.4, call_s=20.0, first_wait_s=0.01, longest_wait_s=0.05, attempts=12)
    twitch.faults.plan[kind], twitch.faults.slow_s = fault, 0.8
    async with directory_at(twitch.base_url, limits=limits) as directory, asyncio.TaskGroup() as group:
        asking = group.create_task(directory.top_categories(limit=100))
        while not twitch.traffic.faults[kind, fault]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        twitch.faults.plan.clear()
        assert len(await asking) == CATEGORIES


async def test_a_server_that_is_not_there_for_a_moment_is_asked_again_after_twitchs_three_seconds(twitch):
    """TwitchIO's own way with 503, which is Twitch's recommendation."""
    twitch.faults.plan[Kind.HELIX] = Fault.SERVER_ERROR
    async with directory_at(twitch.base_url) as directory, asyncio.TaskGroup() as group:
        started_s = time.monotonic()
        asking = group.create_task(directory.top_categories(limit=100))
        await asyncio.sleep(1)
        twitch.faults.plan.clear()
        assert len(await asking) == CATEGORIES
        assert time.monotonic() - started_s >= 3
        assert twitch.traffic.requests[Kind.HELIX] == 2


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_lost_while_one_answer_in_twenty_is_spoiled(seed):
    channels = night_channels(categories=130, per_category=2, extras=0)
    async with PocketTwitch(
        channels=channels, faults=Faults.of_everything(share=0.05, seed=seed, slow_s=0.2)
    ) as twitch:
        async with directory_at(twitch.base_url) as directory:
            top = await directory.top_categories(limit=200)
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(directory.live_streams(category.id, limit=100)) for category in top]
            known = await directory.channels(channel.login for channel in channels)
            names = await directory.categories(category.id for category in top)
        assert len(top) == len(names) == 130
        assert [len(task.result()) for task in asking] == [2] * 130
        assert known.keys() == {channel.login for channel in channels}
        assert len(twitch.traffic.faults) >= 4


async def test_a_server_that_is_down_is_one_sentence(twitch):
    port = twitch.base_url.rpartition(":")[2]
    async with directory_at(twitch.base_url) as directory:
        await twitch.__aexit__(None, None, None)
        with pytest.raises(DirectoryProblem) as raised:
            await directory.top_categories(limit=5)
    sentence = str(raised.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert port not in sentence


# One failed call never loses the list


class FaultsFrom(Faults):
    """Spoils every answer of a kind from the nth on."""

    def __init__(self, kind, fault, *, nth):
        super().__init__({kind: fault})
        self.good = Counter({kind: nth - 1})

    def draw(self, kind):
        if self.good[kind] > 0:
            self.good[kind] -= 1
            return None
        return super().draw(kind)


@pytest.mark.parametrize("fault", [Fault.INTERNAL_ERROR, Fault.UNAUTHORISED, Fault.NOT_FOUND, Fault.STALL])
async def test_what_came_in_before_a_page_failed_for_good_is_kept(fault, caplog):
    limits = DirectoryLimits(request_s=0.3, call_s=2.0, attempts=3, first_wait_s=0.01, longest_wait_s=0.05)
    channels = [*night_channels(categories=150, per_category=1), *crowd(130, category="Chess")]
    twitch = PocketTwitch(channels=channels, faults=FaultsFrom(Kind.HELIX, fault, nth=2))
    async with twitch, directory_at(twitch.base_url, limits=limits) as directory:
        assert len(await directory.top_categories(limit=150)) == 100
        assert "games/top ends after 100" in caplog.text
        twitch.faults = FaultsFrom(Kind.HELIX, fault, nth=2)
        assert len(await directory.live_streams("743", limit=150)) == 100


async def test_what_came_in_before_the_time_was_up_is_kept():
    limits = DirectoryLimits(request_s=5.0, call_s=0.5)
    channels = night_channels(categories=150, per_category=1)
    twitch = PocketTwitch(channels=channels, faults=FaultsFrom(Kind.HELIX, Fault.STALL, nth=2))
    async with twitch, directory_at(twitch.base_url, limits=limits) as directory:
        started_s = time.monotonic()
        assert len(await directory.top_categories(limit=150)) == 100
        assert time.monotonic() - started_s < 2


async def test_a_look_up_is_whole_or_a_problem():
    twitch = PocketTwitch(channels=CHANNELS, faults=FaultsFrom(Kind.HELIX, Fault.INTERNAL_ERROR, nth=4))
    async with twitch, directory_at(twitch.base_url) as directory:
        with pytest.raises(DirectoryProblem):
            await directory.channels([f"player_{number:03}" for number in range(250)])


async def test_nothing_takes_longer_than_it_may():
    twitch = PocketTwitch(channels=CHANNELS, faults=Faults({Kind.HELIX: Fault.STALL, Kind.TOKEN: Fault.STALL}))
    async with twitch, directory_at(twitch.base_url, limits=DirectoryLimits(call_s=0.5)) as directory:
        for question in (directory.top_categories(limit=5), directory.channels(["mira_plays"])):
            started_s = time.monotonic()
            with pytest.raises(DirectoryProblem, match=r"0\.5 s"):
                await question
            assert time.monotonic() - started_s < 2


async def test_a_cancelled_question_ends_at_once_and_leaves_the_directory_usable(directory, twitch):
    for kind in (Kind.TOKEN, Kind.HELIX):
        twitch.faults.plan[kind] = Fault.STALL
        asking = [asyncio.create_task(directory.top_categories(limit=5)) for _ in range(20)]
        while not twitch.traffic.requests[kind]:
            await asyncio.sleep(0.01)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking, timeout=1)
        assert all(task.cancelled() for task in asking)
        twitch.faults.plan.clear()
        assert len(await directory.top_categories(limit=5)) == 5


# Tokens


async def test_one_token_serves_for_all(directory, twitch):
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(directory.top_categories(limit=5))
    assert twitch.traffic.requests == {Kind.TOKEN: 1, Kind.HELIX: 20}


async def test_a_revoked_token_is_renewed_once_however_many_need_it_and_as_often_as_it_takes(directory, twitch):
    await directory.top_categories(limit=1)
    for _ in range(3):
        twitch.traffic.reset()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(directory.live_streams(OPEN_TTD, limit=230)) for _ in range(8)]
            while twitch.traffic.requests[Kind.HELIX] < 4:
                await asyncio.sleep(0)
            twitch.revoke_tokens()
        assert [len(task.result()) for task in asking] == [230] * 8
        assert twitch.traffic.requests[Kind.TOKEN] == 1


async def test_a_refusal_that_comes_late_does_not_cost_the_new_token():
    stub = Stub()
    tokens = iter(["old", "new", "needless"])
    stub.say_token = lambda request: {"access_token": next(tokens)}
    renewed = asyncio.Event()

    async def say(request):
        if request.headers["Authorization"] == "Bearer old":
            if request.query["game_id"] == "2":
                await renewed.wait()
            return web.json_response({"message": "Invalid OAuth token"}, status=401)
        renewed.set()
        return {"data": []}

    stub.say = say
    async with stub.directory() as directory, asyncio.TaskGroup() as group:
        for number in "12":
            group.create_task(directory.live_streams(number, limit=1))
    assert next(tokens) == "needless"


async def test_a_token_that_has_run_out_is_renewed(twitch):
    now = utc_now()
    ageing = PocketTwitch(channels=CHANNELS, token_lifetime=timedelta(minutes=1), clock=lambda: now)
    async with ageing as twitch, directory_at(twitch.base_url) as directory:
        assert await directory.top_categories(limit=5)
        now += timedelta(minutes=2)
        assert await directory.top_categories(limit=5)
        assert twitch.traffic.requests[Kind.TOKEN] == 2


async def test_tokens_that_are_always_refused_are_not_asked_for_without_end(directory, twitch):
    twitch.faults.plan[Kind.HELIX] = Fault.UNAUTHORISED
    with pytest.raises(DirectoryRefused):
        await directory.top_categories(limit=5)
    assert twitch.traffic.requests == {Kind.TOKEN: QUICK.attempts, Kind.HELIX: QUICK.attempts}


async def test_a_wrong_secret_is_refused_at_once(twitch):
    async with directory_at(twitch.base_url, secret="not the secret") as directory:
        with pytest.raises(DirectoryRefused, match=r"does not accept .* \(status 403\)\.$"):
            await directory.top_categories(limit=5)
    assert twitch.traffic.requests == {Kind.TOKEN: 1}


# Points


async def test_points_are_kept_to_however_many_ask_at_once():
    twitch = PocketTwitch(channels=CHANNELS, points=20, points_period=timedelta(seconds=1))
    async with twitch, directory_at(twitch.base_url) as directory, asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(directory.top_categories(limit=5))
    # Each question was asked once, so that none was refused for want of a point.
    assert twitch.traffic.requests[Kind.HELIX] == 60


async def test_a_storm_of_429_is_waited_out_without_adding_to_it(directory, twitch):
    twitch.faults.plan[Kind.HELIX] = Fault.TOO_MANY_REQUESTS
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(directory.live_streams(OPEN_TTD, limit=10)) for _ in range(8)]
        await asyncio.sleep(2.5)
        twitch.faults.plan.clear()
        stormy = twitch.traffic.requests[Kind.HELIX]
    assert [len(task.result()) for task in asking] == [10] * 8
    # Once each at first, and about once each whenever points were said to be back, which is every second.
    assert stormy <= 8 * 4


async def test_a_clock_that_goes_wrong_does_not_stop_the_night(twitch):
    """Twitch's reset, read by our clock, may be hours away; points come back within a minute all the same."""
    ahead = PocketTwitch(channels=CHANNELS, points=1, clock=lambda: utc_now() + timedelta(hours=5))
    limits = DirectoryLimits(call_s=1.0)
    async with ahead as twitch, directory_at(twitch.base_url, limits=limits) as directory:
        await directory.top_categories(limit=5)
        assert 50 < directory._points._back_at_s - time.monotonic() <= 60
        with pytest.raises(DirectoryProblem):
            await directory.top_categories(limit=5)
    behind = PocketTwitch(channels=CHANNELS, points=1, clock=lambda: utc_now() - timedelta(hours=5))
    async with behind as twitch, directory_at(twitch.base_url) as directory:
        await directory.top_categories(limit=5)
        with pytest.raises(DirectoryProblem, match="429"):
            await directory.top_categories(limit=5)


@pytest.mark.parametrize("strange", ["", "x", "-5", "1e9", "9" * 30, "٧"])
async def test_a_strange_word_about_points_is_no_word(strange):
    stub = Stub()
    headers = {"Ratelimit-Remaining": strange, "Ratelimit-Reset": strange}
    stub.say = lambda request: web.json_response({"data": []}, headers=headers)
    async with stub.directory(limits=DirectoryLimits(call_s=2.0, attempts=1)) as directory:
        for _ in range(3):
            await directory.top_categories(limit=5)


# The secret


def everything_said(error):
    """What any log could show of an error: it, and all that it carries along, with the variables of our frames."""
    said, todo = [], [error]
    while todo:
        one = todo.pop()
        said += [str(one), repr(one), repr(vars(one)), repr(one.args)]
        shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        shown.stack[:] = [frame for frame in shown.stack if frame.filename != __file__]
        said += shown.format()
        todo += [carried for carried in (one.__cause__, one.__context__) if carried is not None]
        todo += getattr(one, "exceptions", ())
    return "\n".join(said)


@pytest.mark.parametrize("kind", [Kind.TOKEN, Kind.HELIX])
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.SLOW])
async def test_the_secret_is_never_shown(kind, fault, twitch, caplog):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    limits = DirectoryLimits(request_s=0.2, attempts=1)
    async with directory_at(twitch.base_url, limits=limits) as directory:
        if kind is Kind.HELIX:
            await directory.top_categories(limit=5)
        twitch.faults.plan[kind] = fault
        with pytest.raises(DirectoryProblem) as raised:
            await directory.channels(["mira_plays"])
        said = everything_said(raised.value)
        said += repr(directory) + repr(directory._http) + repr(directory._session)
    said += "\n".join(f"{record.getMessage()} {record.args!r} {record.exc_info!r}" for record in caplog.records)
    assert CLIENT_SECRET not in said
    assert caplog.records
    for token in twitch._tokens._ends_at:
        assert token not in caplog.text


async def test_the_secret_is_not_shown_when_it_is_wrong_or_nobody_listens(twitch, caplog):
    caplog.set_level(logging.DEBUG)
    said = ""
    for url, secret in ((twitch.base_url, "hush hush"), ("http://127.0.0.1:1", CLIENT_SECRET)):
        async with directory_at(url, secret=secret) as directory:
            with pytest.raises(DirectoryProblem) as raised:
                await directory.top_categories(limit=5)
            said += everything_said(raised.value) + caplog.text
    assert "hush" not in said
    assert CLIENT_SECRET not in said


# What is left behind


async def test_two_directories_can_be_led_to_different_places_and_twitchio_is_as_it_was():
    before = (
        twitchio.http.Route.BASE,
        twitchio.http.Route.ID_BASE,
        dict(twitchio.authentication.OAuth.CONTENT_TYPE_HEADER),
    )
    here, there = PocketTwitch(channels=crowd(3)), PocketTwitch(channels=crowd(7))
    async with here, there, directory_at(here.base_url) as one, directory_at(there.base_url + "/") as other:
        assert len(await one.live_streams(OPEN_TTD, limit=100)) == 3
        assert len(await other.live_streams(OPEN_TTD, limit=100)) == 7
        assert twitchio.http.Route.BASE == "https://api.twitch.tv/helix/"
    after = (
        twitchio.http.Route.BASE,
        twitchio.http.Route.ID_BASE,
        dict(twitchio.authentication.OAuth.CONTENT_TYPE_HEADER),
    )
    assert after == before


async def test_nothing_is_left_open():
    tasks = asyncio.all_tasks()
    async with PocketTwitch(channels=CHANNELS) as twitch, directory_at(twitch.base_url) as directory:
        await directory.top_categories(limit=5)
    del directory
    gc.collect()  # a session that was left open warns now, and a warning is an error
    assert asyncio.all_tasks() == tasks
