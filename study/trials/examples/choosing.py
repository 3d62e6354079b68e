"""Choice of the pairs of val images to show: right answers, wrong ones, and the hardest cases.

A sample of the split is scored, since all pairs would take minutes. The choice is the same in every call.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import torch

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfits
from pan_model.data.splits import Split
from pan_model.shapes import Float, Int
from pan_model.tasks.outfits import OutfitTask
from pan_model.tasks.retrieval import RetrievalTask, sample_products
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer

Group = Literal["right", "wrong", "hardest"]

PURPOSE = 11
"""Seeds the choice."""

MAX_PER_CLASS = 20
"""The most images of a class in the sample, so that there are several classes."""

NUM_OUTFITS, MAX_OUTFIT = 200, 8
"""Outfits of the sample, and the most items of an outfit whose question is shown."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The largest sample that is scored: queries, and images that they are compared with."""

    queries: int = 160
    gallery: int = 400


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Pairs of one kind, the best examples first.

    Attributes:
        group: The group of the report.
        title: What the pairs have in common.
        same: Whether the items of a pair are of the same class, or share an outfit.
        count: How many of the pairs to show.
        pairs: Pairs of items.
    """

    group: Group
    title: str
    same: bool
    count: int
    pairs: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A fill-in-the-blank question with the scores of its candidates.

    Attributes:
        group: The group of the report.
        title: How the model answers.
        outfit: The items of the outfit without one.
        candidates: The candidates.
        scores: The score of each candidate, in [0, 1] if the model ranks by log-odds or by p.
        answer: The place of the right candidate.
    """

    group: Group
    title: str
    outfit: tuple[int, ...]
    candidates: tuple[int, ...]
    scores: tuple[float, ...]
    answer: int

    @property
    def chosen(self) -> int:
        """The place of the candidate with the highest score."""
        return int(np.argmax(self.scores))


def choose_pairs(trainer: Trainer, budget: Budget) -> list[Slot]:
    """Score a sample of val and return what to show of it."""
    if isinstance(trainer.task, OutfitTask):
        return _choose_outfit_pairs(trainer, trainer.task.featured, budget)
    return _choose_class_pairs(trainer, budget)


def _choose_class_pairs(trainer: Trainer, budget: Budget) -> list[Slot]:
    classes, generator = trainer.task.featured.classes, np.random.default_rng(PURPOSE)
    queries, gallery = _sample(trainer.task, budget, generator)
    items = np.unique(np.concatenate([queries, gallery]))
    scores = trainer.scorer(Split.VAL, items)(queries[None], gallery[None, :, None])[0].astype(np.float64)
    itself = queries[:, None] == gallery
    scores[itself] = -np.inf
    closest = scores.argmax(axis=1)
    same = classes[queries][:, None] == classes[gallery]
    hits = same[np.arange(len(queries)), closest]
    best = scores[np.arange(len(queries)), closest]

    def with_closest(rows: Int[np.ndarray, "r"]) -> list[tuple[int, int]]:
        """Pair queries with their closest images, one query of each class first."""
        _, first = np.unique(classes[queries[rows]], return_index=True)
        ordered = [*rows[np.sort(first)], *np.delete(rows, first)]
        return [(int(queries[row]), int(gallery[closest[row]])) for row in ordered]

    def ordered(chosen: np.ndarray, sign: float) -> list[tuple[int, int]]:
        rows, columns = np.nonzero(chosen & ~itself)
        order = np.argsort(sign * scores[rows, columns], kind="stable")[:200]
        return [(int(queries[rows[k]]), int(gallery[columns[k]])) for k in order]

    right, wrong = generator.permutation(np.flatnonzero(hits)), np.flatnonzero(~hits)
    closest_of = f"closest of {len(gallery) - int(itself.any())} images"
    num_same, num_apart = int((same & ~itself).sum()), int((~same).sum())
    return [
        Slot(group="right", title=f"{closest_of}: same class", same=True, count=4, pairs=with_closest(right)),
        Slot(
            group="wrong",
            title=f"{closest_of}: another class (so for {len(wrong)} of {len(queries)} images)",
            same=False,
            count=4,
            pairs=with_closest(wrong[np.argsort(-best[wrong], kind="stable")]),
        ),
        Slot(
            group="hardest",
            title=f"same class, lowest of {num_same} scores",
            same=True,
            count=2,
            pairs=ordered(same, 1),
        ),
        Slot(
            group="hardest",
            title=f"different classes, highest of {num_apart} scores",
            same=False,
            count=2,
            pairs=ordered(~same, -1),
        ),
    ]


def _sample(
    task: Task, budget: Budget, generator: np.random.Generator
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Return queries and a gallery of val. Every query has an image of its class in the gallery besides itself."""
    classes = task.featured.classes
    if isinstance(task, RetrievalTask):
        part = task.parts(Split.VAL)[0]
        return sample_products(part.queries, part.gallery, classes, budget.queries, budget.gallery)
    items = task.featured.splits[Split.VAL]
    chosen: list[int] = []
    for label in generator.permutation(np.unique(classes[items])):
        of_class = generator.permutation(items[classes[items] == label])[:MAX_PER_CLASS]
        if len(chosen) + len(of_class) <= budget.gallery or len(chosen) < 2:
            chosen += of_class.tolist() if len(of_class) > 1 else []
    gallery = np.sort(np.array(chosen, dtype=np.int64))
    return np.sort(generator.permutation(gallery)[: budget.queries]), gallery


def _choose_outfit_pairs(trainer: Trainer, featured: FeaturedItems, budget: Budget) -> list[Slot]:
    outfits = _sample_outfits(featured, min(NUM_OUTFITS, budget.gallery // 4))
    generator = np.random.default_rng(PURPOSE)
    together = {pair for outfit in outfits for pair in combinations(sorted(set(outfit)), 2)}
    shared = np.array(sorted(together), dtype=np.int64)
    items = np.unique(shared)
    drawn = np.sort(generator.choice(items, (4 * len(shared), 2)), axis=1)
    apart = np.array([pair for pair in map(tuple, drawn.tolist()) if pair[0] != pair[1] and pair not in together])
    apart = np.unique(apart[: len(shared)], axis=0)
    embeddings = trainer.embed(items)

    def score(pairs: Int[np.ndarray, "P 2"]) -> Float[np.ndarray, "P"]:
        first, second = np.searchsorted(items, pairs).T
        return trainer.model.score_pairs(embeddings, first, second)

    of_shared, of_apart = score(shared), score(apart)
    low, high = float(np.median(of_apart)), float(np.median(of_shared))

    def listed(pairs: Int[np.ndarray, "P 2"], order: Int[np.ndarray, "p"]) -> list[tuple[int, int]]:
        return [(int(pairs[place, 0]), int(pairs[place, 1])) for place in order[:200]]

    def shuffled(mask: np.ndarray) -> Int[np.ndarray, "p"]:
        return generator.permutation(np.flatnonzero(mask))

    kinds: list[tuple[Group, str, bool, int, list[tuple[int, int]]]] = [
        (
            "right",
            "share an outfit, and score above half of the pairs that share none",
            True,
            3,
            listed(shared, shuffled(of_shared > low)),
        ),
        (
            "wrong",
            "share an outfit, but score below half of the pairs that share none",
            True,
            2,
            listed(shared, shuffled(of_shared < low)),
        ),
        (
            "wrong",
            "share no outfit, but score above half of the pairs that share one",
            False,
            2,
            listed(apart, shuffled(of_apart > high)),
        ),
        ("hardest", f"share an outfit, lowest of {len(shared)} scores", True, 1, listed(shared, np.argsort(of_shared))),
        (
            "hardest",
            f"share no outfit, highest of {len(apart)} scores",
            False,
            1,
            listed(apart, np.argsort(-of_apart)),
        ),
    ]
    return [
        Slot(group=group, title=title, same=same, count=count, pairs=pairs)
        for group, title, same, count, pairs in kinds
    ]


def _sample_outfits(featured: FeaturedItems, most: int) -> list[tuple[int, ...]]:
    assert isinstance(featured.relations, Outfits)
    outfits = featured.relations.outfits[Split.VAL]
    chosen = np.sort(np.random.default_rng(PURPOSE).permutation(len(outfits))[:most])
    return [outfits[place] for place in chosen]


def choose_questions(trainer: Trainer, budget: Budget) -> Iterator[tuple[int, list[Question]]]:
    """Answer a sample of the fill-in-the-blank questions of val, if the task has any.

    Yields:
        How many questions of a kind to show, and those of the kind, the best examples first.
    """
    task = trainer.task
    if not isinstance(task, OutfitTask):
        return
    blanks = [
        blank
        for blank in task.sample_blanks(Split.VAL, min(NUM_OUTFITS, budget.gallery // 4))
        if len(blank.question) <= MAX_OUTFIT
    ]
    items = np.unique([item for blank in blanks for item in (*blank.question, *blank.answers)])
    scorer = trainer.scorer(Split.VAL, items)
    answered: list[tuple[int, Question]] = []
    for blank in blanks:
        scores = scorer(np.array(blank.answers)[None], np.array(blank.question)[None, None])[0, :, 0]
        rank = 1 + int((scores > scores[blank.right]).sum())
        shown = scores if trainer.model.scoring == "pair_mean" else torch.sigmoid(torch.from_numpy(scores)).numpy()
        group: Group = "right" if rank == 1 else "wrong"
        title = "the missing item is chosen" if rank == 1 else f"the missing item is ranked {rank} of {len(scores)}"
        question = Question(
            group=group,
            title=title,
            outfit=blank.question,
            candidates=blank.answers,
            scores=tuple(map(float, shown)),
            answer=blank.right,
        )
        answered.append((rank, question))
    order = np.random.default_rng(PURPOSE).permutation(len(answered))
    right = [answered[place][1] for place in order if answered[place][0] == 1]
    wrong = [answered[place][1] for place in order if answered[place][0] > 1]
    yield 1, right
    yield 2, wrong
    hardest = sorted(answered, key=lambda entry: (-entry[0], entry[1].scores[entry[1].answer]))
    worst = f"worst of {len(answered)} questions"
    yield (
        1,
        [
            replace(question, group="hardest", title=f"{question.title}, {worst}")
            for rank, question in hardest
            if rank > 1
        ],
    )
