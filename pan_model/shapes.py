"""Array shapes in signatures: jaxtyping types if it is installed, otherwise plain types.

Letters: N items (n, R subsets of them, U those of a training step and u a subset of U), P pairs,
T same-class pairs, D features, E embedding, J joint representation,
M conditions, A attributes, K labelled conditions, C classes, B questions, Q queries, G gallery,
S support items of a set, H and W pixels.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING or find_spec("jaxtyping") is not None:
    from jaxtyping import Bool, Float, Int, UInt8
else:

    class _Unchecked:
        """Replacement of a jaxtyping type: `Float[Tensor, "P M"]` is `Tensor`."""

        def __class_getitem__(cls, item: tuple[type, str]) -> type:
            return item[0]

    Bool = Float = Int = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Int", "UInt8"]
