"""Files named by their content: whole or not there, whatever happens in between."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StorageError, StorageFull
from core.storage.frame_store import FolderFrameStore
from core.storage.records import StoredFrame
from tests.core.storage.samples import picture


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _age(path: Path, *, by_s: float) -> None:
    then = time.time() - by_s
    os.utime(path, (then, then))


async def _all(store: FolderFrameStore) -> set[StoredFrame]:
    return {frame async for frame in store.iterate()}


async def test_a_file_is_found_under_the_hash_of_its_content(frames, tmp_path):
    data = picture("a")
    stored = await frames.put(data)
    assert stored == StoredFrame(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    assert _files(tmp_path / "frames") == [tmp_path / "frames" / stored.sha256[:2] / f"{stored.sha256}.jpg"]
    assert await frames.get(stored.sha256) == data
    assert await _all(frames) == {stored}
    assert await frames.size_bytes() == len(data)


@given(data=st.binary(min_size=1, max_size=2000))
def test_what_is_put_is_got(tmp_path_factory, data):
    async def there_and_back():
        store = FolderFrameStore(tmp_path_factory.getbasetemp() / "any")
        return await store.get((await store.put(data)).sha256)

    assert asyncio.run(there_and_back()) == data


async def test_putting_twice_keeps_one_file_and_counts_as_new(frames, tmp_path):
    stored = await frames.put(picture("a"))
    (path,) = _files(tmp_path / "frames")
    _age(path, by_s=7200)
    assert await frames.put(picture("a")) == stored
    assert _files(tmp_path / "frames") == [path]
    assert await frames.remove([stored.sha256], idle_s=3600) == ()


async def test_many_that_put_the_same_at_once(frames, tmp_path):
    stored = await asyncio.gather(*(frames.put(picture(number % 3)) for number in range(60)))
    assert len(set(stored)) == len(_files(tmp_path / "frames")) == 3


async def test_a_file_that_was_cut_short_is_put_again(frames, tmp_path):
    await frames.put(picture("a"))
    (path,) = _files(tmp_path / "frames")
    path.write_bytes(b"\xff\xd8")
    stored = await frames.put(picture("a"))
    assert await frames.get(stored.sha256) == picture("a")


async def test_others_may_read_what_is_put(frames, tmp_path):
    before = os.umask(0o022)
    try:
        await frames.put(picture("a"))
    finally:
        os.umask(before)
    (path,) = _files(tmp_path / "frames")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


async def test_missing_names_what_is_not_there(frames):
    stored = await frames.put(picture("a"))
    nothing = "0" * 64
    assert await frames.missing([stored.sha256, nothing]) == {nothing}


async def test_a_frame_that_is_gone_is_one_sentence(frames):
    with pytest.raises(StorageError, match=r"is gone; run: python -m bot data sync\.$"):
        await frames.get("0" * 64)


@pytest.mark.parametrize("name", ["", "x" * 64, "../../etc/passwd", "0" * 63, "0" * 64 + "\n", "A" * 64])
async def test_what_is_no_hash_leads_nowhere(frames, name):
    with pytest.raises(ValueError, match="names no frame"):
        await frames.get(name)
    with pytest.raises(ValueError, match="names no frame"):
        await frames.remove([name])


async def test_removing_says_what_went(frames, tmp_path):
    one, other = await frames.put(picture("a")), await frames.put(picture("b"))
    assert await frames.remove([one.sha256, "0" * 64]) == (one,)
    assert await frames.remove([one.sha256]) == ()
    assert await _all(frames) == {other}


async def test_removing_leaves_what_was_put_lately(frames, tmp_path):
    stored = await frames.put(picture("a"))
    assert await frames.remove([stored.sha256], idle_s=60) == ()
    _age(*_files(tmp_path / "frames"), by_s=61)
    assert await frames.remove([stored.sha256], idle_s=60, dry_run=True) == (stored,)
    assert await frames.remove([stored.sha256], idle_s=60) == (stored,)


async def test_what_is_no_frame_is_not_listed_and_not_touched(frames, tmp_path):
    await frames.put(picture("a"))
    for name in ("notes.txt", "ab/notes.txt", f"ab/{'c' * 64}.jpg", "abc/x.jpg"):
        path = tmp_path / "frames" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    assert len(await _all(frames)) == 1
    assert await frames.remove_unfinished(idle_s=0) == 0
    assert len(_files(tmp_path / "frames")) == 5


async def test_a_store_that_is_not_there_yet_is_empty(frames, tmp_path):
    assert await _all(frames) == set()
    assert await frames.remove_unfinished(idle_s=0) == 0
    assert await frames.size_bytes() == 0
    assert not (tmp_path / "frames").exists()


async def test_preparing_makes_the_directory_and_leaves_no_trace(frames, tmp_path):
    await frames.prepare()
    assert (tmp_path / "frames").is_dir()
    assert _files(tmp_path / "frames") == []


async def test_a_directory_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("a file")
    store = FolderFrameStore(tmp_path / "taken")
    for attempt in (store.prepare(), store.put(picture("a"))):
        with pytest.raises(StorageError, match=r"cannot write to the frames in .*\[data\] directory\.$"):
            await attempt


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "mkdir"])
async def test_a_full_disk_is_one_sentence_and_leaves_nothing(frames, tmp_path, monkeypatch, number, call):
    real = os.fsync

    def full(*args, **_kwargs):
        if call == "fsync" and stat.S_ISDIR(os.fstat(*args).st_mode):
            return real(*args)
        raise OSError(number, os.strerror(number))

    await frames.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(*((os, call) if call == "fsync" else (Path, call)), full)
        with pytest.raises(StorageFull, match=r"no room left for frames in .*; make some, or lower \[data\] max_gb\.$"):
            await frames.put(picture("a"))
    assert _files(tmp_path / "frames") == []
    stored = await frames.put(picture("a"))
    assert await frames.get(stored.sha256) == picture("a")


async def test_nothing_is_seen_before_it_is_whole(frames, tmp_path, monkeypatch):
    """What lies there at the moment of the rename is the whole file, on the disk."""
    synced: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real_sync(descriptor)

    def replace(self, target):
        assert self.read_bytes() == picture("a")
        assert synced == [*synced[:-1], str(self)]
        assert await_nothing(target)
        return real_replace(self, target)

    def await_nothing(target):
        return not Path(target).exists()

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    stored = await frames.put(picture("a"))
    assert synced[-1] == str(tmp_path / "frames" / stored.sha256[:2])
    assert str(tmp_path / "frames") in synced


async def test_leftovers_go_once_they_are_old(frames, tmp_path, monkeypatch):
    def killed(*_args):
        raise KeyboardInterrupt

    await frames.put(picture("a"))
    shard = next(path for path in (tmp_path / "frames").iterdir() if path.is_dir())
    for directory in (tmp_path / "frames", shard):
        (directory / ".unfinished-1").write_bytes(b"half")
        (directory / ".unfinished-2").write_bytes(b"half")
        _age(directory / ".unfinished-2", by_s=3601)
    assert await frames.remove_unfinished(idle_s=3600, dry_run=True) == 2
    assert await frames.remove_unfinished(idle_s=3600) == 2
    assert await frames.remove_unfinished(idle_s=3600) == 0
    assert await frames.remove_unfinished(idle_s=0) == 2
    assert len(_files(tmp_path / "frames")) == 1


async def test_the_loop_is_not_held_up(frames, monkeypatch):
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (time.sleep(0.2), real(descriptor)))
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await frames.put(picture("a"))
    ticking.cancel()
    assert ticks > 10
