"""The verb `preview`: what augmentation makes of one picture, as a labelled contact sheet.

Every change is shown by itself, so that one can be judged at a time; then whole views, as training draws them.
"""

from __future__ import annotations

import dataclasses
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib.figure
import numpy as np

from core.errors import DataSetError, TrainingError
from core.frames import IMAGE_CONVENTION, to_stored
from training.data.pictures import read_picture
from training.pipeline.augment import AugmentConfig, augment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from core.frames import RgbPicture

_STRENGTHS = frozenset({"smallest_crop", "largest_turn_degrees"})
"""What of an `AugmentConfig` says how strong a change is, and not how often it is made."""
_WORDS = {
    "reframe": "zoomed into a part",
    "trim_border": "black borders trimmed",
    "add_border": "framed with a border",
    "colour": "recoloured",
    "compress": "compressed",
    "webcam": "webcam pasted",
    "chat": "chat pasted",
    "alert": "alert pasted",
    "erase": "parts erased",
    "flip": "mirrored",
    "rotate": "rotated",
}
_COLUMNS = 4
_GAP_PX = 8
_LABEL_PX = 22
_DPI = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A picture of the sheet and what stands below it.

    Attributes:
        name: what was done to it, in words.
        picture: uint8[180, 320, 3], RGB.
    """

    name: str
    picture: RgbPicture


def tiles(picture: RgbPicture, *, config: AugmentConfig, seed: int, draws: int = 2, views: int = 8) -> tuple[Tile, ...]:
    """The picture as it is, every single change of it, and whole views; the same arguments give the same tiles.

    Args:
        picture: uint8[180, 320, 3], RGB.
        config: how often and how strongly whole views are changed; single changes take the strengths from it.
        seed: another one draws other changes.
        draws: how many times each single change is drawn.
        views: how many whole views there are.
    """
    sheet = [Tile(name="as it is", picture=picture)]
    for number, change in enumerate(changes()):
        alone = _alone(config, change)
        words = _WORDS.get(change, change.replace("_", " ")) + ("" if getattr(config, change) else " (off)")
        for draw in range(draws):
            changed = augment(picture, np.random.default_rng([seed, 0, number, draw]), alone)
            if np.array_equal(changed, picture):
                # Only black borders can be trimmed: most pictures have none, and one tile says so.
                sheet.append(Tile(name=f"{words} (nothing to change)", picture=changed))
                break
            sheet.append(Tile(name=words, picture=changed))
    for view in range(views):
        whole = augment(picture, np.random.default_rng([seed, 1, view]), config)
        sheet.append(Tile(name=f"whole view {view + 1}", picture=whole))
    return tuple(sheet)


def changes() -> tuple[str, ...]:
    """The names of all changes that `augment` can make, as its configuration calls them."""
    return tuple(field.name for field in dataclasses.fields(AugmentConfig) if field.name not in _STRENGTHS)


def contact_sheet(sheet: Sequence[Tile], *, columns: int = _COLUMNS) -> bytes:
    """The tiles in rows, each above its name, as a PNG; every pixel of a tile is a pixel of the sheet."""
    rows = math.ceil(len(sheet) / columns)
    wide, high = IMAGE_CONVENTION.width_px + _GAP_PX, IMAGE_CONVENTION.height_px + _LABEL_PX + _GAP_PX
    width, height = columns * wide + _GAP_PX, rows * high + _GAP_PX
    figure = matplotlib.figure.Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    for place, tile in enumerate(sheet):
        row, column = divmod(place, columns)
        left, top = _GAP_PX + column * wide, height - _GAP_PX - row * high
        figure.figimage(tile.picture, left, top - IMAGE_CONVENTION.height_px)
        label = top - IMAGE_CONVENTION.height_px - _LABEL_PX / 2
        figure.text(left / width, label / height, tile.name, fontsize=9, verticalalignment="center", color="black")
    written = io.BytesIO()
    # Without a library's version in it, the same tiles make the same file.
    figure.savefig(written, format="png", dpi=_DPI, metadata={"Software": None})
    return written.getvalue()


def preview(image: Path, *, out: Path, config: AugmentConfig | None, seed: int) -> int:
    """Write the sheet of one picture file to `out`, replacing what is there; returns how many tiles it has.

    Args:
        image: a picture file of any size.
        out: the PNG to write.
        config: a preset's; None if it shows every picture as it is.
        seed: of the draws.

    Raises:
        DataSetError: the file is no picture, or the sheet cannot be written there.
        TrainingError: there is nothing to show.
    """
    if config is None:
        raise TrainingError("This preset changes no picture, so that there is nothing to preview; choose another one.")
    if out.suffix.lower() != ".png":
        raise DataSetError(f"The sheet is a PNG; give it a name that ends in .png instead of {out.name}.")
    try:
        picture = to_stored(read_picture(image.read_bytes()))
    except OSError as error:
        raise DataSetError(f"The picture {image} cannot be read: {_why(error)}.") from error
    except ValueError as error:
        raise DataSetError(f"{image} cannot be used: {error}.") from error
    drawn = tiles(picture, config=config, seed=seed)
    unfinished = out.with_name(f".{out.name}.part")
    try:
        unfinished.write_bytes(contact_sheet(drawn))
        unfinished.replace(out)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataSetError(f"The sheet cannot be written to {out}: {_why(error)}.") from error
    return len(drawn)


def _alone(config: AugmentConfig, change: str) -> AugmentConfig:
    odds = {name: 1.0 if name == change else 0.0 for name in changes()}
    return dataclasses.replace(config, **odds)


def _why(error: OSError) -> str:
    return (error.strerror or "the system does not say why").lower()
