"""One crawler in its own process: it prepares, says so, waits for the word, crawls, and reports what that took."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil
from measuring import REPORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_LOOK_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawled:
    """What a crawl took.

    Attributes:
        wall_s: from its first question to the directory to its last row.
        cpu_s: user and system, of all its processes and threads.
        streams: that gave at least one kept frame.
        frames: kept.
        kept_bytes: of their files.
        failures: streams that gave none, by reason.
        peak_bytes: the most that was resident, of all its processes together.
        half_bytes: the most up to half time.
        end_bytes: resident at the end.
    """

    wall_s: float
    cpu_s: float
    streams: int
    frames: int
    kept_bytes: int
    failures: Mapping[str, int]
    peak_bytes: int
    half_bytes: int
    end_bytes: int

    @property
    def streams_per_minute(self) -> float:
        """How fast it was."""
        return self.streams / self.wall_s * 60


class Watch:
    """Wall clock, processor time and resident memory since it was made, of this process or of others.

    Memory is looked at ten times a second, by a thread that takes a thousandth of a core. A context manager.
    """

    def __init__(self, *others: int) -> None:
        """Begin.

        Args:
            others: numbers of the processes that crawl; none is this one.
        """
        self._processes = [psutil.Process(number) for number in others] or [psutil.Process()]
        self._seen_bytes: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._cpu_s = self._used_s()
        self._wall_s = time.perf_counter()
        self._thread.start()

    def __enter__(self) -> Self:
        """Nothing more to do."""
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def stop(self, *, streams: int, frames: int, failures: Mapping[str, int]) -> Crawled:
        """Everything since the start; the caller adds what is kept."""
        wall_s = time.perf_counter() - self._wall_s
        cpu_s = self._used_s() - self._cpu_s
        seen = [*self._seen_bytes, self._resident_bytes()]
        return Crawled(
            wall_s=wall_s,
            cpu_s=cpu_s,
            streams=streams,
            frames=frames,
            kept_bytes=0,
            failures=dict(failures),
            peak_bytes=max(seen),
            half_bytes=max(seen[: max(1, len(seen) // 2)]),
            end_bytes=seen[-1],
        )

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self._seen_bytes.append(self._resident_bytes())

    def _resident_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._processes)

    def _used_s(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)


def report_crawl(crawled: Crawled) -> None:
    """Hand the figures to the parent."""
    print(REPORT + json.dumps(asdict(crawled)), flush=True)


def crawled_from(text: str) -> Crawled:
    """Read what :func:`report_crawl` wrote, behind its mark."""
    return Crawled(**json.loads(text))
