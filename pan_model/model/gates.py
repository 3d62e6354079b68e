"""Logic gates f_a: they map two images' attributes to the label of a condition (PAN, section 3)."""

from enum import StrEnum

import torch
from torch import Tensor

from pan_model.shapes import Bool


class Gate(StrEnum):
    """f_a: labels a pair from the attributes of its images. AND_XOR is the compound concat[AND, XOR]."""

    AND = "AND"
    OR = "OR"
    XOR = "XOR"
    XNOR = "XNOR"
    NOR = "NOR"
    NAND = "NAND"
    AND_XOR = "AND_XOR"

    @property
    def parts(self) -> "tuple[Gate, ...]":
        """The elementary gates whose outputs are concatenated: two for AND_XOR, else the gate itself."""
        return (Gate.AND, Gate.XOR) if self is Gate.AND_XOR else (self,)


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
    return torch.cat([_elementary(attributes_1, attributes_2, part) for part in gate.parts], dim=1)


def _elementary(a1: Tensor, a2: Tensor, gate: Gate) -> Tensor:
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
            raise AssertionError("AND_XOR is compound; its parts are elementary.")
