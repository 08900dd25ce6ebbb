"""Where a setting stands: a line of the file, a variable of the environment, or a file of its own."""

from __future__ import annotations

import os
import tomllib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic_settings import NestedSecretsSettingsSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PREFIX = "GAMESPOTTER_"
SEPARATOR = "__"


def variable(*path: str) -> str:
    """What a setting is called in the environment."""
    return PREFIX + SEPARATOR.join(path).upper()


def secret_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """The files of a folder that are settings, as the library reads them: file and content by the variable's name.

    Args:
        folder: ``section__key`` is a setting's file; others are left alone, as such a folder may be shared.

    Raises:
        OSError: the folder or a file cannot be read.
        UnicodeDecodeError: a file holds no text.
    """
    # The library passes a folder over that cannot be listed.
    for _ in folder.iterdir():
        break
    found = NestedSecretsSettingsSource.load_secrets(folder.resolve())
    return {variable(name): (folder / name, content) for name, content in found.items() if SEPARATOR in name}


class SettingsPlaces:
    """Finds settings by their path: section, key."""

    def __init__(
        self,
        path: Path | None,
        text: str,
        environment: Mapping[str, str] | None = None,
        *,
        secrets: Mapping[str, tuple[Path, str]] | None = None,
    ) -> None:
        """Look into these.

        Args:
            path: of the file, to be named; None without one.
            text: the file's, which is TOML.
            environment: that of this process when it is not given.
            secrets: as :func:`secret_files` gives them; the environment wins over them.
        """
        self._path = path
        self._text = text
        said = {name.upper(): value for name, value in (os.environ if environment is None else environment).items()}
        self._files = {name: file for name, (file, _) in (secrets or {}).items() if name not in said}
        self._environment = {**{name: content for name, (_, content) in (secrets or {}).items()}, **said}

    def shown(self, name: str) -> str:
        """What a person knows a variable as: its name, or the file that stands for it."""
        return str(self._files.get(name, name))

    def place(self, *path: str) -> str:
        """Where a setting gets its value from: a variable, file and line, or nothing when it is nowhere."""
        name = variable(*path)
        if name in self._environment or any(each.startswith(name + SEPARATOR) for each in self._environment):
            return self.shown(name)
        return self.file_and_line(self.line(path))

    def file_and_line(self, line: int | None) -> str:
        """A line of the file, as editors and terminals open it; nothing when there is none."""
        return "" if line is None or self._path is None else f"{self._path}:{line}"

    def line(self, path: Sequence[str]) -> int | None:
        """The line, from 1 on, on which a setting begins in the file; None when it is not there."""
        before = 0
        for number, values in enumerate(self._beginnings):
            if values is None:
                continue
            if _has(values, path):
                return before + 1
            before = number
        return None

    def value(self, *path: str) -> str | None:
        """What the environment says of a setting; None when it says nothing."""
        return self._environment.get(variable(*path))

    def variables(self) -> tuple[str, ...]:
        """The variables that are meant to be settings."""
        return tuple(name for name in self._environment if name.startswith(PREFIX) and SEPARATOR in name)

    @cached_property
    def _beginnings(self) -> list[dict[str, Any] | None]:
        """What the first 0, 1, 2 … lines hold; None where these end in the middle of something.

        Exact whatever the file looks like, and quick enough for something that is done when there is a mistake.
        """
        lines = self._text.splitlines(keepends=True)
        return [_read("".join(lines[:number])) for number in range(len(lines) + 1)]


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _has(values: Any, path: Sequence[str]) -> bool:  # noqa: ANN401 - whatever TOML holds
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True
