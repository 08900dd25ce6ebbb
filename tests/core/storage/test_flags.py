"""A moderator's word keeps what it is about, becomes a label when nobody contradicts, and is told of when used."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core.games import NOT_A_GAME, UNKNOWN, Game
from core.storage.database import Database
from core.storage.flags import FlagStore, Word, verdict_on
from core.storage.records import (
    AcceptRule,
    Broadcaster,
    CaptureKind,
    FlagReason,
    FlagState,
    LabelSource,
    Moderator,
)
from core.storage.tables import FlagRow, FrameRow, GameAliasRow, GameRow, LabelRow
from tests.core.storage.processes import at_once
from tests.core.storage.samples import ANNA, BERT, CHESS, NOON, asked, kept, nightly, picture, recognition

DOOM = Game(id="doom", name="DOOM")
QUAKE = Game(id="quake", name="Quake")
HERETIC = Game(id="heretic", name="Heretic")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

MO = Moderator(platform="twitch", id="7", name="Mo", moderates_channel=True)
ANY = Moderator(platform="discord", id="8", name="Any")
BEA = Moderator(platform="discord", id="9", name="Bea")
CEM = Moderator(platform="twitch", id="9", name="Cem")


async def rows(database, table):
    async with database.reading() as session:
        return list(await session.scalars(select(table).order_by(*table.__table__.primary_key)))


@pytest.fixture
async def look(captures, frames):
    """Keep a look at Anna's stream, at which a model saw DOOM."""

    async def look(key: str = "look", *, game: Game = DOOM, **changes) -> str:
        held = await kept(frames, picture(), picture())
        at = changes.get("at", NOON)
        said = recognition(game, best=DOOM, at=at)
        await captures.add(asked(**({"key": key, "frames": held, "recognition": said} | changes)))
        return key

    return look


@pytest.fixture
def say(flags):
    """Flag the look."""

    async def say(game: Game, by: Moderator, *, look: str = "look", at=NOON, store: FlagStore = flags):
        return await store.flag(look, game, by=by, place="the place", at=at)

    return say


@pytest.fixture
async def labels(database):
    """The games that flags make of captures, in the order of the captures."""

    async def labels() -> list[str]:
        return [row.game_id for row in await rows(database, LabelRow) if row.source is LabelSource.FLAG]

    return labels


async def states(flags) -> dict[str, tuple[FlagState, FlagReason]]:
    return {flag.by.name: (flag.state, flag.reason) for flag in await flags.flags(states=FlagState, limit=99)}


OPEN = (FlagState.OPEN, FlagReason.WAITING)
DISPUTED = (FlagState.OPEN, FlagReason.DISPUTED)
TRUSTED = (FlagState.ACCEPTED, FlagReason.TRUSTED)
AGREED = (FlagState.ACCEPTED, FlagReason.AGREED)

WORDS = st.lists(st.builds(Word, game_id=st.sampled_from("abc"), moderates_channel=st.booleans()), min_size=1)
RULES = st.builds(AcceptRule, needed=st.integers(1, 5), trust_channel_moderators=st.booleans())


class TestTheRule:
    @given(WORDS, RULES)
    def test_accepted_exactly_when_all_name_one_game_and_enough_or_a_trusted_one_does(self, words, rule):
        state, reason = verdict_on(words, rule)
        one_game = len({word.game_id for word in words}) == 1
        trusted = rule.trust_channel_moderators and any(word.moderates_channel for word in words)
        assert (state is FlagState.ACCEPTED) == (one_game and (trusted or len(words) >= rule.needed))
        assert state in (FlagState.OPEN, FlagState.ACCEPTED)
        assert (reason is FlagReason.DISPUTED) == (not one_game)

    @given(WORDS, RULES)
    def test_the_order_does_not_matter(self, words, rule):
        assert verdict_on(words, rule) == verdict_on(words[::-1], rule)

    @given(WORDS, RULES)
    def test_one_more_who_agrees_never_opens_what_was_accepted(self, words, rule):
        if verdict_on(words, rule)[0] is FlagState.ACCEPTED:
            more = [*words, Word(game_id=words[0].game_id, moderates_channel=False)]
            assert verdict_on(more, rule)[0] is FlagState.ACCEPTED

    @given(WORDS, RULES)
    def test_one_more_who_disagrees_always_holds_it_open(self, words, rule):
        more = [*words, Word(game_id="d", moderates_channel=True)]
        assert verdict_on(more, rule) == DISPUTED

    @pytest.mark.parametrize("needed", [0, -1])
    def test_nobody_is_not_enough(self, needed):
        with pytest.raises(ValueError, match="cannot be needed"):
            AcceptRule(needed=needed)


class TestLooks:
    async def test_a_look_by_its_key(self, flags, look):
        await look()
        found = await flags.look("look")
        assert (found.key, found.kind, found.channel, found.at) == ("look", CaptureKind.ASKED, "anna", NOON)
        assert (found.recognised, found.model, found.frames) == (DOOM, "starter-1", 2)
        assert await flags.look("other") is None

    async def test_of_a_look_at_something_unknown_nothing_was_recognised(self, flags, look):
        await look(game=UNKNOWN)
        found = await flags.look("look")
        assert (found.recognised, found.model) == (None, "starter-1")

    async def test_a_look_that_no_model_has_seen(self, flags, captures):
        await captures.add(nightly(key="night"))
        found = await flags.look("night")
        assert (found.recognised, found.model, found.frames) == (None, None, 0)

    async def test_the_last_look_at_a_channel_is_one_that_a_model_has_seen(self, flags, look, captures):
        await look("first", at=NOON)
        await look("second", at=NOON + MINUTE)
        await look("bert's", at=NOON + DAY, broadcaster=BERT)
        await captures.add(nightly(at=NOON + DAY))
        assert (await flags.last_look("ANNA", since=NOON)).key == "second"
        assert (await flags.last_look("anna", since=NOON + MINUTE)).key == "second"
        assert await flags.last_look("anna", since=NOON + 2 * MINUTE) is None
        assert await flags.last_look("nobody", since=NOON) is None

    async def test_of_two_at_the_same_moment_the_later_kept_is_the_last(self, flags, look):
        await look("first")
        await look("second")
        assert (await flags.last_look("anna", since=NOON)).key == "second"

    async def test_pixels_that_are_gone_are_not_counted(self, flags, look, upkeep):
        await look()
        await upkeep.expire(asked_before=NOON + DAY, nightly_before=None)
        assert (await flags.look("look")).frames == 0

    @pytest.mark.parametrize("out", [Broadcaster(login="anna"), ANNA, Broadcaster(login="once", platform_id="1")])
    async def test_a_broadcaster_who_opted_out_was_not_looked_at(self, flags, look, captures, say, out):
        await look(broadcaster=ANNA)
        raised = await say(QUAKE, MO)
        await captures.opt_out(out, by="anna", at=NOON)
        assert await flags.look("look") is None
        assert await flags.last_look("anna", since=NOON) is None
        assert await flags.flags(limit=9) == ()
        assert await say(QUAKE, ANY) is None
        assert await flags.find(raised.flag.id) is None
        assert await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=True, place="", at=NOON) is None

    async def test_who_took_the_login_of_one_who_opted_out_is_looked_at(self, flags, look, captures):
        await captures.opt_out(ANNA, by="anna", at=NOON)
        await look(broadcaster=Broadcaster(login="anna", platform_id="77"))
        assert await flags.look("look") is not None


class TestFlagging:
    async def test_a_flag_says_who_when_where_and_what(self, flags, look, say):
        await look()
        outcome = await flags.flag("look", QUAKE, by=ANY, place="c1", server="s1", at=NOON + MINUTE)
        flag = outcome.flag
        assert (flag.look, flag.channel, flag.recognised, flag.model) == ("look", "anna", DOOM, "starter-1")
        assert (flag.game, flag.by, flag.place, flag.server) == (QUAKE, ANY, "c1", "s1")
        assert (flag.at, flag.state_at, flag.used_by) == (NOON + MINUTE, NOON + MINUTE, None)
        assert (flag.state, flag.reason) == OPEN
        assert (outcome.now, outcome.was, outcome.agreeing, outcome.disagreeing) == (FlagState.OPEN, None, 1, 0)
        assert outcome.needed == 2
        assert await flags.flags(limit=9) == (flag,)
        assert await flags.find(flag.id) == flag

    async def test_one_moderator_of_the_channel_is_enough(self, look, say, labels):
        await look()
        outcome = await say(QUAKE, MO)
        assert (outcome.flag.state, outcome.flag.reason) == TRUSTED
        assert await labels() == ["quake"]

    async def test_unless_they_are_not_trusted(self, look, say, labels, database):
        await look()
        store = FlagStore(database, rule=AcceptRule(trust_channel_moderators=False))
        assert (await say(QUAKE, MO, store=store)).now is FlagState.OPEN
        assert await labels() == []

    async def test_two_of_anywhere_who_agree_are_enough(self, look, say, labels, flags):
        await look()
        assert (await say(QUAKE, ANY)).now is FlagState.OPEN
        assert await labels() == []
        outcome = await say(QUAKE, BEA, at=NOON + MINUTE)
        assert (outcome.now, outcome.agreeing, outcome.disagreeing) == (FlagState.ACCEPTED, 2, 0)
        assert await states(flags) == {"Any": AGREED, "Bea": AGREED}
        assert await labels() == ["quake"]
        assert {flag.state_at for flag in await flags.flags(limit=9)} == {NOON + MINUTE}

    async def test_as_many_as_are_needed(self, look, say, database):
        await look()
        store = FlagStore(database, rule=AcceptRule(needed=3))
        assert [(await say(QUAKE, by, store=store)).now for by in (ANY, BEA, CEM)] == [
            FlagState.OPEN,
            FlagState.OPEN,
            FlagState.ACCEPTED,
        ]

    async def test_the_same_person_twice_is_not_two(self, look, say, database, flags):
        await look()
        first = await say(QUAKE, ANY)
        again = await say(QUAKE, ANY, at=NOON + MINUTE)
        assert (again.flag, again.was, again.agreeing) == (first.flag, QUAKE, 1)
        assert len(await rows(database, FlagRow)) == 1

    async def test_people_of_one_number_on_two_platforms_are_two(self, look, say):
        await look()
        await say(QUAKE, BEA)
        assert (await say(QUAKE, CEM)).now is FlagState.ACCEPTED

    async def test_who_disagrees_opens_it_again_and_the_label_goes(self, look, say, labels, flags):
        await look()
        await say(QUAKE, MO)
        outcome = await say(HERETIC, ANY, at=NOON + MINUTE)
        assert (outcome.agreeing, outcome.disagreeing) == (1, 1)
        assert await states(flags) == {"Mo": DISPUTED, "Any": DISPUTED}
        assert await labels() == []

    async def test_a_majority_does_not_settle_it(self, look, say, labels, flags):
        await look()
        for by in (ANY, BEA, MO):
            await say(QUAKE, by)
        await say(HERETIC, CEM)
        assert set((await states(flags)).values()) == {DISPUTED}
        assert await labels() == []

    async def test_a_second_word_takes_the_place_of_the_first(self, look, say, labels, flags, database):
        await look()
        await say(QUAKE, MO)
        outcome = await say(HERETIC, MO, at=NOON + MINUTE)
        assert (outcome.was, outcome.flag.game, outcome.flag.at) == (QUAKE, HERETIC, NOON + MINUTE)
        assert (outcome.agreeing, outcome.disagreeing) == (1, 0)
        assert await labels() == ["heretic"]
        assert len(await rows(database, FlagRow)) == 1

    async def test_who_gives_in_makes_them_agree(self, look, say, labels, flags):
        await look()
        await say(QUAKE, ANY)
        await say(HERETIC, BEA)
        await say(QUAKE, BEA)
        assert await states(flags) == {"Any": AGREED, "Bea": AGREED}
        assert await labels() == ["quake"]

    async def test_what_was_recognised_may_be_right(self, look, say, labels):
        await look()
        outcome = await say(DOOM, MO)
        assert (outcome.flag.game, outcome.flag.recognised) == (DOOM, DOOM)
        assert await labels() == ["doom"]

    async def test_it_may_be_no_game(self, look, say, labels, database):
        await look()
        assert (await say(NOT_A_GAME, MO)).flag.game == NOT_A_GAME
        assert await labels() == [NOT_A_GAME.id]

    async def test_nobody_can_say_that_it_is_unknown(self, look, say):
        await look()
        with pytest.raises(ValueError, match="unknown"):
            await say(UNKNOWN, MO)

    async def test_a_look_that_is_not_there(self, say, database):
        assert await say(QUAKE, MO) is None
        assert await rows(database, GameRow) == []

    async def test_trust_is_not_lost_by_saying_it_again_elsewhere(self, look, say, labels):
        await look()
        await say(QUAKE, MO)
        elsewhere = Moderator(platform="twitch", id="7", name="Mo the second")
        outcome = await say(QUAKE, elsewhere, at=NOON + MINUTE)
        assert (outcome.flag.state, outcome.flag.reason) == TRUSTED
        assert (outcome.flag.by.name, outcome.flag.at) == ("Mo the second", NOON)
        assert (await say(HERETIC, elsewhere)).now is FlagState.OPEN

    async def test_looks_do_not_mix(self, look, say, labels):
        await look("one")
        await look("two")
        await say(QUAKE, ANY, look="one")
        assert (await say(QUAKE, BEA, look="two")).now is FlagState.OPEN
        assert await labels() == []

    async def test_many_at_once_agree_or_do_not(self, look, url, flags, labels):
        await look()
        databases = [Database.at(url) for _ in range(4)]
        people = [Moderator(platform="discord", id=str(number), name=str(number)) for number in range(12)]
        await asyncio.gather(
            *(
                FlagStore(databases[number % 4]).flag("look", QUAKE, by=by, place="", at=NOON)
                for number, by in enumerate(people)
            )
        )
        for database in databases:
            await database.aclose()
        assert set((await states(flags)).values()) == {AGREED}
        assert await labels() == ["quake"]

    async def test_one_person_many_times_at_once_has_one_flag(self, look, say, database):
        await look()
        await asyncio.gather(*(say(game, ANY) for game in (QUAKE, HERETIC) * 4))
        assert len(await rows(database, FlagRow)) == 1

    async def test_a_broadcaster_s_word_as_keeper_counts_more(self, look, say, captures, database):
        await look()
        await captures.add(nightly(declared=CHESS))
        async with database.writing() as session:
            session.add(LabelRow(capture_id=1, game_id="chess", source=LabelSource.KEEPER, at=NOON))
        await say(QUAKE, MO)
        counts = {count.game.id: count.frames for count in await captures.game_counts()}
        assert (counts["chess"], counts["quake"]) == (2, 0)

    async def test_an_accepted_flag_is_the_label_of_a_nightly_capture(self, captures, frames, say):
        await captures.add(nightly(key="look", frames=await kept(frames, picture())))
        await say(QUAKE, MO)
        assert {count.game.id: count.frames for count in await captures.game_counts()} == {"doom": 0, "quake": 1}


class TestGamesThatAreNamed:
    async def test_a_game_that_nobody_knew_is_made(self, look, say, database):
        await look()
        await say(QUAKE, MO)
        (quake,) = [row for row in await rows(database, GameRow) if row.id == "quake"]
        assert (quake.name, quake.category_id, quake.is_game) == ("Quake", None, None)

    async def test_once(self, look, say, database):
        await look()
        await say(QUAKE, MO)
        await say(QUAKE, ANY)
        assert len([row for row in await rows(database, GameRow) if row.name == "Quake"]) == 1

    async def test_its_category_is_the_same_game(self, look, say, captures):
        await captures.add(nightly(declared=CHESS))
        await look()
        assert (await say(Game(id="chess_as_a_model_says", name="Chess!"), MO)).flag.game.id == "chess"

    async def test_by_its_id_when_the_name_is_another(self, look, say, captures, database):
        await captures.add(nightly(declared=CHESS))
        await look()
        assert (await say(Game(id="chess", name="Schach"), MO)).flag.game == Game(id="chess", name="Chess")

    async def test_of_two_of_one_name_the_one_with_the_id(self, look, say, captures, database):
        await captures.add(nightly(declared=CHESS))
        async with database.writing() as session:
            session.add(GameRow(id="chess_2", name="Chess", added_at=NOON + MINUTE))
            await session.flush()
            session.add(GameAliasRow(game_id="chess_2", name="Chess", folded="chess"))
        await look()
        assert (await say(Game(id="chess_2", name="Chess"), MO)).flag.game.id == "chess_2"
        assert (await say(Game(id="chess_9", name="Chess"), MO)).flag.game.id == "chess"


class TestWithdrawing:
    async def test_one_s_own(self, flags, look, say, labels):
        await look()
        raised = await say(QUAKE, MO)
        gone = await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON + MINUTE)
        assert (gone.state, gone.reason, gone.state_at) == (
            FlagState.WITHDRAWN,
            FlagReason.WITHDRAWN,
            NOON + MINUTE,
        )
        assert await labels() == []
        assert await flags.flags(limit=9) == ()
        assert await flags.flags(states=[FlagState.WITHDRAWN], limit=9) == (gone,) == (await flags.find(gone.id),)

    async def test_another_s_only_when_one_may(self, flags, look, say):
        await look()
        raised = await say(QUAKE, MO)
        assert await flags.withdraw(raised.flag.id, by=ANY, may_withdraw_others=False, place="", at=NOON) is None
        assert (await flags.find(raised.flag.id)).state is FlagState.ACCEPTED
        gone = await flags.withdraw(raised.flag.id, by=ANY, may_withdraw_others=True, place="", at=NOON)
        assert (gone.state, gone.reason) == (FlagState.WITHDRAWN, FlagReason.REVOKED)

    async def test_the_same_number_on_another_platform_is_not_one_s_own(self, flags, look, say):
        await look()
        raised = await say(QUAKE, BEA)
        assert await flags.withdraw(raised.flag.id, by=CEM, may_withdraw_others=False, place="", at=NOON) is None

    async def test_a_second_time_changes_nothing(self, flags, look, say, audit):
        await look()
        raised = await say(QUAKE, MO)
        first = await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON)
        again = await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON + DAY)
        assert again == first
        assert [entry.action for entry in await audit.read(limit=9)] == ["withdraw", "flag"]

    async def test_what_is_not_there_or_was_rejected(self, flags, look, say, database):
        await look()
        assert await flags.withdraw(77, by=MO, may_withdraw_others=True, place="", at=NOON) is None
        raised = await say(QUAKE, MO)
        async with database.writing() as session:
            (await session.get_one(FlagRow, raised.flag.id)).state = FlagState.REJECTED
        assert await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=True, place="", at=NOON) is None

    async def test_the_one_who_disagreed_lets_the_others_be_right(self, flags, look, say, labels):
        await look()
        await say(QUAKE, ANY)
        await say(QUAKE, BEA)
        other = await say(HERETIC, CEM)
        assert await labels() == []
        await flags.withdraw(other.flag.id, by=CEM, may_withdraw_others=False, place="", at=NOON)
        assert (await states(flags))["Any"] == (await states(flags))["Bea"] == AGREED
        assert await labels() == ["quake"]

    async def test_one_of_two_leaves_the_other_waiting(self, flags, look, say, labels):
        await look()
        await say(QUAKE, ANY)
        second = await say(QUAKE, BEA)
        await flags.withdraw(second.flag.id, by=BEA, may_withdraw_others=False, place="", at=NOON)
        assert (await states(flags))["Any"] == OPEN
        assert await labels() == []

    async def test_one_may_flag_again(self, flags, look, say, labels):
        await look()
        first = await say(QUAKE, MO)
        await flags.withdraw(first.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON)
        again = await say(QUAKE, MO, at=NOON + MINUTE)
        assert (again.flag.id, again.now, again.flag.at) == (first.flag.id, FlagState.ACCEPTED, NOON + MINUTE)
        assert await labels() == ["quake"]


class TestListing:
    async def test_the_latest_first_of_a_channel_or_all(self, flags, look, say):
        await look("one")
        await look("two", broadcaster=BERT)
        await look("three")
        for minutes, key in enumerate(("one", "two", "three")):
            await say(QUAKE, ANY, look=key, at=NOON + minutes * MINUTE)
        assert [flag.look for flag in await flags.flags(limit=9)] == ["three", "two", "one"]
        assert [flag.look for flag in await flags.flags("Anna", limit=9)] == ["three", "one"]
        assert [flag.look for flag in await flags.flags(limit=1)] == ["three"]
        assert await flags.flags("nobody", limit=9) == ()

    async def test_by_state(self, flags, look, say):
        await look("one")
        await look("two")
        await say(QUAKE, ANY, look="one")
        await say(QUAKE, MO, look="two")
        assert [flag.look for flag in await flags.flags(states=[FlagState.ACCEPTED], limit=9)] == ["two"]
        assert await flags.flags(states=[], limit=9) == ()

    async def test_a_channel_whose_login_somebody_else_has_is_named_as_it_was_last(self, flags, look, say):
        await look(broadcaster=ANNA)
        await say(QUAKE, ANY)
        await look("other", broadcaster=Broadcaster(login="anna", platform_id="77"))
        assert [flag.channel for flag in await flags.flags(limit=9)] == ["Anna"]
        assert await flags.flags("anna", limit=9) == ()

    async def test_numbers_are_not_used_twice(self, flags, look, say, upkeep):
        await look()
        first = (await say(QUAKE, ANY)).flag.id
        await upkeep.forget(Broadcaster(login="anna"), by="anna", at=NOON)
        await look("bert's", broadcaster=BERT)
        assert (await say(QUAKE, ANY, look="bert's")).flag.id > first


class TestKeeping:
    """What moderators have looked at stays, and goes when they take it back."""

    @pytest.fixture
    def aged(self, tmp_path):
        def aged():
            then = time.time() - 7200
            for path in (tmp_path / "frames").rglob("*"):
                if path.is_file():
                    os.utime(path, (then, then))

        return aged

    @pytest.mark.parametrize("by", [ANY, MO])
    async def test_pixels_stay_until_the_flag_is_withdrawn(self, flags, look, say, upkeep, by, aged):
        await look()
        raised = await say(QUAKE, by)
        aged()
        assert (await upkeep.expire(asked_before=NOON + DAY, nightly_before=None)).frames == 0
        assert (await upkeep.shrink_to(0)).frames == 0
        await flags.withdraw(raised.flag.id, by=by, may_withdraw_others=False, place="", at=NOON)
        assert (await upkeep.expire(asked_before=NOON + DAY, nightly_before=None)).files == 2

    async def test_the_size_cap_takes_them_after_that_too(self, flags, look, say, upkeep, aged):
        await look()
        raised = await say(QUAKE, MO)
        await flags.withdraw(raised.flag.id, by=MO, may_withdraw_others=False, place="", at=NOON)
        aged()
        assert (await upkeep.shrink_to(0)).files == 2

    async def test_one_of_two_withdrawn_keeps_them(self, flags, look, say, upkeep):
        await look()
        raised = await say(QUAKE, ANY)
        await say(HERETIC, BEA)
        await flags.withdraw(raised.flag.id, by=ANY, may_withdraw_others=False, place="", at=NOON)
        assert (await upkeep.expire(asked_before=NOON + DAY, nightly_before=None)).frames == 0

    async def test_flagging_while_pixels_are_removed_either_keeps_all_or_finds_none(
        self, flags, look, say, upkeep, database
    ):
        keys = [await look(f"look {number}") for number in range(10)]
        await asyncio.gather(
            upkeep.expire(asked_before=NOON + DAY, nightly_before=None), *(say(QUAKE, MO, look=key) for key in keys)
        )
        removed: dict[int, set[bool]] = {}
        for row in await rows(database, FrameRow):
            removed.setdefault(row.capture_id, set()).add(row.removed_at is None)
        assert all(len(kinds) == 1 for kinds in removed.values())
        assert len(await flags.flags(limit=99)) == 10

    async def test_bringing_rows_and_files_together_keeps_flagged_looks(self, flags, look, say, upkeep, frames):
        await look()
        await look("other")
        await say(QUAKE, MO)
        held = {frame.sha256 async for frame in frames.iterate()}
        await frames.remove(held)
        assert (await upkeep.sync(even_if_empty=True)).captures == 1
        assert (await flags.look("look")).frames == 0
        assert [flag.game for flag in await flags.flags(limit=9)] == [QUAKE]

    async def test_flags_go_with_a_broadcaster_who_is_forgotten(self, look, say, flags, upkeep, database, audit):
        await look()
        await say(QUAKE, MO)
        await upkeep.forget(Broadcaster(login="anna"), by="anna", at=NOON)
        assert await rows(database, FlagRow) == await rows(database, LabelRow) == []
        assert await flags.flags(states=FlagState, limit=9) == ()
        assert [entry.action for entry in await audit.read(limit=9)] == ["flag"]


class TestTellingThatItWasUsed:
    @pytest.fixture
    async def used(self, flags, look, say):
        await look()
        raised = await say(QUAKE, MO)
        assert await flags.mark_used("later-2", [raised.flag.id], at=NOON + DAY) == 1
        return raised.flag.id

    async def test_the_moderator_is_told_once(self, flags, used):
        (notice,) = await flags.notices_due(limit=9, lease_s=60)
        assert (notice.id, notice.by, notice.place, notice.used_by) == (used, MO, "the place", "later-2")
        assert await flags.notice_sent(used)
        assert not await flags.notice_sent(used)
        assert await flags.notices_due(limit=9, lease_s=-1) == ()

    async def test_somebody_who_is_about_to_tell_is_let_be(self, flags, used):
        assert len(await flags.notices_due(limit=9, lease_s=60)) == 1
        assert await flags.notices_due(limit=9, lease_s=60) == ()

    async def test_what_was_not_told_comes_again(self, flags, used):
        assert len(await flags.notices_due(limit=9, lease_s=-1)) == 1
        assert len(await flags.notices_due(limit=9, lease_s=60)) == 1

    async def test_a_still_later_model_is_not_told_of(self, flags, used):
        assert await flags.mark_used("later-3", [used], at=NOON + 2 * DAY) == 0
        await flags.notice_sent(used)
        assert await flags.mark_used("later-4", [used], at=NOON + 3 * DAY) == 0
        assert (await flags.find(used)).used_by == "later-2"
        assert await flags.notices_due(limit=9, lease_s=60) == ()

    async def test_only_accepted_flags_are_used(self, flags, look, say):
        await look()
        raised = await say(QUAKE, ANY)
        assert await flags.mark_used("later-2", [raised.flag.id, 99], at=NOON) == 0
        assert await flags.notices_due(limit=9, lease_s=60) == ()
        assert not await flags.notice_sent(raised.flag.id)

    async def test_any_number_of_flags(self, flags, used):
        assert await flags.mark_used("later-2", range(100_000), at=NOON) == 0

    async def test_who_has_taken_it_back_is_not_told(self, flags, used):
        await flags.withdraw(used, by=MO, may_withdraw_others=False, place="", at=NOON)
        assert await flags.notices_due(limit=9, lease_s=60) == ()

    async def test_another_word_is_used_anew(self, flags, used, say):
        await flags.notice_sent(used)
        await say(HERETIC, MO)
        assert (await flags.find(used)).used_by is None
        assert await flags.mark_used("later-3", [used], at=NOON) == 1
        assert len(await flags.notices_due(limit=9, lease_s=60)) == 1

    async def test_only_where_somebody_can_be_told(self, flags, used):
        assert await flags.notices_due(limit=9, lease_s=60, platforms=["discord"]) == ()
        assert len(await flags.notices_due(limit=9, lease_s=60, platforms=["discord", "twitch"])) == 1

    async def test_the_longest_used_first(self, flags, look, say, used):
        await look("other")
        other = await say(QUAKE, MO, look="other")
        await flags.mark_used("later-2", [other.flag.id], at=NOON)
        assert [notice.id for notice in await flags.notices_due(limit=1, lease_s=60)] == [other.flag.id]
        assert [notice.id for notice in await flags.notices_due(limit=1, lease_s=60)] == [used]

    async def test_of_many_processes_exactly_one_gets_each(self, flags, look, say, url):
        numbers = []
        for key in map(str, range(8)):
            await look(key)
            numbers.append((await say(QUAKE, MO, look=key)).flag.id)
        await flags.mark_used("later-2", numbers, at=NOON)
        body = """
            from core.storage.flags import FlagStore
            together()
            for _ in range(8):
                for notice in await FlagStore(database).notices_due(limit=1, lease_s=60):
                    print(notice.id)
        """
        told = [int(number) for said in await at_once(body, url) for number in said.split()]
        assert sorted(told) == numbers


class TestAudit:
    async def test_every_word_is_written_down(self, flags, look, say, audit):
        await look()
        raised = await say(QUAKE, MO)
        await say(HERETIC, MO, at=NOON + MINUTE)
        await flags.withdraw(raised.flag.id, by=ANY, may_withdraw_others=True, place="there", at=NOON + DAY)
        taken, second, first = await audit.read(limit=9)
        assert (first.at, first.platform, first.place, first.by, first.by_name) == (
            NOON,
            "twitch",
            "the place",
            "7",
            "Mo",
        )
        assert (first.action, first.subject) == ("flag", "anna")
        assert first.detail == {
            "flag": raised.flag.id,
            "look": "look",
            "game": "quake",
            "was": None,
            "state": "accepted",
            "reason": "trusted",
        }
        assert (second.detail["game"], second.detail["was"]) == ("heretic", "quake")
        assert (taken.action, taken.by, taken.place, taken.detail["own"]) == ("withdraw", "8", "there", False)

    async def test_what_is_not_done_is_not_written_down(self, flags, look, say, audit):
        await say(QUAKE, MO)
        await look()
        raised = await say(QUAKE, MO)
        await flags.withdraw(raised.flag.id, by=ANY, may_withdraw_others=False, place="", at=NOON)
        assert [entry.action for entry in await audit.read(limit=9)] == ["flag"]
