"""When labels help: few-shot accuracy on val of two recipes, by gate, lambda, number of labels and training classes.

Prints a Markdown table: for each setting the mean over seeds of the best epoch's accuracy, and how far it is ahead of
the same recipe without labels, seed by seed (mean, smallest, largest). Needs a dataset with attributes in CUB's layout:

    .venv/bin/python benchmarks/attributes.py --data-root DATA --backbone mobilenet_v2 --weights FILE --seeds 3
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pan_model.backbones.config import FeaturesConfig
from pan_model.backbones.features import extract_features
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.fingerprint import fingerprint
from pan_model.data.splits import Split
from pan_model.datasets import find_dataset
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

Setting = dict[str, Any]

PAPER: Setting = {"pairs": "fixed", "steps_per_epoch": 1, "max_epochs": 30}
"""The reference code's recipe: standardised features, |h1 - h2|, Xavier, full batch, mean of pair scores."""

METRIC: Setting = {
    "projection": "residual",
    "normalisation": "whiten",
    "whitening_shrinkage": 0.8,
    "feature_power": 0.5,
    "joint": "product",
    "first_weights": "distance",
    "scoring": "support_mean",
    "pairs": "balanced",
    "classes_per_step": 16,
    "images_per_class": 4,
    "steps_per_epoch": 4,
    "learning_rate": 1e-4,
    "max_epochs": 10,
}
"""The recipe that starts as nearest class mean on whitened features."""

LOOKS = 5
"""How often val is looked at in a run; the best counts."""


def labelled(supervision: str, gate: str, lambda_: float, num_conditions: int) -> Setting:
    """The keys of a setting with labels."""
    return {"supervision": supervision, "gate": gate, "lambda": lambda_, "num_conditions": num_conditions}


def settings(quick: bool) -> Iterator[tuple[str, Setting, int | None, Setting]]:
    """A recipe's name, the recipe, training classes (None for all), what is set; in each group no labels come first."""
    for name, recipe, hybrid_lambda in (("paper", PAPER, 1.0), ("metric", METRIC, 0.1)):
        free: Setting = {"supervision": "unsupervised", "num_conditions": 104}
        yield name, recipe, None, free
        for lambda_ in (1e-3, 1e-1, 1.0, 10.0):
            for supervision in ("supervised", "hybrid"):
                yield name, recipe, None, labelled(supervision, "XNOR", lambda_, 104)
        for gate in ("AND", "OR", "XOR", "NOR", "NAND", "AND_XOR"):
            yield name, recipe, None, labelled("hybrid", gate, hybrid_lambda, 104)
        if quick:
            continue
        for num_conditions in (20, 208):
            yield name, recipe, None, free | {"num_conditions": num_conditions}
            yield name, recipe, None, labelled("hybrid", "XNOR", hybrid_lambda, num_conditions)
        yield name, recipe, 8, free
        for lambda_ in (1e-1, 1.0):
            yield name, recipe, 8, labelled("hybrid", "XNOR", lambda_, 104)


def accuracy(featured: FeaturedItems, setting: Setting, num_classes: int | None, seed: int) -> float:
    """The best of a few looks at val."""
    config = TrialConfig.from_flat({"encoder": "siamese", **setting, "seed": seed})
    task = FewShotTask(with_classes(featured, num_classes, seed), seed=0)
    trainer = Trainer(task, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    epochs = config.train.max_epochs
    looks = {round(epochs * (look + 1) / LOOKS) for look in range(LOOKS)}
    best = 0.0
    for epoch in range(1, epochs + 1):
        trainer.train_epoch()
        if epoch in looks:
            best = max(best, float(trainer.evaluate(Split.VAL).means()[task.objective.name]))
    return best


def with_classes(featured: FeaturedItems, num_classes: int | None, seed: int) -> FeaturedItems:
    """The same items, with some of the training classes only."""
    if num_classes is None:
        return featured
    items = featured.splits[Split.TRAIN]
    classes = featured.classes[items]
    kept = np.random.default_rng(seed).choice(np.unique(classes), num_classes, replace=False)
    return replace(featured, splits={**featured.splits, Split.TRAIN: items[np.isin(classes, kept)]})


def read_features(arguments: argparse.Namespace) -> FeaturedItems:
    """The dataset's items with their features."""
    row = find_dataset("cub")
    items = row.read(arguments.data_root / row.folder)
    config = FeaturesConfig(backbone=arguments.backbone, weights=arguments.weights, image_size=row.image_size)
    features = extract_features(items, fingerprint(items), config, arguments.cache_dir)
    return FeaturedItems.join(items, features.values, row.split(items))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--cache-dir", type=Path, default=Path("~/.cache/pan-study").expanduser())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="lambda and gate only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    featured = read_features(arguments)
    print("| recipe | classes | supervision | M | gate | lambda | accuracy | ahead of no labels [least, most] |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    without: list[float] = []
    for name, recipe, num_classes, setting in settings(arguments.quick):
        values = [accuracy(featured, recipe | setting, num_classes, seed) for seed in range(arguments.seeds)]
        if setting["supervision"] == "unsupervised":
            without = values
        ahead = np.array(values) - np.array(without)
        lead = "" if values is without else f"{ahead.mean():+.4f} [{ahead.min():+.4f}, {ahead.max():+.4f}]"
        shown = (setting["supervision"], setting["num_conditions"], setting.get("gate", ""), setting.get("lambda", ""))
        cells = (name, num_classes or "all", *shown, f"{np.mean(values):.4f}", lead)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
