"""The queue of picks on a real PostgreSQL: who gets what, once, and what becomes of it when somebody dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import psycopg
import pytest

from bot.nights import procrastinate_queue, shared_queue
from bot.nights.procrastinate_queue import BEGINNINGS, ProcrastinateQueue
from bot.nights.shared_queue import open_queue, prepare_queue
from core.collection.handing_out import HandedOut, Place
from core.errors import SchemaOutdated, StorageError
from core.storage.database import Database
from core.storage.records import Pick
from tests.core.collection.listing import category, planned
from tests.postgres import PostgresServer

PINGUS = category("Pingus")
QUICK_S = 1.2
"""After which a worker is dead, in tests that wait for it."""


def picks(number: int, *, run_id: int = 1) -> list[Pick]:
    return [Pick(id=run_id * 100 + n, run_id=run_id, planned=planned(n, PINGUS)) for n in range(number)]


@pytest.fixture(scope="module")
def template(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.fresh_database()
    asyncio.run(_prepare(postgres.url(name)))
    yield name
    postgres.drop_database(name)


async def _prepare(url: str) -> None:
    assert await prepare_queue(url)


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    name = postgres.fresh_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    name = postgres.fresh_database(template=template)
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
async def queue(url: str) -> AsyncIterator[ProcrastinateQueue]:
    async with open_queue(url) as queue:
        yield queue


async def execute(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "gamespotter_queue"})
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


class Worker:
    """Takes picks; what ``take`` says becomes of them."""

    def __init__(self, take: Callable[[int], Awaitable[bool]]) -> None:
        self.taken: list[tuple[int, bool]] = []
        self.given_up: list[int] = []
        self.most_at_once = 0
        self._at_once = 0
        self._take = take

    @property
    def picks(self) -> list[int]:
        return [pick_id for pick_id, _ in self.taken]

    async def take(self, pick_id: int, is_last_try: bool) -> bool:
        self.taken.append((pick_id, is_last_try))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await self._take(pick_id)
        finally:
            self._at_once -= 1

    async def give_up(self, pick_id: int) -> None:
        self.given_up.append(pick_id)

    async def work(
        self, url: str, *, stop: asyncio.Event, parallel: int = 2, stalled_after_s: float | None = None
    ) -> None:
        """Until told to stop, with connections of its own."""
        async with open_queue(url, stalled_after_s=stalled_after_s) as queue:
            await queue.work(self.take, give_up=self.give_up, parallel=parallel, stop=stop)

    @asynccontextmanager
    async def working(
        self, url: str, *, parallel: int = 2, stalled_after_s: float | None = None
    ) -> AsyncIterator[asyncio.Event]:
        """Work in a task of its own, until the block's end or the event."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.work(url, stop=stop, parallel=parallel, stalled_after_s=stalled_after_s))
        try:
            yield stop
        finally:
            stop.set()
            await task


async def at_once(_: int) -> bool:
    return True


async def never(_: int) -> bool:
    await asyncio.Event().wait()
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def is_empty(queue: ProcrastinateQueue) -> None:
    async with asyncio.timeout(30):
        while await queue.handed_out(1):
            await asyncio.sleep(0.02)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procrastinate_queue, "_POLL_S", 0.05)
    monkeypatch.setattr(procrastinate_queue, "FINISH_S", 0.3)


@pytest.fixture
def short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procrastinate_queue, "BACK_OFF_S", 0.05)


# Its tables


async def test_several_processes_may_prepare_it_at_once_and_again(empty_url: str) -> None:
    assert await asyncio.gather(*(prepare_queue(empty_url) for _ in range(4))) == [True] * 4
    assert await prepare_queue(empty_url)
    async with open_queue(empty_url) as queue:
        assert await queue.handed_out(1) == ()


async def test_its_tables_and_ours_are_apart(empty_url: str) -> None:
    await prepare_queue(empty_url)
    async with Database.at(empty_url) as database:
        await database.migrate()
        await database.check()
    await prepare_queue(empty_url)

    tables = await execute(empty_url, "SELECT schemaname, tablename FROM pg_tables WHERE tablename ~ 'procrastinate'")
    assert {table["schemaname"] for table in tables} == {"gamespotter_queue"}


async def test_tables_of_an_older_version_are_brought_up_to_date(empty_url: str) -> None:
    everything = procrastinate_queue._migrations()
    old = [migration for migration in everything if migration.stem < "03.01"]
    with psycopg.connect(empty_url.replace("postgresql+asyncpg", "postgresql"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA gamespotter_queue")
        connection.execute("SET search_path = gamespotter_queue")
        for migration in old:
            connection.execute(migration.read_bytes())
        connection.execute("CREATE TABLE applied_migration AS SELECT %s::text AS name", (old[-1].stem,))

    with pytest.raises(SchemaOutdated, match="older version; run: python -m bot db migrate"):
        async with open_queue(empty_url):
            pass
    assert await prepare_queue(empty_url)

    taker = Worker(at_once)
    async with open_queue(empty_url) as queue, taker.working(empty_url):
        await queue.put(picks(2))
        await is_empty(queue)
    assert sorted(taker.picks) == [100, 101]


async def test_tables_of_a_newer_version_are_left_alone(url: str) -> None:
    await execute(url, "UPDATE applied_migration SET name = '99.00.00_01_something'")

    with pytest.raises(StorageError, match="made by a newer Procrastinate"):
        await prepare_queue(url)
    with pytest.raises(StorageError, match="made by a newer Procrastinate"):
        async with open_queue(url):
            pass


async def test_without_tables_it_says_what_to_do(empty_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="no queue for workers yet; run: python -m bot db migrate"):
        async with open_queue(empty_url):
            pass


async def test_a_file_is_no_queue(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/x.db"

    assert not await prepare_queue(address)
    with pytest.raises(StorageError, match="Workers need PostgreSQL"):
        async with open_queue(address):
            pass


async def test_without_the_extra_there_is_no_queue(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_queue, "_what_is_missing", lambda: ImportError("no psycopg"))

    assert not await prepare_queue(url)
    with pytest.raises(StorageError, match="extra `workers`"):
        async with open_queue(url):
            pass


@pytest.mark.parametrize("problem", ["password", "database", "server"])
async def test_no_error_repeats_the_password(postgres: PostgresServer, url: str, problem: str) -> None:
    wrong = {
        "password": postgres.url("postgres", password="mistyped-secret"),
        "database": postgres.url("no_such_database"),
        "server": "postgresql://u:mistyped-secret@/db?host=/nowhere/at/all",
    }[problem]

    for use in (prepare_queue(wrong), _open(wrong)):
        with pytest.raises(StorageError) as raised:
            await use
        assert "secret" not in str(raised.value)
        assert postgres.password not in str(raised.value)


async def _open(url: str) -> None:
    async with open_queue(url):
        pass


@pytest.mark.parametrize("driver", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg"])
async def test_whatever_driver_the_address_names_it_is_understood(url: str, driver: str) -> None:
    await _open(url.replace("postgresql", driver, 1))


# What is in it


async def test_what_is_handed_out_waits_in_its_order_and_once(queue: ProcrastinateQueue) -> None:
    await queue.put(picks(3))
    await queue.put(picks(4))
    await queue.put(picks(1, run_id=2))

    assert await queue.handed_out(1) == tuple(HandedOut(pick_id=100 + n, place=Place.WAITING) for n in range(4))
    assert [entry.pick_id for entry in await queue.handed_out(2)] == [200]


async def test_what_was_begun_is_not_taken_back(url: str, queue: ProcrastinateQueue, short_waits: None) -> None:
    taker = Worker(never)
    async with taker.working(url):
        await queue.put(picks(4))
        await queue.put(picks(1, run_id=2))
        await until(lambda: len(taker.taken) == 2)
        await queue.take_back(1)

        assert [(entry.pick_id, entry.place) for entry in await queue.handed_out(1)] == [
            (100, Place.IN_HAND),
            (101, Place.IN_HAND),
        ]
        assert len(await queue.handed_out(2)) == 1


async def test_several_workers_take_each_pick_once(url: str, queue: ProcrastinateQueue) -> None:
    async def soon(_: int) -> bool:
        await asyncio.sleep(0.01)
        return True

    takers = [Worker(soon) for _ in range(3)]
    async with AsyncExitStack() as stack:
        for taker in takers:
            await stack.enter_async_context(taker.working(url, parallel=2))
        await queue.put(picks(40))
        await is_empty(queue)

    assert sorted(pick_id for taker in takers for pick_id in taker.picks) == [pick.id for pick in picks(40)]
    assert all(taker.taken for taker in takers)
    assert max(taker.most_at_once for taker in takers) == 2


async def test_what_failed_in_a_way_that_may_pass_is_tried_again_behind_all_others(
    url: str, queue: ProcrastinateQueue, short_waits: None, short_back_off: None
) -> None:
    seen: list[int] = []

    async def first_fails(pick_id: int) -> bool:
        if pick_id == 100:
            seen.extend(entry.failures for entry in await queue.handed_out(1) if entry.pick_id == 100)
        await asyncio.sleep(0.05)
        return pick_id != 100 or len(seen) == 3

    taker = Worker(first_fails)
    await queue.put(picks(6))
    async with taker.working(url, parallel=1):
        await is_empty(queue)

    assert [is_last for pick_id, is_last in taker.taken if pick_id == 100] == [False, False, True]
    assert taker.picks[:6] == [100, 101, 102, 103, 104, 105]
    assert seen == [0, 1, 2]


async def test_what_waited_for_a_night_is_left(
    url: str, queue: ProcrastinateQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procrastinate_queue, "_KEPT_FOR", timedelta(seconds=-1))
    taker = Worker(at_once)
    await queue.put(picks(2))
    async with taker.working(url):
        await is_empty(queue)

    assert taker.taken == []


# Workers that end, and that die


async def test_told_to_end_a_worker_finishes_what_it_has_in_hand_and_begins_nothing(
    url: str, queue: ProcrastinateQueue
) -> None:
    done: list[int] = []

    async def slowly(pick_id: int) -> bool:
        await asyncio.sleep(0.5)
        done.append(pick_id)
        return True

    taker = Worker(slowly)
    await queue.put(picks(5))
    async with taker.working(url, parallel=2) as stop:
        await until(lambda: len(taker.taken) == 2)
        stop.set()

    assert sorted(done) == sorted(taker.picks) == [100, 101]
    assert [entry.place for entry in await queue.handed_out(1)] == [Place.WAITING] * 3


async def test_what_takes_too_long_for_a_worker_that_ends_is_anothers_at_once(
    url: str, queue: ProcrastinateQueue, short_waits: None
) -> None:
    hanging, other = Worker(never), Worker(at_once)
    await queue.put(picks(2))
    async with hanging.working(url, parallel=2):
        await until(lambda: len(hanging.taken) == 2)

    async with other.working(url), asyncio.timeout(5):
        await is_empty(queue)

    assert sorted(other.taken) == [(100, False), (101, False)]


async def test_a_slow_pick_is_not_taken_from_a_living_worker_even_while_it_ends(
    url: str, queue: ProcrastinateQueue
) -> None:
    async def slowly(_: int) -> bool:
        await asyncio.sleep(3 * QUICK_S)
        return True

    slow, other = Worker(slowly), Worker(at_once)
    await queue.put(picks(1))
    async with slow.working(url, stalled_after_s=QUICK_S) as stop:
        await until(lambda: bool(slow.taken))
        async with other.working(url, stalled_after_s=QUICK_S):
            await asyncio.sleep(1.5 * QUICK_S)
            stop.set()
            await is_empty(queue)

    assert (slow.picks, other.picks) == ([100], [])


async def test_who_cannot_tell_that_a_pick_is_done_ends_and_others_take_it(
    url: str, queue: ProcrastinateQueue, caplog: pytest.LogCaptureFixture
) -> None:
    await execute(
        url, "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE out_of_memory; END $$ LANGUAGE plpgsql"
    )
    await execute(
        url, "CREATE TRIGGER refuse BEFORE DELETE ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    first, second = Worker(at_once), Worker(at_once)
    await queue.put(picks(1))
    with pytest.raises(StorageError, match="does not answer; see that its server runs"):
        async with asyncio.timeout(30):
            await first.work(url, stop=asyncio.Event())
    assert [entry.place for entry in await queue.handed_out(1)] == [Place.IN_HAND]

    await execute(url, "DROP TRIGGER refuse ON procrastinate_jobs")
    async with second.working(url, stalled_after_s=QUICK_S):
        await is_empty(queue)

    assert (first.picks, second.picks) == ([100], [100])
    assert "Traceback" not in caplog.text


async def take_and_die(url: str) -> bool:
    """What a worker leaves that took a pick, was killed, and was not heard of for an hour; whether there was a pick."""
    (worker,) = await execute(
        url, "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id"
    )
    (job,) = await execute(url, f"SELECT id FROM procrastinate_fetch_job_v2(NULL, {worker['id']})")
    return job["id"] is not None


async def test_what_a_dead_worker_had_is_found_by_the_others(url: str, queue: ProcrastinateQueue) -> None:
    await queue.put(picks(1))
    assert await take_and_die(url)
    living = Worker(at_once)
    async with living.working(url, stalled_after_s=QUICK_S):
        await is_empty(queue)

    assert living.taken == [(100, False)]


async def test_what_a_dead_worker_had_is_found_by_who_hands_out(url: str, queue: ProcrastinateQueue) -> None:
    await queue.put(picks(1))
    assert await take_and_die(url)
    await asyncio.gather(*(queue.rescue(Worker(at_once).give_up) for _ in range(3)))

    assert [entry.place for entry in await queue.handed_out(1)] == [Place.WAITING]


async def test_a_pick_whose_workers_die_again_and_again_is_given_up(url: str, queue: ProcrastinateQueue) -> None:
    hears = Worker(at_once)
    await queue.put(picks(2))
    await queue.take_back(2)
    for _ in range(BEGINNINGS):
        assert hears.given_up == []
        assert await take_and_die(url)
        await queue.rescue(hears.give_up)

    assert hears.given_up == [100]
    assert [entry.pick_id for entry in await queue.handed_out(1)] == [101]


async def test_a_pick_that_cannot_be_given_up_yet_stays_until_it_can(url: str, queue: ProcrastinateQueue) -> None:
    async def cannot(_: int) -> None:
        raise StorageError("The database is away.")

    hears = Worker(at_once)
    await queue.put(picks(1))
    for _ in range(BEGINNINGS - 1):
        await take_and_die(url)
        await queue.rescue(hears.give_up)
    await take_and_die(url)
    with pytest.raises(StorageError):
        await queue.rescue(cannot)
    await queue.rescue(hears.give_up)

    assert hears.given_up == [100]


async def test_a_worker_that_was_taken_for_dead_ends_and_says_so(
    url: str, queue: ProcrastinateQueue, short_waits: None
) -> None:
    taker = Worker(at_once)
    working = asyncio.create_task(taker.work(url, stop=asyncio.Event()))
    await queue.put(picks(1))
    await is_empty(queue)
    await execute(url, "DELETE FROM procrastinate_workers")
    await queue.put(picks(2))

    with pytest.raises(StorageError, match="cannot be used"):
        await asyncio.wait_for(working, 20)
    async with taker.working(url):
        await is_empty(queue)
    assert taker.picks == [100, 100, 101]


async def full(_: int) -> bool:
    raise StorageError("There is no room left.")


async def test_a_pick_that_cannot_be_stored_goes_back_and_the_worker_ends_with_the_reason(
    url: str, queue: ProcrastinateQueue, short_waits: None, short_back_off: None
) -> None:
    other = Worker(at_once)
    await queue.put(picks(1))
    with pytest.raises(StorageError, match=r"There is no room left\."):
        await asyncio.wait_for(Worker(full).work(url, stop=asyncio.Event()), 20)
    async with other.working(url):
        await is_empty(queue)

    assert other.taken == [(100, False)]


async def test_a_pick_that_cannot_be_stored_again_and_again_is_out_of_reach_until_it_is_handed_out_again(
    url: str, queue: ProcrastinateQueue, short_waits: None, short_back_off: None
) -> None:
    taker = Worker(full)
    await queue.put(picks(1))
    for _ in range(BEGINNINGS):
        assert (await queue.handed_out(1))[0].place is Place.WAITING
        with pytest.raises(StorageError):
            await asyncio.wait_for(taker.work(url, stop=asyncio.Event()), 20)
    assert (await queue.handed_out(1))[0].place is Place.BROKEN
    assert len(taker.taken) == BEGINNINGS

    await queue.remove_broken(1)
    assert await queue.handed_out(1) == ()
    await queue.put(picks(1))
    assert (await queue.handed_out(1))[0].place is Place.WAITING


async def test_when_the_server_starts_anew_who_hands_out_goes_on(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procrastinate_queue, "_CONNECT_S", 1)
    async with open_queue(url) as queue:
        await queue.put(picks(1))
        postgres.stop()
        with pytest.raises(StorageError, match="does not answer") as raised:
            await asyncio.wait_for(queue.handed_out(1), 30)
        assert postgres.password not in str(raised.value)

        postgres.restart()
        async with asyncio.timeout(30):
            while True:
                with suppress(StorageError):
                    assert len(await queue.handed_out(1)) == 1
                    break
