"""The channels of a big night."""

from __future__ import annotations

from collections import Counter

from demo.channels import BundledClip, night_channels
from demo.helix import broadcaster_id, category_id
from demo.playlists import broadcast_id
from demo.pocket_twitch import PocketTwitch
from demo.timeline import Timeline

NO_GAMES = {"Just Chatting", "Music", "Art", "Talk Shows & Podcasts", "Sports", "GeoGuessr", "ASMR"}


def test_a_night_is_as_big_as_it_was_asked_to_be_and_the_same_every_time():
    channels = night_channels(categories=40, per_category=5)
    assert channels == night_channels()
    declared = Counter(channel.declared_category for channel in channels)
    assert len(declared) == 40
    assert set(declared.values()) == {5}
    assert 5 <= len(declared.keys() & NO_GAMES) <= 8
    assert len({channel.declared_category for channel in night_channels(categories=90, per_category=1)}) == 90


def test_nobody_is_anybody_else():
    channels = night_channels(categories=60, extras=95)
    assert len(channels) == 6000
    for distinct in (
        {channel.login for channel in channels},
        {broadcaster_id(channel.login) for channel in channels},
        {broadcast_id(channel) for channel in channels},
        {channel.on_air_for for channel in channels},
    ):
        assert len(distinct) == 6000
    assert len({category_id(channel.declared_category) for channel in channels}) == 60
    assert len({channel.language for channel in channels}) > 5
    assert min(channel.viewers for channel in channels) > 0


def test_who_declares_a_game_that_a_clip_shows_shows_it():
    shown = {channel.source for channel in night_channels() if channel.declared_category == "Chess"}
    assert shown == {BundledClip(name="chess__s00")}


def test_channels_of_one_clip_are_at_different_places_of_its_loop(clock):
    chess = [channel for channel in night_channels() if channel.declared_category == "Chess"]
    timelines = [
        Timeline(live_since=clock() - channel.on_air_for, durations_s=(2.0,) * 10, window_slots=15) for channel in chess
    ]
    now_shown = {
        timeline.window(session=timeline.new_session(clock()), adverts="none", advert_reel_slots=1, now=clock())
        .slots[0]
        .reel_index
        for timeline in timelines
    }
    assert len(now_shown) >= 3


async def test_two_hundred_channels_share_a_dozen_reels(clock):
    channels = night_channels(categories=40, per_category=5)
    async with PocketTwitch(channels=channels, clock=clock) as twitch:
        await twitch.prepare()
        assert len({channel.source for channel in channels}) == 11
        assert twitch._studio._reel.cache_info().currsize == 11
