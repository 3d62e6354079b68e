"""The layout of Polyvore Outfits: items of three categories and four colours, outfits of one colour."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHARES_ITEMS = "in the nondisjoint version an item can be in outfits of several splits"
LEFT_OUT = {"item of no outfit": 1}

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "black": (20, 20, 20)}
CATEGORIES = ("bag", "coat", "shoe")
NUM_ITEMS = 96
NUM_OUTFITS = {"train": 60, "valid": 20, "test": 20}


def draw(folder: Path) -> None:
    generator = np.random.default_rng(0)
    items = [(name, number % 3) for number in range(NUM_ITEMS) for name in [list(COLOURS)[number // 3 % 4]]]
    (folder / "images").mkdir(parents=True)
    for number, (colour, _) in enumerate(items):
        pixels = np.array(COLOURS[colour]) + generator.integers(-15, 16, (32, 32, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{number}.jpg")
    described = {
        str(number): {"category_id": str(category), "title": f"{colour} {CATEGORIES[category]}", "url_name": ""}
        for number, (colour, category) in enumerate([*items, ("red", 0)])
    }
    _write(folder / "polyvore_item_metadata.json", {key: {**one, "description": ""} for key, one in described.items()})
    rest = set(range(NUM_ITEMS))
    for split, number in NUM_OUTFITS.items():
        outfits = [_dress(items, generator) for _ in range(number)]
        if split == "train":
            outfits += [[one, (one + 12) % NUM_ITEMS] for one in sorted(rest - {item for o in outfits for item in o})]
        _write_outfits(folder / "nondisjoint", split, outfits)


def _dress(items: list[tuple[str, int]], generator: np.random.Generator) -> list[int]:
    """One item of each category, all of a colour."""
    colour = generator.choice(list(COLOURS))
    return [int(generator.choice([n for n, one in enumerate(items) if one == (colour, c)])) for c in range(3)]


def _write_outfits(folder: Path, split: str, outfits: list[list[int]]) -> None:
    listed = [
        {"set_id": f"{split}{number}", "items": [{"item_id": str(item), "index": at} for at, item in enumerate(one, 1)]}
        for number, one in enumerate(outfits)
    ]
    _write(folder / f"{split}.json", listed)
    if split == "train":
        return
    blank = {
        "question": [f"{split}0_1", f"{split}0_2"],
        "answers": [f"{split}1_3", f"{split}0_3", f"{split}2_3", f"{split}3_3"],
        "blank_position": 3,
    }
    _write(folder / f"fill_in_blank_{split}.json", [blank])
    lines = [f"1 {split}0_1 {split}0_2 {split}0_3", f"0 {split}0_1 {split}1_2 {split}2_3"]
    (folder / f"compatibility_{split}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
