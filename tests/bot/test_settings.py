from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.settings import STARTER_MODEL, Settings, read_settings
from bot.settings_places import SettingsPlaces
from core.errors import SettingsError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "other.toml"
    path.write_text(text)
    return read_settings(path)


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    return caught.value.problems


def test_without_a_file_the_defaults_serve() -> None:
    settings = read_settings(None)

    assert settings.streams.url == "https://www.twitch.tv/{channel}"
    assert settings.streams.frames == 13
    assert settings.answers.reuse_s == 20
    assert settings.model.directory == STARTER_MODEL


def test_the_shipped_file_states_every_setting_with_its_default() -> None:
    shipped = read_settings(ROOT / "bot.toml")

    paths = {"model": {"directory"}, "data": {"directory"}}
    assert shipped.model_dump(exclude=paths) == read_settings(None).model_dump(exclude=paths)
    assert shipped.data.directory == ROOT / "data"
    assert shipped.model.directory.resolve() == STARTER_MODEL.resolve()
    text = (ROOT / "bot.toml").read_text()
    for section, field in Settings.model_fields.items():
        assert f"[{section}]" in text
        keys = set(field.annotation.model_fields) - {"client_secret", "token_key", "token"}  # type: ignore[union-attr]
        assert all(f"{key} = " in text for key in keys)


def test_the_file_of_the_working_directory_is_taken(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text("[streams]\nframes = 5\n")

    assert read_settings(None).streams.frames == 5


def test_a_relative_model_directory_starts_at_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, '[model]\ndirectory = "here/model"\n')

    assert settings.model.directory == tmp_path / "here/model"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMESPOTTER_STREAMS__FRAMES", "7")
    monkeypatch.setenv("GAMESPOTTER_TWITCH__GQL_URL", "http://127.0.0.1:1")

    settings = read(tmp_path, "[streams]\nframes = 5\n")

    assert settings.streams.frames == 7
    assert settings.twitch.gql_url == "http://127.0.0.1:1"


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        [streams]
        frmes = 3
        frames = 0
        url = "https://www.twitch.tv/"
        [answers]
        reuse_s = "long"
        [stream]
        """,
    )

    assert len(found) == 5
    text = "\n".join(found)
    assert "[streams] frmes: there is no such setting; did you mean 'frames'?" in text
    assert "[streams] frames: Input should be greater than or equal to 1 (it is 0)." in text
    assert "[streams] url: " in text
    assert "[answers] reuse_s: " in text
    assert "[stream]: there is no such setting; did you mean 'streams'?" in text


def test_each_mistake_names_the_line_that_it_stands_on(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """# [answers]
[collection]
not_games = [
    "frmes = 3",  # frmes = 3
    "[answers]",
]
left_out = [
    7,
]
[streams]

frmes = 3
frames = 0
[answers]
reuse_s = "long"
[stream]
[commands.off]
nowhere = ["game"]
""",
    )

    assert sorted(int(problem.removeprefix(f"{tmp_path}/other.toml:").partition(":")[0]) for problem in found) == [
        7,
        12,
        13,
        15,
        16,
        17,
    ]


def test_a_value_of_the_environment_is_named_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMESPOTTER_STREAMS__FRAMES", "0")
    monkeypatch.setenv("GAMESPOTTER_STREAMS__FRMES", "3")
    monkeypatch.setenv("GAMESPOTTER_DISCRD__TOKEN", "hunter2")

    found = "\n".join(problems(tmp_path, "[streams]\nframes = 5\n"))

    assert "GAMESPOTTER_STREAMS__FRAMES: [streams] frames: " in found
    assert "GAMESPOTTER_STREAMS__FRMES: [streams] frmes: there is no such setting; did you mean 'frames'?" in found
    assert "GAMESPOTTER_DISCRD__TOKEN: there is no such setting; did you mean GAMESPOTTER_DISCORD__TOKEN?" in found
    assert "hunter2" not in found


def test_a_list_of_the_environment_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMESPOTTER_TWITCH__CHANNELS", "hunter2")

    (problem,) = problems(tmp_path, "")

    assert "GAMESPOTTER_TWITCH__CHANNELS" in problem


def test_a_setting_in_another_section_than_its_own_is_told_which_that_is(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[streams]\nreuse_s = 3\n")

    assert problem.endswith("[streams] reuse_s: there is no such setting; [answers] has one of this name.")


def test_a_name_that_is_like_no_other_gets_no_hint(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[streams]\nzzzzzz = 3\n")

    assert problem.endswith("[streams] zzzzzz: there is no such setting.")


@given(
    st.lists(st.sampled_from(["# a comment\n", "\n", "frames = 7\n", "url = 'x{channel}'\n"]), unique=True), st.data()
)
def test_the_line_is_where_the_setting_begins(lines: list[str], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(['"a"', "[\n1,\n2 ]", '"""\nfrmes = 1\n[x]\n"""', "{ a = 1 }", "1 # [streams]"]))
    at = data.draw(st.integers(0, len(lines)))
    text = "".join(["[streams]\n", *lines[:at], f"frmes = {value}\n", *lines[at:]])

    line = SettingsPlaces(Path("bot.toml"), text, {}).line(("streams", "frmes"))

    assert line is not None
    assert text.splitlines()[line - 1].startswith("frmes = ")


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        [twitch]
        client_secret = "hunter2"
        [database]
        url = "postgresql://bot:hunter2@db/games"
        """,
    )

    assert len(found) == 2
    text = "\n".join(found)
    assert "[twitch] client_secret" in text
    assert "GAMESPOTTER_TWITCH__CLIENT_SECRET" in text
    assert "GAMESPOTTER_DATABASE__URL" in text
    assert "hunter2" not in text


def test_a_secret_of_the_environment_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMESPOTTER_TWITCH__CLIENT_SECRET", "hunter2")
    monkeypatch.setenv("GAMESPOTTER_DATABASE__URL", "postgresql://bot:hunter2@db/games")

    settings = read(tmp_path, '[twitch]\nclient_id = "abc"\n')

    assert settings.twitch.has_credentials
    assert settings.database_url == "postgresql://bot:hunter2@db/games"
    assert "hunter2" not in repr(settings)


def test_a_wrong_database_address_of_the_environment_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMESPOTTER_DATABASE__URL", "mysql://bot:hunter2@db/games")

    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "")

    (problem,) = caught.value.problems
    assert problem == (
        "GAMESPOTTER_DATABASE__URL: [database] url: The address must begin with postgresql:// or sqlite://."
    )
    assert caught.value.__context__ is None  # the library's own exception repeats the value


def test_without_a_database_address_it_is_a_file_in_the_data_directory(tmp_path: Path) -> None:
    settings = read(tmp_path, '[data]\ndirectory = "kept"\n')

    assert settings.database_url == f"sqlite:///{tmp_path}/kept/gamespotter.db"
    assert settings.frames_directory == tmp_path / "kept" / "frames"


@pytest.mark.parametrize("cron", ["", "nightly", "0 3 * *", "61 3 * * *", "0 3 * * 1-5", "0 0 3 * * *"])
def test_a_cron_expression_is_five_fields_with_weekdays_by_name(tmp_path: Path, cron: str) -> None:
    assert "[collection] cron" in problems(tmp_path, f'[collection]\ncron = "{cron}"\n')[0]


def test_weekdays_by_name_are_understood(tmp_path: Path) -> None:
    assert read(tmp_path, '[collection]\ncron = "30 2 * * mon-fri"\n').collection.cron == "30 2 * * mon-fri"


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_time_zone_has_to_exist(tmp_path: Path, zone: str) -> None:
    assert "[collection] time_zone" in problems(tmp_path, f'[collection]\ntime_zone = "{zone}"\n')[0]


def test_a_mistake_in_a_list_names_the_list(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[collection]\nnot_games = [1]\n")

    assert problem.startswith(f"{tmp_path}/other.toml:2: [collection] not_games: ")


@pytest.mark.parametrize("value", ["ftp://x", "http://x/path", "127.0.0.1:80", "http://a b"])
def test_an_address_that_is_no_origin_is_refused(tmp_path: Path, value: str) -> None:
    assert "[twitch] gql_url" in problems(tmp_path, f'[twitch]\ngql_url = "{value}"\n')[0]


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[streams\n")

    assert "other.toml is not TOML" in problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no settings file .*gone\.toml"):
        read_settings(tmp_path / "gone.toml")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings(None).streams.frames = 3  # type: ignore[misc]


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("GAMESPOTTER_SECRETS", str(folder))
    return folder


def test_a_folder_may_hold_a_file_for_each_secret(secrets: Path) -> None:
    (secrets / "discord__token").write_text("a token\n")
    (secrets / "database__url").write_text("postgresql://bot:word@db/name\n")
    (secrets / "twitch__client_secret").write_text("")

    settings = read_settings(None)

    assert settings.discord.token is not None
    assert settings.discord.token.get_secret_value() == "a token"
    assert settings.database.url == "postgresql://bot:word@db/name"
    assert not settings.twitch.has_credentials


def test_the_environment_wins_over_a_secrets_file_and_that_over_the_settings_file(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "twitch__client_id").write_text("of the secrets")
    assert read(tmp_path, '[twitch]\nclient_id = "of the file"').twitch.client_id == "of the secrets"

    monkeypatch.setenv("GAMESPOTTER_TWITCH__CLIENT_ID", "of the environment")
    assert read(tmp_path, '[twitch]\nclient_id = "of the file"').twitch.client_id == "of the environment"


def test_a_mistake_in_a_secrets_file_is_named_by_the_file_and_does_not_repeat_it(tmp_path: Path, secrets: Path) -> None:
    (secrets / "discord__tokn").write_text("a token")
    (secrets / "web__token").write_text("short word")
    (secrets / "diskord__token").write_text("a token")
    (secrets / "other-programs-secret").write_text("is left alone")

    said = "\n".join(problems(tmp_path, ""))

    assert f"{secrets / 'discord__tokn'}: [discord] tokn: there is no such setting; did you mean 'token'?" in said
    assert f"{secrets / 'web__token'}: [web] token: A token must have 16 characters" in said
    assert f"{secrets / 'diskord__token'}: there is no such setting; did you mean GAMESPOTTER_DISCORD__TOKEN?" in said
    assert "a token" not in said
    assert "short" not in said
    assert "other" not in said.replace("other.toml", "")


def test_secrets_that_cannot_be_read_are_a_sentence(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "discord__token").write_bytes(b"\xff\xfe")
    (said,) = problems(tmp_path, "")
    assert "cannot be read (it is not UTF-8)" in said

    monkeypatch.setenv("GAMESPOTTER_SECRETS", str(tmp_path / "elsewhere"))
    (said,) = problems(tmp_path, "")
    assert said.startswith(f"{tmp_path / 'elsewhere'} cannot be read (No such file or directory): GAMESPOTTER_SECRETS")

    monkeypatch.setenv("GAMESPOTTER_SECRETS", "")
    assert read_settings(None).discord.token is None


def test_replicas_need_a_database_that_they_can_share(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[replicas]\nenabled = true")
    assert problem.endswith("other.toml:2: [replicas] enabled: replicas share a PostgreSQL; name it in [database] url.")
    text = '[replicas]\nenabled = true\n[database]\nurl = "postgresql://gamespotter@db/gamespotter"'
    assert read(tmp_path, text).replicas.enabled
