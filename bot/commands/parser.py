"""A line of chat to a command; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from bot.commands.request import (
    Flag,
    Help,
    Identify,
    ListFlags,
    ListGames,
    OptOut,
    ShowModel,
    Timeline,
    Unrecognised,
    Watch,
    Withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.commands.request import Command

COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        name: (name,)
        for name in ("game", "flag", "unflag", "flags", "games", "timeline", "watch", "model", "optout", "help")
    }
)
"""Every command, and what it is called unless the settings say otherwise."""

_VERBOSE_FLAGS = frozenset({"-v", "--verbose"})
_SWITCHES = {"on": True, "off": False, "an": True, "aus": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandWords:
    """How commands are written.

    Attributes:
        prefix: what a command begins with, such as ``!``.
        names: of each command of ``COMMANDS``, casefolded, the one that is shown first; none switches it off.
    """

    prefix: str = "!"
    names: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: COMMANDS)

    def shown(self, command: str) -> str:
        """How to write a command; empty when it is off."""
        names = self.names[command]
        return self.prefix + names[0] if names else ""

    def word(self, command: str) -> str:
        """What a command is called, without the prefix; its original name when it is off."""
        names = self.names[command]
        return names[0] if names else command

    def meant(self, word: str) -> str | None:
        """The command of a word that stands behind the prefix; None when it is none."""
        folded = word.casefold()
        return next((command for command, names in self.names.items() if folded in names), None)


def command_words_problem(names: Mapping[str, tuple[str, ...]]) -> str | None:
    """What is wrong with names of commands, in a sentence; None when nothing is."""
    owners: dict[str, str] = {}
    for command, words in {**COMMANDS, **names}.items():
        if command not in COMMANDS:
            return f"{command!r} is no command; there are {', '.join(COMMANDS)}."
        for word in words:
            if owners.setdefault(word, command) != command:
                return f"{word!r} names both {owners[word]} and {command}."
    return None


def parse_command(text: str, *, words: CommandWords) -> Command | None:
    """Read a line of chat.

    Args:
        text: the whole line.
        words: how commands are written.

    Returns:
        The command, or ``None`` for a line that is no command at all.
    """
    stripped = text.strip()
    if not stripped.startswith(words.prefix):
        return None
    word, _, rest = stripped.removeprefix(words.prefix).partition(" ")
    rest = rest.strip(" ")
    if not word:
        return None
    return _command(words.meant(word), word, rest)


def _command(meant: str | None, word: str, rest: str) -> Command:
    match meant:
        case "game":
            return _identify(rest)
        case "flag":
            channel, _, game = rest.partition(" ")
            return Flag(channel=channel, game=game.strip(" "))
        case "unflag":
            return Withdraw(flag=rest)
        case "flags":
            return ListFlags(channel=rest)
        case "games":
            return ListGames(wanted=rest)
        case "timeline":
            return Timeline(channel=rest)
        case "watch":
            return _watch(rest)
        case "model":
            return ShowModel()
        case "optout":
            return OptOut(channel=rest)
        case "help":
            return Help()
        case _:
            return Unrecognised(word=word)


def _watch(rest: str) -> Watch:
    """``on some_channel``, and ``some_channel on``, too; a channel alone is to be watched."""
    words = [word for word in rest.split(" ") if word]
    for place in (0, -1):
        if words and words[place].casefold() in _SWITCHES:
            return Watch(on=_SWITCHES[words.pop(place).casefold()], channel=" ".join(words))
    return Watch(on=True if words else None, channel=" ".join(words))


def _identify(rest: str) -> Identify:
    # Only ASCII blanks part words: a look-alike blank stays in the name, which is then refused as a whole.
    words = [word for word in rest.split(" ") if word]
    channel = " ".join(word for word in words if word not in _VERBOSE_FLAGS)
    return Identify(channel=channel, verbose=any(word in _VERBOSE_FLAGS for word in words))
