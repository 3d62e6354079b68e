"""How much memory do training and evaluation need beyond the features, at the published dataset sizes?

Run `.venv/bin/python benchmarks/memory.py`; it takes some minutes and 5 GB. Features are noise of 2048 dimensions. Each
line is measured in its own process: peak memory minus memory after the features were created. The memory of a training
step or of a batch of questions does not grow with the number of items; only a few numbers per item and outfit do.
In-Shop has as many queries as one scoring batch.
"""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfits
from pan_model.data.splits import Role, Roles, Split
from pan_model.tasks.outfits import OutfitTask
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer

DIM = 2048
NUM_OUTFITS = {Split.TRAIN: 53306, Split.VAL: 5000, Split.TEST: 10000}
NUM_ITEMS, NUM_CATEGORIES, NUM_WORDS = 251008, 153, 206
GALLERY, NUM_QUERIES, NUM_PRODUCTS = 12612, 332, 3985
MODEL = {"supervision": "supervised", "gate": "OR", "lambda": 10.0, "max_epochs": 1, "seed": 0, "pairs": "fresh"}
MODEL |= {"learning_rate": 1e-3, "pairs_per_epoch": 16384, "steps_per_epoch": 1}


def status_mb(key: str) -> float:
    """Return a value of /proc/self/status in MB (10^6 bytes)."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1.024e-3 for line in text.splitlines() if line.startswith(key))


def noise(num_items: int) -> np.ndarray:
    """Return features of noise."""
    return np.random.default_rng(0).standard_normal((num_items, DIM), dtype=np.float32)


def polyvore() -> OutfitTask:
    """Return a task of the size of Polyvore Outfits, with random outfits."""
    generator = np.random.default_rng(1)
    splits = np.array_split(generator.permutation(NUM_ITEMS), np.cumsum([204679, 25132]))
    outfits = {
        split: tuple(
            tuple(np.unique(generator.choice(items, generator.integers(4, 10))).tolist())
            for _ in range(NUM_OUTFITS[split])
        )
        for split, items in zip(NUM_OUTFITS, splits, strict=True)
    }
    categories = generator.integers(NUM_CATEGORIES, size=NUM_ITEMS)
    words = generator.random((NUM_ITEMS, NUM_WORDS)) < 0.02
    relations = Outfits(
        outfits=outfits,
        set_ids={split: tuple(map(str, range(len(of_split)))) for split, of_split in outfits.items()},
        categories=categories,
        category_names=tuple(map(str, range(NUM_CATEGORIES))),
    )
    return OutfitTask(
        FeaturedItems(
            features=noise(NUM_ITEMS),
            classes=categories,
            attributes=words,
            certain=np.ones_like(words),
            attribute_names=tuple(map(str, range(NUM_WORDS))),
            splits={split: relations.items_of(split) for split in outfits},
            relations=relations,
        ),
        seed=0,
    )


def gallery_of_inshop() -> RetrievalTask:
    """Return In-Shop's whole gallery with few training images and as many queries as one scoring batch has."""
    num_train, num_items = 2000, 2000 + NUM_QUERIES + GALLERY
    classes = np.concatenate([np.arange(num_train) % 400, 400 + np.arange(NUM_QUERIES + GALLERY) % NUM_PRODUCTS])
    roles = np.repeat(np.array([Role.TRAIN, Role.QUERY, Role.GALLERY], np.uint8), [num_train, NUM_QUERIES, GALLERY])
    attributes = np.random.default_rng(1).random((num_items, 32)) < 0.1
    train = np.arange(num_train)
    return RetrievalTask(
        FeaturedItems(
            features=noise(num_items),
            classes=classes,
            attributes=attributes,
            certain=np.ones_like(attributes),
            attribute_names=tuple(map(str, range(32))),
            splits={
                Split.TRAIN: train[classes[train] % 5 > 0],
                Split.VAL: train[classes[train] % 5 == 0],
                Split.TEST: np.arange(num_train, num_items),
            },
            relations=Roles(roles=roles),
        ),
        seed=0,
    )


def train(task: Task, trial: dict[str, Any]) -> None:
    """Fit the normalisation, train for an epoch and evaluate on val."""
    trainer = Trainer(task, TrialConfig.from_flat(MODEL | trial), torch.device("cpu"))
    trainer.train_epoch()
    trainer.evaluate(Split.VAL)


def search_gallery(task: Task, trial: dict[str, Any]) -> None:
    """Evaluate an untrained model on test, which searches the whole gallery."""
    Trainer(task, TrialConfig.from_flat(MODEL | trial), torch.device("cpu")).evaluate(Split.TEST)


Work = Callable[[Task, dict[str, Any]], None]
CASES: dict[str, tuple[Callable[[], Task], Work, dict[str, Any]]] = {
    "Polyvore, standardise": (polyvore, train, {"encoder": "siamese", "num_conditions": 206}),
    "Polyvore, whiten": (
        polyvore,
        train,
        {"encoder": "siamese", "num_conditions": 206, "normalisation": "whiten", "whitening_shrinkage": 0.5},
    ),
    "In-Shop, 332 queries": (gallery_of_inshop, search_gallery, {"encoder": "siamese", "num_conditions": 16}),
}


def measure(name: str) -> None:
    """Run a case in this process and print its peak memory."""
    torch.set_num_threads(1)
    make, work, trial = CASES[name]
    task = make()
    before = status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # reset the peak
    start = time.perf_counter()
    work(task, trial)
    features, peak = task.featured.features.nbytes / 1e6, status_mb("VmHWM") - before
    seconds = time.perf_counter() - start
    print(f"{name}: features {features:.0f} MB, peak {peak:.0f} MB above them; {seconds:.0f} s", flush=True)


def main() -> None:
    """Measure every case in its own process."""
    for name in CASES:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
