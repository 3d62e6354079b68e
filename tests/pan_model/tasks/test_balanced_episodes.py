"""Balanced few-shot questions: what is drawn, how often, and that a question scores its 30 queries."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.scoring.baselines.untrained import nearest_class_mean
from pan_model.shapes import Float, Int
from pan_model.tasks.balanced_episodes import draw_questions
from pan_model.tasks.few_shot import FewShotTask, draw_balanced_episodes, draw_episodes
from pan_model.tasks.metrics import episode_accuracy

SIZES = st.lists(st.integers(6, 20), min_size=5, max_size=9)


def groups_of(sizes: list[int]) -> list[Int[np.ndarray, "_"]]:
    return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])


@settings(max_examples=30, deadline=None)
@given(sizes=SIZES, num_questions=st.integers(1, 40), seed=st.integers(0, 9))
def test_classes_and_images_are_drawn_equally_often(sizes: list[int], num_questions: int, seed: int):
    questions = draw_questions(groups_of(sizes), num_questions, np.random.default_rng(seed))
    assert questions.shape == (num_questions, 5, 6)
    class_of = np.repeat(np.arange(len(sizes)), sizes)
    classes = class_of[questions]
    assert (classes == classes[:, :, :1]).all()
    assert all(len(set(of_question.ravel().tolist())) == 30 for of_question in questions)
    assert all(len(set(of_question)) == 5 for of_question in classes[:, :, 0].tolist())
    times = np.bincount(classes[:, :, 0].ravel(), minlength=len(sizes))
    assert times.max() - times.min() <= 1
    images = np.bincount(questions.ravel(), minlength=len(class_of))
    assert all(images[group].max() - images[group].min() <= 1 for group in groups_of(sizes))


def test_pairs_of_classes_meet_about_equally_often():
    classes = draw_questions(groups_of([6] * 13), 120, np.random.default_rng(0))[:, :, 0] // 6
    met = Counter(pair for question in classes.tolist() for pair in combinations(sorted(question), 2))
    assert len(met) == 78
    assert max(met.values()) - min(met.values()) <= 6  # 15.4 on average; classes drawn at random differ by 20


@settings(max_examples=30, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 9))
def test_each_image_of_a_question_is_asked_once_against_the_others(sizes: list[int], seed: int):
    items, classes = 100 + np.arange(sum(sizes)), np.repeat(np.arange(len(sizes)), sizes)
    episodes = draw_balanced_episodes(items, classes, 4, np.random.default_rng(seed))
    assert episodes.per_question == 6
    assert episodes.asked.all()
    for first in range(0, 24, 6):
        queries, support = episodes.queries[first : first + 6], episodes.support[first : first + 6]
        images = set(queries.ravel().tolist())
        assert len(images) == 30
        for asked, sets in zip(queries.tolist(), support.tolist(), strict=True):
            assert set(asked) | {item for members in sets for item in members} == images
            for place, members in enumerate(sets):
                assert len(set(members)) == 5
                assert {classes[item - 100] for item in members} == {classes[asked[place] - 100]}
    assert (episodes.answers == np.arange(5)).all()


def count_pairs(task: FewShotTask) -> int:
    """Count the different pairs of images that questions on val compare."""
    is_compared = np.zeros((len(task.featured.classes),) * 2, dtype=bool)

    def note(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        is_compared[queries[:, :, None, None], sets[:, None]] = True
        return np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)

    task.evaluate(note, Split.VAL)
    return int(np.triu(is_compared | is_compared.T).sum())


def gaussian_classes(num_classes: int, sizes: list[int]) -> FeaturedItems:
    """Return classes of Gaussian features, of which every fourth is in val."""
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(num_classes), np.resize(np.repeat(sizes, 4), num_classes))
    centres = generator.normal(size=(num_classes, 16))
    features = centres[classes] + 1.5 * generator.normal(size=(len(classes), 16))
    places = {Split.TRAIN: (0, 2), Split.VAL: (1,), Split.TEST: (3,)}
    return FeaturedItems(
        features=features.astype(np.float32),
        classes=classes,
        attributes=np.zeros((len(classes), 1), dtype=bool),
        certain=np.zeros((len(classes), 1), dtype=bool),
        attribute_names=("wing",),
        splits={split: np.flatnonzero(np.isin(classes % 4, of_split)) for split, of_split in places.items()},
    )


def test_the_questions_of_many_images_have_a_third_of_the_pairs():
    featured = gaussian_classes(52, [60])
    reduced, full = (count_pairs(FewShotTask(featured, seed=0, val_questions=rule)) for rule in ValQuestions)
    assert reduced <= full / 3


@pytest.mark.parametrize("sizes", [[30], [6, 8, 12, 20]])
def test_the_mean_is_that_of_random_episodes_with_a_standard_error_that_is_no_larger(sizes: list[int]):
    featured = gaussian_classes(52, sizes)
    items = featured.splits[Split.VAL]
    unit = featured.features / np.linalg.norm(featured.features, axis=1, keepdims=True)
    cosine, classes = unit @ unit.T, featured.classes[items]

    def scorer(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return sum(cosine[queries[:, :, None], sets[:, None, :, place]] for place in range(sets.shape[2]))

    def values(rule: ValQuestions) -> Float[np.ndarray, "_"]:
        tasks = (FewShotTask(featured, seed=seed, val_questions=rule) for seed in range(30))
        return np.array([task.evaluate(scorer, Split.VAL)["few_shot_accuracy"].mean() for task in tasks])

    many = draw_episodes(items, classes, 3000, np.random.default_rng(1))
    truth = episode_accuracy(scorer(many.queries, many.support), many.answers, many.asked).mean()
    reduced, full = values(ValQuestions.REDUCED), values(ValQuestions.FULL)
    assert abs(reduced.mean() - truth) < 0.004
    assert np.sqrt(((reduced - truth) ** 2).mean()) <= 1.1 * np.sqrt(((full - truth) ** 2).mean())


@pytest.mark.parametrize("rule", ValQuestions)
def test_questions_on_test_do_not_depend_on_those_on_val(featured: FeaturedItems, rule: ValQuestions):
    scorer = nearest_class_mean(featured.features)
    task, full = (
        FewShotTask(featured, seed=0, val_questions=rule),
        FewShotTask(featured, seed=0, val_questions=ValQuestions.FULL),
    )
    of_test = (one.evaluate_fully(scorer, Split.TEST).items() for one in (task, full))
    assert all(one == two and (of_one == of_two).all() for (one, of_one), (two, of_two) in zip(*of_test, strict=True))


def test_full_questions_are_the_episodes_of_earlier_studies(featured: FeaturedItems):
    scorer = nearest_class_mean(featured.features)
    task, items = FewShotTask(featured, seed=3, val_questions=ValQuestions.FULL), featured.splits[Split.VAL]
    episodes = draw_episodes(items, featured.classes[items], 100, np.random.default_rng([3, 2, 100]))
    expected = episode_accuracy(scorer(episodes.queries, episodes.support), episodes.answers, episodes.asked)
    assert task.evaluate(scorer, Split.VAL)["few_shot_accuracy"].tolist() == expected.tolist()


def test_too_few_classes_are_refused():
    with pytest.raises(UserError, match="5-way episodes need 5 classes with at least 6 images, got 4"):
        draw_balanced_episodes(np.arange(34), np.repeat(np.arange(6), [5, 5, 6, 6, 6, 6]), 4, np.random.default_rng(0))
