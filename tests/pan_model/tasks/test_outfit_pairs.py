import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pan_model.data.polyvore.outfits import Outfit
from pan_model.errors import UserError
from pan_model.tasks.outfit_pairs import NonEdges, outfit_pairs

flocks = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple), max_size=8)


def edges_of(outfits: list[Outfit]) -> set[Outfit]:
    return {(i, j) for i in range(10) for j in range(i + 1, 10) if any(i in one and j in one for one in outfits)}


@given(flocks)
def test_pairs_that_share_an_outfit_are_listed_once(outfits: list[Outfit]):
    listed = [tuple(pair) for pair in outfit_pairs(outfits).T.tolist()]
    assert len(listed) == len(set(listed))
    assert set(listed) == edges_of(outfits)


@given(flocks, st.integers(0, 40), st.integers(0, 9))
def test_negatives_are_different_items_that_share_no_outfit(outfits: list[Outfit], num_pairs: int, seed: int):
    items = sorted({item for outfit in outfits for item in outfit})
    edges = edges_of(outfits)
    assume(len(edges) < math.comb(len(items), 2))
    drawn = NonEdges(np.array(items), outfit_pairs(outfits)).draw(num_pairs, np.random.default_rng(seed))
    assert drawn.shape == (2, num_pairs)
    for pair in drawn.T.tolist():
        assert set(pair) <= set(items)
        assert len(set(pair)) == 2
        assert tuple(sorted(pair)) not in edges


def test_negatives_are_uniform_over_all_pairs_that_share_no_outfit():
    outfits: list[Outfit] = [(2, 5, 7), (5, 9), (4, 7)]
    drawn = NonEdges(np.array([2, 4, 5, 7, 9]), outfit_pairs(outfits)).draw(10000, np.random.default_rng(0))
    counts = Counter(tuple(sorted(pair)) for pair in drawn.T.tolist())
    allowed = [pair for pair in combinations((2, 4, 5, 7, 9), 2) if pair not in edges_of(outfits)]
    assert counts == pytest.approx(dict.fromkeys(allowed, 2000), abs=5 * math.sqrt(2000))


def test_items_that_all_share_outfits_are_refused():
    with pytest.raises(UserError, match="training needs items that share no outfit, got 3 that all do"):
        NonEdges(np.array([0, 1, 2]), outfit_pairs([(0, 1, 2)]))
