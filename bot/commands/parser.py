"""A line of chat to a command; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.commands.request import Help, Identify, OptOut, ShowModel, Unrecognised

if TYPE_CHECKING:
    from bot.commands.request import Command

_VERBOSE_FLAGS = frozenset({"-v", "--verbose"})


def parse_command(text: str, *, prefix: str) -> Command | None:
    """Read a line of chat.

    Args:
        text: the whole line.
        prefix: what a command begins with, such as ``!``.

    Returns:
        The command, or ``None`` for a line that is no command at all.
    """
    stripped = text.strip()
    if not stripped.startswith(prefix):
        return None
    name, _, rest = stripped.removeprefix(prefix).partition(" ")
    match name.casefold():
        case "":
            return None
        case "game":
            return _identify(rest)
        case "help":
            return Help()
        case "model":
            return ShowModel()
        case "optout":
            return OptOut(channel=rest.strip(" "))
        case _:
            return Unrecognised(word=name)


def _identify(rest: str) -> Identify:
    # Only ASCII blanks part words: a look-alike blank stays in the name, which is then refused as a whole.
    words = [word for word in rest.split(" ") if word]
    channel = " ".join(word for word in words if word not in _VERBOSE_FLAGS)
    return Identify(channel=channel, verbose=any(word in _VERBOSE_FLAGS for word in words))
