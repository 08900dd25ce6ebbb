"""What a network has to beat: a linear support vector machine on what a pretrained network sees, and nothing tuned."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
from rich.progress import Progress
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from core.errors import DataSetError, TrainingError
from training.config import Head, Pooling, Pretrained
from training.fitting.network import FEATURES, build
from training.scoring.accuracy import sampled_means
from training.scoring.embeddings import embedded
from training.scoring.figures import NamedScores
from training.scoring.scores import Answers, score
from training.scoring.summary import score_figures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from core.games import Game
    from training.config import TrainConfig
    from training.data.folders import FrameFile
    from training.evaluate import Parts
    from training.pipeline.shards import Labels
    from training.scoring.answers import Said

_COST = 0.01
"""On some thousand scaled features ten times more or less changes little."""
_TOLERANCE = 1e-2
"""A tenth or a hundredth of it takes two to three times as long, and the same frames were right."""
_MOST_STEPS = 20_000


class SupportVectors:
    """A linear SVM on embeddings of a frozen network, trained on the part of a data set that is for training."""

    def __init__(self, config: TrainConfig, *, work: Path, console: Console) -> None:
        """Ask for it with a preset whose network is pretrained; nothing else of the preset is used.

        Args:
            config: names the network, its weights and its input size.
            work: where embeddings are kept.
            console: for the progress.

        Raises:
            TrainingError: the preset's network is not pretrained.
        """
        if not isinstance(config.network, Pretrained):
            raise TrainingError("The SVM looks through a pretrained network, and this preset is trained from scratch.")
        self._config = config
        self._network = config.network
        self._work = work
        self._console = console

    def __call__(self, parts: Parts, said: Said) -> NamedScores:
        """Train it and ask it about the frames that the models were asked about.

        Raises:
            DataSetError: there is nothing to train on.
            TrainingError: the network cannot be built.
        """
        if not parts.train:
            raise DataSetError("The SVM has nothing to be trained on: all of the data is evaluated.")
        embed = frozen_network(self._config)
        with Progress(console=self._console, transient=True) as progress:
            learnt, learnt_from = self._embeddings(embed, parts.train, "embedding the training part", progress)
            asked, asked_of = self._embeddings(embed, said.frames, "embedding the streams", progress)
            progress.add_task("fitting the SVM", total=None)
            said_of = fit_and_ask(learnt, games=[frame.game for frame in learnt_from], asked=asked)
        answers, streams = answered(said_of, frames=asked_of, games=parts.listing.games)
        return NamedScores(
            name=f"SVM on {self._network.name}",
            of_frames=score_figures(score(answers)),
            of_streams=score_figures(score(streams)),
        )

    def _embeddings(
        self, embed: keras.Model, frames: Sequence[FrameFile], what: str, progress: Progress
    ) -> tuple[npt.NDArray[np.float32], tuple[FrameFile, ...]]:
        """float32[readable frames, features], and which frames those are; kept for the next time."""
        task = progress.add_task(what, total=len(frames))
        path = self._work / "embeddings" / f"{self._fingerprint(frames)}.npz"
        if not path.is_file():
            with _told(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            rows, is_read = embedded(embed, frames, progress=lambda done: progress.update(task, completed=done))
            unfinished = path.with_suffix(".part.npz")
            with _told(path.parent):
                np.savez(unfinished, allow_pickle=False, rows=rows, is_read=is_read)
                unfinished.rename(path)
        with np.load(path) as kept:
            read = tuple(frame for frame, is_read in zip(frames, kept["is_read"], strict=True) if is_read)
            return kept["rows"], read

    def _fingerprint(self, frames: Sequence[FrameFile]) -> str:
        """Changes with the files and with what looks at them."""
        sum_ = hashlib.sha256(repr((self._network, self._config.input_height_px, self._config.input_width_px)).encode())
        for frame in frames:
            state = frame.path.stat()
            sum_.update(f"{frame.path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
        return sum_.hexdigest()[:16]


def frozen_network(config: TrainConfig) -> keras.Model:
    """The preset's pretrained network as it comes: pictures -> the mean of its last feature map, float[n, features].

    Raises:
        TrainingError: it cannot be built.
    """
    # No layer of a head, which would be random.
    head = Head(pooling=Pooling.AVERAGE, layers=0, dropout=0.0)
    network = config.network
    if isinstance(network, Pretrained):
        network = dataclasses.replace(network, stem_end=None)
    tail = build(dataclasses.replace(config, network=network, head=head, layout=None, views=0), games=2).tail
    return keras.Model(tail.input, tail.get_layer(FEATURES).output)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(f"What the SVM learns from cannot be kept in {folder} ({error.strerror}).") from error


def fit_and_ask(
    learnt: npt.NDArray[np.float32], *, games: Sequence[str], asked: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float64]]:
    """How far each asked embedding lies on the side of each game, by the game's id: float64[asked].

    Args:
        learnt: float32[n, features].
        games: the game of each of those.
        asked: float32[any, features].

    Raises:
        DataSetError: there is one game only.
    """
    if len(set(games)) < 2:
        raise DataSetError("The SVM has one game only to learn from: there is nothing to tell apart.")
    machine = make_pipeline(
        StandardScaler(),
        LinearSVC(C=_COST, tol=_TOLERANCE, dual=True, class_weight="balanced", random_state=0, max_iter=_MOST_STEPS),
    )
    machine.fit(learnt, games)
    margins = machine.decision_function(asked)
    # Of two games scikit-learn gives the margin of the second alone.
    columns = np.stack([-margins, margins], axis=1) if margins.ndim == 1 else margins
    return {str(game): columns[:, place] for place, game in enumerate(machine.classes_)}


def answered(
    margins: dict[str, npt.NDArray[np.float64]], *, frames: Sequence[FrameFile], games: Sequence[Game]
) -> tuple[Answers, Answers]:
    """Of frames and of streams, whose margins are the means of those frames that the bot would look at.

    Args:
        margins: by game, float64[frames]; a game that is not there is never answered.
        frames: what was asked, in the order of their streams.
        games: all there are.
    """
    never = np.full(len(frames), -np.inf)
    table = np.stack([margins.get(game.id, never) for game in games], axis=1)
    number = {game.id: place for place, game in enumerate(games)}
    labels = np.array([number[frame.game] for frame in frames], dtype=np.int64)
    streams = np.array([frame.stream for frame in frames])
    _, first = np.unique(streams, return_index=True)
    return _answers(table, labels), _answers(sampled_means(table.astype(np.float32), streams=streams), labels[first])


def _answers(table: npt.NDArray[np.float64], labels: Labels) -> Answers:
    # A margin is no chance: nothing that rests on confidence is told of it.
    return Answers(
        truth=labels,
        ranked=np.argsort(-table, axis=1, kind="stable"),
        confidences=np.ones(len(labels)),
        games=table.shape[1],
    )
