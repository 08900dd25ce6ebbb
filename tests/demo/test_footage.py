"""Films and the segments that are cut from them."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from demo import full_hd
from demo.channels import BundledClip, demo_channels
from demo.drawings import game_film
from demo.footage import bundled_clip, room_tone
from demo.full_hd import FullHdFilms, full_hd_films
from demo.reels import cut_fragmented_mp4, cut_mpeg_ts, cut_sound_only

CLIPS = Path(full_hd.__file__).parent / "clips"


@pytest.fixture(scope="module")
def sound():
    return room_tone(24)


def packets_of(data, kind):
    with av.open(io.BytesIO(data), "r") as media:
        return [packet.pts * packet.time_base for packet in media.demux(**{kind: 0}) if packet.pts is not None]


def keyframes_of(data):
    with av.open(io.BytesIO(data), "r") as media:
        return [packet.is_keyframe for packet in media.demux(video=0) if packet.pts is not None]


@pytest.mark.parametrize("path", sorted(CLIPS.glob("*.mp4")), ids=lambda path: path.stem)
def test_every_clip_is_cut_at_its_keyframes_and_nothing_is_lost(path, sound):
    film = path.read_bytes()
    reel = cut_mpeg_ts(film, sound)
    assert len(reel.segments) >= 10
    assert all(1.5 <= segment.duration_s <= 3.0 for segment in reel.segments)
    assert all(segment.data[0] == 0x47 and len(segment.data) % 188 == 0 for segment in reel.segments)
    assert all(keyframes_of(segment.data)[0] for segment in reel.segments)
    pictures = sum(len(packets_of(segment.data, "video")) for segment in reel.segments)
    assert len(keyframes_of(film)) - 3 <= pictures <= len(keyframes_of(film))


def test_time_goes_on_from_segment_to_segment(sound):
    segments = cut_mpeg_ts(bundled_clip("chess__s00"), sound).segments
    for kind, step_s in (("video", 0.04), ("audio", 0.03)):
        times = [float(at) for segment in segments for at in sorted(packets_of(segment.data, kind))]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert min(gaps) > 0
        assert max(gaps) < step_s + 0.005


def test_fragments_hold_the_same_pictures_as_transport_segments(sound):
    film = bundled_clip("teeworlds__s00")
    fragments, segments = cut_fragmented_mp4(film, sound), cut_mpeg_ts(film, sound)
    assert fragments.durations_s == segments.durations_s
    assert fragments.init[4:8] == b"ftyp"
    for fragment, segment in zip(fragments.segments, segments.segments, strict=True):
        both = [keyframes_of(data) for data in (fragments.init + fragment.data, segment.data)]
        assert both[0] == both[1]


def test_sound_alone_has_no_pictures(sound):
    film = bundled_clip("chess__s00")
    reel = cut_sound_only(film, sound)
    assert reel.durations_s == cut_mpeg_ts(film, sound).durations_s
    with av.open(io.BytesIO(reel.segments[3].data), "r") as media:
        assert [stream.type for stream in media.streams] == ["audio"]


def test_keyframes_that_come_thick_share_a_segment(sound):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 64, "yuv420p", 7
        stream.options = {"sc_threshold": "0"}
        for shade in range(63):
            picture = np.full((64, 64, 3), shade, np.uint8)
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode(None))
    film = buffer.getvalue()
    segments, fragments = cut_mpeg_ts(film, sound), cut_fragmented_mp4(film, sound)
    assert segments.durations_s == fragments.durations_s == pytest.approx((2.1, 2.1, 2.1))
    for segment, fragment in zip(segments.segments, fragments.segments, strict=True):
        assert sum(keyframes_of(segment.data)) == sum(keyframes_of(fragments.init + fragment.data)) == 3


def test_a_film_without_pictures_is_refused(sound):
    with pytest.raises(ValueError, match="no pictures"):
        cut_mpeg_ts(sound, sound)


def test_every_bundled_clip_is_shown_named_and_small_enough():
    files = {path.stem for path in CLIPS.glob("*.mp4")}
    shown = {channel.source.name for channel in demo_channels() if isinstance(channel.source, BundledClip)}
    assert files == shown
    readme = (CLIPS / "README.md").read_text("utf-8")
    assert all(f"`{name}.mp4`" in readme for name in files)
    assert sum(path.stat().st_size for path in CLIPS.glob("*.mp4")) <= 12_000_000


def test_the_drawn_game_is_the_same_in_every_run_and_moves():
    film = game_film()
    assert film == game_film()
    with av.open(io.BytesIO(film), "r") as media:
        keyframes = [frame.to_ndarray(format="gray") for frame in media.decode(video=0) if frame.key_frame]
    assert len(keyframes) == 10
    for before, after in itertools.pairwise(keyframes):
        assert abs(before.astype(int) - after.astype(int)).mean() > 5


class Maker:
    def __init__(self):
        self.made = 0

    def __call__(self, clip, *, progress):
        self.made += 1
        return FullHdFilms(p1080=b"large" * self.made, p360=b"small" * self.made)


@pytest.fixture
def maker(monkeypatch):
    maker = Maker()
    monkeypatch.setattr(full_hd, "make_full_hd_films", maker)
    return maker


def test_the_large_films_are_made_once(maker, tmp_path):
    first = full_hd_films("chess__s00", cache=tmp_path)
    assert full_hd_films("chess__s00", cache=tmp_path) == first
    assert maker.made == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["1080p60.mp4", "360p30.mp4", "sha256.json"])
def test_a_damaged_cache_is_made_again(maker, tmp_path, damage):
    full_hd_films("chess__s00", cache=tmp_path)
    (place,) = tmp_path.iterdir()
    (place / damage).write_bytes(b"{}")
    assert full_hd_films("chess__s00", cache=tmp_path).p1080 == b"largelarge"
    assert full_hd_films("chess__s00", cache=tmp_path).p1080 == b"largelarge"
    assert maker.made == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_said_and_does_no_harm(maker, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    films = full_hd_films("chess__s00", cache=tmp_path / "file")
    assert films.p1080 == b"large"
    assert "could not be kept" in capsys.readouterr().err
