import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pan_model.errors import UserError
from pan_model.model.conditions import ConditionsConfig, Supervision, choose_conditions, rank_attributes
from pan_model.model.gates import Gate

CPU = torch.device("cpu")


def conditions_config(supervision: str, num_conditions: int, gate: str | None = None) -> ConditionsConfig:
    return ConditionsConfig(
        num_conditions=num_conditions,
        supervision=Supervision(supervision),
        gate=Gate(gate) if gate else None,
        lambda_=1.0 if gate else None,
    )


@pytest.mark.parametrize(
    ("supervision", "gate", "num_conditions", "num_attributes", "num_labelled"),
    [
        ("unsupervised", None, 50, 312, 0),
        ("supervised", "OR", 312, 312, 312),
        ("supervised", "OR", 5, 10, 5),
        ("supervised", "OR", 5, 3, 3),
        ("supervised", "XNOR", 1, 3, 1),
        ("supervised", "AND_XOR", 5, 2, 4),
        ("supervised", "AND_XOR", 3, 2, 3),
        ("supervised", "AND_XOR", 1, 2, 1),
        ("hybrid", "XNOR", 20, 312, 10),
        ("hybrid", "XNOR", 5, 10, 3),
        ("hybrid", "XNOR", 1, 10, 1),
        ("hybrid", "XNOR", 20, 4, 4),
        ("hybrid", "AND_XOR", 9, 10, 5),
        ("hybrid", "AND_XOR", 9, 2, 4),
        ("supervised", "OR", 5, 0, 0),
    ],
)
def test_number_of_labelled_conditions(
    supervision: str, gate: str | None, num_conditions: int, num_attributes: int, num_labelled: int
):
    assert conditions_config(supervision, num_conditions, gate).num_labelled(num_attributes) == num_labelled


ARRAYS = npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8).flatmap(
    lambda shape: st.tuples(npst.arrays(bool, shape), npst.arrays(bool, shape))
)


def entropy(present: int, count: int) -> float:
    shares = [present / count, (count - present) / count]
    return -sum(share * math.log2(share) for share in shares if share > 0)


@given(tables=ARRAYS)
def test_attributes_are_ranked_by_entropy_among_their_certain_items(tables: tuple[np.ndarray, np.ndarray]):
    attributes, certain = tables
    counted: dict[int, tuple[int, int]] = {}
    for a in range(attributes.shape[1]):
        bits = [bool(bit) for bit, sure in zip(attributes[:, a], certain[:, a], strict=True) if sure]
        if bits:
            counted[a] = (sum(bits), len(bits))
    ranked = rank_attributes(attributes, certain).tolist()
    assert sorted(ranked) == sorted(counted)
    for first, second in itertools.pairwise(ranked):
        assert entropy(*counted[first]) >= entropy(*counted[second]) - 1e-12
        assert counted[first] != counted[second] or first < second


def test_attributes_that_are_each_other_s_opposite_are_ranked_by_index():
    """p and 1 - p have the same entropy, whatever floating point makes of 1 - p."""
    for count in range(2, 40):
        for present in range(1, count):
            bits = np.arange(count) < present
            opposites = np.stack([bits, ~bits], axis=1)
            assert rank_attributes(opposites, np.ones_like(opposites)).tolist() == [0, 1], (present, count)


def test_bits_of_uncertain_items_play_no_part_in_the_ranking():
    attributes = np.array([[1, 1], [1, 0], [0, 0], [0, 0]], bool)
    certain = np.array([[1, 1], [1, 1], [0, 1], [0, 1]], bool)
    assert rank_attributes(attributes, np.ones_like(certain)).tolist() == [0, 1]
    assert rank_attributes(attributes, certain).tolist() == [1, 0]


TABLE = np.array([[0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 1, 0], [1, 0, 1, 0]], bool)
"""Four items; of the attributes p, q, r, s the first is the least informative."""

SURE = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1]], bool)
"""r is never certain, q is certain of three items."""


@pytest.mark.parametrize(
    ("supervision", "gate", "num_conditions", "names"),
    [
        ("unsupervised", None, 2, ("unsupervised_1", "unsupervised_2")),
        ("supervised", "XNOR", 2, ("XNOR(s)", "XNOR(q)")),
        ("supervised", "NOR", 5, ("NOR(s)", "NOR(q)", "NOR(p)", "unsupervised_1", "unsupervised_2")),
        ("hybrid", "OR", 3, ("OR(s)", "OR(q)", "unsupervised_1")),
        ("supervised", "AND_XOR", 3, ("AND(s)", "AND(q)", "XOR(s)")),
        ("supervised", "AND_XOR", 4, ("AND(s)", "AND(q)", "XOR(s)", "XOR(q)")),
        ("hybrid", "AND_XOR", 5, ("AND(s)", "AND(q)", "XOR(s)", "unsupervised_1", "unsupervised_2")),
        (
            "supervised",
            "AND_XOR",
            7,
            ("AND(s)", "AND(q)", "AND(p)", "XOR(s)", "XOR(q)", "XOR(p)", "unsupervised_1"),
        ),
    ],
)
def test_conditions_are_named_labelled_first_and_most_informative_first(
    supervision: str, gate: str | None, num_conditions: int, names: tuple[str, ...]
):
    config = conditions_config(supervision, num_conditions, gate)
    chosen = choose_conditions(config, TABLE, SURE, ("p", "q", "r", "s"))
    assert chosen.names == names
    assert chosen.num_labelled == sum("(" in name for name in names)


RULES = {
    "AND": lambda a, b: a and b,
    "OR": lambda a, b: a or b,
    "XOR": lambda a, b: a != b,
    "XNOR": lambda a, b: a == b,
    "NOR": lambda a, b: not (a or b),
    "NAND": lambda a, b: not (a and b),
}


@pytest.mark.parametrize("gate", Gate)
@pytest.mark.parametrize("num_conditions", [1, 2, 3, 5, 8])
def test_targets_and_certainty_are_those_of_the_named_attribute(gate: str, num_conditions: int):
    config = conditions_config("supervised", num_conditions, gate)
    chosen = choose_conditions(config, TABLE, SURE, ("p", "q", "r", "s"))
    index_1, index_2 = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 0, 1, 3])
    targets, certain = chosen.targets(chosen.columns(TABLE, CPU), chosen.columns(SURE, CPU), index_1, index_2)
    assert targets.shape == certain.shape == (5, chosen.num_labelled)
    for k, name in enumerate(chosen.names[: chosen.num_labelled]):
        rule, attribute = RULES[name.split("(")[0]], "pqrs".index(name[-2])
        for pair, (i, j) in enumerate(zip(index_1.tolist(), index_2.tolist(), strict=True)):
            assert targets[pair, k].item() == rule(bool(TABLE[i, attribute]), bool(TABLE[j, attribute]))
            assert certain[pair, k].item() == (SURE[i, attribute] and SURE[j, attribute])


def test_labels_without_any_certain_attribute_are_refused():
    with pytest.raises(UserError, match="supervision supervised needs attributes with certain labels"):
        choose_conditions(conditions_config("supervised", 3, "OR"), TABLE, np.zeros_like(SURE), ("p", "q", "r", "s"))


def test_no_labels_need_no_certain_attribute():
    chosen = choose_conditions(conditions_config("unsupervised", 1), TABLE[:, :0], SURE[:, :0], ())
    assert (chosen.num_labelled, chosen.names, chosen.attribute_index.tolist()) == (0, ("unsupervised_1",), [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_conditions": 0, "supervision": Supervision.UNSUPERVISED}, "num_conditions must be at least 1, got 0"),
        ({"supervision": Supervision.HYBRID}, "supervision hybrid needs a gate and a lambda"),
        ({"supervision": Supervision.SUPERVISED, "gate": Gate.OR}, "supervision supervised needs a gate and a lambda"),
        ({"supervision": Supervision.UNSUPERVISED, "gate": Gate.OR}, "leave gate and lambda out"),
        ({"supervision": Supervision.UNSUPERVISED, "lambda_": 0.0}, "leave gate and lambda out"),
        ({"supervision": Supervision.HYBRID, "gate": Gate.OR, "lambda_": -1.0}, "lambda must be a finite number"),
        ({"supervision": Supervision.HYBRID, "gate": Gate.OR, "lambda_": math.nan}, "at least 0, got nan"),
        ({"supervision": Supervision.HYBRID, "gate": Gate.OR, "lambda_": math.inf}, "at least 0, got inf"),
    ],
)
def test_impossible_conditions_are_refused_by_name(values: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        ConditionsConfig(**{"num_conditions": 3} | values)
