from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bot.chat import opening
from bot.commands.answer import Answer, Status


def test_the_evidence_of_a_look_is_drawn_once_in_a_language_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(*_: object, language: str, **__: object) -> bytes:
        drawn.append(language)
        time.sleep(0.05)
        return language.encode()

    monkeypatch.setattr(opening.mosaic, "draw", draw)
    picture = opening.drawing()
    answer = Answer(channel="some_channel", status=Status.ANSWERED, look="a look")
    with ThreadPoolExecutor(max_workers=10) as pool:
        pictures = list(pool.map(lambda _: picture(answer, "en"), range(10)))

    assert pictures == [b"en"] * 10
    assert picture(answer, "de") == b"de"
    assert picture(replace(answer, look="another"), "en") == b"en"
    assert drawn == ["en", "de", "en"]
