"""The image that the Dockerfile makes, and the services of compose.yaml that run it, as an operator has them."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.channels import demo_channels
from demo.conversation import way_to
from demo.pocket_twitch import PocketTwitch
from tests.chat.discord_stand_in import TOKEN, DiscordStandIn
from tests.packaging.compose import ROOT, Service, read_services
from tests.packaging.image import Builder, Image, why_not
from tests.postgres import PostgresServer

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=f"no image can be built here: {why_not()}"),
]

PORT = 18_090
SLIM_BYTES = 150_000_000
"""Of python:3.x-slim itself, which is not at hand here: more than has been seen of it."""

OF_THE_BASE = {
    *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "ld-linux-x86-64.so.2"),
    *("libmvec.so.1", "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "linux-vdso.so.1"),
}
"""Libraries that every Debian has."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="gamespotter-image-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    try:
        return Builder(ROOT, folder / "images").build("bot")
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def services() -> dict[str, Service]:
    return read_services()


@dataclass
class Machine:
    """What an engine would keep: named volumes, which belong to whom the image says, and secrets."""

    image: Image
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    sockets: dict[str, Path] = field(default_factory=dict)

    def mounts(self, service: Service) -> dict[str, Path]:
        found = dict(self.sockets)
        for target, source in service.volumes.items():
            if source.startswith("./"):
                found[target] = ROOT / source
                continue
            found[target] = self.folder / "volumes" / source
            if not found[target].exists():
                shutil.copytree(self.image.root / target.lstrip("/"), found[target])
                there = (self.image.root / target.lstrip("/")).stat()
                shutil.chown(found[target], there.st_uid, there.st_gid)
        for name in service.secrets:
            file = self.folder / "secrets" / name
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.write_text(self.secrets.get(name, ""))
            file.chmod(0o444)
            found[f"/run/secrets/{name}"] = file
        return found

    def argv(self, service: Service, *command: str, **environment: str) -> list[str]:
        return self.image.started(
            *(command or service.command),
            environment={**service.environment, **environment},
            mounts=self.mounts(service),
            read_only=service.said["read_only"],
        )

    async def end(self, service: Service, *command: str, **environment: str) -> tuple[int, str, str]:
        """Run it to its end: exit status, what it said, and what it complained about."""
        process = await asyncio.create_subprocess_exec(
            *self.argv(service, *command, **environment),
            env={},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    @asynccontextmanager
    async def up(self, service: Service, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it while the block runs."""
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err:
            process = await asyncio.create_subprocess_exec(
                *self.argv(service, **environment), env={}, stdout=out, stderr=err
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def health(self, service: Service, **environment: str) -> tuple[int, str]:
        """What HEALTHCHECK says, run in the container as an engine does."""
        process = await asyncio.create_subprocess_exec(
            *self.image.running(
                self.image.health,
                environment={**service.environment, **environment},
                mounts=self.mounts(service),
                read_only=True,
            ),
            env={},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()


@pytest.fixture
def machine(image: Image, folder: Path) -> Machine:
    made = Path(tempfile.mkdtemp(dir=folder))
    made.chmod(0o755)
    return Machine(image=image, folder=made)


def test_the_image_is_small_and_has_nothing_to_train_with(image: Image) -> None:
    (packages,) = image.root.glob("opt/gamespotter/lib/python3.*/site-packages")
    print(f"added to the base: {image.size() / 1e6:.0f} MB", f"of it the packages: {_bytes(packages) / 1e6:.0f} MB")

    assert image.size() + SLIM_BYTES < 700_000_000
    for absent in ("tensorflow", "keras", "jax", "pip", "pytest"):
        assert not (packages / absent).exists()
    assert not (image.root / "build").exists()


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def test_it_speaks_all_its_languages(image: Image) -> None:
    script = (
        "from babel import Locale\n"
        "from bot.languages.sentences import languages\n"
        "print(*(Locale.parse(language, sep='-').get_display_name() for language in languages()))\n"
    )
    said = subprocess.run(image.running(["python", "-c", script]), env={}, capture_output=True, text=True, check=True)

    assert {"English", "Deutsch"} <= set(said.stdout.split())


def test_native_libraries_stand_on_nothing_but_what_every_debian_has(image: Image) -> None:
    libraries = [
        str(path.relative_to(image.root / "opt"))
        for path in (image.root / "opt").rglob("*.so*")
        if path.is_file() and path.read_bytes()[:4] == b"\x7fELF"
    ]
    assert len(libraries) > 50
    script = 'cd /opt; for each; do LD_LIBRARY_PATH= ldd "$each" || true; done'
    said = subprocess.run(
        image.running(["sh", "-c", script, "sh", *libraries]), env={}, capture_output=True, text=True, check=True
    ).stdout
    outside = {
        line.split()[0].rpartition("/")[2]
        for line in said.splitlines()
        if line.startswith("\t") and "statically linked" not in line and " /opt/gamespotter/" not in line
    }

    assert outside <= OF_THE_BASE


def test_nothing_can_be_written_but_where_volumes_are(machine: Machine, services: dict[str, Service]) -> None:
    script = (
        "import os, sys, tempfile\n"
        "print(os.getuid(), os.getgid())\n"
        "for folder, _, _ in os.walk('/'):\n"
        "    if folder.startswith(('/proc', '/dev', '/sys')): continue\n"
        "    try: tempfile.TemporaryFile(dir=folder).close()\n"
        "    except OSError: continue\n"
        "    print(folder)\n"
    )
    argv = machine.image.running(
        ["python", "-c", script], mounts=machine.mounts(services["bot"]), read_only=services["bot"].said["read_only"]
    )
    said = subprocess.run(argv, env={}, capture_output=True, text=True, check=True).stdout.split("\n")

    assert said[0] == "10001 10001"
    assert {line for line in said[1:] if line} == {"/tmp", "/data", "/models"}


async def test_it_says_what_a_stream_shows(machine: Machine, services: dict[str, Service]) -> None:
    async with PocketTwitch(channels=demo_channels()) as pocket:
        status, said, _ = await machine.end(
            services["bot"], "ask", "mira_plays", "--json", **way_to(pocket.base_url), GAMESPOTTER_DATABASE__URL=""
        )

    answer = json.loads(said)
    assert (status, answer["status"], answer["game"]["name"]) == (0, "answered", "Freedoom")


async def test_the_services_start_one_after_the_other_answer_and_end_when_told(
    machine: Machine, services: dict[str, Service], postgres: PostgresServer
) -> None:
    bot, migrate = services["bot"], services["migrate"]
    assert bot.needs()["migrate"] == "service_completed_successfully"
    async with (
        PocketTwitch(channels=demo_channels()) as pocket,
        DiscordStandIn() as discord,
    ):
        url = postgres.url(postgres.fresh_database()).replace(postgres.socket_directory, "/run/postgresql")
        machine.secrets = {"database__url": url, "discord__token": TOKEN}
        # The container's user is another than the one that the server runs as.
        Path(postgres.socket_directory).chmod(0o711)
        machine.sockets = {"/run/postgresql": Path(postgres.socket_directory)}
        around = {
            "GAMESPOTTER_DISCORD__API_URL": discord.api_url,
            "GAMESPOTTER_DISCORD__GATEWAY_URL": discord.gateway_url,
            "GAMESPOTTER_TWITCH__GQL_URL": pocket.base_url,
            "GAMESPOTTER_TWITCH__USHER_URL": pocket.base_url,
            "GAMESPOTTER_WEB__PORT": str(PORT),
        }

        # Before the tables are there, it says what to do.
        status, _, complaint = await machine.end(bot, **around)
        assert status == 1
        assert "run: python -m bot db migrate" in complaint
        assert "Traceback" not in complaint

        status, said, complaint = await machine.end(migrate)
        assert (status, complaint) == (0, "")
        assert (await machine.end(migrate))[0] == 0, "it may run at every start"

        async with machine.up(bot, **around) as process:
            await discord.connected(within_s=90.0)
            asked = await discord.slash("game", channel="rookandroll")
            message = await asked.answered(within_s=90.0)
            # The library calls itself ready two seconds after the last server came, and answers before.
            async with asyncio.timeout(60.0):
                while (await machine.health(bot, **around))[0] != 0:
                    await asyncio.sleep(0.5)
            status, said = await machine.health(bot, **around)
            assert status == 0, said
            assert set(said.split("\n")) >= {"database: ok", "model: ok", "discord: ok"}

            process.send_signal(signal.Signals[machine.image.stop_signal])
            async with asyncio.timeout(bot.stop_grace_s):
                assert await process.wait() == 0
        status, said = await machine.health(bot, **around)
        assert status == 1
        assert said.startswith("No bot answers at 127.0.0.1:")
    shown = {each["name"]: each["value"] for each in message["embeds"][0]["fields"]}
    assert shown["Seen"].startswith("Chess ")
    log = (machine.folder / "err").read_text()
    assert all(json.loads(line) for line in log.splitlines()), "the log is JSON"
    assert TOKEN not in log + (machine.folder / "out").read_text()
    assert list((machine.folder / "volumes" / "data" / "frames").rglob("*.jpg")), "what was looked at is kept"
