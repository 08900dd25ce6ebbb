"""The evidence as one picture: every frame with what the network saw in it, and why the others did not count.

Blocking, some ten milliseconds of work: to be called in a thread.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from bot.commands import wording
from bot.commands.answer import EvidenceTile
from bot.languages.sentences import harmless
from core.frames import RgbPicture, decode_jpeg, encode_jpeg, to_stored
from core.games import UNKNOWN
from core.streams.sampler import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.games import Game
    from core.recognition.verdict import Verdict
    from core.streams.sampler import Sample

MAX_BYTES = 300_000
"""Of the drawn picture: what a phone loads at once."""

_TILE_QUALITY = 80
"""JPEG, of what is kept of a frame for as long as the answer is: 13 of them are 100 to 200 kB."""

_QUALITIES = (88, 80, 70, 55, 40, 25)
_SHRINKING = 0.7
"""Each side, when not even the lowest quality is small enough."""

_MOST_TILES = 28
_MOST_COLUMNS = 4
_PICTURE_WIDTH_PX, _PICTURE_HEIGHT_PX = 320, 180
_CAPTION_PX = 62
_HEADER_PX = 52
_GAP_PX = 8
_FRAME_PX = 5
_LARGE_PX, _SMALL_PX = 25, 22
_BOLD, _REGULAR = 700, 450

_Colour = tuple[int, int, int]
_BACKGROUND: Final[_Colour] = (24, 25, 28)
_PAPER: Final[_Colour] = (43, 45, 49)
_WHITE: Final[_Colour] = (255, 255, 255)
_GREY: Final[_Colour] = (165, 168, 176)
_DARK: Final[_Colour] = (70, 72, 78)
_AGREES: Final[_Colour] = (87, 202, 138)
_DIFFERS: Final[_Colour] = (255, 176, 46)
"""Told from the other by its brightness and by a sign before the label, too: not everybody sees green and amber."""

_OTHER_GAME = "≠ "


def tiles(sample: Sample, verdict: Verdict) -> tuple[EvidenceTile, ...]:
    """The pictures of a look with what was seen in each, and those that did not count, in the order of the stream.

    Args:
        sample: what was sampled.
        verdict: of its frames.
    """
    counted = [
        EvidenceTile(
            picture=encode_jpeg(frame.picture, quality=_TILE_QUALITY),
            label=said.game,
            confidence=said.confidence,
            at_s=frame.at_s,
        )
        for frame, said in zip(sample.frames, verdict.frames, strict=True)
    ]
    rejected = [
        EvidenceTile(
            picture=encode_jpeg(one.thumbnail, quality=_TILE_QUALITY) if one.thumbnail is not None else None,
            at_s=one.at_s,
            rejected=one.reason.value,
        )
        for one in sample.left_out
    ]
    return tuple(sorted((*counted, *rejected), key=lambda tile: tile.at_s or 0.0))


def draw(evidence: Sequence[EvidenceTile], *, channel: str, language: str, seen: Game | None = None) -> bytes:
    """Draw the evidence as one JPEG of less than :data:`MAX_BYTES`.

    Frames that show what most show are framed in one colour, those of another game in another and with a sign before
    their label; what did not count is grey and says why.

    Args:
        evidence: in the order of the stream; adverts in a row become one tile.
        channel: for the heading.
        language: of the one who reads it.
        seen: the answer that the evidence is of; None for what most frames show. Of one that says that the game is
            unknown, no frame is said to agree.
    """
    pen = _Pen()
    shown = _shown(evidence)
    most = seen if seen is not None else _most_seen(evidence)
    columns = min(_MOST_COLUMNS, max(2, int(np.ceil(np.sqrt(len(shown))))))
    rows = -(-len(shown) // columns)
    width_px = columns * (_PICTURE_WIDTH_PX + _GAP_PX) + _GAP_PX
    height_px = _HEADER_PX + rows * (_PICTURE_HEIGHT_PX + _CAPTION_PX + _GAP_PX)
    canvas = _filled(width_px, height_px, _BACKGROUND)
    _head(canvas[:_HEADER_PX, _GAP_PX : width_px - _GAP_PX], pen, channel, evidence, most, language)
    for at, tile in enumerate(shown):
        row, column = divmod(at, columns)
        top_px = _HEADER_PX + row * (_PICTURE_HEIGHT_PX + _CAPTION_PX + _GAP_PX)
        left_px = _GAP_PX + column * (_PICTURE_WIDTH_PX + _GAP_PX)
        area = canvas[
            top_px : top_px + _PICTURE_HEIGHT_PX + _CAPTION_PX,
            left_px : left_px + _PICTURE_WIDTH_PX,
        ]
        _tile(area, pen, tile, most, language)
    return _small_enough(canvas)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shown:
    """A tile as it is drawn: ``count`` adverts in a row are one."""

    tile: EvidenceTile
    count: int = 1


class _Pen:
    """Writes on pictures."""

    def __init__(self) -> None:
        # OpenCV 5 brings a typeface with nearly every script in it, unlike its old lines of ASCII.
        self._face = cv2.FontFace("sans")

    def width_px(self, text: str, size_px: int, weight: int) -> int:
        return int(cv2.getTextSize((0, 0), text, (0, 0), self._face, size_px, weight)[2])

    def fitting(self, text: str, limit_px: int, size_px: int, weight: int) -> str:
        """As much of a text as has room."""
        # Half a surrogate pair ends OpenCV 5.0, and with it the process.
        text = harmless(text)[:200]
        if self.width_px(text, size_px, weight) <= limit_px:
            return text
        shortest, longest = 0, len(text)
        while shortest < longest:
            middle = (shortest + longest + 1) // 2
            if self.width_px(f"{text[:middle].rstrip()}…", size_px, weight) <= limit_px:
                shortest = middle
            else:
                longest = middle - 1
        return f"{text[:shortest].rstrip()}…"

    def write(
        self, on: RgbPicture, text: str, at_px: tuple[int, int], colour: _Colour, size_px: int, weight: int
    ) -> None:
        """Write at the left end of a base line."""
        cv2.putText(on, text, at_px, colour, self._face, size_px, weight)


def _shown(evidence: Sequence[EvidenceTile]) -> list[_Shown]:
    shown: list[_Shown] = []
    for is_advert, group in groupby(evidence, key=lambda tile: tile.rejected == Reason.ADVERT):
        members = list(group)
        if is_advert:
            shown.append(_Shown(tile=members[0], count=len(members)))
        else:
            shown += [_Shown(tile=tile) for tile in members]
    return shown[:_MOST_TILES]


def _most_seen(evidence: Sequence[EvidenceTile]) -> Game | None:
    """The game of most frames; of two with as many, the one that the network was surer of."""
    counted = [tile for tile in evidence if tile.label is not None and tile.rejected is None]
    frames = Counter(tile.label for tile in counted)
    return max(
        frames,
        key=lambda game: (frames[game], sum(tile.confidence for tile in counted if tile.label == game)),
        default=None,
    )


def _head(
    area: RgbPicture, pen: _Pen, channel: str, evidence: Sequence[EvidenceTile], most: Game | None, language: str
) -> None:
    counted = [tile for tile in evidence if tile.rejected is None]
    right = ""
    if most == UNKNOWN:
        right = wording.label("unknown", language=language)
    elif most is not None:
        agreeing = sum(tile.label == most for tile in counted)
        right = f"{wording.game_name(most, language=language)} {agreeing}/{len(counted)}"
    half_px = area.shape[1] // 2 - _GAP_PX
    right = pen.fitting(right, half_px, _LARGE_PX, _REGULAR)
    right_px = pen.width_px(right, _LARGE_PX, _REGULAR)
    left = pen.fitting(channel, area.shape[1] - right_px - 2 * _GAP_PX, _LARGE_PX, _BOLD)
    base_px = _HEADER_PX // 2 + _LARGE_PX // 3
    pen.write(area, left, (0, base_px), _WHITE, _LARGE_PX, _BOLD)
    pen.write(area, right, (area.shape[1] - right_px, base_px), _GREY, _LARGE_PX, _REGULAR)


def _tile(area: RgbPicture, pen: _Pen, shown: _Shown, most: Game | None, language: str) -> None:
    tile = shown.tile
    area[:] = _PAPER
    picture = _picture(tile)
    counts = tile.rejected is None
    if picture is not None:
        area[:_PICTURE_HEIGHT_PX] = picture if counts else _greyed(picture)
    else:
        area[:_PICTURE_HEIGHT_PX] = _DARK
    when = f"{tile.at_s:.0f} s" if tile.at_s is not None else ""
    if not counts:
        _caption(
            area, pen, wording.rejected_tile(str(tile.rejected), count=shown.count, language=language), when, _GREY
        )
        return
    differs = tile.label is not None and most not in {tile.label, UNKNOWN}
    if most != UNKNOWN:
        _frame(area[:_PICTURE_HEIGHT_PX], _DIFFERS if differs else _AGREES)
    label = wording.game_name(tile.label, language=language) if tile.label is not None else ""
    details = " · ".join(part for part in (wording.percent(tile.confidence) if label else "", when) if part)
    _caption(area, pen, f"{_OTHER_GAME if differs else ''}{label}", details, _DIFFERS if differs else _WHITE)


def _caption(area: RgbPicture, pen: _Pen, first: str, second: str, colour: _Colour) -> None:
    room_px = _PICTURE_WIDTH_PX - 2 * _GAP_PX
    below = area[_PICTURE_HEIGHT_PX:]
    pen.write(below, pen.fitting(first, room_px, _LARGE_PX, _BOLD), (_GAP_PX, 27), colour, _LARGE_PX, _BOLD)
    pen.write(below, pen.fitting(second, room_px, _SMALL_PX, _REGULAR), (_GAP_PX, 53), _GREY, _SMALL_PX, _REGULAR)


def _frame(picture: RgbPicture, colour: _Colour) -> None:
    picture[:_FRAME_PX] = picture[-_FRAME_PX:] = colour
    picture[:, :_FRAME_PX] = picture[:, -_FRAME_PX:] = colour


def _picture(tile: EvidenceTile) -> RgbPicture | None:
    if tile.picture is None:
        return None
    try:
        return to_stored(decode_jpeg(tile.picture))
    except ValueError:
        return None


def _greyed(picture: RgbPicture) -> RgbPicture:
    """Without colour and half as bright, on a grey that a black picture can be told from."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) * 0.45 + 40
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def _filled(width_px: int, height_px: int, colour: _Colour) -> RgbPicture:
    return np.full((height_px, width_px, 3), colour, dtype=np.uint8)


def _small_enough(canvas: RgbPicture) -> bytes:
    while True:
        for quality in _QUALITIES:
            data = encode_jpeg(canvas, quality=quality)
            if len(data) < MAX_BYTES:
                return data
        canvas = np.asarray(
            cv2.resize(canvas, None, fx=_SHRINKING, fy=_SHRINKING, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
