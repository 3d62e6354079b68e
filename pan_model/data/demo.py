"""The demo dataset: drawn images of coloured shapes with planted attributes, in the layout of CUB."""

import math
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pan_model.data.cub import read_cub
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.files import atomic_folder
from pan_model.shapes import Float, UInt8

CLASS_FACTORS = {
    "shape": ("circle", "square", "triangle", "cross"),
    "colour": ("red", "yellow", "green", "blue"),
    "pattern": ("plain", "striped", "dotted"),
    "border": ("no", "yes"),
}
"""Factors shared by all images of a class. A class is one combination of their values."""

IMAGE_FACTORS = {"background": ("dark", "light"), "size": ("small", "large")}
"""Factors that vary between the images of a class."""

_ATTRIBUTES = tuple((factor, value) for factor, values in (CLASS_FACTORS | IMAGE_FACTORS).items() for value in values)

_CERTAINTIES = ("not visible", "guessing", "probably", "definitely")
_HUES = {"red": 0.0, "yellow": 60.0, "green": 125.0, "blue": 225.0}  # degrees
_CORNERS = {"square": 4, "triangle": 3}
_OVERSAMPLING = 2  # images are drawn larger by this factor, then reduced, for smooth edges

Looks = dict[str, str]
"""The value of each factor: class factors for a class, all factors for an image."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The size of the demo and the quality of its labels.

    Attributes:
        num_classes: Number of classes, from 8 to the number of combinations of class factors.
        images_per_class: Number of images of each class.
        image_size: Side of the square images, px.
        missing_fraction: Fraction of the label rows that are not written.
        uncertain_fraction: Fraction of the label rows that have a low certainty and may be wrong.
        seed: The random seed.
    """

    num_classes: int = 40
    images_per_class: int = 24
    image_size: int = 64
    missing_fraction: float = 0.05
    uncertain_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        most = math.prod(map(len, CLASS_FACTORS.values()))
        if not 8 <= self.num_classes <= most:
            raise UserError(f"num_classes must lie in 8..{most}, got {self.num_classes}.")
        if self.images_per_class < 1:
            raise UserError(f"images_per_class must be at least 1, got {self.images_per_class}.")
        if self.image_size < 16:
            raise UserError(f"image_size must be at least 16, got {self.image_size}.")
        if self.seed < 0:
            raise UserError(f"seed must be at least 0, got {self.seed}.")
        missing, uncertain = self.missing_fraction, self.uncertain_fraction
        if not (missing >= 0 and uncertain >= 0 and missing + uncertain <= 1):  # written so that NaN is rejected
            raise UserError(
                "missing_fraction and uncertain_fraction must be at least 0 and together at most 1, "
                f"got {missing} and {uncertain}."
            )


def read_demo(folder: Path) -> Items:
    """Read the demo in `folder`, and draw it first if the folder does not exist."""
    if not folder.exists():
        with suppress(FileExistsError):  # another process has drawn the same demo in the meantime
            draw_demo(folder)
    return read_cub(folder)


def draw_demo(folder: Path, config: DemoConfig = DemoConfig()) -> None:
    """Draw the demo into a new folder, which appears complete or not at all.

    The same configuration always draws the same bytes.

    Raises:
        FileExistsError: The folder exists.
        UserError: The folder cannot be written.
    """
    if folder.exists():
        raise FileExistsError(f"{folder}: already there; remove it to draw it again.")
    try:
        with atomic_folder(folder) as temporary:
            _write_demo(temporary, config)
    except OSError as error:
        if folder.exists():
            raise FileExistsError(f"{folder}: drawn by another run in the meantime.") from error
        raise UserError(f"{folder}: the demo cannot be drawn here ({error}); choose another folder.") from error


def _write_demo(folder: Path, config: DemoConfig) -> None:
    class_names: list[str] = []
    image_names: list[str] = []
    label_rows: list[str] = []
    for k, shared in enumerate(_choose_classes(config)):
        class_names.append(f"{k + 1:03d}.{_name_class(shared)}")
        (folder / "images" / class_names[k]).mkdir(parents=True)
        for i in range(config.images_per_class):
            rng = np.random.default_rng((config.seed, k, i))  # every image is independent of the others
            looks = shared | {factor: str(rng.choice(values)) for factor, values in IMAGE_FACTORS.items()}
            image_names.append(f"{class_names[k]}/{_name_class(shared)}_{i + 1:04d}.png")
            label_rows += _label_rows(len(image_names), looks, config, rng)
            _draw(looks, config.image_size, rng).save(folder / "images" / image_names[-1], compress_level=1)
    _write_lists(folder, class_names, image_names, config)
    _write_lines(folder / "attributes" / "image_attribute_labels.txt", label_rows)


def _write_lists(folder: Path, class_names: list[str], image_names: list[str], config: DemoConfig) -> None:
    """Write all lists except the labels."""
    (folder / "attributes").mkdir()
    each = config.images_per_class
    _write_lines(folder / "classes.txt", _numbered(class_names))
    _write_lines(folder / "images.txt", _numbered(image_names))
    _write_lines(folder / "image_class_labels.txt", _numbered(n // each + 1 for n in range(len(image_names))))
    _write_lines(folder / "train_test_split.txt", _numbered(int(n % each < each / 2) for n in range(len(image_names))))
    _write_lines(
        folder / "attributes" / "attributes.txt", _numbered(f"has_{factor}::{value}" for factor, value in _ATTRIBUTES)
    )
    _write_lines(folder / "attributes" / "certainties.txt", _numbered(_CERTAINTIES))


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _numbered(values: Iterable[object]) -> Iterable[str]:
    return (f"{number} {value}" for number, value in enumerate(values, start=1))


def _choose_classes(config: DemoConfig) -> list[Looks]:
    """Choose the combination of factors of each class: the first in seeded order whose values its split has used least.

    The few-shot splits depend on the class index modulo 4. This choice shows every value in each split.
    """
    combinations = [dict(zip(CLASS_FACTORS, values, strict=True)) for values in product(*CLASS_FACTORS.values())]
    np.random.default_rng(config.seed).shuffle(combinations)
    used = [Counter[tuple[str, str]]() for _ in range(4)]
    used[2] = used[0]  # both remainders are in train
    chosen: list[Looks] = []
    for k in range(config.num_classes):
        counts = used[k % 4]
        chosen.append(min(combinations, key=lambda looks: sum(counts[value] for value in looks.items())))
        combinations.remove(chosen[-1])
        counts.update(chosen[-1].items())
    return chosen


def _name_class(shared: Looks) -> str:
    """Name a class by its values.

    >>> _name_class({"shape": "circle", "colour": "red", "pattern": "striped", "border": "yes"})
    'Red_circle_striped_bordered'
    """
    bordered = "_bordered" if shared["border"] == "yes" else ""
    return f"{shared['colour'].capitalize()}_{shared['shape']}_{shared['pattern']}{bordered}"


def _label_rows(image: int, looks: Looks, config: DemoConfig, rng: np.random.Generator) -> list[str]:
    """Return the label rows of an image: most true and certain, some uncertain (half of them random), some missing."""
    num = len(_ATTRIBUTES)
    present = np.array([looks[factor] == value for factor, value in _ATTRIBUTES])
    draw, seconds = rng.random(num), rng.uniform(0.5, 9.0, num)
    written = draw >= config.missing_fraction
    uncertain = draw < config.missing_fraction + config.uncertain_fraction
    certainty = np.where(uncertain, rng.integers(1, 3, num), 3 + (rng.random(num) < 0.75))
    present = np.where(uncertain & (rng.random(num) < 0.5), rng.random(num) < 0.5, present)
    return [
        f"{image} {a + 1} {present[a]:d} {certainty[a]} {seconds[a]:.3f}" for a in map(int, np.flatnonzero(written))
    ]


def _draw(looks: Looks, image_size: int, rng: np.random.Generator) -> Image.Image:
    """Draw the shape with its pattern and border on its background, then add noise."""
    side = image_size * _OVERSAMPLING
    dark = looks["background"] == "dark"
    backdrop = _colour(rng.uniform(0, 360), 0.1, rng.uniform(0.2, 0.35) if dark else rng.uniform(0.55, 0.7))
    hue = _HUES[looks["colour"]] + rng.normal(0, 9)
    fill, stroke = _colour(hue, rng.uniform(0.65, 0.95), rng.uniform(0.65, 0.95)), _colour(hue, 0.9, 0.3)
    outline = _outline(looks, side, rng)
    surface = Image.new("RGB", (side, side), fill)
    surface.paste(stroke, mask=Image.fromarray(_pattern(looks["pattern"], side, rng)))
    image = Image.new("RGB", (side, side), backdrop)
    image.paste(surface, mask=_fill(outline, side))
    if looks["border"] == "yes":
        edge = (235, 235, 235) if dark else (20, 20, 20)
        ImageDraw.Draw(image).line([*outline, *outline[:2]], fill=edge, width=side // 24, joint="curve")
    pixels = np.asarray(image.reduce(_OVERSAMPLING), dtype=np.float64)
    noisy = pixels + rng.normal(0, rng.uniform(2, 12), pixels.shape)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """Convert HSV to RGB: hue in degrees, saturation and value in 0..1.

    >>> _colour(0.0, 1.0, 1.0), _colour(120.0, 0.5, 1.0)
    ((255, 0, 0), (128, 255, 128))
    """
    distance = [abs((hue - peak + 180) % 360 - 180) for peak in (0, 120, 240)]
    level = [min(max(2 - far / 60, 0.0), 1.0) for far in distance]
    red, green, blue = (round(255 * value * (1 - saturation * (1 - x))) for x in level)
    return red, green, blue


def _outline(looks: Looks, side: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return the corners of a shape of random size, position and orientation, in px."""
    radius = side * (rng.uniform(0.28, 0.33) if looks["size"] == "small" else rng.uniform(0.36, 0.42))
    centre = side / 2 + rng.uniform(-1, 1, size=2) * (side / 2 - radius) * 0.5
    corners = _unit_corners(looks["shape"])
    turn = math.radians(rng.uniform(-20, 20))
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return [(float(x), float(y)) for x, y in corners @ rotation.T * radius + centre]


def _unit_corners(shape: str) -> Float[np.ndarray, "V 2"]:
    """Return the corners of a shape around the origin, at most about 1 unit from it."""
    if shape == "cross":
        quarter = np.array([(0.35, 0.35), (0.35, 1.0), (-0.35, 1.0)])
        turns = [np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), power) for power in range(4)]
        return np.concatenate([quarter @ turn.T for turn in turns])
    number = _CORNERS.get(shape, 64)  # a polygon of 64 corners looks round
    angles = 2 * np.pi * np.arange(number) / number + (np.pi / 4 if shape == "square" else -np.pi / 2)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _fill(outline: list[tuple[float, float]], side: int) -> Image.Image:
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    return mask


def _pattern(pattern: str, side: int, rng: np.random.Generator) -> UInt8[np.ndarray, "S S"]:
    """Return the mask (0 or 255) of the dark parts of a pattern of random orientation, width and offset."""
    turn, period, shift = rng.uniform(-0.4, 0.4), side * rng.uniform(0.14, 0.18), rng.uniform(0, 1)
    if pattern == "plain":
        return np.zeros((side, side), dtype=np.uint8)
    x = np.arange(side) / period + shift
    y = x[:, None]
    across = (x * math.cos(turn) + y * math.sin(turn)) % 1
    if pattern == "striped":
        return np.where(across < 0.45, np.uint8(255), np.uint8(0))
    along = (y * math.cos(turn) - x * math.sin(turn)) % 1
    return np.where((across - 0.5) ** 2 + (along - 0.5) ** 2 < 0.3**2, np.uint8(255), np.uint8(0))
