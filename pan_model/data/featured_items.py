"""Items with their features: all that a task needs to know of a dataset, as arrays that processes can share."""

from dataclasses import dataclass

import numpy as np

from pan_model.data.items import Items, Relations
from pan_model.data.splits import Split
from pan_model.shapes import Bool, Float, Int


@dataclass(frozen=True, kw_only=True, eq=False)
class FeaturedItems:
    """N items with features and labels; splits holds, for each split, the items' indices in ascending order.

    The arrays may be read-only views of shared memory: nothing here or downstream writes to them.
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
        """Put the features of the items beside their labels."""
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
        """D."""
        return self.features.shape[1]

    def items_of(self, splits: tuple[Split, ...]) -> Int[np.ndarray, "n"]:
        """The indices of all items in any of the splits, ascending, each once."""
        return np.unique(np.concatenate([self.splits[split] for split in splits]))
