"""The bot follows a registry: what becomes current there answers here, whole, and what is unfit never does.

A newer model is opened, warmed and tried out beside the one that answers, in a thread; then the recognizer is handed it
in one step. One that is refused is not opened again until something about it changes.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from core.errors import ArtifactError
from core.recognition.artifact import read_artifact
from core.recognition.candidate import check_against, open_candidate
from core.recognition.registry import Means, Term
from core.recognition.runtime import give_memory_back

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.recognition.candidate import Candidate, FitnessRules, RunsNetwork
    from core.recognition.recognizer import Recognizer
    from core.recognition.registry import Registry

log = logging.getLogger(__name__)

_Traces: TypeAlias = tuple[tuple[str, int, int, int], ...]

_LAST_ANSWERS_S = 30.0

_NOT_COMPARED = frozenset({Means.INSISTED, Means.ROLLED_BACK})
"""Whoever goes back knows that the older one is the worse one by some measure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answering:
    """A model that answers.

    Attributes:
        model: opened.
        since: when it became the one, UTC.
        term: in the registry; None for a model that is in none.
    """

    model: Candidate
    since: datetime
    term: Term | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A version that was to answer, or to be tried, and must not."""

    term: Term
    sentence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstModel:
    """What answers when the bot starts, and what was to and could not."""

    answering: Answering
    refused: tuple[Refusal, ...] = ()


class HearsOfModels(Protocol):
    """Is told what becomes of models. Nothing that it raises is expected."""

    async def taken_over(self, model: Answering, *, before: str) -> None:
        """A model answers from now on, in the place of the version ``before``."""
        ...

    async def refused(self, refusal: Refusal, *, answering: str) -> None:
        """A version was refused, and another goes on answering."""
        ...


class TriesChallengers(Protocol):
    """What is needed of :class:`bot.models.canary.Canary`."""

    def challenge(self, model: Candidate, term: Term) -> None:
        """Try this one from now on."""
        ...

    def end(self) -> None:
        """Try none."""
        ...


def first_model(
    registry: Registry | None, directory: Path, *, threads: int, rules: FitnessRules, now: datetime
) -> FirstModel:
    """The registry's current model; where that is unfit the latest before it that is not, and else the directory's.

    Blocks for some tenths of a second.

    Args:
        registry: None without one.
        directory: of the model that answers when the registry has none.
        threads: processor threads that one run may use.
        rules: what is asked of a model.
        now: UTC.

    Raises:
        ArtifactError: the directory's model, which is the last there is, cannot be used.
    """
    refused: list[Refusal] = []
    for term in _latest_first(registry):
        if registry is None or any(term.version == one.term.version for one in refused):
            continue
        try:
            model = open_candidate(registry.artifact(term.version), threads=threads, rules=rules)
        except ArtifactError as error:
            refused.append(Refusal(term=term, sentence=str(error)))
            continue
        # Of one that is current no more it is not known since when it answers, but from now on.
        since = now if refused else term.since
        return FirstModel(answering=Answering(model=model, since=since, term=term), refused=tuple(refused))
    model = open_candidate(read_artifact(directory), threads=threads, rules=rules)
    return FirstModel(answering=Answering(model=model, since=now), refused=tuple(refused))


def _latest_first(registry: Registry | None) -> tuple[Term, ...]:
    try:
        pointer = None if registry is None else registry.pointer()
    except ArtifactError as error:
        log.error("%s", error)  # noqa: TRY400 - a sentence
        return ()
    return () if pointer is None else (pointer.current, *reversed(pointer.before))


class ModelFollower:
    """Has the recognizer answer with the registry's current model, and a canary try its challenger."""

    def __init__(
        self,
        registry: Registry,
        recognizer: Recognizer,
        first: FirstModel,
        *,
        threads: int,
        rules: FitnessRules,
        poll_s: float,
        hears: HearsOfModels | None = None,
        canary: TriesChallengers | None = None,
        wake: asyncio.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            registry: to follow.
            recognizer: answers with the first model.
            first: what answers, and what was refused before.
            threads: processor threads that one run of a network may use.
            rules: what is asked of a model.
            poll_s: how often the registry is looked at.
            hears: is told what becomes of models.
            canary: tries challengers; None leaves them alone.
            wake: set by whoever knows that there is something new.
            clock: the wall clock, UTC.
        """
        self._registry = registry
        self._recognizer = recognizer
        self._answering = first.answering
        self._threads = threads
        self._rules = rules
        self._poll_s = poll_s
        self._hears = hears
        self._canary = canary
        self._wake = wake if wake is not None else asyncio.Event()
        self._clock = clock
        self._said_of_first = first.refused
        self._refused: dict[str, tuple[Term, _Traces]] = {}
        self._unreadable = ""
        self._tried: Term | None = None
        self._last_refusal: Refusal | None = first.refused[0] if first.refused else None

    @property
    def answering(self) -> Answering:
        """The model that answers."""
        return self._answering

    @property
    def last_refusal(self) -> Refusal | None:
        """What was refused last, and is still what the registry names; None when all is well."""
        return self._last_refusal

    async def run(self) -> None:
        """Follow until cancelled."""
        for refusal in self._said_of_first:
            self._refused.setdefault(_CURRENT, (refusal.term, await self._traces(refusal.term)))
            await self._say_refused(refusal)
        self._said_of_first = ()
        while True:
            self._wake.clear()
            try:
                await self.look()
            except Exception:
                # The chats go on with the model that answers.
                log.exception("the registry could not be followed")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()

    async def look(self) -> None:
        """See what the registry names, and take over what is new and fit."""
        try:
            pointer = await asyncio.to_thread(self._registry.pointer)
            challenger = await asyncio.to_thread(self._registry.challenger)
        except ArtifactError as error:
            # Once, however long it lasts.
            if str(error) != self._unreadable:
                log.error("%s The model %s goes on answering.", error, self._answering.model.version)  # noqa: TRY400
            self._unreadable = str(error)
            return
        self._unreadable = ""
        if pointer is not None:
            await self._follow_current(pointer.current)
        if self._canary is not None:
            current = None if pointer is None else pointer.current.version
            # Whoever made it current was killed before it could say that it is tried no longer.
            term = None if challenger is None or challenger.version == current else challenger
            await self._follow_challenger(self._canary, term)

    async def _follow_current(self, term: Term) -> None:
        before = self._answering.model.version
        if term.version == before:
            if term != self._answering.term:
                self._answering = Answering(model=self._answering.model, since=term.since, term=term)
            self._settled(_CURRENT)
            return
        model = await self._opened(_CURRENT, term, compares=term.means not in _NOT_COMPARED)
        if model is None:
            return
        old = weakref.ref(self._answering.model.network)
        self._answering = Answering(model=model, since=term.since, term=term)
        # In one step; whose frames the old one's network has is answered by it.
        self._recognizer.swap(model.network, model.artifact.rule)
        self._settled(_CURRENT)
        log.info("model %s answers in the place of %s", model.version, before)
        if self._hears is not None:
            await self._hears.taken_over(self._answering, before=before)
        await _gone(old)

    async def _follow_challenger(self, canary: TriesChallengers, term: Term | None) -> None:
        if self._tried is not None and term != self._tried:
            self._tried = None
            canary.end()
            await asyncio.to_thread(give_memory_back)
        if term is None:
            self._settled(_CHALLENGER)
            return
        if self._tried == term:
            return
        model = await self._opened(_CHALLENGER, term, compares=True)
        if model is not None:
            self._tried = term
            self._settled(_CHALLENGER)
            canary.challenge(model, term)
            log.info("model %s is tried beside %s", model.version, self._answering.model.version)

    async def _opened(self, role: str, term: Term, *, compares: bool) -> Candidate | None:
        """A model that passed all checks; None for one that did not, or did not before and is as it was."""
        traces = await self._traces(term)
        if self._refused.get(role) == (term, traces):
            return None
        try:
            return await asyncio.to_thread(self._open, term, compares=compares)
        except ArtifactError as error:
            sentence = str(error)
        except Exception:
            log.exception("model %s cannot be opened", term.version)
            sentence = f"The model {term.version} cannot be opened; the log says more."
        self._refused[role] = (term, traces)
        await self._say_refused(Refusal(term=term, sentence=sentence))
        return None

    def _open(self, term: Term, *, compares: bool) -> Candidate:
        model = open_candidate(self._registry.artifact(term.version), threads=self._threads, rules=self._rules)
        if compares:
            check_against(model, self._answering.model, self._rules)
        return model

    async def _say_refused(self, refusal: Refusal) -> None:
        self._last_refusal = refusal
        version = self._answering.model.version
        log.error("model %s is refused, and %s goes on: %s", refusal.term.version, version, refusal.sentence)
        if self._hears is not None:
            await self._hears.refused(refusal, answering=version)

    def _settled(self, role: str) -> None:
        was = self._refused.pop(role, None)
        if was is not None and self._last_refusal is not None and self._last_refusal.term == was[0]:
            self._last_refusal = None

    async def _traces(self, term: Term) -> _Traces:
        """What changes when anything of a model's directory does, without reading it."""
        return await asyncio.to_thread(_traces_of, self._registry.directory_of(term.version))


_CURRENT, _CHALLENGER = "current", "challenger"


async def _gone(network: weakref.ref[RunsNetwork]) -> None:
    """Wait until a network that answers no more has given its last answers, and give its memory back."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_ANSWERS_S):
            while network() is not None:  # noqa: ASYNC110 - nobody tells when the last one lets go of it
                await asyncio.sleep(0.02)
    await asyncio.to_thread(give_memory_back)


def _traces_of(directory: Path) -> _Traces:
    traces = []
    for path in directory.rglob("*"):
        with suppress(OSError):
            found = path.stat()
            traces.append((str(path.relative_to(directory)), found.st_size, found.st_mtime_ns, found.st_ino))
    return tuple(sorted(traces))
