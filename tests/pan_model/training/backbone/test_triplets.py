"""Triplets: positives share a group with their anchor, negatives none; the loss against a slow loop."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pan_model.errors import UserError
from pan_model.training.backbone.triplets import Groups, TripletSampler, triplet_loss

Outfits = list[set[int]]


def groups_of(outfits: Outfits) -> Groups:
    items = np.array([item for outfit in outfits for item in outfit], dtype=np.int64)
    return Groups(items, np.repeat(np.arange(len(outfits)), [len(outfit) for outfit in outfits]))


def partners(outfits: Outfits, item: int) -> set[int]:
    return set[int]().union(*(outfit for outfit in outfits if item in outfit))


@given(outfits=st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=2), seed=st.integers(0, 100))
def test_every_triplet_is_one_and_every_anchor_that_can_be_is(outfits: Outfits, seed: int) -> None:
    everybody = set[int]().union(*outfits)
    expected = sorted(
        anchor for outfit in outfits for anchor in outfit if len(outfit) > 1 and partners(outfits, anchor) != everybody
    )
    assume(expected)
    triplets = TripletSampler(groups_of(outfits)).draw(np.random.default_rng(seed))
    assert sorted(triplets[:, 0].tolist()) == expected
    for anchor, positive, negative in triplets.tolist():
        assert positive != anchor
        assert positive in partners(outfits, anchor)
        assert negative in everybody - partners(outfits, anchor)


def test_every_partner_and_every_other_is_drawn_about_as_often() -> None:
    sampler = TripletSampler(groups_of([{0, 1, 2}, {3, 4}, {5}]))
    generator = np.random.default_rng(0)
    drawn = np.concatenate([sampler.draw(generator) for _ in range(600)])
    of_zero = drawn[drawn[:, 0] == 0]
    assert np.bincount(of_zero[:, 1], minlength=6).tolist()[1:3] == pytest.approx([300, 300], abs=60)
    assert np.bincount(of_zero[:, 2], minlength=6).tolist()[3:] == pytest.approx([200, 200, 200], abs=50)


def test_draws_repeat_and_differ_by_generator() -> None:
    sampler = TripletSampler(groups_of([set(range(20)), set(range(20, 40))]))
    first, again, other = (sampler.draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("outfits", "counts"),
    [([{0}, {1}], "2 items in 2"), ([{0, 1, 2}], "3 items in 1"), ([{0, 1}, {0, 1}], "2 items in")],
)
def test_groups_without_any_triplet(outfits: Outfits, counts: str) -> None:
    with pytest.raises(UserError, match=rf"needs items of the same class or outfit and items of another, got {counts}"):
        TripletSampler(groups_of(outfits))


def test_loss_is_that_of_a_loop() -> None:
    torch.manual_seed(0)
    parts = torch.randn(3, 7, 5, dtype=torch.float64)
    unit = [[row / row.norm() for row in part] for part in parts]
    losses = [
        max(0.0, float((a - p).square().sum() - (a - n).square().sum()) + 0.5) for a, p, n in zip(*unit, strict=True)
    ]
    assert 0 < sum(loss > 0 for loss in losses) < 7
    assert triplet_loss(*parts, 0.5).item() == pytest.approx(sum(losses) / 7)
