"""How a bot that stays writes its log: lines for a person or JSON, every one with its request's id and no secret."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import BaseModel, SecretStr
from structlog.contextvars import merge_contextvars
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name

from bot.chat.scrubbing import Scrubber

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat: TypeAlias = Literal["console", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_OURS = ("bot", "core")


def set_up(
    *, form: LogFormat, level: LogLevel, secrets: Iterable[str] = (), debug: bool = False, out: TextIO | None = None
) -> None:
    """Send everything that is logged in this process to one place.

    Args:
        form: lines for a person, or one JSON object a line for a machine.
        level: of what is ours; of the libraries only errors.
        secrets: that are never written, besides what looks like one.
        debug: everything, of the libraries, too.
        out: standard error when it is not given.
    """
    out = out if out is not None else sys.stderr
    scrubber = Scrubber()
    for secret in secrets:
        # JSON writes some characters in another way.
        scrubber.hide(secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    handler = _ScrubbingHandler(out)
    handler.addFilter(scrubber)
    handler.setFormatter(_formatter(form, colors=form == "console" and out.isatty(), scrubber=scrubber))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.ERROR)
    if not debug:
        set_level(level)


def set_level(level: LogLevel) -> None:
    """Log what is ours from this level on."""
    for package in _OURS:
        logging.getLogger(package).setLevel(level.upper())


def secrets_in(settings: BaseModel) -> tuple[str, ...]:
    """Every secret that stands in settings, whole, and in parts where several are separated by commas."""
    return tuple(dict.fromkeys(part for secret in _secrets(settings) for part in _parts(secret)))


def _secrets(section: BaseModel) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _secrets(value)
        elif isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, str):
            yield from _password_in(value)


def _password_in(address: str) -> Iterator[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)


def _parts(secret: str) -> tuple[str, ...]:
    return (secret, *secret.replace(",", " ").split())


class _ScrubbingHandler(logging.StreamHandler["TextIO"]):
    """Scrubs whole lines: what a chat's own scrubber knows may stand in a traceback or in a field, too."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, without secrets."""
        line = super().format(record)
        for scrubber in self.filters:
            if isinstance(scrubber, Scrubber):
                line = scrubber.scrubbed(line)
        return line


def _formatter(form: LogFormat, *, colors: bool, scrubber: Scrubber) -> ProcessorFormatter:
    def scrub(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: scrubber.scrubbed(value) if isinstance(value, str) else value for name, value in event.items()}

    before: list[Processor] = [
        merge_contextvars,
        add_log_level,
        add_logger_name,
        ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the values of variables, which may be anybody's.
        structlog.processors.format_exc_info,
        scrub,
    ]
    render: Processor
    if form == "json":
        render = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    return ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[ProcessorFormatter.remove_processors_meta, render],
    )
