"""Attributes alone: their probabilities are predicted linearly from features, and images compared by a gate.

What PAN owes to attributes as such, without embeddings and conditions: the labels f_a(a_m(x1), a_m(x2)) of a pair's
conditions are predicted from those of its images, and averaged.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.model.gates import Gate
from pan_model.scoring.baselines.principal_components import principal_components
from pan_model.scoring.baselines.setting import Setting
from pan_model.scoring.baselines.untrained import mean_cosine
from pan_model.shapes import Bool, Float, Int
from pan_model.tasks.task import SetScorer, Task

COSINE = "cosine"
"""The comparison by the cosine of the standardised log-odds."""

COMPARISONS: tuple[dict[str, str], ...] = (
    *({"gate": str(gate), "prior": prior} for gate in Gate for prior in ("equal", "training")),
    {"gate": COSINE, "prior": "equal"},
)
SETTINGS: tuple[Setting, ...] = tuple(
    {"penalty": penalty, **comparison} for penalty in (0.01, 0.1, 1.0) for comparison in COMPARISONS
)
"""The penalty of the regression, how pairs are compared, and the prior of each attribute.

With the prior `training`, probabilities are those of the regression; with `equal`, each attribute is taken to be as
often present as absent, so that an attribute that most images share, or lack, does not make them similar.
"""

NUM_COMPONENTS = 256
MAX_ITERATIONS = 60


def has_attributes(task: Task) -> bool:
    """Return whether an attribute is certainly present in some training items, and certainly absent in others."""
    return bool(_learnable(task).any())


def fit_attributes_only(
    task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /
) -> Iterator[SetScorer]:
    """Fit a logistic regression for each attribute on the certain labels of the training items.

    Attributes without both labels are left out. The inputs are the leading principal components of the standardised
    features.
    """
    items = torch.from_numpy(task.training_items)
    learnable = _learnable(task)
    labels = torch.from_numpy(task.featured.attributes[task.training_items][:, learnable])
    certain = torch.from_numpy(task.featured.certain[task.training_items][:, learnable])
    components = principal_components(inputs, task.training_items, NUM_COMPONENTS)
    shares = (labels & certain).sum(dim=0) / certain.sum(dim=0)
    fitted: dict[float, Tensor] = {}
    for setting in settings:
        penalty = float(setting["penalty"])
        if penalty not in fitted:
            weights, biases = fit_regressions(components[items], labels, certain, penalty)
            fitted = {penalty: components @ weights + biases}
        log_odds = fitted[penalty]
        if setting["gate"] == COSINE:
            deviation, mean = torch.std_mean(log_odds[items], dim=0, correction=0)
            yield mean_cosine(((log_odds - mean) / deviation.clamp(min=1e-6)).numpy())
            continue
        shift = torch.logit(shares) if setting["prior"] == "equal" else torch.zeros_like(shares)
        yield gate_scorer(torch.sigmoid(log_odds - shift).numpy(), Gate(str(setting["gate"])))


def fit_regressions(
    inputs: Float[Tensor, "n D"], labels: Bool[Tensor, "n A"], certain: Bool[Tensor, "n A"], penalty: float
) -> tuple[Float[Tensor, "D A"], Float[Tensor, "A"]]:
    """Fit a logistic regression for each of A attributes on the items where its label is certain.

    Minimises sum(cross-entropy) / n + penalty / 2 |w|^2 by L-BFGS, for all attributes at once. The variables are
    scaled by a bound of the curvature, so that tens of iterations suffice.

    Args:
        inputs: Uncorrelated inputs with mean 0, as `principal_components` returns.
        labels: Whether each item has each attribute.
        certain: Which labels count; every attribute has both labels among them.
        penalty: The weight of the penalty; biases have none.

    Returns:
        Weights and biases.
    """
    targets, counted = labels.to(inputs.dtype), certain.to(inputs.dtype)
    scales = (inputs.square().mean(dim=0) / 4 + penalty).rsqrt()[:, None]
    scaled = inputs.new_zeros(inputs.shape[1], labels.shape[1], requires_grad=True)
    shares = (targets * counted).sum(dim=0) / counted.sum(dim=0)
    biases = torch.logit(shares).requires_grad_()
    optimiser = torch.optim.LBFGS([scaled, biases], max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        weights = scaled * scales
        entropy = F.binary_cross_entropy_with_logits(inputs @ weights + biases, targets, counted, reduction="sum")
        value = entropy / len(inputs) + penalty / 2 * weights.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return (scaled * scales).detach(), biases.detach()


def gate_scorer(probabilities: Float[np.ndarray, "N A"], gate: Gate) -> SetScorer:
    """Return a scorer by the expected label of the gate, averaged over the attributes and the set's items.

    The attributes of two images are taken to be independent given their features, so XNOR of p and q is
    p q + (1 - p) (1 - q). A compound gate averages over its parts.
    """

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        return np.stack(
            [
                expected_gate(probabilities[query], probabilities[members].mean(axis=1), gate)  # linear in each image
                for query, members in zip(queries, sets, strict=True)
            ]
        )

    return score


def expected_gate(p: Float[np.ndarray, "n A"], q: Float[np.ndarray, "m A"], gate: Gate) -> Float[np.ndarray, "n m"]:
    """Return the mean over attributes of the probability that f_a is true, for all pairs.

    >>> expected_gate(np.array([[1.0, 0.5]]), np.array([[1.0, 1.0], [0.0, 0.5]]), Gate.XNOR).tolist()
    [[0.75, 0.25]]
    """
    both = p @ q.T / p.shape[1]
    any_of = p.mean(axis=1)[:, None] + q.mean(axis=1) - both

    def elementary(part: Gate) -> Float[np.ndarray, "n m"]:
        match part:
            case Gate.AND:
                return both
            case Gate.OR:
                return any_of
            case Gate.XOR:
                return any_of - both
            case Gate.XNOR:
                return 1 - (any_of - both)
            case Gate.NOR:
                return 1 - any_of
            case Gate.NAND:
                return 1 - both
            case Gate.AND_XOR:
                raise AssertionError(f"{part} is compound; its parts are elementary.")

    return np.mean([elementary(part) for part in gate.parts], axis=0, dtype=p.dtype)


def _learnable(task: Task) -> Bool[np.ndarray, "A"]:
    items = task.training_items
    labels, certain = task.featured.attributes[items], task.featured.certain[items]
    return np.logical_and((labels & certain).any(axis=0), (~labels & certain).any(axis=0))
