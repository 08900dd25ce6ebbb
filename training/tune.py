"""The verb `tune`: search for the best way to train, on validation streams alone."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import keras
import optuna
from optuna.trial import TrialState
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from core.errors import DataSetError, TrainingError
from training.fitting.devices import prepare_devices
from training.fitting.layout import check_grid
from training.fitting.train import Task, fit, merit
from training.pipeline.prepare import Prepared, prepare, split_of
from training.pipeline.views import KeptViews
from training.reports.page import percent, told
from training.search.search_picture import End, Tried, search_picture
from training.search.studies import open_study, reason

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from training.config import TrainConfig
    from training.data.split import Split
    from training.fitting.checkpoint import Epoch
    from training.fitting.devices import Devices
    from training.search.search_space import SearchSpace, Value
    from training.search.studies import Study

_WAITING_S = 2.0
_ENDS = {TrialState.COMPLETE: End.COMPLETE, TrialState.PRUNED: End.PRUNED, TrialState.FAIL: End.FAILED}


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneOptions:
    """What `tune` is asked for.

    Attributes:
        data: folders of games, or a manifest of `export`.
        stored: where the frames of a manifest lie.
        out: the JSON file of the best configuration.
        work: what is kept between runs, and how far trials that were stopped had come.
        storage: an SQLAlchemy address, or the path of an SQLite file; None for a file beside `work`.
        study: its name in the storage.
        trials: of the whole study, whoever runs them.
        least_accuracy: share of validation frames that must be right after a trial's first epoch.
        picture: the PNG of the search; None for none.
        is_json: print what was found for a program.
    """

    data: Path
    stored: Path
    out: Path
    work: Path
    storage: str | None = None
    study: str = "study"
    trials: int = 30
    least_accuracy: float = 0.0
    picture: Path | None = None
    is_json: bool = False


def tune(options: TuneOptions, *, space: SearchSpace) -> None:
    """Search, or go on with a search, until the study has as many trials as were asked for.

    The test part is never looked at: a trial is trained on the training part, and worth what its best epoch names
    right of the validation part. The best configuration so far is at `out` at any time.

    Raises:
        DataSetError: the data set cannot be trained on, or a file cannot be written.
        TrainingError: the storage cannot be used, the study is of something else, or not one trial came to its end.
    """
    console = Console(stderr=options.is_json)
    for path in (options.out, options.picture):
        if path is not None:
            _made(path.parent)
    if not 0.0 <= options.least_accuracy < 1.0:
        raise TrainingError("The least accuracy is a share: 0 or more, and below 1.")
    if options.trials < 1:
        raise TrainingError("A search needs one trial at least.")
    devices = prepare_devices(space.base.fitting.precision)
    console.print(f"Training with {devices.told}", highlight=False)
    search = _Search(options, space=space, devices=devices, console=console)
    try:
        _go_on(search.study, search, trials=options.trials, console=console)
        search.end()
    finally:
        search.study.close()


def _go_on(study: Study, search: _Search, *, trials: int, console: Console) -> None:
    """Run trials until the study has so many."""
    if died := study.take_back_dead():
        console.print(f"Begun anew, for their processes have died: {died} trials", highlight=False)
    if settled := study.counts().settled:
        console.print(f"The study {study.name} has {settled} trials already", highlight=False)
    study.begin_with(search.first())
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("searching", total=trials)
        while (counts := study.counts()).settled < trials:
            progress.update(task, completed=counts.settled, description=f"best: {_told_best(study.best())}")
            if counts.settled + counts.running >= trials:
                # The last ones are other processes'; should one of them die, its trial is ours.
                time.sleep(_WAITING_S)
                study.take_back_dead()
                continue
            study.run_next(search.tried)
            search.tell()


class _Search:
    """What the trials of this process share."""

    def __init__(self, options: TuneOptions, *, space: SearchSpace, devices: Devices, console: Console) -> None:
        self._options = options
        self._space = space
        self._devices = devices
        self._console = console
        self._prepared: Prepared | None = None
        prepared = self._prepare(space.base)
        self._split = split_of(prepared.frames, is_tested=True)
        storage = options.storage or str(options.work.with_name(f"{options.work.name}-tune.db"))
        self.study = open_study(
            storage,
            name=options.study,
            of=_fingerprint(prepared, self._split, space),
            directory=options.work / "tune",
            longest=space.longest,
            seed=space.base.seed,
        )

    def first(self) -> dict[str, Value]:
        """The values to begin with."""
        return self._space.first()

    def tried(self, trial: optuna.Trial, folder: Path) -> float:
        """Train as a trial says; its merit on validation."""
        config = self._space.chosen(trial)
        number = trial.number + 1
        self._console.print(f"trial {number}: {_told_values(trial.params)}", highlight=False, markup=False)
        # What the trial before has built is not needed any more.
        keras.backend.clear_session()
        prepared = self._prepare(config)
        frames, examples = prepared.frames, prepared.examples
        if config.layout is not None and isinstance(examples, KeptViews):
            check_grid(examples.views[0], config.layout.grid)
        seen: list[float] = []

        def ended(epoch: Epoch) -> None:
            self._console.print(f"  {told(epoch)}", highlight=False)
            seen.append(merit(epoch))
            if epoch.number == 1 and epoch.validation_frames_right < self._options.least_accuracy:
                raise optuna.TrialPruned("it was below the least accuracy after its first epoch")
            trial.report(max(seen), step=epoch.number)
            if trial.should_prune():
                raise optuna.TrialPruned(f"others were better after {epoch.number} epochs")

        task = Task(
            examples=examples,
            labels=frames.labels,
            streams=frames.streams,
            train=self._split.train,
            validation=self._split.validation,
            games=len(frames.games),
        )
        fitted = fit(task, config=config, devices=self._devices, directory=folder, progress=ended)
        best = fitted.epochs[fitted.best_epoch - 1]
        trial.set_user_attr("streams_right", best.validation_streams_right)
        trial.set_user_attr("frames_right", best.validation_frames_right)
        return merit(best)

    def tell(self) -> None:
        """How the search stands after a trial; the best so far is written down."""
        counts, best = self.study.counts(), self.study.best()
        if best is not None:
            self._write(best)
        self._console.print(
            f"{counts.settled} of {self._options.trials} trials: {counts.complete} complete, {counts.pruned} given up, "
            f"{counts.failed} failed; best so far: {_told_best(best)}",
            highlight=False,
        )

    def end(self) -> None:
        """Tell and draw what was found.

        Raises:
            TrainingError: nothing was.
        """
        counts, best = self.study.counts(), self.study.best()
        failed = [one for one in self.study.trials() if one.state is TrialState.FAIL]
        if best is None:
            why = f" The last one failed: {reason(failed[-1])}" if failed else ""
            raise TrainingError(f"Not one of {counts.settled} trials came to its end.{why}")
        self._write(best)
        weights = self.study.importances()
        if self._options.picture is not None:
            tried = [_tried(one) for one in self.study.trials() if one.state.is_finished()]
            picture = search_picture(tried, importances=weights)
            _written(self._options.picture, picture)
        if self._options.is_json:
            found = {
                "study": self.study.name,
                "trials": asdict(counts),
                "best": {"trial": best.number + 1, **_worth(best), "parameters": best.params},
                "importances": weights,
                "failures": {one.number + 1: reason(one) for one in failed},
            }
            Console().print_json(data=found)
            return
        self._console.print(_table(best, weights))
        for one in failed:
            self._console.print(f"trial {one.number + 1} failed: {reason(one)}", highlight=False, markup=False)
        self._console.print(
            f"The best of {counts.settled} trials is in {self._options.out}: {_told_best(best)}. To train with it:\n"
            f"  python -m training run --data {self._options.data} --config {self._options.out} --out FOLDER",
            highlight=False,
            soft_wrap=True,
        )

    def _write(self, best: FrozenTrial) -> None:
        config = self._space.chosen(optuna.trial.FixedTrial(best.params))
        _written(self._options.out, config.to_json(is_portable=False).encode())

    def _prepare(self, config: TrainConfig) -> Prepared:
        """The frames for a trial; trials on the same stem share what it makes of them."""
        then = None if self._prepared is None else self._prepared.config
        if self._prepared is None or then is None or _shown(then) != _shown(config):
            # Two of them may not fit beside each other.
            self._prepared = None
            self._prepared = prepare(
                data=self._options.data,
                stored=self._options.stored,
                config=config,
                work=self._options.work,
                console=self._console,
            )
        return self._prepared


def _shown(config: TrainConfig) -> tuple[object, ...]:
    """What the examples of a trial depend on, so far as trials differ in it."""
    return (config.network, config.input_height_px) if config.has_stem else ()


def _fingerprint(prepared: Prepared, split: Split, space: SearchSpace) -> str:
    """Names what is searched, and on what."""
    base = space.base.to_json()
    networks = [(network.name, network.stem_end, network.tuned_from) for network in space.networks]
    sum_ = hashlib.sha256(repr((prepared.frames.sha256, base, networks, space.heights_px, space.most_epochs)).encode())
    for rows in (split.train, split.validation):
        sum_.update(rows.tobytes() + b"|")
    return sum_.hexdigest()[:16]


def _tried(trial: FrozenTrial) -> Tried:
    return Tried(
        number=trial.number + 1,
        end=_ENDS[trial.state],
        merit=trial.value if trial.value is not None else trial.intermediate_values.get(trial.last_step or 0),
        values=dict(trial.params),
    )


def _worth(trial: FrozenTrial) -> dict[str, float]:
    """Shares of validation streams and frames."""
    return {name: trial.user_attrs[name] for name in ("streams_right", "frames_right")}


def _table(best: FrozenTrial, importances: dict[str, float]) -> Table:
    table = Table(title=f"trial {best.number + 1}, the best")
    table.add_column("parameter")
    table.add_column("value", justify="right")
    table.add_column("makes of the difference", justify="right")
    for name in sorted(best.params, key=lambda name: -importances.get(name, 0.0)):
        share = f"{100 * importances[name]:.0f} %" if name in importances else ""
        table.add_row(name, _told_value(best.params[name]), share)
    return table


def _told_best(best: FrozenTrial | None) -> str:
    if best is None:
        return "none"
    streams, frames = (percent(share) for share in _worth(best).values())
    return f"trial {best.number + 1}, {streams} of validation streams, {frames} of frames"


def _told_values(values: dict[str, Value]) -> str:
    return ", ".join(f"{name} {_told_value(value)}" for name, value in values.items())


def _told_value(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _written(path: Path, content: bytes) -> None:
    """Whole or not at all.

    Raises:
        DataSetError: it cannot be written there.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise DataSetError(
            f"{path} cannot be written: {(error.strerror or 'the system does not say why').lower()}."
        ) from error


def _made(folder: Path) -> None:
    """Before hours are spent on what could not be written then.

    Raises:
        DataSetError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = (error.strerror or "the system does not say why").lower()
        raise DataSetError(f"The folder {folder} cannot be made: {why}.") from error
