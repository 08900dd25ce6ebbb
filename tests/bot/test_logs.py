from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
from pydantic import SecretStr
from structlog.contextvars import bound_contextvars

from bot.chat.scrubbing import Scrubber
from bot.operation import logs
from bot.settings import DatabaseSettings, Settings, TwitchSettings, WebSettings

log = logging.getLogger("bot.somewhere")

SECRET = "s3cr3t-of-the-operator"


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def written(form: logs.LogFormat = "json", *, level: logs.LogLevel = "info", debug: bool = False) -> io.StringIO:
    out = io.StringIO()
    logs.set_up(form=form, level=level, secrets=(SECRET, 'with "quotes" and ü'), debug=debug, out=out)
    return out


def test_a_line_of_json_has_the_moment_the_logger_the_level_and_the_request() -> None:
    out = written()
    with bound_contextvars(request="abc", platform="twitch"):
        log.warning("%d of %s", 3, "five")

    (line,) = lines(out)
    assert line.pop("timestamp", "").endswith("Z")  # type: ignore[union-attr]
    assert line == {
        "event": "3 of five",
        "level": "warning",
        "logger": "bot.somewhere",
        "request": "abc",
        "platform": "twitch",
    }


def test_a_line_for_a_person_has_them_too() -> None:
    out = written("console")
    with bound_contextvars(request="abc"):
        log.info("hello")

    assert "hello" in out.getvalue()
    assert "request=abc" in out.getvalue()
    assert "\x1b" not in out.getvalue()


async def test_the_request_goes_along_into_tasks_and_threads() -> None:
    out = written()
    with bound_contextvars(request="abc"):
        await asyncio.gather(asyncio.create_task(asyncio.sleep(0)), asyncio.to_thread(log.info, "from a thread"))
    log.info("outside")

    inside, outside = lines(out)
    assert inside["request"] == "abc"
    assert "request" not in outside


def fail(secret: str) -> None:
    raise ValueError(f"client_secret={secret}")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_secret_is_written_nowhere(form: logs.LogFormat) -> None:
    out = written(form)
    quoted = 'with "quotes" and ü'
    with bound_contextvars(request=SECRET):
        log.error("%s and %s", SECRET, quoted)
        log.error("x", extra={"field": f"in a field {SECRET} {quoted}"})
        try:
            fail(SECRET)
        except ValueError:
            log.exception("it failed")
        log.error("Authorization: Bearer abcdef0123456789")
        log.error("%s", {"access_token": "0123456789abcdef"})
        logging.getLogger("twitchio").error("GET https://id/?client_secret=abcdefgh1234")

    text = out.getvalue()
    assert "it failed" in text
    assert "ValueError" in text
    for secret in (SECRET, '"quotes"', '\\"quotes\\"', "abcdef0123456789", "0123456789abcdef", "abcdefgh1234"):
        assert secret not in text


def test_what_a_chat_learns_later_is_hidden_in_tracebacks_and_fields_too() -> None:
    out = written()
    scrubber = Scrubber()
    scrubber.hide("a-new-token")
    with scrubber.on_every_handler():
        try:
            fail("a-new-token")
        except ValueError:
            log.exception("x", extra={"field": "a-new-token"})

    assert "a-new-token" not in out.getvalue()
    assert "ValueError" in out.getvalue()


def test_values_of_variables_are_in_no_traceback() -> None:
    out = written("console")
    typed = str(10**12)
    try:
        int(typed[:0])
    except ValueError:
        log.exception("x")

    assert "ValueError" in out.getvalue()
    assert typed not in out.getvalue()


def test_levels_are_ours_and_libraries_are_heard_from_errors_on() -> None:
    out = written(level="warning")
    log.info("quiet")
    log.warning("loud")
    logging.getLogger("aiohttp").warning("quiet, too")
    logging.getLogger("aiohttp").error("loud, too")
    logs.set_level("info")
    log.info("now heard")

    assert [line["event"] for line in lines(out)] == ["loud", "loud, too", "now heard"]


def test_with_debug_everything_is_heard() -> None:
    out = written(debug=True)
    logging.getLogger("aiohttp").debug("all of it")

    assert [line["event"] for line in lines(out)] == ["all of it"]


def test_the_secrets_in_settings_are_found_wherever_they_are() -> None:
    settings = Settings(
        twitch=TwitchSettings(client_secret=SecretStr("secret-1"), token_key=SecretStr("key-1,key-2")),
        web=WebSettings(token=SecretStr("token-number-0001 token-number-0002")),
        database=DatabaseSettings(url="postgresql://bot:p%40ssword@db/games"),
    )

    found = set(logs.secrets_in(settings))
    assert {"secret-1", "key-1", "key-2", "token-number-0001", "token-number-0002", "p%40ssword", "p@ssword"} <= found
    assert "" not in found
