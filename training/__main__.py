"""`python -m training VERB`: one module a verb, imported when it is asked for, so that `--help` answers at once."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import GameSpotterError
from core.quiet import quiet_native_stderr

Data = Annotated[Path, typer.Option(help="Data set: a folder per game, below it a folder or file prefix per stream.")]
Preset = Annotated[str, typer.Option(help="A way to train, from training/configs.")]
Weights = Annotated[
    str | None, typer.Option(help="Pretrained weights: a local file, 'imagenet' (downloaded by Keras), or 'none'.")
]
Work = Annotated[Path, typer.Option(help="Where decoded frames and activations are kept between runs.")]

app = typer.Typer(
    help="Train the network that names games.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    data: Data,
    out: Annotated[Path, typer.Option(help="The model directory to write; must not exist.")],
    preset: Preset = "starter",
    weights: Weights = None,
    work: Work = Path("training-work"),
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Figures of `protocols`: take the calibration from them and train on the test streams as well."
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Name of the model in its answers.")] = "gamespotter-1",
) -> None:
    """Train a model, calibrate, export and check it, and write it with its report and model card."""
    with quiet_native_stderr():
        from training.config import preset as preset_  # noqa: PLC0415 (so that --help answers at once)
        from training.run import run as run_  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    run_(data=data, out=out, config=preset_(preset, weights=weights), work=work, figures=figures, version=version)


@app.command()
def protocols(
    data: Data,
    out: Annotated[Path, typer.Option(help="The JSON file of figures to write.")],
    preset: Preset = "starter",
    weights: Weights = None,
    work: Work = Path("training-work"),
    author: Annotated[
        list[str] | None,
        typer.Option(help="GAME/PREFIX: test on that author's streams of a game, train on others'. May be repeated."),
    ] = None,
) -> None:
    """Measure a way to train: rotations by stream, games held out whole, authors apart, the random split. Resumes."""
    with quiet_native_stderr():
        from training.config import preset as preset_  # noqa: PLC0415 (so that --help answers at once)
        from training.measure import measure  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    measure(data=data, out=out, config=preset_(preset, weights=weights), work=work, authors=tuple(author or ()))


def main() -> None:
    """Run a verb; a person sees one sentence and an exit status, never a traceback of ours."""
    # Before TensorFlow is imported: its start-up notices are for its own developers.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except GameSpotterError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        typer.echo("There is no room left on the disk; make some, and run this again: it goes on.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
