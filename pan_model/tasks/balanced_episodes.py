"""Balanced few-shot questions: many answers from few pairs of images. The questions of few-shot tasks on val.

A question is 5 classes with 6 images each. Each image in turn is a query, and the 5 other images of each class, without
the one in its place, are the support: 6 episodes of 5-way 5-shot with 30 queries. The score of the question is their
mean accuracy. A pair of two images serves twice, with either of them as the query, so that a question has 375 pairs;
an episode with 80 queries has 2000.

All questions together are balanced: each class takes part equally often (up to 1), each pair of classes about equally
often, and each image of a class equally often (up to 1). Which classes and images are drawn then matters less for the
mean, so that fewer queries give the same standard error. The interval of independent questions, mean +- 1.96 s /
sqrt(n), does not count on the balance and is wider than necessary (docs/measurements.md).
"""

import numpy as np

from pan_model.shapes import Int

NUM_WAYS = 5
NUM_IMAGES = 6
"""Images of a class in a question: 5 support images and a query."""


def draw_questions(
    groups: list[Int[np.ndarray, "_"]], num_questions: int, generator: np.random.Generator
) -> Int[np.ndarray, "B 5 6"]:
    """Draw the images of balanced questions.

    Args:
        groups: The items of each class, at least 5 classes with at least 6 items each.
        num_questions: B, the number of questions.
        generator: The source of random numbers.
    """
    decks = [_Deck(group, generator) for group in groups]
    return np.stack(
        [
            np.stack([decks[place].deal(NUM_IMAGES) for place in classes])
            for classes in _draw_classes(len(groups), num_questions, generator)
        ]
    )


def leave_one_out(
    questions: Int[np.ndarray, "B 5 6"],
) -> tuple[Int[np.ndarray, "E 5 5"], Int[np.ndarray, "E 5"]]:
    """Return the support (E, 5, 5) and the queries (E, 5), one of each class, of the E = 6 B episodes of questions.

    >>> support, queries = leave_one_out(np.arange(30).reshape(1, 5, 6))
    >>> queries[0].tolist(), support[0, 0].tolist()
    ([0, 6, 12, 18, 24], [1, 2, 3, 4, 5])
    """
    others = np.nonzero(~np.eye(NUM_IMAGES, dtype=bool))[1].reshape(NUM_IMAGES, NUM_IMAGES - 1)
    queries = questions.transpose(0, 2, 1).reshape(-1, NUM_WAYS)
    support = questions[:, :, others].transpose(0, 2, 1, 3).reshape(-1, NUM_WAYS, NUM_IMAGES - 1)
    return support, queries


def _draw_classes(num_classes: int, num_questions: int, generator: np.random.Generator) -> Int[np.ndarray, "B 5"]:
    """Draw 5 classes for each question, one after another: always one of those that have been drawn least.

    Among these, it is one that has been least with those drawn before it for the same question.
    """
    times = np.zeros(num_classes, dtype=np.int64)
    together = np.zeros((num_classes, num_classes), dtype=np.int64)
    drawn = np.empty((num_questions, NUM_WAYS), dtype=np.int64)
    for question in drawn:
        for place in range(NUM_WAYS):
            chosen, order = question[:place], generator.permutation(num_classes)
            free = order[~np.isin(order, chosen)]
            least = free[times[free] == times[free].min()]
            question[place] = least[together[np.ix_(least, chosen)].sum(axis=1).argmin()]
            times[question[place]] += 1
        together[np.ix_(question, question)] += 1
    return drawn


class _Deck:
    """Deals items without replacement; once all have been dealt, from a new shuffle. No hand has an item twice."""

    def __init__(self, items: Int[np.ndarray, "n"], generator: np.random.Generator) -> None:
        self._items = items
        self._generator = generator
        self._left = items[:0]

    def deal(self, num_items: int) -> Int[np.ndarray, "_"]:
        """Deal a hand of different items, at most as many as the deck has."""
        if len(self._left) < num_items:
            rest, shuffled = self._left, self._generator.permutation(self._items)
            shuffled = shuffled[np.argsort(np.isin(shuffled, rest), kind="stable")]  # the rest goes to the end
            cut = num_items - len(rest)
            hand, self._left = np.concatenate([rest, shuffled[:cut]]), self._generator.permutation(shuffled[cut:])
            return hand
        hand, self._left = self._left[:num_items], self._left[num_items:]
        return hand
