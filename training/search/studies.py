"""Studies as Optuna keeps them: the one file that opens its storage.

A trial that is killed is not lost. The process that runs it holds a file lock in the trial's folder and writes a sign
of life into the storage; where the lock is free again, or the signs have stopped, whoever works on the study next
queues the same parameters anew, and the trial's folder lets it go on behind its last whole epoch.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import re
import shutil
import uuid
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, OptunaError, UpdateFinishedTrialError
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from core.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from training.search.search_space import Value

_SIGN_OF_LIFE_S = 10
_GRACE_S = 120
_BUSY_S = 60
_MOST_RETRIES = 2
_REDUCTION = 3
_FEWEST_TO_COMPARE = 6
_BEGINNINGS = 5
_OF, _AT, _REASON = "of", "at", "reason"


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many trials there are.

    Attributes:
        complete: came to their end.
        pruned: given up early.
        failed: ended in an error, or were killed again and again.
        running: now, in whatever process.
    """

    complete: int
    pruned: int
    failed: int
    running: int

    @property
    def settled(self) -> int:
        """Those that will not be tried again."""
        return self.complete + self.pruned + self.failed


class LostTrial(Exception):
    """This process showed no sign of life for so long that another one has taken its trial over."""


class Study:
    """A search: its trials so far, and the next one."""

    def __init__(self, study: optuna.Study, *, storage: optuna.storages.RDBStorage, directory: Path) -> None:
        """Use `open_study`."""
        self._study = study
        self._storage = storage
        self._directory = directory
        self._id = _id_of(directory)

    @property
    def name(self) -> str:
        """As it was opened."""
        return self._study.study_name

    def trials(self) -> tuple[FrozenTrial, ...]:
        """All that were begun, but for those that were begun anew since."""
        trials = self._study.get_trials(deepcopy=False)
        again = {number for one in trials for number in one.system_attrs.get("retry_history", ())}
        return tuple(one for one in trials if one.number not in again)

    def counts(self) -> Counts:
        """How many trials there are."""
        states = [one.state for one in self.trials()]
        return Counts(
            complete=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
        )

    def best(self) -> FrozenTrial | None:
        """The trial of the highest value; None as long as none has come to its end."""
        complete = [one for one in self.trials() if one.state is TrialState.COMPLETE]
        return max(complete, key=lambda one: (one.value or 0.0, -one.number), default=None)

    def importances(self) -> dict[str, float]:
        """How much of the difference between complete trials each parameter makes, 0 to 1; the largest first.

        Empty as long as that cannot be told.
        """
        if self.counts().complete < _FEWEST_TO_COMPARE:
            return {}
        try:
            with _told(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return dict(optuna.importance.get_param_importances(self._study))
        except (RuntimeError, ValueError):
            # All alike, or no parameter that all of them have.
            return {}

    def begin_with(self, values: dict[str, Value]) -> None:
        """Try these first, if nothing was tried yet."""
        with _told():
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(values)

    def take_back_dead(self) -> int:
        """Queue the trials of processes that have died anew; returns how many that were."""
        dead = 0
        with _told():
            for one in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if self._is_dead(one):
                    dead += self._again(one)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
        return dead

    def run_next(self, objective: Callable[[optuna.Trial, Path], float]) -> None:
        """Run one trial.

        Args:
            objective: gets the trial and a folder of its own, in which it finds what an earlier attempt at the same
                trial has left; gives the value, which is to be high.

        A `TrainingError` of the objective fails the trial, with its text as the reason; any other exception queues the
        trial anew and passes through.
        """
        begun: list[FrozenTrial] = []
        is_lost = False
        with _told(), contextlib.ExitStack() as holding:

            def tried(trial: optuna.Trial) -> float:
                nonlocal is_lost
                begun.append(self._study.get_trials(deepcopy=False)[trial.number])
                folder = self._folder(begun[0])
                holding.enter_context(_held(folder))
                try:
                    trial.set_user_attr(_AT, self._id)
                    value = objective(trial, folder)
                    # Shows at the last moment whether the trial is still this process's.
                    trial.set_user_attr(_REASON, "")
                except TrainingError as error:
                    trial.set_user_attr(_REASON, str(error))
                    raise
                except UpdateFinishedTrialError as error:
                    is_lost = True
                    raise LostTrial from error
                return value

            try:
                self._study.optimize(tried, n_trials=1, catch=(TrainingError,))
            except (LostTrial, ValueError):
                # Optuna's word for a trial that somebody else has ended is ValueError.
                if not is_lost:
                    raise
                return
            except BaseException:
                # What it has come to so far stays in its folder, for the next attempt.
                if (
                    begun
                    and (ended := self._study.get_trials(deepcopy=False)[begun[0].number]).state is TrialState.FAIL
                ):
                    _retry(self._study, ended)
                raise
            shutil.rmtree(self._folder(begun[0]), ignore_errors=True)

    def close(self) -> None:
        """Let go of the storage."""
        _let_go(self._storage)

    def _is_dead(self, trial: FrozenTrial) -> bool:
        at = trial.user_attrs.get(_AT)
        if at is None:
            # Killed between its beginning and its first sign of life.
            begun = trial.datetime_start
            return begun is not None and dt.datetime.now() - begun > dt.timedelta(seconds=_GRACE_S)  # noqa: DTZ005
        if at != self._id:
            return False
        folder = self._folder(trial)
        if not folder.is_dir():
            return True
        try:
            with _held(folder):
                return True
        except BlockingIOError:
            return False

    def _folder(self, trial: FrozenTrial) -> Path:
        """The same one for every attempt at a trial."""
        return self._directory / f"trial-{trial.system_attrs.get('failed_trial', trial.number):04d}"

    def _again(self, trial: FrozenTrial) -> int:
        try:
            self._study.tell(trial.number, state=TrialState.FAIL)
        except ValueError:
            # Somebody else was faster.
            return 0
        _retry(self._study, trial)
        return 1


def open_study(storage: str, *, name: str, of: str, directory: Path, longest: int, seed: int) -> Study:
    """Open a study, or begin it.

    Args:
        storage: an SQLAlchemy address, or the path of an SQLite file. PostgreSQL needs the extra ``workers``.
        name: of the study in it.
        of: names what is searched, and on what; a study of something else is refused.
        directory: where running trials keep how far they have come.
        longest: epochs that a trial can come to.
        seed: of the search.

    Raises:
        TrainingError: the storage cannot be opened, or the study is of something else.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    address = storage if "://" in storage else f"sqlite:///{storage}"
    # Without a driver's name SQLAlchemy takes one that this project does not have.
    address = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", address)
    with _told(), warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore", ExperimentalWarning)
        kept = _storage(address)
        stack.callback(_let_go, kept)
        study = optuna.create_study(
            storage=kept,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            sampler=_SeededByTrial(seed),
            pruner=optuna.pruners.HyperbandPruner(max_resource=longest, reduction_factor=_REDUCTION),
        )
        if study.user_attrs.setdefault(_OF, of) != of:
            raise TrainingError(
                f"The study {name!r} is of other data, another preset or other bounds: give this one a --study of its "
                "own, or ask for what that one was asked for."
            )
        study.set_user_attr(_OF, of)
        stack.pop_all()
    return Study(study, storage=kept, directory=directory / name)


@retry(
    # Two processes that begin a study at once both make its tables; the slower one finds them the next time.
    retry=retry_if_exception_type((IntegrityError, OperationalError, ProgrammingError)),
    stop=stop_after_attempt(_BEGINNINGS),
    wait=wait_random(0.05, 0.4),
    reraise=True,
)
def _storage(address: str) -> optuna.storages.RDBStorage:
    kept = optuna.storages.RDBStorage(
        address,
        engine_kwargs={"connect_args": {"timeout": _BUSY_S}} if address.startswith("sqlite") else None,
        heartbeat_interval=_SIGN_OF_LIFE_S,
        grace_period=_GRACE_S,
        heartbeat_stale_trial_callback=_retry,
    )
    if kept.engine.dialect.name == "sqlite":
        event.listen(kept.engine, "connect", _made_lighter)
        kept.engine.dispose()
    return kept


def _made_lighter(connection: DBAPIConnection, _: object) -> None:
    """Whoever reads does not wait for who writes; a kill loses nothing, a power cut perhaps the last trial."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _let_go(storage: optuna.storages.RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def reason(trial: FrozenTrial) -> str:
    """Why a trial failed."""
    return trial.user_attrs.get(_REASON) or "it was killed each time that it was tried"


class _SeededByTrial(optuna.samplers.BaseSampler):
    """TPE whose draws depend on the seed, the trial's number and the trials before, not on how often it was started."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._tpe = optuna.samplers.TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        drawn = np.random.default_rng([self._seed, trial.number]).integers(2**31)
        self._tpe = optuna.samplers.TPESampler(seed=int(drawn))
        self._tpe.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401 (Optuna's)
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


def _retry(study: optuna.Study, trial: FrozenTrial) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=_MOST_RETRIES)(study, trial)


def _id_of(directory: Path) -> str:
    """Another one for each folder, on whatever machine: locks tell of processes that work in the same one."""
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), (directory / "id").open("x") as file:
        file.write(uuid.uuid4().hex)
    return (directory / "id").read_text()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock of a trial; it ends with the process, however that ends.

    Raises:
        BlockingIOError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors of the storage, as one sentence; its address may hold a password and is not told."""
    try:
        yield
    except UpdateFinishedTrialError:
        raise
    except (SQLAlchemyError, OptunaError) as error:
        first = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise TrainingError(f"The study's storage cannot be used ({type(error).__name__}: {first}).") from error
    except ImportError as error:
        raise TrainingError(f"The driver of the study's storage is not installed ({error.name}).") from error
