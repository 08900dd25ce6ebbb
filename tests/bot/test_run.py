"""``python -m bot run`` as an operator runs it: a process in both chats, over the pocket Twitch."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bot.chat.twitch_tokens import new_key
from demo.channels import demo_channels
from demo.helix import CLIENT_SECRET
from demo.pocket_twitch import PocketTwitch
from tests.bot.whole_bot import CHANNEL, both_chats, ended, led_to, running
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.chat.twitch_bench import until
from tests.chat.twitch_stand_in import TwitchStandIn

ROOT = Path(__file__).parents[2]


async def test_it_answers_in_both_chats_and_ends_when_told(tmp_path: Path) -> None:
    async with (
        PocketTwitch(channels=demo_channels()) as pocket,
        both_chats(tmp_path, pocket.base_url) as chats,
    ):
        discord, twitch = chats.discord, chats.twitch
        async with running(tmp_path, **chats.settings) as process:
            await discord.connected(within_s=90.0)
            asked = await discord.slash("game", channel="rookandroll")
            message = await asked.answered(within_s=90.0)
            await until(lambda: twitch.live or process.returncode is not None, timeout_s=90.0)
            line = await twitch.write(CHANNEL, "!game", by="viewer")
            await until(lambda: twitch.answers(line), timeout_s=90.0)
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
        embed: dict[str, Any] = message["embeds"][0]
        assert {field["name"]: field["value"] for field in embed["fields"]}["Seen"].startswith("Chess ")
        assert message["attachments"]
        (said,) = twitch.answers(line)
        assert said.startswith("Seen: Freedoom ")
        assert discord.violations == []
    log = (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert "Discord: on." in log
    assert "Twitch chat: on." in log
    assert "Traceback" not in log
    for secret in chats.secrets:
        assert secret not in log


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DISCORD__TOKEN": "wrong"}, "does not accept the bot's token"),
        ({"TWITCH__TOKEN_KEY": "no key"}, "GAMESPOTTER_TWITCH__TOKEN_KEY holds something that is no key"),
        ({"TWITCH__TOKEN_KEY": new_key()}, "python -m bot authorise"),
    ],
)
async def test_a_chat_that_refuses_us_ends_it_with_a_sentence(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    async with (
        DiscordStandIn() as discord,
        TwitchStandIn(second_s=0.05) as twitch,
        running(tmp_path, **led_to(discord, twitch), **environment) as process,
    ):
        assert await ended(process) == 1
    log = (tmp_path / "err").read_text()
    assert sentence in log.splitlines()[-1]
    assert "Traceback" not in log
    assert CLIENT_SECRET not in log


async def test_a_chat_that_refuses_us_does_not_take_the_other_one_with_it(tmp_path: Path) -> None:
    async with DiscordStandIn() as discord, TwitchStandIn(second_s=0.05) as twitch:
        secrets = {"DISCORD__TOKEN": TOKEN, "TWITCH__TOKEN_KEY": new_key()}
        async with running(tmp_path, **led_to(discord, twitch), **secrets) as process:
            await discord.connected(within_s=90.0)
            await until(lambda: "twitch is off until the next start" in (tmp_path / "err").read_text(), timeout_s=90.0)
            asked = await discord.slash("model")
            assert "starter-1" in (await asked.answered(within_s=90.0))["content"]
            process.send_signal(signal.SIGTERM)
            assert await ended(process) == 0
    assert "python -m bot authorise" in (tmp_path / "err").read_text()
