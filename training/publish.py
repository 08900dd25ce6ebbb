"""The verb `publish`: a model into the registry, if it is no worse than `current` on the same test streams.

Two models that `protocols` measured on the same streams are compared by those figures: in each, every stream was judged
by a network that had not seen it. Others are run here, both as the bot would run them, on test data that is named.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from core.errors import ArtifactError, DataSetError
from core.recognition.artifact import read_artifact
from core.recognition.registry import CurrentChangedError, Registry
from core.recognition.runtime import Network
from training.data.folders import list_frames
from training.data.learnt import learnt_of, streams_learnt
from training.data.manifest import list_manifest
from training.data.split import Part
from training.scoring.accuracy import accuracy, judge
from training.scoring.answers import FIGURES_NAME, ask, is_made_of
from training.scoring.figures import ProtocolFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from core.recognition.artifact import Artifact
    from training.data.folders import FrameFile, Listing

_THREADS = 2
_EQUAL = 1e-9
"""Shares that differ by less are the same count of the same streams."""


class ComparedBy(StrEnum):
    """What two models were compared by."""

    FIGURES = "figures"
    DATA = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One share (0 to 1), of the new model and of the current one; more is better."""

    name: str
    new: float
    current: float

    @property
    def is_worse(self) -> bool:
        """Whether the new model's is the lower one."""
        return self.new < self.current - _EQUAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models on the same test streams.

    Attributes:
        by: where the shares come from.
        streams: how many.
        shares: of which none may be worse.
        has_seen: the new model has learnt from these streams, which therefore say nothing of it.
    """

    by: ComparedBy
    streams: int
    shares: tuple[Compared, ...]
    has_seen: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What became of a model.

    Attributes:
        version: of the model.
        replacing: the version that was current; None if there was none.
        is_published: whether the model is current now.
        reason: one sentence.
        comparison: with what was current; None where nothing was compared.
    """

    version: str
    replacing: str | None
    is_published: bool
    reason: str
    comparison: Comparison | None = None


def publish(
    model: Path, *, registry: Path, data: Path | None, frames: Path, is_forced: bool, as_json: bool = False
) -> Decision:
    """Publish a model if it is no worse than the current one, and print why or why not.

    Args:
        model: its directory.
        registry: the registry's.
        data: test data, for models that were not measured on the same streams: folders, or a manifest of `export`.
        frames: where the frames of a manifest lie.
        is_forced: publish it however it compares.
        as_json: print for a program.

    Raises:
        ArtifactError: the model, the current one or the registry cannot be used; or nothing tells which is better.
        DataSetError: the test data cannot be used.
    """
    console = Console(stderr=as_json)
    published = Registry(registry)
    new = read_artifact(model)
    # A file that is whole is not yet a network that runs.
    Network(new, threads=_THREADS)
    while True:
        decision = _decide(new, published, data=data, frames=frames, is_forced=is_forced, console=console)
        if not decision.is_published:
            break
        try:
            published.publish(model, replacing=decision.replacing, insists=is_forced)
        except CurrentChangedError:
            console.print("Another model was published in the meantime: comparing with that one.", highlight=False)
            continue
        break
    if as_json:
        Console().print_json(data=as_figures(decision))
    else:
        console.print(decision.reason, highlight=False, soft_wrap=True, markup=False)
    return decision


def decide(comparison: Comparison, *, version: str, replacing: str) -> Decision:
    """Whether a comparison speaks for the new model, and why; pure."""
    worse = [share for share in comparison.shares if share.is_worse]
    told = ", ".join(_told(share) for share in (worse or comparison.shares))
    where = f"on the same {comparison.streams} test streams: {told}"
    if comparison.has_seen:
        reason = f"{version} is refused: it has learnt from the test streams, which therefore cannot judge it."
    elif worse:
        reason = f"{version} is refused, as it is worse than {replacing} {where}."
    else:
        reason = f"{version} is published, as it is no worse than {replacing} {where}."
    return Decision(
        version=version,
        replacing=replacing,
        is_published=not worse and not comparison.has_seen,
        reason=reason,
        comparison=comparison,
    )


def compare_figures(new: Artifact, current: Artifact) -> Comparison | None:
    """Compare what was measured when the models were made; None where that was not on the same test streams.

    Raises:
        ArtifactError: the figures of a model are none.
    """
    ours, theirs = _figures_of(new), _figures_of(current)
    if ours is None or theirs is None or _tested_on(new, ours) != _tested_on(current, theirs):
        return None
    one, other = ours.by_stream, theirs.by_stream
    return Comparison(
        by=ComparedBy.FIGURES,
        streams=one.all.streams,
        shares=(
            Compared(name="streams named right", new=one.all.streams_right, current=other.all.streams_right),
            Compared(name="frames named right", new=one.all.frames_right, current=other.all.frames_right),
            Compared(
                name="frames with overlays named right",
                new=one.overlaid.frames_right,
                current=other.overlaid.frames_right,
            ),
        ),
    )


def compare_on(
    listing: Listing, new: Artifact, current: Artifact, *, progress: Callable[[int, int], None]
) -> Comparison:
    """Run both models as the bot does on the test streams of a data set.

    The test streams are those of its part `test`, or all where it has no parts. A stream counts as named right by its
    likeliest game, and as answered right if it is not refused as unknown either; a game that a model does not know
    counts against it.

    Raises:
        ArtifactError: a network cannot be run.
        DataSetError: there are no test streams, or none that can be read.
    """
    has_parts = any(frame.part is not None for frame in listing.frames)
    tested = [frame for frame in listing.frames if not has_parts or frame.part is Part.TEST]
    if not tested:
        raise DataSetError("The test data has parts, and nothing in the part for the test.")
    said = ask(tested, (new, current), progress=progress)
    if not said.frames:
        raise DataSetError(f"Not one of the {len(tested)} test frames can be read.")
    game_ids = np.array([frame.game for frame in said.frames])
    streams = np.array([frame.stream for frame in said.frames])
    measured = []
    for artifact, logits in zip((new, current), said.logits, strict=True):
        named = accuracy(logits, game_ids=game_ids, streams=streams, rule=artifact.rule)
        judged = judge(logits, game_ids=game_ids, streams=streams, rule=artifact.rule)
        answered = float(np.mean([one.is_right and not one.is_refused for one in judged]))
        measured.append((named.streams_right, answered, named.frames_right))
    names = ("streams named right", "streams answered right", "frames named right")
    return Comparison(
        by=ComparedBy.DATA,
        streams=len(set(streams.tolist())),
        shares=tuple(
            Compared(name=name, new=ours, current=theirs) for name, ours, theirs in zip(names, *measured, strict=True)
        ),
        has_seen=_has_learnt(new, said.frames, listing, has_parts=has_parts),
    )


def _has_learnt(model: Artifact, tested: Sequence[FrameFile], listing: Listing, *, has_parts: bool) -> bool:
    learnt = learnt_of(model)
    if learnt is not None:
        return bool(streams_learnt(tested, learnt)[Part.TRAIN])
    # An older model does not list what it has learnt from. `run` with the figures of `protocols` learns from the test
    # part as well, and such a model carries them.
    return (FIGURES_NAME in model.manifest.files or not has_parts) and is_made_of(model, listing)


def as_figures(decision: Decision) -> dict[str, object]:
    """The decision for a program."""
    return asdict(decision)


def _decide(
    new: Artifact, registry: Registry, *, data: Path | None, frames: Path, is_forced: bool, console: Console
) -> Decision:
    version = new.manifest.version
    pointer = registry.pointer()
    replacing = None if pointer is None else pointer.current.version
    if replacing is None:
        reason = f"{version} is published: the registry had no model yet."
        return Decision(version=version, replacing=None, is_published=True, reason=reason)
    if is_forced:
        # Forced is also what replaces a current model that cannot be read any more.
        reason = f"{version} is published in place of {replacing} by force: they were not compared."
        return Decision(version=version, replacing=replacing, is_published=True, reason=reason)
    current = registry.artifact(replacing)
    if current.manifest == new.manifest:
        reason = f"{version} is current already."
        return Decision(version=version, replacing=replacing, is_published=True, reason=reason)
    comparison = compare_figures(new, current)
    if comparison is None:
        if data is None:
            raise ArtifactError(
                f"{version} and {replacing} were not measured on the same test streams: "
                "name test data with --data, or publish it with --force."
            )
        listing = list_manifest(data, frames) if data.is_file() else list_frames(data)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("running both models", total=None)
            comparison = compare_on(
                listing,
                new,
                current,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    return decide(comparison, version=version, replacing=replacing)


def _told(share: Compared) -> str:
    # Two digits: of some thousand frames, one is seen.
    return f"{share.new:.2%} of {share.name} against {share.current:.2%}"


def _figures_of(artifact: Artifact) -> ProtocolFigures | None:
    if FIGURES_NAME not in artifact.manifest.files:
        return None
    try:
        return ProtocolFigures.model_validate_json((artifact.directory / FIGURES_NAME).read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"The figures of the model in {artifact.directory} cannot be read: {error.strerror}."
        ) from error
    except ValidationError as error:
        raise ArtifactError(
            f"The model in {artifact.directory} holds figures of another form than this program reads."
        ) from error


def _tested_on(artifact: Artifact, figures: ProtocolFigures) -> object:
    """What names the test streams: the frames of the data set, and how they were divided and labelled.

    The rotations follow from the data set alone; the counts tell one whose labels or division were others.
    """
    test = figures.by_stream
    return (
        artifact.manifest.data_set.sha256,
        artifact.manifest.data_set.manifest,
        tuple((part.streams, part.frames) for part in test.parts),
        tuple((game.id, game.shares.streams, game.shares.frames) for game in test.games),
    )
