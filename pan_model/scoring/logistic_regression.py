"""Multinomial logistic regression on Gram matrices, for many small training sets at a time.

The weights of a classifier with an L2 penalty are combinations of its training items (the representer theorem), so that
features enter only through inner products. For a set of n items with Gram matrix K, one-hot labels Y and C classes,
the scores of the items are F = K A + 1 b', and the fit minimises

    c sum_i cross_entropy(F_i, y_i) + tr(A' K A) / 2

over A (n x C) and the intercepts b, which have no penalty. Its solution is A = c (Y - softmax(F)). It is found with
Newton's method. Each step is solved by conjugate gradients, preconditioned with the first Hessian, in which all items
have the same curvature h = 1 / C.

Shape letters: B sets, n items of a set, C classes, Q queries.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pan_model.errors import UserError
from pan_model.shapes import Float, Int

TOLERANCE = 1e-5
"""The largest error of a solution in A = c (Y - softmax(F)), relative to the largest entry of A."""

MAX_STEPS = 100
INNER_STEPS = 6
"""Most Newton steps, and the steps of conjugate gradients of each."""

HALVINGS = 30
"""Most halvings of a Newton step that increases the loss."""

CHUNK_VALUES = {"cpu": 2**15, "cuda": 2**24}
"""Values of A that are computed at a time: on a CPU they should fit in its cache."""

ROUNDING = 1e-12
"""The relative error of a loss."""


class LogisticFit(NamedTuple):
    """B classifiers. The scores of queries are `gram @ alphas + intercepts` for their inner products with the items."""

    alphas: Float[Tensor, "B n C"]
    intercepts: Float[Tensor, "B C"]


def fit_logistic(gram: Float[Tensor, "B n n"], labels: Int[Tensor, "B n"], num_classes: int, c: float) -> LogisticFit:
    """Fit a classifier to each of B sets, in float64.

    The result is that of scikit-learn's `LogisticRegression(C=c)` on features with these inner products. It depends on
    the scale of the features: c is comparable between features whose mean square norm is 1. A set with a value that is
    not finite has a classifier of NaN.

    Args:
        gram: The inner products of the items of each set.
        labels: The class of each item, 0 to C - 1; each class has an item.
        num_classes: C, the number of classes.
        c: The inverse of the strength of the penalty.

    Raises:
        UserError: `c` is not a positive number.

    >>> x = torch.tensor([[[-1.0], [1.0]]])
    >>> fit = fit_logistic(x @ x.mT, torch.tensor([[0, 1]]), 2, 1.0)
    >>> w = (fit.alphas.mT @ x.double())[0, 1]
    >>> torch.allclose(w, 2 * torch.sigmoid(-2 * w), atol=1e-5)  # the derivative of the loss is zero
    True
    """
    if not 0 < c < float("inf"):
        raise UserError(f"c must be a positive number, got {c}.")
    size = max(1, CHUNK_VALUES[gram.device.type] // max(1, num_classes * gram.shape[1]))
    pieces = [_fit(*of_sets, num_classes, c) for of_sets in zip(gram.split(size), labels.split(size), strict=True)]
    return LogisticFit(*(torch.cat(parts) for parts in zip(*pieces, strict=True)))


def _fit(gram: Float[Tensor, "B n n"], labels: Int[Tensor, "B n"], num_classes: int, c: float) -> LogisticFit:
    unknown = ~gram.isfinite().all(dim=(1, 2))
    gram = gram.double().masked_fill(unknown[:, None, None], 0.0)  # they do not delay the other sets
    means = gram.mean(dim=1, keepdim=True)
    centred = gram - means - means.mT + means.mean(dim=2, keepdim=True)
    targets = nn.functional.one_hot(labels, num_classes).to(gram.dtype).mT.contiguous()
    precondition = _preconditioner(centred, c / num_classes)
    # All probabilities are 1 / C at first, so that the preconditioned gradient is Newton's step.
    alphas, scores = precondition(c * (targets - 1 / num_classes))
    probabilities, loss = _probabilities_and_loss(targets, alphas, scores, c)
    for _ in range(MAX_STEPS):
        gradient = c * (targets - probabilities) - alphas
        ended = gradient.abs().amax(dim=(1, 2), keepdim=True) <= TOLERANCE * alphas.abs().amax(dim=(1, 2), keepdim=True)
        if ended.all():
            break
        of_alphas, of_scores = _solve(precondition, probabilities, gradient, c)
        size = (~ended).to(gram.dtype)
        for _ in range(HALVINGS):
            new_alphas, new_scores = alphas + size * of_alphas, scores + size * of_scores
            probabilities, new_loss = _probabilities_and_loss(targets, new_alphas, new_scores, c)
            worse = new_loss > loss + ROUNDING * loss.abs()
            if not worse.any():
                alphas, scores, loss = new_alphas, new_scores, new_loss
                break
            size = torch.where(worse, size / 2, size)
        else:
            break
    intercepts = scores.mean(dim=2) - (alphas @ means.mT).squeeze(2)
    alphas = alphas.mT.masked_fill(unknown[:, None, None], torch.nan)
    return LogisticFit(alphas, intercepts.masked_fill(unknown[:, None], torch.nan))


Direction = tuple[Float[Tensor, "B C n"], Float[Tensor, "B C n"]]
"""A direction of A, and the direction K A + 1 b' of F that belongs to it."""


def _preconditioner(gram: Float[Tensor, "B n n"], scale: float) -> Callable[[Tensor], Direction]:
    """Return a function that solves for the direction of a gradient, if c h is `scale` for all items.

    M = (I + c h K)^-1 without the mean over items gives the direction of A. That of F needs no product with K, since
    K M = (I - M) / (c h); the mean of I - M is the direction of the intercepts.
    """
    num_items = gram.shape[1]
    identity = torch.eye(num_items, dtype=gram.dtype, device=gram.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(identity + scale * gram).L) - 1 / num_items

    def precondition(gradient: Float[Tensor, "B C n"]) -> Direction:
        of_alphas = gradient @ inverse
        return of_alphas, (gradient - of_alphas) / scale

    return precondition


def _solve(
    precondition: Callable[[Tensor], Direction],
    probabilities: Float[Tensor, "B C n"],
    gradient: Float[Tensor, "B C n"],
    c: float,
) -> Direction:
    """Return the direction of Newton's method, by conjugate gradients in the inner product of F."""
    residual = gradient
    direction, image = precondition(residual)
    of_alphas, of_scores = torch.zeros_like(direction), torch.zeros_like(direction)
    squared = _dot(residual, image)
    for _ in range(INNER_STEPS):
        weighted = probabilities * image
        curved = weighted.addcmul_(probabilities, weighted.sum(dim=1, keepdim=True), value=-1)
        product = direction.add(curved, alpha=c)
        step = _ratio(squared, _dot(product, image))
        of_alphas.addcmul_(step, direction)
        of_scores.addcmul_(step, image)
        residual = residual.addcmul(step, product, value=-1)
        preconditioned, its_image = precondition(residual)
        previous, squared = squared, _dot(residual, its_image)
        momentum = _ratio(squared, previous)
        direction, image = preconditioned.addcmul_(momentum, direction), its_image.addcmul_(momentum, image)
    return of_alphas, of_scores


def _probabilities_and_loss(
    targets: Float[Tensor, "B C n"], alphas: Float[Tensor, "B C n"], scores: Float[Tensor, "B C n"], c: float
) -> tuple[Float[Tensor, "B C n"], Float[Tensor, "B 1 1"]]:
    largest = scores.amax(dim=1, keepdim=True)
    powers = (scores - largest).exp_()  # torch's softmax is slow along a short dimension
    sums = powers.sum(dim=1, keepdim=True)
    cross_entropy = (sums.log() + largest).sum(dim=(1, 2), keepdim=True) - _dot(targets, scores)
    return powers / sums, _dot(alphas, scores) / 2 + c * cross_entropy


def _dot(x: Float[Tensor, "B C n"], y: Float[Tensor, "B C n"]) -> Float[Tensor, "B 1 1"]:
    return (x * y).sum(dim=(1, 2), keepdim=True)


def _ratio(numerator: Float[Tensor, "B 1 1"], denominator: Float[Tensor, "B 1 1"]) -> Float[Tensor, "B 1 1"]:
    """Return a ratio; 0 where a set is already solved, so that both are 0."""
    return torch.where(denominator > 0, numerator / denominator, 0.0)
