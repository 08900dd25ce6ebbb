"""The wheel, as somebody installs it who has no checkout: another user, an empty folder, an empty environment."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """An environment that the wheel was installed into, which its user can read only."""

    environment: Path
    home: Path

    def run(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": f"{self.environment / 'bin'}:/usr/bin:/bin", "HOME": str(self.home), **variables}
        drop: tuple[str, ...] = ()
        if os.geteuid() == 0:
            drop = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")
        return subprocess.run([*drop, *argv], cwd=self.home, env=clean, capture_output=True, text=True)


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
