"""bot.toml and the environment to frozen Settings, or all mistakes at once.

``[section] key`` of bot.toml is also ``GAMESPOTTER_SECTION__KEY`` in the environment, which wins. Secrets are read
from the environment alone.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.errors import SettingsError
from core.streams.reference import TWITCH_URL_TEMPLATE, check_url_template

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_NAME = "bot.toml"
STARTER_MODEL = Path(__file__).parent.parent / "models" / "starter"

PositiveSeconds = Annotated[float, Field(gt=0, le=600)]
HttpAddress = Annotated[str, Field(pattern=r"^https?://[^/?#\s]+/?$")]


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
    """``[twitch]``: other addresses for Twitch's own, for a stand-in; empty means Twitch."""

    gql_url: HttpAddress | None = None
    usher_url: HttpAddress | None = None


class ModelSettings(_Section):
    """``[model]``: the artifact that answers."""

    directory: Path = STARTER_MODEL
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    timeout_s: PositiveSeconds = 10.0


class AnswersSettings(_Section):
    """``[answers]``: how long an answer about a channel is good for."""

    reuse_s: Annotated[float, Field(ge=0, le=3600)] = 20.0


class CommandsSettings(_Section):
    """``[commands]``: what a command begins with."""

    prefix: Annotated[str, Field(pattern=r"^[^\s\w@/]{1,3}$")] = "!"


class Settings(BaseSettings):
    """All settings, checked."""

    model_config = SettingsConfigDict(env_prefix="GAMESPOTTER_", env_nested_delimiter="__", extra="forbid", frozen=True)
    _file: ClassVar[Path | None] = None

    streams: StreamsSettings = StreamsSettings()
    twitch: TwitchSettings = TwitchSettings()
    model: ModelSettings = ModelSettings()
    answers: AnswersSettings = AnswersSettings()
    commands: CommandsSettings = CommandsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; what the caller passes wins over both."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=cls._file)
        return init_settings, env_settings, file


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

    class FromFile(Settings):
        _file: ClassVar[Path | None] = path

    try:
        settings = FromFile()
    except ValidationError as error:
        problems = tuple(_sentence(problem) for problem in error.errors(include_url=False))
        raise SettingsError(problems) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError((f"{path} is not TOML: {error}.",)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{path} cannot be read: {error}.",)) from error
    if path is not None and not settings.model.directory.is_absolute():
        directory = path.parent / settings.model.directory
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"directory": directory})})
    return settings


def _sentence(problem: ErrorDetails) -> str:
    """One mistake as pydantic reports it, in a person's words."""
    *sections, key = (str(part) for part in problem["loc"])
    name = f"[{'.'.join(sections)}] {key}" if sections else f"[{key}]"
    if problem["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, _known_keys(sections), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "."
        return f"{name}: there is no such setting{hint}"
    said = problem.get("ctx", {}).get("error")
    return f"{name}: {said or problem['msg']} (it is {problem['input']!r:.80})."


def _known_keys(sections: list[str]) -> list[str]:
    fields = Settings.model_fields
    for section in sections:
        annotation = fields[section].annotation if section in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        fields = annotation.model_fields
    return list(fields)
