"""The directory's endpoints, as an application sees them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from demo.channels import BundledClip, Channel, demo_channels
from demo.faults import Fault, Kind
from demo.helix import CLIENT_ID, CLIENT_SECRET, POINTS, broadcaster_id, category_id
from demo.pocket_twitch import PocketTwitch

FORM = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "grant_type": "client_credentials"}
INVALID = {"error": "Unauthorized", "status": 401, "message": "Invalid OAuth token"}


def crowd(live):
    return [
        Channel(
            login=f"player_{number:03}",
            display_name=f"Player_{number:03}",
            title="hello",
            declared_category="OpenTTD",
            source=BundledClip(name="openttd__s00"),
            viewers=1000 - number,
        )
        for number in range(live)
    ]


async def token_of(http, twitch):
    async with http.post(f"{twitch.base_url}/oauth2/token", data=FORM) as response:
        assert response.status == 200
        return (await response.json())["access_token"]


class Asker:
    def __init__(self, http, twitch, token):
        self.http, self.twitch, self.token = http, twitch, token
        self.client_id = CLIENT_ID

    async def answer(self, path, *params):
        headers = {"Authorization": f"Bearer {self.token}", "Client-Id": self.client_id}
        async with self.http.get(f"{self.twitch.base_url}/helix/{path}", params=params, headers=headers) as response:
            return response.status, await response.json(), response.headers

    async def __call__(self, path, *params):
        status, body, _ = await self.answer(path, *params)
        assert status == 200, body
        return body

    async def refused(self, path, *params):
        status, body, _ = await self.answer(path, *params)
        assert body["status"] == status
        return status, body["message"]


@pytest.fixture
async def ask(http, twitch):
    return Asker(http, twitch, await token_of(http, twitch))


@pytest.fixture
async def crowded(http, clock):
    channels = [*crowd(130), *demo_channels()]
    async with PocketTwitch(channels=channels, clock=clock) as twitch:
        yield Asker(http, twitch, await token_of(http, twitch))


async def every_page(ask, path, *params):
    rows, cursors = [], []
    while True:
        after = [("after", cursors[-1])] if cursors else []
        page = await ask(path, *params, *after)
        rows += page["data"]
        if not page["pagination"]:
            return rows, len(cursors) + 1
        cursors.append(page["pagination"]["cursor"])


# Tokens


async def test_a_token_is_given_for_the_right_credentials_in_the_body_or_in_the_address(http, twitch):
    for where in ({"data": FORM}, {"params": FORM}):
        async with http.post(f"{twitch.base_url}/oauth2/token", **where) as response:
            answer = await response.json()
            assert response.content_type == "application/json"
            assert (answer["token_type"], len(answer["access_token"])) == ("bearer", 30)
            assert answer["expires_in"] > 5_000_000


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"client_id": ""}, 400, "missing client id"),
        ({"client_id": "somebody"}, 400, "invalid client"),
        ({"client_secret": ""}, 400, "missing client secret"),
        ({"client_secret": "guessed"}, 403, "invalid client secret"),
        ({"grant_type": ""}, 400, "missing grant type"),
        ({"grant_type": "password"}, 400, "invalid grant type"),
    ],
)
async def test_wrong_credentials_are_refused(http, twitch, change, status, message):
    async with http.post(f"{twitch.base_url}/oauth2/token", data=FORM | change) as response:
        assert (response.status, await response.json()) == (status, {"status": status, "message": message})


async def test_a_token_can_be_validated(http, twitch, clock):
    token = await token_of(http, twitch)
    clock.pass_s(100)
    url = f"{twitch.base_url}/oauth2/validate"
    async with http.get(url, headers={"Authorization": f"OAuth {token}"}) as response:
        answer = await response.json()
        assert answer == {"client_id": CLIENT_ID, "scopes": [], "expires_in": 58 * 86400 - 100}
    twitch.revoke_tokens()
    async with http.get(url, headers={"Authorization": f"OAuth {token}"}) as response:
        assert (response.status, await response.json()) == (401, {"status": 401, "message": "invalid access token"})
    async with http.get(url) as response:
        assert (await response.json())["message"] == "missing authorization token"


async def test_helix_wants_a_good_token_of_this_client(http, twitch, ask):
    async with http.get(f"{twitch.base_url}/helix/games/top") as response:
        assert response.status == 401
        assert (await response.json())["message"] == "OAuth token is missing"
    ask.client_id = "somebody_else"
    assert await ask.refused("games/top") == (401, "Client ID and OAuth token do not match")
    ask.client_id, ask.token = CLIENT_ID, "a_guess"
    status, body, _ = await ask.answer("games/top")
    assert (status, body) == (401, INVALID)


async def test_a_token_ends_by_revocation_or_by_age(http, clock):
    async with PocketTwitch(channels=demo_channels(), token_lifetime=timedelta(minutes=1), clock=clock) as twitch:
        ask = Asker(http, twitch, await token_of(http, twitch))
        await ask("games/top")
        clock.pass_s(60)
        assert await ask.refused("games/top") == (401, "Invalid OAuth token")
        ask.token = await token_of(http, twitch)
        await ask("games/top")
        twitch.revoke_tokens()
        assert await ask.refused("games/top") == (401, "Invalid OAuth token")


# Endpoints


async def test_the_most_watched_categories_come_first(ask):
    page = await ask("games/top", ("first", 4))
    assert [row["name"] for row in page["data"]] == ["Minecraft", "Chess", "Freedoom", "Just Chatting"]
    assert page["data"][1] | {"box_art_url": ""} == {"id": "743", "name": "Chess", "box_art_url": "", "igdb_id": ""}
    assert page["pagination"]["cursor"]


async def test_pages_follow_each_other_without_gap_or_repetition(crowded):
    rows, pages = await every_page(crowded, "streams", ("game_id", category_id("OpenTTD")), ("first", 50))
    assert pages == 3
    assert [row["user_login"] for row in rows[:2]] == ["player_000", "player_001"]
    assert len({row["id"] for row in rows}) == len(rows) == 132
    assert [row["viewer_count"] for row in rows] == sorted((row["viewer_count"] for row in rows), reverse=True)
    rows, pages = await every_page(crowded, "games/top", ("first", 3))
    assert pages > 3
    assert len({row["id"] for row in rows}) == len(rows)


async def test_a_page_holds_twenty_where_nothing_else_is_said(crowded):
    assert len((await crowded("streams"))["data"]) == 20


async def test_a_stream_is_described_as_the_reference_says(ask, clock):
    (row,) = (await ask("streams", ("user_login", "Hookshot_Hana")))["data"]
    started_at = datetime.fromisoformat(row["started_at"])
    assert clock.now - started_at == timedelta(hours=1, minutes=47)
    assert row == {
        "id": row["id"],
        "user_id": broadcaster_id("hookshot_hana"),
        "user_login": "hookshot_hana",
        "user_name": "hookshot_hana",
        "game_id": category_id("Teeworlds"),
        "game_name": "Teeworlds",
        "type": "live",
        "title": "ctf scrims",
        "viewer_count": 97,
        "started_at": row["started_at"],
        "language": "en",
        "thumbnail_url": row["thumbnail_url"],
        "tag_ids": [],
        "tags": [],
        "is_mature": False,
    }
    assert row["id"].isdecimal()


async def test_streams_are_found_by_several_names_at_once_and_only_live_ones(ask):
    logins = ("mira_plays", "sleepy_sam", "nobody", "subs_only_sue")
    found = (await ask("streams", *(("user_login", login) for login in logins)))["data"]
    assert {row["user_login"] for row in found} == {"mira_plays", "subs_only_sue"}
    ids = [("user_id", broadcaster_id(login)) for login in ("mira_plays", "rookandroll")]
    found = (await ask("streams", *ids, ("game_id", "743")))["data"]
    assert [row["user_login"] for row in found] == ["rookandroll"]


async def test_who_declares_nothing_is_live_in_no_category(ask):
    (row,) = (await ask("streams", ("user_login", "grenade_gus")))["data"]
    assert (row["game_id"], row["game_name"]) == ("", "")
    (row,) = (await ask("channels", ("broadcaster_id", broadcaster_id("grenade_gus"))))["data"]
    assert (row["game_id"], row["game_name"]) == ("", "")


async def test_games_are_looked_up_by_id_and_by_name(ask):
    found = (await ask("games", ("id", "743"), ("id", "1"), ("name", "Minecraft"), ("name", "Nothing")))["data"]
    assert [row["name"] for row in found] == ["Chess", "Minecraft"]


async def test_users_and_channels_are_known_offline_too(ask):
    logins = [("login", login) for login in ("sleepy_sam", "nobody_of_this_name", "MIRA_PLAYS")]
    users = (await ask("users", *logins))["data"]
    assert [row["login"] for row in users] == ["sleepy_sam", "mira_plays"]
    assert users[0]["display_name"] == "Sleepy_Sam"
    (channel,) = (await ask("channels", ("broadcaster_id", users[0]["id"]), ("broadcaster_id", "1")))["data"]
    assert (channel["game_name"], channel["title"]) == ("Freedoom", "see you on friday")


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        (
            "streams",
            [("first", 101)],
            'The parameter "first" was malformed: the value must be less than or equal to 100',
        ),
        ("games/top", [("first", 0)], 'The parameter "first" was malformed'),
        ("games/top", [("first", "x")], 'The parameter "first" was malformed'),
        ("games/top", [("after", "x")], 'The parameter "after" was malformed'),
        ("streams", [("game_id", "Chess")], 'The parameter "game_id" was malformed'),
        ("streams", [("user_login", "a")] * 101, 'The parameter "user_login" was malformed: the value must be less'),
        ("games", [("id", "1")] * 101, 'The parameter "id" was malformed'),
        ("games", [], "The request must specify the id or name or igdb_id query parameter."),
        ("users", [("id", "1")] * 60 + [("login", "a")] * 60, 'The parameter "login" was malformed'),
        ("users", [], "Must provide an ID, Login or OAuth Token."),
        ("users", [("login", "no such")], "Invalid username(s), email(s), or ID(s). Bad Identifiers."),
        ("channels", [], 'Missing required parameter "broadcaster_id"'),
        ("channels", [("broadcaster_id", "1")] * 101, 'The parameter "broadcaster_id" was malformed'),
    ],
)
async def test_what_is_asked_wrongly_is_refused_in_helix_words(ask, path, params, message):
    status, body, _ = await ask.answer(path, *params)
    assert (status, body["error"], body["status"]) == (400, "Bad Request", 400)
    assert body["message"].startswith(message)


# Points


async def test_points_are_spent_and_come_back(http, clock):
    async with PocketTwitch(channels=demo_channels(), points=6, clock=clock) as twitch:
        ask = Asker(http, twitch, await token_of(http, twitch))
        for left in (5, 4, 3, 2, 1, 0):
            status, _, headers = await ask.answer("games/top")
            assert (status, headers["Ratelimit-Remaining"], headers["Ratelimit-Limit"]) == (200, str(left), "6")
        status, body, headers = await ask.answer("games/top")
        assert (status, body["error"]) == (429, "Too Many Requests")
        assert int(headers["Ratelimit-Reset"]) == clock.now.timestamp() + 60
        clock.pass_s(10)
        await ask("games/top")
        assert (await ask.refused("games/top"))[0] == 429
        clock.pass_s(1000)
        assert (await ask.answer("games/top"))[2]["Ratelimit-Remaining"] == "5"


async def test_an_application_has_what_twitch_gives(ask):
    _, _, headers = await ask.answer("games/top")
    assert headers["Ratelimit-Limit"] == str(POINTS) == "800"


# Faults


async def test_faults_reach_tokens_and_helix(http, ask, twitch, clock):
    twitch.faults.plan = {Kind.HELIX: Fault.UNAUTHORISED, Kind.TOKEN: Fault.INTERNAL_ERROR}
    status, body, _ = await ask.answer("games/top")
    assert (status, body) == (401, INVALID)
    async with http.post(f"{twitch.base_url}/oauth2/token", data=FORM) as response:
        assert response.status == 500
    twitch.faults.plan = {Kind.HELIX: Fault.TOO_MANY_REQUESTS}
    status, _, headers = await ask.answer("games/top")
    assert (status, headers["Ratelimit-Remaining"]) == (429, "0")
    assert 0 < int(headers["Ratelimit-Reset"]) - clock.now.timestamp() <= 1
    assert twitch.traffic.faults == {
        (Kind.HELIX, Fault.UNAUTHORISED): 1,
        (Kind.TOKEN, Fault.INTERNAL_ERROR): 1,
        (Kind.HELIX, Fault.TOO_MANY_REQUESTS): 1,
    }


async def test_a_slow_answer_is_a_good_one_that_comes_late(ask, twitch):
    twitch.faults.plan, twitch.faults.slow_s = {Kind.HELIX: Fault.SLOW}, 0.3
    started_s = time.monotonic()
    assert (await ask("games/top"))["data"]
    assert 0.3 <= time.monotonic() - started_s < 2


async def test_malformed_answers_are_no_helix_answers(http, ask, twitch):
    headers = {"Authorization": f"Bearer {ask.token}", "Client-Id": CLIENT_ID}

    async def body():
        async with http.get(f"{twitch.base_url}/helix/games/top", headers=headers) as response:
            assert (response.status, response.content_type) == (200, "application/json")
            return await response.read()

    good = await body()
    twitch.faults.plan[Kind.HELIX] = Fault.CUT_SHORT
    assert await body() == good[: len(good) // 2]
    twitch.faults.plan[Kind.HELIX] = Fault.EMPTY
    assert await body() == b""
    twitch.faults.plan[Kind.HELIX] = Fault.OTHER_SHAPE
    assert len({await body() for _ in range(20)}) > 3
