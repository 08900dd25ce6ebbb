from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.commands.parser import parse_command
from bot.commands.request import Command, Help, Identify, OptOut, ShowModel, Unrecognised


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
        ("!games", Unrecognised(word="games")),
        ("!", None),
        ("! game x", None),
        ("game some_channel", None),
        ("hello !game x", None),
        ("", None),
    ],
)
def test_a_line_of_chat_is_read(text: str, command: Command | None) -> None:
    assert parse_command(text, prefix="!") == command


def test_the_prefix_is_the_settings_choice() -> None:
    assert parse_command("?game x", prefix="?") == Identify(channel="x")
    assert parse_command("!game x", prefix="?") is None


@given(text=st.text())
def test_any_line_is_read_without_an_error(text: str) -> None:
    parse_command(text, prefix="!")


@given(text=st.text())
def test_only_what_begins_with_the_prefix_is_a_command(text: str) -> None:
    if not text.strip().startswith("!"):
        assert parse_command(text, prefix="!") is None
