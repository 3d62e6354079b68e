"""Gathered joint representations equal the straight form on the gathered embeddings."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pan_model.model.gathered_joint import PairDifference, PairJoint, joint_rows
from pan_model.model.similarity import ConditionSimilarity, Joint, SimilarityConfig

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


@given(
    joint=st.sampled_from(Joint),
    dtype=st.sampled_from(list(TOLERANCE)),
    num_items=st.integers(1, 6),
    num_pairs=st.integers(0, 9),
    embedding_dim=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_a_gathered_joint_is_that_of_the_gathered_embeddings(
    joint: Joint, dtype: torch.dtype, num_items: int, num_pairs: int, embedding_dim: int, seed: int
):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(num_items, embedding_dim, generator=generator, dtype=torch.float64).to(dtype)
    pairs = torch.randint(num_items, (num_pairs, 2), generator=generator)
    straight = ConditionSimilarity(SimilarityConfig(joint=joint), embedding_dim=embedding_dim, num_conditions=1)
    expected = straight.represent(embeddings[pairs[:, 0]], embeddings[pairs[:, 1]])
    actual = PairJoint(joint_rows(embeddings, joint), joint, chunk_size=9)(pairs)
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_the_difference_is_exact_and_of_an_item_with_itself_zero():
    rows = torch.randn(20, 33, generator=torch.Generator().manual_seed(0))
    pairs = torch.randint(20, (50, 2), generator=torch.Generator().manual_seed(1))
    pairs[0] = 3
    difference = PairDifference(rows, chunk_size=64)(pairs)
    assert torch.equal(difference, rows[pairs[:, 0]] - rows[pairs[:, 1]])
    assert not difference[0].any()


@pytest.mark.parametrize("joint", Joint)
def test_a_chunk_has_no_gradient_and_leaves_the_rows_as_they_were(joint: Joint):
    rows = torch.randn(5, 4, requires_grad=True)
    before = rows.detach().clone()
    chunk = PairJoint(rows, joint, chunk_size=8)(torch.tensor([[0, 1], [1, 1]]))
    assert not chunk.requires_grad
    chunk.zero_()
    assert torch.equal(rows, before)
