"""Initial weights of the projection to attributes: what ridge regression predicts of them from the features.

Shape letters: n training items, D features, A predicted attributes, K directions of the predictions.
"""

import numpy as np
import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.shapes import Bool, Float, Int

RIDGE = 3.0
"""The penalty on the weights, for features of length 1."""

MIN_SHARE = 0.01
"""The smallest share of the training items with an attribute, or without it, for which it is predicted."""

NUM_FOLDS = 5


class AttributeStart:
    """Linear predictions of standardised attributes, in their K leading directions.

    The cosine of two items' predictions is that over all attributes, but for the directions that are left out.

    Args:
        features: The normalised features of the training items; only their directions count.
        labels: Whether each item has each attribute.
        certain: Which labels count; others are taken to be the mean.
        num_directions: K. Directions beyond the number of predicted attributes are 0.

    Raises:
        UserError: No attribute is certain and present in 1% to 99% of the items.
    """

    def __init__(
        self,
        features: Float[Tensor, "n D"],
        labels: Bool[Tensor, "n _"],
        certain: Bool[Tensor, "n _"],
        *,
        num_directions: int,
    ) -> None:
        self._unit = nn.functional.normalize(features, dim=1).double()
        share = (labels & certain).double().sum(dim=0) / certain.double().sum(dim=0).clamp(min=1)
        chosen = (share >= MIN_SHARE) & (share <= 1 - MIN_SHARE)
        if not chosen.any():
            raise UserError(
                "projection attributes needs an attribute that 1% to 99% of the training images have, got none; "
                "choose another projection."
            )
        share = share[chosen]
        self._targets = (labels[:, chosen].double() - share) * certain[:, chosen] / (share * (1 - share)).sqrt()
        everything = torch.ones(len(features), dtype=torch.bool, device=features.device)
        weights, mean = self._fit(everything)
        predicted = (self._unit - mean) @ weights.T
        leading = torch.linalg.eigh(predicted.T @ predicted).eigenvectors.flip(1)[:, :num_directions]
        self._directions = nn.functional.pad(leading, (0, num_directions - leading.shape[1]))
        self.weight: Float[Tensor, "K D"] = (self._directions.T @ weights).to(features.dtype)
        self.bias: Float[Tensor, "K"] = (-self._directions.T @ (weights @ mean)).to(features.dtype)

    def held_out(self, classes: Int[np.ndarray, "n"], seed: int) -> Float[Tensor, "n K"]:
        """Predict each training item from the items of other classes, in 5 folds of classes.

        The weights fit the training items better than new ones, so that pairs of them make the predictions look more
        reliable than they are.

        Args:
            classes: The class of each training item.
            seed: Divides the classes into folds.
        """
        names, place = np.unique(classes, return_inverse=True)
        folds = torch.from_numpy((np.random.default_rng(seed).permutation(len(names)) % NUM_FOLDS)[place])
        predictions = torch.empty(len(self._unit), self._directions.shape[1], device=self._unit.device)
        for fold in folds.unique():
            inside = (folds == fold).to(self._unit.device)
            weights, mean = self._fit(~inside)
            predictions[inside] = ((self._unit[inside] - mean) @ weights.T @ self._directions).to(predictions.dtype)
        return predictions.to(self.weight.dtype)

    def _fit(self, used: Bool[Tensor, "n"]) -> tuple[Float[Tensor, "A D"], Float[Tensor, "D"]]:
        """Return the weights of the ridge regression on some items, and the mean of their inputs."""
        mean = self._unit[used].mean(dim=0)
        x = self._unit[used] - mean
        penalty = RIDGE * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return torch.linalg.solve(x.T @ x + penalty, x.T @ self._targets[used]).T, mean
