"""The picture of an explained pair: both images, and the contribution of each condition to the score.

matplotlib is used without its global state and without a display.
"""

import textwrap
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from pan_model.scoring.explanation import ConditionShare, Explanation, Reading, short_number

NUM_CONDITIONS, NUM_READINGS = 6, 5
"""The most conditions and readings that are drawn."""

WIDTH = 9.0
IMAGES_HEIGHT = 3.3
ROW_HEIGHT = 0.52
"""Inches: of the picture, of the two images with their captions, and of one condition."""

MARGIN = 0.45
HEADING = 0.45
NOTE_HEIGHT, BAR_HEIGHT = 0.2, 0.16

LABELLED, UNSUPERVISED, REST, TRACK, TEXT, QUIET = "#0b6e8f", "#c26a1b", "#8a8f98", "#eceef1", "#1c2128", "#59636e"
CHARACTERS = 84
"""The most characters of a line of names."""


def draw_explanation(
    images: tuple[Image.Image, Image.Image],
    captions: tuple[str, str],
    explanation: Explanation,
    *,
    title: str = "",
    readings: Sequence[Reading] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw two images side by side, and below them the conditions with the largest contributions.

    Args:
        images: The two images.
        captions: Their names.
        explanation: The score of the pair, condition by condition.
        title: What stands above the score.
        readings: What labelled conditions read that contribute next to nothing.
        notes: What a reader should know, one sentence each.
    """
    shown = explanation.top(NUM_CONDITIONS)
    readings = readings[:NUM_READINGS]
    lines = [line for note in notes for line in textwrap.wrap(note, 112, subsequent_indent="   ")]
    titles = textwrap.wrap(title, 80)
    num_rest = len(explanation.conditions) - len(shown)
    height = IMAGES_HEIGHT + HEADING + ROW_HEIGHT * (len(shown) + (num_rest > 0)) + 1.2 * MARGIN
    height += (HEADING + 0.25 + ROW_HEIGHT * len(readings)) if readings else 0
    height += NOTE_HEIGHT * len(lines) + 0.72 * HEADING * len(titles)
    page = _Page(height)
    for line in titles:
        page.text(line, size=12, colour=QUIET)
    page.text(f"score p = {short_number(explanation.score)}", size=15, weight="bold")
    page.images(images, captions)
    page.text(
        "p is the sum over all conditions of relevance x similarity (blue: labelled, orange: unsupervised conditions)",
        size=10,
        colour=QUIET,
    )
    scale = max([explanation.score, 1e-9])
    for condition in shown:
        page.bar(
            *_describe(condition), condition.contribution / scale, LABELLED if condition.labelled else UNSUPERVISED
        )
    if num_rest > 0:
        rest = explanation.rest(NUM_CONDITIONS)
        page.bar(f"all others ({num_rest})", short_number(rest), rest / scale, REST)
    if readings:
        page.text("what the labelled conditions read on this pair", size=11, weight="bold", gap=0.25)
        for reading in readings:
            page.bar(reading.text, f"{reading.value:.2f}", reading.value, REST)
    for line in lines:
        page.note(line)
    return page.figure


def png_of(figure: Figure, *, dots_per_inch: int = 110) -> bytes:
    """Return a figure as the content of a PNG file."""
    content = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(content, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return content.getvalue()


def _describe(condition: ConditionShare) -> tuple[str, str]:
    factors = f"{short_number(condition.relevance)} x {short_number(condition.similarity)}"
    return condition.display, f"{factors} = {short_number(condition.contribution)}"


class _Page:
    """A figure that is filled from the top, in inches."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), facecolor="white")
        self._height = height
        self._top = MARGIN * 0.8

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        place = (left / WIDTH, 1 - (top + height) / self._height, width / WIDTH, height / self._height)
        axes = self.figure.add_axes(place)
        axes.axis("off")
        return axes

    def _write(self, x: float, top: float, text: str, **style: Any) -> None:
        self.figure.text(x / WIDTH, 1 - top / self._height, text, va="top", parse_math=False, **style)

    def text(self, text: str, *, size: float, colour: str = TEXT, weight: str = "normal", gap: float = 0.0) -> None:
        self._top += gap
        self._write(MARGIN, self._top, text, fontsize=size, color=colour, fontweight=weight)
        self._top += HEADING * (1.0 if size > 12 else 0.72)

    def images(self, images: tuple[Image.Image, Image.Image], captions: tuple[str, str]) -> None:
        half = (WIDTH - 2 * MARGIN - 0.3) / 2
        height = IMAGES_HEIGHT - HEADING - 0.45
        for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
            left = MARGIN + number * (half + 0.3)
            axes = self._axes(left, self._top, half, height)
            axes.imshow(np.asarray(image.convert("RGB")), interpolation="lanczos")
            axes.set_anchor("W")
            self._write(
                left,
                self._top + height + 0.08,
                caption if len(caption) <= 50 else f"…{caption[-49:].lstrip('.')}",
                fontsize=9,
                color=QUIET,
            )
        self._top += height + 0.45

    def bar(self, name: str, numbers: str, share: float, colour: str) -> None:
        """Add a row: a name with numbers at the right, and below it a bar of a share in 0..1."""
        self._write(MARGIN, self._top, _shorten(name, CHARACTERS), fontsize=9.5, color=TEXT)
        self._write(WIDTH - MARGIN, self._top, numbers, fontsize=9.5, color=QUIET, ha="right")
        self._rectangle(self._top + 0.2, 1.0, TRACK)
        self._rectangle(self._top + 0.2, min(max(share, 0.0), 1.0), colour)
        self._top += ROW_HEIGHT

    def _rectangle(self, top: float, share: float, colour: str) -> None:
        """Add a bar; without axes of its own, which take time."""
        height = BAR_HEIGHT / self._height
        corner = (MARGIN / WIDTH, 1 - top / self._height - height)
        width = share * (WIDTH - 2 * MARGIN) / WIDTH
        bar = Rectangle(corner, width, height, facecolor=colour, transform=self.figure.transFigure)
        self.figure.add_artist(bar)

    def note(self, line: str) -> None:
        self._write(MARGIN, self._top, line, fontsize=8.5, color=QUIET)
        self._top += NOTE_HEIGHT


def _shorten(text: str, most: int) -> str:
    """Shorten a text in its middle, since names differ at their ends.

    >>> _shorten("has_upper_tail_color::buff", 11)
    'has_u…:buff'
    """
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
