"""Items with planted attributes and clusters, drawn images, configurations, models, trainers, a server of files."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.items import Items
from pan_model.data.splits import Split
from pan_model.model.conditions import choose_conditions
from pan_model.model.pan import Pan
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer, new_pan

NUM_CLASSES = 24
NUM_ATTRIBUTES = 8
NEVER_CERTAIN = 3
ITEMS_PER_CLASS = (7, 12, 24)
FLAT = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 6,
    "learning_rate": 1e-2,
    "pairs": "fresh",
    "pairs_per_epoch": 256,
    "steps_per_epoch": 4,
    "max_epochs": 4,
    "seed": 0,
}
EVERYTHING = {
    "supervision": "hybrid",
    "gate": "AND_XOR",
    "lambda": 0.5,
    "num_conditions": 9,
    "dropout": 0.3,
    "weight_decay": 0.01,
}
"""Labelled and free conditions, dropout and weight decay at once."""

RECIPE = EVERYTHING | {
    "scoring": "support_mean",
    "normalisation": "whiten",
    "whitening_shrinkage": 0.5,
    "feature_power": 0.5,
    "joint": "product",
    "first_weights": "distance",
    "pairs": "balanced",
    "classes_per_step": 5,
    "images_per_class": 4,
    "positive_weight": 0.3,
    "hard_pair_share": 0.5,
    "schedule": "cosine",
    "start_decay": 2.0,
    "feature_dropout": 0.1,
    "condition_dropout": 0.2,
}
"""All that is not the paper's way at once."""

CASES: dict[str, dict[str, Any]] = {
    "siamese": EVERYTHING,
    "proxynca": EVERYTHING | {"encoder": "proxynca"},
    "recipe": RECIPE | {"projection": "residual"},
    "attributes": RECIPE | {"projection": "attributes", "attribute_share": 0.25},
    "recipe of proxynca": RECIPE | {"encoder": "proxynca"},
}
"""Configurations in which as many parts as possible play a part."""


@pytest.fixture(scope="session")
def planted() -> Callable[..., FeaturedItems]:
    """Make items whose first features are the attributes' bits and whose others are the class's cluster, with noise.

    Every class has its own bits, which one item in eight has differently; one attribute is never certain. The arrays
    are read-only, as those that processes share are; `change` gets them before that.
    """

    def make(seed: int = 0, change: Callable[[dict[str, Any]], None] = lambda _: None) -> FeaturedItems:
        generator = np.random.default_rng(seed)
        classes = np.repeat(np.arange(NUM_CLASSES), np.resize(ITEMS_PER_CLASS, NUM_CLASSES))
        bits = generator.random((NUM_CLASSES, NUM_ATTRIBUTES)) < 0.5
        attributes = bits[classes] ^ (generator.random((len(classes), NUM_ATTRIBUTES)) < 0.125)
        certain = generator.random(attributes.shape) < 0.8
        certain[:, NEVER_CERTAIN] = False
        clusters = generator.normal(size=(NUM_CLASSES, NUM_ATTRIBUTES))[classes]
        features = np.concatenate([2.0 * attributes - 1, clusters], axis=1)
        arrays: dict[str, Any] = {
            "features": (3 + features + 0.25 * generator.normal(size=features.shape)).astype(np.float32),
            "classes": classes,
            "attributes": attributes,
            "certain": certain,
        }
        change(arrays)
        splits = {
            Split.TRAIN: np.flatnonzero(classes % 2 == 0),
            Split.VAL: np.flatnonzero(classes % 4 == 1),
            Split.TEST: np.flatnonzero(classes % 4 == 3),
        }
        for array in [*arrays.values(), *splits.values()]:
            array.flags.writeable = False
        return FeaturedItems(**arrays, attribute_names=tuple(f"a{a}" for a in range(NUM_ATTRIBUTES)), splits=splits)

    return make


@pytest.fixture(scope="session")
def featured(planted: Callable[..., FeaturedItems]) -> FeaturedItems:
    return planted()


@pytest.fixture(scope="session")
def task(featured: FeaturedItems) -> FewShotTask:
    return FewShotTask(featured, seed=0)


@pytest.fixture(scope="session")
def noisy_task(planted: Callable[..., FeaturedItems]) -> FewShotTask:
    """A task on which an untrained metric makes mistakes."""

    def blur(arrays: dict[str, Any]) -> None:
        noise = np.random.default_rng(1).normal(size=arrays["features"].shape)
        arrays["features"] += 1.75 * noise.astype(np.float32)

    return FewShotTask(planted(change=blur), seed=0)


@pytest.fixture(scope="session")
def configure() -> Callable[..., TrialConfig]:
    """Make a configuration from what differs from a small siamese one without labels; `lambda_` stands for lambda."""

    def make(**changes: Any) -> TrialConfig:
        if changes.get("encoder") == "proxynca":
            changes = {"embedding_dim": 8} | changes
        return TrialConfig.from_flat(FLAT | {key.removesuffix("_"): value for key, value in changes.items()})

    return make


@pytest.fixture(scope="session")
def everything() -> dict[str, Any]:
    return EVERYTHING


@pytest.fixture(scope="session", params=CASES)
def case_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def case(case_name: str) -> dict[str, Any]:
    return CASES[case_name]


@pytest.fixture(scope="session")
def recipe() -> dict[str, Any]:
    return CASES["recipe"]


@pytest.fixture(scope="session")
def build(featured: FeaturedItems) -> Callable[[TrialConfig], Pan]:
    """Make a model that is fitted on all items, in evaluation mode."""

    def make(config: TrialConfig) -> Pan:
        conditions = choose_conditions(
            config.conditions, featured.attributes, featured.certain, featured.attribute_names
        )
        model = new_pan(config, conditions, feature_dim=featured.feature_dim, num_classes=NUM_CLASSES).eval()
        model.normalisation.fit(torch.tensor(featured.features), torch.tensor(featured.classes))
        return model

    return make


@pytest.fixture(scope="session")
def run() -> Callable[[Trainer, int], list[EpochRecord]]:
    """Train and evaluate for some epochs; gives what must repeat exactly."""

    def train(trainer: Trainer, num_epochs: int) -> list[EpochRecord]:
        records = [trainer.train_epoch() | trainer.evaluate(Split.VAL).means() for _ in range(num_epochs)]
        return [{key: value for key, value in record.items() if key != "time/train_s"} for record in records]

    return train


@pytest.fixture
def draw_items(tmp_path: Path, draw_items_in: Callable[..., Items]) -> Callable[..., Items]:
    """Draw images into a folder of the test."""
    return partial(draw_items_in, tmp_path / "images")


@pytest.fixture(scope="session")
def draw_items_in() -> Callable[..., Items]:
    """Draw images of noise around each class's colour into a folder; items are named 0.png, 1.png and so on."""

    def draw(
        root: Path, num_items: int, num_classes: int = 1, sizes: Sequence[tuple[int, int]] = ((40, 60), (50, 36))
    ) -> Items:
        root.mkdir()
        generator = np.random.default_rng(0)
        colours = generator.integers(0, 156, (num_classes, 3))
        classes = np.arange(num_items) % num_classes
        for number in range(num_items):
            width, height = sizes[number % len(sizes)]
            pixels = colours[classes[number]] + generator.integers(0, 100, (height, width, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number}.png")
        return Items(
            image_root=root,
            image_names=tuple(f"{number}.png" for number in range(num_items)),
            classes=classes,
            class_names=tuple(f"c{number}" for number in range(num_classes)),
            attributes=np.zeros((num_items, 1), dtype=bool),
            certainty=np.zeros((num_items, 1), dtype=np.uint8),
            attribute_names=("none",),
        )

    return draw


@dataclass
class FileServer:
    """A server on the loopback that hands out one file, in parts too, and can be told to behave badly."""

    url: str = ""
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    ranges: bool = True
    sized: bool = True
    drop_after: list[int] = field(default_factory=list)
    """Bytes of the body after which the line drops, a number for each request."""

    statuses: list[int] = field(default_factory=list)
    """Errors to answer with, one for each request."""

    wrong_start: int = 0
    """Added to the first byte that a partial answer says it has."""

    asked: list[dict[str, str]] = field(default_factory=list)

    def first_byte(self, headers: dict[str, str]) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        same = headers.get("If-Range") in (None, self.headers.get("ETag"), self.headers.get("Last-Modified"))
        return int(found.group(1)) if found and same and self.ranges else 0


@pytest.fixture
def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(dict(self.headers))
            if state.statuses and (status := state.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            start = state.first_byte(dict(self.headers))
            if start >= len(state.content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                said = start + state.wrong_start
                self.send_header("Content-Range", f"bytes {said}-{len(state.content) - 1}/{len(state.content)}")
            for name, value in state.headers.items():
                self.send_header(name, value)
            if state.sized:
                self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            drop = state.drop_after.pop(0) if state.drop_after else len(state.content)
            with suppress(OSError):  # the client may have gone
                self.wfile.write(state.content[start:][:drop])

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_address[1]}/file.tgz"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
