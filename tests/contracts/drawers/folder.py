"""Draws a folder a class, and attributes.csv beside it."""

from pathlib import Path

import numpy as np
from PIL import Image

LEFT_OUT = {"system file, such as .DS_Store": 1, "file that is no image: .txt": 1}


def draw(folder: Path) -> None:
    generator = np.random.default_rng(0)
    rows = ["file,round,red"]
    for number in range(20 * 6):
        name = f"thing{number // 6:02d}/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 60, (32, 32, 3)) + 9 * (number // 6)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        rows.append(f"{name},{','.join(generator.choice(['1', '0', ''], 2))}")
    (folder / ".DS_Store").touch()
    (folder / "notes.txt").touch()
    (folder.parent / "attributes.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
