"""A contact sheet: an image and those that were found for it, with lines of text under each, as a PNG file."""

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pan_model.images.colours import to_rgb

COLUMNS = 6
MAX_IMAGES = 51
"""The query and 50 others; a larger sheet is hard to open."""

CELL_INCHES = (2.4, 3.1)
IMAGE_SHARE = 0.72
"""The share of a cell's height that the image takes; text takes the rest."""

DPI = 120
THUMBNAIL_PX = 256
LINE_WIDTH = 36
"""Characters in a line of text."""

QUERY_COLOUR = "#0b5cad"


@dataclass(frozen=True, kw_only=True)
class SheetImage:
    """An image on a sheet.

    Attributes:
        path: The file. If it cannot be read, the sheet says so in its place.
        lines: The lines under the image; long ones are wrapped, then shortened.
    """

    path: Path
    lines: tuple[str, ...]


def draw_sheet(images: Sequence[SheetImage], path: Path) -> None:
    """Draw the query, the first of the images, and the others beside it.

    Args:
        images: The query and the images found, at most MAX_IMAGES; later ones are left out.
        path: The PNG file to write.
    """
    images = images[:MAX_IMAGES]
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    width, height = CELL_INCHES
    figure = Figure(figsize=(columns * width, rows * height), dpi=DPI, facecolor="white")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        left, bottom = (column + 0.04) / columns, 1 - (row + IMAGE_SHARE) / rows
        axes: Any = figure.add_axes((left, bottom, 0.92 / columns, (IMAGE_SHARE - 0.03) / rows))
        _draw_image(axes, image.path, is_query=place == 0)
        _write_lines(axes, image.lines)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names of files in any script
        figure.savefig(path, format="png")


def _draw_image(axes: Any, path: Path, *, is_query: bool) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_edgecolor(QUERY_COLOUR if is_query else "#cccccc")
        spine.set_linewidth(3 if is_query else 0.8)
    pixels = _thumbnail(path)
    if isinstance(pixels, str):
        axes.text(0.5, 0.5, pixels, ha="center", va="center", color="#555555", fontsize=8, transform=axes.transAxes)
        return
    height, width = pixels.shape[:2]
    margin = (max(height, width) - width) / 2, (max(height, width) - height) / 2
    axes.imshow(pixels, interpolation="lanczos")
    axes.set_xlim(-0.5 - margin[0], width - 0.5 + margin[0])
    axes.set_ylim(height - 0.5 + margin[1], -0.5 - margin[1])
    axes.set_aspect("equal", adjustable="box")
    axes.set_anchor("S")


def _thumbnail(path: Path) -> np.ndarray | str:
    """Return the pixels of a small version of an image, or why there is none."""
    try:
        with Image.open(path) as image:
            small = to_rgb(image)
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        return np.asarray(small)
    except FileNotFoundError:
        return "the image is not there"
    except Exception:  # PIL's decoders raise errors of many types on damaged files
        return "the image cannot be read"


def _write_lines(axes: Any, lines: Sequence[str]) -> None:
    wrapped = [part for line in lines for part in _wrapped(line)]
    axes.text(0, -0.03, "\n".join(wrapped), ha="left", va="top", fontsize=7, transform=axes.transAxes, parse_math=False)


def _wrapped(line: str) -> list[str]:
    """Wrap a line into at most two; a long path after its last folder.

    >>> _wrapped("birds/001.Black_footed_Albatross/Black_Footed_Albatross_0001.jpg")
    ['birds/001.Black_footed_Albatross/', 'Black_Footed_Albatross_0001.jpg']
    """
    folder, slash, name = line.rpartition("/")
    if slash and len(line) > LINE_WIDTH:
        return [_shortened(f"{folder}/"), _shortened(name)]
    parts = textwrap.wrap(line, LINE_WIDTH, break_on_hyphens=False) or [""]
    return parts if len(parts) <= 2 else [parts[0], f"{parts[1][: LINE_WIDTH - 1]}…"]


def _shortened(text: str) -> str:
    """Leave out the middle of a long text."""
    half = LINE_WIDTH // 2
    return text if len(text) <= LINE_WIDTH else f"{text[: half - 1]}…{text[-half:]}"
