"""The wheel, as somebody installs it who has no checkout: another user, an empty folder, an empty environment."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.channels import demo_channels
from demo.conversation import way_to
from demo.pocket_twitch import PocketTwitch
from tests.packaging.compose import ROOT
from tests.packaging.image import is_sent

pytestmark = pytest.mark.timeout(1800)

NOBODY = 65_534
PORT = 18_091
UNIT = ROOT / "docs" / "operation" / "gamespotter.service"


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An environment that the wheel was installed into, which its user can read only."""

    environment: Path
    home: Path

    @property
    def dropped(self) -> tuple[str, ...]:
        """What comes before a command, so that root is somebody else."""
        if os.geteuid() != 0:
            return ()
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")

    def clean(self, **variables: str) -> dict[str, str]:
        return {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "HOME": str(self.home), **variables}

    def run(self, *argv: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.dropped, *argv], cwd=cwd or self.home, env=self.clean(**variables), capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="gamespotter-wheel-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    sources = folder / "sources"
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for top in ("bot", "core", "demo", "training", "models", "pyproject.toml", "README.md"):
        for path in [ROOT / top, *(ROOT / top).rglob("*")]:
            within = path.relative_to(ROOT)
            if path.is_file() and is_sent(str(within), ignored):
                (sources / within).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, sources / within)
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(sources))
    (made,) = folder.glob("gamespotter-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    environment = folder / "environment"
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    subprocess.run([str(base), "-m", "venv", "--without-pip", "--copies", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    _pip("--python", python, "install", "--constraint", str(ROOT / "requirements.lock"), str(wheel))
    return environment


@pytest.fixture
def installation(installed: Path, folder: Path) -> Installation:
    home = Path(tempfile.mkdtemp(dir=folder))
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    return Installation(environment=installed, home=home)


@pytest.fixture
async def pocket() -> AsyncIterator[PocketTwitch]:
    async with PocketTwitch(channels=demo_channels()) as twitch:
        yield twitch


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})


def test_the_doctor_finds_all_that_the_bot_needs(installation: Installation) -> None:
    done = installation.run("gamespotter", "doctor", "--offline", "--json")

    found = {each["part"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert (done.returncode, done.stderr) == (0, "")
    assert found["Libraries"]["state"] == "ok"
    assert found["Model"]["said"].startswith("starter-")


def test_the_doctor_says_what_is_missing(installation: Installation) -> None:
    secrets = installation.home / "secrets"
    done = installation.run(
        *("gamespotter", "doctor", "--offline"),
        GAMESPOTTER_DATA__DIRECTORY=str(installation.environment),
        GAMESPOTTER_MODEL__DIRECTORY="models/none",
    )
    assert done.returncode == 1
    assert "cannot be written to" in done.stdout
    assert "models/none" in done.stdout
    assert "Traceback" not in done.stderr

    done = installation.run("gamespotter", "doctor", "--offline", GAMESPOTTER_SECRETS=str(secrets))
    assert done.returncode == 2
    assert f"{secrets} cannot be read" in done.stderr


def test_the_tables_are_made(installation: Installation) -> None:
    assert installation.run("gamespotter", "db", "migrate").returncode == 0

    done = installation.run("gamespotter", "data", "info", "--json")
    assert json.loads(done.stdout)["captures"] == 0


async def test_the_unit_starts_it_as_the_operator_sets_it_up(installation: Installation) -> None:
    unit = [line.partition("=") for line in UNIT.read_text().splitlines()]
    etc, var, credentials = (installation.home / name for name in ("etc", "var", "credentials"))
    for folder in (etc, var, credentials):
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
    for key, _, value in unit:
        if key == "LoadCredential":
            (credentials / value.partition(":")[0]).touch()
    said = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / "operation.md").read_text(), re.DOTALL)
    assert said is not None
    settings = (ROOT / "bot.toml").read_text()
    for section, keys in tomllib.loads(said[1].replace("/var/lib/gamespotter", str(var))).items():
        for key, value in keys.items():
            wanted = rf"(\[{section}\]\n(?:(?!\[).*\n)*?{key} = ).*"
            settings, times = re.subn(
                wanted, lambda found, value=value: found[1] + json.dumps(value), settings, count=1
            )
            assert times == 1, f"[{section}] {key} is not in bot.toml"
    (etc / "bot.toml").write_text(settings)
    around = {"GAMESPOTTER_SECRETS": str(credentials), "GAMESPOTTER_WEB__PORT": str(PORT)}

    for program in ("ExecStartPre", "ExecStart"):
        (command,) = [value for key, _, value in unit if key == program]
        argv = command.replace("/opt/gamespotter", str(installation.environment)).split()
        process = await asyncio.create_subprocess_exec(
            *installation.dropped, *argv, cwd=etc, env=installation.clean(**around), stdout=asyncio.subprocess.DEVNULL
        )
        if program == "ExecStartPre":
            assert await process.wait() == 0
    try:
        for _ in range(60):
            healthy = await asyncio.to_thread(installation.run, "gamespotter", "health", cwd=etc, **around)
            if healthy.returncode == 0 or process.returncode is not None:
                break
        assert healthy.stdout == "database: ok\nmodel: ok\n"
        process.terminate()
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert {path.name for path in var.iterdir()} >= {"gamespotter.db", "frames"}
    assert [path.name for path in etc.iterdir()] == ["bot.toml"]


async def test_it_says_what_a_stream_shows(installation: Installation, pocket: PocketTwitch) -> None:

    done = await asyncio.to_thread(
        installation.run, "python", "-m", "bot", "ask", "mira_plays", **way_to(pocket.base_url)
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Seen: Freedoom ")


def test_it_brings_the_demo(installation: Installation) -> None:
    done = installation.run("python", "-m", "demo", "play")

    assert done.returncode == 0, done.stderr
    assert "Seen: Freedoom " in done.stdout


def test_without_the_extra_training_says_how_to_get_it(installation: Installation) -> None:
    done = installation.run("python", "-m", "training", "run", "--help")

    assert "Traceback" not in done.stderr
