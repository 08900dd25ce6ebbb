from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadReference, ReferenceFault
from core.streams.reference import TWITCH_URL_TEMPLATE, check_url_template, parse_reference


@pytest.mark.parametrize(
    "text",
    [
        "somebody",
        "Somebody",
        "SOMEBODY",
        "@Somebody",
        "  somebody ",
        "twitch.tv/somebody",
        "TWITCH.TV/SomeBody",
        "www.twitch.tv/somebody/",
        "m.twitch.tv/somebody",
        "https://www.twitch.tv/somebody",
        "HTTPS://www.twitch.tv/Somebody?x",
        "http://twitch.tv/somebody?referrer=raid&x=1#top",
    ],
)
def test_every_way_to_name_a_channel_gives_its_login(text):
    ref = parse_reference(text)
    assert (ref.channel, ref.url) == ("somebody", "https://www.twitch.tv/somebody")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ReferenceFault.EMPTY),
        ("   ", ReferenceFault.EMPTY),
        ("@", ReferenceFault.EMPTY),
        ("a", ReferenceFault.TOO_SHORT),
        ("a" * 26, ReferenceFault.TOO_LONG),
        ("twitch.tv/" + "a" * 26, ReferenceFault.TOO_LONG),
        ("a" * 100_000, ReferenceFault.TOO_LONG),
        ("some body", ReferenceFault.BAD_CHARACTER),
        ("somebody player=mpv", ReferenceFault.BAD_CHARACTER),
        ("key=value", ReferenceFault.BAD_CHARACTER),
        ("some-body", ReferenceFault.BAD_CHARACTER),
        ("@@somebody", ReferenceFault.BAD_CHARACTER),
        ("somebody\n", ReferenceFault.BAD_CHARACTER),
        ("some\x00body", ReferenceFault.BAD_CHARACTER),
        ("\u202esomebody", ReferenceFault.BAD_CHARACTER),
        ("somebody\u00a0", ReferenceFault.BAD_CHARACTER),
        ("ｓｏｍｅｂｏｄｙ", ReferenceFault.BAD_CHARACTER),
        ("\u212ailo_gamer", ReferenceFault.BAD_CHARACTER),  # the Kelvin sign becomes a k in lower case
        ("d\u0131ana", ReferenceFault.BAD_CHARACTER),  # dotless i
        ("soмebody", ReferenceFault.BAD_CHARACTER),  # a Cyrillic letter
        ("١٢٣", ReferenceFault.BAD_CHARACTER),
        ("twitch.tv/some%62ody", ReferenceFault.BAD_CHARACTER),
        ("https://kick.com/somebody", ReferenceFault.OTHER_SITE),
        ("youtube.com/watch", ReferenceFault.OTHER_SITE),
        ("file:///etc/passwd", ReferenceFault.OTHER_SITE),
        ("hls://twitch.tv/somebody", ReferenceFault.OTHER_SITE),
        ("/etc/passwd", ReferenceFault.OTHER_SITE),
        ("127.0.0.1", ReferenceFault.OTHER_SITE),
        ("twitch.tv.evil.example/somebody", ReferenceFault.OTHER_SITE),
        ("eviltwitch.tv/somebody", ReferenceFault.OTHER_SITE),
        ("https://twitch.tv@evil.example/somebody", ReferenceFault.OTHER_SITE),
        ("https://user:secret@www.twitch.tv/somebody", ReferenceFault.OTHER_SITE),
        ("https://www.twitch.tv:8443/somebody", ReferenceFault.OTHER_SITE),
        ("https://www.twitch.tv\\@evil.example/x", ReferenceFault.OTHER_SITE),
        ("twitch.tv", ReferenceFault.NOT_A_CHANNEL),
        ("https://www.twitch.tv/", ReferenceFault.NOT_A_CHANNEL),
        ("twitch.tv/directory", ReferenceFault.NOT_A_CHANNEL),
        ("twitch.tv/videos/123", ReferenceFault.NOT_A_CHANNEL),
        ("twitch.tv/somebody/videos", ReferenceFault.NOT_A_CHANNEL),
        ("twitch.tv//somebody", ReferenceFault.NOT_A_CHANNEL),
        ("clips.twitch.tv/FunnyClip", ReferenceFault.NOT_A_CHANNEL),
    ],
)
def test_everything_else_is_refused_and_says_why(text, fault):
    with pytest.raises(BadReference) as refused:
        parse_reference(text)
    assert refused.value.fault is fault


@given(st.one_of(st.text(), st.from_regex(r"(https?://)?(www\.|m\.)?twitch\.tv/\S*"), st.from_regex(r"@?\w{0,30}")))
def test_whatever_passes_is_a_login_and_stays_one(text):
    try:
        ref = parse_reference(text)
    except BadReference:
        return
    assert re.fullmatch(r"[a-z0-9_]{2,25}", ref.channel, re.ASCII)
    assert ref.url == f"https://www.twitch.tv/{ref.channel}"
    assert parse_reference(ref.channel) == ref


def test_another_site_is_asked_for_the_login_and_takes_no_links_to_twitch():
    template = "http://127.0.0.1:8080/live/{channel}.m3u8"
    assert parse_reference("Some_Body", url_template=template).url == "http://127.0.0.1:8080/live/some_body.m3u8"
    with pytest.raises(BadReference):
        parse_reference("twitch.tv/somebody", url_template=template)


@pytest.mark.parametrize(
    "template",
    [
        TWITCH_URL_TEMPLATE,
        "http://127.0.0.1:8080/{channel}.m3u8",
        "https://example.org/live?name={channel}",
        "hls://https://example.org/{channel}/index",
    ],
)
def test_an_address_with_one_place_for_the_channel_is_a_template(template):
    assert check_url_template(template) is None


@pytest.mark.parametrize(
    "template",
    [
        "",
        "https://www.twitch.tv/",
        "https://www.twitch.tv/{channel}/{channel}",
        "https://www.twitch.tv/{name}",
        "https://www.twitch.tv/{channel}}",
        "https://{channel}.example.org/",
        "file:///srv/{channel}.m3u8",
        "hls://file:///srv/{channel}.m3u8",
        "www.twitch.tv/{channel}",
        "https:///{channel}",
        "https://example.org:port/{channel}",
        "https://[::1/{channel}",
        "https://example.org/{channel} hls-audio-select=*",
        "https://exämple.org/{channel}",
    ],
)
def test_anything_else_is_no_template_and_the_sentence_says_why(template):
    problem = check_url_template(template)
    assert problem is not None
    assert problem.endswith(".")
