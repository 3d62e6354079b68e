"""Resampled questions: what they promise, checked one by one against slow checks that look at everything."""

import itertools
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.question_drawing import (
    Compatibilities,
    FillInBlanks,
    Outfit,
    draw_compatibilities,
    draw_fill_in_blanks,
)
from pan_model.errors import UserError


class World(NamedTuple):
    """Outfits of few items in few categories, so that every exception happens."""

    outfits: list[Outfit]
    others: list[Outfit]
    categories: list[int]
    pool: list[int]
    num_candidates: int
    seed: int

    def draw_blanks(self) -> FillInBlanks:
        return draw_fill_in_blanks(
            self.outfits,
            np.array(self.categories),
            pool=np.array(self.pool, dtype=np.int64),
            num_candidates=self.num_candidates,
            generator=np.random.default_rng(self.seed),
        )

    def draw_compatibilities(self) -> Compatibilities:
        return draw_compatibilities(
            self.outfits,
            np.array(self.categories),
            pool=np.array(self.pool, dtype=np.int64),
            real_outfits=self.others,
            generator=np.random.default_rng(self.seed),
        )

    def may_stand_in(self, item: int, outfit: Outfit) -> set[int]:
        return {other for other in self.pool if self.categories[other] == self.categories[item] and other not in outfit}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    categories = draw(st.lists(st.integers(0, 3), min_size=2, max_size=10))
    items = st.integers(0, len(categories) - 1)
    outfits = st.lists(st.lists(items, min_size=1, max_size=5).map(tuple), max_size=8)
    return World(
        outfits=draw(outfits),
        others=draw(outfits),
        categories=categories,
        pool=draw(st.lists(items, max_size=15)),
        num_candidates=draw(st.integers(2, 5)),
        seed=draw(st.integers(0, 99)),
    )


@given(worlds())
def test_every_blank_can_be_filled_by_one_candidate_only(world: World) -> None:
    drawn = world.draw_blanks()
    for number, (question, candidates) in enumerate(zip(drawn.questions, drawn.candidates, strict=True)):
        outfit, blank = world.outfits[drawn.sources[number]], drawn.blanks[number]
        right = candidates[drawn.answers[number]]
        assert question == tuple(item for place, item in enumerate(outfit) if place != blank)
        assert right == outfit[blank]
        assert right not in question
        wrong = set(candidates) - {right}
        assert len(wrong) == len(candidates) - 1
        possible = world.may_stand_in(right, outfit)
        assert wrong <= possible
        assert len(wrong) == min(world.num_candidates - 1, len(possible)) > 0


@given(worlds())
def test_every_outfit_that_can_has_one_question(world: World) -> None:
    def can(outfit: Outfit) -> bool:
        return len(outfit) > 1 and any(outfit.count(item) == 1 and world.may_stand_in(item, outfit) for item in outfit)

    drawn = world.draw_blanks()
    assert drawn.sources.tolist() == [source for source, outfit in enumerate(world.outfits) if can(outfit)]
    assert drawn.num_without_question == len(world.outfits) - len(drawn)
    assert drawn.num_short == sum(1 for candidates in drawn.candidates if len(candidates) != world.num_candidates)


@given(worlds())
def test_every_negative_replaces_one_whole_category(world: World) -> None:
    drawn = world.draw_compatibilities()
    half = len(drawn) // 2
    assert drawn.positive.tolist() == [True] * half + [False] * half
    assert drawn.sources[:half].tolist() == drawn.sources[half:].tolist()
    real = [set(outfit) for outfit in world.outfits + world.others]
    for number, negative in enumerate(drawn.outfits[half:]):
        outfit = world.outfits[drawn.sources[number]]
        assert drawn.outfits[number] == outfit
        assert len(negative) == len(outfit)
        changed = [place for place in range(len(outfit)) if negative[place] != outfit[place]]
        (category,) = {world.categories[outfit[place]] for place in changed}
        assert changed == [place for place, item in enumerate(outfit) if world.categories[item] == category]
        assert all(negative[place] in world.may_stand_in(outfit[place], outfit) for place in changed)
        assert len({negative[place] for place in changed}) == len(changed)
        assert set(negative) not in real


@given(worlds())
def test_gives_up_only_where_there_is_no_negative(world: World) -> None:
    def can(outfit: Outfit) -> bool:
        real = [set(other) for other in world.outfits + world.others]
        for category in {world.categories[item] for item in outfit}:
            kept = [item for item in outfit if world.categories[item] != category]
            replaced = [item for item in outfit if world.categories[item] == category]
            possible = world.may_stand_in(replaced[0], outfit)
            if any({*kept, *new} not in real for new in itertools.permutations(possible, len(replaced))):
                return True
        return False

    drawn = world.draw_compatibilities()
    expected = [source for source, outfit in enumerate(world.outfits) if can(outfit)]
    assert drawn.sources.tolist() == expected * 2
    assert drawn.num_given_up == len(world.outfits) - len(expected)


@given(worlds())
def test_the_same_generator_draws_the_same(world: World) -> None:
    first, second = world.draw_blanks(), world.draw_blanks()
    assert (first.questions, first.candidates) == (second.questions, second.candidates)
    assert first.answers.tolist() == second.answers.tolist()
    assert world.draw_compatibilities().outfits == world.draw_compatibilities().outfits


@given(worlds())
def test_the_order_of_the_pool_does_not_matter(world: World) -> None:
    turned = world._replace(pool=[*world.pool[::-1], *world.pool])
    assert world.draw_blanks().candidates == turned.draw_blanks().candidates
    assert world.draw_compatibilities().outfits == turned.draw_compatibilities().outfits


def wide(num_outfits: int, seed: int = 0) -> World:
    """Outfits of one item of each of three categories, with 20 items a category."""
    return World(
        outfits=[(outfit % 20, 20 + outfit % 19, 40 + outfit % 17) for outfit in range(num_outfits)],
        others=[],
        categories=[item // 20 for item in range(60)],
        pool=list(range(60)),
        num_candidates=10,
        seed=seed,
    )


def test_blanks_answers_and_candidates_are_spread_evenly() -> None:
    drawn = wide(3000).draw_blanks()
    assert drawn.num_short == drawn.num_without_question == 0
    assert set(map(len, drawn.candidates)) == {10}
    assert Counter(drawn.blanks.tolist()) == pytest.approx({0: 1000, 1: 1000, 2: 1000}, abs=100)
    assert Counter(drawn.answers.tolist()) == pytest.approx(dict.fromkeys(range(10), 300), abs=75)
    used = Counter(item for candidates in drawn.candidates for item in candidates)
    assert used == pytest.approx(dict.fromkeys(range(60), 500), abs=100)


def test_every_category_is_replaced_as_often() -> None:
    drawn = wide(3000).draw_compatibilities()
    assert drawn.num_given_up == 0
    places = Counter(
        next(place for place in range(3) if negative[place] != outfit[place])
        for outfit, negative in zip(drawn.outfits[:3000], drawn.outfits[3000:], strict=True)
    )
    assert places == pytest.approx({0: 1000, 1: 1000, 2: 1000}, abs=100)


def test_other_seeds_draw_other_questions() -> None:
    assert wide(50, seed=1).draw_blanks().candidates != wide(50, seed=2).draw_blanks().candidates
    assert wide(50, seed=1).draw_compatibilities().outfits != wide(50, seed=2).draw_compatibilities().outfits


def test_an_item_held_twice_is_never_blanked() -> None:
    world = World([(0, 0, 1)], [], [0, 1, 0, 1], [0, 1, 2, 3], num_candidates=2, seed=0)
    for seed in range(20):
        drawn = world._replace(seed=seed).draw_blanks()
        assert (drawn.questions, drawn.blanks.tolist()) == (((0, 0),), [2])


def test_both_copies_of_an_item_are_replaced_by_different_items() -> None:
    world = World([(0, 0)], [], [0, 0, 0], [0, 1, 2], num_candidates=2, seed=0)
    assert set(world.draw_compatibilities().outfits[1]) == {1, 2}


def test_no_negative_is_an_outfit_of_another_split() -> None:
    world = World([(0, 1)], [(2, 0), (1, 3)], [0, 1, 1, 0], [0, 1, 2, 3], num_candidates=2, seed=0)
    assert world.draw_compatibilities().num_given_up == 1
    assert world._replace(others=[(2, 0)]).draw_compatibilities().outfits == ((0, 1), (3, 1))


@pytest.mark.parametrize("num_candidates", [1, 0, -3])
def test_refuses_a_question_without_a_choice(num_candidates: int) -> None:
    with pytest.raises(UserError, match=f"num_candidates must be at least 2, got {num_candidates}"):
        wide(1)._replace(num_candidates=num_candidates).draw_blanks()
