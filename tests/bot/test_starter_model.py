"""The model that a fresh clone answers with, asked about the pocket Twitch's channels through the whole bot."""

from __future__ import annotations

import pytest

from bot.app import open_looking, open_service
from bot.commands.answer import Status
from bot.commands.request import Asker, Identify, Request
from bot.settings import STARTER_MODEL, ModelSettings, Settings, StreamsSettings, TwitchSettings
from core.games import UNKNOWN
from core.recognition.artifact import read_artifact
from demo.channels import DrawnGame, demo_channels
from demo.pocket_twitch import PocketTwitch

SHOWN = {
    "mira_plays": "Freedoom",
    "pixelpekka": "SuperTux",
    "trainspotter_tom": "OpenTTD",
    "hookshot_hana": "Teeworlds",
    "rookandroll": "Chess",
    "lemming_lou": "Pingus",
}


def patient(twitch: PocketTwitch) -> Settings:
    """With time enough where processors are shared: what is asked here is what it sees, not how fast."""
    return Settings(
        twitch=TwitchSettings(gql_url=twitch.base_url, usher_url=twitch.base_url),
        streams=StreamsSettings(
            resolve_timeout_s=60, playlist_timeout_s=60, segments_timeout_s=60, total_timeout_s=120
        ),
        model=ModelSettings(timeout_s=60),
    )


def test_it_is_complete_and_small_enough_for_a_clone() -> None:
    artifact = read_artifact(STARTER_MODEL)

    assert len(artifact.manifest.labels) == 33
    assert set(artifact.manifest.files) >= {"network.tflite", "README.md", "report.html", "figures.json"}
    assert sum(path.stat().st_size for path in STARTER_MODEL.rglob("*")) < 20_000_000


async def test_it_names_the_games_of_the_pocket_twitch_and_doubts_the_one_it_never_saw() -> None:
    async with PocketTwitch(channels=demo_channels()) as twitch:
        settings = patient(twitch)
        async with open_looking(settings, many_looks=True) as looking, open_service(settings, looking) as service:
            unknown = next(channel.login for channel in demo_channels() if isinstance(channel.source, DrawnGame))
            named = {}
            for login in [*SHOWN, unknown]:
                reply = await service.handle(Request(command=Identify(channel=login), asker=Asker(name=login)))
                assert reply.answer is not None
                assert reply.answer.status is Status.ANSWERED, reply.text
                assert reply.answer.verdict is not None
                named[login] = reply.answer.verdict.game.name

    assert named == {**SHOWN, unknown: UNKNOWN.name}


@pytest.mark.parametrize("login", ["adbreak_andy", "sleepy_sam"])
async def test_what_shows_no_game_is_not_guessed_at(login: str) -> None:
    async with PocketTwitch(channels=demo_channels()) as twitch:
        settings = patient(twitch)
        async with open_looking(settings, many_looks=False) as looking, open_service(settings, looking) as service:
            reply = await service.handle(Request(command=Identify(channel=login), asker=Asker(name=login)))

    assert reply.answer is not None
    assert reply.answer.verdict is None
