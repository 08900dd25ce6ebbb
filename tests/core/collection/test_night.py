"""Whole nights on the pocket Twitch: its directory, its streams, its bad days, and the death of who collects."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.collection.collector import Ended, NightProgress
from core.recognition.recognizer import Recognizer
from core.storage.records import Broadcaster
from demo.channels import night_channels
from demo.faults import Faults, Kind
from demo.pocket_twitch import PocketTwitch
from tests.core.collection.stage import DUE, Listener, Stores, open_night, open_stores
from tests.fakes import RULE, BrightnessNetwork

CATEGORIES, EACH = 6, 2
"""Five games and Just Chatting."""

STREAMS = CATEGORIES * EACH


@contextlib.asynccontextmanager
async def pocket(
    *, each: int = EACH, faults: Faults | None = None, latency_s: float = 0.0
) -> AsyncIterator[PocketTwitch]:
    channels = night_channels(categories=CATEGORIES, per_category=each)
    async with PocketTwitch(channels=channels, faults=faults, latency_s=latency_s) as twitch:
        await twitch.prepare()
        yield twitch


async def assert_whole(stores: Stores) -> None:
    """Rows and files agree, nothing is there twice, and every captured pick has the one capture that it should."""
    assert await stores.rows_without_file() == frozenset()
    assert await stores.rows("SELECT pick_id FROM captures GROUP BY pick_id HAVING count(*) > 1") == []
    assert await stores.rows("SELECT stream_id FROM captures GROUP BY stream_id HAVING count(*) > 1") == []
    assert await stores.rows("SELECT capture_id FROM frames GROUP BY capture_id, sha256 HAVING count(*) > 1") == []
    captured = await stores.rows("SELECT id FROM picks WHERE outcome = 'captured' ORDER BY id")
    assert captured == await stores.rows("SELECT pick_id FROM captures ORDER BY pick_id")


async def test_a_night_takes_the_wanted_streams_of_every_category(stores: Stores) -> None:
    recognizer = Recognizer(BrightnessNetwork(), RULE)
    serving = asyncio.create_task(recognizer.run())
    async with pocket(each=3) as twitch, open_night(stores, twitch.base_url, recognizer=recognizer) as night:
        left_alone = twitch.channels[0].login
        await stores.captures.opt_out(Broadcaster(login=left_alone), by="keeper", at=DUE)
        summary = await night(await stores.run())
    serving.cancel()
    assert summary.ended is Ended.COMPLETE
    assert (summary.games, summary.streams, summary.failed, summary.left) == (5, STREAMS, 0, 0)
    await assert_whole(stores)
    assert await stores.files_without_row() == set()
    counts = {count.game.name: count for count in await stores.captures.game_counts()}
    declared = {channel.declared_category for channel in twitch.channels}
    assert set(counts) >= declared
    assert all(counts[str(name)].broadcasters == EACH for name in declared)
    assert sum(count.frames for count in counts.values()) == summary.frames > 4 * STREAMS
    assert counts["Just Chatting"].is_game is False
    assert await stores.rows("SELECT count(*) FROM recognitions") == [(STREAMS - EACH,)]
    assert await stores.rows(f"SELECT count(*) FROM broadcasters WHERE login = '{left_alone}'") == [(0,)]
    assert {kind for kind, number in twitch.traffic.requests.items() if number} >= {Kind.HELIX, Kind.GRAPHQL}


async def test_the_next_night_of_the_same_day_finds_that_everybody_has_given_enough(stores: Stores) -> None:
    async with pocket() as twitch, open_night(stores, twitch.base_url) as night:
        await night(await stores.run())
        asked = twitch.traffic.requests[Kind.MASTER]
        run = await stores.nights.claim("crawl", DUE, holder="me", lease_s=600)
        assert run is not None
        summary = await night(run)
        assert twitch.traffic.requests[Kind.MASTER] == asked
    assert (summary.ended, summary.streams) == (Ended.COMPLETE, 0)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_is_lost_when_one_in_twenty_of_all_answers_is_spoiled(stores: Stores, seed: int) -> None:
    faults = Faults.of_everything(share=0.05, seed=seed, slow_s=0.3)
    async with pocket(faults=faults) as twitch, open_night(stores, twitch.base_url) as night:
        summary = await night(await stores.run())
    assert (summary.ended, summary.streams, summary.left) == (Ended.COMPLETE, STREAMS, 0)
    assert summary.failed == 0
    await assert_whole(stores)
    assert await stores.files_without_row() == set()


async def test_a_stop_in_the_middle_finishes_what_is_in_hand_and_the_same_night_goes_on(stores: Stores) -> None:
    async with pocket(latency_s=0.02) as twitch, open_night(stores, twitch.base_url, parallel=2) as night:
        run, stop = await stores.run(), asyncio.Event()

        class StopsAtThree(Listener):
            def progressed(self, progress: NightProgress) -> None:
                super().progressed(progress)
                if progress.streams == 3:
                    stop.set()

        listener = StopsAtThree()
        first = await night(run, listener, stop)
        assert first.ended is Ended.STOPPED
        assert 3 <= first.streams <= 4
        assert first.streams + first.left == STREAMS
        await assert_whole(stores)
        looked_at = twitch.traffic.requests[Kind.MASTER]
        second = await night(run)
        assert (second.ended, second.streams) == (Ended.COMPLETE, STREAMS)
        assert twitch.traffic.requests[Kind.MASTER] - looked_at == first.left
    await assert_whole(stores)
    assert await stores.files_without_row() == set()


@pytest.mark.slow
async def test_killed_again_and_again_a_night_goes_on_and_loses_and_doubles_nothing(home: Path) -> None:
    async with pocket(latency_s=0.01) as twitch:
        done, deaths = 0, 0
        summary = None
        for sitting in range(10):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.core.collection.night_process"),
                *(twitch.base_url, str(home), f"sitting {sitting}"),
                stdout=PIPE,
                cwd=Path(__file__).parents[3],
                env={**os.environ, "PYTHONPATH": "."},
            )
            assert process.stdout is not None
            stored = 0
            # The third one is in hand by then.
            while (line := await process.stdout.readline()).strip() == b"stored":
                stored += 1
                if stored == 2 and deaths < 3:
                    process.kill()
                    deaths += 1
                    break
            else:
                summary = json.loads(line)
            await process.wait()
            async with open_stores(home) as stores:
                await assert_whole(stores)
                kept = (await stores.rows("SELECT count(*) FROM captures"))[0][0]
                assert isinstance(kept, int)
                assert kept >= done + stored
                done = kept
            if summary is not None:
                break
            await asyncio.sleep(0.6)  # until the dead one's lease has run out
    assert deaths == 3
    assert summary is not None
    assert (summary["ended"], summary["streams"], summary["failed"]) == ("complete", STREAMS, 0)
    async with open_stores(home) as stores:
        run = await stores.nights.last_run("nightly")
        assert run is not None
        assert run.attempt == 4
        outcomes = Counter(await stores.outcomes(run.id))
        assert outcomes == {"captured": STREAMS}
        # What the killed ones had written and not yet named, `data sync` finds.
        orphans = await stores.files_without_row()
        long_ago = DUE.timestamp()
        for file in (home / "frames").rglob("*"):
            if file.is_file():
                os.utime(file, (long_ago, long_ago))
        report = await stores.upkeep.sync()
        assert report.files == len(orphans)
        assert report.frames == 0
        assert await stores.files_without_row() == set()
        await assert_whole(stores)
