"""Runs of jobs, which any number of replicas run once, and the picks of a night."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import and_, func, insert, or_, select, update

from core.collection.directory import Category, LiveStream
from core.storage.records import JobRun, JobRunRecord, Pick, PickCounts, PlannedPick, RunState
from core.storage.tables import CaptureRow, FrameRow, JobRunRow, PickRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, CursorResult, Result

    from core.storage.database import Database
    from core.storage.records import Json


class NightStore:
    """Claims, leases and picks. Every method raises StorageError if the database cannot be used.

    ``holder`` names a process, and another one after each start. Leases are judged by the database's clock on
    PostgreSQL, and by the machine's on SQLite, which is on one machine.
    """

    def __init__(self, database: Database) -> None:
        """Keep the database, which stays the caller's to close."""
        self._database = database

    async def claim(
        self, job: str, due_at: datetime, *, holder: str, lease_s: float, resume: bool = False
    ) -> JobRun | None:
        """Take a due run: one that nobody has begun, or one whose holder let the lease run out.

        Args:
            job: its name.
            due_at: when it is due; with ``job`` the run's identity.
            holder: who takes it.
            lease_s: how long others leave it alone without :meth:`renew`.
            resume: also take a run that ended as INTERRUPTED.

        Returns:
            The run; None when somebody else has it, or it is over.
        """
        database = self._database
        async with database.writing() as session:
            row_id = await session.scalar(
                database.insert(JobRunRow)
                .values(
                    job=job,
                    due_at=due_at,
                    state=RunState.RUNNING,
                    holder=holder,
                    attempt=1,
                    lease_until=database.clock(plus_s=lease_s),
                    started_at=database.clock(),
                )
                .on_conflict_do_nothing(index_elements=[JobRunRow.job, JobRunRow.due_at])
                .returning(JobRunRow.id)
            )
            if row_id is not None:
                return JobRun(id=row_id, job=job, due_at=due_at, attempt=1, resumed=False)
            free = and_(JobRunRow.state == RunState.RUNNING, JobRunRow.lease_until < database.clock())
            if resume:
                free = or_(free, JobRunRow.state == RunState.INTERRUPTED)
            # Of many who try this at once, the first changes what the others look for.
            taken = (
                await session.execute(
                    update(JobRunRow)
                    .where(JobRunRow.job == job, JobRunRow.due_at == due_at, free)
                    .values(
                        state=RunState.RUNNING,
                        holder=holder,
                        attempt=JobRunRow.attempt + 1,
                        lease_until=database.clock(plus_s=lease_s),
                        finished_at=None,
                    )
                    .returning(JobRunRow.id, JobRunRow.attempt)
                )
            ).one_or_none()
        if taken is None:
            return None
        return JobRun(id=taken.id, job=job, due_at=due_at, attempt=taken.attempt, resumed=True)

    async def renew(self, run: JobRun, *, holder: str, lease_s: float) -> bool:
        """Extend the lease from now on; False: another has taken the run over, or it is over."""
        async with self._database.writing() as session:
            result = await session.execute(
                update(JobRunRow).where(_held(run, holder)).values(lease_until=self._database.clock(plus_s=lease_s))
            )
            return _changed(result)

    async def finish(self, run: JobRun, *, holder: str, state: RunState, result: Json) -> bool:
        """End a run as DONE, FAILED or INTERRUPTED; False: another has taken it over, and nothing is changed."""
        if state is RunState.RUNNING:
            msg = "a run does not end as running"
            raise ValueError(msg)
        async with self._database.writing() as session:
            result_ = await session.execute(
                update(JobRunRow)
                .where(_held(run, holder))
                .values(state=state, result=result, finished_at=self._database.clock())
            )
            return _changed(result_)

    async def last_run(self, job: str) -> JobRunRecord | None:
        """The run of a job that was due last, however far it is."""
        runs = await self.runs(limit=1, job=job)
        return runs[0] if runs else None

    async def runs(self, *, limit: int, job: str | None = None) -> tuple[JobRunRecord, ...]:
        """The latest due runs, latest first."""
        query = select(JobRunRow).order_by(JobRunRow.due_at.desc(), JobRunRow.id.desc()).limit(limit)
        if job is not None:
            query = query.where(JobRunRow.job == job)
        async with self._database.reading() as session:
            return tuple(_run_record(row) for row in await session.scalars(query))

    async def save_picks(self, run_id: int, picks: Sequence[PlannedPick]) -> bool:
        """Keep what a night is to sample, all or nothing; False, and nothing is changed, when it has picks already."""
        async with self._database.writing(one_at_a_time=True) as session:
            if not picks or await session.scalar(select(PickRow.id).where(PickRow.run_id == run_id).limit(1)):
                return False
            await session.execute(insert(PickRow), [_pick_values(run_id, planned) for planned in picks])
            return True

    async def pending_picks(self, run_id: int) -> tuple[Pick, ...]:
        """Picks of a run without an outcome, in order, spares included."""
        return await self._picks(PickRow.run_id == run_id, PickRow.outcome.is_(None))

    async def picks(self, run_id: int) -> tuple[Pick, ...]:
        """All picks of a run, in order."""
        return await self._picks(PickRow.run_id == run_id)

    async def pick(self, pick_id: int) -> Pick | None:
        """One pick; None when there is none (any more)."""
        picks = await self._picks(PickRow.id == pick_id)
        return picks[0] if picks else None

    async def pick_done(self, pick_id: int, outcome: str) -> bool:
        """Write a pick's outcome down; False, and nothing is changed, when it has one already or is gone."""
        async with self._database.writing() as session:
            result = await session.execute(
                update(PickRow).where(PickRow.id == pick_id, PickRow.outcome.is_(None)).values(outcome=outcome)
            )
            return _changed(result)

    async def pick_counts(self, run_id: int) -> PickCounts:
        """How far a run's picks are."""
        outcomes = (
            select(PickRow.outcome, func.count().label("picks"))
            .where(PickRow.run_id == run_id)
            .group_by(PickRow.outcome)
        )
        frames = (
            select(func.count())
            .select_from(FrameRow)
            .join(CaptureRow, CaptureRow.id == FrameRow.capture_id)
            .where(CaptureRow.job_run_id == run_id)
            .scalar_subquery()
        )
        taken = select(
            func.count().label("captures"),
            func.coalesce(func.sum(CaptureRow.bytes_fetched), 0).label("bytes_fetched"),
            frames.label("frames"),
        ).where(CaptureRow.job_run_id == run_id)
        async with self._database.reading() as session:
            by_outcome = {row.outcome: row.picks for row in await session.execute(outcomes)}
            row = (await session.execute(taken)).one()
        return PickCounts(
            pending=by_outcome.pop(None, 0),
            outcomes=by_outcome,
            captures=row.captures,
            frames=row.frames,
            bytes_fetched=int(row.bytes_fetched),
        )

    async def _picks(self, *which: ColumnElement[bool]) -> tuple[Pick, ...]:
        query = select(PickRow).where(*which).order_by(PickRow.run_id, PickRow.position)
        async with self._database.reading() as session:
            return tuple(_pick(row) for row in await session.scalars(query))


def _held(run: JobRun, holder: str) -> ColumnElement[bool]:
    return and_(
        JobRunRow.id == run.id,
        JobRunRow.state == RunState.RUNNING,
        JobRunRow.holder == holder,
        JobRunRow.attempt == run.attempt,
    )


def _changed(result: Result[Any]) -> bool:
    return cast("CursorResult[Any]", result).rowcount > 0


def _run_record(row: JobRunRow) -> JobRunRecord:
    return JobRunRecord(
        id=row.id,
        job=row.job,
        due_at=row.due_at,
        state=row.state,
        holder=row.holder,
        attempt=row.attempt,
        started_at=row.started_at,
        lease_until=row.lease_until,
        finished_at=row.finished_at,
        result=row.result,
    )


def _pick_values(run_id: int, planned: PlannedPick) -> dict[str, Any]:
    stream = planned.stream
    return {
        "run_id": run_id,
        "position": planned.position,
        "category_id": planned.category.id,
        "category_name": planned.category.name,
        "is_game": planned.is_game,
        "spare": planned.spare,
        "stream_platform_id": stream.id,
        "broadcaster_platform_id": stream.broadcaster_id,
        "login": stream.login,
        "display_name": stream.display_name,
        "declared_id": None if stream.category is None else stream.category.id,
        "declared_name": None if stream.category is None else stream.category.name,
        "title": stream.title,
        "language": stream.language,
        "started_at": stream.started_at,
        "viewers": stream.viewers,
    }


def _pick(row: PickRow) -> Pick:
    declared = None
    if row.declared_id is not None:
        declared = Category(id=row.declared_id, name=row.declared_name or "")
    return Pick(
        id=row.id,
        run_id=row.run_id,
        planned=PlannedPick(
            position=row.position,
            category=Category(id=row.category_id, name=row.category_name),
            is_game=row.is_game,
            stream=LiveStream(
                id=row.stream_platform_id,
                broadcaster_id=row.broadcaster_platform_id,
                login=row.login,
                display_name=row.display_name,
                category=declared,
                title=row.title,
                language=row.language,
                started_at=row.started_at,
                viewers=row.viewers,
            ),
            spare=row.spare,
        ),
        outcome=row.outcome,
    )
