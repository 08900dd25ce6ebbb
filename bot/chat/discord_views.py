"""What an answer looks like in Discord, and what its buttons carry; nothing here waits for anything but Discord."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import discord
from discord import ui

from bot.commands import wording
from bot.commands.request import Choice, Flag, FlagLook, Identify, ListFlags, Timeline, Watch, Withdraw
from core.games import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from bot.commands.answer import Answer
    from bot.commands.request import Command, Reply
    from core.recognition.verdict import Verdict

log = logging.getLogger(__name__)

_CUSTOM_ID = 100
"""Characters of a component's id, and of what an option of a select stands for, at most."""

_CONTENT = 2000
_DESCRIPTION = 4096
_FIELD = 1024
_TITLE = 256
_OPTION = 100
_OPTIONS = 25

_OLD_S = 5.0
"""From this age on an answer says how old it is."""

_MARK = "gs"
"""What the ids of all our components begin with."""

_MODAL = re.compile(rf"{_MARK}:right-game:(?P<look>.+)", re.DOTALL)

Pressed: TypeAlias = discord.Interaction[Any]


class Press(StrEnum):
    """The buttons under an answer; what each is about stands in its id, so that it outlives the process."""

    RIGHT = "right"
    WRONG = "wrong"
    AGAIN = "again"


class TakesPresses(Protocol):
    """What the buttons need of the client that they come in by."""

    def take(self, interaction: Pressed, command: Command, *, private: bool) -> None:
        """Answer a command, once."""
        ...

    async def ask_for_game(self, interaction: Pressed, look: str) -> None:
        """Open the form for the right game, once."""
        ...


class AnswerButton(
    ui.DynamicItem[ui.Button[ui.View]],
    template=rf"(?s:{_MARK}:(?P<press>right|wrong|again):(?P<subject>.+))",
):
    """A button under an answer."""

    def __init__(self, press: Press, subject: str, *, label: str | None = None) -> None:
        """Build the button.

        Args:
            press: which.
            subject: the look at the stream, or the channel to look at again.
            label: for a person; None for one that only takes in what was pressed.
        """
        super().__init__(
            ui.Button(label=label or press.value, style=_STYLES[press], custom_id=f"{_MARK}:{press.value}:{subject}")
        )
        self._press = press
        self._subject = subject

    @classmethod
    async def from_custom_id(cls, interaction: Pressed, item: ui.Item[Any], match: re.Match[str], /) -> Self:  # noqa: ARG003
        """The button of a message that may be of an earlier process."""
        return cls(Press(match["press"]), match["subject"])

    async def callback(self, interaction: Pressed) -> None:
        """Hand on what was pressed."""
        taker: TakesPresses = interaction.client
        match self._press:
            case Press.RIGHT:
                taker.take(interaction, FlagLook(look=self._subject), private=True)
            case Press.WRONG:
                await taker.ask_for_game(interaction, self._subject)
            case Press.AGAIN:
                taker.take(interaction, Identify(channel=self._subject), private=False)


_STYLES = {
    Press.RIGHT: discord.ButtonStyle.success,
    Press.WRONG: discord.ButtonStyle.danger,
    Press.AGAIN: discord.ButtonStyle.secondary,
}


class ChoiceSelect(ui.DynamicItem[ui.Select[ui.View]], template=rf"{_MARK}:choose"):
    """What may have been meant; each option carries the command that it stands for."""

    def __init__(self, item: ui.Select[ui.View]) -> None:
        super().__init__(item)

    @classmethod
    def of(cls, choices: Sequence[Choice], *, placeholder: str) -> ChoiceSelect | None:
        """A select of all the choices whose command fits into an option; None when there is none of them."""
        labels = {value: choice.label for choice in choices if (value := packed(choice.command)) is not None}
        options = [discord.SelectOption(label=_short(text, _OPTION), value=value) for value, text in labels.items()]
        if not options:
            return None
        return cls(ui.Select(custom_id=f"{_MARK}:choose", placeholder=placeholder, options=options[:_OPTIONS]))

    @classmethod
    async def from_custom_id(cls, interaction: Pressed, item: ui.Item[Any], match: re.Match[str], /) -> Self:  # noqa: ARG003
        """The select of a message that may be of an earlier process."""
        if not isinstance(item, ui.Select):
            raise TypeError("a select was expected")
        return cls(item)

    async def callback(self, interaction: Pressed) -> None:
        """Hand on what was chosen."""
        command = unpacked(self.item.values[0]) if self.item.values else None
        if command is None:
            log.warning("A choice of an unknown kind was made.")
            return
        taker: TakesPresses = interaction.client
        taker.take(interaction, command, private=not isinstance(command, Identify | Timeline))


_PACKED: dict[str, type[Command]] = {
    "identify": Identify,
    "flag": Flag,
    "look": FlagLook,
    "withdraw": Withdraw,
    "flags": ListFlags,
    "timeline": Timeline,
    "watch": Watch,
}
_NAME_OF = {kind: name for name, kind in _PACKED.items()}


def packed(command: Command) -> str | None:
    """A command as an option of a select can carry it; None when it is of a kind not offered, or too long."""
    name = _NAME_OF.get(type(command))
    if name is None:
        return None
    text = json.dumps([name, *dataclasses.astuple(command)], ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= _CUSTOM_ID else None


def unpacked(text: str) -> Command | None:
    """The command that an option carries; None when it carries none."""
    try:
        name, *values = json.loads(text)
        kind = _PACKED[name]
        fields = dataclasses.fields(kind)
        if len(values) != len(fields) or not all(isinstance(value, str | bool | None) for value in values):
            return None
        return kind(**{field.name: value for field, value in zip(fields, values, strict=True)})
    except (ValueError, KeyError, TypeError):
        return None


def right_game_form(look: str, *, language: str) -> ui.Modal:
    """The form that asks for the right game.

    It is stopped at once, so that the library does not keep it: what is sent in is read by its id alone, and so also
    by the next process.
    """
    form = ui.Modal(title=wording.label("form-title", language=language), custom_id=f"{_MARK}:right-game:{look}")
    form.add_item(
        ui.Label(
            text=wording.label("form-game", language=language),
            component=ui.TextInput(custom_id=f"{_MARK}:game", min_length=1, max_length=100),
        )
    )
    form.stop()
    return form


def look_of_form(custom_id: str) -> str | None:
    """Which look a form that was sent in is about; None when it is not ours."""
    match = _MODAL.fullmatch(custom_id)
    return match["look"] if match else None


def sent_in(components: object) -> str:
    """What was typed into the form, however its fields are nested."""
    if isinstance(components, dict):
        if components.get("custom_id") == f"{_MARK}:game":
            return str(components.get("value") or "")
        return sent_in(list(components.values()))
    if isinstance(components, list):
        return next((text for text in map(sent_in, components) if text), "")
    return ""


def look_of(message: discord.Message) -> str | None:
    """Which look one of our own answers is from, by its buttons."""
    for row in message.components:
        for component in getattr(row, "children", ()):
            match = AnswerButton.__discord_ui_compiled_template__.fullmatch(getattr(component, "custom_id", None) or "")
            if match and match["press"] == Press.WRONG:
                return match["subject"]
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A Reply as Discord shows it.

    Attributes:
        content: the text; None when the embed says everything.
        embed: of an answer that saw something.
        picture: the evidence mosaic, JPEG or WebP.
        choices: what may have been meant.
        answer: what the buttons are about.
        language: of the buttons.
    """

    content: str | None
    embed: discord.Embed | None = None
    picture: bytes | None = None
    choices: tuple[Choice, ...] = ()
    answer: Answer | None = None
    language: str

    def arguments(self) -> dict[str, Any]:
        """For whatever method of the library sends a message.

        Built anew each time: a file that was sent is closed.
        """
        arguments: dict[str, Any] = {"allowed_mentions": discord.AllowedMentions.none()}
        if self.content is not None:
            arguments["content"] = self.content
        if self.embed is not None:
            arguments["embed"] = self.embed
        if self.picture is not None:
            arguments["file"] = discord.File(io.BytesIO(self.picture), filename=_picture_name(self.picture))
        view = self._view()
        if view is not None:
            arguments["view"] = view
        return arguments

    def _view(self) -> ui.View | None:
        view = ui.View(timeout=None)
        select = ChoiceSelect.of(self.choices, placeholder=wording.label("choose", language=self.language))
        if select is not None:
            view.add_item(select)
        if self.answer is not None:
            for press, subject in _presses(self.answer):
                view.add_item(
                    AnswerButton(press, subject, label=wording.label(f"button-{press}", language=self.language))
                )
        return view if view.children else None


def shown(reply: Reply, *, picture: bytes | None, channel_url: str, language: str, with_text: bool = False) -> Shown:
    """A Reply as Discord shows it.

    Args:
        reply: not silent.
        picture: the evidence mosaic, if there is one.
        channel_url: with ``{channel}`` in it.
        language: of the names of fields and buttons.
        with_text: say the text even where the embed's fields say the same, because nobody asked.
    """
    answer = reply.answer
    verdict = answer.verdict if answer is not None else None
    text = _harmless(reply.text)
    if answer is None or verdict is None:
        if len(text) > _CONTENT:
            embed = discord.Embed(description=_short(text, _DESCRIPTION))
            return Shown(content=None, embed=embed, choices=reply.choices, answer=answer, language=language)
        return Shown(content=text, choices=reply.choices, answer=answer, language=language)
    embed = _embed(answer, verdict, channel_url=channel_url, language=language)
    if with_text or "\n" in text:  # frame by frame: more than the fields say
        embed.description = _short(text, _DESCRIPTION)
    if picture is not None:
        embed.set_image(url=f"attachment://{_picture_name(picture)}")
    return Shown(content=None, embed=embed, picture=picture, choices=reply.choices, answer=answer, language=language)


def _embed(answer: Answer, verdict: Verdict, *, channel_url: str, language: str) -> discord.Embed:
    if verdict.game == UNKNOWN:
        seen = wording.label("unknown", language=language)
        colour = discord.Colour.light_grey()
    else:
        seen = f"{wording.game_name(verdict.game, language=language)} {wording.percent(verdict.confidence)}"
        agrees = answer.declared is None or answer.declared.name.casefold() == verdict.game.name.casefold()
        colour = discord.Colour.green() if agrees else discord.Colour.orange()
    declared = answer.declared.name if answer.declared is not None else "–"
    embed = discord.Embed(
        title=_short(_harmless(answer.channel), _TITLE), url=channel_url.format(channel=answer.channel), colour=colour
    )
    for key, value in (
        ("seen", seen),
        ("declared", declared),
        ("frames", f"{verdict.votes}/{len(verdict.frames)}"),
    ):
        embed.add_field(name=wording.label(f"field-{key}", language=language), value=_short(_harmless(value), _FIELD))
    footer = f"{wording.label('field-model', language=language)} {verdict.model}"
    if answer.age_s >= _OLD_S:
        footer = f"{footer} · {wording.ago(answer.age_s, language=language)}"
    embed.set_footer(text=footer)
    return embed


def _presses(answer: Answer) -> list[tuple[Press, str]]:
    wanted = [(Press.RIGHT, answer.look), (Press.WRONG, answer.look)] if answer.look and answer.verdict else []
    if answer.verdict is not None:
        wanted.append((Press.AGAIN, answer.channel))
    # The longest id decides, which is the form's.
    return [(press, subject) for press, subject in wanted if len(f"{_MARK}:right-game:{subject}") <= _CUSTOM_ID]


def _picture_name(picture: bytes) -> str:
    return "evidence.webp" if picture.startswith(b"RIFF") else "evidence.jpg"


def _harmless(text: str) -> str:
    """Plain text as it stands: nothing in it becomes bold, a link or a mention."""
    return discord.utils.escape_mentions(discord.utils.escape_markdown(text))


def _short(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    whole_lines, _, _ = text[: limit - 1].rpartition("\n")
    return f"{whole_lines or text[: limit - 1]}…"
