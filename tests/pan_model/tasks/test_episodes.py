import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.errors import UserError
from pan_model.tasks.few_shot import Episodes, draw_episodes


def draw(sizes: list[int], num_episodes: int = 3, seed: int = 0) -> tuple[Episodes, dict[int, int]]:
    """Episodes from shuffled items 100.. of classes 10.., so many items a class; and the class of each item."""
    generator = np.random.default_rng(99)
    classes = np.repeat(10 + np.arange(len(sizes)), sizes)
    items = 100 + generator.permutation(len(classes))
    episodes = draw_episodes(items, classes, num_episodes, np.random.default_rng(seed))
    return episodes, dict(zip(items.tolist(), classes.tolist(), strict=True))


@given(sizes=st.lists(st.integers(6, 30), min_size=5, max_size=8), seed=st.integers(0, 9))
def test_episodes_ask_for_the_right_class_among_five(sizes: list[int], seed: int):
    episodes, class_of = draw(sizes, seed=seed)
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
    episodes, class_of = draw([5, 6, 7, 8, 9, 30], num_episodes=20)
    assert {class_of[item] for item in episodes.support.ravel().tolist()} == {11, 12, 13, 14, 15}


def test_fewer_than_five_classes_with_a_query_are_refused():
    with pytest.raises(UserError, match="5-way episodes need 5 classes with at least 6 images, got 4"):
        draw([5, 6, 7, 8, 30])


def test_every_class_and_every_item_is_drawn_sometimes():
    episodes, class_of = draw([8] * 7, num_episodes=60)
    support = set(episodes.support.ravel().tolist())
    queries = set(episodes.queries[episodes.asked].tolist())
    assert support == queries == set(class_of)


def test_episodes_repeat_with_the_generator_s_seed_and_differ_without():
    one, again, other = (draw([20] * 6, seed=seed)[0] for seed in (1, 1, 2))
    assert (one.support == again.support).all()
    assert (one.queries == again.queries).all()
    assert (one.support != other.support).any()
