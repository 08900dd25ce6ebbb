"""Frames kept with a model whose answers are known: what a model is tried on before it takes another's place.

::

    golden.json        of each frame: its file, the right game, and the probabilities that the network gave it
    golden/0001.jpg    the frames

The recorded probabilities show that the network does here what it did where it was made: another processor, library or
a network exchanged by mistake says something else. The right games show which of two models is the better one. A model
without a golden set, an older one, is tried on its predecessor's alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ArtifactError
from core.frames import IMAGE_CONVENTION, decode_jpeg, encode_jpeg
from core.recognition.aggregate import softmax

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from core.frames import RgbPicture
    from core.games import Game
    from core.recognition.aggregate import AnswerRule, Logits
    from core.recognition.artifact import Artifact

GOLDEN_NAME = "golden.json"
FOLDER_NAME = "golden"

_LIMIT_BYTES = 4 * 1024 * 1024
_MOST_FRAMES = 1000
_DIGITS = 6
"""Of a probability, behind the point: far finer than two processors agree."""

Chances = npt.NDArray[np.float64]
"""float64, shape (frames, labels): calibrated probabilities."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GoldenFrameSection(_Section):
    """One frame.

    Attributes:
        file: inside the model's directory.
        game: id of the right game.
        probabilities: that the network gave each label, in their order.
    """

    file: Annotated[str, Field(pattern=rf"^{FOLDER_NAME}/[0-9]{{4,6}}\.jpg$")]
    game: Annotated[str, Field(min_length=1, max_length=200)]
    probabilities: tuple[Annotated[float, Field(ge=0, le=1)], ...]


class GoldenSection(_Section):
    """``golden.json``, format 1."""

    format: Literal[1] = 1
    frames: Annotated[tuple[GoldenFrameSection, ...], Field(min_length=1, max_length=_MOST_FRAMES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSet:
    """The golden frames of a model.

    Attributes:
        pictures: uint8 RGB, shape (frames, 180, 320, 3).
        games: id of the right game of each.
        recorded: what the network said of them when it was made.
    """

    pictures: npt.NDArray[np.uint8]
    games: tuple[str, ...]
    recorded: Chances


def chances_of(logits: Logits, rule: AnswerRule) -> Chances:
    """What a model says of each frame alone; of logits of labels and genres (frames, columns) those of the labels."""
    return softmax(logits[:, : len(rule.labels)].astype(np.float64) / rule.temperature)


def golden_files(
    frames: Sequence[tuple[str, RgbPicture]],
    *,
    rule: AnswerRule,
    logits: Callable[[npt.NDArray[np.uint8]], Logits],
) -> dict[str, bytes]:
    """A golden set as files of an artifact, name to content, for `write_artifact`.

    Args:
        frames: id of the right game, and the picture: uint8 RGB, shape (180, 320, 3). At least one; some of each game,
            of streams that the network was not trained on.
        rule: of the model: its labels, in their order, and its temperature.
        logits: runs the network: uint8 (n, 180, 320, 3) to float32 (n, labels + genres). That of
            `core.recognition.runtime.Network.of_content` is what the bot will run.

    Raises:
        ValueError: there is no frame, there are too many, or one is no such picture.
    """
    if not 0 < len(frames) <= _MOST_FRAMES:
        msg = f"a golden set has 1 to {_MOST_FRAMES} frames, not {len(frames)}"
        raise ValueError(msg)
    encoded = [encode_jpeg(picture) for _, picture in frames]
    # What the files hold, not what they were made from, is what the network will be shown again.
    chances = chances_of(logits(np.stack([_decoded(data) for data in encoded])), rule)
    names = [f"{FOLDER_NAME}/{number:04}.jpg" for number in range(1, len(frames) + 1)]
    section = GoldenSection(
        frames=tuple(
            GoldenFrameSection(file=name, game=game, probabilities=tuple(round(float(one), _DIGITS) for one in row))
            for name, (game, _), row in zip(names, frames, chances, strict=True)
        )
    )
    text = json.dumps(section.model_dump(mode="json"), indent=1, allow_nan=False)
    return {GOLDEN_NAME: (text + "\n").encode(), **dict(zip(names, encoded, strict=True))}


def read_golden(artifact: Artifact) -> GoldenSet | None:
    """The golden set of a model; None for one that has none.

    Raises:
        ArtifactError: with one sentence that says what is wrong with it.
    """
    manifest = artifact.manifest
    if GOLDEN_NAME not in manifest.files:
        return None
    where = f"The golden set of the model in {artifact.directory}"
    try:
        with (artifact.directory / GOLDEN_NAME).open("rb") as file:
            section = GoldenSection.model_validate_json(file.read(_LIMIT_BYTES))
        pictures = []
        for frame in section.frames:
            # Of what the manifest names alone, the sums were checked.
            if frame.file not in manifest.files:
                raise ArtifactError(f"{where} names {frame.file}, which the manifest does not.")
            if len(frame.probabilities) != len(manifest.labels):
                raise ArtifactError(
                    f"{where} has {len(frame.probabilities)} probabilities for {frame.file}, "
                    f"but the model has {len(manifest.labels)} labels."
                )
            pictures.append(_decoded((artifact.directory / frame.file).read_bytes()))
    except OSError as error:
        raise ArtifactError(f"{where} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise ArtifactError(f"{where} is faulty: {GOLDEN_NAME} is not as it is written.") from error
    except ValueError as error:
        raise ArtifactError(f"{where} is faulty: {error}.") from error
    return GoldenSet(
        pictures=np.stack(pictures),
        games=tuple(frame.game for frame in section.frames),
        recorded=np.array([frame.probabilities for frame in section.frames], dtype=np.float64),
    )


def farthest_from_recorded(golden: GoldenSet, chances: Chances) -> float:
    """The largest difference (0 to 1) between what was recorded and what is said now, (frames, labels); pure."""
    return float(np.abs(golden.recorded - chances).max())


def right_answers(golden: GoldenSet, chances: Chances, *, labels: Sequence[Game], among: Collection[str]) -> int:
    """How many of the frames of certain games a model names rightly; pure.

    Args:
        golden: the frames.
        chances: what the model says of them, (frames, labels).
        labels: of that model, whose golden set this need not be.
        among: ids of the games whose frames count.
    """
    named = [labels[column].id for column in chances.argmax(axis=1)]
    return sum(game in among and game == name for game, name in zip(golden.games, named, strict=True))


def _decoded(data: bytes) -> RgbPicture:
    picture = decode_jpeg(data)
    wanted = (IMAGE_CONVENTION.height_px, IMAGE_CONVENTION.width_px, 3)
    if picture.shape != wanted:
        msg = f"a frame of {picture.shape} instead of {wanted}"
        raise ValueError(msg)
    return picture
