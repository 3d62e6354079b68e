"""Outfits: the items of a dataset that belong together, and the questions about them in its files."""

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from pan_model.data.items import Relations
from pan_model.data.polyvore.questions import QuestionFiles
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.shapes import Bool, Int

Outfit = tuple[int, ...]
"""The indices of the items of an outfit, without repeats, in the order of the file."""

FEWEST_ITEMS = 2
"""Smallest number of items of an outfit."""

TOO_SMALL = f"outfits of fewer than {FEWEST_ITEMS} items"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outfits(Relations):
    """The outfits of N items by split, and the category of each item.

    Attributes:
        outfits: The outfits of each split, in the order of the files.
        set_ids: The set_id of each outfit.
        categories: 0-based indices into category_names, shape (N,).
        category_names: The names of the categories.
        files: The questions in the files of the dataset.
        lost: Counts of what was removed since the files were read: outfits with fewer than two remaining items, items
            of outfits, and questions about removed items.

    Raises:
        UserError: A split has no outfits.
    """

    outfits: dict[Split, tuple[Outfit, ...]]
    set_ids: dict[Split, tuple[str, ...]]
    categories: Int[np.ndarray, "N"]
    category_names: tuple[str, ...]
    files: QuestionFiles = field(default_factory=QuestionFiles)
    lost: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        for split, outfits in self.outfits.items():
            if not outfits:
                raise UserError(f"split {split}: no outfit with {FEWEST_ITEMS} items or more is left.")
            if len(self.set_ids[split]) != len(outfits):
                raise UserError(f"split {split}: {len(outfits)} outfits but {len(self.set_ids[split])} set_ids.")

    def items_of(self, split: Split) -> Int[np.ndarray, "n"]:
        """Return the items of the outfits of a split, ascending, without repeats. Splits can share items."""
        return np.unique(np.fromiter(chain.from_iterable(self.outfits[split]), dtype=np.int64))

    def select(self, keep: Bool[np.ndarray, "N"]) -> "Outfits":
        """Keep and renumber some items. Remove outfits with fewer than two of them, and questions about others."""
        numbers: list[int] = np.where(keep, np.cumsum(keep) - 1, -1).tolist()
        lost = Counter(self.lost)
        outfits: dict[Split, tuple[Outfit, ...]] = {}
        set_ids: dict[Split, tuple[str, ...]] = {}
        for split in self.outfits:
            left = [tuple(numbers[item] for item in outfit if numbers[item] >= 0) for outfit in self.outfits[split]]
            lost[f"items of {split} outfits"] += sum(map(len, self.outfits[split])) - sum(map(len, left))
            outfits[split], set_ids[split] = drop_small(left, self.set_ids[split])
            lost[f"{split} {TOO_SMALL}"] += len(left) - len(outfits[split])
        files = self.files.renumber(numbers)
        lost.update(Counter(_question_counts(self.files)) - Counter(_question_counts(files)))
        return Outfits(
            outfits=outfits,
            set_ids=set_ids,
            categories=self.categories[keep],
            category_names=self.category_names,
            files=files,
            lost={reason: count for reason, count in lost.items() if count},
        )

    def content(self) -> bytes:
        """Return outfits, categories and questions as JSON, without the counts of removed ones."""
        parts = [
            sorted(self.outfits.items()),
            sorted(self.set_ids.items()),
            self.categories.tolist(),
            self.category_names,
            self.files.content(),
        ]
        return json.dumps(parts).encode()


def drop_small(outfits: list[Outfit], set_ids: tuple[str, ...]) -> tuple[tuple[Outfit, ...], tuple[str, ...]]:
    """Remove the outfits with fewer than two items, and their set_ids.

    >>> drop_small([(1, 2), (3,)], ("a", "b"))
    (((1, 2),), ('a',))
    """
    kept = [len(outfit) >= FEWEST_ITEMS for outfit in outfits]
    return (
        tuple(outfit for outfit, stays in zip(outfits, kept, strict=True) if stays),
        tuple(set_id for set_id, stays in zip(set_ids, kept, strict=True) if stays),
    )


def _question_counts(files: QuestionFiles) -> dict[str, int]:
    return {f"{name} questions": count for name, count in files.count().items()}
