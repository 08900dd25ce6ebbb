"""Every sentence the bot says; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.commands.answer import Status
from core.errors import ReferenceFault
from core.games import UNKNOWN

if TYPE_CHECKING:
    from bot.commands.answer import Answer
    from core.recognition.aggregate import AnswerRule
    from core.recognition.verdict import Verdict
    from core.storage.records import DataSetSummary, Forgotten, Migration, SyncReport

STOP_HINT = "Ctrl-C ends it."
INTERRUPTING = "Interrupting. Please wait."
NOT_A_TIME = "{text} is not a time of day; write it as in 06:30."
NO_CREDENTIALS = (
    "Collecting asks Twitch's directory: set [twitch] client_id, and GAMESPOTTER_TWITCH__CLIENT_SECRET in the "
    "environment."
)

SOMETHING_WENT_WRONG = "Something went wrong on my side. It has been logged; please try again."

_QUOTED_CHARACTERS = 60

_REFERENCE_FAULTS = {
    ReferenceFault.EMPTY: "Name a channel, for example: {prefix}game some_channel",
    ReferenceFault.TOO_SHORT: "{text} is too short for a channel: a name has 2 to 25 characters.",
    ReferenceFault.TOO_LONG: "{text} is too long for a channel: a name has 2 to 25 characters.",
    ReferenceFault.OTHER_SITE: "{text} is not on the site that I look at; give a channel's name.",
    ReferenceFault.NOT_A_CHANNEL: "{text} is not a channel. Give its name or address, like twitch.tv/some_channel.",
    ReferenceFault.BAD_CHARACTER: "{text} is not a channel name: only the letters a to z, digits and _ occur in one.",
}

_PROBLEMS = {
    Status.OFFLINE: "{channel} is offline.",
    Status.NOT_FOUND: "There is no channel called {channel}.",
    Status.ADVERTS: "{channel} shows nothing but adverts just now; ask again in half a minute.",
    Status.BLACK: "{channel} shows a black picture just now.",
    Status.RESTRICTED: "{channel} is not open to everyone (subscribers only, or closed in this region).",
    Status.LEFT_ALONE: "{channel} asked me not to look.",
    Status.UNREACHABLE: "I could not reach the stream of {channel}; ask again in a moment.",
    Status.TOO_SLOW: "The stream of {channel} came too slowly to see anything; ask again in a moment.",
    Status.FAILED: SOMETHING_WENT_WRONG,
}


def answer_text(answer: Answer, *, verbose: bool) -> str:
    """What came of asking about a channel: one line, or with ``verbose`` one for each frame before it."""
    if answer.verdict is None:
        return _PROBLEMS[answer.status].format(channel=answer.channel)
    return "\n".join([*(_frame_lines(answer.verdict) if verbose else []), seen(answer.verdict)])


def seen(verdict: Verdict) -> str:
    """The answer in one line."""
    frames = len(verdict.frames)
    if verdict.game == UNKNOWN:
        return f"Seen: no game that I know (nearest: {verdict.best.game.name}; {_count(frames, 'frame')})"
    agreeing = f"{verdict.votes} of {_count(frames, 'frame')}"
    return f"Seen: {verdict.game.name}, {_percent(verdict.confidence)} sure ({agreeing})"


def _frame_lines(verdict: Verdict) -> list[str]:
    lines = [
        f"Frame {number}: {frame.game.name} with a {frame.confidence * 100:.2f}% confidence."
        for number, frame in enumerate(verdict.frames, start=1)
    ]
    return [*lines, f"{verdict.best.game.name} with a score of {verdict.score:.1f}"]


def bad_reference(fault: ReferenceFault, text: str, *, prefix: str) -> str:
    """Why a text names no channel. What was typed is quoted shortened, and harmless to a terminal."""
    return _REFERENCE_FAULTS[fault].format(text=_quoted(text), prefix=prefix)


def help_text(*, prefix: str) -> str:
    """What can be asked."""
    return "\n".join(
        (
            f"{prefix}game <channel>      which game the channel's live stream really shows",
            f"{prefix}game -v <channel>   the same, frame by frame",
            f"{prefix}model               which model answers",
            f"{prefix}optout              for broadcasters: leave my channel alone, and remove what was kept of it",
            f"{prefix}help                this list",
        )
    )


def model_text(rule: AnswerRule) -> str:
    """Which model answers."""
    return f"Model {rule.model}, which knows {_count(len(rule.labels), 'game')}."


def opted_out(channel: str, *, frames: int) -> str:
    """What to say when a channel is left alone from now on."""
    return f"I leave {channel} alone from now on; {_count(frames, 'frame')} of it removed."


def only_the_broadcaster(channel: str | None, *, prefix: str) -> str:
    """Who may have a channel left alone."""
    if channel is None:
        return f"Say {prefix}optout in Twitch chat with the account of your channel, or ask whoever runs me."
    return f"Only {channel} can say that, in Twitch chat, or whoever runs me."


def nothing_is_kept() -> str:
    """What to say where there is no storage."""
    return "I keep nothing of any channel here."


def what_is_on(*, collects: bool, has_credentials: bool, cron: str, time_zone: str) -> list[str]:
    """What a bot that stays does, and what is missing for the rest."""
    if not collects:
        collection = "off: [collection] enabled is false"
    elif not has_credentials:
        collection = (
            "off: it needs Twitch's credentials. Set [twitch] client_id, and GAMESPOTTER_TWITCH__CLIENT_SECRET in the "
            "environment"
        )
    else:
        collection = f"on, at {cron} ({time_zone})"
    return [f"Nightly collection: {collection}.", "Retention and room for frames: looked after every hour.", STOP_HINT]


def data_set(summary: DataSetSummary) -> list[str]:
    """What there is, in a few lines."""
    if not summary.frames:
        return ["There are no frames yet. `python -m bot crawl` collects some."]
    games = sum(1 for game in summary.games if game.frames)
    lines = [
        (
            f"{size(summary.size_bytes)}, {_count(summary.frames, 'frame')} of {_count(games, 'game')}, "
            f"{_count(summary.streams, 'stream')}, {_count(summary.broadcasters, 'broadcaster')} "
            f"({summary.nightly_frames:,} collected at night, {summary.asked_frames:,} asked for)."
        )
    ]
    smallest, largest = summary.smallest, summary.largest
    if smallest is not None and largest is not None:
        lines.append(
            f"Fewest: {smallest.game.name} ({_count(smallest.frames, 'frame')}). "
            f"Most: {largest.game.name} ({_count(largest.frames, 'frame')})."
        )
    return lines


def synced(report: SyncReport, *, dry_run: bool) -> str:
    """What bringing rows and files together deleted."""
    deleted = "Would delete" if dry_run else "Deleted"
    lines = [
        f"{deleted} {report.games} game(s) and {report.frames} frame(s) whose files are gone.",
        f"{deleted} {_count(report.files, 'file')} that no row names ({size(report.size_bytes)}).",
    ]
    if report.unfinished:
        lines.append(f"{deleted} {_count(report.unfinished, 'unfinished file')}.")
    return "\n".join(lines)


def forgotten(channel: str, gone: Forgotten) -> str:
    """What a broadcaster's opting out deleted."""
    if not gone.known:
        return f"Nothing was kept of {channel}. It is never sampled from now on."
    return (
        f"Forgot {channel}: {_count(gone.captures, 'capture')}, {_count(gone.frames, 'frame')}, "
        f"{_count(gone.files, 'file')} ({size(gone.size_bytes)}). It is never sampled from now on."
    )


def migrated(migration: Migration) -> str:
    """What became of the database's tables."""
    if migration.before == migration.after:
        return f"The database is up to date (revision {migration.after})."
    if migration.before is None:
        return f"The database has its tables now (revision {migration.after})."
    return f"The database was brought from revision {migration.before} to {migration.after}."


def unrecognised(word: str, *, prefix: str) -> str:
    """What to say to a command that there is none of."""
    return f"I do not know {_quoted(prefix + word)}; {prefix}help lists what I do."


def _percent(confidence: float) -> str:
    # No stream is ever certain: 99.6 must not become a hundred.
    return f"{min(99, round(confidence * 100))} %"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def size(size_bytes: int) -> str:
    """So many bytes, rounded for a person."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return _count(size_bytes, "byte")


def _quoted(text: str) -> str:
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    short = printable if len(printable) <= _QUOTED_CHARACTERS else printable[: _QUOTED_CHARACTERS - 1] + "…"
    return f"“{short}”"
