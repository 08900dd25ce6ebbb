"""bot.toml and the environment to frozen Settings, or all mistakes at once.

``[section] key`` of bot.toml is also ``GAMESPOTTER_SECTION__KEY`` in the environment, which wins, and the file
``section__key`` of the folder that ``GAMESPOTTER_SECRETS`` names, which comes second. Secrets are read from these two
alone, and no sentence about a mistake repeats one.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableVariable
from rapidfuzz import fuzz, process

from bot.commands.parser import COMMANDS, CommandWords, command_words_problem
from bot.models.promotion import CanaryRules
from bot.operation.logs import LogFormat, LogLevel
from bot.settings_places import PREFIX, SEPARATOR, SettingsPlaces, secret_files, variable
from core.collection.picks import DEFAULT_NOT_GAMES
from core.errors import SettingsError
from core.streams.reference import TWITCH_URL_TEMPLATE, check_url_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

CONFIG_NAME = "bot.toml"
SECRETS_VARIABLE = f"{PREFIX}SECRETS"
DATABASE_NAME = "gamespotter.db"
FRAMES_NAME = "frames"
STARTER_MODEL = Path(__file__).parent.parent / "models" / "starter"

_FROM_THE_ENVIRONMENT_ALONE = (
    ("twitch", "client_secret"),
    ("twitch", "token_key"),
    ("discord", "token"),
    ("web", "token"),
)

_SHORTEST_TOKEN = 16

_NEAR = 60.0
"""Of 100: how much alike two names must be for the one to be taken for the other, mistyped."""

_NEVER_REPEATED = frozenset({*_FROM_THE_ENVIRONMENT_ALONE, ("database", "url")})

PositiveSeconds = Annotated[float, Field(gt=0, le=600)]
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$")]
HttpBase = Annotated[str, Field(pattern=r"^https?://[^?#\s]+$")]
WebSocketAddress = Annotated[str, Field(pattern=r"^wss?://[^?#\s]+$")]
Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{2,25}$"), AfterValidator(str.casefold)]
Snowflake = Annotated[int, Field(gt=0, lt=1 << 63)]
ChatPlace = Annotated[str, Field(pattern=r"^(discord|twitch):[0-9]{1,20}$")]
CommandName = Annotated[str, Field(pattern=r"^\S{1,32}$"), AfterValidator(str.casefold)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamsSettings(_Section):
    """``[streams]``: where a channel's stream is found, and how much of it is looked at."""

    url: str = TWITCH_URL_TEMPLATE
    frames: Annotated[int, Field(ge=1, le=60)] = 13
    resolve_timeout_s: PositiveSeconds = 8.0
    playlist_timeout_s: PositiveSeconds = 4.0
    segments_timeout_s: PositiveSeconds = 6.0
    total_timeout_s: PositiveSeconds = 12.0

    @field_validator("url")
    @classmethod
    def _is_a_template(cls, url: str) -> str:
        problem = check_url_template(url)
        if problem is not None:
            raise ValueError(problem)
        return url


class TwitchSettings(_Section):
    """``[twitch]``: who asks the directory, the chat, and other addresses for Twitch's own, for a stand-in."""

    client_id: str = ""
    client_secret: SecretStr | None = None
    token_key: SecretStr | None = None
    chat: bool = True
    channels: tuple[Login, ...] = ()
    operators: tuple[str, ...] = ()
    gql_url: HttpAddress | None = None
    usher_url: HttpAddress | None = None
    helix_url: HttpAddress | None = None
    id_url: HttpAddress | None = None
    eventsub_url: WebSocketAddress | None = None

    @property
    def has_credentials(self) -> bool:
        """Whether the directory can be asked."""
        return bool(self.client_id and self.client_secret and self.client_secret.get_secret_value())

    @property
    def has_token_key(self) -> bool:
        """Whether tokens can be kept."""
        return bool(self.token_key and self.token_key.get_secret_value().strip())


class DiscordSettings(_Section):
    """``[discord]``: the chat, who may do what there, and other addresses for a stand-in."""

    token: SecretStr | None = None
    chat: bool = True
    message_content: bool = False
    moderator_roles: tuple[Snowflake, ...] = ()
    operators: tuple[Snowflake, ...] = ()
    servers: dict[str, Login] = {}
    api_url: HttpBase | None = None
    gateway_url: WebSocketAddress | None = None

    @field_validator("servers")
    @classmethod
    def _are_ids(cls, servers: dict[str, str]) -> dict[str, str]:
        if not all(server.isdecimal() for server in servers):
            raise ValueError('A server is named by its id, a number in quotes: { "123456789012345678" = "channel" }.')
        return servers

    @property
    def has_token(self) -> bool:
        """Whether the chat can be joined."""
        return bool(self.token and self.token.get_secret_value())


class ModelSettings(_Section):
    """``[model]``: the artifact that answers, or the registry of those that may."""

    directory: Path = STARTER_MODEL
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    timeout_s: PositiveSeconds = 10.0
    registry: Path | None = None
    poll_s: PositiveSeconds = 10.0
    slower_at_most: Annotated[float, Field(ge=1, le=1000)] = 2.0
    games_lost_at_most: Annotated[int, Field(ge=0, le=10_000)] = 0
    announced_in: tuple[ChatPlace, ...] = ()

    @field_validator("directory", mode="before")
    @classmethod
    def _is_the_starter_model(cls, directory: object) -> object:
        return STARTER_MODEL if directory == "" else directory

    @field_validator("registry", mode="before")
    @classmethod
    def _may_be_empty(cls, registry: object) -> object:
        return None if registry == "" else registry


class CanarySettings(_Section):
    """``[canary]``: what a challenger must show, and what takes back what was promoted: ``bot/models/promotion.py``."""

    automatic: bool = True
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    looks: Annotated[int, Field(ge=1, le=10_000)] = 200
    agree_at_least: Annotated[float, Field(ge=0, le=1)] = 0.9
    less_sure_at_most: Annotated[float, Field(ge=0, le=1)] = 0.05
    slower_at_most: Annotated[float, Field(ge=1, le=1000)] = 1.5
    failed_at_most: Annotated[float, Field(ge=0, le=1)] = 0.01
    hours_at_most: Annotated[float, Field(gt=0, le=24 * 366)] = 168.0
    probation_hours: Annotated[float, Field(ge=0, le=24 * 366)] = 24.0
    probation_looks: Annotated[int, Field(ge=1, le=10_000)] = 50
    alarm_flagged: Annotated[float, Field(ge=0, le=1)] = 0.05
    alarm_slower: Annotated[float, Field(ge=1, le=1000)] = 3.0

    @property
    def rules(self) -> CanaryRules:
        """By which models are judged."""
        return CanaryRules(**self.model_dump(exclude={"automatic", "share"}))


class AnswersSettings(_Section):
    """``[answers]``: how long an answer about a channel is good for."""

    reuse_s: Annotated[float, Field(ge=0, le=3600)] = 20.0


class CommandsSettings(_Section):
    """``[commands]``: what a command begins with, what it is called, where it is off."""

    prefix: Annotated[str, Field(pattern=r"^[^\s\w@/]{1,3}$")] = "!"
    names: dict[str, tuple[CommandName, ...]] = {}
    off: dict[str, tuple[str, ...]] = {}

    @field_validator("names")
    @classmethod
    def _are_names(cls, names: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        problem = command_words_problem(names)
        if problem is not None:
            raise ValueError(problem)
        return names

    @field_validator("off")
    @classmethod
    def _are_commands(cls, off: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for place, commands in off.items():
            if re.fullmatch(r"(twitch|discord):[\w]+", place) is None:
                msg = f"{place!r} is no place; write twitch:some_channel, or discord: and the server's id."
                raise ValueError(msg)
            for command in commands:
                if command != "*" and command not in COMMANDS:
                    msg = f"{command!r} is no command; there are {', '.join(COMMANDS)}, and * for all."
                    raise ValueError(msg)
        return off

    @property
    def words(self) -> CommandWords:
        """For the parser, and for sentences that show a command."""
        return CommandWords(prefix=self.prefix, names={**COMMANDS, **self.names})


class LimitsSettings(_Section):
    """``[limits]``: how often a person and a place may ask, and how much is done at a time."""

    user_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    place_asks: Annotated[int, Field(ge=1, le=10_000)] = 20
    place_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    looks_at_once: Annotated[int, Field(ge=1, le=256)] = 8
    looks_waiting: Annotated[int, Field(ge=0, le=10_000)] = 64


class FlagsSettings(_Section):
    """``[flags]``: whose word that an answer is wrong becomes a label."""

    moderators: Annotated[int, Field(ge=1, le=20)] = 2
    trust_channel_moderators: bool = True
    servers: tuple[Snowflake, ...] = ()


class WatchSettings(_Section):
    """``[watch]``: how often watched channels are looked at, and when something is said."""

    every_s: Annotated[float, Field(ge=10, le=86_400)] = 240.0
    windows: Annotated[int, Field(ge=1, le=100)] = 3


class DataSettings(_Section):
    """``[data]``: what is kept of the streams that were looked at, where and for how long."""

    directory: Path = Path("data")
    keep_asked: bool = True
    asked_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0
    retention_days: Annotated[float, Field(gt=0, le=3660)] = 90.0
    max_gb: Annotated[float, Field(gt=0)] = 20.0


class DatabaseSettings(_Section):
    """``[database]``: where the rows are; empty means a SQLite file in the data directory."""

    url: Annotated[str, Field(repr=False)] = ""

    @field_validator("url")
    @classmethod
    def _is_a_database(cls, url: str) -> str:
        if url and re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", url) is None:
            raise ValueError("The address must begin with postgresql:// or sqlite://.")
        return url


class CollectionSettings(_Section):
    """``[collection]``: what is sampled every night."""

    enabled: bool = True
    cron: str = "0 3 * * *"
    time_zone: str = "UTC"
    games: Annotated[int, Field(ge=1, le=1000)] = 40
    min_live_streams: Annotated[int, Field(ge=0, le=10_000)] = 90
    streams: Annotated[int, Field(ge=1, le=1000)] = 5
    attempts: Annotated[int, Field(ge=1, le=2000)] = 10
    captures_per_broadcaster_a_day: Annotated[int, Field(ge=1, le=100)] = 1
    target_frames: Annotated[int, Field(ge=1)] = 2500
    target_broadcasters: Annotated[int, Field(ge=1)] = 100
    not_games: tuple[str, ...] = DEFAULT_NOT_GAMES
    left_out: tuple[str, ...] = ()
    recognize: bool = True
    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    run_on: Literal["this_process", "workers"] = "this_process"

    @field_validator("cron")
    @classmethod
    def _is_a_cron_expression(cls, cron: str) -> str:
        try:
            CronTrigger.from_crontab(cron)
        except (ValueError, TypeError) as error:
            msg = "It must be the five fields of a cron expression: minute, hour, day, month, weekday."
            raise ValueError(msg) from error
        # APScheduler's 0 is Monday, cron's is Sunday: names leave no doubt.
        if any(character.isdigit() for character in cron.split()[4].partition("/")[0]):
            raise ValueError("Weekdays are written as names (mon, tue-fri), not as numbers.")
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, time_zone: str) -> str:
        try:
            ZoneInfo(time_zone)
        except (ValueError, OSError, KeyError) as error:
            # A name that is a folder is an OSError, an unknown one a KeyError.
            raise ValueError("There is no such time zone; write it as in Europe/Berlin.") from error
        return time_zone


class WebSettings(_Section):
    """``[web]``: HTTP, who may use it, and how much of it."""

    enabled: bool = False
    host: Annotated[str, Field(pattern=r"^[^\s/]{1,255}$")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    token: SecretStr | None = None
    asks: Annotated[int, Field(ge=1, le=100_000)] = 60
    asks_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    connections: Annotated[int, Field(ge=1, le=10_000)] = 64
    picture_mb: Annotated[float, Field(gt=0, le=64)] = 8.0
    picture_megapixels: Annotated[float, Field(gt=0, le=80)] = 24.0
    body_timeout_s: PositiveSeconds = 10.0
    idle_s: PositiveSeconds = 30.0

    @property
    def tokens(self) -> tuple[str, ...]:
        """What opens the door; several are separated by commas."""
        return tuple(self.token.get_secret_value().replace(",", " ").split()) if self.token is not None else ()

    @field_validator("token")
    @classmethod
    def _are_long(cls, token: SecretStr | None) -> SecretStr | None:
        parts = token.get_secret_value().replace(",", " ").split() if token is not None else []
        if any(len(part) < _SHORTEST_TOKEN for part in parts):
            msg = f"A token must have {_SHORTEST_TOKEN} characters or more; `openssl rand -hex 32` makes a good one."
            raise ValueError(msg)
        return token


class ReplicasSettings(_Section):
    """``[replicas]``: several processes that share the chats over one PostgreSQL."""

    enabled: bool = False
    lease_s: Annotated[float, Field(ge=1, le=600)] = 15.0


class LogSettings(_Section):
    """``[log]``: how a bot that stays writes down what it does."""

    format: LogFormat = "console"
    level: LogLevel = "info"


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=SEPARATOR, extra="forbid", frozen=True)
    _file: ClassVar[Path | None] = None
    _secrets: ClassVar[Path | None] = None

    streams: StreamsSettings = StreamsSettings()
    twitch: TwitchSettings = TwitchSettings()
    discord: DiscordSettings = DiscordSettings()
    model: ModelSettings = ModelSettings()
    canary: CanarySettings = CanarySettings()
    answers: AnswersSettings = AnswersSettings()
    commands: CommandsSettings = CommandsSettings()
    limits: LimitsSettings = LimitsSettings()
    flags: FlagsSettings = FlagsSettings()
    watch: WatchSettings = WatchSettings()
    data: DataSettings = DataSettings()
    database: DatabaseSettings = DatabaseSettings()
    collection: CollectionSettings = CollectionSettings()
    web: WebSettings = WebSettings()
    replicas: ReplicasSettings = ReplicasSettings()
    log: LogSettings = LogSettings()

    @property
    def database_url(self) -> str:
        """Where the rows are; with a password in it, perhaps."""
        return self.database.url or f"sqlite:///{(self.data.directory / DATABASE_NAME).absolute()}"

    @property
    def frames_directory(self) -> Path:
        """Where the frames are."""
        return self.data.directory / FRAMES_NAME

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over secrets' files, these over bot.toml; what the caller passes wins over all."""
        secrets = NestedSecretsSettingsSource(file_secret_settings, secrets_dir=cls._secrets, secrets_prefix="")
        file = TomlConfigSettingsSource(settings_cls, toml_file=cls._file)
        return init_settings, env_settings, secrets, file


def read_settings(path: Path | None) -> Settings:
    """Read the settings.

    Args:
        path: of the file; ``None`` takes ``bot.toml`` of the working directory where there is one.

    Returns:
        Settings whose relative paths were taken from the file's own directory.

    Raises:
        SettingsError: with a sentence for each mistake.
    """
    if path is None:
        path = Path(CONFIG_NAME) if Path(CONFIG_NAME).is_file() else None
    elif not path.is_file():
        raise SettingsError((f"There is no settings file {path}.",))

    folder = Path(os.environ[SECRETS_VARIABLE]) if os.environ.get(SECRETS_VARIABLE) else None

    class FromFile(Settings):
        _file: ClassVar[Path | None] = path
        _secrets: ClassVar[Path | None] = folder

    try:
        text = path.read_text(encoding="utf-8") if path is not None else ""
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((f"{path} is not TOML: {error}.",)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{path} cannot be read: {error}.",)) from error
    places = SettingsPlaces(path, text, secrets=_secrets_of(folder))
    problems = [*_secrets_in(written, places), *_unknown_variables(places)]
    settings: Settings | None = None
    try:
        settings = FromFile()
    except ValidationError as error:
        problems += [_sentence(problem, places) for problem in error.errors(include_url=False)]
    except UnreadableVariable as error:
        # Its text names the section alone, and its cause repeats the value.
        section = re.search(r'field "(\w+)"', str(error))
        for name in _not_json(section[1] if section is not None else "", places):
            problems.append(
                f"{places.shown(name)}: a list or a table is written as JSON in the environment, and this is none."
            )
    if settings is not None and settings.replicas.enabled and not settings.database.url.startswith("postgres"):
        at = _at(places.place("replicas", "enabled"))
        problems.append(f"{at}[replicas] enabled: replicas share a PostgreSQL; name it in [database] url.")
    if problems or settings is None:
        # Not `from` the library's error, whose text repeats what was given.
        raise SettingsError(tuple(problems))
    return settings if path is None else _seen_from(path.parent, settings)


def _secrets_of(folder: Path | None) -> dict[str, tuple[Path, str]]:
    """The files of secrets by the variables that they stand for.

    Raises:
        SettingsError: they cannot be read.
    """
    try:
        return secret_files(folder) if folder is not None else {}
    except (OSError, UnicodeDecodeError) as error:
        what = (error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8"
        named = error.filename if isinstance(error, OSError) and error.filename else folder
        said = f"{named} cannot be read ({what}): {SECRETS_VARIABLE} names a folder with a file for each secret."
        raise SettingsError((said,)) from None


def _secrets_in(written: dict[str, Any], places: SettingsPlaces) -> Iterator[str]:
    """A sentence for each secret that stands in the settings file, where everybody who reads it would see it."""

    def value(section: str, key: str) -> object:
        values = written.get(section)
        return values.get(key) if isinstance(values, dict) else None

    def said(section: str, key: str, what: str) -> str:
        line = places.line((section, key))
        return (
            f"{_at(places.file_and_line(line))}[{section}] {key}: {what} does not belong in the file; "
            f"set {variable(section, key)} in the environment."
        )

    for section, key in _FROM_THE_ENVIRONMENT_ALONE:
        if value(section, key) is not None:
            yield said(section, key, "a secret")
    url = value("database", "url")
    if isinstance(url, str) and _has_password(url):
        yield said("database", "url", "a password")


def _unknown_variables(places: SettingsPlaces) -> Iterator[str]:
    """A sentence for each variable that would be a setting, were there such a section; others pydantic finds."""
    for name in places.variables():
        section, _, key = name.removeprefix(PREFIX).partition(SEPARATOR)
        if section.lower() not in Settings.model_fields:
            nearest = _nearest(section.lower(), list(Settings.model_fields))
            hint = f"; did you mean {variable(nearest, key)}?" if nearest else "."
            yield f"{places.shown(name)}: there is no such setting{hint}"


def _not_json(section: str, places: SettingsPlaces) -> list[str]:
    """Variables of lists and tables of a section whose values are not JSON; the section itself where none is found."""
    annotation = Settings.model_fields[section].annotation if section in Settings.model_fields else None
    fields = annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}
    found = []
    for key, field in fields.items():
        value = places.value(section, key)
        if value is not None and get_origin(field.annotation) in (tuple, dict):
            try:
                json.loads(value)
            except ValueError:
                found.append(variable(section, key))
    return found or [variable(section)]


def _at(place: str) -> str:
    return f"{place}: " if place else ""


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None or "password=" in urlsplit(url).query
    except ValueError:
        return False


def _seen_from(folder: Path, settings: Settings) -> Settings:
    """The same settings with relative directories taken from the settings file's."""
    registry = settings.model.registry
    model = settings.model.model_copy(
        update={
            "directory": folder / settings.model.directory,
            "registry": None if registry is None else folder / registry,
        }
    )
    data = settings.data.model_copy(update={"directory": folder / settings.data.directory})
    return settings.model_copy(update={"model": model, "data": data})


def _sentence(problem: ErrorDetails, places: SettingsPlaces) -> str:
    """One mistake as pydantic reports it, in a person's words."""
    # A list's element is named by its number behind the key.
    *sections, key = path = [str(part) for part in problem["loc"] if isinstance(part, str)]
    name = f"[{'.'.join(sections)}] {key}" if sections else f"[{key}]"
    name = f"{_at(places.place(*path))}{name}"
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting{_hint(sections, key)}"
    said = problem.get("ctx", {}).get("error")
    message = str(said or problem["msg"]).removesuffix(".")
    if (*sections, key) in _NEVER_REPEATED or isinstance(problem["input"], dict):
        return f"{name}: {message}."
    return f"{name}: {message} (it is {problem['input']!r:.80})."


def _hint(sections: list[str], key: str) -> str:
    """What may have been meant: another section's setting of that very name, or one here with nearly this name."""
    elsewhere = [section for section in Settings.model_fields if sections and key in _known_keys([section])]
    if len(elsewhere) == 1:
        return f"; [{elsewhere[0]}] has one of this name."
    nearest = _nearest(key, _known_keys(sections))
    return f"; did you mean {nearest!r}?" if nearest else "."


def _nearest(name: str, known: list[str]) -> str | None:
    found = process.extractOne(name, known, scorer=fuzz.ratio, score_cutoff=_NEAR)
    return found[0] if found is not None else None


def _known_keys(sections: list[str]) -> list[str]:
    fields = Settings.model_fields
    for section in sections:
        annotation = fields[section].annotation if section in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        fields = annotation.model_fields
    return list(fields)
