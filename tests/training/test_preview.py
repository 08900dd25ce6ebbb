from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import DataSetError, TrainingError
from core.frames import encode_jpeg
from training.__main__ import app
from training.pipeline.augment import AugmentConfig
from training.preview import changes, contact_sheet, preview, tiles

if TYPE_CHECKING:
    from pathlib import Path

GAME = np.random.default_rng(3).integers(40, 255, size=(180, 320, 3)).astype(np.uint8)
PILLARBOXED = GAME.copy()
PILLARBOXED[:, :40] = PILLARBOXED[:, 280:] = 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "shot.jpg"
    path.write_bytes(encode_jpeg(GAME))
    return path


def test_every_change_is_shown_by_itself_under_its_name_and_then_whole_views() -> None:
    drawn = tiles(PILLARBOXED, config=AugmentConfig(), seed=0, draws=2, views=3)

    names = [tile.name for tile in drawn]
    assert names[0] == "as it is"
    assert len(names) == 1 + 2 * len(changes()) + 3
    assert {"webcam pasted", "chat pasted", "compressed", "black borders trimmed", "recoloured"} <= set(names)
    assert {"mirrored (off)", "rotated (off)"} <= set(names)
    assert names[-3:] == ["whole view 1", "whole view 2", "whole view 3"]
    for tile in drawn[1 : 1 + 2 * len(changes())]:
        assert (tile.picture != PILLARBOXED).any(), tile.name


def test_a_single_change_leaves_the_rest_of_the_picture_alone() -> None:
    webcam = next(tile for tile in tiles(GAME, config=AugmentConfig(), seed=1) if tile.name == "webcam pasted")

    changed = (webcam.picture != GAME).any(axis=2).mean()
    assert 0 < changed < 0.25


def test_a_change_that_finds_nothing_to_change_says_so_once() -> None:
    names = [tile.name for tile in tiles(GAME, config=AugmentConfig(), seed=0)]

    assert names.count("black borders trimmed (nothing to change)") == 1
    assert "black borders trimmed" not in names


def test_the_same_seed_gives_the_same_sheet_and_another_gives_another() -> None:
    first, again, other = (
        contact_sheet(tiles(GAME, config=AugmentConfig(), seed=seed, draws=1, views=1)) for seed in (4, 4, 5)
    )
    assert first == again
    assert first != other


def test_the_pixels_of_a_tile_are_pixels_of_the_sheet() -> None:
    sheet = contact_sheet(tiles(GAME, config=AugmentConfig(), seed=0, draws=1, views=1))

    pixels = (matplotlib.image.imread(io.BytesIO(sheet))[..., :3] * 255).round().astype(np.uint8)
    assert (pixels[8:188, 8:328] == GAME).all()


def test_a_person_gets_the_sheet_and_may_draw_it_again(image: Path, tmp_path: Path) -> None:
    for _ in range(2):
        ended = CliRunner().invoke(app, ["preview", str(image), "--out", str(tmp_path / "sheet.png")])
        assert (ended.exit_code, ended.output) == (0, f"{tmp_path / 'sheet.png'}: 30 pictures\n")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"shot.jpg", "sheet.png"}


def test_bad_input_is_one_sentence(image: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(image.read_bytes()[:2000])
    for given, out, sentence in (
        ("nowhere.jpg", "sheet.png", "cannot be read: no such file"),
        ("text.jpg", "sheet.png", "cannot be used: it is no picture"),
        ("cut.jpg", "sheet.png", "cannot be used: it was cut short"),
        ("shot.jpg", "sheet.jpg", "ends in .png instead of sheet.jpg"),
        ("shot.jpg", "missing/sheet.png", "cannot be written"),
    ):
        with pytest.raises(DataSetError, match=sentence):
            preview(tmp_path / given, out=tmp_path / out, config=AugmentConfig(), seed=0)
    assert not list(tmp_path.glob("*.png"))


def test_a_preset_that_changes_nothing_has_nothing_to_show(image: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to preview"):
        preview(image, out=tmp_path / "sheet.png", config=None, seed=0)
