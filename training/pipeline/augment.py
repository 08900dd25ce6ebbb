"""Augmentation that respects games, on uint8 RGB frames, with NumPy and OpenCV.

What a broadcaster or a video encoder does to a picture is done here too: boxes are pasted on it (webcam, chat,
alert), it is cropped, scaled, framed with borders, recoloured and compressed. What no broadcaster does is off unless a
configuration asks for it: flips, rotation and shear cost 4 to 10 points of accuracy (Breve, IEEE Transactions on Games
2025, arXiv 2311.15963), because a game's interface is always the same way up.

Every function takes a frame uint8[height, width, 3] and a seeded `numpy.random.Generator`, gives a new frame of
the same shape, and never changes its argument. Nothing pasted comes from another frame, so that an augmented view of
a frame depends on that frame alone: a view may be kept and used in every rotation without leaking a test stream.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt

from core.errors import TrainingError

Frame = npt.NDArray[np.uint8]
"""uint8[height, width, 3], RGB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How often each change is made (probabilities) and how strong it may be; 0 switches a change off."""

    reframe: float = 0.7
    smallest_crop: float = 0.6
    trim_border: float = 0.4
    add_border: float = 0.12
    colour: float = 0.8
    compress: float = 0.5
    webcam: float = 0.4
    chat: float = 0.4
    alert: float = 0.25
    erase: float = 0.2
    flip: float = 0.0
    rotate: float = 0.0
    largest_turn_degrees: float = 10.0

    def __post_init__(self) -> None:
        for odds in fields(self):
            value = getattr(self, odds.name)
            most = 180.0 if odds.name == "largest_turn_degrees" else 1.0
            if not 0.0 <= value <= most:
                raise TrainingError(f"augment.{odds.name} is {value:g}; it must be 0 to {most:g}.")


def augment(frame: Frame, rng: np.random.Generator, config: AugmentConfig) -> Frame:
    """One random view of `frame`, as a viewer of some broadcaster's stream might get it."""
    view = frame
    # These two draw nothing while they are off, so that the other changes of a seed stay what they were without them.
    if config.flip and rng.random() < config.flip:
        view = flip(view)
    if config.rotate and rng.random() < config.rotate:
        view = rotate(view, rng, largest_turn_degrees=config.largest_turn_degrees)
    if rng.random() < config.trim_border:
        view = trim_border(view, rng)
    if rng.random() < config.reframe:
        view = reframe(view, rng, smallest_crop=config.smallest_crop)
    if rng.random() < config.add_border:
        view = add_border(view, rng)
    if rng.random() < config.colour:
        view = recolour(view, rng)
    if rng.random() < config.chat:
        view = paste_chat(view, rng)
    if rng.random() < config.webcam:
        view = paste_webcam(view, rng)
    if rng.random() < config.alert:
        view = paste_alert(view, rng)
    if rng.random() < config.erase:
        view = erase(view, rng)
    if rng.random() < config.compress:
        view = compress(view, rng)
    return np.ascontiguousarray(view)


def flip(frame: Frame) -> Frame:
    """Left and right changed places."""
    return np.ascontiguousarray(frame[:, ::-1])


def rotate(frame: Frame, rng: np.random.Generator, *, largest_turn_degrees: float) -> Frame:
    """Turn about the middle; the corners are filled with the picture's own mirror image."""
    height, width = frame.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-largest_turn_degrees, largest_turn_degrees), 1)
    return np.asarray(cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), dtype=np.uint8)


def content_box(frame: Frame, *, darkest: int = 12) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of what is inside uniform dark borders; the whole frame if it is all dark."""
    bright = frame.max(axis=2) > darkest
    rows = np.flatnonzero(bright.mean(axis=1) > 0.01)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.01)
    if rows.size == 0 or columns.size == 0:
        return 0, frame.shape[0], 0, frame.shape[1]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def trim_border(frame: Frame, rng: np.random.Generator) -> Frame:
    """Take black borders away, or paint them: they say which program recorded a game, not which game it is."""
    height, width = frame.shape[:2]
    top, bottom, left, right = content_box(frame)
    if (bottom - top) * (right - left) > 0.97 * height * width or bottom - top < 16 or right - left < 16:
        return frame
    if rng.random() < 0.6:
        return _resized(frame[top:bottom, left:right], width, height)
    painted = _backdrop(frame, rng)
    painted[top:bottom, left:right] = frame[top:bottom, left:right]
    return painted


def reframe(frame: Frame, rng: np.random.Generator, *, smallest_crop: float) -> Frame:
    """Zoom into a random part that keeps nearly the shape of the picture."""
    height, width = frame.shape[:2]
    side = np.sqrt(rng.uniform(smallest_crop, 1.0))
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    crop_height = min(height, max(8, round(height * side * stretch)))
    crop_width = min(width, max(8, round(width * side / stretch)))
    top = int(rng.integers(0, height - crop_height + 1))
    left = int(rng.integers(0, width - crop_width + 1))
    return _resized(frame[top : top + crop_height, left : left + crop_width], width, height)


def add_border(frame: Frame, rng: np.random.Generator) -> Frame:
    """Show the picture smaller inside a frame: pillars, letterbox, or a designed scene around the game."""
    height, width = frame.shape[:2]
    shape = rng.random()
    inner_height, inner_width = height, width
    if shape < 0.35:
        inner_width = round(width * rng.uniform(0.72, 0.95))
    elif shape < 0.6:
        inner_height = round(height * rng.uniform(0.72, 0.95))
    else:
        scale = rng.uniform(0.7, 0.95)
        inner_height, inner_width = round(height * scale), round(width * scale)
    top = int(rng.integers(0, height - inner_height + 1))
    left = int(rng.integers(0, width - inner_width + 1))
    bordered = _backdrop(frame, rng)
    bordered[top : top + inner_height, left : left + inner_width] = _resized(frame, inner_width, inner_height)
    return bordered


def recolour(frame: Frame, rng: np.random.Generator) -> Frame:
    """Brightness, contrast, gamma and white balance through a table; saturation and hue now and then.

    Hue is turned far, because the next level of a game is often the same game in other colours.
    """
    levels = np.linspace(0.0, 1.0, 256)
    gamma = np.exp(rng.uniform(-0.35, 0.35))
    contrast = rng.uniform(0.7, 1.3)
    brightness = rng.uniform(-0.12, 0.12)
    balance = rng.uniform(0.88, 1.12, size=3)
    curve = (levels**gamma - 0.5) * contrast + 0.5 + brightness
    table = np.clip(curve[:, None] * balance[None, :] * 255.0, 0, 255).astype(np.uint8)[None]
    view: Frame = np.asarray(cv2.LUT(frame, table), dtype=np.uint8)
    if rng.random() < 0.3:
        hsv = cv2.cvtColor(view, cv2.COLOR_RGB2HSV)
        # OpenCV's hue has 180 steps and must wrap around.
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.integers(-60, 61))) % 180
        view = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
    if rng.random() < 0.5:
        grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        keep = float(rng.uniform(0.0, 1.4))
        view = np.asarray(cv2.addWeighted(view, keep, grey, 1.0 - keep, 0.0), dtype=np.uint8)
    return view


def compress(frame: Frame, rng: np.random.Generator) -> Frame:
    """What a small bit rate does: JPEG blocks, or detail lost by scaling down and up again."""
    height, width = frame.shape[:2]
    if rng.random() < 0.5:
        scale = rng.uniform(0.4, 0.9)
        small = _resized(frame, round(width * scale), round(height * scale))
        return _resized(small, width, height)
    quality = int(rng.integers(12, 60))
    written, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    # Channel order does not matter to the codec's artefacts here, it only has to come back as it went in.
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8) if written else frame


def erase(frame: Frame, rng: np.random.Generator) -> Frame:
    """Random erasing (Zhong et al. 2017, arXiv 1708.04896): up to three boxes of one colour or noise."""
    erased = frame.copy()
    for _ in range(int(rng.integers(1, 4))):
        top, bottom, left, right = _box(frame, rng, width=(0.05, 0.3), height=(0.05, 0.35))
        if rng.random() < 0.5:
            erased[top:bottom, left:right] = rng.integers(0, 256, size=3)
        else:
            erased[top:bottom, left:right] = rng.integers(0, 256, size=(bottom - top, right - left, 3))
    return erased


def paste_webcam(frame: Frame, rng: np.random.Generator) -> Frame:
    """Somebody before a camera, mostly in a corner: a blurred room, a head, shoulders."""
    top, bottom, left, right = _box(frame, rng, width=(0.14, 0.36), height=(0.2, 0.45), at_edge=0.8)
    height, width = bottom - top, right - left
    room = _smooth_noise(height, width, rng, cells=int(rng.integers(2, 7)))
    skin = tuple(int(c) for c in np.array([224, 172, 140]) * rng.uniform(0.35, 1.1) + rng.uniform(-15, 15, size=3))
    cloth = tuple(int(c) for c in rng.integers(0, 256, size=3))
    hair = tuple(int(c) for c in rng.integers(0, 140, size=3))
    middle = int(width * rng.uniform(0.35, 0.65))
    head = max(2, int(min(height, width) * rng.uniform(0.16, 0.3)))
    eyes = int(height * rng.uniform(0.35, 0.55))
    person = np.ascontiguousarray(room)
    cv2.ellipse(person, (middle, height), (head * 2, max(2, int(height * 0.38))), 0, 0, 360, cloth, -1)
    cv2.ellipse(person, (middle, eyes - head // 4), (head, int(head * 1.3)), 0, 0, 360, hair, -1)
    cv2.ellipse(person, (middle, eyes), (int(head * 0.85), int(head * 1.15)), 0, 0, 360, skin, -1)
    blurred = cv2.GaussianBlur(person, (3, 3), 0)
    noisy = np.clip(blurred + rng.normal(0, rng.uniform(2, 14), size=person.shape), 0, 255).astype(np.uint8)
    pasted = frame.copy()
    if rng.random() < 0.3:  # a green screen: only the person is pasted
        cut = np.zeros((height, width), np.uint8)
        cv2.ellipse(cut, (middle, height), (head * 2, max(2, int(height * 0.38))), 0, 0, 360, 1, -1)
        cv2.ellipse(cut, (middle, eyes), (head, int(head * 1.3)), 0, 0, 360, 1, -1)
        inside = cut.astype(bool)
        pasted[top:bottom, left:right][inside] = noisy[inside]
        return pasted
    pasted[top:bottom, left:right] = noisy
    if rng.random() < 0.5:
        colour = tuple(int(c) for c in rng.integers(0, 256, size=3))
        cv2.rectangle(pasted, (left, top), (right - 1, bottom - 1), colour, int(rng.integers(1, 4)))
    return pasted


def paste_chat(frame: Frame, rng: np.random.Generator) -> Frame:
    """A column of short lines, each begun by a coloured name, on a plate that may be see-through."""
    top, bottom, left, right = _box(frame, rng, width=(0.15, 0.34), height=(0.3, 0.95), at_edge=0.85)
    pasted = frame.copy()
    plate = pasted[top:bottom, left:right]
    colour = np.full_like(plate, rng.integers(0, 256) if rng.random() < 0.4 else rng.integers(0, 40))
    opacity = float(rng.choice([0.0, 0.5, 0.8, 1.0], p=[0.15, 0.25, 0.25, 0.35]))
    plate[:] = cv2.addWeighted(plate, 1.0 - opacity, colour, opacity, 0.0)
    ink = 235 if colour[0, 0, 0] < 128 or opacity < 0.3 else 25
    step = int(rng.integers(5, 12))
    for line in range(2, plate.shape[0] - step, step):
        name_end = int(rng.integers(4, max(5, plate.shape[1] // 3)))
        text_end = int(rng.integers(name_end + 1, max(name_end + 2, plate.shape[1] - 2)))
        _write(plate, line, 2, name_end, tuple(int(c) for c in rng.integers(60, 256, size=3)), step, rng)
        _write(plate, line, name_end + 3, text_end, (ink, ink, ink), step, rng)
    return pasted


def paste_alert(frame: Frame, rng: np.random.Generator) -> Frame:
    """The box that thanks for a subscription, or a banner with a goal bar, mostly near the middle."""
    top, bottom, left, right = _box(frame, rng, width=(0.25, 0.6), height=(0.1, 0.3))
    pasted = frame.copy()
    plate = pasted[top:bottom, left:right]
    first, second = rng.integers(0, 256, size=3), rng.integers(0, 256, size=3)
    ramp = np.linspace(0.0, 1.0, plate.shape[1])[None, :, None]
    opacity = float(rng.choice([0.0, 0.7, 1.0], p=[0.2, 0.3, 0.5]))
    plate[:] = (plate * (1.0 - opacity) + (first * (1 - ramp) + second * ramp) * opacity).astype(np.uint8)
    words = "".join(chr(c) for c in rng.integers(65, 91, size=int(rng.integers(4, 14))))
    ink = tuple(int(c) for c in rng.integers(0, 256, size=3))
    size = float(rng.uniform(0.3, 0.8))
    cv2.putText(plate, words, (4, int(plate.shape[0] * 0.6)), cv2.FONT_HERSHEY_DUPLEX, size, ink, 1, cv2.LINE_AA)
    if rng.random() < 0.5:
        radius = max(2, plate.shape[0] // 4)
        cv2.circle(plate, (plate.shape[1] - radius - 2, plate.shape[0] // 2), radius, ink, -1)
    return pasted


def _write(
    plate: Frame, top: int, left: int, right: int, ink: tuple[int, ...], step: int, rng: np.random.Generator
) -> None:
    """Something that looks like a line of small type: strokes of one colour with gaps between words."""
    high = max(2, int(step * 0.55))
    strokes = rng.random((high, max(0, right - left))) < 0.6
    strokes &= np.repeat(rng.random(strokes.shape[1] // 6 + 1) < 0.85, 6)[: strokes.shape[1]]
    area = plate[top : top + high, left:right]
    area[strokes[: area.shape[0], : area.shape[1]]] = ink


def _box(
    frame: Frame,
    rng: np.random.Generator,
    *,
    width: tuple[float, float],
    height: tuple[float, float],
    at_edge: float = 0.0,
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a random box; with probability `at_edge` it touches two sides."""
    box_height = max(8, round(frame.shape[0] * rng.uniform(*height)))
    box_width = max(8, round(frame.shape[1] * rng.uniform(*width)))
    down, across = rng.random(2)
    if rng.random() < at_edge:
        down, across = round(down), round(across)
    top = int(down * (frame.shape[0] - box_height))
    left = int(across * (frame.shape[1] - box_width))
    return top, top + box_height, left, left + box_width


def _backdrop(frame: Frame, rng: np.random.Generator) -> Frame:
    """What fills a border: black, one colour, soft noise, or the frame itself blurred (as phone clips have it)."""
    kind = rng.random()
    if kind < 0.3:
        return np.zeros_like(frame)
    if kind < 0.6:
        return np.full_like(frame, rng.integers(0, 256, size=3))
    if kind < 0.8:
        return _smooth_noise(frame.shape[0], frame.shape[1], rng, cells=int(rng.integers(2, 9)))
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 12), dtype=np.uint8)


def _smooth_noise(height: int, width: int, rng: np.random.Generator, *, cells: int) -> Frame:
    coarse = rng.integers(0, 256, size=(cells, cells, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _resized(frame: Frame, width: int, height: int) -> Frame:
    shrinking = width * height < frame.shape[0] * frame.shape[1]
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (width, height), interpolation=how), dtype=np.uint8)
