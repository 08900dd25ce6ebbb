"""What becomes of models, told to whoever runs the bot: in the places that they named, once among all replicas."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from bot.commands import wording
from bot.commands.request import Place, Reply
from core.errors import StorageError
from core.storage.records import RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bot.chat.platform import ChatPlatform
    from bot.claims import ClaimsRuns
    from bot.models.following import Answering, Refusal

log = logging.getLogger(__name__)

MODELS_CHANGED = "gamespotter_models"
"""Told through the database by whoever changes the registry."""

_TRIES = 5
_AGAIN_S = 15.0
"""A chat may not be connected yet, and a database be restarting."""

_LEASE_S = 300.0


class MarksFlags(Protocol):
    """What is needed of :class:`core.storage.flags.FlagStore`."""

    async def mark_used(self, model: str, flag_ids: Iterable[int], *, at: datetime) -> int:
        """Write down that a model was trained with these flags."""
        ...


class CountsModels(Protocol):
    """What is needed of :class:`bot.operation.figures.Figures`."""

    def model_answers(self, version: str) -> None:
        """This model answers from now on."""
        ...

    def model_reload(self, outcome: str) -> None:
        """A model was to be taken over: ``taken``, ``refused``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """One thing to tell; ``kind`` and ``at`` name it among all replicas.

    ``learnt_from`` are the flags of the model that is told of.
    """

    kind: str
    at: datetime
    text: str
    model: str = ""
    learnt_from: tuple[int, ...] = ()


class ModelNews:
    """Passes on what becomes of models. :meth:`run` must be running; until then it is kept."""

    def __init__(
        self,
        flags: MarksFlags,
        runs: ClaimsRuns,
        *,
        holder: str,
        places: Sequence[str],
        counts: CountsModels | None = None,
        again_s: float = _AGAIN_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Keep the parts.

        Args:
            flags: those that a model has learnt from are marked when it answers.
            runs: where a piece of news is claimed, so that one replica tells it.
            holder: names this replica.
            places: where it is told: ``discord:<channel's id>``, ``twitch:<broadcaster's id>``.
            counts: is told of each model; None for nobody.
            again_s: between two tries.
            clock: the wall clock, UTC.
        """
        self._flags = flags
        self._runs = runs
        self._holder = holder
        self._places = [Place(platform=place.partition(":")[0], id=place.partition(":")[2]) for place in places]
        self._counts = counts
        self._again_s = again_s
        self._clock = clock
        self._items: asyncio.Queue[_Item] = asyncio.Queue()

    async def taken_over(self, model: Answering, *, before: str) -> None:
        """A model answers from now on."""
        version = model.model.version
        if self._counts is not None:
            self._counts.model_reload("taken")
            self._counts.model_answers(version)
        self._items.put_nowait(
            _Item(
                kind="taken over",
                at=model.since,
                text=wording.model_taken_over(version, before=before),
                model=version,
                learnt_from=tuple(model.model.artifact.manifest.data_set.flags),
            )
        )

    async def marked(self, model: Answering) -> None:
        """Mark the flags that the first model has learnt from, of which there is no news.

        Raises:
            StorageError: the database cannot be used.
        """
        if self._counts is not None:
            self._counts.model_answers(model.model.version)
        flags = model.model.artifact.manifest.data_set.flags
        await self._flags.mark_used(model.model.version, flags, at=self._clock())

    async def refused(self, refusal: Refusal, *, answering: str) -> None:
        """A version was refused."""
        if self._counts is not None:
            self._counts.model_reload("refused")
        text = wording.model_refused(refusal.term.version, answering=answering, why=refusal.sentence)
        self.say("refused", text, at=refusal.term.since)

    def say(self, kind: str, text: str, *, at: datetime) -> None:
        """Pass on something else.

        Args:
            kind: what it is.
            text: for whoever runs the bot.
            at: when that happened, the same in all replicas that say it.
        """
        self._items.put_nowait(_Item(kind=kind, at=at, text=text))

    async def run(self, platforms: Mapping[str, ChatPlatform]) -> None:
        """Pass on until cancelled."""
        while True:
            item = await self._items.get()
            for left in reversed(range(_TRIES)):
                try:
                    if await self._pass_on(item, platforms):
                        break
                except StorageError as error:
                    log.error("%s", error)  # noqa: TRY400 - a sentence
                if left:
                    await asyncio.sleep(self._again_s)
            else:
                log.warning("nobody could be told: %s", item.text)

    async def _pass_on(self, item: _Item, platforms: Mapping[str, ChatPlatform]) -> bool:
        """Whether it was told wherever it can be."""
        if item.learnt_from:
            await self._flags.mark_used(item.model, item.learnt_from, at=self._clock())
        places = [place for place in self._places if place.platform in platforms]
        if not places:
            return True
        run = await self._runs.claim(f"model {item.kind}", item.at, holder=self._holder, lease_s=_LEASE_S, resume=True)
        if run is None:
            return True
        said = [await platforms[place.platform].announce(place, Reply(text=item.text)) for place in places]
        # Told in one place, it is not told again for the sake of another that is gone.
        state = RunState.DONE if any(said) else RunState.INTERRUPTED
        await self._runs.finish(run, holder=self._holder, state=state, result={"told": sum(said)})
        return any(said)
