"""What a network sees: its first filters, and which part of a frame an answer rests on. On TensorFlow and on JAX.

The second is Grad-CAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017): the last feature maps, each weighted by the mean gradient of the answered game's logit over
it, added up, and what speaks for the game kept.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import cv2
import keras
import numpy as np
import numpy.typing as npt

from core.errors import TrainingError
from core.frames import encode_jpeg
from training.fitting.network import LOGITS, MAP
from training.preview import tiles
from training.scoring.judged import calibrated, mistakes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.frames import RgbPicture
    from training.fitting.network import Network
    from training.pipeline.augment import AugmentConfig
    from training.pipeline.shards import Labels
    from training.preview import Tile
    from training.scoring.judged import JudgedFrames, Mistake

Heat: TypeAlias = npt.NDArray[np.float32]
"""float32[n, height, width], 0 (says nothing for the game) to 1 (says most of that frame)."""

_BATCH = 16
_MOST_GAMES = 12
_FILTER_PX = 8
_GAP_PX = 6
_JPEG_QUALITY = 85


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """A frame, and where the evidence for the answer lies in it.

    Attributes:
        shown: name of the game that is really shown.
        answered: name of the game that was answered, whose evidence it is.
        confidence: of the answer, 0 to 1.
        stream: of the frame.
        frame: JPEG.
        heat: JPEG of the same frame with the heat drawn over it.
    """

    shown: str
    answered: str
    confidence: float
    stream: str
    frame: bytes
    heat: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """All pictures of a report that are no charts; what is empty or None is left out of it.

    Attributes:
        of: which frames these are, as the end of a sentence: "frames of test streams".
        attention: where the evidence lies, of some games whose pictures may be passed on; one frame each.
        filters: PNG of the first filters.
        mistakes: the surest ones.
        augmented: one frame as training changes it.
    """

    of: str
    attention: tuple[Attention, ...] = ()
    filters: bytes | None = None
    mistakes: tuple[Mistake, ...] = ()
    augmented: tuple[Tile, ...] = ()


def looks(network: Network, judged: JudgedFrames, *, of: str, augment: AugmentConfig | None, seed: int) -> Looks:
    """Everything that can be shown of a network and of what it answered.

    Args:
        network: trained; its own logits, without a layout's, are what Grad-CAM explains.
        judged: frames, and the whole model's answers to them.
        of: which frames these are, as the end of a sentence.
        augment: what training changes; None if nothing.
        seed: of the changes that are drawn.

    Raises:
        TrainingError: the network's evidence cannot be traced.
    """
    typical, found = _typical(judged), mistakes(judged)
    # Together, for a network is made ready for its gradients only once.
    drawn = _drawn(network, judged, [*typical, *(one.place for one in found if one.frame is not None)])
    changed = () if augment is None or not typical else tiles(judged.picture(typical[0]), config=augment, seed=seed)
    return Looks(
        of=of,
        attention=tuple(_attention(judged, place, drawn[place]) for place in typical),
        filters=first_filters(network),
        mistakes=tuple(replace(one, heat=drawn.get(one.place)) for one in found),
        augmented=changed,
    )


def grad_cam(network: Network, pictures: npt.NDArray[np.uint8], *, classes: Labels) -> Heat:
    """Where in each frame the evidence for one of its classes lies, at the size of the last feature map.

    Args:
        network: whose tail's layer `MAP` gives float[n, height, width, channels], and `LOGITS` the logits.
        pictures: uint8[n, 180, 320, 3].
        classes: int64[n], the column of the logits that each frame is asked about.

    Raises:
        TrainingError: the tail has no such layers, or Keras runs on a backend without gradients here.
    """
    try:
        seam, logits = network.tail.get_layer(MAP).output, network.tail.get_layer(LOGITS).output
        below, above = keras.Model(network.tail.input, seam), keras.Model(seam, logits)
    except ValueError as error:
        raise TrainingError(
            f"The network has no layers {MAP!r} and {LOGITS!r} between which its evidence could be traced."
        ) from error
    heats = []
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH]
        activations = batch if network.stem is None else network.stem.predict_on_batch(batch)
        maps = np.asarray(below.predict_on_batch(activations), dtype=np.float32)
        gradients = _gradients(above, maps, classes[start : start + _BATCH].astype(np.int32))
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        heats.append(np.maximum((weights * maps).sum(axis=-1), 0.0))
    heat = np.concatenate(heats)
    highest = heat.max(axis=(1, 2), keepdims=True)
    # Where nothing speaks for the class there is no heat, instead of a division by nothing.
    return np.asarray(heat / np.where(highest > 0, highest, 1.0), dtype=np.float32)


def drawn_over(picture: RgbPicture, heat: npt.NDArray[np.float32]) -> RgbPicture:
    """The picture, dark and grey where nothing speaks for the answer, in its own colours and warmer where most does.

    Args:
        picture: uint8[height, width, 3], RGB.
        heat: float32[any, any], 0 to 1; is stretched to the picture.
    """
    height, width = picture.shape[:2]
    hot = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    veil = cv2.cvtColor(
        cv2.applyColorMap((hot * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    ).astype(np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    share = hot[..., None]
    drawn = (1 - share) * 0.7 * grey + share * (0.6 * picture + 0.4 * veil)
    return np.asarray(np.clip(drawn, 0, 255), dtype=np.uint8)


def first_filters(network: Network) -> bytes | None:
    """The filters of the first convolution that sees colours, as a PNG of a grid; None if the network has none.

    Grey is a weight of nothing; each filter has its own scale. Networks that turn RGB into BGR first (VGG16, ResNet)
    show red for blue.
    """
    kernel = next(_colour_kernels(network), None)
    return None if kernel is None else _png(_grid(kernel))


def _attention(judged: JudgedFrames, place: int, heat: bytes) -> Attention:
    chances = calibrated(judged)[place]
    answered = int(judged.logits[place].argmax())
    return Attention(
        shown=judged.games[judged.labels[place]].name,
        answered=judged.games[answered].name,
        confidence=float(chances[answered]),
        stream=str(judged.streams[place]),
        frame=encode_jpeg(judged.picture(place), quality=_JPEG_QUALITY),
        heat=heat,
    )


def _drawn(network: Network, judged: JudgedFrames, places: list[int]) -> dict[int, bytes]:
    """JPEGs, by place, of frames with the evidence for what was answered drawn over them."""
    if not places:
        return {}
    pictures = np.stack([judged.picture(place) for place in places])
    heats = grad_cam(network, pictures, classes=judged.logits[places].argmax(axis=1))
    return {
        place: encode_jpeg(drawn_over(picture, heat), quality=_JPEG_QUALITY)
        for place, picture, heat in zip(places, pictures, heats, strict=True)
    }


def _typical(judged: JudgedFrames) -> list[int]:
    """Of each game whose pictures may be passed on the frame of middling confidence, neither easiest nor hardest."""
    sure = calibrated(judged).max(axis=1)
    places = []
    for number, game in enumerate(judged.games):
        mine = np.flatnonzero(judged.labels == number)
        if len(mine) and game.id not in judged.withheld:
            places.append(int(mine[np.argsort(sure[mine], kind="stable")[len(mine) // 2]]))
    # Of many games some, spread over the list.
    return [places[at] for at in np.unique(np.linspace(0, len(places) - 1, min(_MOST_GAMES, len(places))).astype(int))]


def _gradients(
    above: keras.Model, maps: npt.NDArray[np.float32], classes: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    """Of the sum of each frame's logit of its class; frames do not touch each other in inference mode."""

    def chosen(logits: object) -> object:
        return keras.ops.sum(keras.ops.take_along_axis(keras.ops.cast(logits, "float32"), classes[:, None], axis=1))

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 (this module also works without it)

        with tf.GradientTape() as tape:
            watched = tf.convert_to_tensor(maps)
            tape.watch(watched)
            total = chosen(above(watched, training=False))
        return np.asarray(tape.gradient(total, watched), dtype=np.float32)
    if backend == "jax":
        # By its name, so that types are checked the same where it is not installed.
        jax = importlib.import_module("jax")
        trainable = [variable.value for variable in above.trainable_variables]
        fixed = [variable.value for variable in above.non_trainable_variables]

        def of_maps(values: object) -> object:
            logits, _ = above.stateless_call(trainable, fixed, values, training=False)
            return chosen(logits)

        return np.asarray(jax.grad(of_maps)(jax.numpy.asarray(maps)), dtype=np.float32)
    raise TrainingError(f"Gradients are taken with Keras on tensorflow or jax, not on {backend}.")


def _colour_kernels(network: Network) -> Iterator[npt.NDArray[np.float32]]:
    for model in (network.stem, network.tail):
        for layer in _layers(model) if model is not None else ():
            if isinstance(layer, keras.layers.Conv2D):
                kernel = np.asarray(keras.ops.convert_to_tensor(layer.kernel), dtype=np.float32)
                if kernel.shape[2] == 3:
                    yield kernel


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _grid(kernel: npt.NDArray[np.float32]) -> RgbPicture:
    """uint8 RGB of float32[height, width, 3, filters], every weight a square."""
    height, width, _, filters = kernel.shape
    scale = np.maximum(np.abs(kernel).max(axis=(0, 1, 2)), np.finfo(np.float32).tiny)
    levels = ((kernel / scale + 1.0) * 127.5).round().astype(np.uint8)
    columns = math.ceil(math.sqrt(filters * 1.6))
    rows = math.ceil(filters / columns)
    high, wide = height * _FILTER_PX, width * _FILTER_PX
    grid = np.full((rows * (high + _GAP_PX) + _GAP_PX, columns * (wide + _GAP_PX) + _GAP_PX, 3), 40, dtype=np.uint8)
    for place in range(filters):
        row, column = divmod(place, columns)
        top, left = _GAP_PX + row * (high + _GAP_PX), _GAP_PX + column * (wide + _GAP_PX)
        squares = levels[..., place].repeat(_FILTER_PX, axis=0).repeat(_FILTER_PX, axis=1)
        grid[top : top + high, left : left + wide] = squares
    return grid


def _png(picture: RgbPicture) -> bytes:
    written, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not written:
        raise TrainingError("A picture of the network's filters cannot be written as a PNG.")
    return bytes(data)
