from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from demo.channels import Adverts
from demo.timeline import Timeline

START = datetime(2026, 11, 21, 19, 0, 0, tzinfo=UTC)


@pytest.fixture
def timeline():
    return Timeline(live_since=START, durations_s=(2.0, 2.0, 3.0), window_slots=4)


def window(timeline, at_s, *, session=0, adverts=Adverts.NONE):
    now = START + timedelta(seconds=at_s)
    return timeline.window(session=session, adverts=adverts, advert_reel_slots=2, now=now)


def test_only_finished_segments_are_listed(timeline):
    assert [slot.sequence for slot in window(timeline, 6.9).slots] == [0, 1]
    assert [slot.sequence for slot in window(timeline, 7.0).slots] == [0, 1, 2]
    assert [slot.sequence for slot in window(timeline, 7.0).prefetch] == [3, 4]


def test_the_window_slides_in_real_time(timeline):
    seen = [window(timeline, at_s).slots[-1].sequence for at_s in (70.0, 71.9, 72.0, 74.0, 77.0)]
    assert seen == [29, 29, 30, 31, 32]
    assert all(len(window(timeline, at_s).slots) == 4 for at_s in (70, 71, 72))


def test_a_segment_keeps_its_time_and_content_while_it_slides(timeline):
    before = {slot.sequence: slot for slot in window(timeline, 71).slots}
    after = {slot.sequence: slot for slot in window(timeline, 75).slots}
    shared = before.keys() & after.keys()
    assert shared
    assert all(before[sequence] == after[sequence] for sequence in shared)


def test_every_loop_begins_with_a_discontinuity_and_those_that_left_are_counted(timeline):
    shown = window(timeline, 70.0)
    assert [slot.sequence for slot in shown.slots if slot.cut] == [27]
    assert all((slot.reel_index == 0) == slot.cut for slot in shown.slots)
    assert shown.discontinuity_sequence == len([sequence for sequence in range(1, 26) if sequence % 3 == 0])


def test_dates_follow_each_other_without_a_gap(timeline):
    slots = window(timeline, 70.0).slots
    for before, after in itertools.pairwise(slots):
        assert before.starts_at + timedelta(seconds=before.duration_s) == after.starts_at


def test_a_session_begins_with_its_adverts(timeline):
    session = timeline.new_session(START + timedelta(seconds=70))
    shown = window(timeline, 70.0, session=session, adverts=Adverts.PREROLL)
    assert all(slot.advert for slot in shown.slots)
    assert not shown.slots[0].cut
    later = window(timeline, 84.0, session=session, adverts=Adverts.PREROLL)
    assert [slot.advert for slot in later.slots] == [True, False, False, False]
    assert later.slots[1].cut


def test_a_segment_can_be_fetched_when_it_is_announced_and_for_a_while_after(timeline):
    now = START + timedelta(seconds=700)
    assert timeline.can_be_fetched(299, now)
    assert timeline.can_be_fetched(301, now)
    assert not timeline.can_be_fetched(302, now)
    assert not timeline.can_be_fetched(200, now)
