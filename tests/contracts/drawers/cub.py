"""CUB's layout, with a row for a file that macOS left beside an image."""

from pathlib import Path

from pan_model.data.demo import DemoConfig, draw_demo

LEFT_OUT = {"file name starts with ._": 1}


def draw(folder: Path) -> None:
    draw_demo(folder, DemoConfig(num_classes=20, images_per_class=8, image_size=32, seed=1))
    with (folder / "images.txt").open("a", encoding="utf-8") as images:
        images.write("161 999.Nothing/._a.png\n")
    with (folder / "image_class_labels.txt").open("a", encoding="utf-8") as labels:
        labels.write("161 21\n")
