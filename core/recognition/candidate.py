"""A model that is to answer: opened, warmed, and tried out against the one that answers. Blocking: for a thread.

What makes a model unfit is one sentence: it is damaged, its network is another than the manifest says, it no longer
says of its golden frames what it said where it was made, it lacks games, names fewer golden frames rightly, or is slow.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from core.errors import ArtifactError
from core.frames import IMAGE_CONVENTION
from core.recognition.golden import chances_of, farthest_from_recorded, read_golden, right_answers
from core.recognition.runtime import Network

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.recognition.aggregate import Logits
    from core.recognition.artifact import Artifact

_TIMED_FRAMES = 3
"""As many as a network takes at a time."""

_FEWEST_TURNS, _MOST_TURNS = 3, 25
_NAMED_LABELS = 3


class RunsNetwork(Protocol):
    """A loaded network that threads may share."""

    def logits(self, pictures: npt.NDArray[np.uint8]) -> Logits:
        """uint8 (frames, 180, 320, 3) to float32 (frames, labels + genres)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that was found whole, and does here what it did where it was made.

    Attributes:
        artifact: its directory.
        network: has run.
    """

    artifact: Artifact
    network: RunsNetwork

    @property
    def version(self) -> str:
        """What it is called in answers."""
        return self.artifact.manifest.version


@dataclass(frozen=True, kw_only=True, slots=True)
class FitnessRules:
    """What is asked of a model that is to take another's place.

    Attributes:
        reproduces_within: the largest difference between a probability of the golden set and what the network says now.
        slower_at_most: times as long as the other's network its own may take.
        games_lost_at_most: how many of the other's games it may lack.
    """

    reproduces_within: float = 0.05
    slower_at_most: float = 2.0
    games_lost_at_most: int = 0


def open_candidate(artifact: Artifact, *, threads: int, rules: FitnessRules) -> Candidate:
    """Load a model's network, run it, and hold it against its own golden set.

    Args:
        artifact: as `read_artifact` returned it.
        threads: processor threads that one run may use.
        rules: what is asked of it.

    Raises:
        ArtifactError: it must not answer; the sentence says why.
    """
    network = Network(artifact, threads=threads)
    golden = read_golden(artifact)
    if golden is not None:
        off = farthest_from_recorded(golden, chances_of(network.logits(golden.pictures), artifact.rule))
        if not off <= rules.reproduces_within:
            raise ArtifactError(
                f"The model {artifact.manifest.version} does not say of its golden frames what it said where it was "
                f"made: a probability is off by {off:.2f}. Look whether its network is the one that it was made with."
            )
    return Candidate(artifact=artifact, network=network)


def check_against(
    new: Candidate,
    old: Candidate,
    rules: FitnessRules,
    *,
    clock_s: Callable[[], float] = time.perf_counter,
) -> None:
    """See that a model can take another's place. Others may run the old one's network meanwhile.

    Raises:
        ArtifactError: it must not; the sentence says why.
    """
    _check_labels(new, old, rules)
    _check_golden(new, old)
    new_ms, old_ms = _frame_times_ms(new, old, slower_at_most=rules.slower_at_most, clock_s=clock_s)
    if new_ms > old_ms * rules.slower_at_most:
        raise ArtifactError(
            f"The model {new.version} is too slow: {new_ms:.1f} ms a frame, "
            f"{new_ms / old_ms:.1f} times as long as {old.version}; {rules.slower_at_most:g} times are allowed."
        )


def _check_labels(new: Candidate, old: Candidate, rules: FitnessRules) -> None:
    known = {label.id for label in new.artifact.rule.labels}
    lost = [label.name for label in old.artifact.rule.labels if label.id not in known]
    if len(lost) > rules.games_lost_at_most:
        more = f" and {len(lost) - _NAMED_LABELS} more" if len(lost) > _NAMED_LABELS else ""
        raise ArtifactError(
            f"The model {new.version} lacks {len(lost)} of the games of {old.version}: "
            f"{', '.join(lost[:_NAMED_LABELS])}{more}; {rules.games_lost_at_most} may be lost."
        )


def _check_golden(new: Candidate, old: Candidate) -> None:
    """Of the golden frames of both, those of games that both know.

    Read anew, as a model that answers for months need not keep its own in memory.
    """
    among = {label.id for label in new.artifact.rule.labels} & {label.id for label in old.artifact.rule.labels}
    right = {new.version: 0, old.version: 0}
    frames = 0
    sets = [read_golden(new.artifact)]
    # What became of the old one's files meanwhile is not the new one's fault.
    with suppress(ArtifactError):
        sets.append(read_golden(old.artifact))
    for golden in sets:
        if golden is None:
            continue
        frames += sum(game in among for game in golden.games)
        for one in (new, old):
            rule = one.artifact.rule
            chances = chances_of(one.network.logits(golden.pictures), rule)
            right[one.version] += right_answers(golden, chances, labels=rule.labels, among=among)
    if right[new.version] < right[old.version]:
        raise ArtifactError(
            f"The model {new.version} is worse than {old.version} on their golden frames: "
            f"{right[new.version]} of {frames} right instead of {right[old.version]}."
        )


def _frame_times_ms(
    new: Candidate, old: Candidate, *, slower_at_most: float, clock_s: Callable[[], float]
) -> tuple[float, float]:
    """What a frame takes each of them, undisturbed: the shortest of turns that they take.

    Whatever else the machine does makes some turns longer and none shorter. So as soon as the new one was quick enough
    once it is known to be, and only one that never is gets all turns.
    """
    pictures = np.zeros((_TIMED_FRAMES, IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3), dtype=np.uint8)
    shortest_ms = [math.inf, math.inf]
    for turn in range(1, _MOST_TURNS + 1):
        for row, one in enumerate((new, old)):
            began_s = clock_s()
            one.network.logits(pictures)
            shortest_ms[row] = min(shortest_ms[row], (clock_s() - began_s) * 1000 / _TIMED_FRAMES)
        if turn >= _FEWEST_TURNS and shortest_ms[0] <= shortest_ms[1] * slower_at_most:
            break
    return shortest_ms[0], shortest_ms[1]
