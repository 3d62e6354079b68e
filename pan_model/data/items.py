"""The items of a dataset and the relations among them, validated on construction."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pan_model.errors import UserError
from pan_model.shapes import Bool, Int, UInt8


class Relations(ABC):
    """Further facts about the N items of a dataset, such as their roles or the outfits that they form."""

    @abstractmethod
    def select(self, keep: Bool[np.ndarray, "N"]) -> "Relations":
        """Return the relations among the kept items, renumbered in the same order."""

    @abstractmethod
    def content(self) -> bytes:
        """Return everything as bytes, for the fingerprint of the dataset."""


CERTAIN_FROM = 3
"""Lowest certainty of a label that is used: 3 "probably" (CUB's scale)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """N images with a class and A attributes each, in the order of the dataset's own list.

    Attributes:
        image_root: The folder that image names are relative to.
        image_names: The paths of the images.
        classes: 0-based indices into class_names, shape (N,).
        class_names: The names of the classes.
        attributes: Whether attribute a is present in item n, shape (N, A).
        certainty: 0 no label, 1 not visible, 2 guessing, 3 probably, 4 definitely (CUB's scale), shape (N, A).
        attribute_names: The names of the attributes.
        left_out: How many entries the reader left out, by reason.
        relations: Roles or outfits, for datasets that have them.
        files: The paths of the images on disk, which may differ from `image_names` in case or form of Unicode. They are
            not part of the dataset's fingerprint. None if they are the same.
        notes: What a user should know of how the dataset was read, one sentence each.

    Raises:
        UserError: There are no items, or shapes or class indices do not fit.
    """

    image_root: Path
    image_names: tuple[str, ...]
    classes: Int[np.ndarray, "N"]
    class_names: tuple[str, ...]
    attributes: Bool[np.ndarray, "N A"]
    certainty: UInt8[np.ndarray, "N A"]
    attribute_names: tuple[str, ...]
    left_out: dict[str, int] = field(default_factory=dict[str, int])
    relations: Relations | None = None
    files: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        num_items = len(self.image_names)
        table = (num_items, len(self.attribute_names))
        if num_items == 0:
            raise UserError(f"{self.image_root}: the dataset has no items.")
        if len(self.file_names) != num_items:
            raise UserError(f"{self.image_root}: {num_items} images but {len(self.file_names)} files.")
        if self.classes.shape != (num_items,):
            raise UserError(f"{self.image_root}: {num_items} images but classes of shape {self.classes.shape}.")
        if self.attributes.shape != table or self.certainty.shape != table:
            raise UserError(
                f"{self.image_root}: attributes and certainty must have shape {table}, "
                f"got {self.attributes.shape} and {self.certainty.shape}."
            )
        if self.classes.min() < 0 or self.classes.max() >= len(self.class_names):
            raise UserError(f"{self.image_root}: classes must lie in 0..{len(self.class_names) - 1}.")

    def __len__(self) -> int:
        return len(self.image_names)

    @property
    def certain(self) -> Bool[np.ndarray, "N A"]:
        """Mask of the attribute labels with certainty 3 or 4."""
        return self.certainty >= CERTAIN_FROM

    @property
    def file_names(self) -> tuple[str, ...]:
        """The paths of the images on disk, relative to `image_root`."""
        return self.image_names if self.files is None else self.files

    def image_path(self, index: int) -> Path:
        """Return the path of the image of an item."""
        return self.image_root / self.file_names[index]

    def select(self, keep: Bool[np.ndarray, "N"], reason: str) -> "Items":
        """Keep some items and count the others in `left_out` under `reason`. Class indices do not change."""
        dropped = int((~keep).sum())
        if dropped == 0:
            return self
        return replace(
            self,
            image_names=_kept(self.image_names, keep),
            files=None if self.files is None else _kept(self.files, keep),
            classes=self.classes[keep],
            attributes=self.attributes[keep],
            certainty=self.certainty[keep],
            left_out={**self.left_out, reason: self.left_out.get(reason, 0) + dropped},
            relations=self.relations.select(keep) if self.relations else None,
        )


def _kept(names: tuple[str, ...], keep: Bool[np.ndarray, "N"]) -> tuple[str, ...]:
    return tuple(name for name, kept in zip(names, keep, strict=True) if kept)
