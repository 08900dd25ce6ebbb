"""Which pictures of a sampled window teach nothing: a waiting screen's, and those that are there already. Pure.

A waiting screen ("starting soon", "be right back") is a still picture with perhaps a small part that moves. It cannot
be told from a game that stands still by its pictures alone, so the network has a word in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.collection.directory import Category
    from core.frames import RgbPicture
    from core.recognition.verdict import Verdict

_STILL_SHARE = 0.06
"""A window in which a smaller part of the picture than this ever changes is still.

Measured on windows of 13 pictures, two seconds apart, at 160 × 90. Drawn waiting screens (text alone, a countdown, a
large countdown, a progress bar, a spinner, a pulsing disc, a chat box, a webcam in a corner or on a third of the
picture; 80 of them, coded with x264) reach 0.00 to 0.060. Of 811 windows of 31 games 45 lie below: 43 of two Atari
games that play on one screen, and 2 of 29 of a puzzle; chess boards begin at 0.12. Not caught are screens whose
background moves (0.17 and above for a few drifting specks).

The perceptual hash tells them apart far worse: on a smooth background its bits lie near their median, so that a
countdown moves it by up to 22 of 64 bits, while whole windows of a puzzle game stay within 4. "All within 6 bits of the
most central picture" catches 40 of the 80 screens, and 54 windows of eight games.
"""

_CHANGED = 16
"""Of 255, between a point's darkest and brightest: what coding alone does not do."""

_JUDGED_SIZE = (160, 90)

_ENOUGH_PICTURES = 8
"""In fewer, too little time passes to call a picture still: of windows of 4 of the pictures above 17 % are, of 6 10 %,
of 8 and more 6 to 8 %."""

_NEAR_BITS = 4
"""Pictures whose perceptual hashes differ by at most so many bits are the same for training.

Measured on 205 recordings of 33 games. Of pairs two seconds apart that differ by 4 bits, half differ by 2.1 of 255 on
average over their points, and nine in ten by less than 10; by 8 bits, 12; by 10 bits, 17. Of pairs from different
recordings of a game 0.4 % lie within 4 bits, 1.8 % within 8; of 60,000 pairs of different games none within 10. Of
windows of 13 pictures 74 % are kept at 4 bits: 13 % of a still puzzle's, all of a shooter's.
"""


def moving_share(pictures: Sequence[RgbPicture]) -> float:
    """How large a part of the picture changes within a window, 0 to 1.

    Pictures that repeat another make no difference, so it does not matter that the sampler leaves them out.
    """
    small = np.stack([cv2.resize(picture, _JUDGED_SIZE, interpolation=cv2.INTER_AREA) for picture in pictures])
    return float(np.mean(np.ptp(small, axis=0).max(axis=-1) > _CHANGED))


def is_waiting_screen(pictures: Sequence[RgbPicture], *, duplicates: int, recognised: bool) -> bool:
    """Whether a window of a stream that declares a game shows a still screen instead.

    Args:
        pictures: at least one, of the stored size.
        duplicates: pictures of the window that were left out because they repeat one of these.
        recognised: whether the network sees the declared game in them: chess stands still too.
    """
    if recognised or len(pictures) + duplicates < _ENOUGH_PICTURES:
        return False
    return moving_share(pictures) < _STILL_SHARE


def is_recognised(verdict: Verdict | None, declared: Category) -> bool:
    """Whether the network says what the broadcaster says, by the name's letters and digits alone."""
    return verdict is not None and _letters(verdict.game.name) == _letters(declared.name)


def new_pictures(hashes: Sequence[int], known: Iterable[int]) -> tuple[int, ...]:
    """Which pictures are no near-duplicates of earlier ones among them or of known ones.

    Args:
        hashes: perceptual hashes of a window, oldest first.
        known: perceptual hashes of what is kept of the same broadcaster.

    Returns:
        Their places in ``hashes``.
    """
    kept = list(known)
    new: list[int] = []
    for place, value in enumerate(hashes):
        if all((value ^ other).bit_count() > _NEAR_BITS for other in kept):
            kept.append(value)
            new.append(place)
    return tuple(new)


def _letters(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
