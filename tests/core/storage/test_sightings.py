"""What a channel showed: its last look, and the games of tonight."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.games import NOT_A_GAME, UNKNOWN, Game
from core.storage.flags import FlagStore
from core.storage.records import Broadcaster, LabelSource, Moderator, Seen, Sighting
from core.storage.sightings import merged
from core.storage.tables import LabelRow
from tests.core.storage.samples import ANNA, BERT, CHESS, NOON, asked, nightly, recognition

DOOM = Game(id="doom", name="DOOM")
QUAKE = Game(id="quake", name="Quake")
MINUTE = timedelta(minutes=1)
MO = Moderator(platform="twitch", id="7", name="Mo", moderates_channel=True)


@pytest.fixture
async def look(captures):
    """Keep a look at Anna's channel some minutes after noon."""

    async def look(minutes: int, game: Game = DOOM, *, build=asked, **changes) -> None:
        at = NOON + minutes * MINUTE
        said = recognition(game, best=DOOM if game == UNKNOWN else game, at=at)
        await captures.add(build(**({"key": f"{minutes}", "at": at, "recognition": said} | changes)))

    return look


def entry(game: Game, first: int, last: int, *, looks: int, confidence: float | None = 0.9) -> Sighting:
    return Sighting(
        game=game, first_at=NOON + first * MINUTE, last_at=NOON + last * MINUTE, confidence=confidence, looks=looks
    )


class TestLastSeen:
    async def test_the_latest_look(self, sightings, look):
        await look(5, QUAKE)
        await look(0)
        assert await sightings.last_seen("ANNA") == Seen(game=QUAKE, at=NOON + 5 * MINUTE, confidence=0.9)

    async def test_that_may_have_been_at_something_unknown(self, sightings, look):
        await look(0)
        await look(1, UNKNOWN)
        assert (await sightings.last_seen("anna")).game == UNKNOWN

    async def test_by_night_too_if_a_model_looked(self, sightings, look, captures):
        await look(0, build=nightly)
        await captures.add(nightly(at=NOON + MINUTE))
        assert (await sightings.last_seen("anna")).at == NOON

    async def test_of_several_models_the_last_word_counts(self, sightings, look, captures, database):
        await look(0)
        async with database.writing() as session:
            from core.storage.captures import _add_recognition  # noqa: PLC0415 - nothing public looks again yet

            again = recognition(QUAKE, model="later-2", at=NOON + MINUTE)
            await _add_recognition(session, 1, again.verdict, at=again.at)
        assert (await sightings.last_seen("anna")).game == QUAKE

    async def test_a_channel_that_was_never_looked_at(self, sightings, look):
        await look(0, broadcaster=BERT)
        assert await sightings.last_seen("anna") is None
        assert await sightings.timeline("anna", since=NOON) == ()

    async def test_what_a_moderator_put_right_is_right(self, sightings, look, flags):
        await look(0)
        raised = await flags.flag("0", QUAKE, by=MO, place="", at=NOON)
        assert await sightings.last_seen("anna") == Seen(game=QUAKE, at=NOON, confidence=None)
        await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON)
        assert (await sightings.last_seen("anna")).game == DOOM

    async def test_what_waits_for_others_to_agree_is_not(self, sightings, look, flags):
        await look(0)
        await flags.flag("0", QUAKE, by=replace(MO, moderates_channel=False), place="", at=NOON)
        assert (await sightings.last_seen("anna")).game == DOOM

    async def test_the_keeper_s_word_counts_more(self, sightings, look, flags, captures, database):
        await look(0)
        await captures.add(nightly(declared=CHESS, broadcaster=BERT))
        await flags.flag("0", QUAKE, by=MO, place="", at=NOON)
        async with database.writing() as session:
            session.add(LabelRow(capture_id=1, game_id="chess", source=LabelSource.KEEPER, at=NOON))
        assert (await sightings.last_seen("anna")).game.id == "chess"

    async def test_what_is_declared_is_not_what_is_seen(self, sightings, look):
        await look(0, build=nightly, declared=CHESS)
        assert (await sightings.last_seen("anna")).game == DOOM


class TestTimeline:
    async def test_looks_in_a_row_at_the_same_game_are_one_entry(self, sightings, look):
        for minutes, game in ((0, DOOM), (5, DOOM), (10, QUAKE), (15, NOT_A_GAME), (20, DOOM), (25, DOOM)):
            await look(minutes, game)
        assert await sightings.timeline("Anna", since=NOON) == (
            entry(DOOM, 0, 5, looks=2),
            entry(QUAKE, 10, 10, looks=1),
            entry(NOT_A_GAME, 15, 15, looks=1),
            entry(DOOM, 20, 25, looks=2),
        )

    async def test_from_a_moment_on(self, sightings, look):
        for minutes, game in ((0, DOOM), (5, DOOM), (10, QUAKE)):
            await look(minutes, game)
        assert await sightings.timeline("anna", since=NOON + 5 * MINUTE) == (
            entry(DOOM, 5, 5, looks=1),
            entry(QUAKE, 10, 10, looks=1),
        )

    async def test_asked_and_nightly_looks_are_of_one_evening(self, sightings, look):
        await look(0, build=nightly)
        await look(5, broadcaster=ANNA)
        assert await sightings.timeline("anna", since=NOON) == (entry(DOOM, 0, 5, looks=2),)

    async def test_what_is_unknown_is_no_entry_and_interrupts_none(self, sightings, look):
        for minutes, game in ((0, UNKNOWN), (5, DOOM), (10, UNKNOWN), (15, DOOM), (20, UNKNOWN)):
            await look(minutes, game)
        assert await sightings.timeline("anna", since=NOON) == (entry(DOOM, 5, 15, looks=2),)

    async def test_what_a_moderator_put_right_joins_its_neighbours(self, sightings, look, flags: FlagStore):
        for minutes, game in ((0, DOOM), (5, QUAKE), (10, DOOM)):
            await look(minutes, game)
        await flags.flag("5", DOOM, by=MO, place="", at=NOON)
        assert await sightings.timeline("anna", since=NOON) == (entry(DOOM, 0, 10, looks=3),)

    async def test_of_very_many_looks_the_latest(self, sightings, look, monkeypatch):
        monkeypatch.setattr("core.storage.sightings._MOST_LOOKS", 2)
        for minutes in range(4):
            await look(minutes)
        assert await sightings.timeline("anna", since=NOON) == (entry(DOOM, 2, 3, looks=2),)


OUT = [Broadcaster(login="anna"), ANNA, Broadcaster(login="once", platform_id="1")]


@pytest.mark.parametrize("out", OUT)
async def test_who_opted_out_was_never_seen(sightings, look, captures, out):
    await look(0, broadcaster=ANNA)
    await captures.opt_out(out, by="anna", at=NOON)
    assert await sightings.last_seen("anna") is None
    assert await sightings.timeline("anna", since=NOON) == ()


async def test_who_took_the_name_of_one_who_opted_out_is_seen(sightings, look, captures):
    await captures.opt_out(ANNA, by="anna", at=NOON)
    await look(0, broadcaster=Broadcaster(login="anna", platform_id="77"))
    assert await sightings.last_seen("anna") is not None


async def test_who_is_forgotten_was_never_seen(sightings, look, upkeep):
    await look(0)
    await upkeep.forget(Broadcaster(login="anna"), by="anna", at=NOON)
    assert await sightings.last_seen("anna") is None


LOOKS = st.lists(st.tuples(st.sampled_from([DOOM, QUAKE, UNKNOWN]), st.none() | st.floats(0, 1)), max_size=30).map(
    lambda looks: [
        Seen(game=game, at=NOON + minutes * MINUTE, confidence=confidence)
        for minutes, (game, confidence) in enumerate(looks)
    ]
)


class TestMerging:
    @given(LOOKS)
    def test_nothing_known_is_lost_and_neighbours_differ(self, looks):
        entries = merged(looks)
        known = [look for look in looks if look.game != UNKNOWN]
        assert sum(one.looks for one in entries) == len(known)
        assert [look.game for look in known] == [one.game for one in entries for _ in range(one.looks)]
        assert all(one.game != other.game for one, other in itertools.pairwise(entries))

    @given(LOOKS)
    def test_entries_follow_one_another_and_begin_and_end_with_a_look(self, looks):
        entries = merged(looks)
        times = [moment for one in entries for moment in (one.first_at, one.last_at)]
        assert times == sorted(times)
        assert {*times} <= {look.at for look in looks}

    @given(LOOKS)
    def test_an_entry_is_as_sure_as_its_surest_look(self, looks):
        for one in merged(looks):
            inside = [
                look.confidence
                for look in looks
                if look.game == one.game and one.first_at <= look.at <= one.last_at and look.confidence is not None
            ]
            assert one.confidence == max(inside, default=None)
