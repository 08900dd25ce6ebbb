"""One asker in its own process: it prepares, says so, waits for the word, asks, and reports what that took."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

READY = "ready"
REPORT = "report "


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What one ask took.

    Attributes:
        wall_s: from the question to the answer.
        cpu_s: of this process, user and system, all threads.
        frames: that the network saw.
        answer: what was said.
        steps_ms: what its steps took, where the asker knows.
    """

    wall_s: float
    cpu_s: float
    frames: int
    answer: str
    steps_ms: dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an asker hands back: the cold ask, perhaps a second one, and the process's peak memory."""

    cold: Asked
    again: Asked | None
    peak_bytes: int


class Stopwatch:
    """Wall clock and processor time since it was made."""

    def __init__(self) -> None:
        self._wall_s = time.perf_counter()
        self._cpu_s = time.process_time()

    def stop(self, *, frames: int, answer: str, steps_ms: dict[str, float]) -> Asked:
        """Everything since the start."""
        return Asked(
            wall_s=time.perf_counter() - self._wall_s,
            cpu_s=time.process_time() - self._cpu_s,
            frames=frames,
            answer=answer,
            steps_ms=steps_ms,
        )


def wait_for_the_word() -> None:
    """Tell the parent that everything is loaded, and wait until it says to begin."""
    print(READY, flush=True)
    sys.stdin.readline()


def report(cold: Asked, again: Asked | None) -> None:
    """Hand the figures to the parent."""
    # ru_maxrss counts kilobytes on Linux and bytes on macOS.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    print(REPORT + json.dumps(asdict(Report(cold=cold, again=again, peak_bytes=peak_bytes))), flush=True)


def report_from(text: str) -> Report:
    """Read what :func:`report` wrote, behind its mark."""
    values = json.loads(text)
    again = values["again"]
    return Report(
        cold=Asked(**values["cold"]),
        again=None if again is None else Asked(**again),
        peak_bytes=values["peak_bytes"],
    )


def ask_and_report(ask: Callable[[], tuple[int, str]]) -> None:
    """Wait for the word, run one ask and report it.

    Args:
        ask: returns how many frames the network saw, and what was answered.
    """
    wait_for_the_word()
    watch = Stopwatch()
    frames, answer = ask()
    report(watch.stop(frames=frames, answer=answer, steps_ms={}), None)
