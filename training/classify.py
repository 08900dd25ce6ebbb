"""The verb `classify`: what a model says of single pictures, each by itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from core.errors import DataSetError
from core.frames import to_stored
from core.games import UNKNOWN
from core.recognition.aggregate import aggregate, softmax
from core.recognition.artifact import read_artifact
from core.recognition.runtime import Network
from training.data.pictures import read_picture
from training.reports.page import percent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_THREADS = 2
_TOP = 3


class Prediction(BaseModel):
    """A game, and its calibrated probability, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float


class Classified(BaseModel):
    """What was said of one picture.

    Attributes:
        unknown: whether the answer would be that no known game is shown.
        predictions: all games, the likeliest first.
        genres: kinds of game that it looks like, the likeliest first; an older model has none.
        fault: why the picture could not be read; None if it could.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    unknown: bool = False
    predictions: tuple[Prediction, ...] = ()
    genres: tuple[str, ...] = ()
    fault: str | None = None


def classify(model: Path, pictures: Sequence[Path], *, is_json: bool) -> tuple[Classified, ...]:
    """Print what a model says of each picture: the three likeliest games, or with `is_json` all of them.

    Raises:
        ArtifactError: the model cannot be used.
        DataSetError: not one of the pictures can be read.
    """
    artifact = read_artifact(model)
    network, rule = Network(artifact, threads=_THREADS), artifact.rule
    said = []
    for path in pictures:
        try:
            picture = to_stored(read_picture(path.read_bytes()))
        except OSError as error:
            said.append(Classified(file=str(path), fault=f"it cannot be opened: {error.strerror}"))
            continue
        except ValueError as error:
            said.append(Classified(file=str(path), fault=str(error)))
            continue
        logits = network.logits(picture[None])
        verdict = aggregate(logits, at_s=[0.0], rule=rule)
        chances = softmax(logits[:, : len(rule.labels)].astype(np.float64) / rule.temperature)[0]
        said.append(
            Classified(
                file=str(path),
                unknown=verdict.game == UNKNOWN,
                predictions=tuple(
                    Prediction(label=rule.labels[place].name, probability=float(chances[place]))
                    for place in np.argsort(-chances, kind="stable")
                ),
                genres=tuple(one.name for one in verdict.genres),
            )
        )
    if all(one.fault is not None for one in said):
        raise DataSetError(f"Not one of the pictures can be read: {said[0].file}: {said[0].fault}.")
    if is_json:
        print(json.dumps([one.model_dump() for one in said], indent=1))
    else:
        _print(said)
    return tuple(said)


def _print(said: Sequence[Classified]) -> None:
    table = Table("picture", "likeliest games", "")
    for one in said:
        if one.fault is not None:
            table.add_row(one.file, f"[red]left out: {one.fault}[/red]", "")
            continue
        top = "\n".join(f"{game.label} {percent(game.probability)}" for game in one.predictions[:_TOP])
        looks = f", looks like: {', '.join(one.genres)}" if one.genres else ""
        table.add_row(one.file, top, f"no game that it knows{looks}" if one.unknown else "")
    Console().print(table)
