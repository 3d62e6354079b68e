"""The registry of datasets: the folder, reader, split and task of each, and the options of readers."""

import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pan_model.data.cub import read_cub
from pan_model.data.demo import read_demo
from pan_model.data.inshop import read_inshop
from pan_model.data.items import Items
from pan_model.data.polyvore.reader import PolyvoreSplit, polyvore_split, read_polyvore
from pan_model.data.splits import Split, few_shot_split, inshop_split
from pan_model.errors import UserError
from pan_model.shapes import Int

if TYPE_CHECKING:
    from pan_model.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Options of dataset readers. `Dataset.options` names those that a dataset uses.

    Attributes:
        polyvore_split: The version of Polyvore Outfits.
        attribute_words: A file of attribute words, one a line. None mines them from the texts of the training items.
    """

    polyvore_split: PolyvoreSplit = PolyvoreSplit.NONDISJOINT
    attribute_words: Path | None = None

    def to_json(self, names: Collection[str]) -> dict[str, str]:
        """Return the named options as strings. A file is written as its absolute path, and omitted if it is None.

        >>> ReaderOptions().to_json(["polyvore_split", "attribute_words"])
        {'polyvore_split': 'nondisjoint'}
        """
        words = None if self.attribute_words is None else str(self.attribute_words.absolute())
        written = {"polyvore_split": self.polyvore_split.value, "attribute_words": words}
        return {name: value for name, value in written.items() if name in names and value is not None}

    @classmethod
    def from_json(cls, options: Mapping[str, str]) -> "ReaderOptions":
        """Read options written by `to_json`. Missing ones have their defaults."""
        words = options.get("attribute_words")
        return cls(
            polyvore_split=PolyvoreSplit(options.get("polyvore_split", PolyvoreSplit.NONDISJOINT)),
            attribute_words=None if words is None else Path(words),
        )


OPTIONS = tuple(ReaderOptions.__dataclass_fields__)
"""Names of all reader options."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset of the registry.

    Attributes:
        folder: The folder below the data root.
        read: The reader, from the folder and options to items.
        split: The function that divides items into splits.
        task_class: The task, as "module:class".
        options: Names of the reader options that it uses, out of `OPTIONS`.
        drawn: Whether the reader generates the dataset if the folder does not exist.
        backbone: The default backbone of a study.
        weights: The default weights of the backbone.
        image_size: The default image size of a study, px.
    """

    folder: str
    read: Callable[[Path, ReaderOptions], Items]
    split: Callable[[Items], dict[Split, Int[np.ndarray, "_"]]]
    task_class: str
    options: tuple[str, ...] = ()
    drawn: bool = False
    backbone: str = "resnet50"
    weights: str = "imagenet"
    image_size: int = 224

    @property
    def task(self) -> "type[Task]":
        """The task class. It is imported on first use, since it imports torch, which takes seconds."""
        return pkgutil.resolve_name(self.task_class)


def _without_options(read: Callable[[Path], Items]) -> Callable[[Path, ReaderOptions], Items]:
    return lambda folder, _: read(folder)


def _read_polyvore(folder: Path, options: ReaderOptions) -> Items:
    return read_polyvore(folder, version=options.polyvore_split, words=options.attribute_words)


DATASETS: dict[str, Dataset] = {
    "demo": Dataset(
        folder="demo",
        read=_without_options(read_demo),
        split=few_shot_split,
        task_class="pan_model.tasks.few_shot:FewShotTask",
        drawn=True,
        backbone="resnet18",
        weights="random",
        image_size=64,
    ),
    "cub": Dataset(
        folder="CUB_200_2011",
        read=_without_options(read_cub),
        split=few_shot_split,
        task_class="pan_model.tasks.few_shot:FewShotTask",
    ),
    "inshop": Dataset(
        folder="In-shop",
        read=_without_options(read_inshop),
        split=inshop_split,
        task_class="pan_model.tasks.retrieval:RetrievalTask",
    ),
    "polyvore": Dataset(
        folder="polyvore_outfits",
        read=_read_polyvore,
        split=polyvore_split,
        task_class="pan_model.tasks.outfits:OutfitTask",
        options=("polyvore_split", "attribute_words"),
    ),
}


def find_dataset(name: str) -> Dataset:
    """Return a dataset of the registry. Raise UserError if no dataset has this name."""
    if name not in DATASETS:
        raise UserError(f"unknown dataset '{name}'; choose from {', '.join(DATASETS)}.")
    return DATASETS[name]
