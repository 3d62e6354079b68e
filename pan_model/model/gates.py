"""Logic gates f_a: they map two images' attributes to the label of a condition (PAN, section 3)."""

from enum import StrEnum

import torch
from torch import Tensor

from pan_model.shapes import Bool


class Gate(StrEnum):
    """f_a: labels a pair from the attributes of its images.

    A gate must be symmetric in its two arguments, since a pair of images has no order. A compound gate, such as
    AND_XOR = concat[AND, XOR], concatenates the outputs of elementary gates; COMPOUNDS lists them.
    """

    AND = "AND"
    OR = "OR"
    XOR = "XOR"
    XNOR = "XNOR"
    NOR = "NOR"
    NAND = "NAND"
    AND_XOR = "AND_XOR"

    @property
    def parts(self) -> "tuple[Gate, ...]":
        """The elementary gates whose outputs are concatenated: those of a compound gate, else the gate itself."""
        return COMPOUNDS.get(self, (self,))


COMPOUNDS = {Gate.AND_XOR: (Gate.AND, Gate.XOR)}
"""The elementary gates of each compound gate, in the order of its outputs."""


def condition_targets(
    attributes_1: Bool[Tensor, "P A"], attributes_2: Bool[Tensor, "P A"], gate: Gate
) -> Bool[Tensor, "P K"]:
    """Label every condition of a pair: f_a of the two images' attributes (PAN, section 3).

    Shapes: (P, A) twice -> (P, A), or (P, 2A) for AND_XOR.

    >>> condition_targets(torch.tensor([[True, False]]), torch.tensor([[True, True]]), Gate.XNOR).tolist()
    [[True, False]]
    >>> condition_targets(torch.tensor([[True, False]]), torch.tensor([[True, True]]), Gate.AND_XOR).tolist()
    [[True, False, False, True]]
    """
    return torch.cat([elementary_gate(attributes_1, attributes_2, part) for part in gate.parts], dim=1)


def elementary_gate(a1: Tensor, a2: Tensor, gate: Gate) -> Tensor:
    """Return an elementary gate of two tensors of truth values, or of each bit of two tensors of integers."""
    match gate:
        case Gate.AND:
            return a1 & a2
        case Gate.OR:
            return a1 | a2
        case Gate.XOR:
            return a1 ^ a2
        case Gate.XNOR:
            return ~(a1 ^ a2)
        case Gate.NOR:
            return ~(a1 | a2)
        case Gate.NAND:
            return ~(a1 & a2)
        case Gate.AND_XOR:
            raise AssertionError(f"{gate} is compound; its parts are elementary.")
