import math
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pan_model.errors import UserError
from pan_model.tasks.pairs import (
    Pairs,
    PairSampling,
    PairsConfig,
    draw_balanced_pairs,
    draw_negatives,
    draw_pairs,
    draw_steps,
    same_class_pairs,
)

labels = st.lists(st.integers(0, 4), min_size=2, max_size=14).map(np.array)


@given(classes=labels)
def test_same_class_pairs_are_all_of_them_once(classes: np.ndarray):
    n = len(classes)
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if classes[i] == classes[j]}
    listed = [tuple(pair) for pair in same_class_pairs(classes).T.tolist()]
    assert len(listed) == len(expected)
    assert set(listed) == expected


def test_no_items_make_no_pairs():
    assert same_class_pairs(np.empty(0, dtype=np.int64)).shape == (2, 0)


@given(classes=labels, num_pairs=st.sampled_from([0, 2, 3, 6, 1000]), seed=st.integers(0, 9))
def test_half_of_an_epoch_are_distinct_positives_and_half_negatives(classes: np.ndarray, num_pairs: int, seed: int):
    positives = same_class_pairs(classes)
    available = positives.shape[1]
    expected = available // 2 if num_pairs == 0 else min(num_pairs // 2, available)
    assume(expected > 0)
    assume(len(set(classes.tolist())) > 1)
    pairs = draw_pairs(positives, partial(draw_negatives, classes), num_pairs, np.random.default_rng(seed))
    assert len(pairs.index_1) == len(pairs.index_2) == len(pairs.same) == 2 * expected
    assert pairs.same.sum() == expected
    assert ((classes[pairs.index_1] == classes[pairs.index_2]) == pairs.same).all()
    assert (pairs.index_1 != pairs.index_2).all()
    drawn = [frozenset(pair) for pair in zip(pairs.index_1[pairs.same], pairs.index_2[pairs.same], strict=True)]
    assert len(set(drawn)) == expected


def test_positives_and_negatives_come_in_mixed_order():
    classes = np.repeat(np.arange(4), 10)
    same = draw_pairs(same_class_pairs(classes), partial(draw_negatives, classes), 200, np.random.default_rng(0)).same
    assert 20 < same[:100].sum() < 80


def test_negatives_are_uniform_over_all_pairs_of_different_classes():
    classes = np.array([0, 0, 0, 1, 1, 2])
    allowed = [(i, j) for i in range(6) for j in range(6) if classes[i] != classes[j]]
    drawn = draw_negatives(classes, 22000, np.random.default_rng(0))
    counts = dict.fromkeys(allowed, 0)
    for pair in zip(*drawn.tolist(), strict=True):
        counts[pair] += 1
    expected = 22000 / len(allowed)
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in counts.values())


def test_pairs_repeat_with_the_generator_s_seed_and_differ_without():
    classes = np.repeat(np.arange(4), 10)
    positives = same_class_pairs(classes)

    def draw(seed: int) -> list[list[int]]:
        return [
            part.tolist()
            for part in draw_pairs(positives, partial(draw_negatives, classes), 50, np.random.default_rng(seed))
        ]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_training_on_one_class_is_refused():
    classes = np.zeros(5, dtype=np.int64)
    with pytest.raises(UserError, match="training needs items of at least 2 classes"):
        draw_pairs(same_class_pairs(classes), partial(draw_negatives, classes), 4, np.random.default_rng(0))


def test_training_without_two_items_of_a_class_is_refused():
    classes = np.arange(5)
    with pytest.raises(UserError, match="items of the same class"):
        draw_pairs(same_class_pairs(classes), partial(draw_negatives, classes), 4, np.random.default_rng(0))


def unordered(pairs: Pairs) -> list[frozenset[int]]:
    return [frozenset(pair) for pair in zip(pairs.index_1.tolist(), pairs.index_2.tolist(), strict=True)]


def balanced(classes: np.ndarray, seed: int = 0, **changes: int) -> Pairs:
    sizes = {"classes_per_step": 3, "images_per_class": 4, "num_pairs": 1000} | changes
    return draw_balanced_pairs(classes, generator=np.random.default_rng(seed), **sizes)


@given(
    classes=labels,
    classes_per_step=st.integers(2, 6),
    images_per_class=st.integers(2, 5),
    num_pairs=st.sampled_from([1, 2, 7, 1000]),
    seed=st.integers(0, 9),
)
def test_a_balanced_step_compares_all_images_that_it_draws(
    classes: np.ndarray, classes_per_step: int, images_per_class: int, num_pairs: int, seed: int
):
    sizes = {"classes_per_step": classes_per_step, "images_per_class": images_per_class, "num_pairs": num_pairs}
    pairs = balanced(classes, seed, **sizes)
    drawn = unordered(pairs)
    assert all(len(pair) == 2 for pair in drawn)
    assert len(set(drawn)) == len(drawn) <= num_pairs
    assert ((classes[pairs.index_1] == classes[pairs.index_2]) == pairs.same).all()
    images = np.unique(np.concatenate([pairs.index_1, pairs.index_2]))
    drawn_classes, counts = np.unique(classes[images], return_counts=True)
    assert len(drawn_classes) <= classes_per_step
    assert (counts <= images_per_class).all()
    if num_pairs == 1000:
        of_class = dict(zip(*np.unique(classes, return_counts=True), strict=True))
        if len(images):  # one class of one image makes no pair
            assert len(drawn_classes) == min(classes_per_step, len(of_class))
            assert counts.tolist() == [min(images_per_class, of_class[label]) for label in drawn_classes]
        assert len(drawn) == len(images) * (len(images) - 1) // 2


def test_a_balanced_step_takes_what_small_classes_have():
    pairs = balanced(np.array([0, 1, 1, 2, 2, 2, 2, 2]))
    assert np.unique([pairs.index_1, pairs.index_2]).shape == (1 + 2 + 4,)
    assert (pairs.same.sum(), len(pairs.same)) == (0 + 1 + 6, 21)


def test_balanced_steps_draw_all_classes_and_images_alike():
    classes = np.repeat(np.arange(6), [2, 5, 5, 5, 5, 20])
    steps = [balanced(classes, seed, images_per_class=2) for seed in range(2000)]
    images = [np.unique([step.index_1, step.index_2]) for step in steps]
    of_class = np.bincount(np.concatenate([classes[drawn] for drawn in images]), minlength=6)
    assert of_class == pytest.approx(np.full(6, 2000), rel=0.1)
    of_image = np.bincount(np.concatenate(images))[classes == 5]
    assert of_image == pytest.approx(np.full(20, 100), abs=5 * math.sqrt(100))


@pytest.mark.parametrize(
    ("num_pairs", "num_positives"),
    [(20, 10), (35, 17), (36, 18), (50, 18), (66, 18), (1000, 18)],  # of 18 positives and 48 negatives
)
def test_of_too_many_balanced_pairs_positives_are_kept_first_up_to_half(num_pairs: int, num_positives: int):
    classes = np.repeat(np.arange(3), 4)
    steps = [balanced(classes, seed, num_pairs=num_pairs) for seed in range(300)]
    assert all(len(step.same) == min(num_pairs, 66) and step.same.sum() == num_positives for step in steps)
    assert np.mean([step.index_1 < step.index_2 for step in steps]) == pytest.approx(0.5, abs=0.03)
    places = np.mean([np.flatnonzero(step.same).mean() / (len(step.same) - 1) for step in steps])
    assert places == pytest.approx(0.5, abs=0.03), "positives stand anywhere"
    seen = Counter(pair for step in steps for pair in unordered(step))
    assert len(seen) == 66, "any of them may be cut"


def test_no_image_of_a_balanced_step_is_always_first():
    classes = np.repeat(np.arange(3), 4)
    steps = [balanced(classes, seed) for seed in range(50)]
    on_both_sides = [len(np.intersect1d(step.index_1, step.index_2)) for step in steps]
    assert np.mean(on_both_sides) > 11.9  # of 12


CLASSES = np.repeat(np.arange(8), 10)


def steps_of(seed: int = 0, **values: Any) -> list[Pairs]:
    return draw_steps(same_class_pairs(CLASSES), CLASSES, PairsConfig(**values), np.random.default_rng(seed))


def lists(steps: list[Pairs]) -> list[list[list[int]]]:
    return [[part.tolist() for part in step] for step in steps]


@pytest.mark.parametrize("sampling", [PairSampling.FIXED, PairSampling.FRESH])
@pytest.mark.parametrize(
    ("pairs_per_epoch", "steps_per_epoch", "sizes"),
    [
        (64, 1, [64]),
        (64, 4, [16] * 4),
        (100, 3, [34, 33, 33]),
        (6, 16, [1] * 6),
        (0, 2, [180, 180]),  # half of 8 * 45 same-class pairs, one negative each
        (10**6, 1, [720]),
    ],
)
def test_an_epoch_s_pairs_are_split_into_steps(
    sampling: PairSampling, pairs_per_epoch: int, steps_per_epoch: int, sizes: list[int]
):
    steps = steps_of(pairs=sampling, pairs_per_epoch=pairs_per_epoch, steps_per_epoch=steps_per_epoch)
    assert [len(step.same) for step in steps] == sizes
    whole = draw_pairs(
        same_class_pairs(CLASSES), partial(draw_negatives, CLASSES), pairs_per_epoch, np.random.default_rng(0)
    )
    for part, of_whole in zip(zip(*steps, strict=True), whole, strict=True):
        assert np.concatenate(part).tolist() == of_whole.tolist()


BALANCED: dict[str, Any] = {"pairs": PairSampling.BALANCED, "classes_per_step": 4, "images_per_class": 4}


@pytest.mark.parametrize(
    ("pairs_per_epoch", "steps_per_epoch", "sizes"),
    [(8192, 3, [120] * 3), (100, 3, [33] * 3), (2, 16, [1, 1]), (50, 1, [50])],
)
def test_balanced_steps_never_have_more_pairs_than_their_share_of_an_epoch(
    pairs_per_epoch: int, steps_per_epoch: int, sizes: list[int]
):
    steps = steps_of(pairs_per_epoch=pairs_per_epoch, steps_per_epoch=steps_per_epoch, **BALANCED)
    assert [len(step.same) for step in steps] == sizes


def test_each_balanced_step_draws_anew_and_repeats_with_the_generator_s_seed():
    steps = steps_of(1, steps_per_epoch=5, **BALANCED)
    assert len({str(drawn) for drawn in lists(steps)}) == 5
    assert lists(steps_of(1, steps_per_epoch=5, **BALANCED)) == lists(steps)
    assert lists(steps_of(2, steps_per_epoch=5, **BALANCED)) != lists(steps)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=8),
    classes_per_step=st.integers(2, 10),
    images_per_class=st.integers(2, 10),
    pairs_per_epoch=st.sampled_from([2, 3, 30, 10**6]),
    steps_per_epoch=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_a_balanced_epoch_survives_classes_and_images_that_are_fewer_than_asked_for(
    sizes: list[int],
    classes_per_step: int,
    images_per_class: int,
    pairs_per_epoch: int,
    steps_per_epoch: int,
    seed: int,
):
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    config = PairsConfig(
        pairs=PairSampling.BALANCED,
        classes_per_step=classes_per_step,
        images_per_class=images_per_class,
        pairs_per_epoch=pairs_per_epoch,
        steps_per_epoch=steps_per_epoch,
    )
    steps = draw_steps(same_class_pairs(classes), classes, config, np.random.default_rng(seed))
    assert len(steps) == min(steps_per_epoch, pairs_per_epoch)
    assert all(len(step.same) > 0 for step in steps), "two classes always make a pair to learn from"
    assert sum(len(step.same) for step in steps) <= pairs_per_epoch
    for step in steps:
        images = np.unique([step.index_1, step.index_2])
        of_class = np.bincount(classes[images], minlength=len(sizes))
        assert (of_class <= np.minimum(sizes, images_per_class)).all()
        assert (of_class > 0).sum() <= classes_per_step
        assert ((classes[step.index_1] == classes[step.index_2]) == step.same).all()
        assert (step.index_1 != step.index_2).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pairs_per_epoch": -2}, "pairs_per_epoch must be 0 .* or at least 2, got -2"),
        ({"pairs_per_epoch": 1}, "pairs_per_epoch must be 0 .* or at least 2, got 1"),
        (BALANCED | {"pairs_per_epoch": 0}, "pairs_per_epoch must be at least 2 when pairs are balanced, got 0"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"classes_per_step": 4}, "classes_per_step must be given when, and only when, pairs are balanced"),
        ({"images_per_class": 4}, "images_per_class must be given when, and only when, pairs are balanced"),
        (BALANCED | {"classes_per_step": None}, "classes_per_step must be given when"),
        (BALANCED | {"images_per_class": None}, "images_per_class must be given when"),
        (BALANCED | {"classes_per_step": 1}, "classes_per_step must be at least 2, got 1"),
        (BALANCED | {"images_per_class": 1}, "images_per_class must be at least 2, got 1"),
        *(
            ({"positive_weight": weight}, f"positive_weight must lie between 0 and 1, got {weight}")
            for weight in (0.0, 1.0, -0.5, math.nan)
        ),
        *(
            ({"hard_pair_share": share}, rf"hard_pair_share must lie in \(0, 1\], got {share}")
            for share in (0.0, 1.5, math.nan)
        ),
    ],
)
def test_impossible_pairs_are_refused_by_name(values: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        PairsConfig(**values)
