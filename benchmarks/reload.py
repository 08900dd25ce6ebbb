"""Models are exchanged while people ask: `python benchmarks/reload.py`.

A registry holds the starter model under two versions. Askers come at a steady rate, each with some frames, while the
current version is changed again and again and the bot's own follower takes it over: checksums, golden set if there is
one, the comparison with the model that answers, the swap. Printed is how many asks failed, what an ask took before and
during it, what a reload took, and what memory was resident.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer

from bot.models.following import ModelFollower, first_model
from core.frames import Frame
from core.recognition.artifact import MANIFEST_NAME, Manifest, read_artifact, write_artifact
from core.recognition.candidate import FitnessRules
from core.recognition.recognizer import Recognizer
from core.recognition.registry import Registry

STARTER = Path(__file__).parent.parent / "models" / "starter"
AT_ONCE = 72
"""Looks under way and waiting, by the bot's own limits; who comes then is told that it is busy."""

VERSIONS = ("model-a", "model-b")


@dataclass(kw_only=True)
class Tally:
    """What came of the asks."""

    times_ms: list[float] = field(default_factory=list)
    failed: int = 0
    turned_away: int = 0
    by_model: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """All that was measured; times in milliseconds, memory in megabytes, ``*_95`` is what 95 % stay below."""

    reloads: int
    asks: int
    failed: int
    turned_away: int
    answered_by: dict[str, int]
    quiet_ask_ms: float
    ask_ms: float
    ask_ms_95: float
    reload_ms: float
    reload_ms_95: float
    resident_mb: list[float]

    @property
    def growth_mb(self) -> float:
        """Of the resident memory, from the first quarter of the run to its last."""
        quarter = max(1, len(self.resident_mb) // 4)
        return statistics.median(self.resident_mb[-quarter:]) - statistics.median(self.resident_mb[:quarter])


def registry_of(directory: Path, model: Path) -> Registry:
    """A registry with one model under two versions, the first of them current."""
    registry = Registry(directory / "registry")
    artifact = read_artifact(model)
    for version in VERSIONS:
        manifest = Manifest.model_validate({**artifact.manifest.model_dump(), "version": version})
        files = {name: artifact.directory / name for name in artifact.manifest.files if name != MANIFEST_NAME}
        registry.add(write_artifact(directory / version, manifest=manifest, files=files).directory)
        shutil.rmtree(directory / version)
    registry.use(VERSIONS[0])
    return registry


async def ask_steadily(recognizer: Recognizer, *, rate: float, frames: int, tally: Tally, until: asyncio.Event) -> None:
    """So many askers a second, whether or not the ones before are answered yet; waits for the last of them."""
    noise = np.random.default_rng(1)
    pictures = [noise.integers(0, 255, (180, 320, 3), dtype=np.uint8) for _ in range(frames)]
    shown = [Frame(picture=picture, at_s=2.0 * row) for row, picture in enumerate(pictures)]

    async def ask() -> None:
        began_s = time.perf_counter()
        try:
            verdict = await recognizer.recognize(shown)
        except Exception as error:  # noqa: BLE001 - it is counted
            print(f"failed: {error!r}", file=sys.stderr)
            tally.failed += 1
        else:
            tally.times_ms.append((time.perf_counter() - began_s) * 1000)
            tally.by_model[verdict.model] = tally.by_model.get(verdict.model, 0) + 1

    async with asyncio.TaskGroup() as group:
        next_s = time.perf_counter()
        under_way: set[asyncio.Task[None]] = set()
        while not until.is_set():
            if len(under_way) < AT_ONCE:
                task = group.create_task(ask())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                tally.turned_away += 1
            next_s += 1 / rate
            await asyncio.sleep(max(0.0, next_s - time.perf_counter()))


async def measure(directory: Path, model: Path, *, reloads: int, rate: float, frames: int, threads: int) -> Measured:
    """Reload so often, as fast as it goes."""
    registry = registry_of(directory, model)
    # Two copies of one model take turns on a machine that is busy with askers: neither is the slower one.
    rules = FitnessRules(slower_at_most=20.0)
    first = first_model(registry, model, threads=threads, rules=rules, now=datetime.now(UTC))
    answering = first.answering.model
    recognizer = Recognizer(answering.network, answering.artifact.rule)
    follower = ModelFollower(registry, recognizer, first, threads=threads, rules=rules, poll_s=60)
    del first, answering
    process = psutil.Process()
    reload_ms, resident_mb = [], []
    serving = asyncio.create_task(recognizer.run())
    quiet = Tally()
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(3.0, over.set)
    await ask_steadily(recognizer, rate=rate, frames=frames, tally=quiet, until=over)
    tally = Tally(failed=quiet.failed)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(ask_steadily(recognizer, rate=rate, frames=frames, tally=tally, until=over))
        for number in range(1, reloads + 1):
            version = VERSIONS[number % 2]
            await asyncio.to_thread(registry.use, version)
            began_s = time.perf_counter()
            await follower.look()
            reload_ms.append((time.perf_counter() - began_s) * 1000)
            if recognizer.rule.model != version:
                raise RuntimeError(f"{version} was not taken over: {follower.last_refusal}")
            resident_mb.append(process.memory_info().rss / 1e6)
            if number % 25 == 0:
                done = f"{number} reloads, {len(tally.times_ms)} asks answered, {tally.failed} failed"
                print(f"{done}, {resident_mb[-1]:.0f} MB", file=sys.stderr, flush=True)
        over.set()
    serving.cancel()
    return Measured(
        reloads=reloads,
        asks=len(tally.times_ms),
        failed=tally.failed,
        turned_away=tally.turned_away,
        answered_by=tally.by_model,
        quiet_ask_ms=statistics.median(quiet.times_ms),
        ask_ms=statistics.median(tally.times_ms),
        ask_ms_95=_below_95(tally.times_ms),
        reload_ms=statistics.median(reload_ms),
        reload_ms_95=_below_95(reload_ms),
        resident_mb=resident_mb,
    )


def _below_95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def main(
    *,
    reloads: Annotated[int, typer.Option(help="How often the model is exchanged.")] = 500,
    rate: Annotated[float, typer.Option(help="Askers a second.")] = 20.0,
    frames: Annotated[int, typer.Option(help="That each brings.")] = 3,
    threads: Annotated[int, typer.Option(help="Processor threads of a network.")] = 2,
    model: Annotated[Path, typer.Option(help="The model's directory.")] = STARTER,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Exchange models under askers."""
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(Path(directory), model, reloads=reloads, rate=rate, frames=frames, threads=threads))
    if as_json:
        print(json.dumps({**asdict(found), "growth_mb": found.growth_mb}))
        return
    print(f"{found.reloads} reloads under {rate:g} askers a second with {frames} frame(s) each")
    print(
        f"asks: {found.asks} answered, {found.failed} failed, {found.turned_away} turned away; by {found.answered_by}"
    )
    print(f"an ask: {found.quiet_ask_ms:.0f} ms before, {found.ask_ms:.0f} ms during (95 %: {found.ask_ms_95:.0f} ms)")
    print(f"a reload: {found.reload_ms:.0f} ms (95 %: {found.reload_ms_95:.0f} ms)")
    last = len(found.resident_mb) - 1
    marks = [found.resident_mb[round(part * last / 10)] for part in range(11)]
    print(f"resident, tenth by tenth: {' '.join(f'{mark:.0f}' for mark in marks)} MB; growth {found.growth_mb:+.1f} MB")


if __name__ == "__main__":
    typer.run(main)
