from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from core.errors import ArtifactError
from core.recognition.aggregate import Logits
from core.recognition.recognizer import Recognizer
from tests.fakes import GAMES, RULE, BrightnessNetwork, frame


async def test_frames_become_a_verdict() -> None:
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(BrightnessNetwork(), RULE)
        serving = group.create_task(recognizer.run())

        verdict = await recognizer.recognize([frame(10), frame(20, at_s=2), frame(250, at_s=4)])
        serving.cancel()

    assert verdict.game == GAMES[0]
    assert verdict.votes == 2
    assert [item.at_s for item in verdict.frames] == [0, 2, 4]


async def test_askers_at_the_same_time_share_a_batch_and_each_gets_its_own_answer() -> None:
    network = BrightnessNetwork()
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(network, RULE)
        serving = group.create_task(recognizer.run())
        asks = [
            group.create_task(recognizer.recognize([frame(brightness)] * (1 + number % 3)))
            for number, brightness in enumerate([10, 100, 250] * 4)
        ]
        verdicts = await asyncio.gather(*asks)
        serving.cancel()

    assert [verdict.game for verdict in verdicts] == [*GAMES] * 4
    assert [len(verdict.frames) for verdict in verdicts] == [1, 2, 3] * 4
    assert network.batches == [24]


async def test_a_batch_stops_growing_at_its_bound() -> None:
    network = BrightnessNetwork()
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(network, RULE, batch_frames=10)
        serving = group.create_task(recognizer.run())
        await asyncio.gather(*(recognizer.recognize([frame(10)] * 5) for _ in range(5)))
        serving.cancel()

    assert network.batches == [10, 10, 5]


async def test_a_failing_network_fails_its_askers_and_not_the_next_ones() -> None:
    network = BrightnessNetwork()
    network.fault = ArtifactError("broken")
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(network, RULE)
        serving = group.create_task(recognizer.run())
        with pytest.raises(ArtifactError):
            await recognizer.recognize([frame(10)])

        network.fault = None
        verdict = await recognizer.recognize([frame(10)])
        serving.cancel()

    assert verdict.game == GAMES[0]


class _Slow(BrightnessNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.leave = threading.Event()

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        self.entered.set()
        self.leave.wait(10)
        return super().logits(pictures)


async def test_the_loop_goes_on_while_the_network_runs() -> None:
    network = _Slow()
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(network, RULE)
        serving = group.create_task(recognizer.run())
        ask = group.create_task(recognizer.recognize([frame(10)]))
        await asyncio.to_thread(network.entered.wait, 10)

        began = time.monotonic()
        await asyncio.sleep(0)
        assert not ask.done()
        assert time.monotonic() - began < 5

        network.leave.set()
        assert (await ask).game == GAMES[0]
        serving.cancel()


async def test_an_asker_who_gives_up_costs_the_others_nothing() -> None:
    network = _Slow()
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(network, RULE)
        serving = group.create_task(recognizer.run())
        first = group.create_task(recognizer.recognize([frame(10)]))
        await asyncio.to_thread(network.entered.wait, 10)
        impatient = group.create_task(recognizer.recognize([frame(10)]))
        patient = group.create_task(recognizer.recognize([frame(250)]))
        await asyncio.sleep(0)

        first.cancel()
        impatient.cancel()
        network.leave.set()

        assert (await patient).game == GAMES[2]
        serving.cancel()

    assert network.batches == [1, 1]


async def test_those_whose_frames_the_network_has_are_answered_by_the_old_model_and_all_others_by_the_new() -> None:
    old, new = _Slow(), BrightnessNetwork()
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(old, RULE)
        serving = group.create_task(recognizer.run())
        running = group.create_task(recognizer.recognize([frame(10)]))
        await asyncio.to_thread(old.entered.wait, 10)
        waiting = [group.create_task(recognizer.recognize([frame(10)] * 2)) for _ in range(2)]
        await asyncio.sleep(0)

        recognizer.swap(new, replace(RULE, model="test-2"))
        later = group.create_task(recognizer.recognize([frame(250)]))
        await asyncio.sleep(0)
        old.leave.set()

        assert [(await ask).model for ask in (running, *waiting, later)] == ["test-1", "test-2", "test-2", "test-2"]
        assert recognizer.rule.model == "test-2"
        serving.cancel()

    assert old.batches == [1]
    assert new.batches == [5]


async def test_the_old_model_is_let_go_of_when_its_last_answer_is_given() -> None:
    async with asyncio.TaskGroup() as group:
        network = BrightnessNetwork()
        gone = weakref.ref(network)
        recognizer = Recognizer(network, RULE)
        serving = group.create_task(recognizer.run())
        await recognizer.recognize([frame(10)])

        recognizer.swap(BrightnessNetwork(), RULE)
        del network
        gc.collect()

        assert gone() is None
        serving.cancel()


async def test_how_long_the_network_ran_is_shared_among_those_who_shared_it() -> None:
    async with asyncio.TaskGroup() as group:
        recognizer = Recognizer(BrightnessNetwork(), RULE)
        serving = group.create_task(recognizer.run())
        one, three = await asyncio.gather(recognizer.measured([frame(10)]), recognizer.measured([frame(10)] * 3))
        serving.cancel()

    assert three.network_ms == pytest.approx(3 * one.network_ms)
    assert one.network_ms > 0


async def test_whoever_waits_when_the_recognizer_ends_is_cancelled_and_not_left_hanging() -> None:
    network = _Slow()
    recognizer = Recognizer(network, RULE)
    serving = asyncio.create_task(recognizer.run())
    running = asyncio.create_task(recognizer.recognize([frame(10)]))
    await asyncio.to_thread(network.entered.wait, 10)
    waiting = asyncio.create_task(recognizer.recognize([frame(10)]))
    await asyncio.sleep(0)

    network.leave.set()
    serving.cancel()

    async with asyncio.timeout(10):
        results = await asyncio.gather(serving, running, waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
