"""Games, and the two answers that are not one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Game:
    """A game as people name it.

    Attributes:
        id: stable and machine-readable; a model's labels carry it.
        name: the title that people see.
    """

    id: str
    name: str


UNKNOWN = Game(id="unknown", name="Unknown")
"""The answer when the network should not guess."""

NOT_A_GAME = Game(id="not_a_game", name="Not a game")
"""A desktop, a webcam, a waiting screen: the negative class."""
