"""How games' names are compared, and what a game is called by; pure."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from core.games import NOT_A_GAME, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection

RESERVED_IDS = frozenset({UNKNOWN.id, NOT_A_GAME.id})
"""Ids of the answers that are no game: no category gets one, whatever its name."""

_SLUG_LENGTH = 80
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
_APOSTROPHE = re.compile(r"['’`]")


def folded(name: str) -> str:
    """A name for comparing: without case, punctuation and kinds of spaces.

    ``Counter-Strike 2`` and ``counter strike 2`` are one name, ``Portal`` and ``Portal 2`` two. A name of nothing but
    signs is compared as it is.
    """
    compatible = unicodedata.normalize("NFKC", name).casefold()
    words = "".join(sign if sign.isalnum() else " " for sign in _APOSTROPHE.sub("", compatible)).split()
    return " ".join(words) or " ".join(compatible.split())


def alphabetical(name: str) -> str:
    """A name for sorting: ``Árkanoid`` stands among the As."""
    apart = unicodedata.normalize("NFKD", name)
    return folded("".join(sign for sign in apart if not unicodedata.combining(sign)))


def slug(name: str) -> str:
    """A name as an id: ``counter_strike_2``; ``game`` when no letter of it can be had in ASCII."""
    plain = unicodedata.normalize("NFKD", name).casefold().encode("ascii", "ignore").decode("ascii")
    return _NOT_IN_SLUG.sub("_", _APOSTROPHE.sub("", plain)).strip("_")[:_SLUG_LENGTH].strip("_") or "game"


def free_id(wanted: str, *, taken: Collection[str], suffix: str = "") -> str:
    """The wanted id, or the first like it that is neither taken nor reserved.

    Args:
        wanted: the best id.
        taken: ids that other games have.
        suffix: tried first: ``<wanted>_<suffix>``; then numbers follow.
    """
    candidate = wanted
    number = 1
    while candidate in taken or candidate in RESERVED_IDS:
        if number == 1 and suffix:
            wanted = candidate = f"{wanted}_{slug(suffix)}"
        else:
            candidate = f"{wanted}_{number}"
        number += 1
    return candidate
