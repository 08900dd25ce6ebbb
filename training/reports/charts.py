"""The report's charts, as SVG pictures that follow the reader's choice of a light or a dark page. Pure.

Matplotlib draws them in placeholder colours, which are then replaced by CSS variables with a value for light and one
for dark: one picture serves both, no script is needed, and text stays text at any size.
"""

from __future__ import annotations

import dataclasses
import io
import re
from typing import TYPE_CHECKING, TypeAlias

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from training.fitting.checkpoint import Epoch
    from training.scoring.figures import BinFigures, CoverageFigures, RocFigures

Svg: TypeAlias = bytes
"""A whole SVG document."""

_INK, _FAINT = "#010203", "#010204"
_FIRST, _SECOND, _THIRD = "#010205", "#010206", "#010207"
# Light, dark. The series are told apart by those who do not see colours well, and by their dashes.
_COLOURS = {
    _INK: ("--ink", "#24242a", "#e4e4ea"),
    _FAINT: ("--faint", "#d5d5dc", "#45454f"),
    _FIRST: ("--first", "#0b62c4", "#70b1ff"),
    _SECOND: ("--second", "#b64a00", "#ffab66"),
    _THIRD: ("--third", "#00785a", "#5fd3ae"),
}
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_SIZE_INCH = (4.4, 3.1)
_MOST_POINTS = 160
_MOST_NAMES = 60
_FEWEST_FALSE = 1e-4


def learning_curves(epochs: Sequence[Epoch], *, best: int) -> dict[str, Svg]:
    """By title: loss, what was right on validation, and the learning rate, as far as the log tells them.

    Args:
        epochs: the log; its columns loss, validation_loss, validation_streams_right, validation_frames_right and
            learning_rate are drawn where they are there.
        best: number of the epoch that was kept.
    """
    log = [dataclasses.asdict(epoch) for epoch in epochs]
    panels: dict[str, dict[str, str]] = {
        "Loss": {"loss": "training", "validation_loss": "validation"},
        "Right on validation": {"validation_streams_right": "streams", "validation_frames_right": "frames"},
        "Learning rate": {"learning_rate": "learning rate"},
    }
    drawn = {}
    for title, columns in panels.items():
        there = {
            words: (
                [row["number"] for row in log if row.get(column) is not None],
                [row[column] for row in log if row.get(column) is not None],
            )
            for column, words in columns.items()
            if any(row.get(column) is not None for row in log)
        }
        if there:
            drawn[title] = _curves(there, best=best, is_log=title == "Learning rate")
    return drawn


def reliability(bins: Sequence[BinFigures]) -> Svg:
    """How often answers are right over how sure they are; the area of a point grows with its number of answers."""
    figure, axes = _figure()
    filled = [one for one in bins if one.count]
    most = max((one.count for one in filled), default=1)
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1.2)
    axes.scatter(
        [one.confidence for one in filled],
        [one.accuracy for one in filled],
        s=[14 + 160 * one.count / most for one in filled],
        color=_FIRST,
        zorder=3,
        clip_on=False,
    )
    _shares(axes, "how sure", "how often right")
    return _svg(figure)


def coverage(curves: Mapping[str, Sequence[CoverageFigures]]) -> Svg:
    """Accuracy over the share of answers that is given, by name of the curve."""
    figure, axes = _figure()
    lowest = 1.0
    for (name, points), (colour, dashes) in zip(curves.items(), _series(), strict=False):
        kept = _thinned(len(points))
        shares, right = [points[at].coverage for at in kept], [points[at].accuracy for at in kept]
        lowest = min(lowest, *right)
        axes.plot(shares, right, color=colour, linestyle=dashes, label=name)
    _shares(axes, "share of answers given, the surest first", "share of them right")
    # From a round number below the lowest point: the whole scale would flatten what there is to see.
    axes.set_ylim(np.floor(20 * min(lowest, 0.99)) / 20, 1.003)
    _legend(axes)
    return _svg(figure)


def roc(curves: Sequence[RocFigures], *, names: Mapping[str, str]) -> Svg:
    """True over false positives, these on a logarithmic scale: good curves differ in the corner alone.

    Args:
        curves: whose points are kept; at most twelve can be told apart. The first one is drawn thick.
        names: by the curves' ids.
    """
    figure, axes = _figure(height=3.6)
    chance = np.geomspace(_FEWEST_FALSE, 1, 50)
    axes.plot(chance, chance, color=_FAINT, linewidth=1.2)
    lowest = 1.0
    for place, (curve, (colour, dashes)) in enumerate(zip(curves, _series(), strict=False)):
        kept = _thinned(len(curve.false_positives))
        at_edge = [
            found
            for others, found in zip(curve.false_positives, curve.true_positives, strict=True)
            if others <= _FEWEST_FALSE
        ]
        lowest = min(lowest, max(at_edge, default=0.0))
        axes.plot(
            [max(curve.false_positives[at], _FEWEST_FALSE) for at in kept],
            [curve.true_positives[at] for at in kept],
            color=colour,
            linestyle=dashes,
            linewidth=2.2 if place == 0 else 1.1,
            label=f"{names.get(curve.id, curve.id)} {curve.area:.4f}",
        )
    _shares(axes, "share of others taken for it", "share found")
    axes.set_xscale("log")
    axes.set_xlim(_FEWEST_FALSE, 1.05)
    # What lies below is the left edge of all curves, and nothing to see.
    axes.set_ylim(np.floor(10 * min(lowest, 0.95)) / 10 - 0.01, 1.01)
    _legend(axes)
    return _svg(figure)


def confusion(counts: npt.NDArray[np.int64], *, rows: Sequence[str], columns: Sequence[str]) -> Svg:
    """Each row's shares, on a scale that makes a few answers visible.

    Args:
        counts: int64[rows, columns], how often the row's game was answered as the column's.
        rows: names of the games shown.
        columns: names of what was answered.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    is_named = max(counts.shape) <= _MOST_NAMES
    side = 2.2 + 0.17 * min(max(counts.shape), _MOST_NAMES)
    figure = matplotlib.figure.Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    # The root lifts one wrong answer in a hundred to a tenth of the scale, where an eye sees it.
    axes.imshow(np.sqrt(shares), cmap="cividis", vmin=0.0, vmax=1.0, interpolation="none")
    if is_named:
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
        axes.set_yticks(range(len(rows)), rows, fontsize=7)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel("answered")
    axes.set_ylabel("shown")
    _plain(axes)
    axes.grid(visible=False)
    return _svg(figure)


def _curves(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, best: int, is_log: bool) -> Svg:
    figure, axes = _figure(height=2.5)
    axes.axvline(best, color=_FAINT, linewidth=5, zorder=0)
    for (name, (numbers, values)), (colour, dashes) in zip(series.items(), _series(), strict=False):
        axes.plot(numbers, values, color=colour, linestyle=dashes, marker="o", markersize=3, label=name)
    if is_log and all(value > 0 for _, values in series.values() for value in values):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)
    if len(series) > 1:
        _legend(axes)
    return _svg(figure)


def _figure(*, height: float = _SIZE_INCH[1]) -> tuple[matplotlib.figure.Figure, Axes]:
    figure = matplotlib.figure.Figure(figsize=(_SIZE_INCH[0], height), layout="constrained")
    return figure, figure.add_subplot()


def _series() -> list[tuple[str, str]]:
    return [(colour, dashes) for dashes in ("-", "--", ":", "-.") for colour in (_FIRST, _SECOND, _THIRD)]


def _shares(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(visible=True, color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, which="both", labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(_INK)
        label.set_fontsize(9)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, labelcolor=_INK, fontsize=8, loc="best")


def _thinned(count: int) -> list[int]:
    """Places of at most `_MOST_POINTS` of so many points, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(int)).tolist() if count else []


def _svg(figure: matplotlib.figure.Figure) -> Svg:
    written = io.StringIO()
    # A fixed salt and no date: the same figures make the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "charts"}):
        figure.savefig(
            written,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = written.getvalue()
    for placeholder, (variable, _, _) in _COLOURS.items():
        text = text.replace(placeholder, f"var({variable})")
    text = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONTS}", text)
    light, dark = ("".join(f"{names[0]}:{names[theme]};" for names in _COLOURS.values()) for theme in (1, 2))
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    opening = text.index(">", text.index("<svg")) + 1
    return (text[text.index("<svg") : opening] + style + text[opening:]).encode()
