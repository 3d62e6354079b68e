"""Splits of datasets into train, validation and test, and the roles of images in retrieval."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np

from pan_model.command_line import counted
from pan_model.data.items import Items, Relations
from pan_model.shapes import Bool, Int, UInt8


class Split(StrEnum):
    """The three parts of a dataset: training, validation and test."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def few_shot_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Split items by class, so that no class is in two splits.

    Train has the classes k with k % 2 == 0, val those with k % 4 == 1 and test those with k % 4 == 3, where k is the
    0-based class index. On CUB these are the 100 base, 50 val and 50 novel classes of PAN's reference code.

    Returns:
        The item indices of each split, ascending.
    """
    k = items.classes
    return {
        Split.TRAIN: np.flatnonzero(k % 2 == 0),
        Split.VAL: np.flatnonzero(k % 4 == 1),
        Split.TEST: np.flatnonzero(k % 4 == 3),
    }


@dataclass(frozen=True, kw_only=True)
class ClassNeed:
    """The classes that a task needs in val and in test, after `few_shot_split`.

    Attributes:
        num_classes: Number of classes with enough images, in val and in test.
        num_images: Number of images of such a class.
    """

    num_classes: int
    num_images: int

    @property
    def num_classes_in_all(self) -> int:
        """Number of classes with enough images that suffice: the class 4n - 1 is the n-th of test."""
        return 4 * self.num_classes

    def describe_lack(self, class_sizes: Sequence[int]) -> str:
        """Describe what is missing; empty if nothing is.

        Args:
            class_sizes: The number of images of each class, in the order of classes.

        >>> ClassNeed(num_classes=5, num_images=6).describe_lack([6] * 12)
        '12 classes; train 6, val 3, test 3; val and test need 5 classes with at least 6 images each: add 8 classes'
        """
        sizes = {Split.TRAIN: class_sizes[::2], Split.VAL: class_sizes[1::4], Split.TEST: class_sizes[3::4]}
        enough = {split: sum(size >= self.num_images for size in sizes[split]) for split in (Split.VAL, Split.TEST)}
        lacking = [str(split) for split, number in enough.items() if number < self.num_classes]
        if not lacking:
            return ""
        counts = ", ".join(f"{split} {len(sizes[split])}" for split in Split)
        number = counted(len(class_sizes), "class", "classes")
        num_small = sum(size < self.num_images for size in class_sizes)
        more = self.num_classes_in_all - len(class_sizes)
        ways = [f"add {counted(more, 'class', 'classes')}"] if more > 0 else []
        if num_small:
            ways.append(
                "add images to the one class that has fewer, or remove it"
                if num_small == 1
                else f"add images to the {num_small} classes that have fewer, or remove these classes"
            )
        verb = "needs" if len(lacking) == 1 else "need"
        return (
            f"{number}; {counts}; {' and '.join(lacking)} {verb} {self.num_classes} classes with at "
            f"least {self.num_images} images each{self._describe_enough(enough, num_small)}: {'; '.join(ways)}"
        )

    def _describe_enough(self, enough: dict[Split, int], num_small: int) -> str:
        if not num_small:
            return ""
        return f" ({', '.join(f'{split} has {number}' for split, number in enough.items())})"


FEW_SHOT_NEED = ClassNeed(num_classes=5, num_images=6)
"""5-way episodes of 5 support images and at least 1 query."""

RETRIEVAL_NEED = ClassNeed(num_classes=2, num_images=2)
"""A query and a gallery image of each class, and images of another class that could be confused with them."""


class TaskName(StrEnum):
    """The tasks that datasets with classes can have."""

    FEW_SHOT = "few-shot"
    RETRIEVAL = "retrieval"


class ValQuestions(StrEnum):
    """Which questions a search asks on val. Those on test are always the same.

    Attributes:
        REDUCED: Few-shot: `pan_model.tasks.balanced_episodes`. Retrieval: a large gallery is searched in four parts,
            every image of a small one is asked, and a smaller sample of train is watched.
        FULL: As in studies before this choice. Few-shot: 100 random episodes. Retrieval: the whole gallery.
    """

    REDUCED = "reduced"
    FULL = "full"


CLASS_NEEDS = {TaskName.FEW_SHOT: FEW_SHOT_NEED, TaskName.RETRIEVAL: RETRIEVAL_NEED}
"""The classes that each task needs in val and in test."""


class Role(IntEnum):
    """The official role of an image in retrieval."""

    TRAIN = 0
    QUERY = 1
    GALLERY = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles(Relations):
    """The roles of N items, as values of `Role`."""

    roles: UInt8[np.ndarray, "N"]

    def select(self, keep: Bool[np.ndarray, "N"]) -> "Roles":
        """Return the roles of the kept items."""
        return Roles(roles=self.roles[keep])

    def content(self) -> bytes:
        """Return one byte for each item."""
        return self.roles.tobytes()


def roles_of(relations: Relations | None) -> Roles:
    """Return the relations of a retrieval dataset as `Roles`. Raise TypeError for those of any other dataset."""
    if not isinstance(relations, Roles):
        raise TypeError(f"retrieval needs the roles of its items, got {type(relations).__name__}.")
    return relations


def inshop_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Split items by product, so that no product is in two splits.

    Test holds the official query and gallery images. Of the training products, sorted by id, every fifth is in
    validation, starting with the second: 800 of In-Shop's 3997. Two products are therefore enough for both splits.

    Returns:
        The item indices of each split, ascending.
    """
    training = roles_of(items.relations).roles == Role.TRAIN
    products = np.unique(items.classes[training])  # class indices follow the sorted ids
    held_out = training & np.isin(items.classes, products[1::5])
    return {
        Split.TRAIN: np.flatnonzero(training & ~held_out),
        Split.VAL: np.flatnonzero(held_out),
        Split.TEST: np.flatnonzero(~training),
    }


def queries_and_gallery(
    split: Split, items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "N"], roles: Roles | None
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Divide the items of a split into queries and gallery.

    Test has the official division, if there is one. Otherwise `alternate` divides the items, as those of train and val.

    Args:
        split: The split.
        items: The indices of its items, shape (n,).
        classes: The classes of all items of the dataset, shape (N,).
        roles: The roles of all items of the dataset; None if it has no official division.

    Returns:
        The item indices of the queries and of the gallery, each in the order of `items`.
    """
    if split is not Split.TEST or roles is None:
        return alternate(items, classes[items])
    role = roles.roles[items]
    return items[role == Role.QUERY], items[role == Role.GALLERY]


def alternate(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Assign the images of each product to queries and gallery in alternation, starting with a query.

    The single image of a product goes to the gallery: as a query it would have no match.

    >>> queries, gallery = alternate(np.array([3, 4, 5, 6, 8]), np.array([0, 0, 1, 0, 0]))
    >>> queries.tolist(), gallery.tolist()
    ([3, 6], [4, 5, 8])
    """
    _, label, count = np.unique(classes, return_inverse=True, return_counts=True)
    order = np.argsort(label, kind="stable")
    turn = np.empty(len(items), dtype=np.int64)
    turn[order] = np.arange(len(items)) - np.repeat(np.cumsum(count) - count, count)
    is_query = (turn % 2 == 0) & (count[label] > 1)
    return items[is_query], items[~is_query]
