"""A contact sheet has a cell for each image, whatever the image and its name."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.page.contact_sheet import COLUMNS, MAX_IMAGES, SheetImage, draw_sheet


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A wide image under a name that is mathematics, and of glyphs that most fonts lack."""
    path = tmp_path / "$x_1$ 鳥 𓅓.png"
    Image.new("RGB", (300, 100), (255, 0, 0)).save(path)
    return path


def reds(sheet: Path, column: int, columns: int) -> float:
    """The share of red in the first row of a column of a sheet."""
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    width = pixels.shape[1] // columns
    cell = pixels[:300, column * width : (column + 1) * width].astype(int)
    return float(((cell[..., 0] > 200) & (cell[..., 1] < 60) & (cell[..., 2] < 60)).mean())


def test_images_stand_side_by_side_and_missing_ones_are_said(red: Path, tmp_path: Path):
    (tmp_path / "text.png").write_text("no image")
    images = [
        SheetImage(path=path, lines=("1: score 0.5", f"birds/{'long' * 20}/{path.name}", "XNOR(a::b) 0.25 " * 9))
        for path in (red, tmp_path / "gone.png", tmp_path / "text.png", red)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_sheet(images, tmp_path / "sheet.png")
    shares = [reds(tmp_path / "sheet.png", column, 4) for column in range(4)]
    assert [share > 0.1 for share in shares] == [True, False, False, True]


def test_a_large_sheet_is_bounded(red: Path, tmp_path: Path):
    draw_sheet([SheetImage(path=red, lines=("a",))] * (MAX_IMAGES + 30), tmp_path / "sheet.png")
    draw_sheet([SheetImage(path=red, lines=("a",))] * (COLUMNS + 1), tmp_path / "small.png")
    with Image.open(tmp_path / "sheet.png") as large, Image.open(tmp_path / "small.png") as small:
        assert large.height / small.height == pytest.approx(-(-MAX_IMAGES // COLUMNS) / 2, rel=0.01)
        assert large.width == small.width
