from __future__ import annotations

import asyncio
import gzip
import io
import struct
import zlib

import aiohttp
import numpy as np
import pytest
from PIL import Image

from bot.commands.answer import Status
from bot.commands.request import Role
from bot.web.pictures import PictureLimits, read_picture
from core.errors import StorageError
from tests.fakes import BrightnessNetwork
from tests.web.bench import OTHER_TOKEN, Bench, bench, fine, picture


async def test_a_picture_is_classified_in_the_shape_of_old() -> None:
    async with bench() as web:
        status, said = await web.classify(picture(200))

    assert status == 200
    assert said["success"] is True
    assert [set(each) for each in said["predictions"]] == [{"label", "probability"}] * 3
    # Every game that the model knows.
    assert said["predictions"][0]["label"] == "Freedoom"
    probabilities = [each["probability"] for each in said["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-4)
    assert said["game"] == {"id": "freedoom", "name": "Freedoom"}
    assert said["model"] == "test-1"


async def test_a_picture_that_looks_like_no_game_says_so() -> None:
    async with bench() as web:
        web.network.lead = -0.05
        status, said = await web.classify(picture(200))

    assert status == 200
    assert said["game"]["id"] == "unknown"
    assert said["predictions"]


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P"),
                       ("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "1"), ("WEBP", "RGB"), ("WEBP", "RGBA")]
)  # fmt: skip
async def test_every_kind_of_picture_is_read(kind: str, mode: str) -> None:
    async with bench() as web:
        status, said = await web.classify(picture(240, kind=kind, mode=mode))

    assert status == 200
    assert said["predictions"][0]["label"] == "Freedoom"


def png_that_says(width: int, height: int) -> bytes:
    """A head that promises so many pixels, and nothing behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 422, "empty"),
        (b"no picture at all", 415, "JPEG, PNG or WebP"),
        (b"GIF89a" + bytes(100), 415, "JPEG, PNG or WebP"),
        (picture(9)[:400], 422, "broken"),
        (picture(9, kind="PNG")[:60], 422, "broken"),
        (picture(9, kind="WEBP")[:-20], 422, "broken"),
        (png_that_says(2001, 2000), 413, "2001 × 2000"),
        (png_that_says(60_000, 60_000), 413, "pixels"),
        (png_that_says(2_000_000_000, 2_000_000_000), 413, "pixels"),
        (png_that_says(100_000, 1), 413, "100000 × 1"),
        (picture(9, size=(2000, 2000)) + bytes(1 << 20), 413, "bytes"),
    ],
)
async def test_a_picture_that_is_none_or_too_large_is_refused_with_a_sentence(
    data: bytes, status: int, words: str
) -> None:
    async with bench() as web:
        was, said = await web.classify(data)

        assert (was, said["success"]) == (status, False)
        assert words in said["error"]
        assert web.network.batches == []


async def test_a_photograph_on_its_side_is_set_upright() -> None:
    values = np.zeros((360, 640, 3), dtype=np.uint8)
    values[:, :320] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: the white half is on the right
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", exif=exif)

    stored = read_picture(file.getvalue(), limits=PictureLimits(file_bytes=1 << 20, pixels=1_000_000))

    assert stored.shape == (180, 320, 3)
    assert stored[:, :150].mean() < 5
    assert stored[:, 170:].mean() > 250


async def test_a_form_must_hold_one_part_of_that_name() -> None:
    async with bench() as web:
        assert (await web.classify(picture(9), name="picture"))[0] == 422
        form = aiohttp.FormData()
        form.add_field("img", picture(9), filename="a.jpg")
        form.add_field("img", picture(9), filename="b.jpg")
        async with web.http.post(f"{web.url}/v1/classify", data=form, headers=web.headers) as answer:
            assert answer.status == 422
            assert "one part" in (await answer.json())["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "multipart/form-data; boundary=x", 422),
        (b"garbage", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 422),
        (b"--x\r\nnonsense\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 400),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=" + "x" * 200, 400),
    ],
)
async def test_a_form_that_is_none_is_refused(body: bytes, content_type: str, status: int) -> None:
    async with bench() as web:
        headers = {**web.headers, "Content-Type": content_type}
        async with web.http.post(f"{web.url}/v1/classify", data=body, headers=headers) as answer:
            said = await answer.json()
            assert answer.status in (status, 400, 422)
            assert said["success"] is False


async def test_a_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with bench() as web:
        headers = {**web.headers, "Content-Type": "application/json", "Content-Encoding": "gzip"}
        async with web.http.post(f"{web.url}/v1/game", data=bomb[:4000], headers=headers) as answer:
            assert answer.status == 415


async def test_a_channel_is_asked_about_through_the_one_door() -> None:
    async with bench() as web:
        status, said = await web.game("some_channel")

        assert status == 200
        assert said["success"] is True
        assert said["status"] == "offline"
        assert said["text"] == "some_channel: offline."
        (request,) = web.door.heard
        assert request.place.platform == request.asker.platform == "http"
        assert request.asker.role is Role.OPERATOR


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.NOT_FOUND, 404),
        (Status.BAD_INPUT, 422),
        (Status.BUSY, 503),
        (Status.UNREACHABLE, 502),
        (Status.TOO_SLOW, 504),
        (Status.FAILED, 500),
        (Status.ADVERTS, 200),
        (Status.LEFT_ALONE, 200),
    ],
)
async def test_how_an_ask_ended_is_said_in_http(status: Status, code: int) -> None:
    async with bench() as web:
        web.door.statuses["some_channel"] = status
        was, said = await web.game("some_channel")

    assert was == code
    assert said["success"] is (code == 200)
    assert said["text" if code == 200 else "error"] == f"some_channel: {status}."


@pytest.mark.parametrize("body", ["", "{", "[]", "3", '{"channel": 3}', '{"channel": ""}', '{"channel": "a", "b": 1}',
                                  "[" * 4000, '{"channel": "' + "a" * 300 + '"}', "\xff"])  # fmt: skip
async def test_a_body_that_names_no_channel_is_refused(body: str) -> None:
    async with bench() as web:
        headers = {**web.headers, "Content-Type": "application/json"}
        async with web.http.post(f"{web.url}/v1/game", data=body.encode("latin-1"), headers=headers) as answer:
            said = await answer.json()
            assert answer.status in (400, 422)
            assert said["success"] is False
            assert body not in said["error"] or len(body) < 4
        assert web.door.heard == []


async def test_a_mistake_of_ours_is_a_neutral_sentence(caplog: pytest.LogCaptureFixture) -> None:
    async with bench() as web:
        web.door.fault = RuntimeError("the secret is 42")
        status, said = await web.game("some_channel")

    assert status == 500
    assert "42" not in str(said)
    assert "the secret is 42" in caplog.text


async def test_what_is_not_there_and_what_is_asked_in_another_way_are_sentences() -> None:
    async with bench() as web:
        status, said = await web.get("/nothing")
        assert status == 404
        assert said["success"] is False
        async with web.http.delete(f"{web.url}/v1/game") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"
            assert (await answer.json())["success"] is False


# Who may ask


async def test_without_a_token_nothing_is_told() -> None:
    async with bench() as web:
        for given in ("", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Bearer a-token-of-the-operatoR"):
            status, said = await web.game("some_channel", Authorization=given)
            assert status == 401
            assert "token" in said["error"]
        assert web.door.heard == []
        assert (await web.game("some_channel", Authorization=f"bearer {OTHER_TOKEN}"))[0] == 200


async def test_where_the_operator_set_no_token_the_door_stays_closed() -> None:
    async with bench(tokens=()) as web:
        status, said = await web.game("some_channel", Authorization="Bearer ")

    assert status == 503
    assert "GAMESPOTTER_WEB__TOKEN" in said["error"]


async def test_each_token_may_ask_so_often() -> None:
    async with bench(asks=2, asks_s=60.0) as web:
        assert [(await web.game("some_channel"))[0] for _ in range(3)] == [200, 200, 429]
        async with web.http.post(f"{web.url}/v1/game", json={"channel": "a"}, headers=web.headers) as answer:
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert (await web.game("some_channel", Authorization=f"Bearer {OTHER_TOKEN}"))[0] == 200
        web.tokens.change(asks=5, asks_s=60.0)
        assert (await web.game("some_channel"))[0] == 200


# How it stands


async def test_it_is_healthy_while_every_part_is() -> None:
    async with bench(checks={"database": fine, "discord": fine}) as web:
        assert await web.get("/healthz") == (200, {"success": True, "parts": {"database": "ok", "discord": "ok"}})


async def test_a_part_that_fails_is_named_without_its_own_words() -> None:
    async def broken() -> str:
        raise StorageError("postgresql://bot:hunter2@db cannot be reached")

    async def slow() -> str:
        await asyncio.sleep(60)
        return "ok"

    async def mistaken() -> str:
        raise RuntimeError("hunter2")

    async with bench(checks={"database": broken, "model": mistaken, "twitch": fine}) as web:
        status, said = await web.get("/healthz")

    assert status == 503
    assert said == {
        "success": False,
        "parts": {"database": "does not answer", "model": "does not answer", "twitch": "ok"},
    }


async def test_when_it_is_about_to_end_it_is_not_healthy_and_takes_nothing() -> None:
    async with bench() as web:
        web.health.stops = True
        status, said = await web.get("/healthz")
        assert (status, said["parts"]["bot"]) == (503, "stopping")
        assert (await web.game("some_channel"))[0] == 503
        assert (await web.classify(picture(9)))[0] == 503


async def figure(web: Bench, name: str) -> float:
    async with web.http.get(f"{web.url}/metrics") as answer:
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def test_requests_are_counted_by_address_and_status_and_not_by_what_strangers_make_up() -> None:
    async with bench() as web:
        await web.game("some_channel")
        await web.game("")
        await web.get("/made/up")
        assert await figure(web, 'gamespotter_http_requests_total{path="/v1/game",status="200"}') == 1
        assert await figure(web, 'gamespotter_http_requests_total{path="/v1/game",status="422"}') == 1
        assert await figure(web, 'gamespotter_http_requests_total{path="other",status="404"}') == 1


# Too much, too slow


async def raw(web: Bench) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = web.url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


async def test_a_body_that_dribbles_is_given_up() -> None:
    async with bench(body_s=0.3) as web:
        reader, writer = await raw(web)
        authorization = web.headers["Authorization"]
        writer.write(
            f"POST /v1/game HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
            'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ch'.encode()
        )
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not come in time" in answer
        writer.close()


async def test_a_head_that_does_not_end_is_given_up() -> None:
    async with bench(idle_s=0.3) as web:
        reader, writer = await raw(web)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost:")
        assert await reader.read() == b""
        writer.close()


async def test_a_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    async with bench(connections=2) as web:
        held = [await raw(web) for _ in range(2)]
        for reader, writer in held:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        reader, writer = await raw(web)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"try again in 1 s" in answer
        for _, each in (*held, (reader, writer)):
            each.close()
            await each.wait_closed()
        assert (await web.get("/healthz"))[0] == 200


async def test_a_network_that_hangs_does_not_hold_its_asker_for_ever() -> None:
    async with bench(answer_s=0.1) as web:
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang(pictures):
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
            return BrightnessNetwork().logits(pictures)

        web.network.logits = hang  # type: ignore[method-assign]
        status, _ = await web.classify(picture(9))
        release.set()

    assert status == 503


async def test_about_to_end_it_lets_a_body_come_before_it_hangs_up() -> None:
    async with bench() as web:
        web.health.stops = True
        reader, writer = await raw(web)
        writer.write(b"POST /v1/game HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(b'{"channel": "abcde"}')
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" in answer
        writer.close()
        await writer.wait_closed()
