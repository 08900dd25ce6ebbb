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
class OptOut:
    """Leave a channel alone from now on, and remove what was kept of it.

    Attributes:
        channel: as typed, not yet checked; empty for the asker's own.
    """

    channel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unrecognised:
    """Something that begins like a command and is none.

    Attributes:
        word: the first word, without the prefix.
    """

    word: str


Command: TypeAlias = Identify | Help | ShowModel | OptOut | Unrecognised


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """Who asks, as far as the platform vouches for it.

    Attributes:
        platform: where: ``console``, ``twitch``, ...; empty when nothing is known.
        name: as other people there see it.
        own_channel: login of the channel that this person broadcasts on; None where the platform cannot tell.
        operates: whether the bot is this person's own.
    """

    platform: str = ""
    name: str = ""
    own_channel: str | None = None
    operates: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One command of one person."""

    command: Command
    asker: Asker = Asker()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the person is told.

    Attributes:
        text: one or more lines of plain text.
        answer: what the text was made from, where a channel was asked about.
    """

    text: str
    answer: Answer | None = None
