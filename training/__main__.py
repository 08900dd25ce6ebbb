"""`python -m training VERB`: one module a verb, imported when it is asked for, so that `--help` answers at once."""

from __future__ import annotations

import errno
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import GameSpotterError
from core.quiet import quiet_native_stderr

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.scoring.baselines import SupportVectors

Data = Annotated[
    Path,
    typer.Option(
        help="Data set: a folder per game, below it a folder or file prefix per stream; or a manifest of `export`."
    ),
]
Frames = Annotated[Path, typer.Option(help="The frame store: where the frames of manifest and database lie.")]
Database = Annotated[
    str,
    typer.Option(
        help="The database's address, or the path of an SQLite file.",
        # As the bot's setting; an address with a password is to be seen in no list of processes.
        envvar="GAMESPOTTER_DATABASE__URL",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures for a program.")]
NOT_FIT = 3
DEFAULT_DATABASE = "data/gamespotter.db"
DEFAULT_FRAMES = Path("data/frames")
Preset = Annotated[str, typer.Option(help="A way to train, from training/configs.")]
Config = Annotated[Path | None, typer.Option(help="A way to train as JSON, as `tune` writes it; instead of a preset.")]
Weights = Annotated[
    str | None, typer.Option(help="Pretrained weights: a local file, 'imagenet' (downloaded by Keras), or 'none'.")
]
Work = Annotated[Path, typer.Option(help="Where decoded frames and activations are kept between runs.")]


class EvaluatedPart(StrEnum):
    """What of a data set `evaluate` looks at."""

    TEST = "test"
    VALIDATION = "validation"
    ALL = "all"


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
    config: Config = None,
    weights: Weights = None,
    work: Work = Path("training-work"),
    frames: Frames = DEFAULT_FRAMES,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Figures of `protocols`: take the calibration from them and train on the test streams as well."
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Name of the model in its answers.")] = "gamespotter-1",
    tensorboard: Annotated[Path | None, typer.Option(help="Write TensorBoard's logs into this folder.")] = None,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of the first of several processes that train together (JAX).")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many they are.")] = 1,
    process: Annotated[int, typer.Option(min=0, help="Which of them this one is, from 0.")] = 0,
    *,
    keras_network: Annotated[
        bool, typer.Option("--keras", help="Also keep the network as Keras has it, as network.keras.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, even where a run was stopped on its way.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before what was on its way is thrown away.")] = False,
) -> None:
    """Train a model, calibrate, export and check it, and write it with its report and model card. Resumes."""
    if (coordinator is None) != (processes == 1) or process >= processes:
        raise typer.BadParameter("several processes need --coordinator, --processes and, below that, --process")
    with quiet_native_stderr():
        from training.fitting.devices import Processes  # noqa: PLC0415 (TensorFlow takes seconds, and talks)
        from training.run import RunOptions  # noqa: PLC0415
        from training.run import run as run_  # noqa: PLC0415

    together = Processes(coordinator=coordinator, count=processes, number=process) if coordinator is not None else None
    options = RunOptions(
        data=data,
        stored=frames,
        out=out,
        work=work,
        figures=figures,
        version=version,
        processes=together,
        tensorboard=tensorboard,
        keeps_keras=keras_network,
        is_fresh=fresh and (yes or typer.confirm(f"Throw away how far a run of this in {work} had come?", abort=True)),
    )
    run_(options, config=_config(preset, config, weights))


@app.command()
def classify(
    model: Annotated[Path, typer.Argument(help="The model directory.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures: JPEG, PNG, WebP or BMP.")],
    *,
    as_json: AsJson = False,
) -> None:
    """What a model says of single pictures. Exit status 1 when not one of them can be read."""
    from training.classify import classify as classify_  # noqa: PLC0415 (so that --help answers at once)

    classify_(model, pictures, is_json=as_json)


@app.command()
def finish(
    unfinished: Annotated[Path, typer.Argument(help="What `run` left where there was no TensorFlow.")],
    out: Annotated[Path, typer.Option(help="The model directory to write; must not exist.")],
) -> None:
    """Export what was trained without TensorFlow, and write the model directory."""
    with quiet_native_stderr():
        from training.finish import finish_unfinished  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    finish_unfinished(unfinished, out=out)


@app.command()
def tune(
    data: Data,
    out: Annotated[Path, typer.Option(help="The JSON file of the best way to train; `run --config` takes it.")],
    preset: Preset = "starter",
    config: Config = None,
    weights: Weights = None,
    work: Work = Path("training-work"),
    frames: Frames = DEFAULT_FRAMES,
    trials: Annotated[int, typer.Option(help="How many the study is to have in the end.")] = 30,
    study: Annotated[str, typer.Option(help="Its name; a name that is there goes on.")] = "study",
    storage: Annotated[
        str | None,
        typer.Option(help="Where studies are kept: an SQLAlchemy address, or an SQLite file. A file beside --work."),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="A network of keras.applications to try; may be repeated. The preset's own."),
    ] = None,
    height: Annotated[
        list[int] | None,
        typer.Option(help="Of what the network sees, in pixels; the picture stays 16:9. May be repeated."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Most epochs of a trial.")] = 10,
    min_accuracy: Annotated[
        float,
        typer.Option(help="Give a trial up when fewer validation frames are right after its first epoch; 0 to 1."),
    ] = 0.0,
    picture: Annotated[Path | None, typer.Option(help="A PNG of the search to write.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Search for the best way to train, on validation streams alone. Resumes; several processes may share a study."""
    with quiet_native_stderr():
        from training.search.search_space import search_space  # noqa: PLC0415 (TensorFlow takes seconds, and talks)
        from training.tune import TuneOptions  # noqa: PLC0415
        from training.tune import tune as tune_  # noqa: PLC0415

        space = search_space(
            _config(preset, config, weights),
            backbones=tuple(backbone or ()),
            heights_px=tuple(height or ()),
            most_epochs=epochs,
        )
    options = TuneOptions(
        data=data,
        stored=frames,
        out=out,
        work=work,
        storage=storage,
        study=study,
        trials=trials,
        least_accuracy=min_accuracy,
        picture=picture,
        is_json=as_json,
    )
    tune_(options, space=space)


@app.command()
def protocols(
    data: Data,
    out: Annotated[Path, typer.Option(help="The JSON file of figures to write.")],
    preset: Preset = "starter",
    config: Config = None,
    weights: Weights = None,
    work: Work = Path("training-work"),
    frames: Frames = DEFAULT_FRAMES,
    author: Annotated[
        list[str] | None,
        typer.Option(help="GAME/PREFIX: test on that author's streams of a game, train on others'. May be repeated."),
    ] = None,
) -> None:
    """Measure a way to train: rotations by stream, games held out whole, authors apart, the random split. Resumes."""
    with quiet_native_stderr():
        from training.measure import measure  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    measure(
        data=data,
        stored=frames,
        out=out,
        config=_config(preset, config, weights),
        work=work,
        authors=tuple(author or ()),
    )


@app.command()
def check(
    directory: Annotated[
        Path | None, typer.Argument(help="A folder per game; or training/, validation/, test/ with those.")
    ] = None,
    *,
    store: Annotated[bool, typer.Option("--store", help="Look through database and frames instead.")] = False,
    database: Database = DEFAULT_DATABASE,
    frames: Frames = DEFAULT_FRAMES,
    min_frames: Annotated[int, typer.Option(min=0, help="Of each game.")] = 20,
    min_broadcasters: Annotated[
        int, typer.Option(min=0, help="Of each game; 0 also takes pictures that tell no broadcaster or stream.")
    ] = 3,
    min_training_frames: Annotated[int, typer.Option(min=0, help="Of the training part.")] = 33,
    quarantine: Annotated[
        Path | None, typer.Option(help="Move files that cannot be read into this folder; nothing is ever deleted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Can this be trained on? Exit status 0 when it can, 3 when it was looked through and cannot, 1 on bad input."""
    if (directory is None) != store:
        raise typer.BadParameter("name a folder, or say --store")
    from training.check import Minimum  # noqa: PLC0415 (so that --help answers at once)
    from training.check import check as check_  # noqa: PLC0415

    report = check_(
        directory,
        database=database,
        frames=frames,
        minimum=Minimum(frames=min_frames, broadcasters=min_broadcasters, training_frames=min_training_frames),
        quarantine=quarantine,
        as_json=as_json,
    )
    if not report.is_fit:
        raise typer.Exit(NOT_FIT)


@app.command(name="import")
def import_(
    directory: Annotated[Path, typer.Argument(help="A folder per game; or training/, validation/, test/ with those.")],
    database: Database = DEFAULT_DATABASE,
    frames: Frames = DEFAULT_FRAMES,
    name: Annotated[str, typer.Option(help="Keeps its streams apart from other imports'. The folder's name.")] = "",
    *,
    channels: Annotated[
        bool, typer.Option("--channels", help="Streams are called what their channels are called.")
    ] = False,
    each_file: Annotated[
        bool, typer.Option("--each-file", help="A picture whose stream nothing tells is a stream of its own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a tree of folders into the store. Done again, or after a kill, it brings what is missing."""
    from training.importing import ImportRule, import_tree  # noqa: PLC0415 (so that --help answers at once)

    rule = ImportRule(name=name or directory.resolve().name, are_channels=channels, each_file=each_file)
    import_tree(directory, database=database, frames=frames, rule=rule, as_json=as_json)


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The manifest to write; another one is never written over.")],
    database: Database = DEFAULT_DATABASE,
    frames: Frames = DEFAULT_FRAMES,
    folders: Annotated[
        Path | None, typer.Option(help="Also write training/, validation/ and test/ here, a folder per game.")
    ] = None,
    near_bits: Annotated[
        int, typer.Option(min=0, max=16, help="Bits of 64 by which nearly equal pictures may differ.")
    ] = 4,
    test_share: Annotated[float, typer.Option(min=0, max=0.45, help="Of the broadcasters.")] = 0.15,
    validation_share: Annotated[float, typer.Option(min=0, max=0.45, help="Of the broadcasters.")] = 0.15,
    *,
    as_json: AsJson = False,
) -> None:
    """Write the manifest of all frames that can be learned from. The same store gives the same bytes."""
    from training.data.division import DivisionRule  # noqa: PLC0415 (so that --help answers at once)
    from training.export import export as export_  # noqa: PLC0415

    rule = DivisionRule(near_bits=near_bits, test_share=test_share, validation_share=validation_share)
    export_(database=database, frames=frames, out=out, folders=folders, rule=rule, as_json=as_json)


@app.command()
def evaluate(
    models: Annotated[list[Path], typer.Argument(help="Model directories, as `run` wrote them.")],
    data: Data,
    frames: Frames = DEFAULT_FRAMES,
    part: Annotated[
        EvaluatedPart,
        typer.Option(help="Of the data set; where it brings no parts, of those that `run` deals it into."),
    ] = EvaluatedPart.TEST,
    declared: Annotated[
        Path | None,
        typer.Option(help="A CSV with the columns 'stream' and 'category': tells what believing these comes to."),
    ] = None,
    wanted: Annotated[
        float, typer.Option(min=0, max=1, help="Share of streams' answers that a searched confidence is to keep right.")
    ] = 0.99,
    out: Annotated[Path | None, typer.Option(help="The JSON file of figures to write.")] = None,
    preset: Preset = "starter",
    weights: Weights = None,
    work: Work = Path("training-work"),
    *,
    svm: Annotated[
        bool, typer.Option("--svm", help="Beside them a linear SVM on what the preset's pretrained network sees.")
    ] = False,
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also show the frames with webcam, chat and alerts over them.")
    ] = False,
    normalise: Annotated[bool, typer.Option("--normalise", help="Print the confusion as hundredths.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure models on the same streams, per frame and per stream, side by side, with null models."""
    with quiet_native_stderr():
        from training.evaluate import evaluate as evaluate_  # noqa: PLC0415 (so that --help answers at once)

        baselines = [_support_vectors(preset, weights, work=work, as_json=as_json)] if svm else []
    evaluate_(
        models,
        data=data,
        stored=frames,
        part=part.value,
        declared=declared,
        wanted_accuracy=wanted,
        out=out,
        baselines=baselines,
        overlays=overlays,
        normalise=normalise,
        as_json=as_json,
    )


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(help="The model directory, as `run --keras` wrote it.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="The .npz to write; one that is there is replaced.")],
    frames: Frames = DEFAULT_FRAMES,
) -> None:
    """Write the vector that a model makes of each frame before it names a game, for other programs."""
    with quiet_native_stderr():
        from training.embed import embed as embed_  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    embed_(model, data=data, stored=frames, out=out)


@app.command()
def publish(
    model: Annotated[Path, typer.Argument(help="The model directory, as `run` wrote it.")],
    registry: Annotated[Path, typer.Option(help="The folder of published models; made if it does not exist.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Test data, folders or a manifest, for models that were not measured on the same test streams."
        ),
    ] = None,
    frames: Frames = DEFAULT_FRAMES,
    *,
    force: Annotated[bool, typer.Option("--force", help="Publish it however it compares.")] = False,
    as_json: AsJson = False,
) -> None:
    """Publish a model if it is no worse than the current one. Exit status 0 published, 3 refused, 1 bad input."""
    with quiet_native_stderr():
        from training.publish import publish as publish_  # noqa: PLC0415 (so that --help answers at once)

    decision = publish_(model, registry=registry, data=data, frames=frames, is_forced=force, as_json=as_json)
    if not decision.is_published:
        raise typer.Exit(NOT_FIT)


@app.command()
def preview(
    image: Annotated[Path, typer.Argument(help="A picture: JPEG, PNG, WebP or BMP.")],
    out: Annotated[Path, typer.Option(help="The PNG to write; one that is there is replaced.")],
    preset: Preset = "starter",
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other changes.")] = 0,
) -> None:
    """Draw what augmentation makes of one picture: every change by itself, then whole views, each with its name."""
    from training.config import preset as preset_  # noqa: PLC0415 (so that --help answers at once)
    from training.preview import preview as preview_  # noqa: PLC0415

    count = preview_(image, out=out, config=preset_(preset).augment, seed=seed)
    typer.echo(f"{out}: {count} pictures")


def _support_vectors(preset: str, weights: str | None, *, work: Path, as_json: bool) -> SupportVectors:
    from rich.console import Console  # noqa: PLC0415 (so that --help answers at once)

    from training.scoring.baselines import SupportVectors  # noqa: PLC0415 (TensorFlow takes seconds, and talks)

    return SupportVectors(_config(preset, None, weights), work=work, console=Console(stderr=as_json))


def _config(preset: str, config: Path | None, weights: str | None) -> TrainConfig:
    from training.config import preset as preset_  # noqa: PLC0415 (so that --help answers at once)
    from training.config import read_config  # noqa: PLC0415

    return preset_(preset, weights=weights) if config is None else read_config(config, weights=weights)


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
