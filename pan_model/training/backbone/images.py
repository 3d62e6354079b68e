"""The training data of a backbone: some items of a dataset, and their groups."""

from dataclasses import dataclass, replace

import numpy as np

from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.shapes import Int
from pan_model.training.backbone.config import BackboneTraining
from pan_model.training.backbone.triplets import Groups


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingImages:
    """The training items of a dataset and their groups.

    Attributes:
        items: All N items of the dataset.
        fingerprint: The fingerprint of the dataset.
        training_items: The indices of the training items.
        groups: For siamese: items, each once for each of its groups, and the numbers of these groups, as
            `Task.normalisation_groups` returns them (Polyvore: outfits). None for classes. proxynca always uses
            classes (Polyvore: categories).

    Raises:
        UserError: There are no training items, or groups hold other items.
    """

    items: Items
    fingerprint: str
    training_items: Int[np.ndarray, "n"]
    groups: tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]] | None = None

    def __post_init__(self) -> None:
        if not len(self.training_items):
            raise UserError(f"{self.items.image_root}: training a backbone needs training items, got none.")
        if self.groups is not None and not np.isin(self.groups[0], self.training_items).all():
            raise UserError(f"{self.items.image_root}: groups must hold training items only.")

    def alone(self) -> Items:
        """Return the training items, ascending, without relations, which may refer to other items."""
        chosen = np.isin(np.arange(len(self.items)), self.training_items)
        return replace(self.items, relations=None).select(chosen, "not for training")

    def groups_for(self, kind: BackboneTraining) -> Groups:
        """Return the groups as positions in `alone`. Raises UserError if there is a single class."""
        chosen = np.unique(self.training_items)
        if self.groups is not None and kind is not BackboneTraining.PROXYNCA:
            return Groups(np.searchsorted(chosen, self.groups[0]), self.groups[1])
        labels = self.items.classes[chosen]
        if len(np.unique(labels)) < 2:
            raise UserError(f"{self.items.image_root}: training a backbone needs items of 2 classes, got 1.")
        return Groups(np.arange(len(chosen)), labels)
