"""One pick carried out on real stores: what is kept of a stream, and what its outcome is called."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np
import pytest

from core.collection.picks import Outcome
from core.collection.taking import PickTaker, SamplesStreams
from core.errors import (
    AdvertsOnly,
    ArtifactError,
    ChannelNotFound,
    StorageError,
    StorageFull,
    StreamBlack,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.frames import Frame, decode_jpeg
from core.recognition.aggregate import aggregate
from core.recognition.verdict import Verdict
from core.storage.records import Broadcaster, CaptureKind, PlannedPick
from core.streams.reference import StreamRef
from core.streams.sampler import Rejected, Sample
from tests.core.collection.listing import category, live_stream, planned
from tests.core.collection.stage import Stores, lively
from tests.fakes import RULE, BrightnessNetwork, FakeSampler, frame

URL = "https://www.twitch.tv/{channel}"
NOW = datetime(2026, 11, 3, 3, 5, tzinfo=UTC)
CHESS = category("Chess")
CHATTING = category("Just Chatting")


class FakeRecognizer:
    def __init__(self) -> None:
        self.seen: list[Sequence[Frame]] = []
        self.problem: Exception | None = None
        self.network = BrightnessNetwork()

    async def recognize(self, frames: Sequence[Frame]) -> Verdict:
        self.seen.append(frames)
        if self.problem is not None:
            raise self.problem
        pictures = np.stack([frame.picture for frame in frames])
        return aggregate(self.network.logits(pictures), at_s=[frame.at_s for frame in frames], rule=RULE)


class RejectingSampler(FakeSampler):
    """Says of every sample what else the window held."""

    def __init__(self, rejected: Rejected) -> None:
        super().__init__()
        self._rejected = rejected

    async def sample(self, ref: StreamRef) -> Sample:
        return replace(await super().sample(ref), rejected=self._rejected)


def taker(stores: Stores, sampler: SamplesStreams, recognizer: FakeRecognizer | None = None) -> PickTaker:
    return PickTaker(
        sampler=sampler,
        frames=stores.frames,
        captures=stores.captures,
        nights=stores.nights,
        url_template=URL,
        recognizer=recognizer,
        store_tries=1,
        clock=lambda: NOW,
    )


def no_game(position: int) -> PlannedPick:
    return planned(position, CHATTING, is_game=False)


async def test_a_game_stream_is_kept_with_all_that_is_known_of_it(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = RejectingSampler(Rejected(adverts=2, black=1, duplicates=3, failed=4))
    sampler.frames["login_0"] = lively(1)
    recognizer = FakeRecognizer()
    result = await taker(stores, sampler, recognizer).carry_out(pick)
    assert (result.outcome, result.frames, result.bytes_fetched) == (Outcome.CAPTURED, 9, 1234)
    assert await stores.outcomes(pick.run_id) == ["captured"]
    assert await stores.rows(
        "SELECT kind, rendition, window_s, adverts, black, duplicates, failed, bytes_fetched, job_run_id FROM captures"
    ) == [("nightly", "360p", 30.0, 2, 1, 3, 4, 1234, pick.run_id)]
    assert await stores.rows("SELECT platform_id, login, display_name FROM broadcasters") == [
        ("0", "login_0", "Login_0")
    ]
    assert await stores.rows("SELECT title, language FROM streams") == [("a title", "en")]
    assert await stores.rows("SELECT source FROM labels") == [("declared",)]
    assert await stores.rows("SELECT name, is_game FROM games WHERE category_id = 'id-chess'") == [("Chess", 1)]
    assert await stores.rows("SELECT count(*) FROM recognitions") == [(1,)]
    assert len(recognizer.seen[0]) == 9
    assert await stores.rows_without_file() == frozenset()
    assert await stores.files_without_row() == set()


async def test_files_hold_the_pictures(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    await taker(stores, sampler).carry_out(pick)
    rows = await stores.rows("SELECT sha256, at_s FROM frames ORDER BY position")
    assert [row[1] for row in rows] == [2.0 * at for at in range(9)]
    for (sha256, _), original in zip(rows, lively(1), strict=True):
        picture = decode_jpeg(await stores.frames.get(str(sha256)))
        assert np.abs(picture.astype(int) - original.picture).mean() < 8


async def test_the_negative_class_is_kept_and_never_recognised(stores: Stores) -> None:
    (pick,) = await stores.planned([no_game(0)])
    sampler, recognizer = FakeSampler(), FakeRecognizer()
    sampler.frames["login_0"] = lively(1)
    result = await taker(stores, sampler, recognizer).carry_out(pick)
    assert result.outcome is Outcome.CAPTURED
    assert recognizer.seen == []
    assert await stores.rows("SELECT count(*) FROM recognitions") == [(0,)]
    assert await stores.rows("SELECT is_game FROM games WHERE category_id = 'id-just chatting'") == [(0,)]


async def test_a_waiting_screen_is_dropped_where_a_game_is_declared_and_kept_where_none_is(stores: Stores) -> None:
    game, chatting = await stores.planned([planned(0, category("Freedoom")), no_game(1)])
    sampler = RejectingSampler(Rejected(duplicates=12))
    for login in ("login_0", "login_1"):
        sampler.frames[login] = [lively(5)[0]]
    carried_out = taker(stores, sampler, FakeRecognizer()).carry_out
    result = await carried_out(game)
    assert result.outcome is Outcome.WAITING
    assert result.rejected.waiting == 13
    assert result.rejected.duplicates == 0
    assert [file async for file in stores.frames.iterate()] == []
    assert (await carried_out(chatting)).outcome is Outcome.CAPTURED
    assert await stores.outcomes(game.run_id) == ["waiting", "captured"]


async def test_a_still_board_that_the_network_recognises_is_kept(stores: Stores) -> None:
    # Brightness 100 is Chess to the network, and 10 VALORANT.
    right, wrong = await stores.planned([planned(0, CHESS), planned(1, CHESS)])
    sampler = RejectingSampler(Rejected(duplicates=12))
    sampler.frames = {"login_0": [frame(100)], "login_1": [frame(10)]}
    carried_out = taker(stores, sampler, FakeRecognizer()).carry_out
    assert (await carried_out(right)).outcome is Outcome.CAPTURED
    assert (await carried_out(wrong)).outcome is Outcome.WAITING


async def test_frames_that_are_kept_of_this_broadcaster_are_not_kept_again(stores: Stores) -> None:
    first, again, other = await stores.planned(
        [
            planned(0, CHESS, number=7),
            planned(1, CHESS, number=7),
            planned(2, CHESS, number=8),
        ]
    )
    sampler, recognizer = FakeSampler(), FakeRecognizer()
    sampler.frames["login_7"] = lively(1)
    sampler.frames["login_8"] = lively(1)
    carried_out = taker(stores, sampler, recognizer).carry_out
    await carried_out(first)
    result = await carried_out(again)
    assert (result.outcome, result.frames, result.rejected.duplicates) == (Outcome.NOTHING_NEW, 0, 9)
    assert len(recognizer.seen) == 1
    # Half of it new: that half is kept.
    sampler.frames["login_8"] = [*lively(1)[:4], *lively(2)[:3]]
    assert (await carried_out(other)).frames == 7
    assert await stores.outcomes(first.run_id) == ["captured", "nothing_new", "captured"]


async def test_near_duplicates_within_a_window_are_not_kept(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    pictures = lively(1, frames=4)
    brighter = [
        Frame(picture=np.clip(shown.picture.astype(int) + 3, 0, 255).astype(np.uint8), at_s=shown.at_s + 1)
        for shown in pictures
    ]
    sampler.frames["login_0"] = [shown for pair in zip(pictures, brighter, strict=True) for shown in pair]
    result = await taker(stores, sampler).carry_out(pick)
    assert (result.frames, result.rejected.duplicates) == (4, 4)


async def test_a_pick_that_is_carried_out_twice_is_kept_once(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    first, second = taker(stores, sampler), taker(stores, sampler)
    await first.carry_out(pick)
    sampler.frames["login_0"] = lively(2)
    await second.carry_out(pick)
    assert await stores.rows("SELECT count(*) FROM captures") == [(1,)]
    assert await stores.rows("SELECT count(*) FROM frames") == [(9,)]
    assert await stores.outcomes(pick.run_id) == ["captured"]


async def test_a_pick_that_two_processes_have_at_once_is_kept_once(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    sampler.gate.clear()
    both = asyncio.gather(taker(stores, sampler).carry_out(pick), taker(stores, sampler).carry_out(pick))
    while len(sampler.asked) < 2:
        await asyncio.sleep(0.01)
    sampler.gate.set()
    await both
    assert await stores.rows("SELECT count(*) FROM captures") == [(1,)]
    assert await stores.rows("SELECT count(*) FROM frames") == [(9,)]


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (StreamOffline("x"), "offline"),
        (ChannelNotFound("x"), "not_found"),
        (AdvertsOnly("x"), "adverts"),
        (StreamRestricted("x"), "restricted"),
        (StreamBlack("x"), "black"),
        (StreamUnreachable("x"), "unreachable"),
        (StreamTooSlow("x"), "too_slow"),
        (RuntimeError("a mistake"), "failed"),
    ],
)
async def test_every_failure_has_its_name(stores: Stores, problem: Exception, outcome: str) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.problems["login_0"] = problem
    result = await taker(stores, sampler).carry_out(pick)
    assert result.outcome == outcome
    assert await stores.outcomes(pick.run_id) == [outcome]


async def test_every_stream_problem_has_a_name(stores: Stores) -> None:
    def kinds(kind: type[StreamProblem]) -> set[type[StreamProblem]]:
        return {kind}.union(*(kinds(below) for below in kind.__subclasses__()))

    problems = sorted(kinds(StreamProblem) - {StreamProblem}, key=lambda kind: kind.__name__)
    picks = await stores.planned([planned(at, CHESS) for at in range(len(problems))])
    sampler = FakeSampler()
    sampler.problems = {f"login_{at}": problem("x") for at, problem in enumerate(problems)}
    outcomes = [(await taker(stores, sampler).carry_out(pick)).outcome for pick in picks]
    assert len(set(outcomes)) == len(problems)


async def test_a_failure_that_may_pass_leaves_the_pick_pending_until_the_last_try(stores: Stores) -> None:
    passing, lasting = await stores.planned([planned(0, CHESS), planned(1, CHESS)])
    sampler = FakeSampler()
    sampler.problems = {"login_0": StreamUnreachable("x"), "login_1": StreamOffline("x")}
    carried_out = taker(stores, sampler).carry_out
    await carried_out(passing, is_last_try=False)
    await carried_out(lasting, is_last_try=False)
    assert await stores.outcomes(passing.run_id) == [None, "offline"]
    await carried_out(passing, is_last_try=True)
    assert await stores.outcomes(passing.run_id) == ["unreachable", "offline"]


async def test_a_login_that_no_channel_can_have_reaches_no_sampler(stores: Stores) -> None:
    stream = live_stream(1, CHESS, login="../etc/passwd")
    (pick,) = await stores.planned([PlannedPick(position=0, category=CHESS, is_game=True, stream=stream)])
    sampler = FakeSampler()
    assert (await taker(stores, sampler).carry_out(pick)).outcome is Outcome.FAILED
    assert sampler.asked == []


async def test_who_opted_out_after_the_night_was_planned_is_not_looked_at(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    await stores.captures.opt_out(Broadcaster(login="login_0"), by="keeper", at=NOW)
    sampler = FakeSampler()
    assert (await taker(stores, sampler).carry_out(pick)).outcome is Outcome.OPTED_OUT
    assert sampler.asked == []
    assert await stores.outcomes(pick.run_id) == ["opted_out"]


async def test_nothing_is_kept_of_who_opts_out_while_being_looked_at(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    sampler.gate.clear()
    working = asyncio.create_task(taker(stores, sampler).carry_out(pick))
    while not sampler.asked:
        await asyncio.sleep(0.01)
    await stores.captures.opt_out(Broadcaster(login="login_0", platform_id="0"), by="chat", at=NOW)
    sampler.gate.set()
    result = await working
    assert (result.outcome, result.frames) == (Outcome.OPTED_OUT, 0)
    assert await stores.rows("SELECT count(*) FROM captures") == [(0,)]
    assert await stores.outcomes(pick.run_id) == ["opted_out"]


@pytest.mark.parametrize("problem", [ArtifactError("the network failed"), TimeoutError()])
async def test_frames_are_kept_although_the_network_fails(
    stores: Stores, problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler, recognizer = FakeSampler(), FakeRecognizer()
    sampler.frames["login_0"] = lively(1)
    recognizer.problem = problem
    with caplog.at_level(logging.WARNING):
        result = await taker(stores, sampler, recognizer).carry_out(pick)
    assert (result.outcome, result.frames) == (Outcome.CAPTURED, 9)
    assert "login_0 was not recognised" in caplog.text


async def test_the_chosen_moment_is_when_the_sample_came(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    await taker(stores, sampler).carry_out(pick)
    assert await stores.captures.captured_since(NOW) == {"0": 1}
    assert (await stores.captures.summary()).newest_at == NOW
    assert CaptureKind.NIGHTLY == "nightly"


# Stores that fail


async def test_a_full_disk_is_told_and_the_pick_stays_pending(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        patch("core.storage.frame_store._write_whole", side_effect=full),
        pytest.raises(StorageFull, match="no room left"),
    ):
        await taker(stores, sampler).carry_out(pick)
    assert await stores.outcomes(pick.run_id) == [None]
    assert (await taker(stores, sampler).carry_out(pick)).outcome is Outcome.CAPTURED


async def test_a_database_that_is_back_in_a_moment_costs_nothing(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    patient = PickTaker(
        sampler=sampler, frames=stores.frames, captures=stores.captures, nights=stores.nights, url_template=URL
    )
    add, problems = stores.captures.add, [StorageError("The database is starting up.")]

    async def adds(capture: object) -> int | None:
        if problems:
            raise problems.pop()
        return await add(capture)  # type: ignore[arg-type]

    with patch.object(stores.captures, "add", adds), caplog.at_level(logging.WARNING):
        assert (await patient.carry_out(pick)).outcome is Outcome.CAPTURED
    assert "storing is tried again in 1 s: The database is starting up." in caplog.text


async def test_a_database_that_stays_away_is_told(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)

    async def adds(capture: object) -> int | None:
        raise StorageError("The database does not answer.")

    with patch.object(stores.captures, "add", adds), pytest.raises(StorageError, match="does not answer"):
        await taker(stores, sampler).carry_out(pick)
    assert await stores.outcomes(pick.run_id) == [None]


async def test_a_file_that_was_removed_before_its_row_was_added_is_written_again(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    patient = PickTaker(
        sampler=sampler, frames=stores.frames, captures=stores.captures, nights=stores.nights, url_template=URL
    )
    add, removals = stores.captures.add, [1]

    async def adds(capture: object) -> int | None:
        if removals:
            removals.pop()
            await stores.frames.remove([capture.frames[0].sha256])  # type: ignore[attr-defined]
        return await add(capture)  # type: ignore[arg-type]

    with patch.object(stores.captures, "add", adds):
        assert (await patient.carry_out(pick)).frames == 9
    assert await stores.rows_without_file() == frozenset()


async def test_cancelling_leaves_the_pick_pending(stores: Stores) -> None:
    (pick,) = await stores.planned([planned(0, CHESS)])
    sampler = FakeSampler()
    sampler.frames["login_0"] = lively(1)
    sampler.gate.clear()
    working = asyncio.create_task(taker(stores, sampler).carry_out(pick))
    while not sampler.asked:
        await asyncio.sleep(0.01)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await stores.outcomes(pick.run_id) == [None]
