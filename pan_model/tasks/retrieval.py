"""The retrieval task: same-class pairs to train on, queries against a gallery to be judged by (In-Shop)."""

from typing import ClassVar, NamedTuple

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, queries_and_gallery, roles_of
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Float, Int
from pan_model.tasks.metrics import match_ranks, recall_of_ranks
from pan_model.tasks.same_class import SameClassTask
from pan_model.tasks.task import SetScorer

RECALL_AT = (1, 10, 20, 30, 40, 50)
SCORES_BATCH_SIZE = 2**22
"""Scores that a scorer is asked for at a time, but for galleries that are larger: bounds memory, whatever the data."""

WITHOUT_MATCH = "whose item has no image in the gallery"

TRAIN_QUERIES = 200
TRAIN_GALLERY = 1000
"""On train overfitting is only watched: at most so many images ask and are searched."""


class Retrieval(NamedTuple):
    """The queries that are asked and the gallery, as item indices, and how many queries are not asked.

    Not asked is a query whose product has no image in the gallery: no scorer could answer it.
    """

    queries: Int[np.ndarray, "Q"]
    gallery: Int[np.ndarray, "G"]
    num_unasked: int


class RetrievalTask(SameClassTask):
    """Every query of a split is a question: is an image of its product among the best-scored of the whole gallery?

    Queries and gallery are those of `pan_model.data.splits.queries_and_gallery`, on train a fixed sample of them;
    nothing is drawn, so that all seeds have the same questions. `left_out` says how many queries are not asked.
    Raises UserError when a split has no query with a match.
    """

    objective: ClassVar[Objective] = Objective("recall@1", "max")

    def __init__(self, featured: FeaturedItems, *, seed: int, train_on: tuple[Split, ...] = (Split.TRAIN,)) -> None:
        super().__init__(featured, seed=seed, train_on=train_on)
        self._questions = {split: self._collect(split) for split in Split}

    def questions(self, split: Split) -> Retrieval:
        """The queries and the gallery of a split."""
        return self._questions[split]

    @property
    def left_out(self) -> dict[str, int]:
        """The queries of val and test that are not asked."""
        unasked = {split: self._questions[split].num_unasked for split in (Split.VAL, Split.TEST)}
        return {f"{split} query {WITHOUT_MATCH}": number for split, number in unasked.items() if number}

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """recall@1 of each query: whether the best-scored of the gallery is of its product."""
        return self._recall((1,), scorer, split)

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """recall@1,10,20,30,40,50 of each query; a gallery that has fewer images counts whole."""
        return self._recall(RECALL_AT, scorer, split)

    def _recall(self, ks: tuple[int, ...], scorer: SetScorer, split: Split) -> QuestionScores:
        recall = recall_of_ranks(ks, self._rank(scorer, split))
        return {f"recall@{k}": hits for k, hits in recall.items()}

    def _rank(self, scorer: SetScorer, split: Split) -> Float[np.ndarray, "Q"]:
        """Score a piece of the queries after another against the whole gallery, and keep their ranks alone."""
        queries, gallery, _ = self._questions[split]
        classes, sets = self.featured.classes, gallery[None, :, None]
        size = max(1, SCORES_BATCH_SIZE // len(gallery))
        pieces = (queries[start : start + size] for start in range(0, len(queries), size))
        return np.concatenate(
            [match_ranks(scorer(piece[None], sets)[0], classes[piece], classes[gallery]) for piece in pieces]
        )

    def _collect(self, split: Split) -> Retrieval:
        featured = self.featured
        queries, gallery = queries_and_gallery(
            split, featured.splits[split], featured.classes, roles_of(featured.relations)
        )
        if split is Split.TRAIN:
            queries, gallery = sample_products(queries, gallery, featured.classes)
        asked = np.isin(featured.classes[queries], featured.classes[gallery])
        if not asked.any():
            raise UserError(
                f"split {split}: recall needs a query with an image of its item in the gallery, got {len(queries)} "
                f"queries, {len(gallery)} gallery images and no match; add items with at least 2 images."
            )
        return Retrieval(queries[asked], gallery, int((~asked).sum()))


def sample_products(
    queries: Int[np.ndarray, "_"], gallery: Int[np.ndarray, "_"], classes: Int[np.ndarray, "N"]
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Take at most 1000 images of the gallery and 200 queries, product by product in an order that is always the same.

    The order is a shuffled one, because products of one kind have ids in a row.
    """
    products, place = np.unique(classes, return_inverse=True)
    turn = np.random.default_rng(0).permutation(len(products))[place]
    gallery = gallery[np.argsort(turn[gallery], kind="stable")[:TRAIN_GALLERY]]
    queries = queries[np.isin(classes[queries], classes[gallery])]
    return queries[np.argsort(turn[queries], kind="stable")[:TRAIN_QUERIES]], np.sort(gallery)
