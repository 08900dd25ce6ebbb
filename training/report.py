"""The report (one HTML file that opens from disk) and the model card (Markdown) of a trained model.

Neither shows a frame: not every game's pictures may be passed on.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2
import matplotlib.figure
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.recognition.artifact import Manifest
    from training.figures import ProtocolFigures, TestFigures
    from training.litert import Agreement
    from training.train import Epoch


@dataclass(frozen=True, kw_only=True, slots=True)
class GameShare:
    """How much of a game the data set holds."""

    name: str
    streams: int
    frames: int
    validation_streams: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """All that there is to tell about a model.

    Attributes:
        test: figures on streams never seen; of the protocols' rotations, or of the model's own test streams.
        protocols: the whole of the protocols' figures, if this model was made with them.
        split: one sentence on what was trained, validated and tested on.
    """

    manifest: Manifest
    games: tuple[GameShare, ...]
    test: TestFigures
    protocols: ProtocolFigures | None
    split: str
    config_json: str
    epochs: Sequence[Epoch]
    best_epoch: int
    agreement: Agreement


def html(story: Story) -> str:
    """The report, with its pictures inside."""
    page = _templates().get_template("report.html")
    return page.render(
        story=story,
        confusion_png=base64.b64encode(confusion_png(story.test)).decode("ascii"),
        curves_png=base64.b64encode(curves_png(story.epochs)).decode("ascii"),
    )


def model_card(story: Story) -> str:
    """The card, in Markdown."""
    return _templates().get_template("card.md").render(story=story, weakest=weakest(story.test))


def weakest(test: TestFigures) -> list[str]:
    """The names of the games of whose frames fewest are right, the worst first; only those below 97 %."""
    below = [game for game in test.games if game.shares.frames_right < 0.97]
    return [game.name for game in sorted(below, key=lambda game: game.shares.frames_right)]


def confusion_png(test: TestFigures) -> bytes:
    """The confusion of single frames: each row's shares, on a scale that makes a few frames visible."""
    counts = np.array(test.confusion, dtype=np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [game.name for game in test.games]
    tested = counts.sum(axis=1) > 0
    shares = shares[tested][:, tested]
    size = 3.0 + 0.24 * len(names)
    figure = matplotlib.figure.Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    # The root lifts one wrong frame in a hundred to a tenth of the scale, where an eye sees it.
    axes.imshow(np.sqrt(shares), cmap="viridis", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("answered")
    axes.set_ylabel("shown")
    return _png(figure)


def curves_png(epochs: Sequence[Epoch]) -> bytes:
    """Loss, and what was right on validation, over the epochs."""
    figure = matplotlib.figure.Figure(figsize=(7, 2.6), layout="constrained")
    numbers = [epoch.number for epoch in epochs]
    left, right = figure.subplots(1, 2)
    left.plot(numbers, [epoch.loss for epoch in epochs], marker="o")
    left.set_title("training loss")
    right.plot(numbers, [epoch.validation_streams_right for epoch in epochs], marker="o", label="streams")
    right.plot(numbers, [epoch.validation_frames_right for epoch in epochs], marker="o", label="frames")
    right.set_title("validation, right")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xticks(numbers)
    return _png(figure)


def percent(share: float) -> str:
    """98.5 % of 0.985."""
    return f"{100 * share:.1f} %"


def told(epoch: Epoch) -> str:
    """One line on an epoch."""
    right = f"{percent(epoch.validation_streams_right)} of streams, {percent(epoch.validation_frames_right)} of frames"
    return f"epoch {epoch.number}: loss {epoch.loss:.3f}, right on validation {right}"


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("training", "templates"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment


def _png(figure: matplotlib.figure.Figure) -> bytes:
    written = io.BytesIO()
    # Without a date or a library's version in it, the same figures make the same file.
    figure.savefig(written, format="png", dpi=90, metadata={"Software": None})
    return written.getvalue()
