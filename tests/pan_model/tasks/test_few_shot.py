"""The few-shot task: its episodes, its accuracy and its recall."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.tasks.few_shot import FRESH_FACTOR, Episodes, FewShotTask, draw_episodes
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig
from pan_model.tasks.task import SetScorer, Task


def knows(classes: np.ndarray, doubt: float = 0.0) -> SetScorer:
    """Scores a set by the share of the query's class in it, with noise that each pair of items always has."""
    noise = np.random.default_rng(5).normal(size=(len(classes), len(classes)))

    def score(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        first, second = queries[:, :, None, None], sets[:, None]
        return ((classes[first] == classes[second]) + doubt * noise[first, second]).mean(axis=3)

    return score


def test_few_shot_is_a_task(task: FewShotTask):
    as_task: Task = task
    assert as_task.objective == Objective("few_shot_accuracy", "max")


SAMPLINGS: list[dict[str, Any]] = [
    {"pairs": PairSampling.FRESH},
    {"pairs": PairSampling.FIXED},
    {"pairs": PairSampling.BALANCED, "classes_per_step": 6, "images_per_class": 6},
]


def draw(task: FewShotTask, seed: int = 0, **values: Any) -> list[Pairs]:
    return task.draw_steps(PairsConfig(**values), np.random.default_rng(seed))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_training_pairs_are_of_training_items_only(
    task: FewShotTask, featured: FeaturedItems, sampling: dict[str, Any]
):
    steps = draw(task, pairs_per_epoch=500, steps_per_epoch=5, **sampling)
    assert [len(step.same) for step in steps] == [100] * 5
    for pairs in steps:
        assert isinstance(pairs, Pairs)
        assert np.isin([pairs.index_1, pairs.index_2], featured.splits[Split.TRAIN]).all()
        assert ((featured.classes[pairs.index_1] == featured.classes[pairs.index_2]) == pairs.same).all()
        assert pairs.same.any()
        assert not pairs.same.all()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_final_training_takes_both_splits(featured: FeaturedItems, sampling: dict[str, Any]):
    task = FewShotTask(featured, seed=0, train_on=(Split.TRAIN, Split.VAL))
    expected = np.sort(np.concatenate([featured.splits[Split.TRAIN], featured.splits[Split.VAL]]))
    assert task.training_items.tolist() == expected.tolist()
    drawn = np.concatenate([np.concatenate(step[:2]) for step in draw(task, **sampling)])
    assert set(featured.classes[drawn].tolist()) == set(featured.classes[expected].tolist())


@pytest.mark.parametrize(("split", "num_episodes"), [(Split.TRAIN, 20), (Split.VAL, 120), (Split.TEST, 600)])
def test_a_scorer_that_knows_the_classes_makes_no_mistake(
    task: FewShotTask, featured: FeaturedItems, split: Split, num_episodes: int
):
    scores = task.evaluate(knows(featured.classes), split)
    assert list(scores) == ["few_shot_accuracy"]
    assert scores["few_shot_accuracy"].tolist() == [1.0] * num_episodes


def test_a_scorer_that_knows_nothing_is_right_one_time_in_five(task: FewShotTask, featured: FeaturedItems):
    accuracy = task.evaluate(knows(np.zeros(len(featured.classes)), doubt=1.0), Split.TEST)["few_shot_accuracy"]
    assert accuracy.mean() == pytest.approx(0.2, abs=0.02)


def test_questions_are_of_their_split_only(task: FewShotTask, featured: FeaturedItems):
    asked: list[np.ndarray] = []

    def note(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        asked.extend([queries.ravel(), sets.ravel()])
        return knows(featured.classes)(queries, sets)

    task.evaluate_fully(note, Split.VAL)
    assert np.isin(np.concatenate(asked), featured.splits[Split.VAL]).all()


def test_questions_are_drawn_once_from_the_task_s_seed(featured: FeaturedItems):
    doubtful = knows(featured.classes, doubt=1.0)

    def accuracies(task: FewShotTask, split: Split) -> list[float]:
        return task.evaluate(doubtful, split)["few_shot_accuracy"].tolist()

    one, again, other = (FewShotTask(featured, seed=seed) for seed in (3, 3, 4))
    accuracies(again, Split.TEST)
    assert accuracies(one, Split.VAL) == accuracies(one, Split.VAL) == accuracies(again, Split.VAL)
    assert accuracies(one, Split.VAL) != accuracies(other, Split.VAL)


def test_fresh_questions_on_val_are_others_and_five_times_as_many(task: FewShotTask, featured: FeaturedItems):
    def accuracies(of_task: FewShotTask) -> list[float]:
        return of_task.evaluate(knows(featured.classes, doubt=1.0), Split.VAL)["few_shot_accuracy"].tolist()

    usual = accuracies(task)
    fresh = accuracies(task.with_fresh_val(3, 0))
    assert len(fresh) == FRESH_FACTOR * len(usual)
    assert fresh == accuracies(task.with_fresh_val(3, 0)) != accuracies(task.with_fresh_val(4, 0))
    assert fresh != accuracies(task.with_fresh_val(3, 1))
    kept = task.with_fresh_val(3, 1, keep_classes=True)
    assert np.array_equal(kept.training_items, task.training_items)
    assert len(accuracies(kept)) == FRESH_FACTOR * len(usual)
    assert accuracies(kept)[: len(usual)] != usual == accuracies(task)


def test_fresh_val_has_other_classes_which_are_not_trained_on(task: FewShotTask, featured: FeaturedItems):
    searched = featured.items_of((Split.TRAIN, Split.VAL))
    num_val = len(np.unique(featured.classes[featured.splits[Split.VAL]]))
    held: list[int] = []
    for part in range(2):
        fresh = task.with_fresh_val(3, part)
        splits = fresh.featured.splits
        classes = {split: set(featured.classes[splits[split]].tolist()) for split in Split}
        assert not classes[Split.TRAIN] & classes[Split.VAL]
        assert np.array_equal(np.sort(np.concatenate([splits[Split.TRAIN], splits[Split.VAL]])), searched)
        assert np.array_equal(fresh.training_items, splits[Split.TRAIN])
        assert np.array_equal(splits[Split.TEST], featured.splits[Split.TEST])
        assert len(classes[Split.VAL]) == num_val
        held += classes[Split.VAL]
    assert len(set(held)) == len(held)


def test_val_keeps_its_classes_if_others_allow_no_question(featured: FeaturedItems):
    """All but val's classes have an item, too few for the support of an episode."""
    train = featured.splits[Split.TRAIN]
    _, firsts = np.unique(featured.classes[train], return_index=True)
    small = replace(featured, splits={**featured.splits, Split.TRAIN: train[np.sort(firsts)]})
    fresh = FewShotTask(small, seed=0).with_fresh_val(3, 0)
    assert np.array_equal(fresh.featured.splits[Split.VAL], featured.splits[Split.VAL])


def test_final_training_answers_the_same_test_questions(featured: FeaturedItems):
    doubtful = knows(featured.classes, doubt=1.0)
    searched, final = FewShotTask(featured, seed=3), FewShotTask(featured, seed=3, train_on=(Split.TRAIN, Split.VAL))
    of_search, of_final = (task.evaluate_fully(doubtful, Split.TEST) for task in (searched, final))
    assert {name: scores.tolist() for name, scores in of_search.items()} == {
        name: scores.tolist() for name, scores in of_final.items()
    }


def test_a_full_evaluation_adds_the_recall_of_every_item_of_the_split(task: FewShotTask, featured: FeaturedItems):
    doubtful = knows(featured.classes, doubt=1.0)
    scores = task.evaluate_fully(doubtful, Split.VAL)
    assert list(scores) == ["few_shot_accuracy", "recall@1", "recall@2", "recall@4", "recall@8"]
    items = featured.splits[Split.VAL].tolist()
    for k in (1, 2, 4, 8):
        expected = []
        for query in items:
            others = [item for item in items if item != query]
            of_query = doubtful(np.array([[query]]), np.array(others)[None, :, None])[0, 0]
            best = np.array(others)[np.argsort(-of_query)[:k]]
            expected.append(float((featured.classes[best] == featured.classes[query]).any()))
        assert scores[f"recall@{k}"].tolist() == expected


def merge_classes(of_split: list[int]) -> Callable[[dict[str, np.ndarray]], None]:
    def merge(arrays: dict[str, np.ndarray]) -> None:
        arrays["classes"] = np.where(np.isin(arrays["classes"] % 4, of_split), of_split[0], arrays["classes"])

    return merge


@pytest.mark.parametrize(("split", "of_split"), [("val", [1]), ("test", [3])])
def test_too_few_classes_to_be_judged_by_are_refused_before_training(
    planted: Callable[..., FeaturedItems], split: str, of_split: list[int]
):
    with pytest.raises(UserError, match=rf"split {split}: 5-way episodes need 5 classes .* got 1"):
        FewShotTask(planted(change=merge_classes(of_split)), seed=0)


def test_training_classes_that_fill_no_episode_are_not_watched(planted: Callable[..., FeaturedItems]):
    featured = planted(change=merge_classes([0, 2]))
    task = FewShotTask(featured, seed=0)
    scorer = nearest_class_mean(featured.features)
    assert task.evaluate(scorer, Split.TRAIN) == {}
    assert task.evaluate(scorer, Split.VAL).keys() == {"few_shot_accuracy"}


def draw_with_sizes(sizes: list[int], num_episodes: int = 3, seed: int = 0) -> tuple[Episodes, dict[int, int]]:
    """Episodes from shuffled items 100.. of classes 10.., so many items a class; and the class of each item."""
    generator = np.random.default_rng(99)
    classes = np.repeat(10 + np.arange(len(sizes)), sizes)
    items = 100 + generator.permutation(len(classes))
    episodes = draw_episodes(items, classes, num_episodes, np.random.default_rng(seed))
    return episodes, dict(zip(items.tolist(), classes.tolist(), strict=True))


@given(sizes=st.lists(st.integers(6, 30), min_size=5, max_size=8), seed=st.integers(0, 9))
def test_episodes_ask_for_the_right_class_among_five(sizes: list[int], seed: int):
    episodes, class_of = draw_with_sizes(sizes, seed=seed)
    assert episodes.support.shape == (3, 5, 5)
    assert episodes.queries.shape == episodes.answers.shape == episodes.asked.shape == (3, 80)
    for support, queries, answers, asked in zip(
        episodes.support.tolist(),
        episodes.queries.tolist(),
        episodes.answers.tolist(),
        episodes.asked.tolist(),
        strict=True,
    ):
        ways = [{class_of[item] for item in row} for row in support]
        assert all(len(way) == 1 for way in ways)
        assert len(set.union(*ways)) == 5
        questions = [(query, answer) for query, answer, ask in zip(queries, answers, asked, strict=True) if ask]
        assert all({class_of[query]} == ways[answer] for query, answer in questions)
        used = [item for row in support for item in row] + [query for query, _ in questions]
        assert len(set(used)) == len(used)
        for way, row in zip(ways, range(5), strict=True):
            size = sizes[next(iter(way)) - 10]
            assert sum(answer == row for _, answer in questions) == min(size - 5, 16)
        assert all(query in class_of for query in queries)


def test_classes_too_small_for_a_query_take_no_part():
    episodes, class_of = draw_with_sizes([5, 6, 7, 8, 9, 30], num_episodes=20)
    assert {class_of[item] for item in episodes.support.ravel().tolist()} == {11, 12, 13, 14, 15}


def test_fewer_than_five_classes_with_a_query_are_refused():
    with pytest.raises(UserError, match="5-way episodes need 5 classes with at least 6 images, got 4"):
        draw_with_sizes([5, 6, 7, 8, 30])


def test_every_class_and_every_item_is_drawn_sometimes():
    episodes, class_of = draw_with_sizes([8] * 7, num_episodes=60)
    support = set(episodes.support.ravel().tolist())
    queries = set(episodes.queries[episodes.asked].tolist())
    assert support == queries == set(class_of)


def test_episodes_repeat_with_the_generator_s_seed_and_differ_without():
    one, again, other = (draw_with_sizes([20] * 6, seed=seed)[0] for seed in (1, 1, 2))
    assert (one.support == again.support).all()
    assert (one.queries == again.queries).all()
    assert (one.support != other.support).any()
