"""Pictures that nobody filmed: a game that does not exist, and an advert for a drink that does not either.

Both are the same in every run. The game is for the question what the bot says about a game that its network was
never shown: every bundled clip is of a game that the starter model was trained on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from demo.footage import film_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from demo.footage import RgbPicture

_WIDTH_PX, _HEIGHT_PX = 640, 360
_FPS = 15

_GAME_S = 20
_ADVERT_S = 8

_TEXT = cv2.FONT_HERSHEY_SIMPLEX


def game_film() -> bytes:
    """20 s of "Lantern Moth": steer a moth through a night garden, gather pollen, dodge the bats. 360p."""
    return film_of(_game(), width_px=_WIDTH_PX, height_px=_HEIGHT_PX, fps=_FPS)


def advert_film(width_px: int, height_px: int) -> bytes:
    """8 s of advert, unlike any game: a bright card with a bottle on it."""
    pictures = (_resized(picture, width_px, height_px) for picture in _advert())
    return film_of(pictures, width_px=width_px, height_px=height_px, fps=_FPS)


def _resized(picture: RgbPicture, width_px: int, height_px: int) -> RgbPicture:
    if picture.shape[:2] == (height_px, width_px):
        return picture
    return np.asarray(cv2.resize(picture, (width_px, height_px)), dtype=np.uint8)


# The game: a top-down garden that scrolls diagonally under a camera which follows the moth.

_GARDEN_PX = 1600
_TILE_PX = 40


def _game() -> Iterator[RgbPicture]:
    random = np.random.default_rng(2203)
    garden = _garden(random)
    pollen = random.uniform(0, _GARDEN_PX, (140, 2))
    bats = random.uniform(0, _GARDEN_PX, (26, 2))
    bat_phase = random.uniform(0, math.tau, 26)
    score, hearts = 4120, 3
    trail: list[tuple[float, float]] = []
    light = _lantern_light()
    for index in range(_GAME_S * _FPS):
        at_s = index / _FPS
        moth = (
            _GARDEN_PX / 2 + 560 * math.sin(at_s * 0.37) + 40 * math.sin(at_s * 2.3),
            _GARDEN_PX / 2 + 520 * math.cos(at_s * 0.29 + 1.0) + 30 * math.cos(at_s * 3.1),
        )
        trail = [*trail[-9:], moth]
        near = np.hypot(pollen[:, 0] - moth[0], pollen[:, 1] - moth[1]) < 60
        score += 35 * int(near.sum())
        pollen = pollen[~near]
        left, top = round(moth[0] - _WIDTH_PX / 2), round(moth[1] - _HEIGHT_PX / 2)
        view = np.ascontiguousarray(
            np.take(
                np.take(garden, range(top, top + _HEIGHT_PX), axis=0, mode="wrap"),
                range(left, left + _WIDTH_PX),
                axis=1,
                mode="wrap",
            )
        )
        for x, y in pollen - (left, top):
            glow = 3 + round(2 * math.sin(at_s * 5 + x))
            cv2.circle(view, (round(x), round(y)), glow + 3, (190, 150, 40), -1, cv2.LINE_AA)
            cv2.circle(view, (round(x), round(y)), glow, (255, 236, 150), -1, cv2.LINE_AA)
        view = np.asarray(view * light, dtype=np.uint8)
        for (x, y), phase in zip(bats - (left, top), bat_phase, strict=True):
            _draw_bat(view, x + 70 * math.sin(at_s * 1.3 + phase), y + 46 * math.cos(at_s * 1.7 + phase), at_s)
        for age, (x, y) in enumerate(trail):
            cv2.circle(view, (round(x - left), round(y - top)), 1 + age // 3, (120, 215, 235), -1, cv2.LINE_AA)
        _draw_moth(view, at_s)
        _draw_hud(view, score=score, hearts=hearts, at_s=at_s)
        yield view


def _garden(random: np.random.Generator) -> RgbPicture:
    garden = np.zeros((_GARDEN_PX, _GARDEN_PX, 3), dtype=np.uint8)
    for y in range(0, _GARDEN_PX, _TILE_PX):
        for x in range(0, _GARDEN_PX, _TILE_PX):
            shade = int(random.integers(-10, 11))
            path = (x // _TILE_PX) % 9 == 4 or (y // _TILE_PX) % 11 == 5
            color = (132 + shade, 112 + shade, 128 + shade) if path else (44, 96 + shade, 74 + shade // 2)
            cv2.rectangle(garden, (x, y), (x + _TILE_PX - 1, y + _TILE_PX - 1), color, -1)
            if path:
                cv2.rectangle(garden, (x, y), (x + _TILE_PX - 1, y + _TILE_PX - 1), (96, 80, 98), 2)
            else:
                for _ in range(5):
                    dx, dy = (int(offset) for offset in random.integers(4, _TILE_PX - 4, 2))
                    cv2.line(garden, (x + dx, y + dy), (x + dx + 2, y + dy - 6), (76, 148, 88), 1, cv2.LINE_AA)
    for _ in range(170):
        x, y = (int(place) for place in random.integers(20, _GARDEN_PX - 20, 2))
        petals = tuple(int(value) for value in random.choice([(214, 92, 150), (238, 160, 70), (150, 110, 220)]))
        for turn in range(6):
            angle = turn * math.tau / 6
            center = (round(x + 8 * math.cos(angle)), round(y + 8 * math.sin(angle)))
            cv2.circle(garden, center, 6, petals, -1, cv2.LINE_AA)
        cv2.circle(garden, (x, y), 5, (250, 226, 120), -1, cv2.LINE_AA)
    for _ in range(60):
        x, y = (int(place) for place in random.integers(40, _GARDEN_PX - 40, 2))
        radius = int(random.integers(20, 36))
        cv2.circle(garden, (x + 5, y + 7), radius, (16, 34, 34), -1, cv2.LINE_AA)
        cv2.circle(garden, (x, y), radius, (30, 74, 62), -1, cv2.LINE_AA)
        cv2.circle(garden, (x - radius // 4, y - radius // 4), radius * 2 // 3, (42, 104, 82), -1, cv2.LINE_AA)
    return garden


def _lantern_light() -> npt.NDArray[np.float32]:
    """How much of each pixel the moth's lantern shows: all around it, a blue third far away."""
    y, x = np.mgrid[0:_HEIGHT_PX, 0:_WIDTH_PX].astype(np.float32)
    distance = np.hypot(x - _WIDTH_PX / 2, (y - _HEIGHT_PX / 2) * 1.2)
    lit = np.clip(1.25 - distance / 300, 0.0, 1.0)[..., np.newaxis]
    night = np.array([0.30, 0.36, 0.52], dtype=np.float32)
    return np.asarray(night + (1 - night) * lit, dtype=np.float32)


def _draw_bat(view: RgbPicture, x: float, y: float, at_s: float) -> None:
    flap = 9 * math.sin(at_s * 14 + x * 0.05)
    wings = [(-20, -flap), (-9, -4), (0, 2), (9, -4), (20, -flap), (10, 7), (0, 11), (-10, 7)]
    outline = np.array([(round(x + dx), round(y + dy)) for dx, dy in wings], dtype=np.int32)
    cv2.fillPoly(view, [outline], (58, 26, 66), cv2.LINE_AA)
    cv2.polylines(view, [outline], isClosed=True, color=(150, 60, 120), thickness=1, lineType=cv2.LINE_AA)
    for side in (-3, 3):
        cv2.circle(view, (round(x + side), round(y + 1)), 1, (255, 80, 60), -1)


def _draw_moth(view: RgbPicture, at_s: float) -> None:
    x, y = _WIDTH_PX // 2, _HEIGHT_PX // 2
    beat = 0.55 + 0.45 * abs(math.sin(at_s * 9))
    for side in (-1, 1):
        for dy, size, color in ((-6, 17, (236, 226, 205)), (9, 12, (206, 176, 140))):
            center = (round(x + side * 13 * beat), y + dy)
            cv2.ellipse(view, center, (round(size * beat), size - 3), side * 25, 0, 360, color, -1, cv2.LINE_AA)
            cv2.circle(view, center, 4, (120, 74, 60), -1, cv2.LINE_AA)
    cv2.ellipse(view, (x, y), (5, 16), 0, 0, 360, (92, 66, 52), -1, cv2.LINE_AA)
    cv2.circle(view, (x, y + 20), 7, (255, 214, 110), -1, cv2.LINE_AA)
    cv2.circle(view, (x, y + 20), 7, (130, 84, 30), 2, cv2.LINE_AA)


def _draw_hud(view: RgbPicture, *, score: int, hearts: int, at_s: float) -> None:
    cv2.rectangle(view, (0, 0), (_WIDTH_PX, 30), (24, 16, 40), -1)
    cv2.line(view, (0, 30), (_WIDTH_PX, 30), (230, 180, 90), 2)
    cv2.putText(view, f"POLLEN {score:06d}", (12, 21), _TEXT, 0.55, (255, 226, 140), 2, cv2.LINE_AA)
    cv2.putText(view, "GARDEN 3-2", (270, 21), _TEXT, 0.55, (220, 220, 240), 1, cv2.LINE_AA)
    for heart in range(5):
        color = (235, 70, 96) if heart < hearts else (80, 60, 84)
        x = 520 + heart * 22
        cv2.circle(view, (x - 4, 13), 5, color, -1, cv2.LINE_AA)
        cv2.circle(view, (x + 4, 13), 5, color, -1, cv2.LINE_AA)
        cv2.fillPoly(view, [np.array([(x - 9, 15), (x + 9, 15), (x, 25)], dtype=np.int32)], color, cv2.LINE_AA)
    oil = 1 - (at_s / _GAME_S) * 0.8
    cv2.rectangle(view, (14, 334), (164, 348), (24, 16, 40), -1)
    cv2.rectangle(view, (16, 336), (16 + round(146 * oil), 346), (255, 190, 80), -1)
    cv2.putText(view, "LANTERN", (16, 328), _TEXT, 0.42, (255, 226, 140), 1, cv2.LINE_AA)


# The advert


def _advert() -> Iterator[RgbPicture]:
    for index in range(_ADVERT_S * _FPS):
        at_s = index / _FPS
        card = np.full((_HEIGHT_PX, _WIDTH_PX, 3), (255, 244, 214), dtype=np.uint8)
        for ray in range(0, 24, 2):
            start = ray * 15 + at_s * 12
            cv2.ellipse(card, (470, 190), (700, 700), 0, start, start + 15, (255, 222, 160), -1)
        bob = round(8 * math.sin(at_s * 2.5))
        cv2.rectangle(card, (430, 110 + bob), (510, 310 + bob), (210, 40, 50), -1)
        cv2.rectangle(card, (452, 60 + bob), (488, 112 + bob), (210, 40, 50), -1)
        cv2.rectangle(card, (448, 48 + bob), (492, 62 + bob), (250, 250, 250), -1)
        cv2.rectangle(card, (430, 175 + bob), (510, 245 + bob), (255, 255, 255), -1)
        cv2.putText(card, "FIZZO", (436, 218 + bob), _TEXT, 0.75, (210, 40, 50), 2, cv2.LINE_AA)
        cv2.putText(card, "Thirsty?", (40, 130), _TEXT, 2.0, (120, 20, 30), 5, cv2.LINE_AA)
        cv2.putText(card, "Drink FIZZO.", (40, 210), _TEXT, 1.6, (200, 40, 50), 4, cv2.LINE_AA)
        cv2.putText(card, "now with more of everything", (44, 255), _TEXT, 0.7, (90, 60, 50), 1, cv2.LINE_AA)
        cv2.rectangle(card, (12, 12), (150, 38), (40, 40, 40), -1)
        cv2.putText(card, f"Advert 0:{_ADVERT_S - int(at_s):02d}", (20, 31), _TEXT, 0.6, (255, 255, 255), 1)
        yield card
