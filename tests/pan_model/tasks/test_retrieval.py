import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Role, Roles, Split, ValQuestions, alternate
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig
from pan_model.tasks.ranking import SCORES_BATCH_SIZE
from pan_model.tasks.retrieval import RECALL_AT, RetrievalTask, sample_products
from pan_model.tasks.task import SetScorer, Task
from pan_model.training.trainer import Trainer


def knows(classes: np.ndarray, doubt: float = 0.0) -> SetScorer:
    """Scores a set by the share of the query's class in it, with noise that each pair of items always has."""
    noise = np.random.default_rng(5).normal(size=(len(classes), len(classes)))

    def score(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        first, second = queries[:, :, None, None], sets[:, None]
        return ((classes[first] == classes[second]) + doubt * noise[first, second]).mean(axis=3)

    return score


def shop(classes: list[int], roles: list[Role], splits: dict[Split, list[int]]) -> FeaturedItems:
    """Items without anything to learn from."""
    num = len(classes)
    return FeaturedItems(
        features=np.zeros((num, 2), dtype=np.float32),
        classes=np.array(classes, dtype=np.int64),
        attributes=np.zeros((num, 1), dtype=bool),
        certain=np.zeros((num, 1), dtype=bool),
        attribute_names=("belts",),
        splits={split: np.array(items, dtype=np.int64) for split, items in splits.items()},
        relations=Roles(roles=np.array(roles, dtype=np.uint8)),
    )


@pytest.fixture(scope="module")
def stocked(featured: FeaturedItems) -> FeaturedItems:
    """The planted items as a shop: of each test product every third image is a query."""
    roles = np.full(len(featured.classes), Role.TRAIN, dtype=np.uint8)
    test = featured.splits[Split.TEST]
    roles[test] = np.where(np.arange(len(test)) % 3 == 0, Role.QUERY, Role.GALLERY)
    return replace(featured, relations=Roles(roles=roles))


@pytest.fixture(scope="module")
def retrieval(stocked: FeaturedItems) -> RetrievalTask:
    return RetrievalTask(stocked, seed=0)


def test_retrieval_is_a_task(retrieval: RetrievalTask):
    as_task: Task = retrieval
    assert as_task.objective == Objective("recall@1", "max")


@pytest.mark.parametrize(
    "sampling",
    [
        {"pairs": PairSampling.FRESH},
        {"pairs": PairSampling.BALANCED, "classes_per_step": 6, "images_per_class": 6},
    ],
)
@pytest.mark.parametrize("train_on", [(Split.TRAIN,), (Split.TRAIN, Split.VAL)])
def test_training_pairs_are_of_one_product_or_of_two(
    stocked: FeaturedItems, sampling: dict[str, Any], train_on: tuple[Split, ...]
):
    task = RetrievalTask(stocked, seed=0, train_on=train_on)
    config = PairsConfig(pairs_per_epoch=500, steps_per_epoch=5, **sampling)
    for pairs in task.draw_steps(config, np.random.default_rng(0)):
        assert isinstance(pairs, Pairs)
        assert np.isin([pairs.index_1, pairs.index_2], stocked.items_of(train_on)).all()
        assert ((stocked.classes[pairs.index_1] == stocked.classes[pairs.index_2]) == pairs.same).all()
        assert pairs.same.any()
        assert not pairs.same.all()


@pytest.mark.parametrize("split", Split)
def test_a_scorer_that_knows_the_products_makes_no_mistake(
    retrieval: RetrievalTask, stocked: FeaturedItems, split: Split
):
    scores = retrieval.evaluate(knows(stocked.classes), split)
    assert list(scores) == ["recall@1"]
    assert scores["recall@1"].tolist() == [1.0] * sum(len(part.queries) for part in retrieval.parts(split))


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("batch_size", [1, 100, SCORES_BATCH_SIZE])
def test_recall_is_whether_a_match_is_among_the_best_of_the_gallery(
    retrieval: RetrievalTask, stocked: FeaturedItems, monkeypatch: pytest.MonkeyPatch, split: Split, batch_size: int
):
    monkeypatch.setattr("pan_model.tasks.task.SCORES_BATCH_SIZE", batch_size)
    doubtful = knows(stocked.classes, doubt=1.0)
    scores = retrieval.evaluate_fully(doubtful, split)
    assert list(scores) == [f"recall@{k}" for k in (1, 10, 20, 30, 40, 50)]
    assert retrieval.evaluate(doubtful, split)["recall@1"].tolist() == scores["recall@1"].tolist()
    asked = [(query, part.gallery) for part in retrieval.parts(split) for query in part.queries.tolist()]
    assert retrieval.left_out == {}
    for k in RECALL_AT:
        expected: list[float] = []
        for query, gallery in asked:
            of_query = doubtful(np.array([[query]]), gallery[None, :, None])[0, 0]
            best = gallery[np.argsort(-of_query)[:k]]
            expected.append(float((stocked.classes[best] == stocked.classes[query]).any()))
        assert scores[f"recall@{k}"].tolist() == expected
    assert 0 < scores["recall@1"].mean() < 1


def test_queries_and_gallery_are_the_official_ones_on_test_and_take_turns_on_val(
    retrieval: RetrievalTask, stocked: FeaturedItems
):
    test, val = stocked.splits[Split.TEST], stocked.splits[Split.VAL]
    assert retrieval.questions(Split.TEST).queries.tolist() == test[::3].tolist()
    assert np.union1d(test[::3], retrieval.questions(Split.TEST).gallery).tolist() == test.tolist()
    queries, gallery = alternate(val, stocked.classes[val])
    assert retrieval.questions(Split.VAL).queries.tolist() == queries.tolist()
    assert retrieval.questions(Split.VAL).gallery.tolist() == gallery.tolist()


def test_all_seeds_and_final_training_have_the_same_questions(retrieval: RetrievalTask, stocked: FeaturedItems):
    other = RetrievalTask(stocked, seed=9, train_on=(Split.TRAIN, Split.VAL))
    for split in Split:
        for one, two in zip(retrieval.questions(split), other.questions(split), strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("num_lone", [0, 2])
def test_fresh_questions_on_val_have_roles_drawn_from_the_seed_and_then_exchanged(num_lone: int):
    stocked = shop_of(60)
    val, classes = stocked.splits[Split.VAL], stocked.classes.copy()
    classes[val[:num_lone]] = classes.max() + 1 + np.arange(num_lone)  # products of one image
    task = RetrievalTask(replace(stocked, classes=classes), seed=0)
    parts = task.with_fresh_val(3, 0, keep_classes=True).parts(Split.VAL)
    asked = np.sort(np.concatenate([part.queries for part in parts]))
    has_match = np.bincount(classes[val])[classes[val]] > 1
    assert asked.tolist() == val[has_match].tolist()  # each once
    for part in parts:
        assert np.sort(np.concatenate([part.queries, part.gallery])).tolist() == val.tolist()  # the gallery is whole
        assert np.isin(classes[part.queries], classes[part.gallery]).all()
        assert part.num_unasked == 0
    again, other = (task.with_fresh_val(seed, 0, keep_classes=True).parts(Split.VAL) for seed in (3, 4))
    assert [part.queries.tolist() for part in again] == [part.queries.tolist() for part in parts]
    assert [part.queries.tolist() for part in other] != [part.queries.tolist() for part in parts]


def test_fresh_val_has_other_products_and_the_task_keeps_its_own(retrieval: RetrievalTask):
    usual, classes = retrieval.parts(Split.VAL), retrieval.featured.classes
    products: list[set[int]] = []
    for part in range(2):
        fresh = retrieval.with_fresh_val(3, part)
        asked = [*(questions.queries for questions in fresh.parts(Split.VAL))]
        products.append(set(classes[np.concatenate(asked)].tolist()))
        assert not products[-1] & set(classes[fresh.training_items].tolist())
        for one, two in zip(fresh.questions(Split.TEST), retrieval.questions(Split.TEST), strict=True):
            assert np.array_equal(one, two)
    assert not products[0] & products[1]
    assert retrieval.parts(Split.VAL) is usual


TURNS = {Split.TRAIN: [0, 1], Split.VAL: [2, 3], Split.TEST: [4, 5, 6, 7]}


def test_a_query_whose_product_is_not_in_the_gallery_is_not_asked_but_counted():
    roles = [Role.TRAIN] * 4 + [Role.QUERY, Role.GALLERY, Role.QUERY, Role.QUERY]
    task = RetrievalTask(shop([0, 0, 1, 1, 2, 2, 3, 4], roles, TURNS), seed=0)
    questions = task.questions(Split.TEST)
    assert (questions.queries.tolist(), questions.gallery.tolist(), questions.num_unasked) == ([4], [5], 2)
    assert task.left_out == {"test query whose item has no image in the gallery": 2}
    hits = task.evaluate_fully(knows(task.featured.classes), Split.TEST)
    assert {name: of_all.tolist() for name, of_all in hits.items()} == {f"recall@{k}": [1.0] for k in RECALL_AT}


def test_a_nan_score_makes_its_query_nan_and_no_other(retrieval: RetrievalTask, stocked: FeaturedItems):
    first = retrieval.questions(Split.VAL).queries[0]
    right = knows(stocked.classes)

    def spoiled(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        scores = right(queries, sets)
        scores[queries == first, -1] = math.nan
        return scores

    for hits in retrieval.evaluate_fully(spoiled, Split.VAL).values():
        assert math.isnan(hits[0])
        assert (hits[1:] == 1).all()


@pytest.mark.parametrize(
    ("split", "classes", "roles"),
    [
        ("train", [0, 5, 1, 1, 2, 2, 3, 3], "qgqg"),
        ("val", [0, 0, 1, 5, 2, 2, 3, 3], "qgqg"),
        ("test", [0, 0, 1, 1, 2, 2, 3, 3], "qqgg"),
        ("test", [0, 0, 1, 1, 2, 2, 3, 3], "qqqq"),
        ("test", [0, 0, 1, 1, 2, 2, 3, 3], "gggg"),
    ],
)
def test_a_split_without_a_query_that_has_a_match_is_refused(split: str, classes: list[int], roles: str):
    official = [{"q": Role.QUERY, "g": Role.GALLERY}[letter] for letter in roles]
    with pytest.raises(
        UserError, match=rf"^split {split}: recall needs a query with an image .* and no match; add items"
    ):
        RetrievalTask(shop(classes, [Role.TRAIN] * 4 + official, TURNS), seed=0)


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match=r"split val: .* got 0 queries, 0 gallery images and no match"):
        RetrievalTask(shop([0, 0, 2, 2, 2, 2, 3, 3], [Role.QUERY, Role.GALLERY] * 4, TURNS | {Split.VAL: []}), seed=0)


def test_scores_are_asked_for_in_pieces_of_bounded_size():
    num = 3000
    roles = [Role.TRAIN] * 4 + [Role.QUERY] * num + [Role.GALLERY] * num
    products = list(range(2, 2 + num))
    splits = {Split.TRAIN: [0, 1], Split.VAL: [2, 3], Split.TEST: list(range(4, 4 + 2 * num))}
    task = RetrievalTask(shop([0, 0, 1, 1, *products, *products], roles, splits), seed=0)
    asked: list[np.ndarray] = []

    def note(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        assert queries.shape[0] == sets.shape[0] == 1
        assert sets.shape[1:] == (num, 1)
        assert queries.shape[1] * sets.shape[1] <= SCORES_BATCH_SIZE
        asked.append(queries[0])
        return (task.featured.classes[queries[0]][:, None] == task.featured.classes[sets[0, :, 0]])[None].astype(float)

    assert task.evaluate(note, Split.TEST)["recall@1"].mean() == 1
    assert len(asked) == -(-num // (SCORES_BATCH_SIZE // num))
    assert np.concatenate(asked).tolist() == task.questions(Split.TEST).queries.tolist()


def shop_of(num_products: int) -> FeaturedItems:
    """Products with 3 to 8 images each; val has all but the first and the last two."""
    classes = np.repeat(np.arange(num_products), np.resize([3, 8, 5, 4], num_products))
    first, last = np.flatnonzero(classes == 1)[0], np.flatnonzero(classes == num_products - 2)[0]
    places = np.split(np.arange(len(classes)), [first, last])
    roles = [Role.TRAIN] * int(last) + [Role.QUERY, Role.GALLERY] * len(classes)
    splits = {split: items.tolist() for split, items in zip((Split.TRAIN, Split.VAL, Split.TEST), places, strict=True)}
    return shop(classes.tolist(), roles[: len(classes)], splits)


def test_a_large_gallery_on_val_is_searched_in_parts():
    stocked = shop_of(203)
    task, again = RetrievalTask(stocked, seed=0), RetrievalTask(stocked, seed=5)
    whole, parts = task.questions(Split.VAL), task.parts(Split.VAL)
    assert len(parts) == 4
    for part, same in zip(parts, again.parts(Split.VAL), strict=True):
        assert (part.queries.tolist(), part.gallery.tolist()) == (same.queries.tolist(), same.gallery.tolist())
    assert np.sort(np.concatenate([part.queries for part in parts])).tolist() == whole.queries.tolist()
    assert np.sort(np.concatenate([part.gallery for part in parts])).tolist() == whole.gallery.tolist()
    products = [set(stocked.classes[part.gallery].tolist()) for part in parts]
    assert all(set(stocked.classes[part.queries].tolist()) <= own for part, own in zip(parts, products, strict=True))
    assert sum(map(len, products)) == len(set.union(*products))
    assert sum(len(part.queries) * len(part.gallery) for part in parts) <= len(whole.queries) * len(whole.gallery) / 3
    assert all(len(task.parts(split)) == 1 for split in (Split.TRAIN, Split.TEST))


def test_queries_are_ranked_in_the_gallery_of_their_part():
    stocked = shop_of(203)
    task, doubtful = RetrievalTask(stocked, seed=0), knows(stocked.classes, doubt=1.0)
    expected: list[float] = []
    for part in task.parts(Split.VAL):
        best = part.gallery[doubtful(part.queries[None], part.gallery[None, :, None])[0].argmax(axis=1)]
        expected += (stocked.classes[best] == stocked.classes[part.queries]).astype(float).tolist()
    assert task.evaluate(doubtful, Split.VAL)["recall@1"].tolist() == expected


def test_full_questions_are_searched_in_the_whole_gallery():
    task = RetrievalTask(shop_of(203), seed=0, val_questions=ValQuestions.FULL)
    assert task.parts(Split.VAL) == (task.questions(Split.VAL),)


def test_in_a_small_gallery_on_val_every_image_is_asked_once():
    stocked = shop_of(60)
    val, classes = stocked.splits[Split.VAL], stocked.classes.copy()
    classes[val[0]] = classes.max() + 1  # a product of one image has no match
    task = RetrievalTask(replace(stocked, classes=classes), seed=0)
    first, second = task.parts(Split.VAL)
    assert first is task.questions(Split.VAL)
    assert second.queries.tolist() == first.gallery[first.gallery != val[0]].tolist()
    assert second.gallery.tolist() == [val[0], *first.queries.tolist()]


def test_on_train_a_fixed_sample_is_asked():
    classes = np.repeat(np.arange(900), 6)
    queries, gallery = alternate(np.arange(len(classes)), classes)
    sampled, searched = sample_products(queries, gallery, classes, 200, 1000)
    assert (len(sampled), len(searched)) == (200, 1000)
    assert np.isin(sampled, queries).all()
    assert np.isin(searched, gallery).all()
    assert np.isin(classes[sampled], classes[searched]).all()
    assert len(np.unique(classes[searched] // 100)) == 9  # from all over
    again = sample_products(queries, gallery, classes, 200, 1000)
    assert (sampled.tolist(), searched.tolist()) == (again[0].tolist(), again[1].tolist())


def test_one_product_may_fill_the_gallery_of_train():
    classes = np.zeros(5000, dtype=np.int64)
    queries, gallery = sample_products(*alternate(np.arange(5000), classes), classes, 200, 1000)
    assert (len(queries), len(gallery)) == (200, 1000)


@pytest.mark.parametrize("encoder", ["siamese", "proxynca"])
def test_pan_trains_and_is_judged_by_it(
    retrieval: RetrievalTask, configure: Callable[..., TrialConfig], everything: dict[str, Any], encoder: str
):
    trainer = Trainer(retrieval, configure(**everything, encoder=encoder), torch.device("cpu"))
    trainer.train_epoch()
    for split in Split:
        assert 0 <= trainer.evaluate(split).means()["recall@1"] <= 1
