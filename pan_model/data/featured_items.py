"""Items with their features: the part of a dataset that tasks use, as arrays that processes can share."""

from dataclasses import dataclass

import numpy as np

from pan_model.data.items import Items, Relations
from pan_model.data.splits import Split
from pan_model.shapes import Bool, Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class FeaturedItems:
    """N items with features and labels.

    The arrays may be read-only views of shared memory, so they must not be written to.

    Attributes:
        features: Features as extracted, shape (N, D).
        classes: 0-based class indices, shape (N,).
        attributes: Whether each item has each attribute, shape (N, A).
        certain: Whether each attribute label is certain, shape (N, A).
        attribute_names: The names of the attributes.
        splits: The indices of the items of each split, ascending.
        relations: Roles or outfits, for datasets that have them.
    """

    features: Float[np.ndarray, "N D"]
    classes: Int[np.ndarray, "N"]
    attributes: Bool[np.ndarray, "N A"]
    certain: Bool[np.ndarray, "N A"]
    attribute_names: tuple[str, ...]
    splits: dict[Split, Int[np.ndarray, "n"]]
    relations: Relations | None = None

    @classmethod
    def join(
        cls, items: Items, features: Float[np.ndarray, "N D"], splits: dict[Split, Int[np.ndarray, "_"]]
    ) -> "FeaturedItems":
        """Combine items with their features and splits."""
        return cls(
            features=features,
            classes=items.classes,
            attributes=items.attributes,
            certain=items.certain,
            attribute_names=items.attribute_names,
            splits=splits,
            relations=items.relations,
        )

    @property
    def feature_dim(self) -> int:
        """Number of features of an item, D."""
        return self.features.shape[1]

    def items_of(self, splits: tuple[Split, ...]) -> Int[np.ndarray, "n"]:
        """Return the indices of all items in any of the splits, ascending and without repeats."""
        return np.unique(np.concatenate([self.splits[split] for split in splits]))
