"""The demo, smaller."""

from pathlib import Path

from pan_model.data.demo import DemoConfig, draw_demo


def draw(folder: Path) -> None:
    draw_demo(folder, DemoConfig(num_classes=20, images_per_class=8, image_size=32))
