"""The command line as a person runs it: its own process, Streamlink unmodified, a pocket Twitch on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.channels import Adverts, BundledClip, Channel, Closed
from demo.pocket_twitch import PocketTwitch
from tests.artifacts import brightness_artifact


def channel(login: str, **fields: object) -> Channel:
    given = {"source": BundledClip(name="doom__s01"), **fields}
    return Channel(login=login, display_name=login, title="a stream", declared_category="Freedoom", **given)  # type: ignore[arg-type]


CHANNELS = (
    channel("live_one"),
    channel("sleeping", source=None),
    channel("selling", adverts=Adverts.ALWAYS),
    channel("closed_one", closed=Closed.SUBSCRIBERS_ONLY),
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int | None
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Bot:
    environment: dict[str, str]
    directory: Path

    async def run(self, *arguments: str, typed: str = "", **environment: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.directory,
            env={**self.environment, **environment},
        )
        out, err = await process.communicate(typed.encode())
        ended = Ended(code=process.returncode, out=out.decode(), err=err.decode())
        assert "Traceback" not in ended.err
        return ended


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Bot]:
    brightness_artifact(tmp_path / "model")
    async with PocketTwitch(channels=CHANNELS) as twitch:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GAMESPOTTER_")}
        yield Bot(
            environment={
                **kept,
                "GAMESPOTTER_TWITCH__GQL_URL": twitch.base_url,
                "GAMESPOTTER_TWITCH__USHER_URL": twitch.base_url,
                "GAMESPOTTER_MODEL__DIRECTORY": str(tmp_path / "model"),
            },
            directory=tmp_path,
        )


async def test_an_answer_ends_with_0(bot: Bot) -> None:
    ended = await bot.run("ask", "twitch.tv/Live_One")

    assert ended.code == 0
    assert ended.out.startswith("Seen: ")
    assert ended.out.count("\n") == 1
    assert ended.err == ""


async def test_the_verbose_answer_has_a_line_for_every_frame(bot: Bot) -> None:
    lines = (await bot.run("ask", "-v", "live_one")).out.splitlines()

    assert len(lines) >= 10
    assert lines[0].startswith("Frame 1: ")
    assert lines[-2].split(" with a score of ")[0] in {"VALORANT", "Chess", "Freedoom"}
    assert lines[-1].startswith("Seen: ")


async def test_the_json_answer_is_json_alone(bot: Bot) -> None:
    ended = await bot.run("ask", "--json", "live_one")

    answer = json.loads(ended.out)
    assert ended.code == 0
    assert answer["channel"] == "live_one"
    assert answer["status"] == "answered"
    assert answer["model"] == "test-1"
    assert answer["bytes"] > 10_000
    assert set(answer["elapsed_ms"]) >= {"resolve", "playlist", "segments", "recognize", "total"}
    assert [frame["at_s"] for frame in answer["frames"]] == sorted(frame["at_s"] for frame in answer["frames"])


async def test_an_answer_that_the_game_is_unknown_ends_with_0(bot: Bot, tmp_path: Path) -> None:
    brightness_artifact(tmp_path / "doubtful", threshold=-1000.0)

    ended = await bot.run("ask", "live_one", GAMESPOTTER_MODEL__DIRECTORY=str(tmp_path / "doubtful"))

    assert ended.code == 0
    assert ended.out.startswith("Seen: no game that I know")


@pytest.mark.parametrize(
    ("typed", "code", "status"),
    [
        ("sleeping", 3, "offline"),
        ("selling", 3, "adverts"),
        ("closed_one", 3, "restricted"),
        ("nobody_here", 4, "not_found"),
        ("two words", 2, "bad_input"),
        ("https://example.org/live_one", 2, "bad_input"),
        ("file:///etc/passwd", 2, "bad_input"),
    ],
)
async def test_every_other_outcome_has_its_exit_code_and_one_sentence(
    bot: Bot, typed: str, code: int, status: str
) -> None:
    ended = await bot.run("ask", "--json", typed)

    assert ended.code == code
    assert json.loads(ended.out)["status"] == status
    assert ended.err.count("\n") == 1


async def test_another_address_than_twitchs_can_be_looked_at(bot: Bot) -> None:
    base_url = bot.environment["GAMESPOTTER_TWITCH__GQL_URL"]

    ended = await bot.run(
        "ask", "--json", "live_one", GAMESPOTTER_STREAMS__URL=f"{base_url}/v1/{{channel}}/360p30/0.m3u8"
    )

    assert ended.code == 0
    assert json.loads(ended.out)["elapsed_ms"]["playlist"] < json.loads(ended.out)["elapsed_ms"]["total"]


async def test_a_twitch_that_does_not_answer_ends_with_1(bot: Bot) -> None:
    ended = await bot.run("ask", "live_one", GAMESPOTTER_TWITCH__GQL_URL="http://127.0.0.1:9")

    assert ended.code == 1
    assert ended.err == "I could not reach the stream of live_one; ask again in a moment.\n"


async def test_mistakes_in_the_settings_are_all_named_and_end_with_2(bot: Bot) -> None:
    (bot.directory / "mine.toml").write_text("[streams]\nframse = 3\n[answers]\nreuse_s = -1\n")

    ended = await bot.run("ask", "live_one", "--config", "mine.toml")

    assert ended.code == 2
    assert ended.err.count("\n") == 2
    assert "did you mean 'frames'?" in ended.err


async def test_a_missing_model_is_one_sentence_and_ends_with_1(bot: Bot) -> None:
    ended = await bot.run("ask", "live_one", GAMESPOTTER_MODEL__DIRECTORY="nowhere")

    assert ended.code == 1
    assert ended.err == "There is no model in nowhere: the directory does not exist.\n"


async def test_a_conversation_on_standard_input_is_answered_line_by_line(bot: Bot) -> None:
    ended = await bot.run("console", typed="!game live_one\n!game sleeping\n!model\n")

    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "> !game live_one"
    assert lines[1].startswith("Seen: ")
    assert lines[2:5] == ["> !game sleeping", "sleeping is offline.", "> !model"]
    assert lines[5].startswith("Model test-1, which knows 3 games; it answers since ")


async def test_the_bot_never_imports_tensorflow(bot: Bot) -> None:
    ended = await bot.run("ask", "live_one", PYTHONPROFILEIMPORTTIME="1")

    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ended.err.splitlines() if "|" in line}
    assert "ai_edge_litert" in imported
    assert imported.isdisjoint({"tensorflow", "keras", "training", "demo", "matplotlib", "sklearn"})
