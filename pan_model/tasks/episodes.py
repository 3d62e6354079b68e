"""Few-shot episodes: 5 classes, 5 support items and up to 16 queries a class (paper's protocol on CUB)."""

from dataclasses import dataclass

import numpy as np

from pan_model.errors import UserError
from pan_model.shapes import Bool, Int

NUM_WAYS = 5
NUM_SUPPORT = 5
NUM_QUERIES = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Episodes:
    """B episodes: item indices of support and queries, the queries' right class (0..4), and which places are filled.

    A class with fewer than 21 items has fewer queries; its free places hold an item that is not asked.
    """

    support: Int[np.ndarray, "B C S"]
    queries: Int[np.ndarray, "B Q"]
    answers: Int[np.ndarray, "B Q"]
    asked: Bool[np.ndarray, "B Q"]


def eligible_classes(items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"]) -> list[Int[np.ndarray, "_"]]:
    """The items of each class that can take part: its support and at least one query, 6 items.

    Raises UserError when there are fewer than 5 such classes.
    """
    groups = [items[classes == label] for label in np.unique(classes)]
    groups = [group for group in groups if len(group) > NUM_SUPPORT]
    if len(groups) < NUM_WAYS:
        raise UserError(
            f"{NUM_WAYS}-way episodes need {NUM_WAYS} classes with at least {NUM_SUPPORT + 1} images, "
            f"got {len(groups)}; add classes or images."
        )
    return groups


def draw_episodes(
    items: Int[np.ndarray, "n"], classes: Int[np.ndarray, "n"], num_episodes: int, generator: np.random.Generator
) -> Episodes:
    """Draw episodes from some items; classes are the items' own, those with too few items take no part."""
    groups = eligible_classes(items, classes)
    drawn = [_draw_episode(groups, generator) for _ in range(num_episodes)]
    places = NUM_WAYS * NUM_QUERIES
    queries = np.stack([episode[:, NUM_SUPPORT:].reshape(places) for episode in drawn])
    asked = queries >= 0
    answers = np.broadcast_to(np.repeat(np.arange(NUM_WAYS), NUM_QUERIES), queries.shape)
    return Episodes(
        support=np.stack([episode[:, :NUM_SUPPORT] for episode in drawn]),
        queries=np.where(asked, queries, items[0]),
        answers=answers.copy(),
        asked=asked,
    )


def _draw_episode(groups: list[Int[np.ndarray, "_"]], generator: np.random.Generator) -> Int[np.ndarray, "5 21"]:
    """Items of one episode, a row a class, -1 where the class has no more."""
    rows = np.full((NUM_WAYS, NUM_SUPPORT + NUM_QUERIES), -1, dtype=np.int64)
    for row, label in zip(rows, generator.choice(len(groups), NUM_WAYS, replace=False), strict=True):
        chosen = generator.permutation(groups[label])[: len(row)]
        row[: len(chosen)] = chosen
    return rows
