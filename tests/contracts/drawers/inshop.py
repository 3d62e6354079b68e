"""In-Shop's layout: products of one colour each, one query product without an image in the gallery."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LEFT_OUT = {"item without images": 1}
NUM_TRAIN, NUM_TEST, IMAGES = 30, 10, 4
ATTRIBUTES = ("red", "green", "blue")


def draw(folder: Path) -> None:
    generator = np.random.default_rng(0)
    rows: list[str] = []
    labels: list[str] = []
    for number in range(NUM_TRAIN + NUM_TEST):
        product = f"id_{number:08d}"
        colour = generator.integers(60, 256, 3)
        labels.append(f"{product} " + " ".join("1" if value > 150 else "-1" for value in colour))
        for image in range(IMAGES):
            part = "train" if number < NUM_TRAIN else ("query", "gallery")[image % 2]
            if number == NUM_TRAIN and part == "gallery":
                continue  # nobody can find this one
            name = f"WOMEN/Tees/{product}/{image:02d}.jpg"
            _draw_image(folder / "img" / name, colour, generator)
            rows.append(f"img/{name} {product} {part}")
    labels.append("id_99999999 1 1 0")
    _write(folder / "Eval" / "list_eval_partition.txt", "image_name item_id evaluation_status", rows)
    _write(folder / "Anno" / "list_attr_cloth.txt", "attribute_name", ATTRIBUTES)
    _write(folder / "Anno" / "list_attr_items.txt", "item_id attribute_labels", labels)


def _draw_image(path: Path, colour: np.ndarray, generator: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = colour * generator.uniform(0.5, 1, (32, 32, 1))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _write(path: Path, header: str, rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([str(len(rows)), header, *rows, ""]), encoding="utf-8")
