"""The keeper's verbs on a real store, as their output and exit status say."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bot.__main__ import app
from core.storage.audit import AuditStore
from core.storage.captures import CaptureStore
from core.storage.database import Database
from core.storage.frame_store import FolderFrameStore
from core.storage.records import AuditEntry, Broadcaster
from tests.core.storage.samples import BERT, CHESS, asked, kept, nightly, picture
from tests.postgres import PostgresServer


class Keeper:
    """Runs verbs in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @property
    def frames(self) -> FolderFrameStore:
        return FolderFrameStore(self.data / "frames")

    def files(self) -> list[Path]:
        return sorted(self.data.rglob("*.jpg"))

    def fill(self) -> None:
        """Anna shows DOOM, Bert chess; somebody asked about Anna."""
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        await self.frames.prepare()
        async with Database.at(f"sqlite:///{self.data / 'gamespotter.db'}") as database:
            await database.prepare()
            store = CaptureStore(database, self.frames)
            await store.add(nightly(frames=await kept(self.frames, picture(1), picture(2), picture(3))))
            await store.add(
                nightly(broadcaster=BERT, stream=None, declared=CHESS, frames=await kept(self.frames, picture(4)))
            )
            await store.add(asked(frames=await kept(self.frames, picture(5))))


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.chdir(tmp_path)
    return Keeper(tmp_path)


def test_an_empty_data_set_says_how_to_fill_it(keeper: Keeper) -> None:
    result = keeper.run("data", "info")

    assert (result.exit_code, result.stdout) == (
        0,
        "There are no frames yet. `python -m bot crawl` collects some.\n",
    )


def test_info_lists_games_with_ids_and_names_the_smallest_and_the_largest(keeper: Keeper) -> None:
    keeper.fill()
    result = keeper.run("data", "info")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["Chess", "743", "1"], ["DOOM", "101", "3"]]
    assert "5 frames of 2 games" in result.stdout
    assert "(4 collected at night, 1 asked for)" in result.stdout
    assert "Fewest: Chess (1 frame). Most: DOOM (3 frames)." in result.stdout


def test_info_as_json_has_the_same_keys_whatever_there_is(keeper: Keeper) -> None:
    empty = json.loads(keeper.run("data", "info", "--json").stdout)
    keeper.fill()
    full = json.loads(keeper.run("data", "info", "--json").stdout)

    assert set(empty) == set(full)
    assert empty["smallest"] is None
    assert full["smallest"]["name"] == "Chess"
    assert full["largest"] == {
        "id": "doom",
        "name": "DOOM",
        "category_id": "101",
        "is_game": True,
        "frames": 3,
        "streams": 1,
        "broadcasters": 1,
        "bytes": full["largest"]["bytes"],
    }
    assert (full["frames"], full["captures"], full["broadcasters"]) == (5, 3, 2)


def test_sync_deletes_rows_without_a_file_in_the_words_of_old(keeper: Keeper) -> None:
    keeper.fill()
    for file in keeper.files()[:2]:
        file.unlink()

    tried = keeper.run("data", "sync", "--dry-run")
    assert tried.stdout.startswith("Would delete 0 game(s) and 2 frame(s) whose files are gone.")
    assert keeper.run("data", "sync", "--dry-run").stdout == tried.stdout
    assert keeper.run("data", "sync").stdout.startswith("Deleted 0 game(s) and 2 frame(s) whose files are gone.")
    assert keeper.run("data", "sync").stdout.startswith("Deleted 0 game(s) and 0 frame(s) whose files are gone.")
    assert json.loads(keeper.run("data", "info", "--json").stdout)["frames"] == 3


def test_sync_takes_a_folder_without_any_file_for_one_that_is_not_there(keeper: Keeper) -> None:
    keeper.fill()
    for file in keeper.files():
        file.unlink()

    result = keeper.run("data", "sync")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert keeper.run("data", "sync", "--even-if-empty").exit_code == 0
    assert json.loads(keeper.run("data", "info", "--json").stdout)["frames"] == 0


def test_a_broadcaster_is_forgotten_with_all_rows_and_files(keeper: Keeper) -> None:
    keeper.fill()
    result = keeper.run("data", "forget", "twitch.tv/Anna")

    assert result.exit_code == 0
    assert result.stdout.startswith("Forgot anna: 2 captures, 4 frames, 4 files (")
    assert len(keeper.files()) == 1
    assert json.loads(keeper.run("data", "info", "--json").stdout)["broadcasters"] == 1
    assert keeper.run("data", "forget", "anna").stdout == (
        "Nothing was kept of anna. It is never sampled from now on.\n"
    )


def test_whom_nothing_is_kept_of_is_opted_out_all_the_same(keeper: Keeper) -> None:
    assert keeper.run("data", "forget", "carla").exit_code == 0
    keeper.fill()

    async def add() -> int | None:
        async with Database.at(f"sqlite:///{keeper.data / 'gamespotter.db'}") as database:
            carla = Broadcaster(login="carla", platform_id="9")
            return await CaptureStore(database, keeper.frames).add(nightly(broadcaster=carla))

    assert asyncio.run(add()) is None


@pytest.mark.parametrize("typed", ["file:///etc/passwd", "two words", "x" * 40])
def test_what_names_no_broadcaster_ends_with_2(keeper: Keeper, typed: str) -> None:
    result = keeper.run("data", "forget", typed)

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not keeper.data.exists()


def test_migrate_says_what_it_did(keeper: Keeper) -> None:
    first, second = keeper.run("db", "migrate"), keeper.run("db", "migrate")

    assert first.stdout.startswith("The database has its tables now (revision ")
    assert second.stdout.startswith("The database is up to date (revision ")


def test_a_server_without_tables_is_told_about_in_one_line(
    keeper: Keeper, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMESPOTTER_DATABASE__URL", postgres.url(postgres.fresh_database()))

    result = keeper.run("data", "info")
    assert result.exit_code == 1
    assert result.stderr.endswith("run: python -m bot db migrate.\n")
    assert keeper.run("db", "migrate").exit_code == 0
    assert keeper.run("data", "info").exit_code == 0


def test_a_server_that_is_not_there_is_told_about_without_its_password(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMESPOTTER_DATABASE__URL", "postgresql://bot:hunter2@127.0.0.1:1/games")

    for verb in (("data", "info"), ("data", "sync"), ("data", "forget", "anna"), ("db", "migrate")):
        result = keeper.run(*verb)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert "hunter2" not in result.output


def test_the_audit_says_who_did_what_when_and_where(keeper: Keeper) -> None:
    async def write() -> None:
        async with Database.at(f"sqlite:///{keeper.data / 'gamespotter.db'}") as database:
            await database.prepare()
            for action, channel in (("watch", "anna"), ("flag", "bert")):
                await AuditStore(database).write(
                    AuditEntry(
                        at=datetime(2026, 11, 21, 20, tzinfo=UTC),
                        platform="discord",
                        place="70",
                        by="7",
                        by_name="[bold]mod",
                        action=action,
                        subject=channel,
                        detail={"flag": 1} if action == "flag" else None,
                    )
                )

    asyncio.run(write())
    everything = keeper.run("data", "audit")
    of_anna = json.loads(keeper.run("data", "audit", "Anna", "--json").stdout)

    assert everything.exit_code == 0
    assert '2026-11-21 20:00:00  discord:70  [bold]mod  flag   bert     {"flag": 1}' in everything.stdout
    assert [(entry["action"], entry["subject"], entry["by_name"]) for entry in of_anna] == [
        ("watch", "anna", "[bold]mod")
    ]
