"""When do attribute labels help? Few-shot accuracy on val by gate, lambda, number of labels and training classes.

Prints a Markdown table. For each setting of two recipes it shows the accuracy of the best epoch, averaged over seeds,
and the lead over the same recipe without labels (mean, smallest and largest over seeds). It needs a dataset with
attributes in CUB's layout:

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
from pan_model.datasets import ReaderOptions, find_dataset
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

Setting = dict[str, Any]

PAPER: Setting = {"pairs": "fixed", "steps_per_epoch": 1, "max_epochs": 30}
"""The recipe of PAN's reference code: standardised features, |h1 - h2|, Xavier, full batch, mean of pair scores."""

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

NUM_EVALUATIONS = 5
"""Evaluations on val per run, of which the best counts."""


def labelled(supervision: str, gate: str, lambda_: float, num_conditions: int) -> Setting:
    """Return the parameters of a setting with labels."""
    return {"supervision": supervision, "gate": gate, "lambda": lambda_, "num_conditions": num_conditions}


def settings(quick: bool) -> Iterator[tuple[str, Setting, int | None, Setting]]:
    """Yield a recipe's name, the recipe, the number of training classes (None: all) and the setting.

    The setting without labels comes first in each group.
    """
    for name, recipe, hybrid_lambda in (("paper", PAPER, 1.0), ("metric", METRIC, 0.1)):
        unlabelled: Setting = {"supervision": "unsupervised", "num_conditions": 104}
        yield name, recipe, None, unlabelled
        for lambda_ in (1e-3, 1e-1, 1.0, 10.0):
            for supervision in ("supervised", "hybrid"):
                yield name, recipe, None, labelled(supervision, "XNOR", lambda_, 104)
        for gate in ("AND", "OR", "XOR", "NOR", "NAND", "AND_XOR"):
            yield name, recipe, None, labelled("hybrid", gate, hybrid_lambda, 104)
        if quick:
            continue
        for num_conditions in (20, 208):
            yield name, recipe, None, unlabelled | {"num_conditions": num_conditions}
            yield name, recipe, None, labelled("hybrid", "XNOR", hybrid_lambda, num_conditions)
        yield name, recipe, 8, unlabelled
        for lambda_ in (1e-1, 1.0):
            yield name, recipe, 8, labelled("hybrid", "XNOR", lambda_, 104)


def accuracy(featured: FeaturedItems, setting: Setting, num_classes: int | None, seed: int) -> float:
    """Train with a setting and return the best accuracy on val."""
    config = TrialConfig.from_flat({"encoder": "siamese", **setting, "seed": seed})
    task = FewShotTask(with_classes(featured, num_classes, seed), seed=0)
    trainer = Trainer(task, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    epochs = config.train.max_epochs
    evaluated = {round(epochs * (number + 1) / NUM_EVALUATIONS) for number in range(NUM_EVALUATIONS)}
    best = 0.0
    for epoch in range(1, epochs + 1):
        trainer.train_epoch()
        if epoch in evaluated:
            best = max(best, float(trainer.evaluate(Split.VAL).means()[task.objective.name]))
    return best


def with_classes(featured: FeaturedItems, num_classes: int | None, seed: int) -> FeaturedItems:
    """Return the items with a random subset of the training classes."""
    if num_classes is None:
        return featured
    items = featured.splits[Split.TRAIN]
    classes = featured.classes[items]
    kept = np.random.default_rng(seed).choice(np.unique(classes), num_classes, replace=False)
    return replace(featured, splits={**featured.splits, Split.TRAIN: items[np.isin(classes, kept)]})


def read_features(arguments: argparse.Namespace) -> FeaturedItems:
    """Return the dataset's items with their features."""
    row = find_dataset("cub")
    items = row.read(arguments.data_root / row.folder, ReaderOptions())
    config = FeaturesConfig(backbone=arguments.backbone, weights=arguments.weights, image_size=row.image_size)
    features = extract_features(items, fingerprint(items), config, arguments.cache_dir)
    return FeaturedItems.join(items, features.values, row.split(items))


def main() -> None:
    """Measure every setting and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--cache-dir", type=Path, default=Path("~/.cache/pan-study").expanduser())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="vary lambda and gate only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    featured = read_features(arguments)
    print("| recipe | classes | supervision | M | gate | lambda | accuracy | lead over no labels [smallest, largest] |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    baseline: list[float] = []
    for name, recipe, num_classes, setting in settings(arguments.quick):
        values = [accuracy(featured, recipe | setting, num_classes, seed) for seed in range(arguments.seeds)]
        if setting["supervision"] == "unsupervised":
            baseline = values
        ahead = np.array(values) - np.array(baseline)
        lead = "" if values is baseline else f"{ahead.mean():+.4f} [{ahead.min():+.4f}, {ahead.max():+.4f}]"
        shown = (setting["supervision"], setting["num_conditions"], setting.get("gate", ""), setting.get("lambda", ""))
        cells = (name, num_classes or "all", *shown, f"{np.mean(values):.4f}", lead)
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
