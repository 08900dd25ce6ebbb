"""``python -m demo serve`` runs the pocket Twitch; ``python -m demo play`` puts the bot's terminal chat in front."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from demo.channels import Adverts, Channel, demo_channels, night_channels
from demo.conversation import play as play_script
from demo.conversation import talk, way_to
from demo.faults import Faults
from demo.pocket_twitch import PocketTwitch

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

app = typer.Typer(
    help="A pocket Twitch on loopback: live channels without an account or a network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]


@app.command()
def serve(
    *,
    port: PortOption = 0,
    night: Annotated[
        int, typer.Option(min=0, metavar="N", help="Add a big night: N categories with five live channels each.")
    ] = 0,
    extras: Annotated[
        int, typer.Option(min=0, metavar="N", help="Further live channels in each category of the night.")
    ] = 0,
    faults: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Spoil this share of all answers, in many ways.")
    ] = 0.0,
) -> None:
    """Run the pocket Twitch until Ctrl-C."""
    channels = (*demo_channels(), *night_channels(categories=night, extras=extras))
    raise typer.Exit(_run(_serve(port, channels, Faults.of_everything(share=faults)), interrupted=0))


@app.command()
def play(*, port: PortOption = 0) -> None:
    """Run the pocket Twitch and talk to the bot; without a terminal, play a short conversation and end."""
    raise typer.Exit(_run(_play(port), interrupted=128 + signal.SIGINT))


async def _serve(port: int, channels: Sequence[Channel], faults: Faults) -> int:
    async with PocketTwitch(channels=channels, port=port, faults=faults) as twitch, asyncio.TaskGroup() as group:
        print(_greeting(twitch), flush=True)
        print("What leads the bot here:", flush=True)
        for name, value in way_to(twitch.base_url).items():
            print(f"  export {name}={value}", flush=True)
        print("Ctrl-C ends it.", flush=True)
        group.create_task(twitch.prepare())
        await asyncio.Event().wait()
    return 0


async def _play(port: int) -> int:
    async with PocketTwitch(channels=demo_channels(), port=port) as twitch, asyncio.TaskGroup() as group:
        print(_greeting(twitch), flush=True)
        # The bot takes a moment to start; the streams are made meanwhile.
        preparing = group.create_task(twitch.prepare())
        if sys.stdin.isatty():
            print("Try: !game mira_plays   !game -v pixelpekka   !help   (Ctrl-D ends)\n", flush=True)
            outcome = await talk(twitch.base_url)
        else:
            print(flush=True)
            outcome = await play_script(twitch.base_url)
        preparing.cancel()
    for question in outcome.unanswered:
        print(f"The bot gave no answer to: {question}", file=sys.stderr)
    if outcome.exit_code is None:
        print("The bot did not come to an end and was stopped.", file=sys.stderr)
    elif outcome.exit_code:
        print(f"The bot ended with exit code {outcome.exit_code}.", file=sys.stderr)
    return 1 if outcome.exit_code != 0 or outcome.unanswered else 0


def _run(main: Coroutine[None, None, int], *, interrupted: int) -> int:
    """Run to the end, by itself or by a signal.

    Args:
        main: what to run.
        interrupted: the exit code after Ctrl-C.

    Returns:
        The exit code.
    """
    try:
        return asyncio.run(_until_terminated(main))
    except KeyboardInterrupt:
        return interrupted
    except BrokenPipeError:
        # Whoever read this (head, less) has seen enough. The interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "the port is taken; leave --port out to get a free one" if taken else str(error)
        print(f"The pocket Twitch cannot start: {reason}.", file=sys.stderr)
        return 1


async def _until_terminated(main: Coroutine[None, None, int]) -> int:
    """Let SIGTERM end everything in order, as Ctrl-C does."""
    running = asyncio.ensure_future(main)
    terminated = asyncio.Event()

    def terminate() -> None:
        terminated.set()
        running.cancel()

    with contextlib.suppress(NotImplementedError):  # there are no such handlers on Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await running
    except asyncio.CancelledError:
        if terminated.is_set():
            return 128 + signal.SIGTERM
        raise
    except ExceptionGroup as group:
        if group.subgroup(BrokenPipeError) is None:
            raise
        raise BrokenPipeError from None


def _greeting(twitch: PocketTwitch) -> str:
    lines = [f"The pocket Twitch is at {twitch.base_url}. Live, and what they say they play:"]
    named = {channel.login for channel in demo_channels()}
    live = [channel for channel in twitch.channels if channel.source is not None]
    lines += [
        f"  {channel.login:18}{channel.declared_category or '(nothing)'}{_remark(channel)}"
        for channel in live
        if channel.login in named
    ]
    if len(live) > len(named):
        categories = len({channel.declared_category for channel in live} - {None})
        lines.append(f"  and a night's worth of others: {len(live)} channels in {categories} categories in all")
    offline = ", ".join(channel.login for channel in twitch.channels if channel.source is None)
    lines.append(f"Offline: {offline}. Nobody else is known.")
    return "\n".join(lines)


def _remark(channel: Channel) -> str:
    if channel.closed is not None:
        return "  [closed to strangers]"
    match channel.adverts:
        case Adverts.PREROLL:
            return "  [adverts first]"
        case Adverts.ALWAYS:
            return "  [adverts only]"
        case Adverts.NONE:
            return ""


if __name__ == "__main__":
    app()
