import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pan_model.model.gates import COMPOUNDS, Gate, condition_targets

TRUTH = {  # what a gate says of (0, 0), (0, 1), (1, 0), (1, 1)
    Gate.AND: (0, 0, 0, 1),
    Gate.OR: (0, 1, 1, 1),
    Gate.XOR: (0, 1, 1, 0),
    Gate.XNOR: (1, 0, 0, 1),
    Gate.NOR: (1, 0, 0, 0),
    Gate.NAND: (1, 1, 1, 0),
}


@pytest.mark.parametrize("gate", TRUTH)
def test_elementary_gate_is_its_truth_table(gate: Gate):
    inputs = torch.tensor(list(itertools.product([False, True], repeat=2)))
    targets = condition_targets(inputs[:, :1], inputs[:, 1:], gate)
    assert targets.squeeze(1).int().tolist() == list(TRUTH[gate])
    assert targets.dtype is torch.bool


def test_every_gate_has_a_truth_table_or_is_compound():
    assert set(Gate) == TRUTH.keys() | COMPOUNDS.keys()
    assert TRUTH.keys().isdisjoint(COMPOUNDS)
    assert all(gate.parts == (gate,) for gate in TRUTH)
    assert Gate.AND_XOR.parts == (Gate.AND, Gate.XOR)


two_tables = npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6).flatmap(
    lambda shape: st.tuples(npst.arrays(bool, shape), npst.arrays(bool, shape))
)


@given(tables=two_tables, gate=st.sampled_from(Gate))
def test_targets_follow_the_truth_table_at_every_place_and_are_symmetric(
    tables: tuple[np.ndarray, np.ndarray], gate: Gate
):
    one, other = tables
    expected = np.concatenate(
        [
            [[TRUTH[part][2 * a + b] for a, b in zip(*rows, strict=True)] for rows in zip(one, other, strict=True)]
            for part in gate.parts
        ],
        axis=1,
    )
    a1, a2 = torch.from_numpy(one), torch.from_numpy(other)
    assert condition_targets(a1, a2, gate).int().tolist() == expected.tolist()
    assert condition_targets(a2, a1, gate).int().tolist() == expected.tolist()
