"""A night's progress for a person: a live display on a terminal, plain lines elsewhere; and what is said at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bot.commands.wording import INTERRUPTING
from core.collection.collector import Ended, NightProgress, Phase
from core.collection.picks import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from rich.console import Console, RenderableType

    from core.collection.collector import NightSummary

_LINE_EVERY_S = 15.0
"""Where there is no terminal: often enough to see that it goes on, seldom enough for a log."""

_SETTLED_FOR_A_GUESS = 3
"""Streams that must be done before the time left is guessed."""

_FAILURES: dict[str, str] = {
    Outcome.OFFLINE: "offline",
    Outcome.NOT_FOUND: "not found",
    Outcome.ADVERTS: "adverts only",
    Outcome.RESTRICTED: "not open to everyone",
    Outcome.BLACK: "black",
    Outcome.WAITING: "waiting screens",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.TOO_SLOW: "too slow",
    Outcome.FAILED: "mistakes of ours (see the log)",
}

_ENDINGS = {
    Ended.STOPPED: "Stopped",
    Ended.OUT_OF_TIME: "Out of time",
    Ended.STORAGE: "Stopped",
}


def closing_lines(summary: NightSummary) -> tuple[str, ...]:
    """What is said of a night that has ended, the most important first; its ``problem`` is left to the caller."""
    lines = [f"Downloaded {summary.frames} frame(s) from {summary.streams} stream(s). Failed {summary.failed} time(s)."]
    if summary.failures:
        lines.append(f"Failures: {_by_kind(summary.failures)}.")
    if summary.categories_failed:
        lines.append(f"{summary.categories_failed} category(s) could not be listed.")
    if summary.left:
        lines.append(
            f"{_ENDINGS.get(summary.ended, 'Stopped')} with {summary.left} stream(s) to go; "
            "started again the same night, it goes on."
        )
    return tuple(lines)


class NightReport:
    """Shows how a night goes; a context manager, and what a collector tells it to as ``listener``.

    :func:`closing_lines` are for when it is over.
    """

    def __init__(self, console: Console, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Show nothing yet.

        Args:
            console: a terminal gets a display that changes in place, anything else a line now and then.
            clock_s: for rates.
        """
        self._console = console
        self._clock_s = clock_s
        self._progress = NightProgress(phase=Phase.GATHERING)
        self._pace: _Pace | None = None
        self._live = Live(
            console=console, get_renderable=self._display, refresh_per_second=4, transient=True, auto_refresh=True
        )
        self._line_at_s = 0.0

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the display down."""
        self._live.stop()

    def progressed(self, progress: NightProgress) -> None:
        """Show this from now on."""
        before, self._progress = self._progress, progress
        if progress.phase is not Phase.GATHERING and self._pace is None:
            self._pace = _Pace(at_s=self._clock_s(), settled=progress.settled, streams=progress.streams)
        if progress.phase is Phase.FINISHING and before.phase is not Phase.FINISHING:
            self._say(INTERRUPTING)
        if self._console.is_terminal:
            return  # the display looks for itself
        if self._clock_s() >= self._line_at_s:
            self._line_at_s = self._clock_s() + _LINE_EVERY_S
            self._say(self._line())

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _display(self) -> RenderableType:
        progress = self._progress
        if progress.phase is Phase.GATHERING:
            return Text(self._line())
        done = max(0, progress.wanted - progress.left - progress.in_hand)
        # Rows, because a bar does not end its line by itself.
        rows = Table.grid(expand=True)
        rows.add_row(ProgressBar(total=max(1, progress.wanted), completed=done))
        rows.add_row(Text(self._line()))
        return rows

    def _line(self) -> str:
        progress = self._progress
        if progress.phase is Phase.GATHERING:
            return "Asking what is live."
        parts = [
            f"{progress.games - progress.games_open}/{progress.games} games",
            f"{progress.streams}/{progress.wanted} streams",
            f"{progress.frames} frames",
        ]
        if self._pace is not None:
            parts += self._pace.words(progress, self._clock_s())
        if progress.failures:
            parts.append(f"failed: {_by_kind(progress.failures)}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pace:
    """Where a sitting began: a night that goes on has streams already."""

    at_s: float
    settled: int
    streams: int

    def words(self, progress: NightProgress, now_s: float) -> list[str]:
        elapsed_s = now_s - self.at_s
        settled = progress.settled - self.settled
        if elapsed_s <= 0 or settled < _SETTLED_FOR_A_GUESS:
            return []
        words = [f"{(progress.streams - self.streams) / elapsed_s * 60:.0f} streams/min"]
        left = progress.in_hand if progress.phase is Phase.FINISHING else progress.left + progress.in_hand
        if left:
            words.append(f"{_duration(left * elapsed_s / settled)} left")
        return words


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _by_kind(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {_FAILURES.get(kind, kind)}" for kind, number in failures.items())
