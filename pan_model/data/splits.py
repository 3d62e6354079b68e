"""Splits of datasets into train, validation and test, and the roles of images in retrieval."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np

from pan_model.data.items import Items, Relations
from pan_model.shapes import Bool, Int, UInt8


class Split(StrEnum):
    """The part of a dataset that a step may look at."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def few_shot_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Split the items by class, so that no class is in two splits; gives ascending item indices (int64).

    With k the 0-based class index: train k % 2 == 0, val k % 4 == 1, test k % 4 == 3. These are the base, val and
    novel classes of PAN's reference code on CUB: 100, 50 and 50 of 200.
    """
    k = items.classes
    return {
        Split.TRAIN: np.flatnonzero(k % 2 == 0),
        Split.VAL: np.flatnonzero(k % 4 == 1),
        Split.TEST: np.flatnonzero(k % 4 == 3),
    }


class Role(IntEnum):
    """The official part that an image belongs to."""

    TRAIN = 0
    QUERY = 1
    GALLERY = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Roles(Relations):
    """The role of each of N items, as the value of its `Role`."""

    roles: UInt8[np.ndarray, "N"]

    def select(self, keep: Bool[np.ndarray, "N"]) -> "Roles":
        """The roles of the kept items."""
        return Roles(roles=self.roles[keep])

    def content(self) -> bytes:
        """One byte an item."""
        return self.roles.tobytes()


def roles_of(relations: Relations | None) -> Roles:
    """The relations of a dataset for retrieval; a TypeError for any other's."""
    if not isinstance(relations, Roles):
        raise TypeError(f"retrieval needs the roles of its items, got {type(relations).__name__}.")
    return relations


def inshop_split(items: Items) -> dict[Split, Int[np.ndarray, "_"]]:
    """Split by product, so that no product is in two splits; gives ascending item indices (int64).

    Test is the official query and gallery. Of the training products, in the order of their ids, every fifth from the
    second on is validation (800 of In-Shop's 3997); so two are enough to have both.
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
    split: Split, items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "N"], roles: Roles
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """The queries and the gallery of a split's `items`, as item indices in the order of `items`.

    The official ones for test; for train and val, where there are none, see `alternate`.
    """
    if split is not Split.TEST:
        return alternate(items, classes[items])
    part = roles.roles[items]
    return items[part == Role.QUERY], items[part == Role.GALLERY]


def alternate(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Make the images of each product query and gallery in turn, in their order, the first a query.

    The only image of a product is in the gallery alone: as a query it would have no match.

    >>> queries, gallery = alternate(np.array([3, 4, 5, 6, 8]), np.array([0, 0, 1, 0, 0]))
    >>> queries.tolist(), gallery.tolist()
    ([3, 6], [4, 5, 8])
    """
    _, label, count = np.unique(classes, return_inverse=True, return_counts=True)
    order = np.argsort(label, kind="stable")
    turn = np.empty(len(items), dtype=np.int64)
    turn[order] = np.arange(len(items)) - np.repeat(np.cumsum(count) - count, count)
    asks = (turn % 2 == 0) & (count[label] > 1)
    return items[asks], items[~asks]
