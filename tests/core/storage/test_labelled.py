"""What training reads of the store."""

from __future__ import annotations

import pytest

from core.games import NOT_A_GAME, Game
from core.storage.labelled import FlagWord, LabelledStore
from core.storage.records import Broadcaster, BroadcastStream, CaptureKind, FlagState, LabelSource, Moderator
from tests.core.storage.samples import ANNA, BERT, NOON, asked, kept, nightly, picture

CHESS = Game(id="chess", name="Chess")


@pytest.fixture
def labelled(database):
    return LabelledStore(database)


def imported(**changes):
    return nightly(
        **{
            "kind": CaptureKind.IMPORTED,
            "key": "import-1",
            "broadcaster": Broadcaster(login="mine/doom/s1"),
            "stream": BroadcastStream(platform_id="mine/doom/s1"),
            "declared": None,
            "is_game": None,
            "label": Game(id="doom", name="DOOM"),
        }
        | changes
    )


async def test_a_capture_comes_with_its_label_its_frames_and_its_standing_flags(captures, labelled, flags, frames):
    held = await kept(frames, picture(1), picture(2))
    await captures.add(nightly(key="b", frames=held))
    await captures.add(asked(key="unlabelled", broadcaster=BERT))
    await captures.add(imported(key="a", frames=held[:1]))
    outcome = await flags.flag(
        "b", CHESS, by=Moderator(platform="discord", id="1", name="ann", moderates_channel=True), place="p", at=NOON
    )
    found = await labelled.labelled()
    assert [capture.key for capture in found.captures] == ["a", "b"]
    first, second = found.captures
    assert (first.broadcaster, first.stream, first.game.name, first.source, first.flags) == (
        "mine/doom/s1",
        "mine/doom/s1",
        "DOOM",
        LabelSource.IMPORT,
        (),
    )
    assert (second.broadcaster, second.stream, second.game, second.source) == (
        ANNA.platform_id,
        "900",
        CHESS,
        LabelSource.FLAG,
    )
    assert second.flags == (FlagWord(id=outcome.flag.id, game_id="chess", state=FlagState.ACCEPTED),)
    assert [(one.sha256, one.perceptual_hash, one.at_s, one.has_pixels) for one in second.frames] == [
        (one.sha256, one.perceptual_hash, one.at_s, True) for one in held
    ]


async def test_frames_without_pixels_are_there_and_say_so(captures, labelled, frames, upkeep):
    await captures.add(nightly(frames=await kept(frames, picture(1))))
    await upkeep.expire(asked_before=None, nightly_before=NOON.replace(year=2100))
    (capture,) = (await labelled.labelled()).captures
    assert [one.has_pixels for one in capture.frames] == [False]


async def test_who_opted_out_is_counted_and_not_among_them(captures, labelled):
    await captures.add(nightly(key="a"))
    await captures.add(nightly(key="b", broadcaster=BERT))
    await captures.opt_out(ANNA, by="anna", at=NOON)
    found = await labelled.labelled()
    assert [capture.key for capture in found.captures] == ["b"]
    assert found.opted_out == 1


async def test_a_category_that_is_none_is_not_a_game(captures, labelled):
    await captures.add(nightly(is_game=False))
    (capture,) = (await labelled.labelled()).captures
    assert (capture.game, capture.game_id) == (NOT_A_GAME, "doom")


async def test_what_was_imported_is_known_by_key_and_stream(captures, labelled, frames):
    held = await kept(frames, picture(1), picture(2))
    await captures.add(imported(frames=held))
    await captures.add(nightly(frames=await kept(frames, picture(3))))
    assert await labelled.imported({"import-1", "import-2"}) == {"import-1"}
    assert await labelled.imported_frames("mine/doom/s1") == {frame.sha256 for frame in held}
    assert await labelled.imported_frames("900") == frozenset()


async def test_imported_frames_count_and_outlive_retention_and_size_cap(captures, frames, upkeep):
    await captures.add(imported(frames=await kept(frames, picture(1))))
    await upkeep.expire(asked_before=NOON.replace(year=2100), nightly_before=NOON.replace(year=2100))
    await upkeep.shrink_to(0)
    summary = await captures.summary()
    assert (summary.frames, summary.nightly_frames, summary.asked_frames, summary.imported_frames) == (1, 0, 0, 1)
