"""Collect a night's frames, once the way P2 did it and once our way, side by side; and how ours grows.

    python benchmarks/crawl.py [--rounds 3] [--streams 10] [--channels 10,50,200] [--workers 1,2,4] [--json] [--check]

Needs the extras ``test`` and ``workers``. A pocket Twitch in a process of its own adds 30 ms to every request and gives
each connection 40 Mbit/s; on it is a night of categories with 95 live channels each, all 1080p60 at 6 Mbit/s with the
usual smaller renditions. Every crawl is a process of its own that has nothing yet: an empty SQLite database, an empty
folder. P2's way tries ``--streams`` streams, which take it as long one as another. Ours is the real thing with its
defaults, from the first question to the directory to the end of the night, over 10, 50 and 200 channels; the longest
stands beside P2. Process start, imports and loading the network are left out on both sides.

Then a night is handed out to one, two and four workers, over PostgreSQL. A worker takes two streams at a time here:
four of them as many as one process does by default, and more than two cores are good for.

Ours keeps the processor busy and P2 waits for the line: let nothing else run beside it.

What is kinder to P2 here than life: no TLS and no name look-up, which P2 pays for every segment and we seldom; a local
database file in place of its PostgreSQL server; no failure.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from children import child, line_of, note, say
from crawl_measuring import Crawled, crawled_from
from measuring import READY, REPORT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

_HERE = Path(__file__).parent

_CATEGORIES, _LIVE_IN_EACH = 48, 95
"""Enough for 40 games of ours, and for P2's minimum of more than 90 live streams."""

_STREAMS_OF_A_GAME = 5
"""The default, so that a number of channels is a number of games."""

_TIMES_FASTER = 15.0
_TIMES_THE_MEMORY = 1.25
"""That the longest crawl may take of the shortest one's, at their peaks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What the server was asked and sent for one crawl, by kind of request, and what that took of its processor."""

    requests: dict[str, int]
    bytes: dict[str, int]
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How a crawl is done, and over how many channels."""

    label: str
    channels: int
    script: str
    options: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.script, *self.options))


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawl:
    """One crawl."""

    way: Way
    crawled: Crawled
    traffic: Traffic

    @property
    def received_bytes(self) -> int:
        """Everything that came over the line."""
        return sum(self.traffic.bytes.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One line of the tables.

    Attributes:
        name: with its unit.
        of: its value for a crawl.
        digits: behind the point.
        better: which is better, more or less, where that can be said.
    """

    name: str
    of: Callable[[Crawl], float]
    digits: int = 0
    better: Literal["more", "less"] | None = None


_RATE = Figure(name="streams a minute", of=lambda crawl: crawl.crawled.streams_per_minute, digits=1, better="more")
_PEAK = Figure(name="peak memory, MB", of=lambda crawl: crawl.crawled.peak_bytes / 1e6, better="less")

_FIGURES = (
    Figure(name="streams", of=lambda crawl: crawl.crawled.streams),
    Figure(name="frames", of=lambda crawl: crawl.crawled.frames),
    Figure(name="time, s", of=lambda crawl: crawl.crawled.wall_s, digits=1),
    _RATE,
    Figure(name="frames a minute", of=lambda crawl: crawl.crawled.frames / crawl.crawled.wall_s * 60, better="more"),
    Figure(
        name="received per stream, MB",
        of=lambda crawl: crawl.received_bytes / crawl.crawled.streams / 1e6,
        digits=2,
        better="less",
    ),
    Figure(name="kept per frame, kB", of=lambda crawl: crawl.crawled.kept_bytes / crawl.crawled.frames / 1e3, digits=1),
    Figure(
        name="processor per frame, ms",
        of=lambda crawl: crawl.crawled.cpu_s / crawl.crawled.frames * 1e3,
        digits=1,
        better="less",
    ),
    _PEAK,
    Figure(name="peak up to half time, MB", of=lambda crawl: crawl.crawled.half_bytes / 1e6),
    Figure(name="memory at the end, MB", of=lambda crawl: crawl.crawled.end_bytes / 1e6),
    Figure(name="server's processor, s", of=lambda crawl: crawl.traffic.cpu_s, digits=1),
)


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Of all crawls; medians are printed.")] = 3,
    streams: Annotated[int, typer.Option(min=1, help="That P2's way tries.")] = 10,
    channels: Annotated[str, typer.Option(help="How many ours crawls, each in one crawl.")] = "10,50,200",
    workers: Annotated[str, typer.Option(help="How many a night is handed out to; empty leaves that out.")] = "1,2,4",
    worker_parallel: Annotated[int, typer.Option(min=1, help="Streams at a time, of each worker.")] = 2,
    worker_channels: Annotated[int, typer.Option(min=1, help="How many these crawl.")] = 50,
    clip: Annotated[list[str] | None, typer.Option(help="Bundled clips that the streams are made of.")] = None,
    latency_ms: Annotated[float, typer.Option(help="Added to every request.")] = 30.0,
    mbit_per_s: Annotated[float, typer.Option(help="Of every connection.")] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure of every crawl as JSON.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 unless both bounds are met.")] = False,
) -> None:
    """Compare."""
    sizes = sorted({int(size) for size in channels.split(",")})
    p2 = Way(label="P2", channels=streams, script="crawl_as_p2.py", options=(f"--streams={streams}",))
    ours = [_ours("ours", size) for size in sizes]
    unrecognised = _ours("ours, frames only", sizes[-1], "--no-recognize")
    handed_out = [_handed_out(int(number), worker_parallel, worker_channels) for number in workers.split(",") if number]
    clips = clip or ["supertux__s01", "doom__s01"]
    done: list[Crawl] = []
    server_options = [f"--categories={_CATEGORIES}", f"--per-category={_LIVE_IN_EACH}"]
    server_options += [f"--latency-ms={latency_ms}", f"--mbit-per-s={mbit_per_s}", *(f"--clip={one}" for one in clips)]
    with child("crawl_stream.py", *server_options) as server:
        base_url = line_of(server)
        for number in range(rounds):
            for way in (p2, *ours, unrecognised, *handed_out):
                done.append(_crawl(way, server, base_url))
                rate = done[-1].crawled.streams_per_minute
                note(f"{number + 1} of {rounds}, {way}: {rate:.1f} streams a minute")
    figures = Figures(done, p2=p2, ours=ours, unrecognised=unrecognised, handed_out=handed_out)
    print(json.dumps(figures.as_json(), indent=2) if as_json else figures.as_text())
    if check and not figures.bounds_met:
        raise typer.Exit(1)


def _ours(label: str, channels: int, *options: str) -> Way:
    return Way(label=label, channels=channels, script="crawl_as_we_do.py", options=(_games(channels), *options))


def _handed_out(workers: int, parallel: int, channels: int) -> Way:
    return Way(
        label=str(workers),
        channels=channels,
        script="crawl_with_workers.py",
        options=(_games(channels), f"--workers={workers}", f"--parallel={parallel}"),
    )


def _games(channels: int) -> str:
    return f"--games={max(1, channels // _STREAMS_OF_A_GAME)}"


def _crawl(way: Way, server: subprocess.Popen[str], base_url: str) -> Crawl:
    with child(way.script, f"--base-url={base_url}", *way.options) as crawler:
        while line_of(crawler) != READY:
            pass  # what libraries print
        say(server, "traffic")
        line_of(server)
        say(crawler, "crawl")
        while not (line := line_of(crawler)).startswith(REPORT):
            pass
        say(server, "traffic")
        traffic = Traffic(**json.loads(line_of(server)))
    return Crawl(way=way, crawled=crawled_from(line.removeprefix(REPORT)), traffic=traffic)


class Figures:
    """All crawls, by way."""

    def __init__(
        self, done: list[Crawl], *, p2: Way, ours: list[Way], unrecognised: Way, handed_out: list[Way]
    ) -> None:
        self._done = done
        self._p2 = p2
        self._ours = ours
        self._unrecognised = unrecognised
        self._handed_out = handed_out

    @property
    def times_faster(self) -> float:
        """Streams a minute of our longest crawl, of P2's."""
        return self._median(self._ours[-1], _RATE) / self._median(self._p2, _RATE)

    @property
    def times_the_memory(self) -> float:
        """Peak of our longest crawl, of our shortest one's."""
        return self._median(self._ours[-1], _PEAK) / self._median(self._ours[0], _PEAK)

    @property
    def bounds_met(self) -> bool:
        """Fast enough, and flat."""
        return self.times_faster >= _TIMES_FASTER and self.times_the_memory <= _TIMES_THE_MEMORY

    def as_json(self) -> dict[str, object]:
        """Every figure of every crawl, too."""
        return {
            "cores": os.cpu_count(),
            "medians": [
                {"way": str(way), "channels": way.channels}
                | {figure.name: self._median(way, figure) for figure in _FIGURES}
                for way in self._ways
            ],
            "times_faster": self.times_faster,
            "times_the_memory": self.times_the_memory,
            "bounds_met": self.bounds_met,
            "crawls": [asdict(crawl) for crawl in self._done],
        }

    def as_text(self) -> str:
        """The tables and the bounds."""
        longest = self._ours[-1]
        beside = (self._p2, longest, self._unrecognised)
        lines = self._table(beside, [way.label for way in beside], compare=True)
        lines += ["", "ours, by channels", *self._table(self._ours, [str(way.channels) for way in self._ours])]
        if self._handed_out:
            lines += [
                "",
                "ours, by workers; processor and memory of all together, and of the process that hands out",
                *self._table(self._handed_out, [way.label for way in self._handed_out]),
            ]
        lines += ["", *(f"without a frame, {way}: {self._failures(way)}" for way in self._ways if self._failures(way))]
        crawls = [crawl.crawled.streams_per_minute for crawl in self._done if crawl.way == longest]
        p2_crawls = [crawl.crawled.streams_per_minute for crawl in self._done if crawl.way == self._p2]
        fast, flat = self.times_faster >= _TIMES_FASTER, self.times_the_memory <= _TIMES_THE_MEMORY
        lines.append(
            f"medians of {len(crawls)}, on {os.cpu_count()} cores that the server shares; streams a minute from - to: "
            f"P2 {min(p2_crawls):.1f} - {max(p2_crawls):.1f}; ours {min(crawls):.1f} - {max(crawls):.1f}"
        )
        lines.append(
            f"at least {_TIMES_FASTER:.0f} times P2's streams a minute: "
            f"{'yes' if fast else 'NO'}, {self.times_faster:.1f}"
        )
        lines.append(
            f"peak memory with {longest.channels} channels at most {_TIMES_THE_MEMORY} times that with "
            f"{self._ours[0].channels}: {'yes' if flat else 'NO'}, {self.times_the_memory:.2f}"
        )
        return "\n".join(lines)

    def _table(self, ways: Sequence[Way], labels: Sequence[str], *, compare: bool = False) -> list[str]:
        """A line for each figure; ``compare`` adds how much better the second way is than the first."""
        lines = [f"{'':26}" + "".join(f"{label:>18}" for label in labels) + (f"{'ours better':>14}" if compare else "")]
        for figure in _FIGURES:
            values = [self._median(way, figure) for way in ways]
            line = f"{figure.name:26}" + "".join(f"{value:>18.{figure.digits}f}" for value in values)
            if compare and figure.better is not None:
                theirs, mine = values[:2]
                line += f"{mine / theirs if figure.better == 'more' else theirs / mine:>14.1f}"
            lines.append(line)
        return lines

    @property
    def _ways(self) -> tuple[Way, ...]:
        return (self._p2, *self._ours, self._unrecognised, *self._handed_out)

    def _median(self, way: Way, figure: Figure) -> float:
        return statistics.median(figure.of(crawl) for crawl in self._done if crawl.way == way)

    def _failures(self, way: Way) -> str:
        failed = [crawl.crawled.failures for crawl in self._done if crawl.way == way]
        kinds = sorted({kind for one in failed for kind in one})
        return ", ".join(f"{sum(one.get(kind, 0) for one in failed)} {kind}" for kind in kinds)


if __name__ == "__main__":
    typer.run(main)
