"""All that a platform may say to us, and all that it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bot.commands.answer import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Identify:
    """Which game does this channel show?

    Attributes:
        channel: as typed, not yet checked; empty when none was named.
        verbose: say what every frame looks like.
    """

    channel: str
    verbose: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Help:
    """What can I ask?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShowModel:
    """Which model answers?"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unrecognised:
    """Something that begins like a command and is none.

    Attributes:
        word: the first word, without the prefix.
    """

    word: str


Command: TypeAlias = Identify | Help | ShowModel | Unrecognised


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One command of one person."""

    command: Command


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the person is told.

    Attributes:
        text: one or more lines of plain text.
        answer: what the text was made from, where a channel was asked about.
    """

    text: str
    answer: Answer | None = None
