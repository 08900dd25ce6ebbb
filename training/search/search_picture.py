"""The picture of a search: how it went, which parameters made the difference, and what each value was worth. Pure."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import matplotlib.figure
from matplotlib.ticker import MaxNLocator

from training.search.search_space import LOGARITHMIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from training.search.search_space import Value

_COLUMNS = 3
_PANEL_INCH = (4.2, 3.0)
_DPI = 100
_ONE, _BEST, _FAINT = "#0b62c4", "#b64a00", "#8a8a94"


class End(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "given up"
    FAILED = "failed"


_MARKS = {End.COMPLETE: "o", End.PRUNED: "|", End.FAILED: "x"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A trial.

    Attributes:
        number: from 1.
        merit: what it was worth, 0 to about 1, at its end or when it was given up; None if it came to nothing.
        values: of the parameters that it had.
    """

    number: int
    end: End
    merit: float | None
    values: Mapping[str, Value]


def search_picture(trials: Sequence[Tried], *, importances: Mapping[str, float]) -> bytes:
    """A PNG; the same trials give the same bytes.

    Args:
        trials: of a search, at least one.
        importances: how much of the difference each parameter makes, 0 to 1; may be empty.
    """
    names = sorted({name for one in trials for name in one.values}, key=lambda name: (-importances.get(name, 0), name))
    panels = 2 + len(names)
    rows = math.ceil(panels / _COLUMNS)
    size = (_COLUMNS * _PANEL_INCH[0], rows * _PANEL_INCH[1])
    figure = matplotlib.figure.Figure(figsize=size, dpi=_DPI, facecolor="white", layout="constrained")
    axes = [figure.add_subplot(rows, _COLUMNS, place + 1) for place in range(panels)]
    _history(axes[0], trials)
    _importance(axes[1], importances)
    for panel, name in zip(axes[2:], names, strict=True):
        _slice(panel, name, trials)
    written = io.BytesIO()
    # Without a library's version in it, the same trials make the same file.
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()


def _history(axes: Axes, trials: Sequence[Tried]) -> None:
    axes.set_title("validation streams right, trial by trial", fontsize=10)
    bottom = min((one.merit for one in trials if one.merit is not None), default=0.0)
    for end, marker in _MARKS.items():
        # What came to nothing is told below the rest.
        ended = [(one.number, bottom if one.merit is None else one.merit) for one in trials if one.end is end]
        if ended:
            numbers, merits = zip(*ended, strict=True)
            colour = _ONE if end is End.COMPLETE else _FAINT
            axes.scatter(numbers, merits, color=colour, marker=marker, s=18, label=end.value)
    complete = [(one.number, one.merit) for one in trials if one.end is End.COMPLETE and one.merit is not None]
    best = [(number, max(merit for _, merit in complete[: place + 1])) for place, (number, _) in enumerate(complete)]
    axes.step(
        [number for number, _ in best], [merit for _, merit in best], color=_BEST, where="post", label="best so far"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False)


def _importance(axes: Axes, importances: Mapping[str, float]) -> None:
    axes.set_title("what makes the difference", fontsize=10)
    if not importances:
        axes.text(0.5, 0.5, "too few trials to tell", ha="center", va="center", color=_FAINT)
        axes.set_axis_off()
        return
    ordered = sorted(importances.items(), key=lambda one: one[1])
    axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=_ONE)
    axes.tick_params(axis="y", labelsize=8)


def _slice(axes: Axes, name: str, trials: Sequence[Tried]) -> None:
    axes.set_title(name, fontsize=10)
    # Trials that were given up lie below the others.
    ordered = sorted(trials, key=lambda one: one.end is End.COMPLETE)
    known = [(one.end, one.values[name], one.merit) for one in ordered if name in one.values and one.merit is not None]
    values = [value for _, value, _ in known]
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    # Words in one order, whichever came first.
    places = sorted({_word(value) for value in values})
    for end, value, merit in known:
        colour = _ONE if end is End.COMPLETE else _FAINT
        where = value if are_numbers else places.index(_word(value))
        axes.scatter([float(where)], [merit], color=colour, marker=_MARKS[end], s=18)
    if not are_numbers:
        axes.set_xticks(range(len(places)), labels=places, fontsize=8)
        axes.set_xlim(-0.5, len(places) - 0.5)
    elif name in LOGARITHMIC:
        axes.set_xscale("log")
    elif all(isinstance(value, int) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _word(value: Value) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
