from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from demo.conversation import SCRIPT as SCRIPT_OF_THE_DEMO
from demo.conversation import play, unanswered, way_to
from tests.artifacts import brightness_artifact

SCRIPT = ("!help", "!game a", "!game b")

ECHO = """
import os, sys
print(*(os.environ[f"GAMESPOTTER_TWITCH__{name}_URL"] for name in ("GQL", "USHER", "HELIX", "ID")))
for line in sys.stdin:
    print("> " + line.strip(), flush=True)
    print("an answer", flush=True)
"""


def bot(code):
    return (sys.executable, "-c", code)


def test_every_question_needs_a_line_of_its_own():
    assert unanswered(SCRIPT, ["> !help", "x", "> !game a", "y", "> !game b", "z"]) == ()
    assert unanswered(SCRIPT, ["hello", "> !help", "", "> !game a", "y", "y", "> !game b"]) == ("!help", "!game b")
    assert unanswered(SCRIPT, []) == SCRIPT


async def test_what_the_bot_says_is_printed(capsys):
    outcome = await play("http://127.0.0.1:9", SCRIPT, command=bot(ECHO))
    assert (outcome.exit_code, outcome.unanswered) == (0, ())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == " ".join(["http://127.0.0.1:9"] * 4)
    assert printed[1:3] == ["> !help", "an answer"]


async def test_the_bot_keeps_its_data_where_nothing_is_left_of_it(capsys):
    code = """
import os, pathlib
directory = pathlib.Path(os.environ["GAMESPOTTER_DATA__DIRECTORY"])
(directory / "kept").write_text("a frame")
print(directory)
"""
    await play("http://127.0.0.1:9", SCRIPT, command=bot(code))
    (printed,) = capsys.readouterr().out.splitlines()
    assert printed
    assert not Path(printed).exists()


async def test_a_bot_that_fails_is_reported():
    outcome = await play("http://127.0.0.1:9", SCRIPT, command=bot("raise SystemExit(7)"))
    assert outcome.exit_code == 7
    assert outcome.unanswered == SCRIPT


async def test_a_bot_that_never_ends_is_ended():
    outcome = await play("http://127.0.0.1:9", SCRIPT, command=bot("import time; time.sleep(60)"), limit_s=0.5)
    assert outcome.exit_code is None


@pytest.mark.skipif(os.name == "nt", reason="looks a process up as POSIX does")
async def test_no_bot_is_left_when_the_demo_is_cancelled(capsys):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    playing = asyncio.create_task(play("http://127.0.0.1:9", SCRIPT, command=bot(code)))
    pid = ""
    while not pid:
        await asyncio.sleep(0.05)
        pid = capsys.readouterr().out.strip()
    playing.cancel()
    await asyncio.wait([playing])
    assert playing.cancelled()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


async def demo(*arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "demo",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.skipif(os.name == "nt", reason="sends signals as POSIX does")
@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
async def test_serve_says_where_it_is_and_ends_by_a_signal(sent, exit_code):
    process = await demo("serve")
    assert process.stdout is not None
    first = (await process.stdout.readline()).decode()
    assert "http://127.0.0.1:" in first
    process.send_signal(sent)
    out, err = await process.communicate()
    assert process.returncode == exit_code
    assert b"mira_plays" in out
    assert err == b""


@pytest.mark.skipif(os.name == "nt", reason="sends signals as POSIX does")
async def test_serve_adds_a_night_and_says_how_the_bot_gets_there():
    process = await demo("serve", "--night", "3", "--extras", "90", "--faults", "0.05")
    assert process.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        said += (await process.stdout.readline()).decode()
    process.send_signal(signal.SIGINT)
    await process.communicate()
    exported = dict(line.split(maxsplit=1)[1].split("=", 1) for line in said.splitlines() if "export " in line)
    assert exported == way_to(exported["GAMESPOTTER_TWITCH__HELIX_URL"])
    assert "299 channels" in said
    assert len(said.splitlines()) < 40


async def test_a_taken_port_is_one_sentence(twitch):
    process = await demo("serve", "--port", twitch.base_url.rpartition(":")[2])
    out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert err.decode().count("\n") == 1
    assert "port is taken" in err.decode()


async def test_the_demo_plays_without_a_terminal(tmp_path, monkeypatch):
    """The whole of it: the bot's own process, led here, with a network that only tells dark from bright."""
    brightness_artifact(tmp_path / "model")
    monkeypatch.setenv("GAMESPOTTER_MODEL__DIRECTORY", str(tmp_path / "model"))
    process = await demo("play")
    out, err = await process.communicate()
    said = out.decode()
    assert process.returncode == 0, err.decode()
    assert unanswered(SCRIPT_OF_THE_DEMO, said.splitlines()) == ()
    answers = dict(zip(SCRIPT_OF_THE_DEMO, said.split("\n> ")[1:], strict=True))
    assert "sleepy_sam is offline" in answers["!game sleepy_sam"]
    assert answers["!game -v trainspotter_tom"].count("Frame ") >= 8
    assert err == b""
