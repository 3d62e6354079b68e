"""The registry of datasets: the folder, reader, split and task of each, and the options of readers."""

import os
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pan_model.data.cub import read_cub
from pan_model.data.demo import read_demo
from pan_model.data.folder.placement import PLACES, Place
from pan_model.data.folder.reader import describe_arrangement, has_attributes, read_folder
from pan_model.data.inshop import read_inshop
from pan_model.data.items import Items
from pan_model.data.polyvore.reader import PolyvoreSplit, polyvore_split, read_polyvore
from pan_model.data.splits import (
    CLASS_NEEDS,
    RETRIEVAL_NEED,
    Split,
    TaskName,
    ValQuestions,
    few_shot_split,
    inshop_split,
)
from pan_model.errors import UserError
from pan_model.shapes import Int

if TYPE_CHECKING:
    from pan_model.data.featured_items import FeaturedItems
    from pan_model.tasks.task import Task


TASK_CLASSES = {
    TaskName.FEW_SHOT: "pan_model.tasks.few_shot:FewShotTask",
    TaskName.RETRIEVAL: "pan_model.tasks.retrieval:RetrievalTask",
}
"""The class of each task, as "module:class"."""


@dataclass(frozen=True, kw_only=True)
class ReaderOptions:
    """Options of how a dataset is read and what is asked of it. `Dataset.options` names those that a dataset uses.

    Attributes:
        task: The task; None is the dataset's default.
        polyvore_split: The version of Polyvore Outfits.
        attribute_words: A file of attribute words, one a line. None mines them from the texts of the training items.
        val_questions: Which questions are asked on val.
    """

    task: TaskName | None = None
    polyvore_split: PolyvoreSplit = PolyvoreSplit.NONDISJOINT
    attribute_words: Path | None = None
    val_questions: ValQuestions = ValQuestions.REDUCED

    def to_json(self, names: Collection[str]) -> dict[str, str]:
        """Return the named options as strings. A file is written as its absolute path.

        None is omitted, and so are the full questions on val, which studies before that choice have.

        >>> ReaderOptions().to_json(["polyvore_split", "attribute_words"])
        {'polyvore_split': 'nondisjoint'}
        """
        words = None if self.attribute_words is None else str(self.attribute_words.absolute())
        reduced = None if self.val_questions is ValQuestions.FULL else self.val_questions
        written = {
            "task": self.task,
            "polyvore_split": self.polyvore_split.value,
            "attribute_words": words,
            "val_questions": reduced,
        }
        return {name: str(value) for name, value in written.items() if name in names and value is not None}

    @classmethod
    def from_json(cls, options: Mapping[str, str]) -> "ReaderOptions":
        """Read options written by `to_json`. Missing ones have their defaults; questions on val are the full ones."""
        words, task = options.get("attribute_words"), options.get("task")
        return cls(
            task=None if task is None else TaskName(task),
            polyvore_split=PolyvoreSplit(options.get("polyvore_split", PolyvoreSplit.NONDISJOINT)),
            attribute_words=None if words is None else Path(words),
            val_questions=ValQuestions(options.get("val_questions", ValQuestions.FULL)),
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
        other_tasks: Further tasks that `--task` can choose, on the same split.
        val_questions: Which questions the task asks on val, if its options have that choice.
        place: Finds the folder in the data root; None if it is always `folder`.
        is_labelled: Whether the images in the folder have attributes.
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
    other_tasks: tuple[TaskName, ...] = ()
    val_questions: ValQuestions = ValQuestions.REDUCED
    place: Callable[[Path], Place] | None = None
    is_labelled: Callable[[Path], bool] = lambda _: True
    options: tuple[str, ...] = ()
    drawn: bool = False
    backbone: str = "resnet50"
    weights: str = "imagenet"
    image_size: int = 224

    @property
    def task(self) -> "type[Task]":
        """The task class. It is imported on first use, since it imports torch, which takes seconds."""
        return pkgutil.resolve_name(self.task_class)

    def make_task(
        self, featured: "FeaturedItems", *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)
    ) -> "Task":
        """Return the task with its questions; see `pan_model.tasks.task.Task`.

        Args:
            featured: The items with their features and splits.
            seed: The seed from which questions are drawn.
            train_on: The splits to train on.

        Raises:
            UserError: The data do not suffice for the task.
        """
        if "val_questions" not in self.options:
            return self.task(featured, seed=seed, train_on=train_on)
        return self.task(featured, seed=seed, train_on=train_on, val_questions=self.val_questions)

    @property
    def task_name(self) -> TaskName | None:
        """The name of the task; None if it is one that `--task` cannot choose."""
        return next((name for name, task_class in TASK_CLASSES.items() if task_class == self.task_class), None)

    def find_place(self, data_root: Path) -> Place:
        """Find the dataset's folder in the data root. Raise UserError if several could be it."""
        return Place(folder=data_root / self.folder) if self.place is None else self.place(data_root)

    def read_from(self, data_root: Path, options: ReaderOptions) -> Items:
        """Find the dataset's folder in the data root and read it.

        Raises:
            UserError: The folder is missing or not valid.
        """
        place = self.find_place(data_root)
        try:
            items = self.read(place.folder, options)
        except UserError as error:
            if not place.hint:
                raise
            raise UserError(f"{error} {place.hint}.") from error
        return replace(items, notes=(place.note, *items.notes)) if place.note else items


def _without_options(read: Callable[[Path], Items]) -> Callable[[Path, ReaderOptions], Items]:
    return lambda folder, _: read(folder)


def _read_polyvore(folder: Path, options: ReaderOptions) -> Items:
    return read_polyvore(folder, version=options.polyvore_split, words=options.attribute_words)


def _read_folder(folder: Path, options: ReaderOptions) -> Items:
    """Read a folder of images, and raise UserError if its classes do not suffice for the task."""
    items, need = read_folder(folder), CLASS_NEEDS[options.task or TaskName.FEW_SHOT]
    sizes = np.bincount(items.classes).tolist()
    if lack := need.describe_lack(sizes):
        fits = options.task is not TaskName.RETRIEVAL and not RETRIEVAL_NEED.describe_lack(sizes)
        raise UserError(f"{folder}: {lack}{'; or search with --task retrieval' if fits else ''}.")
    training = few_shot_split(items)[Split.TRAIN]
    if items.attribute_names and not items.certain[training].any():
        raise UserError(
            f"{folder.parent}: expected attributes of training images, got none of the {len(training)} images in "
            f"every second class, such as {items.class_names[0]!r}; without attributes.csv the search is unsupervised."
        )
    return items


DATASETS: dict[str, Dataset] = {
    "demo": Dataset(
        folder="demo",
        read=_without_options(read_demo),
        split=few_shot_split,
        task_class=TASK_CLASSES[TaskName.FEW_SHOT],
        other_tasks=(TaskName.RETRIEVAL,),
        options=("task", "val_questions"),
        drawn=True,
        backbone="resnet18",
        weights="random",
        image_size=64,
    ),
    "cub": Dataset(
        folder="CUB_200_2011",
        read=_without_options(read_cub),
        split=few_shot_split,
        task_class=TASK_CLASSES[TaskName.FEW_SHOT],
        other_tasks=(TaskName.RETRIEVAL,),
        place=PLACES["cub"],
        options=("task", "val_questions"),
    ),
    "inshop": Dataset(
        folder="In-shop",
        read=_without_options(read_inshop),
        split=inshop_split,
        task_class=TASK_CLASSES[TaskName.RETRIEVAL],
        place=PLACES["inshop"],
        options=("task", "val_questions"),
    ),
    "polyvore": Dataset(
        folder="polyvore_outfits",
        read=_read_polyvore,
        split=polyvore_split,
        task_class="pan_model.tasks.outfits:OutfitTask",
        place=PLACES["polyvore"],
        options=("polyvore_split", "attribute_words"),
    ),
    "folder": Dataset(
        folder="images",
        read=_read_folder,
        split=few_shot_split,
        task_class=TASK_CLASSES[TaskName.FEW_SHOT],
        other_tasks=(TaskName.RETRIEVAL,),
        place=PLACES["folder"],
        is_labelled=has_attributes,
        options=("task", "val_questions"),
    ),
}


def find_dataset(name: str, task: str | None = None, val_questions: ValQuestions = ValQuestions.REDUCED) -> Dataset:
    """Return a dataset of the registry, with one of its tasks.

    Args:
        name: The name of the dataset.
        task: The task; None for the dataset's default.
        val_questions: Which questions the task asks on val, if it has a choice.

    Raises:
        UserError: No dataset has this name, or it does not have the task.
    """
    if name not in DATASETS:
        raise UserError(describe_path(name) or f"unknown dataset '{name}'; choose from {', '.join(DATASETS)}.")
    row = replace(DATASETS[name], val_questions=val_questions)
    if task is None or task == row.task_name:
        return row
    if task not in row.other_tasks:
        able = [known for known, other in DATASETS.items() if task in (other.task_name, *other.other_tasks)]
        own = f", whose task is {row.task_name}" if row.task_name else ""
        raise UserError(f"--task {task} does not apply to {name}{own}; it applies to {', '.join(able)}.")
    return replace(row, task_class=TASK_CLASSES[TaskName(task)])


def describe_path(name: str) -> str:
    """Describe what to type instead of a path as the name of a dataset; empty if it is no path."""
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - Path.expanduser raises an error for an unknown user
    if not ("/" in name or "\\" in name or name.startswith(("~", ".")) or os.path.isdir(path)):  # noqa: PTH112
        return ""
    rule = f"--dataset takes a name ({', '.join(DATASETS)}), got the path '{name}'"
    if path.name == "images":
        path = path.parent
    typed = f"for your own images type --dataset folder --data-root {path}"
    if not path.is_dir():
        return f"{rule}; {typed}, which must hold images/<class>/<file>."
    arranged = "" if (path / "images").is_dir() else f"; {describe_arrangement(path)}"
    return f"{rule}; {typed}{arranged}."
