"""Keeps secrets out of logs."""

from __future__ import annotations

import contextlib
import logging
import re
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Scrubber(logging.Filter):
    """Takes secrets out of log records: those it was told, and whatever stands where one usually stands."""

    _PLACES: ClassVar[re.Pattern[str]] = re.compile(
        r"""((?:client_secret|refresh_token|access_token|device_code)["']?\s*[=:]\s*["']?|\b(?:Bearer|OAuth)\s+)"""
        r"""([A-Za-z0-9._~+/%-]{6,}=*)"""
    )
    _MOST = 10_000

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know these secrets."""
        super().__init__()
        self._secrets: dict[str, None] = {}
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Know these secrets, too."""
        for secret in secrets:
            if len(secret) >= 6:
                self._secrets[secret] = None
        while len(self._secrets) > self._MOST:
            # The first is the client's own secret.
            del self._secrets[next(name for name in list(self._secrets)[1:])]

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without its secrets."""
        message = record.getMessage()
        clean = self.scrubbed(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and not record.exc_text:
            # A handler uses the text when it is there.
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.scrubbed(record.exc_text)
        return True

    def scrubbed(self, text: str) -> str:
        """A text without secrets."""
        text = self._PLACES.sub(r"\1***", text)
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    @contextlib.contextmanager
    def on_every_handler(self) -> Iterator[None]:
        """Scrub what the root logger's handlers write; a logger's own filters do not see records of others."""
        handlers = tuple(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(self)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self)
