"""What was done stays written down."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from core.storage.records import AuditEntry, Broadcaster
from tests.core.storage.samples import NOON, asked, kept, picture

DID = AuditEntry(
    at=NOON,
    platform="discord",
    place="c1",
    by="7",
    by_name="Mo \N{VIDEO GAME}",
    action="watch",
    subject="anna",
    detail={"on": True, "of": [1, None, "x"]},
)


async def test_what_was_written_is_read(audit):
    await audit.write(DID)
    assert await audit.read(limit=9) == (DID,)


async def test_the_latest_first_and_no_more_than_asked_for(audit):
    entries = [replace(DID, action=str(number), detail=None) for number in range(3)]
    for entry in entries:
        await audit.write(entry)
    assert await audit.read(limit=9) == tuple(entries[::-1])
    assert await audit.read(limit=2) == tuple(entries[:0:-1])


async def test_of_one_subject_however_it_is_spelt(audit):
    await audit.write(replace(DID, subject="Anna"))
    await audit.write(replace(DID, subject="bert"))
    assert [entry.subject for entry in await audit.read(limit=9, subject="ANNA")] == ["anna"]


async def test_what_no_database_can_hold_is_left_out(audit):
    await audit.write(replace(DID, by_name="M\0o"))
    (entry,) = await audit.read(limit=9)
    assert entry.by_name == "Mo"


async def test_nothing_that_is_removed_takes_it_along(audit, captures, frames, upkeep):
    await captures.add(asked(frames=await kept(frames, picture())))
    await audit.write(DID)
    later = NOON + timedelta(days=999)
    await upkeep.expire(asked_before=later, nightly_before=later)
    await upkeep.shrink_to(0)
    await upkeep.sync(even_if_empty=True)
    await upkeep.forget(Broadcaster(login="anna"), by="anna", at=NOON)
    assert await audit.read(limit=9) == (DID,)
