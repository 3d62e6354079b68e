"""What tasks have in common whose pairs are positive when both items are of one class."""

import numpy as np

from pan_model.data.featured import FeaturedItems
from pan_model.data.splits import Split
from pan_model.pairs import Pairs, PairsConfig, draw_steps, same_class_pairs
from pan_model.tasks import Task


class SameClassTask(Task):
    """A task that trains on pairs of one class and pairs of two; what it is judged by is its own."""

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        super().__init__(featured, seed=seed, train_on=train_on)
        self._training_classes = featured.classes[self.training_items]
        self._positives = same_class_pairs(self._training_classes)

    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        """Draw pairs of one class and of two, see `pan_model.pairs.draw_steps`."""
        steps = draw_steps(self._positives, self._training_classes, config, generator)
        return [
            Pairs(self.training_items[step.index_1], self.training_items[step.index_2], step.same) for step in steps
        ]
