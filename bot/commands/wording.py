"""Every sentence the bot says; pure.

What is said in chats stands in ``bot/languages/*.ftl``, in every language alike; here is decided which of it is said.
What the command line says stands here, in English.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.commands.answer import Status
from bot.commands.request import DEFAULT_LANGUAGE
from bot.languages.sentences import harmless, sentence
from core.errors import ReferenceFault
from core.games import NOT_A_GAME, UNKNOWN
from core.storage.records import FlagState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from bot.commands.answer import Answer
    from bot.models.promotion import ModelsReport, PairFigures
    from core.games import Game
    from core.recognition.aggregate import AnswerRule
    from core.recognition.verdict import GenreLikeness, Verdict
    from core.storage.records import (
        DataSetSummary,
        FlagRecord,
        Forgotten,
        Migration,
        Sighting,
        SyncReport,
    )

STOP_HINT = "Ctrl-C ends it."
INTERRUPTING = "Interrupting. Please wait."
NOT_A_TIME = "{text} is not a time of day; write it as in 06:30."
NO_CREDENTIALS = (
    "Collecting asks Twitch's directory: set [twitch] client_id, and GAMESPOTTER_TWITCH__CLIENT_SECRET in the "
    "environment."
)

LINE_CHARACTERS = 450
"""Twitch takes 500; the name of the one who is answered, and what other clients add, need the rest."""

_QUOTED_CHARACTERS = 60
_OLD_S = 5.0
"""An answer from memory that is older says so."""

_LISTED_GAMES = 40
_NAMED_GENRES = 4
_SEPARATOR = " · "

_REFERENCE_FAULTS = {
    ReferenceFault.EMPTY: "channel-empty",
    ReferenceFault.TOO_SHORT: "channel-too-short",
    ReferenceFault.TOO_LONG: "channel-too-long",
    ReferenceFault.OTHER_SITE: "channel-other-site",
    ReferenceFault.NOT_A_CHANNEL: "channel-none",
    ReferenceFault.BAD_CHARACTER: "channel-bad-character",
}

_PROBLEMS = {
    Status.OFFLINE: "offline",
    Status.NOT_FOUND: "not-found",
    Status.ADVERTS: "adverts",
    Status.BLACK: "black",
    Status.RESTRICTED: "restricted",
    Status.LEFT_ALONE: "left-alone",
    Status.UNREACHABLE: "unreachable",
    Status.TOO_SLOW: "too-slow",
    Status.BUSY: "busy-somehow",
    Status.BAD_INPUT: "bad-input",
    Status.FAILED: "failed",
}

_ARGUMENTS = {
    "game": ("argument-channel",),
    "flag": ("argument-channel", "argument-game"),
    "unflag": ("argument-flag",),
    "flags": ("argument-maybe-channel",),
    "games": ("argument-filter",),
    "timeline": ("argument-channel",),
    "watch": ("argument-switch", "argument-maybe-channel"),
    "model": (),
    "optout": (),
    "help": (),
}
"""What is written behind each command, by its original name, in the order of the help."""

_FIRST_COMMANDS = ("game", "model", "optout", "help")

_STATES = {
    FlagState.OPEN: "state-open",
    FlagState.ACCEPTED: "state-accepted",
    FlagState.WITHDRAWN: "state-withdrawn",
}


def answer_text(
    answer: Answer,
    *,
    verbose: bool,
    language: str = DEFAULT_LANGUAGE,
    now: datetime | None = None,
    wait_s: float | None = None,
) -> str:
    """What came of asking about a channel: one line, or with ``verbose`` one for each frame before it.

    Args:
        answer: what came of it.
        verbose: say what every frame looks like.
        language: of the asker.
        now: to say how long ago an offline channel was looked at; None leaves that out.
        wait_s: when trying again may help, where all hands are busy; None when nobody can tell.
    """
    if answer.verdict is not None:
        return "\n".join(
            [
                *(_frame_lines(answer.verdict, language) if verbose else []),
                _seen_against_declared(answer, answer.verdict, language),
            ]
        )
    if answer.status is Status.OFFLINE:
        return _offline(answer, language, now)
    if answer.status is Status.BUSY and wait_s is not None:
        return _say("busy", language, channel=answer.channel, duration=duration(wait_s, language=language))
    values = {} if answer.status is Status.FAILED else {"channel": _short(answer.channel)}
    return _say(_PROBLEMS[answer.status], language, **values)


def seen(verdict: Verdict, *, language: str = DEFAULT_LANGUAGE) -> str:
    """What the stream shows."""
    frames = len(verdict.frames)
    if verdict.game == UNKNOWN and verdict.genres:
        names = [genre_name(genre, language=language) for genre in verdict.genres[:_NAMED_GENRES]]
        return _say("seen-unknown-like", language, genres=", ".join(names))
    if verdict.game == UNKNOWN:
        return _say("seen-unknown", language, game=game_name(verdict.best.game, language=language), frames=frames)
    return _say(
        "seen",
        language,
        game=game_name(verdict.game, language=language),
        sure=percent(verdict.confidence),
        agreeing=verdict.votes,
        frames=frames,
    )


def game_name(game: Game, *, language: str = DEFAULT_LANGUAGE) -> str:
    """What a game is called; the two answers that are none have a name in every language."""
    if game == UNKNOWN:
        return _say("unknown-game", language)
    return _say("not-a-game", language) if game == NOT_A_GAME else harmless(game.name)


def genre_name(genre: GenreLikeness, *, language: str = DEFAULT_LANGUAGE) -> str:
    """What a kind of game is called; the model's own word where the language has none."""
    try:
        return _say(f"genre-{genre.id.replace('_', '-')}", language)
    except KeyError:
        return harmless(genre.name)


def percent(confidence: float) -> str:
    """A confidence for a person."""
    # No stream is ever certain: 99.6 must not become a hundred.
    return f"{min(99, round(confidence * 100))} %"


def duration(seconds: float, *, language: str = DEFAULT_LANGUAGE) -> str:
    """So much time, rounded to one unit; never less than a second."""
    for unit_s, name, most in ((1, "seconds", 90), (60, "minutes", 90), (3600, "hours", 48)):
        number = max(1, round(seconds / unit_s))
        if number < most:
            return _say(name, language, number=number)
    return _say("days", language, number=round(seconds / 86400))


def ago(seconds: float, *, language: str = DEFAULT_LANGUAGE) -> str:
    """So long before now."""
    if seconds < 1:
        return _say("just-now", language)
    return _say("ago", language, duration=duration(seconds, language=language))


def single_line(text: str, *, limit: int = LINE_CHARACTERS) -> str:
    """The same in one line of a chat that has no others, cut where it would be too long.

    Args:
        text: one or more lines.
        limit: no more characters than so many.
    """
    lines = [harmless(" ".join(line.split())) for line in text.splitlines()]
    line = _SEPARATOR.join(line for line in lines if line)
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def label(key: str, *, language: str = DEFAULT_LANGUAGE) -> str:
    """A word of a platform's surface, such as a button's: the message ``label-<key>``.

    Raises:
        KeyError: there is no such word.
    """
    return _say(f"label-{key}", language)


def bad_reference(
    fault: ReferenceFault, text: str, *, prefix: str, word: str = "game", language: str = DEFAULT_LANGUAGE
) -> str:
    """Why a text names no channel. What was typed is quoted shortened, and harmless to a terminal."""
    if fault is ReferenceFault.EMPTY:
        return _say(_REFERENCE_FAULTS[fault], language, prefix=prefix, word=word)
    return _say(_REFERENCE_FAULTS[fault], language, text=_short(text))


def help_text(
    *,
    prefix: str,
    words: Mapping[str, str] | None = None,
    brief: bool = False,
    language: str = DEFAULT_LANGUAGE,
) -> str:
    """What can be asked.

    Args:
        prefix: what a command begins with.
        words: what the commands are called here, by their original names; only those that are on.
        brief: in one line, without what they are for.
        language: of the asker.
    """
    words = words if words is not None else {name: name for name in _FIRST_COMMANDS}
    usages = [
        (name, usage(name, prefix=prefix, word=words[name], language=language)) for name in _ARGUMENTS if name in words
    ]
    if brief:
        return _say("help-head", language, usages=", ".join(text for _, text in usages))
    entries = [(text, _say(f"about-{name}", language)) for name, text in usages]
    if "game" in words:
        verbose = usage("game", prefix=prefix, word=f"{words['game']} -v", language=language)
        entries.insert(1, (verbose, _say("about-verbose", language)))
    width = max((len(text) for text, _ in entries), default=0)
    return "\n".join(f"{text:<{width}}  {about}" for text, about in entries)


def usage(name: str, *, prefix: str, word: str | None = None, language: str = DEFAULT_LANGUAGE) -> str:
    """How a command is written: ``!flag <channel> <right game>``.

    Args:
        name: its original one.
        prefix: what it begins with.
        word: what it is called here, where that differs.
        language: of the asker.
    """
    arguments = [_say(argument, language) for argument in _ARGUMENTS[name]]
    return " ".join([f"{prefix}{word or name}", *arguments])


def written_like(name: str, *, prefix: str, word: str | None = None, language: str = DEFAULT_LANGUAGE) -> str:
    """What to say when something is missing from a command."""
    return _say("usage", language, usage=usage(name, prefix=prefix, word=word, language=language))


def unrecognised(text: str, *, prefix: str, word: str = "help", language: str = DEFAULT_LANGUAGE) -> str:
    """What to say to a command that there is none of."""
    return _say("unrecognised", language, text=_short(prefix + text), prefix=prefix, word=word)


def restarting(*, language: str = DEFAULT_LANGUAGE) -> str:
    """What to say while the bot is about to end."""
    return _say("restarting", language)


def something_went_wrong(*, language: str = DEFAULT_LANGUAGE) -> str:
    """What to say when it is our fault; what it was stands in the log alone."""
    return _say("failed", language)


def model_text(rule: AnswerRule, *, since: datetime | None = None, language: str = DEFAULT_LANGUAGE) -> str:
    """Which model answers, and since when (UTC), where that is known."""
    if since is None:
        return _say("model", language, model=rule.model, games=len(rule.labels))
    return _say("model-since", language, model=rule.model, games=len(rule.labels), since=_moment(since))


def model_taken_over(version: str, *, before: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A model answers in the place of another."""
    return _say("notice-model-taken", language, model=version, before=before)


def model_refused(version: str, *, answering: str, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A model was to answer and must not; ``why`` is a sentence."""
    return _say("notice-model-refused", language, model=version, answering=answering, why=why)


def model_tried(pair: PairFigures, *, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """How a challenger does; ``why`` is a sentence."""
    return _say(
        "model-tried",
        language,
        model=pair.challenger.version,
        agreed=pair.agreed,
        looks=pair.looks,
        time=f"{pair.challenger.frame_ms:.1f}",
        before=f"{pair.champion.frame_ms:.1f}",
        why=why,
    )


def model_is_refused(version: str, *, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A version that the registry names must not answer; ``why`` is a sentence."""
    return _say("model-is-refused", language, model=version, why=why)


def model_promoted(version: str, *, before: str, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A challenger takes the champion's place; ``why`` is a sentence."""
    return _say("notice-model-promoted", language, model=version, before=before, why=why)


def model_dropped(version: str, *, answering: str, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A challenger is given up; ``why`` is a sentence."""
    return _say("notice-model-dropped", language, model=version, answering=answering, why=why)


def model_rolled_back(version: str, *, answering: str, why: str, language: str = DEFAULT_LANGUAGE) -> str:
    """What was promoted is taken back; ``why`` is a sentence."""
    return _say("notice-model-rolled-back", language, model=version, answering=answering, why=why)


def games_list(
    games: Sequence[Game], *, wanted: str = "", count: int | None = None, language: str = DEFAULT_LANGUAGE
) -> str:
    """Which games are known.

    Args:
        games: best first; no more than some dozens of them are named.
        wanted: what was typed to choose among them.
        count: how many there are, where ``games`` has not all of them.
        language: of the asker.
    """
    count = max(len(games), count or 0)
    if not games:
        return _say("games-none", language, text=_short(wanted))
    names = ", ".join(game_name(game, language=language) for game in games[:_LISTED_GAMES])
    more = count - min(len(games), _LISTED_GAMES)
    if more:
        names += " " + _say("games-more", language, count=more)
    return _say("games-known", language, count=count, names=names)


def timeline_text(channel: str, sightings: Sequence[Sighting], *, language: str = DEFAULT_LANGUAGE) -> str:
    """Which games were seen on a channel tonight, a line each, oldest first."""
    if not sightings:
        return _say("timeline-none", language, channel=channel)
    lines = [_say("timeline-head", language, channel=channel)]
    for sighting in sightings:
        first, last = _clock(sighting.first_at), _clock(sighting.last_at)
        game = game_name(sighting.game, language=language)
        if first == last:
            lines.append(_say("timeline-moment", language, first=first, game=game))
        else:
            lines.append(_say("timeline-span", language, first=first, last=last, game=game))
    return "\n".join(lines)


def flag_accepted(number: int, *, channel: str, game: Game, language: str = DEFAULT_LANGUAGE) -> str:
    """A flag is stored, and the next training uses it."""
    return _say("flag-accepted", language, **_flag(number, channel, game, language))


def flag_waits(number: int, *, channel: str, game: Game, missing: int, language: str = DEFAULT_LANGUAGE) -> str:
    """A flag is stored, and ``missing`` more moderators have to say the same."""
    return _say("flag-waits", language, **_flag(number, channel, game, language), missing=missing)


def flag_disputed(number: int, *, channel: str, game: Game, language: str = DEFAULT_LANGUAGE) -> str:
    """A flag is stored, and another moderator says otherwise."""
    return _say("flag-disputed", language, **_flag(number, channel, game, language))


def flag_changed(number: int, *, game: Game, before: Game, language: str = DEFAULT_LANGUAGE) -> str:
    """The same moderator had named another game before."""
    names = {"game": game_name(game, language=language), "before": game_name(before, language=language)}
    return _say("flag-changed", language, number=str(number), **names)


def flag_withdrawn(number: int, *, channel: str, game: Game, language: str = DEFAULT_LANGUAGE) -> str:
    """A flag counts no more."""
    return _say("flag-withdrawn", language, **_flag(number, channel, game, language))


def flag_not_found(typed: str, *, language: str = DEFAULT_LANGUAGE) -> str:
    """There is no flag of that number that could be withdrawn; ``typed`` need not be a number."""
    return _say("flag-not-found", language, text=_short(typed))


def flag_of_another(number: int, *, language: str = DEFAULT_LANGUAGE) -> str:
    """Who may withdraw a flag."""
    return _say("flag-of-another", language, number=str(number))


def nothing_to_flag(channel: str, *, prefix: str, word: str = "game", language: str = DEFAULT_LANGUAGE) -> str:
    """A flag needs a look that it is about."""
    return _say("flag-nothing", language, channel=_short(channel), prefix=prefix, word=word)


def look_is_gone(*, language: str = DEFAULT_LANGUAGE) -> str:
    """What a button was about is no longer kept."""
    return _say("flag-gone", language)


def which_game(*, prefix: str, word: str = "flag", language: str = DEFAULT_LANGUAGE) -> str:
    """A flag names no game."""
    return _say("flag-which-game", language, usage=usage("flag", prefix=prefix, word=word, language=language))


def only_moderators_flag(*, language: str = DEFAULT_LANGUAGE) -> str:
    """Who may flag, withdraw and list flags."""
    return _say("flag-only-moderators", language)


def did_you_mean(typed: str, games: Sequence[Game], *, language: str = DEFAULT_LANGUAGE) -> str:
    """Which of some games was meant."""
    names = [game_name(game, language=language) for game in games]
    listed = names[-1]
    if len(names) > 1:
        listed = _say("or", language, names=", ".join(names[:-1]), last=names[-1])
    return _say("did-you-mean", language, text=_short(typed), games=listed)


def game_not_known(typed: str, *, prefix: str, word: str = "games", language: str = DEFAULT_LANGUAGE) -> str:
    """No game is called anything like it."""
    return _say("game-not-known", language, text=_short(typed), prefix=prefix, word=word)


def flags_list(flags: Sequence[FlagRecord], *, channel: str | None = None, language: str = DEFAULT_LANGUAGE) -> str:
    """Which flags there are, a line each.

    Args:
        flags: in the order in which they are said.
        channel: whose flags were asked for; None for those of all.
        language: of the asker.
    """
    if not flags:
        if channel is None:
            return _say("flags-none", language)
        return _say("flags-none-of", language, channel=channel)
    return "\n".join(
        [_say("flags-head", language, count=len(flags)), *(flag_line(flag, language=language) for flag in flags)]
    )


def flag_line(flag: FlagRecord, *, language: str = DEFAULT_LANGUAGE) -> str:
    """One flag."""
    values = _flag(flag.id, flag.channel, flag.game, language)
    values |= {"state": _say(_STATES[flag.state], language), "by": flag.by.name, "on": flag.at.strftime("%Y-%m-%d")}
    if flag.recognised == flag.game:
        return _say("flag-line-right", language, **values)
    before = game_name(flag.recognised or UNKNOWN, language=language)
    return _say("flag-line", language, **values, before=before)


def notice_learnt(number: int, *, channel: str, game: Game, model: str, language: str = DEFAULT_LANGUAGE) -> str:
    """What the moderator of a flag is told when a model was trained with it."""
    return _say("notice-learnt", language, **_flag(number, channel, game, language), model=model)


def watch_on(channel: str, *, every_s: float, language: str = DEFAULT_LANGUAGE) -> str:
    """A channel is watched from now on."""
    return _say("watch-on", language, channel=channel, duration=duration(every_s, language=language))


def watch_on_already(channel: str, *, language: str = DEFAULT_LANGUAGE) -> str:
    """A channel was watched here before."""
    return _say("watch-on-already", language, channel=channel)


def watch_off(channel: str, *, language: str = DEFAULT_LANGUAGE) -> str:
    """A channel is watched no longer."""
    return _say("watch-off", language, channel=channel)


def watch_off_already(channel: str, *, language: str = DEFAULT_LANGUAGE) -> str:
    """A channel was not watched here."""
    return _say("watch-off-already", language, channel=channel)


def watch_list(channels: Collection[str], *, language: str = DEFAULT_LANGUAGE) -> str:
    """What is watched here."""
    if not channels:
        return _say("watch-list-none", language)
    return _say("watch-list", language, channels=", ".join(sorted(channels)))


def watch_full(count: int, *, language: str = DEFAULT_LANGUAGE) -> str:
    """A place watches as many channels as it may."""
    return _say("watch-full", language, count=count)


def watch_nowhere(*, language: str = DEFAULT_LANGUAGE) -> str:
    """Where a watch can be asked for."""
    return _say("watch-nowhere", language)


def only_moderators_watch(*, language: str = DEFAULT_LANGUAGE) -> str:
    """Who may have a channel watched."""
    return _say("watch-only-moderators", language)


def mismatch(
    channel: str, *, declared: str | None, shown: Game, since: datetime, language: str = DEFAULT_LANGUAGE
) -> str:
    """A watched channel shows another game than it declares.

    Args:
        channel: which.
        declared: name of the category; None when it declares nothing.
        shown: what is seen.
        since: the first look that differed, UTC.
        language: of the place.
    """
    values = {"channel": channel, "game": game_name(shown, language=language), "since": _clock(since)}
    if declared is None:
        return _say("mismatch-nothing", language, **values)
    return _say("mismatch", language, **values, category=declared)


def cooldown(wait_s: float, *, language: str = DEFAULT_LANGUAGE) -> str:
    """Somebody asks too often; told once."""
    return _say("cooldown", language, duration=duration(wait_s, language=language))


def command_off(word: str, *, prefix: str, language: str = DEFAULT_LANGUAGE) -> str:
    """A command is switched off where it was asked."""
    return _say("command-off", language, prefix=prefix, word=_short(word))


def only_the_operator(*, language: str = DEFAULT_LANGUAGE) -> str:
    """Something is for whoever runs the bot."""
    return _say("only-operator", language)


def opted_out(channel: str, *, frames: int, language: str = DEFAULT_LANGUAGE) -> str:
    """What to say when a channel is left alone from now on."""
    return _say("opted-out", language, channel=channel, frames=frames)


def only_the_broadcaster(
    channel: str | None, *, prefix: str, word: str = "optout", language: str = DEFAULT_LANGUAGE
) -> str:
    """Who may have a channel left alone."""
    if channel is None:
        return _say("opt-out-whose", language, prefix=prefix, word=word)
    return _say("opt-out-only", language, channel=channel)


def nothing_is_kept(*, language: str = DEFAULT_LANGUAGE) -> str:
    """What to say where there is no storage."""
    return _say("nothing-kept", language)


def rejected_tile(reason: str, *, count: int = 1, language: str = DEFAULT_LANGUAGE) -> str:
    """Why a picture of the evidence did not count.

    Args:
        reason: :attr:`bot.commands.answer.EvidenceTile.rejected`.
        count: of adverts in a row.
        language: of the asker.
    """
    if reason == "advert" and count > 1:
        return _say("tile-adverts", language, count=count)
    return _say(f"tile-{reason}", language)


def _say(name: str, language: str, **values: str | int) -> str:
    return sentence(name, language=language, values=values)


def _flag(number: int, channel: str, game: Game, language: str) -> dict[str, str]:
    # A text, because Fluent would write 1,234: it is a name to be typed, not an amount.
    return {"number": str(number), "channel": channel, "game": game_name(game, language=language)}


def _seen_against_declared(answer: Answer, verdict: Verdict, language: str) -> str:
    parts = [seen(verdict, language=language)]
    if answer.declared is not None:
        parts.append(_say("declared", language, category=answer.declared.name))
    if answer.age_s >= _OLD_S:
        parts.append(ago(answer.age_s, language=language))
    return _SEPARATOR.join(parts)


def _offline(answer: Answer, language: str, now: datetime | None) -> str:
    facts = []
    if answer.last_seen is not None:
        game = game_name(answer.last_seen.game, language=language)
        if now is None:
            facts.append(_say("last-seen", language, game=game))
        else:
            elapsed_s = (now - answer.last_seen.at).total_seconds()
            facts.append(_say("last-seen-ago", language, game=game, ago=ago(elapsed_s, language=language)))
    if answer.declared is not None:
        facts.append(_say("last-declared", language, category=answer.declared.name))
    if facts:
        return _say("offline-knowing", language, channel=answer.channel, facts="; ".join(facts))
    return _say("offline", language, channel=answer.channel)


def _frame_lines(verdict: Verdict, language: str) -> list[str]:
    lines = [
        _say(
            "frame-line",
            language,
            number=number,
            game=game_name(frame.game, language=language),
            confidence=f"{frame.confidence * 100:.2f}",
        )
        for number, frame in enumerate(verdict.frames, start=1)
    ]
    best = game_name(verdict.best.game, language=language)
    return [*lines, _say("score-line", language, game=best, score=f"{verdict.score:.1f}")]


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M")


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _short(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARACTERS else text[: _QUOTED_CHARACTERS - 1] + "…"


# The command line, whose language is English.


def what_is_on(
    *,
    discord: str | None,
    twitch: str | None,
    collects: bool,
    has_credentials: bool,
    cron: str,
    time_zone: str,
    http: str | None = None,
    has_http_token: bool = False,
) -> list[str]:
    """What a bot that stays does, and what is missing for the rest.

    Args:
        discord: what is missing for the chat on Discord; None when it is on, empty when it is not wanted.
        twitch: the same of Twitch.
        collects: whether the nightly collection is wanted.
        has_credentials: whether Twitch's directory can be asked.
        cron: when it collects.
        time_zone: in which that is meant.
        http: host and port; None when it is not wanted.
        has_http_token: whether anybody may ask there.
    """
    if not collects:
        collection = "off: [collection] enabled is false"
    elif not has_credentials:
        collection = f"off: it needs Twitch's credentials. {_SET_CREDENTIALS}"
    else:
        collection = f"on, at {cron} ({time_zone})"
    return [
        f"Discord: {_on_or_off(discord, section='discord')}.",
        f"Twitch chat: {_on_or_off(twitch, section='twitch')}.",
        f"Nightly collection: {collection}.",
        "Retention and room for frames: looked after every hour.",
        f"HTTP: {_http(http, has_token=has_http_token)}.",
        STOP_HINT,
    ]


def _http(where: str | None, *, has_token: bool) -> str:
    if where is None:
        return "off: [web] enabled is false"
    if has_token:
        return f"on, at {where}"
    return (
        f"on, at {where}, for /healthz and /metrics alone: set GAMESPOTTER_WEB__TOKEN in the environment for the rest"
    )


_SET_CREDENTIALS = "Set [twitch] client_id, and GAMESPOTTER_TWITCH__CLIENT_SECRET in the environment"


def missing_for_discord(*, has_token: bool) -> str | None:
    """What a chat on Discord lacks."""
    return None if has_token else "it needs the bot's token. Set GAMESPOTTER_DISCORD__TOKEN in the environment"


def missing_for_twitch(*, has_credentials: bool, has_key: bool) -> str | None:
    """What a chat on Twitch lacks."""
    if not has_credentials:
        return f"it needs Twitch's credentials. {_SET_CREDENTIALS}"
    if not has_key:
        return (
            "it needs a key to keep tokens with. `python -m bot authorise --new-key` makes one; set it as "
            "GAMESPOTTER_TWITCH__TOKEN_KEY in the environment"
        )
    return None


def _on_or_off(missing: str | None, *, section: str) -> str:
    if missing is None:
        return "on"
    return f"off: {missing}" if missing else f"off: [{section}] chat is false"


NO_REGISTRY = "There is no registry: name its folder in [model] registry."
NO_MODELS = (
    "There are no models in the registry. `python -m training publish` and `python -m bot models add` bring some."
)


def models_judged(report: ModelsReport) -> list[str]:
    """What the rules say of the models, a line each."""
    lines = []
    if report.current is not None:
        if report.alarm is not None:
            taken_back = "" if report.is_on_probation else " It is not taken back: a person chose it, or long ago."
            lines.append(f"{report.current.version} alarms. {report.alarm}{taken_back}")
        elif report.is_on_probation:
            lines.append(f"{report.current.version} is on probation.")
    if report.judgement is not None and report.challenger is not None:
        lines.append(f"{report.challenger.version}: {report.judgement.outcome.value}. {report.judgement.why}")
    return lines


def model_is_current(version: str) -> str:
    """A version was made current in the registry."""
    return f"Model {version} is current. Bots that run take it over within seconds, if it is fit; they say so if not."


def model_challenges(version: str) -> str:
    """A version is tried from now on."""
    return f"Model {version} is tried. `python -m bot models report` tells how it does."


def model_is_dropped(version: str) -> str:
    """A version is tried no longer."""
    return f"Model {version} is tried no longer."


def model_added(version: str) -> str:
    """A model was brought into the registry."""
    return f"Model {version} is in the registry. `python -m bot models use {version}` makes it current, `try` tries it."


def bots_look_later(why: str, *, poll_s: float) -> str:
    """Bots could not be told that the registry changed; ``why`` is a sentence."""
    return f"Bots could not be told at once, and find out within {poll_s:g} s. {why}"


def data_set(summary: DataSetSummary) -> list[str]:
    """What there is, in a few lines."""
    if not summary.frames:
        return ["There are no frames yet. `python -m bot crawl` collects some."]
    games = sum(1 for game in summary.games if game.frames)
    imported = f", {summary.imported_frames:,} imported" if summary.imported_frames else ""
    lines = [
        (
            f"{size(summary.size_bytes)}, {_count(summary.frames, 'frame')} of {_count(games, 'game')}, "
            f"{_count(summary.streams, 'stream')}, {_count(summary.broadcasters, 'broadcaster')} "
            f"({summary.nightly_frames:,} collected at night, {summary.asked_frames:,} asked for{imported})."
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


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def size(size_bytes: int) -> str:
    """So many bytes, rounded for a person."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return _count(size_bytes, "byte")
