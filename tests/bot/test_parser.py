from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.parser import COMMANDS, CommandWords, command_words_problem, parse_command
from bot.commands.request import (
    Command,
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

WORDS = CommandWords()


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("!game some_channel", Identify(channel="some_channel")),
        ("  !GAME   Some_Channel  ", Identify(channel="Some_Channel")),
        ("!game -v some_channel", Identify(channel="some_channel", verbose=True)),
        ("!game some_channel --verbose", Identify(channel="some_channel", verbose=True)),
        ("!game https://www.twitch.tv/x?y=1", Identify(channel="https://www.twitch.tv/x?y=1")),
        ("!game", Identify(channel="")),
        ("!game two words", Identify(channel="two words")),
        ("!game a\u00a0b", Identify(channel="a\u00a0b")),
        ("!help", Help()),
        ("!model", ShowModel()),
        ("!optout", OptOut(channel="")),
        ("!OptOut  @Some_Channel ", OptOut(channel="@Some_Channel")),
        ("!flag some_channel Counter-Strike 2", Flag(channel="some_channel", game="Counter-Strike 2")),
        ("!flag  some_channel", Flag(channel="some_channel", game="")),
        ("!flag", Flag(channel="", game="")),
        ("!unflag 12", Withdraw(flag="12")),
        ("!flags", ListFlags(channel="")),
        ("!flags some_channel", ListFlags(channel="some_channel")),
        ("!games", ListGames(wanted="")),
        ("!games counter strike", ListGames(wanted="counter strike")),
        ("!timeline some_channel", Timeline(channel="some_channel")),
        ("!watch some_channel", Watch(channel="some_channel", on=True)),
        ("!watch on some_channel", Watch(channel="some_channel", on=True)),
        ("!watch off some_channel", Watch(channel="some_channel", on=False)),
        ("!watch on", Watch(channel="", on=True)),
        ("!watch some_channel OFF", Watch(channel="some_channel", on=False)),
        ("!watch off", Watch(channel="", on=False)),
        ("!watch", Watch(channel="")),
        ("!gamess", Unrecognised(word="gamess")),
        ("!", None),
        ("! game x", None),
        ("game some_channel", None),
        ("hello !game x", None),
        ("", None),
    ],
)
def test_a_line_of_chat_is_read(text: str, command: Command | None) -> None:
    assert parse_command(text, words=WORDS) == command


def test_the_prefix_is_the_settings_choice() -> None:
    assert parse_command("?game x", words=CommandWords(prefix="?")) == Identify(channel="x")
    assert parse_command("!game x", words=CommandWords(prefix="?")) is None


def test_commands_are_called_what_the_settings_say() -> None:
    words = CommandWords(names={**COMMANDS, "game": ("seen", "whatgame"), "optout": ()})
    assert parse_command("!Seen x", words=words) == parse_command("!whatgame x", words=words) == Identify(channel="x")
    assert parse_command("!game x", words=words) == Unrecognised(word="game")
    assert parse_command("!optout", words=words) == Unrecognised(word="optout")
    assert (words.shown("game"), words.shown("optout")) == ("!seen", "")


def test_names_that_mean_two_commands_or_none_are_refused() -> None:
    assert command_words_problem({"game": ("seen",)}) is None
    assert command_words_problem({"game": ("flag",)}) == "'flag' names both game and flag."
    assert str(command_words_problem({"gmae": ("x",)})).startswith("'gmae' is no command; there are game, flag, ")


@given(text=st.text())
def test_any_line_is_read_without_an_error(text: str) -> None:
    parse_command(text, words=WORDS)


@given(text=st.text())
def test_only_what_begins_with_the_prefix_is_a_command(text: str) -> None:
    if not text.strip().startswith("!"):
        assert parse_command(text, words=WORDS) is None
