"""Who is on the pocket Twitch tonight, and what each of them shows.

A channel is data only. What its pictures are made of is a *source*: a bundled clip, or something drawn
(``demo/studio.py`` turns a source into segments).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator


class Container(StrEnum):
    """What a media segment is (RFC 8216 section 3)."""

    MPEG_TS = "ts"
    FRAGMENTED_MP4 = "mp4"


class Adverts(StrEnum):
    """Where the window of a new viewer has adverts."""

    NONE = "none"
    PREROLL = "preroll"
    ALWAYS = "always"


class Closed(StrEnum):
    """Why usher refuses an anonymous viewer, in usher's own ``error_code``."""

    SUBSCRIBERS_ONLY = "unauthorized_entitlements"
    GEO_BLOCKED = "content_geoblocked"


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledClip:
    """A recording in ``demo/clips/``; ``name`` is the file's name without its ending."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnGame:
    """A game that no network was trained on: ``demo/drawings.py`` draws it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FullHdClip:
    """A bundled clip made big: 1080p60 at 6 Mbit/s with its 360p rendition, for benchmarks (made once, cached)."""

    name: str


Source: TypeAlias = BundledClip | DrawnGame | FullHdClip


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One channel as its broadcaster set it up.

    Attributes:
        login: the lower-case name in the address.
        display_name: the same name as its owner spells it.
        title: the title of the (last) broadcast.
        declared_category: what the broadcaster says to be playing; None says nothing.
        source: what the stream shows; None is offline.
        container: of the media segments.
        adverts: in the window of a new viewer.
        closed: why an anonymous viewer is refused; None lets everybody in.
        on_air_for: how long the stream had been live when the server started; a source is played over and over
            since then, so this also says where in its loop the stream is.
        window_segments: segments of 2 s that a media playlist lists.
        viewers: at any time; they say who is listed first.
        language: of the broadcast, ISO 639-1.
    """

    login: str
    display_name: str
    title: str
    declared_category: str | None
    source: Source | None
    container: Container = Container.MPEG_TS
    adverts: Adverts = Adverts.NONE
    closed: Closed | None = None
    on_air_for: timedelta = timedelta(hours=1, minutes=47)
    window_segments: int = 15
    viewers: int = 42
    language: str = "en"


def demo_channels() -> tuple[Channel, ...]:
    """The channels of ``make demo``, in the order in which they are announced."""
    return (
        Channel(
            login="mira_plays",
            display_name="Mira_Plays",
            title="old demons, new coffee",
            declared_category="Freedoom",
            source=BundledClip(name="doom__s01"),
            viewers=1204,
        ),
        Channel(
            login="pixelpekka",
            display_name="PixelPekka",
            title="chill & chat while I slide around",
            declared_category="Just Chatting",
            source=BundledClip(name="supertux__s01"),
            viewers=861,
        ),
        Channel(
            login="trainspotter_tom",
            display_name="Trainspotter_Tom",
            title="one more station then bed",
            declared_category="OpenTTD",
            source=BundledClip(name="openttd__s00"),
            viewers=318,
        ),
        Channel(
            login="blockybea",
            display_name="BlockyBea",
            title="!discord | day 112 of the castle",
            declared_category="Minecraft",
            source=BundledClip(name="minetest__s01"),
            viewers=2210,
        ),
        Channel(
            login="hookshot_hana",
            display_name="hookshot_hana",
            title="ctf scrims",
            declared_category="Teeworlds",
            source=BundledClip(name="teeworlds__s00"),
            container=Container.FRAGMENTED_MP4,
            viewers=97,
        ),
        Channel(
            login="grenade_gus",
            display_name="Grenade_Gus",
            title="hogs of war crimes",
            declared_category=None,
            source=BundledClip(name="hedgewars__s00"),
            viewers=43,
        ),
        Channel(
            login="captainwesna",
            display_name="CaptainWesna",
            title="campaign on hard, no reloads",
            declared_category="The Battle for Wesnoth",
            source=BundledClip(name="wesnoth__s00"),
            viewers=156,
        ),
        Channel(
            login="slopesandstuff",
            display_name="SlopesAndStuff",
            title="speedruns all evening",
            declared_category="Special Events",
            source=BundledClip(name="etr__s00"),
            viewers=388,
        ),
        Channel(
            login="rookandroll",
            display_name="RookAndRoll",
            title="!lichess blitz until I tilt",
            declared_category="Chess",
            source=BundledClip(name="chess__s00"),
            viewers=1530,
        ),
        Channel(
            login="lemming_lou",
            display_name="Lemming_Lou",
            title="thank you for watching the adverts",
            declared_category="Pingus",
            source=BundledClip(name="pingus__s01"),
            adverts=Adverts.PREROLL,
            viewers=61,
        ),
        Channel(
            login="adbreak_andy",
            display_name="AdBreak_Andy",
            title="be right back",
            declared_category="OpenTTD",
            source=BundledClip(name="openttd__s00"),
            adverts=Adverts.ALWAYS,
            viewers=12,
        ),
        Channel(
            login="homebrew_hank",
            display_name="Homebrew_Hank",
            title="showing off my own game, wishlist it!",
            declared_category="Software and Game Development",
            source=DrawnGame(),
            viewers=7,
        ),
        Channel(
            login="sleepy_sam",
            display_name="Sleepy_Sam",
            title="see you on friday",
            declared_category="Freedoom",
            source=None,
            viewers=240,
        ),
        Channel(
            login="subs_only_sue",
            display_name="Subs_Only_Sue",
            title="subscribers' night",
            declared_category="SuperTux",
            source=BundledClip(name="supertux__s01"),
            closed=Closed.SUBSCRIBERS_ONLY,
            viewers=512,
        ),
        Channel(
            login="faraway_finn",
            display_name="Faraway_Finn",
            title="league finals, home region only",
            declared_category="Teeworlds",
            source=BundledClip(name="teeworlds__s00"),
            closed=Closed.GEO_BLOCKED,
            viewers=95,
        ),
    )


# A big night

_CLIPS_GAMES = {
    "Freedoom": "doom__s01",
    "Minecraft": "minetest__s01",
    "SuperTux": "supertux__s01",
    "OpenTTD": "openttd__s00",
    "Teeworlds": "teeworlds__s00",
    "Hedgewars": "hedgewars__s00",
    "The Battle for Wesnoth": "wesnoth__s00",
    "Extreme Tux Racer": "etr__s00",
    "Chess": "chess__s00",
    "Pingus": "pingus__s01",
}
"""Games that a bundled clip shows; who declares one of them really plays it."""

_NO_GAMES = ("Just Chatting", "Music", "Art", "Talk Shows & Podcasts", "Sports", "GeoGuessr", "ASMR")

_OTHER_GAMES = (
    *("0 A.D.", "AssaultCube", "Battle Tanks", "BZFlag", "Endless Sky", "Flare", "Frozen Bubble", "Globulation 2"),
    *("Mindustry", "NetHack", "Neverball", "OpenArena", "OpenRA", "Oolite", "Pioneer", "Red Eclipse", "Simutrans"),
    *("Speed Dreams", "SuperTuxKart", "Unknown Horizons", "Unvanquished", "Veloren", "Warzone 2100", "Widelands"),
)

_TITLES = ("first try tonight", "ranked until I drop", "no commentary", "viewer games !queue", "day {} of the run")
_LANGUAGES = ("en", "en", "en", "de", "fr", "es", "pt", "ja", "ko", "other")
_FIRST_NAMES = (
    "Amber",
    "Brisk",
    "Cosmic",
    "Dusty",
    "Eager",
    "Fuzzy",
    "Gentle",
    "Hasty",
    "Icy",
    "Jolly",
    "Keen",
    "Lucky",
)
_LAST_NAMES = ("Badger", "Comet", "Drake", "Ember", "Falcon", "Gecko", "Heron", "Ibis", "Jackal", "Koala", "Lynx")

_GOLDEN = 0.6180339887498949
"""Multiples of it, without their whole part, are spread evenly, and no two are the same."""


def night_channels(*, categories: int = 40, per_category: int = 5, extras: int = 0) -> tuple[Channel, ...]:
    """The channels of a big night, the same in every run: cheap, as they share the bundled clips.

    Channels that share a clip went live at different times, so they are at different places of its loop.

    Args:
        categories: how many are declared, most watched first; one in six is no game.
        per_category: broadcasters in each.
        extras: further broadcasters in each, with few viewers, for who counts how many are live.
    """
    shown: list[Source] = [BundledClip(name=clip) for clip in _CLIPS_GAMES.values()]
    sources = itertools.cycle([*shown, DrawnGame()])
    channels: list[Channel] = []
    for rank, category in enumerate(itertools.islice(_night_categories(), categories)):
        for place in range(per_category + extras):
            number = len(channels)
            name = f"{_FIRST_NAMES[number % len(_FIRST_NAMES)]}{_LAST_NAMES[number % len(_LAST_NAMES)]}{number:04}"
            clip = _CLIPS_GAMES.get(category)
            channels.append(
                Channel(
                    login=name.lower(),
                    display_name=name,
                    title=_TITLES[number % len(_TITLES)].format(number),
                    declared_category=category,
                    source=next(sources) if clip is None else BundledClip(name=clip),
                    on_air_for=timedelta(minutes=15, hours=9 * (number * _GOLDEN % 1)),
                    viewers=(categories - rank) * 1000 // (place + 1) + 1,
                    language=_LANGUAGES[number % len(_LANGUAGES)],
                )
            )
    return tuple(channels)


def _night_categories() -> Iterator[str]:
    """Never ends: games, and after every fifth something that is none, as long as there are any."""
    games = itertools.chain(_CLIPS_GAMES, _OTHER_GAMES, (f"Night Game {number}" for number in itertools.count(1)))
    no_games = iter(_NO_GAMES)
    while True:
        yield from itertools.islice(games, 5)
        yield from itertools.islice(no_games, 1)
