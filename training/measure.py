"""The verb `protocols`: train and ask every network that the figures need, and write the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from core.errors import DataSetError
from training.prepare import prepare
from training.protocols import attempt, figures, trials
from training.report import percent, told

if TYPE_CHECKING:
    from pathlib import Path

    from training.config import TrainConfig
    from training.figures import ProtocolFigures, Shares
    from training.train import Epoch


def measure(*, data: Path, stored: Path, out: Path, config: TrainConfig, work: Path, authors: tuple[str, ...]) -> None:
    """Write the figures of a way to train to `out` and print them.

    Raises:
        DataSetError: the data set cannot be trained on.
        TrainingError: a network cannot be built or fitted.
    """
    console = Console()
    prepared = prepare(data=data, stored=stored, config=config, work=work, console=console)
    planned = trials(prepared.frames, authors=tuple(_author(text) for text in authors))
    outcomes = {}
    for place, trial in enumerate(planned, start=1):
        console.print(f"[{place}/{len(planned)}] {trial.name}", markup=False)

        def ended(epoch: Epoch) -> None:
            console.print(f"  {told(epoch)}", highlight=False)

        outcomes[trial.name] = attempt(
            trial,
            prepared.frames,
            prepared.views,
            prepared.overlaid,
            config=config,
            directory=work / "answers",
            progress=ended,
        )
    measured = figures(prepared.frames, outcomes, config=config)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(measured.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_figures(measured, console)


def print_figures(measured: ProtocolFigures, console: Console) -> None:
    """The figures as two tables."""
    table = Table("on streams never seen", "frames right", "streams right", "of frames", "of streams")

    def row(name: str, shares: Shares) -> None:
        table.add_row(
            name, percent(shares.frames_right), percent(shares.streams_right), str(shares.frames), str(shares.streams)
        )

    row("by stream, all rotations", measured.by_stream.all)
    for number, part in enumerate(measured.by_stream.parts, start=1):
        row(f"  rotation {number}", part)
    row(f"overlays on {percent(measured.by_stream.covered_share)} of the picture", measured.by_stream.overlaid)
    row("random frames (flatters)", measured.by_random_frame)
    for name, shares in measured.authors.items():
        row(f"tested on author {name}", shares)
    console.print(table)
    unknown = measured.unknown
    table = Table(f"games held out whole ({unknown.score})", "")
    table.add_row("AUROC per stream", f"{unknown.stream_auroc:.3f}")
    table.add_row("AUROC per frame", f"{unknown.frame_auroc:.3f}")
    table.add_row("their streams refused", percent(unknown.held_out_refused))
    table.add_row("known games' unseen streams refused", percent(unknown.known_refused))
    table.add_row("the same in the folds' networks", percent(unknown.known_refused_in_folds))
    for game in unknown.games:
        table.add_row(
            f"  {game.id} (else {game.taken_for})", f"AUROC {game.auroc:.3f}, refused {percent(game.refused)}"
        )
    console.print(table)


def _author(text: str) -> tuple[str, str]:
    game, slash, prefix = text.partition("/")
    if not slash or not game or not prefix:
        raise DataSetError(f"{text!r} names no author: write it as GAME/PREFIX.")
    return game, prefix
