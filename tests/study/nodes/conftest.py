"""Items to draw, and a file server that runs in the test's own process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pan_model.data.items import Items
from study.nodes.file_server import FileServer


@pytest.fixture
def local_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A FileServer that is called as an actor is, but runs in this process, without Ray."""
    monkeypatch.setattr("ray.get", lambda result: result)
    server = FileServer()
    methods = ("read_files", "size_of", "read_chunk", "abort", "aborted")
    return SimpleNamespace(**{name: SimpleNamespace(remote=getattr(server, name)) for name in methods})


@pytest.fixture
def draw_items(tmp_path: Path) -> Callable[..., Items]:
    """Draw images of noise in a folder, by default the test's own; items are named 0.png, 1.png and so on."""

    def draw(num_items: int, folder: Path = tmp_path) -> Items:
        root = folder / "images"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        generator = np.random.default_rng(0)
        for number in range(num_items):
            Image.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(root / f"{number}.png")
        return Items(
            image_root=root,
            image_names=tuple(f"{number}.png" for number in range(num_items)),
            classes=np.zeros(num_items, dtype=np.int64),
            class_names=("only",),
            attributes=np.zeros((num_items, 1), dtype=bool),
            certainty=np.zeros((num_items, 1), dtype=np.uint8),
            attribute_names=("none",),
        )

    return draw
