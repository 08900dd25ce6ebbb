"""The queue of picks in PostgreSQL, by Procrastinate: the one file that knows it, and psycopg that it stands on.

A job of the queue is a pick's id. What Procrastinate does: it hands each job to one worker, keeps the time of the next
try, notifies workers, and notes when each of them was last heard of. What is added here: jobs of silent workers are put
back by whoever looks next, and whatever the database server does ends as a StorageError, after which a worker begins
anew with a new connection.

The tables lie in a PostgreSQL schema of their own, and are brought up to date with Procrastinate's own migrations. It
does not write down of which version they are, so the name of the last migration is kept in a table beside them.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision, exceptions
from procrastinate.jobs import DeleteJobCondition, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker
from sqlalchemy import make_url

from core.collection.handing_out import HandedOut, Place
from core.errors import SchemaOutdated, StorageError, StorageFull
from core.storage.database import MIGRATE, Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from procrastinate import JobContext
    from procrastinate.jobs import Job

    from core.storage.records import Pick

log = logging.getLogger(__name__)

QUEUE = "gamespotter_picks"
_TASK = "take_pick"

STALLED_AFTER_S = 30.0
"""A worker that was not heard of for so long is dead: others take what it had in hand."""

FINISH_S = 10.0
"""A worker that is told to end has so long for what it has in hand; what is not done goes back into the queue."""

TRIES = 3
"""Of a pick whose failures may pass, in all."""

BACK_OFF_S = 5.0
"""Before the second try; four times as much before each one after that."""

BEGINNINGS = 5
"""Of a pick, without failures of its stream: then it is taken for one that kills its workers, or cannot be stored."""

_KEPT_FOR = timedelta(hours=12)
"""What nobody took for so long is another night's: the streams are others."""

_POLL_S = 2.0
"""Procrastinate says when a job is new, not when one comes back."""

_HEARTBEATS = 6
"""In the time after which a worker counts as dead."""

_WIND_DOWN_S = 10.0
"""Beyond FINISH_S; a connection that hangs would keep Procrastinate's worker from ending at all (its issue 1513)."""

_CONNECT_S = 10
_STATEMENT_S = 60.0

_AT_ONCE = datetime(2000, 1, 1, tzinfo=UTC)
"""Whatever a machine's clock says: the server compares with its own."""

_MIGRATION_LOCK = 0x67616D6573706F76
_RESCUE_LOCK = 0x67616D6573706F77
"""Keys of PostgreSQL's advisory locks; see :mod:`core.storage.database` for two more."""


async def migrate(url: str) -> None:
    """Make the queue's tables, or bring them to the version that is installed; harmless when they are there.

    Several processes may do it at once. Workers of the old version should not run meanwhile.

    Args:
        url: of a PostgreSQL database.

    Raises:
        StorageError: the database cannot be reached or used, or a newer version has used it.
    """
    address = _Address.of(url)
    migrations = await asyncio.to_thread(_migrations)
    schema = await asyncio.to_thread(SchemaManager.get_schema)
    with address.translated():
        async with await psycopg.AsyncConnection.connect(**address.parameters, autocommit=True) as connection:
            # Until the connection is closed, so that of many one does it.
            await connection.execute("SELECT pg_advisory_lock(%s)", (_MIGRATION_LOCK,))
            await connection.execute("CREATE SCHEMA IF NOT EXISTS gamespotter_queue")
            applied = await _applied(connection)
            if applied is None:
                async with connection.transaction():
                    await connection.execute(schema.encode())
                    await connection.execute("CREATE TABLE applied_migration (name text NOT NULL)")
                    await connection.execute("INSERT INTO applied_migration VALUES (%s)", (migrations[-1].stem,))
                return
            _check_not_newer(address, applied, migrations)
            for migration in migrations:
                if migration.stem > applied:
                    statements = await asyncio.to_thread(migration.read_bytes)
                    async with connection.transaction():
                        await connection.execute(statements)
                        await connection.execute("UPDATE applied_migration SET name = %s", (migration.stem,))


@asynccontextmanager
async def opened(url: str, *, stalled_after_s: float = STALLED_AFTER_S) -> AsyncIterator[ProcrastinateQueue]:
    """The queue in a PostgreSQL database, until the block's end.

    Args:
        url: of the database.
        stalled_after_s: a worker that was not heard of for so long is dead; the same for all.

    Raises:
        SchemaOutdated: the database waits for ``db migrate``.
        StorageError: it cannot be reached or used, or a newer version has used it.
    """
    address = _Address.of(url)
    migrations = await asyncio.to_thread(_migrations)
    with address.translated():
        async with await psycopg.AsyncConnection.connect(**address.parameters) as connection:
            applied = await _applied(connection)
    if applied is None:
        raise SchemaOutdated(f"The database {address.shown} has no queue for workers yet; {MIGRATE}.")
    _check_not_newer(address, applied, migrations)
    if applied != migrations[-1].stem:
        raise SchemaOutdated(f"The queue in the database {address.shown} is of an older version; {MIGRATE}.")
    connector = PsycopgConnector(kwargs=address.parameters, min_size=1, max_size=4, timeout=float(_CONNECT_S))
    app = App(connector=connector)
    with address.translated():
        await app.open_async()
    try:
        yield ProcrastinateQueue(app, connector, address, stalled_after_s=stalled_after_s)
    finally:
        with suppress(psycopg.Error, exceptions.ConnectorException):
            await app.close_async()


class ProcrastinateQueue:
    """See :class:`core.collection.handing_out.PickQueue`; and what takes picks from it."""

    def __init__(self, app: App, connector: PsycopgConnector, address: _Address, *, stalled_after_s: float) -> None:
        """See :func:`opened`."""
        self._app = app
        self._connector = connector
        self._jobs = app.job_manager
        self._address = address
        self._stalled_after_s = stalled_after_s

    async def put(self, picks: Sequence[Pick]) -> None:
        """Hand picks out, in order; one that waits already is left as it is."""
        at = datetime.now(UTC).timestamp()
        with self._address.translated():
            for pick in picks:
                # One waits at most, and one is in hand at most, whoever hands out.
                lock = f"pick {pick.id}"
                task = self._app.configure_task(_TASK, queue=QUEUE, lock=lock, queueing_lock=lock)
                with suppress(exceptions.AlreadyEnqueued):
                    await task.defer_async(run_id=pick.run_id, pick_id=pick.id, handed_out_at=at)

    async def handed_out(self, run_id: int) -> tuple[HandedOut, ...]:
        """The picks of a run that are in the queue; what a worker is done with is not."""
        with self._address.translated():
            jobs = await self._jobs.list_jobs_async(queue=QUEUE)
        return tuple(
            HandedOut(pick_id=_pick_id(job), place=_PLACES.get(str(job.status), Place.BROKEN), failures=_failures(job))
            for job in jobs
            if job.task_kwargs["run_id"] == run_id
        )

    async def take_back(self, run_id: int) -> None:
        """Remove the picks of a run that no worker has begun."""
        with self._address.translated():
            for job in await self._jobs.list_jobs_async(queue=QUEUE, status=Status.TODO.value):
                if job.task_kwargs["run_id"] == run_id and job.id is not None:
                    await self._jobs.cancel_job_by_id_async(job.id, delete_job=True)

    async def remove_broken(self, run_id: int) -> None:  # noqa: ARG002 - of every run: nobody goes on with them
        """Remove the picks of a run that are out of reach, so that they can be handed out again."""
        with self._address.translated():
            await self._jobs.delete_old_jobs(
                nb_hours=0, queue=QUEUE, include_failed=True, include_cancelled=True, include_aborted=True
            )

    async def rescue(self, give_up: Callable[[int], Awaitable[object]]) -> None:
        """Put back what silent workers had in hand."""
        with self._address.translated():
            async with self._connector.pool.connection() as connection:
                # One at a time: the second would take from a living worker what the first has just put back.
                cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_RESCUE_LOCK,))
                row = await cursor.fetchone()
                if row is None or not row[0]:
                    return
                after_s = self._stalled_after_s
                for job in await self._jobs.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=after_s):
                    await self._rescue(job, give_up)
                await self._jobs.prune_stalled_workers(after_s)

    async def work(
        self,
        take: Callable[[int, bool], Awaitable[bool]],
        *,
        give_up: Callable[[int], Awaitable[object]],
        parallel: int,
        stop: asyncio.Event,
    ) -> None:
        """Take picks from the queue until told to stop; then finish those in hand, or put them back.

        Args:
            take: does a pick, given its id and whether this is its last try; False: to be tried again later.
                What raises StorageError is put back.
            give_up: see :meth:`rescue`, which this does now and then.
            parallel: picks at the same time.
            stop: ends it.

        Raises:
            StorageError: a pick could not be stored, or the queue cannot be used; nothing is in hand any more.
        """
        broken = _Broken()
        self._app.job_manager = _EndsOfJobs(self._connector, self._address, broken)
        self._app.task(name=_TASK, queue=QUEUE, retry=_Retries(), pass_context=True)(_task(take, broken))
        worker = Worker(
            self._app,
            queues=[QUEUE],
            concurrency=parallel,
            fetch_job_polling_interval=min(_POLL_S, self._stalled_after_s / _HEARTBEATS),
            shutdown_graceful_timeout=FINISH_S,
            delete_jobs=DeleteJobCondition.SUCCESSFUL,
            install_signal_handlers=False,
            update_heartbeat_interval=self._stalled_after_s / _HEARTBEATS,
            stalled_worker_timeout=self._stalled_after_s,
        )
        running = asyncio.create_task(worker.run(), name="worker")  # type: ignore[no-untyped-call]
        watching = asyncio.create_task(self._watch(worker, give_up), name="worker's heartbeat")
        waiting = [asyncio.create_task(event.wait()) for event in (stop, broken.heard)]
        try:
            await asyncio.wait({running, watching, *waiting}, return_when=asyncio.FIRST_COMPLETED)
            # Still watched, so that what is being finished is not given to others.
            await _wound_down(running)
        finally:
            for task in (running, watching, *waiting):
                task.cancel()
            await asyncio.wait({watching, *waiting})
        with self._address.translated():
            for task in (watching, running):
                if task.done() and not task.cancelled():
                    task.result()
        if broken.error is not None:
            raise broken.error
        if not stop.is_set():
            raise StorageError(f"The connection to the queue in the database {self._address.shown} was lost.")

    async def _watch(self, worker: Worker, give_up: Callable[[int], Awaitable[object]]) -> None:
        """Be heard of, and look after others that are not.

        Procrastinate's worker does the former, too; but when that fails once, without a periodic task beside it, it is
        never heard of again and goes on all the same (``Worker._monitor_side_tasks`` sees the first one end alone).
        """
        while True:
            await asyncio.sleep(self._stalled_after_s / _HEARTBEATS)
            if worker.worker_id is not None:
                await self._jobs.update_heartbeat(worker.worker_id)
            await self.rescue(give_up)

    async def _rescue(self, job: Job, give_up: Callable[[int], Awaitable[object]]) -> None:
        pick_id = _pick_id(job)
        try:
            if _beginnings(job) < BEGINNINGS:
                log.warning("pick %d goes to another worker: nothing was heard of the one that had it", pick_id)
                await self._jobs.retry_job(job, retry_at=_AT_ONCE)
            else:
                log.error("pick %d is given up: %d workers died while they had it", pick_id, _beginnings(job))
                await give_up(pick_id)
                await self._jobs.finish_job(job, status=Status.FAILED, delete_job=True)
        except exceptions.ConnectorException as error:
            # Its worker was slow, not dead, and is done with it by now.
            if not _is_anothers(error):
                raise


@dataclass(frozen=True, kw_only=True, slots=True)
class _Address:
    """How psycopg reaches a database, and what may be shown of that."""

    parameters: dict[str, Any] = field(repr=False)
    shown: str

    @classmethod
    def of(cls, url: str) -> _Address:
        """The address that :class:`core.storage.database.Database` understands, put as psycopg has it."""
        database = Database.at(url)
        if database.is_embedded:
            raise StorageError(
                f"Workers need PostgreSQL, and the database is the file {database.url}; name a server's in "
                "[database] url."
            )
        settings = f"-c search_path=gamespotter_queue -c statement_timeout={_STATEMENT_S:g}s"
        return cls(
            parameters={
                **_parameters(url),
                "application_name": "gamespotter-queue",
                "connect_timeout": _CONNECT_S,
                "options": f"{settings} -c idle_in_transaction_session_timeout={_STATEMENT_S:g}s",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": int(_STATEMENT_S * 1000),
            },
            shown=database.url,
        )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Library errors of the block as ours."""
        try:
            yield
        except exceptions.ConnectorException as error:
            raise self._sentence(error.__cause__ or error) from error
        except (psycopg.Error, OSError) as error:
            raise self._sentence(error) from error

    def _sentence(self, error: BaseException) -> StorageError:
        match error:
            case (
                psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedFunction() | psycopg.errors.UndefinedObject()
            ):
                return SchemaOutdated(f"The queue in the database {self.shown} is not this version's; {MIGRATE}.")
            case psycopg.errors.InsufficientPrivilege():
                return StorageError(
                    f"Our user may not make or use the queue in the database {self.shown}; "
                    "grant it the right to create schemas there."
                )
            case psycopg.errors.DiskFull():
                return StorageFull(f"There is no room left on the disk of the database {self.shown}; make some.")
            case psycopg.errors.InvalidPassword() | psycopg.errors.InvalidAuthorizationSpecification():
                return StorageError(
                    f"The database server refuses us at {self.shown}; check user and password in [database] url."
                )
            case psycopg.OperationalError() | OSError():
                return StorageError(
                    f"The queue in the database {self.shown} does not answer; see that its server runs."
                )
            case _:
                return StorageError(f"The queue in the database {self.shown} cannot be used ({type(error).__name__}).")


def _parameters(url: str) -> dict[str, Any]:
    """An address of ours, as psycopg has it: SQLAlchemy knows, all but one option that it passes on as it is."""
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    options = dict(parsed.query)
    if "ssl" in options:
        options["sslmode"] = options.pop("ssl")
    parsed = parsed.set(query=options)
    _, parameters = parsed.get_dialect()().create_connect_args(parsed)
    return dict(parameters)


class _Broken:
    """Whether what was taken could not be stored."""

    def __init__(self) -> None:
        self.error: StorageError | None = None
        self.heard = asyncio.Event()

    def hear(self, error: StorageError) -> None:
        self.error = self.error or error
        self.heard.set()


class _EndsOfJobs(JobManager):
    """Hears when the end of a job cannot be stored.

    Procrastinate's worker does not: it would go on, be heard of, and have the job in hand for ever.
    """

    def __init__(self, connector: PsycopgConnector, address: _Address, broken: _Broken) -> None:
        super().__init__(connector)
        self._address = address
        self._broken = broken

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - not ours to say
        with self._heard(job):
            await super().finish_job(job, status, delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        with self._heard(job):
            await super().retry_job(job, retry_at, priority, queue, lock)

    @contextmanager
    def _heard(self, job: Job) -> Iterator[None]:
        try:
            with self._address.translated():
                yield
        except StorageError as error:
            if _is_anothers(error.__cause__):
                log.info("pick %d went to another worker while this one had it", _pick_id(job))
            else:
                self._broken.hear(error)


def _is_anothers(error: BaseException | None) -> bool:
    """Whether the queue says so because a job is not in hand any more."""
    cause = error.__cause__ if isinstance(error, exceptions.ConnectorException) else error
    return isinstance(cause, psycopg.errors.RaiseException)


class _TryAgain(Exception):
    """A stream failed in a way that may pass."""


class _Retries(BaseRetryStrategy):
    """When a pick that was not done is taken again.

    A job's priority says how often its stream failed, from 0 downwards: so it is behind all that did not.
    """

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, _TryAgain):
            wait = timedelta(seconds=BACK_OFF_S * 4 ** _failures(job))
            return RetryDecision(retry_at=datetime.now(UTC) + wait, priority=job.priority - 1)
        if isinstance(exception, asyncio.CancelledError):
            # This worker is told to end.
            return RetryDecision(retry_at=_AT_ONCE)
        if _beginnings(job) < BEGINNINGS:
            return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=BACK_OFF_S))
        return None


_PLACES = {Status.TODO.value: Place.WAITING, Status.DOING.value: Place.IN_HAND}


def _task(take: Callable[[int, bool], Awaitable[bool]], broken: _Broken) -> Callable[..., Awaitable[None]]:
    async def take_pick(context: JobContext, *, run_id: int, pick_id: int, handed_out_at: float) -> None:
        if datetime.now(UTC).timestamp() - handed_out_at > _KEPT_FOR.total_seconds():
            log.warning("pick %d of run %d waited for too long and is left", pick_id, run_id)
            return
        try:
            is_done = await take(pick_id, _failures(context.job) + 1 >= TRIES)
        except StorageError as error:
            broken.hear(error)
            raise
        if not is_done:
            raise _TryAgain

    return take_pick


def _pick_id(job: Job) -> int:
    pick_id = job.task_kwargs["pick_id"]
    if not isinstance(pick_id, int):
        raise TypeError("a job of this queue is a pick's")
    return pick_id


def _failures(job: Job) -> int:
    return -job.priority


def _beginnings(job: Job) -> int:
    """How often the job was taken without a failure of its stream, this time included."""
    return job.attempts - _failures(job) + 1


async def _wound_down(running: asyncio.Task[None]) -> None:
    """End Procrastinate's worker: once cancelled, it waits for what it has in hand."""
    for patience_s in (FINISH_S + _WIND_DOWN_S, _WIND_DOWN_S):
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=patience_s)
        if done:
            return
    log.error("the worker cannot end, as its connection to the database hangs; others take what it has in hand")


async def _applied(connection: psycopg.AsyncConnection) -> str | None:
    """The last migration that was applied; None when there are no tables."""
    cursor = await connection.execute("SELECT to_regclass('applied_migration')")
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        return None
    row = await (await connection.execute("SELECT name FROM applied_migration")).fetchone()
    return None if row is None else str(row[0])


def _check_not_newer(address: _Address, applied: str, migrations: Sequence[Path]) -> None:
    if applied > migrations[-1].stem:
        raise StorageError(
            f"The queue in the database {address.shown} was made by a newer Procrastinate (it is at {applied}); "
            "install that here, too."
        )


def _migrations() -> list[Path]:
    """Procrastinate's migrations, in order; their names begin with the version."""
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
