"""The datasets that there are: where each lies under the data root, how it is read, split and made a task."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pan_model.data.cub import read_cub
from pan_model.data.demo import read_demo
from pan_model.data.inshop import read_inshop
from pan_model.data.items import Items
from pan_model.data.polyvore.reader import polyvore_split, read_polyvore
from pan_model.data.reader_options import ReaderOptions
from pan_model.data.roles import inshop_split
from pan_model.data.splits import Split, few_shot_split
from pan_model.errors import UserError
from pan_model.shapes import Int

if TYPE_CHECKING:
    from pan_model.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One row of the registry; backbone, weights and image_size are what a study of it takes unless told otherwise.

    options names the reader's options that it heeds, of `pan_model.data.reader_options.OPTIONS`.
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
        """The task class, imported when it is first needed: it brings torch, which takes seconds."""
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
    """Look a dataset up; UserError for one that is not there."""
    if name not in DATASETS:
        raise UserError(f"unknown dataset '{name}'; choose from {', '.join(DATASETS)}.")
    return DATASETS[name]
