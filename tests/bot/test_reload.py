"""The bot as it is put together: the registry's current answers, memory stays flat, notices are heard at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from bot.__main__ import app
from bot.app import open_looking
from bot.models.following import Answering, Refusal
from bot.models.news import MODELS_CHANGED, ModelNews
from bot.settings import Settings, read_settings
from core.errors import StorageError
from core.recognition.registry import Registry, Term
from core.storage.database import Database
from core.storage.records import JobRun, RunState
from tests.artifacts import brightness_artifact, golden_brightness_files
from tests.fakes import frame
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def published(folder: Path, *versions: str) -> Registry:
    registry = Registry(folder / "registry")
    for version in versions:
        registry.add(brightness_artifact(folder / "made" / version, version=version).directory)
    registry.use(versions[0])
    return registry


def settings_in(folder: Path, more: str = "") -> Settings:
    text = f'[model]\nregistry = "registry"\npoll_s = 0.05\nslower_at_most = 1000\ndirectory = "none"\n{more}'
    (folder / "bot.toml").write_text(text)
    return read_settings(folder / "bot.toml")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def test_the_bot_answers_with_the_registrys_current_and_lets_go_of_the_one_before(tmp_path: Path) -> None:
    registry = published(tmp_path, "m-1", "m-2")

    async with open_looking(settings_in(tmp_path), many_looks=True) as looking:
        assert (await looking.recognizer.recognize([frame(10)])).model == "m-1"
        gone = weakref.ref(looking.answering.model.network)
        registry.use("m-2")

        await until(lambda: looking.answering.model.version == "m-2")
        assert (await looking.recognizer.recognize([frame(10)])).model == "m-2"
        await until(lambda: gone() is None)


async def test_a_bot_without_a_registry_answers_with_its_directory(tmp_path: Path) -> None:
    made = brightness_artifact(tmp_path / "model", version="alone")
    (tmp_path / "bot.toml").write_text('[model]\ndirectory = "model"\nregistry = ""\n')

    async with open_looking(read_settings(tmp_path / "bot.toml"), many_looks=True) as looking:
        assert (await looking.recognizer.recognize([frame(10)])).model == made.manifest.version
        assert looking.follower is None
        assert looking.answering.model.version == "alone"


def reloaded(*arguments: str) -> dict[str, Any]:
    """A short run of the benchmark."""
    ran = subprocess.run(
        [sys.executable, "benchmarks/reload.py", *arguments, "--json"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_reloads_under_twenty_askers_a_second_fail_nobody(tmp_path: Path) -> None:
    made = brightness_artifact(tmp_path / "model", files=golden_brightness_files())

    found = reloaded("--reloads", "30", "--frames", "13", "--model", str(made.directory))

    assert found["failed"] == 0
    assert set(found["answered_by"]) == {"model-a", "model-b"}
    assert sum(found["answered_by"].values()) == found["asks"]


def test_a_model_that_was_exchanged_gives_its_memory_back() -> None:
    """The starter model's network takes some 40 MB: six that were kept would be more than 200."""
    found = reloaded("--reloads", "8", "--frames", "1", "--rate", "2")

    assert found["failed"] == 0
    assert found["growth_mb"] < 100


def models(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments, "--config", str(folder / "bot.toml")])


def test_the_verbs_change_the_registry_and_say_so(tmp_path: Path) -> None:
    settings_in(tmp_path)
    made = brightness_artifact(tmp_path / "made" / "m-1", version="m-1")
    assert "no models" in models(tmp_path, "list").output
    assert models(tmp_path, "add", str(made.directory)).exit_code == 0
    assert "Model m-1 is current" in models(tmp_path, "use", "m-1").output
    second = brightness_artifact(tmp_path / "made" / "m-2", version="m-2")
    models(tmp_path, "add", str(second.directory))
    assert "m-2 is tried" in models(tmp_path, "try", "m-2").output
    listed = models(tmp_path, "list").output
    assert "current (chosen)" in listed
    assert "tried" in listed

    assert "no longer" in models(tmp_path, "drop").output
    models(tmp_path, "use", "m-2", "--insist")
    content = json.loads(models(tmp_path, "list", "--json").stdout)
    assert content["current"]["version"] == "m-2"
    assert content["current"]["means"] == "insisted"
    assert [term["version"] for term in content["before"]] == ["m-1"]
    assert "Model m-1 is current" in models(tmp_path, "rollback").output
    report = json.loads(models(tmp_path, "report", "--json").stdout)
    assert report["current"]["version"] == "m-1"
    assert report["challenger"] is None


@pytest.mark.parametrize("arguments", [("use", "m-9"), ("rollback",), ("try", "m-1"), ("drop",), ("add", "nowhere")])
def test_what_cannot_be_done_is_one_sentence_and_an_exit_status(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    published(tmp_path, "m-1")
    settings_in(tmp_path)

    result = models(tmp_path, *arguments)

    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1


def test_without_a_registry_the_verbs_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text("")

    result = models(tmp_path, "list")

    assert result.exit_code == 2
    assert "[model] registry" in result.output


async def test_postgresql_passes_on_that_models_changed(postgres: PostgresServer) -> None:
    name = postgres.fresh_database()
    async with Database.at(postgres.url(name)) as hearing, Database.at(postgres.url(name)) as telling:
        heard = asyncio.Event()
        listening = asyncio.create_task(hearing.hear(MODELS_CHANGED, heard.set))
        async with asyncio.timeout(30):
            await heard.wait()  # it may have missed something before
            heard.clear()
            await telling.tell("something_else")
            await telling.tell(MODELS_CHANGED)
            await heard.wait()
        listening.cancel()
        await asyncio.wait({listening})
    postgres.drop_database(name)


async def test_who_listens_is_told_again_after_the_connection_was_lost(postgres: PostgresServer) -> None:
    name = postgres.fresh_database()
    async with Database.at(postgres.url(name)) as hearing, Database.at(postgres.url(name)) as telling:
        heard = asyncio.Event()
        listening = asyncio.create_task(hearing.hear(MODELS_CHANGED, heard.set))
        async with asyncio.timeout(60):
            await heard.wait()
            heard.clear()
            async with telling.writing() as session:
                await session.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'")
                )
            await heard.wait()  # somebody may have told it in between
            heard.clear()
            await telling.tell(MODELS_CHANGED)
            await heard.wait()
        listening.cancel()
        await asyncio.wait({listening})
    postgres.drop_database(name)


async def test_sqlite_passes_nothing_on_and_nobody_waits_for_it(tmp_path: Path) -> None:
    async with Database.at(f"sqlite:///{tmp_path}/x.db") as database:
        await database.tell(MODELS_CHANGED)
        await database.hear(MODELS_CHANGED, lambda: pytest.fail("nothing was told"))


class Chat:
    """A platform that is connected after some tries."""

    name = "discord"

    def __init__(self, *, deaf_for: int = 0) -> None:
        self.said: list[tuple[str, str]] = []
        self.deaf_for = deaf_for

    async def announce(self, place, reply) -> bool:  # type: ignore[no-untyped-def]
        if self.deaf_for:
            self.deaf_for -= 1
            return False
        self.said.append((place.id, reply.text))
        return True


class Flags:
    def __init__(self) -> None:
        self.marked: list[tuple[str, tuple[int, ...]]] = []
        self.problems = 0

    async def mark_used(self, model: str, flag_ids, *, at: datetime) -> int:  # type: ignore[no-untyped-def]
        if self.problems:
            self.problems -= 1
            raise StorageError("the database rests")
        self.marked.append((model, tuple(flag_ids)))
        return len(flag_ids)


class Runs:
    """Claims in memory, which replicas share."""

    def __init__(self) -> None:
        self.over: set[tuple[str, datetime]] = set()

    async def claim(self, job: str, due_at: datetime, **_: object) -> JobRun | None:
        return None if (job, due_at) in self.over else JobRun(id=1, job=job, due_at=due_at, attempt=1, resumed=False)

    async def renew(self, run: JobRun, **_: object) -> bool:
        return True

    async def finish(self, run: JobRun, *, state: RunState, **_: object) -> bool:
        if state is RunState.DONE:
            self.over.add((run.job, run.due_at))
        return True


def answering(version: str, *flags: int) -> Answering:
    manifest = SimpleNamespace(data_set=SimpleNamespace(flags=flags), version=version)
    model = SimpleNamespace(version=version, artifact=SimpleNamespace(manifest=manifest))
    return Answering(model=model, since=NOON)  # type: ignore[arg-type]


async def told(news: ModelNews, chat: Chat, condition: Callable[[], object]) -> None:
    running = asyncio.create_task(news.run({"discord": chat}))  # type: ignore[dict-item]
    await until(condition)
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait({running})


async def test_what_becomes_of_models_is_told_where_it_is_to_be_and_flags_are_marked() -> None:
    chat, flags = Chat(deaf_for=2), Flags()
    flags.problems = 1
    news = ModelNews(flags, Runs(), holder="a", places=["discord:7", "twitch:8"], again_s=0.01)

    await news.taken_over(answering("m-2", 3, 4), before="m-1")
    refusal = Refusal(term=Term(version="m-3", since=NOON), sentence="It is too slow.")
    await news.refused(refusal, answering="m-2")
    await told(news, chat, lambda: len(chat.said) == 2)

    assert chat.said == [
        ("7", "Model m-2 answers now, in the place of m-1."),
        ("7", "Model m-3 is refused, and m-2 goes on answering. It is too slow."),
    ]
    assert {(model, ids) for model, ids in flags.marked} == {("m-2", (3, 4))}


async def test_of_many_replicas_one_tells_it() -> None:
    runs, chats = Runs(), [Chat(), Chat()]
    flags = Flags()
    for number, chat in enumerate(chats):
        news = ModelNews(flags, runs, holder=str(number), places=["discord:7"], again_s=0.01)
        await news.taken_over(answering("m-2", 1), before="m-1")
        await told(news, chat, lambda number=number: len(flags.marked) > number)

    assert [len(chat.said) for chat in chats] == [1, 0]
