"""What every store says when the database cannot be used: one sentence, as one kind of error."""

from __future__ import annotations

import pytest

from core.errors import SchemaOutdated, StorageError
from core.games import Game
from core.storage.audit import AuditStore
from core.storage.database import Database
from core.storage.flags import FlagStore
from core.storage.records import AuditEntry, DueWatch, Moderator, StoredToken, Watch, WatchState
from core.storage.sightings import SightingStore
from core.storage.tokens import TokenStore
from core.storage.watches import WatchStore
from tests.core.storage.samples import NOON

BY = Moderator(platform="twitch", id="7", name="Mo")
TOKEN = StoredToken(platform="twitch", user_id="7", secret=b"s", at=NOON)
WATCH = Watch(login="anna", platform="discord", place_id="c1", by="7", at=NOON)
DUE = DueWatch(id=1, watch=WATCH, state=WatchState(), attempt=1)
ENTRY = AuditEntry(at=NOON, platform="twitch", place="", by="7", action="flag", subject="anna")

CALLS = {
    "look": lambda database: FlagStore(database).look("look"),
    "last_look": lambda database: FlagStore(database).last_look("anna", since=NOON),
    "flag": lambda database: FlagStore(database).flag("look", Game(id="a", name="A"), by=BY, place="", at=NOON),
    "withdraw": lambda database: FlagStore(database).withdraw(1, by=BY, may_withdraw_others=True, place="", at=NOON),
    "find": lambda database: FlagStore(database).find(1),
    "flags": lambda database: FlagStore(database).flags(limit=1),
    "mark_used": lambda database: FlagStore(database).mark_used("later-2", [1], at=NOON),
    "notices_due": lambda database: FlagStore(database).notices_due(limit=1, lease_s=1),
    "notice_sent": lambda database: FlagStore(database).notice_sent(1),
    "last_seen": lambda database: SightingStore(database).last_seen("anna"),
    "timeline": lambda database: SightingStore(database).timeline("anna", since=NOON),
    "put a watch": lambda database: WatchStore(database).put(WATCH),
    "remove a watch": lambda database: WatchStore(database).remove("anna", platform="discord", place_id="c1"),
    "watches": lambda database: WatchStore(database).watches(),
    "state": lambda database: WatchStore(database).state("anna", platform="discord", place_id="c1"),
    "claim_due": lambda database: WatchStore(database).claim_due(holder="a", lease_s=1, limit=1),
    "done": lambda database: WatchStore(database).done(DUE, holder="a", state=WatchState(), again_in_s=1),
    "untold": lambda database: WatchStore(database).untold(DUE),
    "get": lambda database: TokenStore(database).get("twitch", "7"),
    "all": lambda database: TokenStore(database).all("twitch"),
    "put a token": lambda database: TokenStore(database).put(TOKEN),
    "replace": lambda database: TokenStore(database).replace(TOKEN, TOKEN),
    "remove a token": lambda database: TokenStore(database).remove(TOKEN),
    "write": lambda database: AuditStore(database).write(ENTRY),
    "read": lambda database: AuditStore(database).read(limit=1),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_without_tables(empty_url, call):
    async with Database.at(empty_url) as database:
        with pytest.raises(SchemaOutdated, match=r"run: python -m bot db migrate\.$"):
            await call(database)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("address", ["sqlite:///{}/x.db", "postgresql://u:p4ss@127.0.0.1:1/x"])
async def test_with_a_file_that_is_none_or_a_server_that_is_not_there(tmp_path, address, call):
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    async with Database.at(address.format(tmp_path)) as database:
        with pytest.raises(StorageError, match=r"is not an SQLite database|No database server answers") as told:
            await call(database)
    assert "p4ss" not in str(told.value)
