"""The server of ``benchmarks/ask.py``: the same 1080p60 broadcast on a channel for every ask, over a shaped line.

Prints its address, then answers every line on its input with what was asked and sent since the last one. Ends with
its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

import typer

from demo.channels import Channel, FullHdClip
from demo.pocket_twitch import PocketTwitch
from demo.renditions import Quality


def main(
    logins: Annotated[list[str], typer.Argument(help="Channels; each is asked about once.")],
    *,
    clip: Annotated[str, typer.Option()],
    latency_ms: Annotated[float, typer.Option()],
    mbit_per_s: Annotated[float, typer.Option()],
) -> None:
    """Serve until the end of input."""
    asyncio.run(_serve(logins, clip, latency_ms / 1000, mbit_per_s * 1e6 / 8))


async def _serve(logins: list[str], clip: str, latency_s: float, rate_bytes_per_s: float) -> None:
    channels = [
        Channel(
            login=login,
            display_name=login,
            title="a benchmark",
            declared_category=None,
            source=FullHdClip(name=clip),
        )
        for login in logins
    ]
    twitch = PocketTwitch(channels=channels, latency_s=latency_s, rate_bytes_per_s=rate_bytes_per_s)
    async with twitch:
        await twitch.prepare(*Quality)
        print(twitch.base_url, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            traffic = twitch.traffic
            print(json.dumps({"requests": traffic.requests, "bytes": traffic.bytes_sent}), flush=True)
            traffic.reset()


if __name__ == "__main__":
    typer.run(main)
