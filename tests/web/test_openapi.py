"""schemathesis asks what the description allows, and what it does not, of the served interface."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bot.web.openapi import description
from bot.web.pictures import PictureLimits
from tests.web.bench import TOKEN, bench, picture

PICTURES = [picture(brightness, kind=kind) for brightness in (9, 120, 240) for kind in ("JPEG", "PNG", "WEBP")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The interface, served by a loop on a thread of its own, as the asker is synchronous."""
    found: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with bench() as web:
            found.append(web.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


for kind in ("image/jpeg", "image/png", "image/webp"):
    schemathesis.openapi.media_type(kind, st.sampled_from(PICTURES))
DOCUMENT = description(version="1", picture=PictureLimits(file_bytes=1 << 20, pixels=4_000_000))
INTERFACE = schemathesis.openapi.from_dict(DOCUMENT)


@INTERFACE.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_interface_keeps_to_its_description(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"})


async def test_the_description_is_served() -> None:
    async with bench() as web:
        assert await web.get("/openapi.json") == (200, DOCUMENT)


def test_every_schema_of_the_description_is_one_and_is_used() -> None:
    schemas: dict[str, Any] = DOCUMENT["components"]["schemas"]  # type: ignore[index, call-overload, assignment]
    text = str(DOCUMENT)
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in text
