"""The one door: a Request of whatever platform in, a Reply out."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from bot.commands import wording
from bot.commands.answer import Answer, LastSeen, Status
from bot.commands.limits import Busy, SharedLooks, Wait
from bot.commands.request import (
    Flag,
    FlagLook,
    Help,
    Identify,
    ListFlags,
    ListGames,
    OptOut,
    Outcome,
    Reply,
    ShowModel,
    Timeline,
    Unrecognised,
    Watch,
    Withdraw,
)
from bot.commands.watching import audit_entry
from core.errors import (
    AdvertsOnly,
    BadReference,
    ChannelNotFound,
    GameSpotterError,
    StorageError,
    StreamBlack,
    StreamOffline,
    StreamProblem,
    StreamRestricted,
    StreamTooSlow,
    StreamUnreachable,
)
from core.games import NOT_A_GAME, UNKNOWN
from core.streams.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bot.commands.answer import EvidenceTile
    from bot.commands.flagging import Flagging
    from bot.commands.limits import Permission
    from bot.commands.naming import GameNames
    from bot.commands.parser import CommandWords
    from bot.commands.request import Asker, Command, Place, Request
    from bot.commands.watching import Watching
    from bot.models.following import Refusal
    from bot.models.promotion import ModelsReport
    from core.collection.directory import Category
    from core.frames import Frame
    from core.recognition.aggregate import AnswerRule
    from core.recognition.recognizer import Measured
    from core.recognition.verdict import Verdict
    from core.storage.records import AuditEntry, Seen
    from core.streams.reference import StreamRef
    from core.streams.sampler import Sample

log = logging.getLogger(__name__)

_NAMES: Mapping[type[Command], str] = MappingProxyType(
    {
        Identify: "game",
        Flag: "flag",
        FlagLook: "flag",
        Withdraw: "unflag",
        ListFlags: "flags",
        ListGames: "games",
        Timeline: "timeline",
        Watch: "watch",
        ShowModel: "model",
        OptOut: "optout",
        Help: "help",
    }
)
"""What each command is called in the settings."""


def command_name(command: Command) -> str:
    """What a command is called in the settings, and in figures and logs."""
    return _NAMES.get(type(command), "unrecognised")


_STATUS_OF_PROBLEM: dict[type[StreamProblem], Status] = {
    StreamOffline: Status.OFFLINE,
    StreamBlack: Status.BLACK,
    ChannelNotFound: Status.NOT_FOUND,
    AdvertsOnly: Status.ADVERTS,
    StreamRestricted: Status.RESTRICTED,
    StreamUnreachable: Status.UNREACHABLE,
    StreamTooSlow: Status.TOO_SLOW,
}

_PRIVATE = frozenset({Status.BAD_INPUT, Status.BUSY, Status.FAILED})
"""What nobody but the asker needs to read."""

_COMPLETIONS = 25
"""As many as Discord shows."""

_REMEMBERED_CHANNELS = 1000


class SamplesStreams(Protocol):
    """What the service needs of :class:`core.streams.sampler.StreamSampler`."""

    async def sample(self, ref: StreamRef) -> Sample:
        """Frames of the live stream; raises a StreamProblem where there is none to be had."""
        ...


class RecognizesFrames(Protocol):
    """What the service needs of :class:`core.recognition.recognizer.Recognizer`."""

    @property
    def rule(self) -> AnswerRule:
        """Of the model that answers."""
        ...

    async def measured(self, frames: Sequence[Frame]) -> Measured:
        """What the frames of one stream show, and how long the network ran."""
        ...


class KnowsModels(Protocol):
    """What there is to say of models, beside who answers."""

    @property
    def since(self) -> datetime:
        """Since when the model answers, UTC."""
        ...

    @property
    def last_refusal(self) -> Refusal | None:
        """The version that was to answer or to be tried, and must not; None when all is well."""
        ...

    async def report(self) -> ModelsReport | None:
        """How they do; None where that is not measured.

        Raises:
            GameSpotterError: it cannot be said.
        """
        ...


class MeasuresModels(Protocol):
    """What the service needs of :class:`bot.models.canary.Canary`."""

    def consider(self, look: str, frames: Sequence[Frame], champion: Measured) -> None:
        """Measure a look, perhaps; returns at once."""
        ...


class KnowsDeclared(Protocol):
    """What the service needs of :class:`bot.declared.DeclaredCategories`."""

    async def of(self, login: str) -> Category | None:
        """What the channel declares now, or when offline declared last; None when that is not known."""
        ...


class KnowsSightings(Protocol):
    """What the service needs of :class:`core.storage.sightings.SightingStore`."""

    async def last_seen(self, login: str) -> Seen | None:
        """What a channel showed when it was last looked at."""
        ...


class WritesAudit(Protocol):
    """What the service needs of :class:`core.storage.audit.AuditStore`."""

    async def write(self, entry: AuditEntry) -> None:
        """Write down what was done."""
        ...


class LimitsAsks(Protocol):
    """What the service needs of :class:`bot.commands.limits.Cooldowns`, or of those that several processes share."""

    async def ask(self, asker: Asker, place: Place) -> Permission:
        """Whether this person may ask here now; if so, it is counted."""
        ...


class CountsLooks(Protocol):
    """What the service needs of :class:`bot.operation.figures.Figures`."""

    def looked(self, answer: Answer, sample: Sample) -> None:
        """A look at a stream succeeded."""
        ...

    def look_failed(self, outcome: str) -> None:
        """A look at a stream came to nothing."""
        ...


class KeepsRecords(Protocol):
    """What the service needs of :class:`bot.recording.Recorder`."""

    def keep(self, key: str, sample: Sample, verdict: Verdict, *, declared: Category | None) -> None:
        """Take over what was seen, to be stored behind the answer; returns at once."""
        ...

    async def is_left_alone(self, channel: str) -> bool:
        """Whether the broadcaster asked not to be looked at."""
        ...

    async def leave_alone(self, channel: str, *, by: str) -> int:
        """Never look at a channel again, and remove what was kept of it; returns how many frames that were.

        Raises:
            StorageError: it could not be written down.
        """
        ...


class CommandService:
    """Answers commands, on every platform alike."""

    def __init__(
        self,
        *,
        sampler: SamplesStreams,
        recognizer: RecognizesFrames,
        url_template: str,
        words: CommandWords,
        reuse_s: float,
        recognize_timeout_s: float,
        names: GameNames,
        looks_at_once: int = 8,
        looks_waiting: int = 64,
        cooldowns: LimitsAsks | None = None,
        off: Mapping[str, Sequence[str]] = MappingProxyType({}),
        records: KeepsRecords | None = None,
        declared: KnowsDeclared | None = None,
        sightings: KnowsSightings | None = None,
        flagging: Flagging | None = None,
        watching: Watching | None = None,
        audit: WritesAudit | None = None,
        evidence: Callable[[Sample, Verdict], tuple[EvidenceTile, ...]] | None = None,
        models: KnowsModels | None = None,
        canary: MeasuresModels | None = None,
        figures: CountsLooks | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Build the service.

        Args:
            sampler: takes frames of a stream.
            recognizer: says what they show.
            url_template: of a channel's stream, with ``{channel}`` in it.
            words: how commands are written, for the sentences that show one.
            reuse_s: how long an answer about a channel is given again.
            recognize_timeout_s: how long the network may take.
            names: which games can be named.
            looks_at_once: streams that are looked at in one moment.
            looks_waiting: how many may wait for that.
            cooldowns: how often a person and a place may ask; None lets all ask as they like.
            off: commands that are off, by place (``twitch:<channel>``, ``discord:<server id>``); ``*`` means all.
            records: where what was seen is kept; None keeps nothing.
            declared: what channels declare; None knows nothing of that.
            sightings: what channels showed before; None knows nothing of that.
            flagging: answers the commands about flags; None where nothing is kept.
            watching: answers the commands about watched channels and timelines; None where nothing is kept.
            audit: where it is written down who opted out.
            evidence: makes the pictures that a platform may show; called in a thread. None makes none.
            models: what there is to say of models; None where nobody knows.
            canary: tries another model on what was seen; None tries none.
            figures: where looks are counted; None counts nothing.
            clock: the wall clock, UTC.
        """
        self._sampler = sampler
        self._recognizer = recognizer
        self._url_template = url_template
        self._words = words
        self._recognize_timeout_s = recognize_timeout_s
        self._names = names
        self._cooldowns = cooldowns
        self._off = off
        self._records = records
        self._declared = declared
        self._sightings = sightings
        self._flagging = flagging
        self._watching = watching
        self._audit = audit
        self._evidence = evidence
        self._models = models
        self._canary = canary
        self._figures = figures
        self._clock = clock
        self._looks = SharedLooks(self._look, reuse_s=reuse_s, at_once=looks_at_once, waiting=looks_waiting)
        self._asked: dict[str, None] = {}

    async def aclose(self) -> None:
        """End what is under way."""
        await self._looks.aclose()

    @property
    def looks_waiting(self) -> int:
        """Looks that have not begun."""
        return self._looks.waiting

    def limit(self, cooldowns: LimitsAsks) -> None:
        """Go by these from now on; what they do not know of who asked when is forgotten."""
        self._cooldowns = cooldowns

    def switch_off(self, off: Mapping[str, Sequence[str]]) -> None:
        """Go by these from now on."""
        self._off = off

    async def handle(self, request: Request) -> Reply:
        """Answer one command. Whatever goes wrong, there is a Reply; only cancellation passes through."""
        language = request.asker.language
        if self._is_off(request.command, request.place):
            return Reply(text="", outcome=Outcome.OFF)
        if self._cooldowns is not None:
            allowed = await self._cooldowns.ask(request.asker, request.place)
            if isinstance(allowed, Wait):
                text = wording.cooldown(allowed.seconds, language=language) if allowed.tell else ""
                return Reply(text=text, private=True, outcome=Outcome.COOLDOWN)
        try:
            return await self._answer(request)
        except StorageError as error:
            log.error("%s", error)  # noqa: TRY400 - its message is all that a keeper needs
        except Exception:
            log.exception("answering %s failed", type(request.command).__name__)
        return Reply(text=wording.something_went_wrong(language=language), private=True, outcome=Outcome.FAILED)

    async def look_at(self, channel: str) -> Answer:
        """Look at a channel, or share a look at it, for somebody who is no asker."""
        answer, _ = await self._ask(parse_reference(channel, url_template=self._url_template))
        return answer

    async def complete_games(self, typed: str) -> tuple[str, ...]:
        """Names of games that go on from what was typed, best first, 25 at most."""
        matcher = await self._names.matcher(self._recognizer.rule)
        return tuple(game.name for game in matcher.complete(typed, limit=_COMPLETIONS))

    async def complete_channels(self, typed: str) -> tuple[str, ...]:
        """Channels that were asked about here and go on from what was typed, the latest first, 25 at most."""
        wanted = typed.strip().casefold()
        found = [channel for channel in reversed(self._asked) if channel.startswith(wanted)]
        return tuple(found[:_COMPLETIONS])

    async def _answer(self, request: Request) -> Reply:
        language = request.asker.language
        match request.command:
            case Identify() as identify:
                return await self._identify(identify, request)
            case Help():
                place = request.place
                text = wording.help_text(
                    prefix=self._words.prefix, words=self._on(place), brief=place.is_one_line, language=language
                )
                return Reply(text=text, private=True)
            case ShowModel():
                return Reply(text=await self._about_models(request))
            case ListGames(wanted=wanted):
                return await self._list_games(wanted, language)
            case OptOut(channel=typed):
                return await self._opt_out(typed, request)
            case Unrecognised() if request.place.platform:
                # In a chat it is a command of some other bot.
                return Reply(text="")
            case Unrecognised(word=word):
                text = wording.unrecognised(
                    word, prefix=self._words.prefix, word=self._words.word("help"), language=language
                )
                return Reply(text=text, private=True)
            case Flag() | FlagLook() as flag if self._flagging is not None:
                matcher = await self._names.matcher(self._recognizer.rule)
                return await self._flagging.flag(flag, request, matcher=matcher)
            case Withdraw() as withdraw if self._flagging is not None:
                return await self._flagging.withdraw(withdraw, request)
            case ListFlags() as wanted_flags if self._flagging is not None:
                return await self._flagging.list(wanted_flags, request)
            case Watch() as watch if self._watching is not None:
                return await self._watching.watch(watch, request)
            case Timeline() as timeline if self._watching is not None:
                return await self._watching.timeline(timeline, request)
            case _:
                return Reply(text=wording.nothing_is_kept(language=language), private=True)

    def _is_off(self, command: Command, place: Place) -> bool:
        """Another bot may own the command's name there: then nothing is said, not even that it is off."""
        off = self._off_in(place)
        name = _NAMES.get(type(command))
        return "*" in off or (name in off if name is not None else bool(off))

    def _off_in(self, place: Place) -> frozenset[str]:
        keys = (place.key, f"{place.platform}:{place.channel}")
        return frozenset(command for key in keys for command in self._off.get(key, ()))

    def _on(self, place: Place) -> dict[str, str]:
        """The commands that are on somewhere, with what they are called."""
        off = self._off_in(place)
        return {name: names[0] for name, names in self._words.names.items() if names and name not in off}

    async def _identify(self, identify: Identify, request: Request) -> Reply:
        language = request.asker.language
        typed = identify.channel or request.place.channel or ""
        try:
            ref = parse_reference(typed, url_template=self._url_template)
        except BadReference as error:
            text = wording.bad_reference(
                error.fault, error.text, prefix=self._words.prefix, word=self._words.word("game"), language=language
            )
            return Reply(text=text, answer=Answer(channel=typed, status=Status.BAD_INPUT), private=True)
        answer, wait_s = await self._ask(ref)
        text = wording.answer_text(
            answer, verbose=identify.verbose, language=language, now=self._clock(), wait_s=wait_s
        )
        return Reply(text=text, answer=answer, private=answer.status in _PRIVATE)

    async def _ask(self, ref: StreamRef) -> tuple[Answer, float | None]:
        """Look, or join or remember a look; and when trying again may help, where all hands are busy."""
        wait_s = None
        try:
            if self._records is not None and await self._records.is_left_alone(ref.channel):
                return Answer(channel=ref.channel, status=Status.LEFT_ALONE), None
            answer = await self._looks.ask(ref)
            self._remember(ref.channel)
        except Busy as busy:
            answer = Answer(channel=ref.channel, status=Status.BUSY)
            wait_s = busy.seconds
        except StreamProblem as problem:
            log.info("%s: %s", type(problem).__name__, problem)
            answer = Answer(channel=ref.channel, status=_STATUS_OF_PROBLEM[type(problem)])
        except Exception:
            log.exception("asking about %s failed", ref.channel)
            answer = Answer(channel=ref.channel, status=Status.FAILED)
        if answer.status is Status.OFFLINE:
            answer = await self._with_what_was(answer)
        return answer, wait_s

    def _remember(self, channel: str) -> None:
        self._asked.pop(channel, None)
        self._asked[channel] = None
        while len(self._asked) > _REMEMBERED_CHANNELS:
            del self._asked[next(iter(self._asked))]

    async def _with_what_was(self, answer: Answer) -> Answer:
        """What is known of a channel that is offline."""
        declared = await self._declared.of(answer.channel) if self._declared is not None else None
        seen = None
        if self._sightings is not None:
            try:
                seen = await self._sightings.last_seen(answer.channel)
            except StorageError as error:
                log.error("%s", error)  # noqa: TRY400 - its message is all that a keeper needs
        last_seen = LastSeen(game=seen.game, at=seen.at) if seen is not None else None
        return replace(answer, declared=declared, last_seen=last_seen)

    async def _about_models(self, request: Request) -> str:
        """Which model answers; for whoever runs the bot, also how another one does that is tried."""
        language = request.asker.language
        since = self._models.since if self._models is not None else None
        lines = [wording.model_text(self._recognizer.rule, since=since, language=language)]
        if self._models is not None and request.asker.operates:
            refusal = self._models.last_refusal
            if refusal is not None:
                lines.append(wording.model_is_refused(refusal.term.version, why=refusal.sentence, language=language))
            try:
                report = await self._models.report()
            except GameSpotterError as error:
                log.error("%s", error)  # noqa: TRY400 - a sentence
                report = None
            if report is not None and report.pair is not None and report.judgement is not None:
                lines.append(wording.model_tried(report.pair, why=report.judgement.why, language=language))
        return "\n".join(lines)

    async def _list_games(self, wanted: str, language: str) -> Reply:
        matcher = await self._names.matcher(self._recognizer.rule)
        known = [game for game in matcher.games if game not in (UNKNOWN, NOT_A_GAME)]
        games = [game for game in matcher.complete(wanted, limit=len(known) + 1) if game in known] if wanted else known
        return Reply(text=wording.games_list(games, wanted=wanted, language=language), private=True)

    async def _opt_out(self, typed: str, request: Request) -> Reply:
        asker, language = request.asker, request.asker.language
        try:
            named = parse_reference(typed, url_template=self._url_template).channel if typed else None
        except BadReference as error:
            text = wording.bad_reference(
                error.fault, error.text, prefix=self._words.prefix, word=self._words.word("optout"), language=language
            )
            return Reply(text=text, private=True)
        channel = named or asker.own_channel
        if channel is None or not (asker.operates or channel == asker.own_channel):
            text = wording.only_the_broadcaster(
                channel, prefix=self._words.prefix, word=self._words.word("optout"), language=language
            )
            return Reply(text=text, private=True)
        if self._records is None:
            return Reply(text=wording.nothing_is_kept(language=language), private=True)
        frames = await self._records.leave_alone(channel, by=f"{asker.platform}:{asker.name}")
        if self._audit is not None:
            await self._audit.write(audit_entry("optout", channel, request, at=self._clock()))
        return Reply(text=wording.opted_out(channel, frames=frames, language=language))

    async def _look(self, ref: StreamRef) -> Answer:
        try:
            sample, answer = await self._looked(ref)
        except StreamProblem as problem:
            self._count_failure(_STATUS_OF_PROBLEM[type(problem)])
            raise
        except Exception:
            self._count_failure(Status.FAILED)
            raise
        if self._figures is not None:
            self._figures.looked(answer, sample)
        return answer

    def _count_failure(self, status: Status) -> None:
        if self._figures is not None:
            self._figures.look_failed(status.value)

    async def _looked(self, ref: StreamRef) -> tuple[Sample, Answer]:
        began_s = time.perf_counter()
        # Beside the look: the directory takes no longer than that.
        asking = asyncio.create_task(self._declared_of(ref.channel), name=f"declared {ref.channel}")
        try:
            sample = await self._sampler.sample(ref)
            sampled_s = time.perf_counter()
            try:
                async with asyncio.timeout(self._recognize_timeout_s):
                    measured = await self._recognizer.measured(sample.frames)
            except TimeoutError as error:
                raise StreamTooSlow(ref.channel, "the network took too long") from error
            done_s = time.perf_counter()
            verdict = measured.verdict
            tiles = await asyncio.to_thread(self._evidence, sample, verdict) if self._evidence is not None else ()
            declared = await asking
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        look = uuid.uuid4().hex
        if self._records is not None:
            self._records.keep(look, sample, verdict, declared=declared)
        if self._canary is not None:
            self._canary.consider(look, sample.frames, measured)
        elapsed_ms = {
            "resolve": sample.elapsed.resolve_ms,
            "playlist": sample.elapsed.playlist_ms,
            "segments": sample.elapsed.segments_ms,
            "decode": sample.elapsed.decode_ms,
            "recognize": (done_s - sampled_s) * 1000,
            "total": (time.perf_counter() - began_s) * 1000,
        }
        return sample, Answer(
            channel=ref.channel,
            status=Status.ANSWERED,
            verdict=verdict,
            elapsed_ms=MappingProxyType(elapsed_ms),
            fetched_bytes=sample.bytes_fetched,
            adverts=sample.rejected.adverts,
            look=look,
            declared=declared,
            evidence=tiles,
        )

    async def _declared_of(self, channel: str) -> Category | None:
        return None if self._declared is None else await self._declared.of(channel)
