"""The overlays of the test: what streamers put over a game, drawn by other code than training ever sees.

`augment.py` pastes rough boxes to train on. This module draws what the figure "with overlays" is measured on, so that
the figure says how the network copes with overlays and not how well it remembers its own augmentation. Shares no
drawing with it, and nothing of it is used in training or in choosing a threshold.

Each stream gets one layout, as a real broadcaster has one: drawn from the stream's name and a fixed seed.

* Webcam, on 4 of 5 streams: 22 to 32 % of the width, 4:3 or 16:9, flush in a corner or a little off it; a lit
  room with shelf and lamp, a person with a headset who moves from frame to frame, camera noise, often a border.
* Chat, on 3 of 5 streams: 20 to 28 % of the width, 45 to 85 % of the height, at the left or right edge;
  rendered text of coloured names and white words which scrolls from frame to frame, on a plate of 35 to 100 % opacity.
* Alert, on 2 of 5 frames of every stream: 30 to 50 % of the width, 14 to 24 % of the height, at the top or in
  the middle; a picture and two lines of large text, on a plate of 60 to 100 % opacity or none.

A layout with neither webcam nor chat gets a webcam, so no frame goes without. `covered_share` says what share
of a picture changed: the mean over a data set is printed with the figure.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""uint8[height, width, 3], RGB."""

_SEED = 20261121
_NAMES = ("kestrel_", "n0va", "Mirabel", "oldtoad", "ppheart", "Quill77", "sandwich_lord", "tuesdays", "vex", "Ysolde")
_WORDS = (
    "lol",
    "GG",
    "no way",
    "what a play",
    "hello chat",
    "first",
    "clip it",
    "KEKW",
    "nice",
    "how??",
    "new pc?",
    "wp",
    "run",
)
_THANKS = ("NEW FOLLOWER", "SUBSCRIBED x7", "RAID OF 212", "100 BITS", "GIFTED 5 SUBS", "DONATED 20")


def with_overlays(frame: Frame, *, stream: str, index: int) -> Frame:
    """`frame` as it would look on the channel of `stream`; the same arguments always give the same picture.

    Args:
        frame: uint8[height, width, 3], RGB.
        stream: name of the stream; decides the layout.
        index: number of the frame in its stream; decides what moves.
    """
    layout = np.random.default_rng([_SEED, _number(stream)])
    moment = np.random.default_rng([_SEED, _number(stream), index])
    webcam, chat = layout.random() < 0.8, layout.random() < 0.6
    canvas = frame.copy()
    if chat:
        _draw_chat(canvas, layout, index)
    if webcam or not chat:
        _draw_webcam(canvas, layout, moment)
    if moment.random() < 0.4:
        _draw_alert(canvas, layout, moment)
    return canvas


def covered_share(frame: Frame, overlaid: Frame) -> float:
    """Share of the pixels that an overlay changed, 0 to 1."""
    return float((frame != overlaid).any(axis=2).mean())


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big")


def _colour(rng: np.random.Generator, darkest: int = 0, brightest: int = 255) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(darkest, brightest + 1, size=3))
    return red, green, blue


def _draw_webcam(canvas: Frame, layout: np.random.Generator, moment: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    wide = round(width * layout.uniform(0.22, 0.32))
    high = round(wide * (0.75 if layout.random() < 0.5 else 0.5625))
    margin = 0 if layout.random() < 0.6 else int(layout.integers(2, 9))
    top = margin if layout.random() < 0.4 else height - high - margin
    left = margin if layout.random() < 0.5 else width - wide - margin
    light = np.array(_colour(layout, 40, 220), dtype=np.float64)
    down = np.linspace(1.0, layout.uniform(0.25, 0.8), high)[:, None, None]
    across = np.linspace(layout.uniform(0.5, 1.0), 1.0, wide)[None, :, None]
    room = np.ascontiguousarray((light * down * across).astype(np.uint8))
    for shelf in range(int(layout.integers(1, 4))):
        line = int(high * (0.15 + 0.2 * shelf))
        cv2.line(room, (0, line), (wide, line), _colour(layout, 20, 120), 1)
        for book in range(2, wide - 3, 5):
            if layout.random() < 0.5:
                cv2.rectangle(
                    room, (book, line - int(layout.integers(3, 9))), (book + 3, line - 1), _colour(layout), -1
                )
    lamp = (int(wide * layout.uniform(0.05, 0.95)), int(high * layout.uniform(0.1, 0.4)))
    cv2.circle(room, lamp, max(2, high // 10), _colour(layout, 180, 255), -1)
    sway = (moment.normal(0, 0.02) * wide, moment.normal(0, 0.02) * high)
    middle, eyes = int(wide * layout.uniform(0.4, 0.6) + sway[0]), int(high * layout.uniform(0.4, 0.5) + sway[1])
    head = max(3, int(high * layout.uniform(0.17, 0.24)))
    tone = layout.uniform(0.4, 1.0)
    skin = (int(235 * tone), int(185 * tone), int(155 * tone))
    cv2.rectangle(room, (middle - 2 * head, eyes + head), (middle + 2 * head, high), _colour(layout), -1)
    cv2.rectangle(room, (middle - head // 3, eyes), (middle + head // 3, eyes + int(1.4 * head)), skin, -1)
    cv2.ellipse(room, (middle, eyes - head // 3), (int(head * 0.95), head), 0, 0, 360, _colour(layout, 0, 130), -1)
    cv2.ellipse(room, (middle, eyes), (int(head * 0.75), head), 0, 0, 360, skin, -1)
    for side in (-1, 1):
        cv2.circle(room, (middle + side * head // 3, eyes - head // 5), 1, (20, 20, 20), -1)
        cv2.circle(room, (middle + side * int(head * 0.85), eyes), max(1, head // 4), (30, 30, 34), -1)
    cv2.line(room, (middle - head // 4, eyes + head // 2), (middle + head // 4, eyes + head // 2), (120, 40, 40), 1)
    noisy = np.clip(room.astype(np.float64) + moment.normal(0, 6, size=room.shape), 0, 255)
    canvas[top : top + high, left : left + wide] = cv2.GaussianBlur(noisy.astype(np.uint8), (3, 3), 0)
    if layout.random() < 0.5:
        cv2.rectangle(
            canvas, (left, top), (left + wide - 1, top + high - 1), _colour(layout), int(layout.integers(1, 4))
        )


def _draw_chat(canvas: Frame, layout: np.random.Generator, scrolled: int) -> None:
    height, width = canvas.shape[:2]
    wide, high = round(width * layout.uniform(0.20, 0.28)), round(height * layout.uniform(0.45, 0.85))
    top = int(layout.uniform(0, height - high))
    left = 0 if layout.random() < 0.5 else width - wide
    plate = canvas[top : top + high, left : left + wide]
    opacity = float(layout.uniform(0.35, 1.0))
    ground = np.array(_colour(layout, 10, 60) if layout.random() < 0.8 else (240, 240, 245), dtype=np.float64)
    bright = ground.mean() > 128
    plate[:] = (plate * (1.0 - opacity) + ground * opacity).astype(np.uint8)
    line_height = int(layout.integers(9, 14))
    size = line_height / 36
    messages = np.random.default_rng([_SEED, int(layout.integers(1 << 30))])
    lines = [
        (str(messages.choice(_NAMES)), str(messages.choice(_WORDS)), _colour(messages, 80, 255)) for _ in range(64)
    ]
    for row in range(high // line_height):
        name, words, ink = lines[(row + scrolled) % len(lines)]
        base = (row + 1) * line_height - 3
        cv2.putText(plate, name, (3, base), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
        (name_wide, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        ink = (20, 20, 20) if bright else (235, 235, 235)
        cv2.putText(plate, words, (6 + name_wide, base), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)


def _draw_alert(canvas: Frame, layout: np.random.Generator, moment: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    wide, high = round(width * layout.uniform(0.30, 0.50)), round(height * layout.uniform(0.14, 0.24))
    left = (width - wide) // 2 if layout.random() < 0.7 else int(layout.uniform(0, width - wide))
    top = int(height * (0.03 if layout.random() < 0.6 else 0.38))
    plate = canvas[top : top + high, left : left + wide]
    opacity = float(layout.uniform(0.6, 1.0)) if layout.random() < 0.8 else 0.0
    plate[:] = (plate * (1.0 - opacity) + np.array(_colour(layout), dtype=np.float64) * opacity).astype(np.uint8)
    badge = high // 3
    star = np.array(
        [
            (badge + 4 + reach * np.sin(turn), high / 2 - reach * np.cos(turn))
            for turn, reach in ((k * np.pi / 5, badge if k % 2 == 0 else badge * 0.45) for k in range(10))
        ],
        dtype=np.int32,
    )
    cv2.fillPoly(plate, [star], _colour(layout, 120, 255))
    ink = _colour(layout, 200, 255)
    for row, words in enumerate((str(moment.choice(_THANKS)), str(moment.choice(_NAMES)))):
        base = int(high * (0.45 + 0.4 * row))
        cv2.putText(plate, words, (2 * badge + 10, base), cv2.FONT_HERSHEY_TRIPLEX, 0.36, (0, 0, 0), 2, cv2.LINE_AA)
        cv2.putText(plate, words, (2 * badge + 10, base), cv2.FONT_HERSHEY_TRIPLEX, 0.36, ink, 1, cv2.LINE_AA)
