"""What the packaging says, read without building anything; `make test-package` builds and runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from bot.chat.twitch_tokens import BOT_SCOPES, BROADCASTER_SCOPES
from bot.operation.figures import Figures
from bot.settings import STARTER_MODEL, Settings, read_settings
from bot.settings_places import secret_files, variable
from tests.packaging.compose import read_compose, read_services

if sys.platform != "linux":
    pytest.skip("Dockerfile, compose.yaml and the unit are for Linux", allow_module_level=True)

from tests.packaging.image import Stage, expand, is_sent, pairs, read_stages

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "docs" / "operation" / "gamespotter.service"


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    return read_stages((ROOT / "Dockerfile").read_text())


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """A stage and those that it stands on."""
    return [stages[name], *lineage(stages, stages[name].base)] if name in stages else []


def values(stages: dict[str, Stage], name: str, command: str) -> list[tuple[str, ...]]:
    return [step.value for stage in lineage(stages, name) for step in stage.steps if step.cmd == command]


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    return {key: value for each in values(stages, name, "ENV") for key, value in pairs(each).items()}


def settings_named(variables: dict[str, str]) -> set[str]:
    return {name for name in variables if "__" in name and name.startswith("GAMESPOTTER_")}


# The Dockerfile


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)

    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_the_last_stage_is_the_bot_and_what_runs_is_slim(stages: dict[str, Stage]) -> None:
    assert list(stages)[-1] == "bot"
    for name in ("bot", "training"):
        assert re.fullmatch(r"python:3\.\d+-slim", lineage(stages, name)[-1].base)


def test_it_is_nobody_special_and_ends_when_it_is_told(stages: dict[str, Stage]) -> None:
    for name in ("bot", "training"):
        (user,) = values(stages, name, "USER")
        assert all(int(number) > 999 for number in user[0].split(":"))
    assert values(stages, "bot", "STOPSIGNAL") == [("SIGTERM",)]
    (health,) = values(stages, "bot", "HEALTHCHECK")
    assert health[:3] == ("CMD", "gamespotter", "health")


def test_what_the_image_sets_are_settings(
    stages: dict[str, Stage], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(stages, "bot").items():
        if name.startswith("GAMESPOTTER_"):
            monkeypatch.setenv(name, value if name != "GAMESPOTTER_SECRETS" else str(tmp_path))

    settings = read_settings(None)

    assert settings.data.directory == Path("/data")
    assert settings.model.registry == Path("/models")
    assert settings.model.directory == STARTER_MODEL
    assert settings.web.enabled
    assert {path for paths in values(stages, "bot", "VOLUME") for path in paths} == {"/data", "/models"}


def test_no_secret_and_no_address_of_a_registry_is_in_it() -> None:
    for name in ("Dockerfile", "compose.yaml"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"index-url|extra-index|trusted-host|password: |_TOKEN", text)


def test_languages_are_kept(stages: dict[str, Stage]) -> None:
    (step,) = [step for step in stages["bot-packed"].steps if "locale-data" in step.original]
    kept = re.findall(r"! -name '(\w+)\*'", step.value[0])

    assert {path.stem for path in (ROOT / "bot" / "languages").glob("*.ftl")} == set(kept)


def test_only_what_is_packed_is_sent_to_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    for sent in ("pyproject.toml", "bot/app.py", "demo/clips/a.mp4", "models/starter/network.tflite", "core/a/b.toml"):
        assert is_sent(sent, ignored), sent
    for kept in (
        *(".git/config", ".venv/bin/python", "data/gamespotter.db", "secrets/discord__token", "tests/x.py"),
        *("bot/__pycache__/app.pyc", "models/registry/current", "bot.toml", "compose.yaml"),
    ):
        assert not is_sent(kept, ignored), kept


def test_packages_say_what_is_in_them() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = [pattern.rstrip("*") for pattern in said["packages"]["find"]["include"]]
    patterns = said["package-data"]

    for package, globs in patterns.items():
        assert any((ROOT / package.replace(".", "/")).glob(globs[0])), f"{package}: {globs[0]} names nothing"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git here")
    for line in listed.stdout.splitlines():
        path = Path(line)
        top = ".".join(path.parts[:2]) if path.parts[0] == "models" else path.parts[0]
        if path.suffix == ".py" or top not in packages or not (ROOT / path).is_file():
            continue
        inside = path.relative_to(top.replace(".", "/"))
        assert any(inside.match(pattern) for pattern in patterns.get(top, ())), f"{line} is in no package"


# compose.yaml


def test_compose_is_what_the_specification_allows() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    said = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"], capture_output=True, text=True
    )

    assert said.returncode == 0, said.stdout


def test_what_services_name_is_there(stages: dict[str, Stage]) -> None:
    compose = read_compose()
    for name, service in read_services().items():
        assert set(service.secrets) <= set(compose["secrets"])
        assert set(service.needs()) <= set(read_services())
        for source in service.volumes.values():
            assert (ROOT / source).exists() if source.startswith("./") else source in compose["volumes"]
        if "build" in service.said:
            target = service.said["build"]["target"]
            assert target in stages
            volumes = {path for paths in values(stages, target, "VOLUME") for path in paths}
            assert volumes <= set(service.volumes), f"{name} would lose what it writes"


def test_what_runs_is_hardened() -> None:
    for name, service in read_services().items():
        assert "no-new-privileges:true" in service.said["security_opt"]
        assert "ports" not in service.said, "nothing is open to the network of the machine"
        if name != "database":
            assert service.said["read_only"] is True
            assert service.said["cap_drop"] == ["ALL"]


def test_the_bot_waits_for_the_tables_and_they_for_the_database() -> None:
    services = read_services()

    assert services["bot"].needs() == {
        "database": "service_healthy",
        "migrate": "service_completed_successfully",
    }
    assert services["migrate"].needs() == {"database": "service_healthy"}
    assert services["migrate"].command == ("db", "migrate")
    assert services["training"].said["profiles"] == ["training"]
    assert services["bot"].stop_grace_s > 10


def test_secrets_are_files_that_settings_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    services = read_services()
    named = {secret for name in ("migrate", "bot") for secret in services[name].secrets}
    # Every secret that there is can be given.
    assert named == secrets_of_the_settings()
    for name in named:
        (tmp_path / name).touch()
    assert len(secret_files(tmp_path)) == len(named)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAMESPOTTER_SECRETS", str(tmp_path))

    settings = read_settings(None)
    has = (settings.discord.has_token, settings.twitch.has_token_key, bool(settings.web.tokens))
    assert has == (False, False, False), "an empty file is as good as none"
    assert settings.database_url.startswith("sqlite:")


def secrets_of_the_settings() -> set[str]:
    found = {"database__url"}
    for section, field in Settings.model_fields.items():
        for key, value in field.annotation.model_fields.items():  # type: ignore[union-attr]
            if SecretStr in getattr(value.annotation, "__args__", (value.annotation,)):
                found.add(f"{section}__{key}")
    return found


def test_variables_of_services_are_settings() -> None:
    for service in read_services().values():
        for name in settings_named(service.environment):
            section, _, key = name.removeprefix("GAMESPOTTER_").lower().partition("__")
            assert key in Settings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]


# The unit


def test_the_unit_has_the_bots_secrets_and_waits_for_its_end() -> None:
    said = [line.partition("=") for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#"]
    credentials = {value.partition(":")[0] for key, _, value in said if key == "LoadCredential"}
    options = {key: value for key, _, value in said}

    assert credentials == secrets_of_the_settings()
    assert int(options["TimeoutStopSec"]) > 10
    assert options["RestartPreventExitStatus"] == "2"
    assert options["ExecStart"].endswith("/gamespotter run")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    # The program is not installed here; everything else is as it is.
    text = UNIT.read_text().replace("/opt/gamespotter/bin/gamespotter", "/bin/true")
    (tmp_path / UNIT.name).write_text(text)
    said = subprocess.run(["systemd-analyze", "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True)

    assert (said.returncode, said.stderr.strip()) == (0, "")


# What reads the Dockerfile for the tests


def test_the_reader_of_dockerfiles() -> None:
    stages = read_stages('ARG V=3.13\nFROM python:${V} AS a\nENV X=1 Y="two words"\nFROM a AS b\nRUN true\n')

    assert [(stage.name, stage.base) for stage in stages.values()] == [("a", "python:3.13"), ("b", "a")]
    assert pairs(stages["a"].steps[0].value) == {"X": "1", "Y": "two words"}
    assert expand("/opt:$PATH", {"PATH": "/bin"}) == "/opt:/bin"


@pytest.mark.parametrize(
    ("path", "lines", "sent"),
    [
        ("a/b.py", ["*"], False),
        ("a/b.py", ["*", "!a"], True),
        ("a/c/b.py", ["*", "!a/c"], True),
        ("a/d/b.py", ["*", "!a/c"], False),
        ("a/__pycache__/b.pyc", ["*", "!a", "**/__pycache__"], False),
        ("a.py", ["# a.py", ""], True),
    ],
)
def test_the_reader_of_dockerignore(path: str, lines: list[str], sent: bool) -> None:
    assert is_sent(path, lines) is sent


# What the operator reads


def test_alerts_are_about_figures_that_there_are() -> None:
    text, _ = Figures().text()
    known = {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
    rules = [
        rule
        for group in yaml.safe_load((ROOT / "docs/operation/alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    read = (ROOT / "docs/operation.md").read_text()

    for rule in rules:
        assert f"`{rule['alert']}`" in read
        for name in re.findall(r"gamespotter_\w+", rule["expr"]):
            assert {name, name.removesuffix("_bucket")} & known, name


def test_the_operator_is_told_every_secret_and_every_scope() -> None:
    read = (ROOT / "docs/operation.md").read_text()

    for secret in secrets_of_the_settings():
        assert f"`{secret}`" in read
        assert f"`{variable(*secret.split('__'))}`" in read
    for scope in (*BOT_SCOPES, *BROADCASTER_SCOPES):
        assert f"`{scope}`" in read


def test_settings_that_the_operator_is_told_of_are_there() -> None:
    read = (ROOT / "docs/operation.md").read_text()

    for section, key in re.findall(r"`\[(\w+)\] (\w+)", read):
        assert key in Settings.model_fields[section].annotation.model_fields, f"[{section}] {key}"  # type: ignore[union-attr]
