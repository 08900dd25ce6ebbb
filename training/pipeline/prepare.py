"""What every verb that trains begins with: the configuration, the decoded frames, and what of them is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import Progress

from training.data.folders import Minima, check_minima, list_frames, without
from training.data.manifest import list_manifest
from training.data.split import ROTATIONS, Split, all_but_validation, as_given, by_stream
from training.fitting.devices import within_memory
from training.fitting.network import build
from training.pipeline.shards import Examples, PackedFrames, Pictures, pack
from training.pipeline.views import kept_views

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from training.config import TrainConfig
    from training.data.folders import Listing


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that a training needs.

    Attributes:
        listing: the files that are used.
        frames: decoded.
        examples: what a network is shown: pictures, or what its stem makes of them.
    """

    config: TrainConfig
    listing: Listing
    frames: PackedFrames
    examples: Examples


@within_memory()
def prepare(*, data: Path, stored: Path, config: TrainConfig, work: Path, console: Console) -> Prepared:
    """Read a data set and compute what is kept of it, or find that in `work`.

    Args:
        data: folders of games, or a manifest of `export`.
        stored: where the frames of a manifest lie.
        config: how to train.
        work: what is kept between runs.
        console: for what a person should know.

    Raises:
        DataSetError: the data set cannot be trained on.
        TrainingError: the network cannot be built, or does not fit in memory.
    """
    listing = list_manifest(data, stored) if data.is_file() else list_frames(data)
    if listing.missing:
        console.print(f"Left out, for their files are gone: {listing.missing} frames of {data}", highlight=False)
    with Progress(console=console, transient=True) as progress:
        decoding = progress.add_task("decoding frames")
        frames = pack(
            listing,
            work / "frames",
            progress=lambda done, total: progress.update(decoding, completed=done, total=total),
        )
        if frames.unreadable:
            console.print(f"Left out, for they hold no readable picture: {', '.join(frames.unreadable)}")
            unreadable = set(frames.unreadable)
            listing = without(
                listing, frozenset(frame.path for frame in listing.frames if str(frame.path) in unreadable)
            )
        check_minima(listing, Minima(streams_per_game=config.streams_per_game, frames_per_game=config.frames_per_game))
        stem = build(config, games=len(frames.games)).stem if config.has_stem else None
        examples: Examples = Pictures(frames=frames, augment=config.augment, plain_share=config.plain_share)
        if stem is not None:
            computing = progress.add_task("computing activations of views")
            examples = kept_views(
                frames,
                stem,
                work / "views",
                config=config,
                progress=lambda done, total: progress.update(computing, completed=done, total=total),
            )
    return Prepared(config=config, listing=listing, frames=frames, examples=examples)


def split_of(frames: PackedFrames, *, is_tested: bool) -> Split:
    """The parts of a data set that one training has: those it brings with it, else streams are dealt out.

    Args:
        frames: the data set.
        is_tested: whether a test part is kept; else it is trained on.

    Raises:
        DataSetError: a game would be missing in one of the parts.
    """
    units, ids = frames.units.tolist(), frames.game_ids.tolist()
    given = as_given(frames.parts, ids)
    if is_tested:
        return given or by_stream(units, ids, rotation=0, rotations=ROTATIONS)
    if given is None:
        return all_but_validation(units, ids)
    learnt = np.sort(np.concatenate([given.train, given.test]))
    return Split(train=learnt, validation=given.validation, test=np.zeros(0, dtype=np.int64))
