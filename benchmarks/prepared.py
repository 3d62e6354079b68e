"""Extract the features of a dataset into a cache, and write its items with their features to a folder.

As a command it runs with the Python of any checkout: OTHER/.venv/bin/python benchmarks/prepared.py --items FOLDER ..
"""

import argparse
from pathlib import Path

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the images and their features."""
    parser.add_argument("--data-root", type=Path, help="holds CUB_200_2011; default: generated images")
    parser.add_argument("--backbone", help="as in study/run.py")
    parser.add_argument("--weights", help="as in study/run.py")


def study_flags(arguments: argparse.Namespace, generated: Path, cache_dir: Path) -> list[str]:
    """Return the flags of study/run.py for the images and features.

    Args:
        arguments: The parsed flags of `add_data_flags`.
        generated: Where images are drawn if no data are given.
        cache_dir: The cache of the features.
    """
    dataset, data_root = ("demo", generated) if arguments.data_root is None else ("cub", arguments.data_root.absolute())
    flags = ["--dataset", dataset, "--data-root", str(data_root), "--cache-dir", str(cache_dir)]
    if arguments.backbone:
        flags += ["--backbone", arguments.backbone]
    if arguments.weights:
        is_file = Path(arguments.weights).expanduser().is_file()
        flags += ["--weights", str(Path(arguments.weights).expanduser().absolute()) if is_file else arguments.weights]
    return flags


def prepare_items(flags: list[str], folder: Path) -> None:
    """Extract the features that a study with these flags uses, and write the items.

    Args:
        flags: What `study_flags` returned.
        folder: Receives features.npy and labels.npz.
    """
    from study.config.study_config import StudyConfig
    from study.trials.preparation import Preparation, prepare_dataset

    given = dict(zip(flags[::2], flags[1::2], strict=True))
    config = StudyConfig(
        datasets=(given["--dataset"],),
        data_root=Path(given["--data-root"]),
        cache_dir=Path(given["--cache-dir"]),
        output=folder / "unused",
        backbone=given.get("--backbone"),
        weights=given.get("--weights"),
    )
    (plan,) = config.plans
    prepared = prepare_dataset(
        Preparation(
            dataset=plan.dataset,
            data_root=config.data_root,
            cache_dir=config.cache_dir,
            features=plan.features,
            options=plan.options,
        )
    )
    save_items(prepared.featured, folder)


def save_items(items: FeaturedItems, folder: Path) -> None:
    """Write items with their features to features.npy and labels.npz in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "features.npy", items.features)
    np.savez(
        folder / "labels.npz",
        classes=items.classes,
        attributes=items.attributes,
        certain=items.certain,
        attribute_names=np.array(items.attribute_names, dtype=str),
        **{split.value: places for split, places in items.splits.items()},
    )


def load_items(folder: Path) -> FeaturedItems:
    """Read the items that `save_items` wrote."""
    with np.load(folder / "labels.npz") as labels:
        return FeaturedItems(
            features=np.load(folder / "features.npy"),
            classes=labels["classes"],
            attributes=labels["attributes"],
            certain=labels["certain"],
            attribute_names=tuple(labels["attribute_names"].tolist()),
            splits={split: labels[split.value] for split in Split if split.value in labels},
        )


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--items", type=Path, required=True, help="folder that receives the items")
    known, rest = command.parse_known_args()
    prepare_items(rest, known.items)
