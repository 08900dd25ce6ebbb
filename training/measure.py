"""The verb `protocols`: train and ask every network that the figures need, and write the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from core.errors import DataSetError
from training.fitting.devices import prepare_devices
from training.linear import measure_linear
from training.pipeline.prepare import prepare
from training.protocols import attempt, figures, trials
from training.reports.page import told
from training.scoring.tables import print_protocols

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainConfig
    from training.fitting.checkpoint import Epoch


def measure(*, data: Path, stored: Path, out: Path, config: TrainConfig, work: Path, authors: tuple[str, ...]) -> None:
    """Write the figures of a way to train to `out` and print them.

    Raises:
        DataSetError: the data set cannot be trained on.
        TrainingError: a network cannot be built or fitted.
    """
    console = Console()
    devices = prepare_devices(config.fitting.precision)
    prepared = prepare(data=data, stored=stored, config=config, work=work, console=console)
    planned = trials(prepared.frames, authors=tuple(_author(text) for text in authors))
    outcomes = {}
    for place, trial in enumerate(planned, start=1):
        console.print(f"[{place}/{len(planned)}] {trial.name}", markup=False)

        def ended(epoch: Epoch) -> None:
            console.print(f"  {told(epoch)}", highlight=False)

        outcomes[trial.name] = attempt(trial, prepared, devices=devices, directory=work / "answers", progress=ended)
    measured = figures(prepared.frames, outcomes, config=config)
    measured = measured.model_copy(update={"linear": measure_linear(planned, prepared, work=work, console=console)})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(measured.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_protocols(measured, console)


def _author(text: str) -> tuple[str, str]:
    game, slash, prefix = text.partition("/")
    if not slash or not game or not prefix:
        raise DataSetError(f"{text!r} names no author: write it as GAME/PREFIX.")
    return game, prefix
