"""All that a platform may say to us, and all that it gets back."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from bot.commands.answer import Answer

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identify:
    """Which game does this channel show?

    Attributes:
        channel: as typed, not yet checked; empty for the channel of the place where it is asked.
        verbose: say what every frame looks like.
    """

    channel: str
    verbose: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """What I was told of this channel is wrong; this game is right.

    Attributes:
        channel: as typed, not yet checked; the last look at it is meant.
        game: as typed: a name, an alias, or something near one; empty to be asked back.
    """

    channel: str
    game: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagLook:
    """The same of one certain look, as a button under its answer has it.

    Attributes:
        look: :attr:`bot.commands.answer.Answer.look`.
        game: as typed; empty says that what was recognised is right.
    """

    look: str
    game: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdraw:
    """Take a flag back.

    Attributes:
        flag: its number, as typed.
    """

    flag: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListFlags:
    """Which flags are there?

    Attributes:
        channel: as typed, not yet checked; empty for those of all channels.
    """

    channel: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListGames:
    """Which games are known?

    Attributes:
        wanted: part of a name; empty for all.
    """

    wanted: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """Which games were seen on a channel tonight?

    Attributes:
        channel: as typed, not yet checked; empty for the channel of the place where it is asked.
    """

    channel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Look at a channel every few minutes, and say here when it shows another game than it declares; or no more.

    Attributes:
        channel: as typed, not yet checked; empty for the channel of the place where it is asked.
        on: False ends it; None asks which channels are watched here.
    """

    channel: str
    on: bool | None = None


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


Command: TypeAlias = (
    Identify
    | Flag
    | FlagLook
    | Withdraw
    | ListFlags
    | ListGames
    | Timeline
    | Watch
    | Help
    | ShowModel
    | OptOut
    | Unrecognised
)


class Role(IntEnum):
    """What a person may do in the place where they ask; each may do all that the ones before may."""

    VIEWER = 0
    MODERATOR = 1
    BROADCASTER = 2
    OPERATOR = 3
    """The bot is this person's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asker:
    """Who asks, as far as the platform vouches for it.

    Attributes:
        platform: where: ``console``, ``twitch``, ``discord``; empty when nothing is known.
        id: the platform's, which stays when the name changes.
        name: as other people there see it.
        own_channel: login of the channel that this person broadcasts on; None where the platform cannot tell.
        role: in the place where they ask.
        language: IETF tag of the language that they read, as far as the platform says: ``de``, ``en-GB``.
    """

    platform: str = ""
    id: str = ""
    name: str = ""
    own_channel: str | None = None
    role: Role = Role.VIEWER
    language: str = DEFAULT_LANGUAGE

    @property
    def operates(self) -> bool:
        """Whether the bot is this person's own."""
        return self.role is Role.OPERATOR

    @property
    def moderates(self) -> bool:
        """Whether this person looks after the place where they ask."""
        return self.role >= Role.MODERATOR

    @property
    def key(self) -> str:
        """Tells this person from all others, on all platforms."""
        return f"{self.platform}:{self.id or self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a command is given and answered.

    Attributes:
        platform: as in :attr:`Asker.platform`.
        id: the platform's: of a Twitch channel's broadcaster, of a Discord channel; empty for the terminal.
        server: the platform's id of what the place is part of, where there is such a thing: a Discord server.
        name: as people there see it.
        channel: login of the Twitch channel that the place belongs to, about which is asked when none is named.
        is_one_line: whether a message there is one short line.
    """

    platform: str = ""
    id: str = ""
    server: str = ""
    name: str = ""
    channel: str | None = None
    is_one_line: bool = False

    @property
    def key(self) -> str:
        """Tells the place, or the server that it is part of, from all others: what limits and switches go by."""
        return f"{self.platform}:{self.server or self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One command of one person.

    Attributes:
        command: what is asked.
        asker: who asks.
        place: where.
        id: names it in the log, from the chat to the database; made up when it is not given.
    """

    command: Command
    asker: Asker = Asker()
    place: Place = Place()
    id: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One thing that may have been meant, when it was not clear what.

    Attributes:
        label: for a person.
        command: what choosing it would ask.
    """

    label: str
    command: Command


class Outcome(StrEnum):
    """How a command ended that came to no look at a channel."""

    SAID = "said"
    OFF = "off"
    COOLDOWN = "cooldown"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What the person is told.

    Attributes:
        text: one or more lines of plain text; empty when nothing is to be said at all.
        answer: what the text was made from, where a channel was asked about.
        private: for the asker alone, where the platform can: mistakes, refusals, long lists.
        choices: what may have been meant, best first, where that was asked back.
        outcome: how it ended, for whoever counts; where there is an answer, its status says so.
    """

    text: str
    answer: Answer | None = None
    private: bool = False
    choices: tuple[Choice, ...] = ()
    outcome: Outcome = field(default=Outcome.SAID, compare=False)

    @property
    def is_silent(self) -> bool:
        """Whether nothing is to be said: the command is off here, or its limit was named already."""
        return not self.text
