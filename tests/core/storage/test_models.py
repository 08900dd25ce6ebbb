"""What a model said is measured by what people say of the same look, under whatever name they know the game."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.games import UNKNOWN, Game
from core.storage.models import ModelStore
from core.storage.records import Moderator, NewModelAnswer
from tests.core.storage.samples import DOOM as DOOM_CATEGORY
from tests.core.storage.samples import NOON, asked, nightly, recognition

DOOM = Game(id="doom_of_a_model", name="Doom")
QUAKE = Game(id="quake", name="Quake")
MO = Moderator(platform="twitch", id="7", name="Mo", moderates_channel=True)
BEA = Moderator(platform="discord", id="9", name="Bea")


@pytest.fixture
def models(database):
    return ModelStore(database)


def said(look: str = "look", **changes) -> NewModelAnswer:
    return NewModelAnswer(
        **{
            "look": look,
            "model": "m-1",
            "at": NOON,
            "game": DOOM,
            "confidence": 0.9,
            "frames": 13,
            "network_ms": 260.0,
        }
        | changes
    )


async def test_what_was_said_is_told_latest_first_of_each_model_apart(models):
    await models.add([said("a"), said("b", at=NOON + timedelta(minutes=1), game=UNKNOWN)])
    await models.add([said("a", model="m-2", beside="m-1", game=None), said("c", model="m-2")])
    await models.add([])

    answers = await models.answers("m-1", since=NOON)
    assert [(one.look, one.game, one.frame_ms, one.is_right) for one in answers] == [
        ("b", "", 20.0, None),
        ("a", "doom", 20.0, None),
    ]
    assert [one.look for one in await models.answers("m-1", since=NOON + timedelta(seconds=1))] == ["b"]
    assert [one.look for one in await models.answers("m-1", since=NOON, limit=1)] == ["b"]
    (silent,) = await models.answers("m-2", since=NOON, beside="m-1")
    assert (silent.look, silent.game) == ("a", None)
    assert [one.look for one in await models.answers("m-2", since=NOON)] == ["c"]
    assert await models.answers("m-2", since=NOON, beside="m-0") == ()


async def test_the_same_look_counts_once(models):
    await models.add([said()])
    await models.add([said(game=QUAKE), said("other")])

    assert {one.look: one.game for one in await models.answers("m-1", since=NOON)} == {"look": "doom", "other": "doom"}


async def test_a_flag_says_which_model_was_right_by_any_name_of_the_game(models, captures, flags):
    await captures.add(nightly(declared=DOOM_CATEGORY))
    await captures.add(asked(key="look", declared=None, recognition=recognition(QUAKE)))
    await models.add([said(game=QUAKE), said(model="m-2", beside="m-1", game=Game(id="x", name="DOOM"))])
    await models.add([said("unflagged")])

    flag = (await flags.flag("look", Game(id="doom", name="DOOM"), by=MO, place="p", at=NOON)).flag

    right = {one.look: one.is_right for one in await models.answers("m-1", since=NOON)}
    assert right == {"look": False, "unflagged": None}
    assert [one.is_right for one in await models.answers("m-2", since=NOON, beside="m-1")] == [True]

    await flags.withdraw(flag.id, by=MO, may_withdraw_others=False, place="p", at=NOON)
    assert {one.is_right for one in await models.answers("m-1", since=NOON)} == {None}


async def test_of_several_flags_the_latest_counts_once(models, captures, flags):
    await captures.add(asked(key="look", recognition=recognition(QUAKE)))
    await models.add([said(game=QUAKE)])
    await flags.flag("look", Game(id="doom", name="DOOM"), by=MO, place="p", at=NOON)
    await flags.flag("look", QUAKE, by=BEA, place="p", at=NOON)

    assert [one.is_right for one in await models.answers("m-1", since=NOON)] == [True]


async def test_what_is_old_is_removed(models):
    await models.add([said("old"), said("new", at=NOON + timedelta(days=1))])

    assert await models.expire(before=NOON + timedelta(hours=1)) == 1
    assert [one.look for one in await models.answers("m-1", since=NOON)] == ["new"]
