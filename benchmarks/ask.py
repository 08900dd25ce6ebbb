"""Ask about the same stream, once the way P2 did it and once our way, side by side.

    python benchmarks/ask.py [--rounds 5] [--model DIR] [--network mobilenetv2|p2] [--json] [--check]

Needs the extras ``training`` (P2's way runs Keras) and ``test``. A loopback server in a process of its own adds 30 ms
to every request and gives each connection 40 Mbit/s. Every ask is cold: a process of its own, a channel that nobody
asked about before, no open connection. Process start, imports and loading the network are left out on both sides.
Memory is the process's peak, with everything that was loaded.

What is kinder to P2 here than life: no TLS and no name look-up, which P2 pays for every segment and we once; the
first answer of its network and Streamlink's start are left out for P2 and counted for us where the bot does not do
them ahead of time.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from children import child, line_of, note, say
from measuring import READY, REPORT, Asked, Report, report_from

if TYPE_CHECKING:
    import subprocess

_HERE = Path(__file__).parent
_STARTER = _HERE.parent / "models" / "starter"

_TIMES_FASTER = 15.0
_SHARE_OF_BYTES = 1 / 20

Way = Literal["p2", "ours"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What the server was asked and sent for one ask, by kind of request."""

    requests: dict[str, int]
    bytes: dict[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One cold ask, and ours once more."""

    way: Way
    report: Report
    traffic: Traffic

    @property
    def sent_bytes(self) -> int:
        """Everything that came over the line."""
        return sum(self.traffic.bytes.values())


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Asks of each way; medians are printed.")] = 5,
    model: Annotated[Path, typer.Option(help="Our model.")] = _STARTER,
    network: Annotated[str, typer.Option(help="P2's network: mobilenetv2 (the architecture of ours) or p2.")] = (
        "mobilenetv2"
    ),
    call: Annotated[str, typer.Option(help="How P2 runs it: model, as its source has it, or predict.")] = "model",
    clip: Annotated[str, typer.Option(help="The bundled clip that the stream is made of.")] = "supertux__s01",
    latency_ms: Annotated[float, typer.Option(help="Added to every request.")] = 30.0,
    mbit_per_s: Annotated[float, typer.Option(help="Of every connection.")] = 40.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure of every round as JSON.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 1 unless both bounds are met.")] = False,
) -> None:
    """Compare."""
    ways: tuple[Way, Way] = ("p2", "ours")
    logins = [f"bench_{way}_{number}" for number in range(rounds) for way in ways]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            child(
                "ask_stream.py",
                *logins,
                f"--clip={clip}",
                f"--latency-ms={latency_ms}",
                f"--mbit-per-s={mbit_per_s}",
            )
        )
        base_url = line_of(server)
        done: list[Round] = []
        for number in range(rounds):
            for way in ways:
                script, options = (
                    ("ask_as_p2.py", [f"--network={network}", f"--call={call}"])
                    if way == "p2"
                    else ("ask_as_we_do.py", [f"--model={model}"])
                )
                with child(script, f"bench_{way}_{number}", f"--base-url={base_url}", *options) as asker:
                    done.append(_round(way, server, asker))
                note(f"{number + 1} of {rounds}, {way}: {done[-1].report.cold.wall_s:.3f} s")
    summary = _summary(done)
    print(json.dumps({**summary, "rounds": [asdict(one) for one in done]}, indent=2) if as_json else _table(done))
    if check and not summary["bounds_met"]:
        raise typer.Exit(1)


def _round(way: Way, server: subprocess.Popen[str], asker: subprocess.Popen[str]) -> Round:
    while line_of(asker) != READY:
        pass  # what libraries print
    say(server, "traffic")
    line_of(server)
    say(asker, "ask")
    while not (line := line_of(asker)).startswith(REPORT):
        pass
    say(server, "traffic")
    return Round(way=way, report=report_from(line.removeprefix(REPORT)), traffic=Traffic(**json.loads(line_of(server))))


def _median(done: list[Round], way: Way) -> dict[str, float]:
    mine = [one for one in done if one.way == way]
    return {
        "wall_s": statistics.median(one.report.cold.wall_s for one in mine),
        "bytes": statistics.median(one.sent_bytes for one in mine),
        "cpu_s": statistics.median(one.report.cold.cpu_s for one in mine),
        "peak_bytes": statistics.median(one.report.peak_bytes for one in mine),
        "frames": statistics.median(one.report.cold.frames for one in mine),
        "requests": statistics.median(sum(one.traffic.requests.values()) for one in mine),
    }


def _summary(done: list[Round]) -> dict[str, object]:
    p2, ours = _median(done, "p2"), _median(done, "ours")
    again = [one.report.again for one in done if one.report.again is not None]
    return {
        "p2": p2,
        "ours": ours,
        "ours_again_s": statistics.median(asked.wall_s for asked in again),
        "ratios": {name: p2[name] / ours[name] for name in ("wall_s", "bytes", "cpu_s", "peak_bytes")},
        "bounds_met": p2["wall_s"] >= _TIMES_FASTER * ours["wall_s"] and ours["bytes"] <= _SHARE_OF_BYTES * p2["bytes"],
    }


def _table(done: list[Round]) -> str:
    p2, ours = _median(done, "p2"), _median(done, "ours")
    again: list[Asked] = [one.report.again for one in done if one.report.again is not None]
    spread = {way: [one.report.cold.wall_s for one in done if one.way == way] for way in ("p2", "ours")}
    rows = [
        ("time to answer, s", p2["wall_s"], ours["wall_s"], ".3f", 1.0),
        ("bytes received, MB", p2["bytes"], ours["bytes"], ".2f", 1e6),
        ("processor, s", p2["cpu_s"], ours["cpu_s"], ".2f", 1.0),
        ("peak memory, MB", p2["peak_bytes"], ours["peak_bytes"], ".0f", 1e6),
    ]
    lines = [f"{'':22}{'P2':>10}{'ours':>10}{'P2 / ours':>12}"]
    for name, theirs, mine, form, unit in rows:
        lines.append(f"{name:22}{theirs / unit:>10{form}}{mine / unit:>10{form}}{theirs / mine:>12.1f}")
    lines.append(f"{'frames seen':22}{p2['frames']:>10.0f}{ours['frames']:>10.0f}")
    lines.append(f"{'requests':22}{p2['requests']:>10.0f}{ours['requests']:>10.0f}")
    lines.append("")
    lines.append(
        f"medians of {len(spread['p2'])}; time to answer from - to: "
        + "; ".join(f"{way} {min(times):.3f} - {max(times):.3f} s" for way, times in spread.items())
    )
    lines.append(f"the same channel again: {statistics.median(one.wall_s for one in again) * 1000:.1f} ms")
    steps = {name for one in done for name in one.report.cold.steps_ms}
    lines.append(
        "our steps, ms: "
        + ", ".join(
            f"{name} {statistics.median(one.report.cold.steps_ms[name] for one in done if one.way == 'ours'):.0f}"
            for name in sorted(steps)
        )
    )
    faster = p2["wall_s"] / ours["wall_s"]
    lines.append(f"at least {_TIMES_FASTER:.0f} times faster: {'yes' if faster >= _TIMES_FASTER else 'NO'}")
    few = ours["bytes"] <= _SHARE_OF_BYTES * p2["bytes"]
    lines.append(f"at most 1/{1 / _SHARE_OF_BYTES:.0f} of the bytes: {'yes' if few else 'NO'}")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
