"""SIGHUP: the settings are read again, and what can change while the bot runs does."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeAlias

from core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bot.settings import Settings

log = logging.getLogger(__name__)

Name: TypeAlias = tuple[str, str]
"""Section and key."""

LIMITS: frozenset[Name] = frozenset({("limits", "user_s"), ("limits", "place_asks"), ("limits", "place_s")})
OFF: frozenset[Name] = frozenset({("commands", "off")})
LOG_LEVEL: frozenset[Name] = frozenset({("log", "level")})
WEB_LIMITS: frozenset[Name] = frozenset({("web", "asks"), ("web", "asks_s")})

CHANGEABLE = LIMITS | OFF | LOG_LEVEL | WEB_LIMITS
"""What is taken over at once. Everything else is built into what runs, and waits for a restart."""


class Rereading:
    """Reads the settings again whenever it is told to."""

    def __init__(self, settings: Settings, *, read: Callable[[], Settings], told: asyncio.Event) -> None:
        """Read nothing yet.

        Args:
            settings: in force.
            read: reads them again; blocks for some milliseconds, and raises SettingsError.
            told: set whenever it is to be done.
        """
        self._settings = settings
        self._read = read
        self._told = told

    async def run(self, take: Callable[[Settings, frozenset[Name]], None]) -> None:
        """Do it until cancelled.

        Args:
            take: is given the settings in force from now on, and the names of those that are new.
        """
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                new = await asyncio.to_thread(self._read)
            except SettingsError as error:
                for problem in error.problems:
                    log.error("%s", problem)  # noqa: TRY400 - a sentence
                log.error("the settings hold mistakes; the old ones stay in force")  # noqa: TRY400
                continue
            self._take(new, take)

    def _take(self, new: Settings, take: Callable[[Settings, frozenset[Name]], None]) -> None:
        differing = _differences(self._settings, new)
        changed = differing & CHANGEABLE
        if changed:
            self._settings = _with(self._settings, new, changed)
            take(self._settings, changed)
            log.info("the settings were read again; in force now: %s", _listed(changed))
        if waiting := differing - CHANGEABLE:
            log.warning("changed in the settings, and in force after a restart only: %s", _listed(waiting))
        if not differing:
            log.info("the settings were read again; nothing has changed")


def _differences(old: Settings, new: Settings) -> frozenset[Name]:
    return frozenset(
        (section, key)
        for section in type(old).model_fields
        for key in type(getattr(old, section)).model_fields
        if getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
    )


def _with(old: Settings, new: Settings, changed: Iterable[Name]) -> Settings:
    for section, key in changed:
        value = getattr(getattr(new, section), key)
        old = old.model_copy(update={section: getattr(old, section).model_copy(update={key: value})})
    return old


def _listed(names: Iterable[Name]) -> str:
    return ", ".join(f"[{section}] {key}" for section, key in sorted(names))
