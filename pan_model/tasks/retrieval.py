"""The retrieval task: trains on same-class pairs; metrics compare queries with a gallery (In-Shop, folders)."""

from typing import ClassVar, NamedTuple

import numpy as np

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions, alternate, queries_and_gallery, roles_of
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scores import QuestionScores
from pan_model.shapes import Float, Int
from pan_model.tasks.metrics import match_ranks, recall_of_ranks
from pan_model.tasks.same_class import SameClassTask, with_other_val
from pan_model.tasks.task import SetScorer, rank_gallery

RECALL_AT = (1, 10, 20, 30, 40, 50)

WITHOUT_MATCH = "whose item has no image in the gallery"

TRAIN_SAMPLE = {ValQuestions.REDUCED: (100, 250), ValQuestions.FULL: (200, 1000)}
"""The most queries and gallery images on train, which only shows overfitting, for each kind of questions on val."""


NUM_PARTS = 4
MIN_GALLERY = 100
"""The parts of a gallery on val, and the fewest images of a part; a smaller gallery on val is not divided."""

ROLES_PURPOSE = 6
"""Key that separates the random numbers of `with_fresh_val` from others of the same seed."""

PARTS_SEED = 1
"""Shuffles the products before they are divided into parts."""


class Retrieval(NamedTuple):
    """The queries and the gallery of a split, as item indices.

    `num_unasked` counts the queries that are left out because their product has no image in the gallery.
    """

    queries: Int[np.ndarray, "Q"]
    gallery: Int[np.ndarray, "G"]
    num_unasked: int


class RetrievalTask(SameClassTask):
    """Every query of a split is a question: is an image of its product among the best-scored of the gallery?

    On val, the products of a large gallery are divided into 4 parts, and each query is searched in the gallery of its
    own part. If a part would have fewer than 100 images, the gallery stays whole, and after the queries the gallery
    images are asked among the queries, so that every image is asked once. The full questions on val, like those on
    test, are the queries in the whole gallery. On train the queries and the gallery are a fixed sample. All seeds have
    the same questions. In a dataset without official roles, the images of each class are queries and gallery images by
    turns.

    Raises:
        UserError: A split has no query with a match in the gallery.
    """

    objective: ClassVar[Objective] = Objective("recall@1", "max")

    def __init__(
        self,
        featured: FeaturedItems,
        *,
        seed: int,
        train_on: tuple[Split, ...] = (Split.TRAIN,),
        val_questions: ValQuestions = ValQuestions.REDUCED,
    ) -> None:
        super().__init__(featured, seed=seed, train_on=train_on, val_questions=val_questions)
        self._questions = {split: self._collect(split) for split in Split}
        self._parts: dict[Split, tuple[Retrieval, ...]] = {split: (self._questions[split],) for split in Split}
        if self.val_questions is ValQuestions.REDUCED:
            whole = self._questions[Split.VAL]
            self._parts[Split.VAL] = divide(whole, featured.classes) or exchange(whole, featured.classes)

    def questions(self, split: Split) -> Retrieval:
        """Return the queries and the gallery of a split."""
        return self._questions[split]

    def parts(self, split: Split) -> tuple[Retrieval, ...]:
        """Return the parts of a split's questions; each query is searched in the gallery of its part only."""
        return self._parts[split]

    def with_fresh_val(self, seed: int, part: int, *, keep_classes: bool = False) -> "RetrievalTask":
        """Return the task with other products held out as val, see `hold_out`, and each of their images as a query.

        In each product the images, shuffled, are queries and gallery images by turns. Then the roles are exchanged, so
        that every image with another of its product is a query once. The gallery is whole.
        """
        fresh = with_other_val(self, seed, part, keep_classes=keep_classes)
        fresh._parts[Split.VAL] = fresh._draw_roles(fresh.seed)
        return fresh

    def _draw_roles(self, seed: int) -> tuple[Retrieval, ...]:
        """Draw queries and a gallery from the images of val, and exchange the roles for a second part."""
        items, classes = self.featured.splits[Split.VAL], self.featured.classes
        shuffled = np.random.default_rng([seed, ROLES_PURPOSE]).permutation(items)
        queries, gallery = (np.sort(half) for half in alternate(shuffled, classes[shuffled]))
        return exchange(Retrieval(queries, gallery, 0), classes)

    @property
    def left_out(self) -> dict[str, int]:
        """The numbers of val and test queries that are left out."""
        unasked = {split: self._questions[split].num_unasked for split in (Split.VAL, Split.TEST)}
        return {f"{split} query {WITHOUT_MATCH}": number for split, number in unasked.items() if number}

    def evaluate(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return recall@1 of each query: whether the best-scored gallery image is of its product."""
        return self._recall((1,), scorer, split)

    def evaluate_fully(self, scorer: SetScorer, split: Split) -> QuestionScores:
        """Return recall@1,10,20,30,40,50 of each query; a smaller gallery counts as a whole."""
        return self._recall(RECALL_AT, scorer, split)

    def _recall(self, ks: tuple[int, ...], scorer: SetScorer, split: Split) -> QuestionScores:
        ranks = np.concatenate([self._rank(scorer, part, max(ks)) for part in self._parts[split]])
        return {f"recall@{k}": hits for k, hits in recall_of_ranks(ks, ranks).items()}

    def _rank(self, scorer: SetScorer, part: Retrieval, num_best: int) -> Float[np.ndarray, "Q"]:
        """Rank the gallery of a part for each of its queries, and return the rank of the first match."""
        classes = self.featured.classes
        best, unknown = rank_gallery(scorer, part.queries, part.gallery, num_best)
        return match_ranks(classes[part.gallery[best]], unknown, classes[part.queries])

    def _collect(self, split: Split) -> Retrieval:
        featured = self.featured
        roles = None if featured.relations is None else roles_of(featured.relations)
        queries, gallery = queries_and_gallery(split, featured.splits[split], featured.classes, roles)
        if split is Split.TRAIN:
            queries, gallery = sample_products(queries, gallery, featured.classes, *TRAIN_SAMPLE[self.val_questions])
        asked = np.isin(featured.classes[queries], featured.classes[gallery])
        if not asked.any():
            raise UserError(
                f"split {split}: recall needs a query with an image of its item in the gallery, got {len(queries)} "
                f"queries, {len(gallery)} gallery images and no match; add items with at least 2 images."
            )
        return Retrieval(queries[asked], gallery, int((~asked).sum()))


def divide(questions: Retrieval, classes: Int[np.ndarray, "N"]) -> tuple[Retrieval, ...]:
    """Divide the products of queries and gallery into 4 parts, always in the same way.

    All queries and gallery images are kept, in their order. Nothing is returned if a part would have fewer than 100
    gallery images, among which the best is easily found, or no query.

    Args:
        questions: The queries, which all have a match, and the gallery.
        classes: The products of all items, shape (N,).
    """
    queries, gallery, num_unasked = questions
    products, place = np.unique(classes[np.concatenate([queries, gallery])], return_inverse=True)
    part_of = np.random.default_rng(PARTS_SEED).permutation(len(products))[place] % NUM_PARTS
    of_query, of_image = part_of[: len(queries)], part_of[len(queries) :]
    if min(np.bincount(of_image, minlength=NUM_PARTS)) < MIN_GALLERY or len(np.unique(of_query)) < NUM_PARTS:
        return ()
    return tuple(
        Retrieval(queries[of_query == part], gallery[of_image == part], num_unasked if part == 0 else 0)
        for part in range(NUM_PARTS)
    )


def exchange(questions: Retrieval, classes: Int[np.ndarray, "N"]) -> tuple[Retrieval, Retrieval]:
    """Return the questions, and others with the roles exchanged.

    Each gallery image with a match is searched among the queries and the gallery images without a match.

    Args:
        questions: The queries, which all have a match, and the gallery.
        classes: The products of all items, shape (N,).
    """
    queries, gallery, _ = questions
    matched = np.isin(classes[gallery], classes[queries])  # a product's only image has no match
    others = np.sort(np.concatenate([queries, gallery[~matched]]))
    return questions, Retrieval(gallery[matched], others, 0)


def sample_products(
    queries: Int[np.ndarray, "_"],
    gallery: Int[np.ndarray, "_"],
    classes: Int[np.ndarray, "N"],
    num_queries: int,
    num_gallery: int,
) -> tuple[Int[np.ndarray, "Q"], Int[np.ndarray, "G"]]:
    """Take at most `num_gallery` gallery images and `num_queries` queries, product by product in a fixed order.

    The order is shuffled, because products of the same kind have consecutive ids.
    """
    products, place = np.unique(classes, return_inverse=True)
    turn = np.random.default_rng(0).permutation(len(products))[place]
    gallery = gallery[np.argsort(turn[gallery], kind="stable")[:num_gallery]]
    queries = queries[np.isin(classes[queries], classes[gallery])]
    return queries[np.argsort(turn[queries], kind="stable")[:num_queries]], np.sort(gallery)
