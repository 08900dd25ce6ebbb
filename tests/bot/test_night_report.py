"""What a person sees of a night, with a terminal and without one, and its closing lines."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from bot.commands.wording import INTERRUPTING
from bot.nights.report import NightReport, closing_lines
from core.collection.collector import Ended, NightProgress, NightSummary, Phase
from core.collection.picks import Outcome

BEGAN = datetime(2026, 11, 3, 3, tzinfo=UTC)
SUMMARY = NightSummary(
    started_at=BEGAN,
    finished_at=BEGAN + timedelta(minutes=1),
    ended=Ended.COMPLETE,
    games=40,
    streams=197,
    frames=1834,
)
HALF_WAY = NightProgress(
    phase=Phase.COLLECTING,
    games=40,
    games_open=30,
    wanted=200,
    streams=48,
    frames=440,
    failures={"offline": 2, "adverts": 1},
    settled=52,
    in_hand=8,
    left=142,
    bytes_fetched=40_000_000,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def log_file() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60)


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=20, color_system=None)


def test_the_closing_line_is_p2s() -> None:
    assert closing_lines(SUMMARY) == ("Downloaded 1834 frame(s) from 197 stream(s). Failed 0 time(s).",)


def test_failures_are_told_by_kind_and_add_up_to_the_number_in_the_closing_line() -> None:
    summary = replace(SUMMARY, failures={"unreachable": 4, "waiting": 2, "not_found": 1})
    assert closing_lines(summary) == (
        "Downloaded 1834 frame(s) from 197 stream(s). Failed 7 time(s).",
        "Failures: 4 unreachable, 2 waiting screens, 1 not found.",
    )


def test_every_kind_of_failure_has_words_of_its_own() -> None:
    failures = {outcome.value: 1 for outcome in Outcome if outcome.is_failure}
    line = closing_lines(replace(SUMMARY, failures=failures))[1]
    assert line.count("1 ") == len(failures)
    assert "_" not in line


def test_a_night_that_was_stopped_says_what_is_left_and_that_it_can_go_on() -> None:
    lines = closing_lines(replace(SUMMARY, ended=Ended.STOPPED, left=12, categories_failed=3))
    assert lines[1:] == (
        "3 category(s) could not be listed.",
        "Stopped with 12 stream(s) to go; started again the same night, it goes on.",
    )


def test_without_a_terminal_there_is_a_plain_line_now_and_then() -> None:
    clock, console = Clock(), log_file()
    with NightReport(console, clock_s=clock) as report:
        report.progressed(NightProgress(phase=Phase.GATHERING))
        clock.now_s += 20
        report.progressed(replace(HALF_WAY, streams=0, frames=0, failures={}, settled=0, left=200, in_hand=0))
        for _ in range(9):
            clock.now_s += 1
            report.progressed(HALF_WAY)
        clock.now_s += 11
        report.progressed(HALF_WAY)
    lines = shown(console).splitlines()
    assert lines == [
        "Asking what is live.",
        "10/40 games, 0/200 streams, 0 frames",
        "10/40 games, 48/200 streams, 440 frames, 144 streams/min, 0:58 left, failed: 2 offline, 1 adverts only",
    ]
    assert "\x1b" not in shown(console)


def test_a_terminal_gets_a_bar_and_the_same_line_and_both_are_gone_at_the_end() -> None:
    clock, console = Clock(), terminal()
    with NightReport(console, clock_s=clock) as report:
        report.progressed(NightProgress(phase=Phase.GATHERING))
        report.progressed(HALF_WAY)
        report._live.refresh()
        assert "━" in shown(console)
        bar, line = shown(console).splitlines()[-2:]
        assert "━" in bar
        # A terminal shows no more of a line than fits.
        assert line.startswith("10/40 games, 48/200 streams, 440 frames, failed: 2 offline, 1 adverts only")
    # The last control sequences clear the two lines that were drawn.
    assert shown(console).rstrip("\n").endswith("\x1b[2K")


def test_the_rate_is_that_of_this_sitting_when_a_night_goes_on() -> None:
    clock, console = Clock(), log_file()
    with NightReport(console, clock_s=clock) as report:
        report.progressed(HALF_WAY)
        clock.now_s += 60
        report.progressed(replace(HALF_WAY, streams=58, settled=62, left=132))
    assert "10 streams/min" in shown(console)
    assert "14:00 left" in shown(console)


def test_long_nights_are_told_in_hours() -> None:
    clock, console = Clock(), log_file()
    with NightReport(console, clock_s=clock) as report:
        report.progressed(HALF_WAY)
        clock.now_s += 60
        report.progressed(replace(HALF_WAY, streams=52, settled=56, left=1192))
    assert "5:00:00 left" in shown(console)


def test_who_interrupts_is_asked_to_wait_once() -> None:
    console = log_file()
    with NightReport(console, clock_s=Clock()) as report:
        report.progressed(HALF_WAY)
        report.progressed(replace(HALF_WAY, phase=Phase.FINISHING))
        report.progressed(replace(HALF_WAY, phase=Phase.FINISHING, in_hand=3))
    assert shown(console).count(INTERRUPTING) == 1


def test_an_interruption_before_the_first_stream_is_told_too() -> None:
    console = log_file()
    with NightReport(console, clock_s=Clock()) as report:
        report.progressed(NightProgress(phase=Phase.FINISHING))
    assert INTERRUPTING in shown(console)
