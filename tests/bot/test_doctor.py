from __future__ import annotations

import json
import shutil
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from bot.__main__ import app
from bot.chat.twitch_tokens import TokenVault, new_key
from bot.operation import doctor
from bot.operation.doctor import State
from bot.settings import (
    DatabaseSettings,
    DataSettings,
    DiscordSettings,
    ModelSettings,
    Settings,
    TwitchSettings,
    WebSettings,
)
from core.storage.database import Database
from core.storage.tokens import TokenStore
from demo.helix import CLIENT_ID, CLIENT_SECRET
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.chat.twitch_bench import tokens_of
from tests.chat.twitch_stand_in import BOT, BOT_SCOPES, TwitchStandIn
from tests.postgres import PostgresServer


def settings_of(folder: Path, **sections: object) -> Settings:
    return Settings(data=DataSettings(directory=folder / "data"), **sections)  # type: ignore[arg-type]


# Here


def test_the_python_that_runs_this_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.python().state is State.GOOD
    monkeypatch.setattr(doctor, "_OLDEST_PYTHON", (9, 1))
    finding = doctor.python()
    assert finding.state is State.BAD
    assert "9.1" in finding.do


def test_the_libraries_that_are_installed_are_those_that_are_asked_for() -> None:
    assert doctor.libraries().state is State.GOOD


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("aiohttp>=99", "aiohttp is 3."),
        ("no-such-thing-at-all>=1", "no-such-thing-at-all is missing"),
        ("###", "cannot be read"),
    ],
)
def test_a_library_that_is_missing_or_too_old_is_named(requirement: str, words: str) -> None:
    finding = doctor.libraries([requirement, "numpy", "keras>=99; extra == 'training'"])
    assert finding.state is State.BAD
    assert finding.said.startswith(words) or words in finding.said
    assert "keras" not in finding.said
    assert "pip install" in finding.do


def test_a_native_library_that_does_not_load_is_named() -> None:
    finding = doctor.libraries([], native=["no_such_module"])
    assert finding.state is State.BAD
    assert "no_such_module does not load" in finding.said


def test_a_disk_with_room_is_good_and_one_without_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)

    def with_free(free: int) -> doctor.Finding:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free))  # type: ignore[attr-defined]
        return doctor.disk(settings)

    assert with_free(50 * 10**9).state is State.GOOD
    assert with_free(10 * 10**9).state is State.WARNING
    assert with_free(10**8).state is State.BAD
    assert not (tmp_path / "data").exists()


def test_a_folder_that_may_not_be_written_to_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    finding = doctor.disk(settings_of(tmp_path))
    assert finding.state is State.BAD
    assert "Permission denied" in finding.said


async def test_a_database_that_is_not_there_yet_is_made_by_the_bot_and_not_by_the_doctor(tmp_path: Path) -> None:
    finding = await doctor.database(settings_of(tmp_path))
    assert finding.state is State.GOOD
    assert list(tmp_path.iterdir()) == []


async def test_a_database_that_is_migrated_is_good_and_a_broken_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = settings_of(tmp_path)
    async with Database.at(settings.database_url) as database:
        await database.prepare()
    assert "up to date" in (await doctor.database(settings)).said
    (tmp_path / "data" / "gamespotter.db").write_bytes(b"no database at all" * 100)
    assert (await doctor.database(settings)).state is State.BAD


async def test_a_postgresql_without_tables_is_told_how_to_get_them(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.url(postgres.fresh_database())
    finding = await doctor.database(settings_of(tmp_path, database=DatabaseSettings(url=url)))
    assert finding.state is State.BAD
    assert finding.do == "Run `python -m bot db migrate`."


async def test_a_password_is_in_no_finding(tmp_path: Path) -> None:
    url = "postgresql://bot:hunter2hunter2@127.0.0.1:1/games"
    finding = await doctor.database(settings_of(tmp_path, database=DatabaseSettings(url=url)))
    assert finding.state is State.BAD
    assert "hunter2" not in str(finding)


def test_the_starter_model_answers(tmp_path: Path) -> None:
    finding = doctor.model(settings_of(tmp_path))
    assert finding.state is State.GOOD
    assert "starter-1" in finding.said


def test_a_model_that_is_none_is_said(tmp_path: Path) -> None:
    finding = doctor.model(settings_of(tmp_path, model=ModelSettings(directory=tmp_path)))
    assert finding.state is State.BAD
    assert "models/starter" in finding.do


def test_http_is_off_or_free_or_taken_or_open_to_the_world(tmp_path: Path) -> None:
    token = SecretStr("a-token-of-the-operator")

    def port(**web: object) -> doctor.Finding:
        return doctor.http_port(settings_of(tmp_path, web=WebSettings(enabled=True, **web)))  # type: ignore[arg-type]

    assert doctor.http_port(settings_of(tmp_path)).state is State.OFF
    assert port(port=0, token=token).state is State.GOOD
    assert "GAMESPOTTER_WEB__TOKEN" in port(port=0).do
    assert "TLS" in port(port=0, token=token, host="0.0.0.0").do
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot be opened" in port(port=taken.getsockname()[1], token=token).said


# Elsewhere


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_who_cannot_be_reached_is_named(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with TwitchStandIn() as stand_in:
        twitch = TwitchSettings(gql_url=stand_in.url, usher_url="http://127.0.0.1:1")
        dates: list[tuple[float, str]] = []
        finding = await doctor.network(settings_of(tmp_path, twitch=twitch), http, dates)
    assert finding.state is State.BAD
    assert "127.0.0.1 (no connection)" in finding.said
    assert len(dates) == 1


@pytest.mark.parametrize(
    ("off_s", "state"), [(0, State.GOOD), (2, State.GOOD), (-20, State.WARNING), (600, State.BAD), (-86400, State.BAD)]
)
def test_a_clock_is_compared_with_those_of_others(off_s: int, state: State) -> None:
    here_s = 1_800_000_000.0
    finding = doctor.clock([(here_s + off_s, formatdate(here_s, usegmt=True)), (here_s, "no date at all")])
    assert finding.state is state
    if off_s < -2:
        assert "slow" in finding.said


def test_without_anybody_to_compare_it_with_a_clock_is_neither_right_nor_wrong() -> None:
    assert doctor.clock([]).state is State.OFF


async def twitch(
    folder: Path, stand_in: TwitchStandIn, http: aiohttp.ClientSession, **changes: object
) -> doctor.Finding:
    given = {"client_id": CLIENT_ID, "client_secret": SecretStr(CLIENT_SECRET), "id_url": stand_in.url, **changes}
    return await doctor.twitch(settings_of(folder, twitch=TwitchSettings(**given)), http)  # type: ignore[arg-type]


async def test_twitch_step_by_step(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    key = new_key()
    async with TwitchStandIn() as stand_in:
        assert (await twitch(tmp_path, stand_in, http, client_id="")).state is State.OFF
        refused = await twitch(tmp_path, stand_in, http, client_secret=SecretStr("wrong-wrong"))
        assert refused.state is State.BAD
        assert "wrong-wrong" not in str(refused)
        assert "TOKEN_KEY" in (await twitch(tmp_path, stand_in, http)).do
        nobody = await twitch(tmp_path, stand_in, http, token_key=SecretStr(key))
        assert nobody.do == "Run `python -m bot authorise`."
        assert list(tmp_path.iterdir()) == []

        (tmp_path / "data").mkdir()
        async with Database.at(settings_of(tmp_path).database_url) as database:
            await database.prepare()
            vault = TokenVault(TokenStore(database), [key])
            await vault.keep(tokens_of(stand_in.grant(BOT, BOT_SCOPES[:-1])))
            lacking = await twitch(tmp_path, stand_in, http, token_key=SecretStr(key))
            assert lacking.state is State.BAD
            assert BOT_SCOPES[-1] in lacking.said
            await vault.keep(tokens_of(stand_in.grant(BOT, BOT_SCOPES)))
        whole = await twitch(tmp_path, stand_in, http, token_key=SecretStr(key))
        assert (whole.state, whole.do) == (State.GOOD, "")
        other = await twitch(tmp_path, stand_in, http, token_key=SecretStr(new_key()))
        assert other.state is State.BAD
        assert "TOKEN_KEY" in other.do
    assert (await twitch(tmp_path, stand_in, http)).state is State.BAD


async def test_discord_step_by_step(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    async with DiscordStandIn() as stand_in:

        async def discord(**given: object) -> doctor.Finding:
            given = {"api_url": stand_in.api_url, **given}
            return await doctor.discord(settings_of(tmp_path, discord=DiscordSettings(**given)), http)  # type: ignore[arg-type]

        assert (await discord()).state is State.OFF
        assert (await discord(chat=False)).state is State.OFF
        assert (await discord(token=SecretStr(TOKEN))).state is State.GOOD
        wrong = await discord(token=SecretStr("wrong-wrong"))
        assert wrong.state is State.BAD
        assert "wrong-wrong" not in str(wrong)
    assert (await discord(token=SecretStr(TOKEN))).state is State.BAD


async def test_a_part_that_cannot_be_looked_at_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> doctor.Finding:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(doctor, "disk", fail)
    findings = {finding.part: finding for finding in await doctor.examine(settings_of(tmp_path), offline=True)}
    assert findings["Disk"].state is State.BAD
    assert "hunter2" not in str(findings["Disk"])
    assert findings["Database"].state is State.GOOD


def test_the_verb_prints_a_line_for_each_part_and_ends_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["doctor", "--offline", "--json"])
    parts = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [part["part"] for part in parts] == ["Python", "Libraries", "Disk", "Database", "Model", "HTTP", "Network"]
    assert ended.exit_code == 0
    (tmp_path / "bot.toml").write_text('[model]\ndirectory = "nowhere"\n')
    ended = CliRunner().invoke(app, ["doctor", "--offline"])
    assert ended.exit_code == 1
    assert "bad      Model" in ended.stdout
    assert "→ Set [model] directory" in ended.stdout
    (tmp_path / "bot.toml").write_text("[model]\nthreads = 0\n")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 2
