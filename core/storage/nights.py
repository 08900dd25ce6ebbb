"""Runs of jobs, which any number of replicas run once, and the picks of a night."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from core.storage.database import Database
    from core.storage.records import JobRun, JobRunRecord, Json, Pick, PickCounts, PlannedPick, RunState


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
        raise NotImplementedError

    async def renew(self, run: JobRun, *, holder: str, lease_s: float) -> bool:
        """Extend the lease from now on; False: another has taken the run over, or it is over."""
        raise NotImplementedError

    async def finish(self, run: JobRun, *, holder: str, state: RunState, result: Json) -> bool:
        """End a run as DONE, FAILED or INTERRUPTED; False: another has taken it over, and nothing is changed."""
        raise NotImplementedError

    async def last_run(self, job: str) -> JobRunRecord | None:
        """The run of a job that was due last, however far it is."""
        raise NotImplementedError

    async def runs(self, *, limit: int, job: str | None = None) -> tuple[JobRunRecord, ...]:
        """The latest due runs, latest first."""
        raise NotImplementedError

    async def save_picks(self, run_id: int, picks: Sequence[PlannedPick]) -> bool:
        """Keep what a night is to sample, all or nothing; False, and nothing is changed, when it has picks already."""
        raise NotImplementedError

    async def pending_picks(self, run_id: int) -> tuple[Pick, ...]:
        """Picks of a run without an outcome, in order, spares included."""
        raise NotImplementedError

    async def picks(self, run_id: int) -> tuple[Pick, ...]:
        """All picks of a run, in order."""
        raise NotImplementedError

    async def pick(self, pick_id: int) -> Pick | None:
        """One pick; None when there is none (any more)."""
        raise NotImplementedError

    async def pick_done(self, pick_id: int, outcome: str) -> bool:
        """Write a pick's outcome down; False, and nothing is changed, when it has one already or is gone."""
        raise NotImplementedError

    async def pick_counts(self, run_id: int) -> PickCounts:
        """How far a run's picks are."""
        raise NotImplementedError
