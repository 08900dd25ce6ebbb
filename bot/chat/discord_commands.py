"""Discord's slash commands and what Discord is told of them."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any, Protocol

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.commands import wording
from bot.commands.parser import COMMANDS
from bot.commands.request import (
    Flag,
    Help,
    Identify,
    ListFlags,
    ListGames,
    OptOut,
    ShowModel,
    Timeline,
    Watch,
    Withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bot.commands.parser import CommandWords
    from bot.commands.request import Command

log = logging.getLogger(__name__)

_Interaction = discord.Interaction[Any]
_Suggested = list[app_commands.Choice[str]]

_MODERATORS = app_commands.default_permissions(manage_messages=True)
"""Whom Discord shows a command at first; a server's owner may decide otherwise, so that a request is checked again."""


class TakesCommands(Protocol):
    """What the commands need of the chat."""

    def take(self, interaction: _Interaction, command: Command, *, private: bool) -> None:
        """Answer a command, once."""
        ...

    async def ask_about_message(self, interaction: _Interaction, message: discord.Message) -> None:
        """Open the form for the look that one of our own messages is from."""
        ...

    async def completes(self, interaction: _Interaction) -> bool:
        """Whether suggestions are this process's to make."""
        ...

    async def suggestions(self, typed: str, *, games: bool) -> _Suggested:
        """What may be typed on."""
        ...


def tree(client: discord.Client, chat: TakesCommands, *, words: CommandWords, languages: Sequence[str]) -> _Tree:
    """All commands that are on. None waits for its answer: it is taken, and acknowledged at once."""
    commands = _Tree(
        client,
        chat=chat,
        languages=languages,
        allowed_installs=app_commands.AppInstallationType(guild=True, user=True),
        allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True),
    )

    async def channels(_: _Interaction, typed: str) -> _Suggested:
        return await chat.suggestions(typed, games=False)

    async def games(_: _Interaction, typed: str) -> _Suggested:
        return await chat.suggestions(typed, games=True)

    @commands.command(**_names("game"))
    @app_commands.rename(channel=_name("option-channel"))
    @app_commands.describe(channel=_name("option-channel-about"))
    @app_commands.autocomplete(channel=channels)
    async def game(interaction: _Interaction, channel: str) -> None:
        chat.take(interaction, Identify(channel=channel), private=False)

    @commands.command(**_names("flag"))
    @app_commands.rename(channel=_name("option-channel"), right=_name("option-game"))
    @app_commands.describe(channel=_name("option-channel-about"), right=_name("option-game-about"))
    @app_commands.autocomplete(channel=channels, right=games)
    @_MODERATORS
    async def flag(interaction: _Interaction, channel: str, right: str) -> None:
        chat.take(interaction, Flag(channel=channel, game=right), private=False)

    @commands.command(**_names("unflag"))
    @app_commands.rename(number=_name("option-number"))
    @app_commands.describe(number=_name("option-number-about"))
    @_MODERATORS
    async def unflag(interaction: _Interaction, number: str) -> None:
        chat.take(interaction, Withdraw(flag=number), private=True)

    @commands.command(**_names("flags"))
    @app_commands.rename(channel=_name("option-channel"))
    @app_commands.describe(channel=_name("option-channel-about"))
    @app_commands.autocomplete(channel=channels)
    @_MODERATORS
    async def flags(interaction: _Interaction, channel: str = "") -> None:
        chat.take(interaction, ListFlags(channel=channel), private=True)

    @commands.command(**_names("games"))
    @app_commands.rename(wanted=_name("option-filter"))
    @app_commands.describe(wanted=_name("option-filter-about"))
    async def known_games(interaction: _Interaction, wanted: str = "") -> None:
        chat.take(interaction, ListGames(wanted=wanted), private=True)

    @commands.command(**_names("timeline"))
    @app_commands.rename(channel=_name("option-channel"))
    @app_commands.describe(channel=_name("option-channel-about"))
    @app_commands.autocomplete(channel=channels)
    async def timeline(interaction: _Interaction, channel: str) -> None:
        chat.take(interaction, Timeline(channel=channel), private=False)

    # What is watched is said where it was asked for, which the bot can only where it was invited to.
    @commands.command(**_names("watch"))
    @app_commands.rename(channel=_name("option-channel"), on=_name("option-on"))
    @app_commands.describe(channel=_name("option-channel-about"), on=_name("option-on-about"))
    @app_commands.autocomplete(channel=channels)
    @app_commands.allowed_installs(guilds=True, users=False)
    @app_commands.allowed_contexts(guilds=True, dms=False, private_channels=False)
    @_MODERATORS
    async def watch(interaction: _Interaction, channel: str = "", on: bool = True) -> None:  # noqa: FBT001, FBT002
        # Without a channel it asks which ones are watched.
        chat.take(interaction, Watch(channel=channel, on=on if channel else None), private=False)

    @commands.command(**_names("model"))
    async def model(interaction: _Interaction) -> None:
        chat.take(interaction, ShowModel(), private=False)

    @commands.command(**_names("help"))
    async def what_can_be_asked(interaction: _Interaction) -> None:
        chat.take(interaction, Help(), private=True)

    @commands.command(**_names("optout"))
    @app_commands.rename(channel=_name("option-channel"))
    @app_commands.describe(channel=_name("option-channel-about"))
    async def optout(interaction: _Interaction, channel: str = "") -> None:
        chat.take(interaction, OptOut(channel=channel), private=True)

    @commands.context_menu(name=_name("command-misclassified"))
    @_MODERATORS
    async def flag_message(interaction: _Interaction, message: discord.Message) -> None:
        await chat.ask_about_message(interaction, message)

    for name in COMMANDS:
        if not words.names[name]:
            commands.remove_command(name)
    if not words.names["flag"]:
        commands.remove_command(
            wording.label("command-misclassified", language="en"), type=discord.AppCommandType.message
        )
    return commands


async def sync_if_changed(commands: _Tree) -> bool:
    """Tell Discord of the commands when what it has differs; returns whether it did.

    Discord allows 200 new commands a day, and a reader costs nothing.

    Raises:
        discord.HTTPException: Discord did not take them, or did not tell what it has.
    """
    translator = _Translator(commands.languages)
    await commands.set_translator(translator)
    wanted = [await command.get_translated_payload(commands, translator) for command in commands.get_commands()]
    http = commands.client.http
    # The library's own question leaves the translations out.
    route = discord.http.Route(
        "GET",
        "/applications/{application_id}/commands?with_localizations=true",
        application_id=commands.client.application_id,
    )
    there = await http.request(route)
    if _comparable(wanted) == _comparable(there):
        return False
    await commands.sync()
    return True


class _Tree(app_commands.CommandTree[Any]):
    def __init__(
        self,
        client: discord.Client,
        *,
        chat: TakesCommands,
        languages: Sequence[str],
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(client, **options)
        self._chat = chat
        self.languages = tuple(languages)

    async def interaction_check(self, interaction: _Interaction, /) -> bool:
        """Commands are taken one by one; suggestions are made before anything is known of them."""
        return interaction.type is not discord.InteractionType.autocomplete or await self._chat.completes(interaction)

    async def on_error(self, interaction: _Interaction, error: app_commands.AppCommandError, /) -> None:
        """A command that Discord still shows although it is gone, or has other options by now."""
        log.warning("A command of Discord was not understood: %s", error)
        if interaction.type is discord.InteractionType.application_command and not interaction.response.is_done():
            text = wording.label("went-wrong", language=interaction.locale.value)
            with contextlib.suppress(discord.HTTPException):
                await interaction.response.send_message(text, ephemeral=True)


class _Translator(app_commands.Translator):
    """Gives every language that there are words for; Discord shows the English ones in all others."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = frozenset(languages)

    async def translate(
        self,
        string: locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,  # noqa: ARG002
    ) -> str | None:
        language = locale.value.partition("-")[0]
        if language not in self._languages or "key" not in string.extras:
            return None
        translated = wording.label(string.extras["key"], language=language)
        return translated if translated != string.message else None


def _name(key: str) -> locale_str:
    return locale_str(wording.label(key, language="en"), key=key)


def _names(command: str) -> dict[str, Any]:
    return {"name": _name(f"command-{command}"), "description": _name(f"command-{command}-about")}


_COMPARED = (
    "type", "name", "name_localizations", "description", "description_localizations", "required", "autocomplete",
    "default_member_permissions", "contexts", "integration_types", "nsfw",
)  # fmt: skip


def _comparable(commands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What matters of commands, however much Discord adds and leaves out."""
    compared = []
    for command in commands:
        row: dict[str, Any] = {}
        for key in _COMPARED:
            value = command.get(key)
            if value:  # Discord has null, false and nothing for the same
                row[key] = sorted(value) if isinstance(value, list) else value
        if "default_member_permissions" in row:
            row["default_member_permissions"] = int(row["default_member_permissions"])
        # The order of options is what people see; that of commands is nobody's.
        row["options"] = [_comparable([option])[0] for option in command.get("options") or ()]
        compared.append(row)
    return sorted(compared, key=lambda row: (row.get("type", 1), row["name"]))
