"""The server of ``benchmarks/crawl.py``: a big night of 1080p60 broadcasts with their directory, over a shaped line.

Prints its address, then answers every line on its input with what was asked and sent since the last one, and with the
processor time that this took. Ends with its input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from dataclasses import replace
from typing import Annotated

import typer

from demo.channels import FullHdClip, night_channels
from demo.pocket_twitch import PocketTwitch
from demo.renditions import Quality


def main(
    *,
    categories: Annotated[int, typer.Option(help="Declared ones; one in six is no game.")],
    per_category: Annotated[int, typer.Option(help="Live channels in each.")],
    clip: Annotated[list[str], typer.Option(help="Bundled clips; the channels share them in turn.")],
    latency_ms: Annotated[float, typer.Option()],
    mbit_per_s: Annotated[float, typer.Option()],
) -> None:
    """Serve until the end of input."""
    sources = itertools.cycle([FullHdClip(name=name) for name in clip])
    channels = [
        replace(channel, source=next(sources))
        for channel in night_channels(categories=categories, per_category=per_category)
    ]
    twitch = PocketTwitch(channels=channels, latency_s=latency_ms / 1000, rate_bytes_per_s=mbit_per_s * 1e6 / 8)
    asyncio.run(_serve(twitch))


async def _serve(twitch: PocketTwitch) -> None:
    async with twitch:
        await twitch.prepare(*Quality)
        print(twitch.base_url, flush=True)
        cpu_s = time.process_time()
        while await asyncio.to_thread(sys.stdin.readline):
            traffic = twitch.traffic
            before_s, cpu_s = cpu_s, time.process_time()
            figures = {"requests": traffic.requests, "bytes": traffic.bytes_sent, "cpu_s": cpu_s - before_s}
            print(json.dumps(figures), flush=True)
            traffic.reset()


if __name__ == "__main__":
    typer.run(main)
