"""No answer leaks: what a question's edges depend on, and what whoever counts edges would know otherwise."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pan_model.data.polyvore.outfits import Outfit
from pan_model.data.polyvore.question_drawing import draw_questions
from pan_model.data.splits import Split
from pan_model.tasks.metrics import choice_accuracy, share_beaten
from pan_model.tasks.outfit_context import OutfitContext

NUM_ITEMS = 12
OUTFITS = st.lists(
    st.lists(st.integers(0, NUM_ITEMS - 1), min_size=2, max_size=5, unique=True).map(tuple), min_size=1, max_size=12
)
Pairs = set[frozenset[int]]


def as_pairs(edges: np.ndarray) -> Pairs:
    return {frozenset(pair) for pair in edges.T.tolist()}


def pairs_of(outfits: list[Outfit]) -> Pairs:
    return {frozenset(pair) for outfit in outfits for pair in combinations(outfit, 2)}


@st.composite
def blanks(draw: st.DrawFn) -> tuple[list[Outfit], int, list[int], list[int]]:
    """Outfits, which of them is asked about, the candidates (the right one among them) and the items that stay."""
    outfits = draw(OUTFITS)
    asked = draw(st.integers(0, len(outfits) - 1))
    right, *items = draw(st.permutations(outfits[asked]))
    wrong = draw(st.lists(st.sampled_from(sorted(set(range(NUM_ITEMS)) - {right})), min_size=1, unique=True))
    return outfits, asked, draw(st.permutations([right, *wrong])), items


@given(question=blanks(), context=st.integers(0, 20))
def test_the_asked_outfit_might_as_well_not_be_there(
    question: tuple[list[Outfit], int, list[int], list[int]], context: int
):
    outfits, asked, candidates, items = question
    edges = OutfitContext(outfits).edges_around(np.array(candidates), np.array(items), context)
    without = outfits[:asked] + outfits[asked + 1 :]
    again = OutfitContext(without).edges_around(np.array(candidates), np.array(items), context)
    assert np.array_equal(edges, again)


@given(question=blanks(), context=st.integers(0, 20))
def test_no_candidate_is_told_from_another_by_its_edges(
    question: tuple[list[Outfit], int, list[int], list[int]], context: int
):
    outfits, _, candidates, items = question
    graph = OutfitContext(outfits)
    edges = graph.edges_around(np.array(candidates), np.array(items), context)
    assert not set(candidates) & set(edges.ravel().tolist())
    assert np.array_equal(edges, graph.edges_around(np.array(sorted(candidates)), np.array(items), context))


def reached(start: int, pairs: Pairs) -> Pairs:
    """All pairs of the component of an item, by a slow loop."""
    found, before = {start}, set[int]()
    while found != before:
        before = set(found)
        found |= {item for pair in pairs if pair & before for item in pair}
    return {pair for pair in pairs if pair & found}


@given(question=blanks(), context=st.integers(1, 20))
def test_edges_are_those_of_outfits_without_a_candidate_up_to_so_many_an_item(
    question: tuple[list[Outfit], int, list[int], list[int]], context: int
):
    outfits, _, candidates, items = question
    known = pairs_of([outfit for outfit in outfits if not set(outfit) & set(candidates)])
    edges = OutfitContext(outfits).edges_around(np.array(candidates), np.array(items), context)
    components = [reached(item, known) for item in items]
    assert as_pairs(edges) <= set[frozenset[int]]().union(*components)
    assert len(as_pairs(edges)) == edges.shape[1] <= sum(min(context, len(component)) for component in components)
    assert edges.shape[1] >= max(min(context, len(component)) for component in components)
    every = OutfitContext(outfits).edges_around(np.array(candidates), np.array(items), 1000)
    assert as_pairs(every) == set[frozenset[int]]().union(*components)


def test_near_edges_come_first():
    graph = OutfitContext([(0, 1), (1, 2), (0, 3), (3, 4), (8, 0)])
    found = [graph.edges_around(np.array([8, 9]), np.array([0]), context).T.tolist() for context in (1, 2, 3)]
    assert found == [[[0, 1]], [[0, 1], [0, 3]], [[0, 1], [0, 3], [1, 2]]]


def test_a_single_candidate_has_no_edges_around_it():
    graph = OutfitContext([(0, 1), (1, 2), (2, 3)])
    assert graph.edges_around(np.array([0]), np.array([1, 2]), 5).shape == (2, 0)
    assert graph.edges_around(np.array([0, 0]), np.array([1, 2]), 5).shape == (2, 0)
    assert graph.edges_around(np.array([0, 9]), np.array([1, 2]), 0).shape == (2, 0)


def drawn(num_outfits: int = 300) -> tuple[list[Outfit], np.ndarray]:
    """Outfits of one item of each of 3 categories, items in 1.5 of them on average, without any taste."""
    generator = np.random.default_rng(0)
    categories = np.arange(600) % 3
    members = [np.flatnonzero(categories == category) for category in range(3)]
    return [tuple(int(generator.choice(of_one)) for of_one in members) for _ in range(num_outfits)], categories


Count = Callable[[int, Pairs], float]
COUNTS: dict[str, Count] = {
    "most": lambda item, pairs: sum(item in pair for pair in pairs),
    "fewest": lambda item, pairs: -sum(item in pair for pair in pairs),
}
"""Judges that count an item's edges."""


@pytest.fixture(scope="module")
def world() -> tuple[list[Outfit], np.ndarray]:
    return drawn()


@pytest.mark.parametrize("count", COUNTS.values(), ids=COUNTS.keys())
def test_whoever_counts_a_candidate_s_edges_is_at_chance(world: tuple[list[Outfit], np.ndarray], count: Count):
    outfits, categories = world
    blanks, _ = draw_questions({Split.VAL: outfits}, categories, split=Split.VAL, seed=0)
    graph = OutfitContext(outfits)
    for question, answers, right in blanks.listed():
        known = as_pairs(graph.edges_around(np.array(answers), np.array(question), 50))
        scores = np.array([[float(count(answer, known)) for answer in answers]])
        assert choice_accuracy(scores, np.array([right])).item() == pytest.approx(1 / len(answers))


def test_edges_less_those_of_the_asked_outfit_would_give_answers_away():
    """Why wrong candidates' outfits go too, and why compatibility is asked without edges: a count of edges knows."""
    outfits, categories = drawn(num_outfits=100)
    blanks, compatibilities = draw_questions({Split.VAL: outfits}, categories, split=Split.VAL, seed=0)
    right = np.array(blanks.answers)
    left = [pairs_of(outfits[:source] + outfits[source + 1 :]) for source in range(len(outfits))]

    def edges(item: int, source: int) -> int:
        return sum(item in pair for pair in left[source])

    fewest = [
        [-edges(item, source) for item in candidates]
        for source, candidates in zip(blanks.sources.tolist(), blanks.candidates, strict=True)
    ]
    known = [choice_accuracy(np.array([row], dtype=float), right[[place]]).item() for place, row in enumerate(fewest)]
    assert np.mean(known) > 0.3  # chance is 0.1
    scores = np.array(
        [
            -sum(edges(item, source) for item in items)
            for source, items in zip(compatibilities.sources.tolist(), compatibilities.outfits, strict=True)
        ]
    )
    positive = compatibilities.positive
    assert share_beaten(scores[positive].astype(float), scores[~positive].astype(float)).mean() > 0.65
