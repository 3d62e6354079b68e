"""A linear projection of frozen features, trained with the Proxy-Anchor loss (Kim et al., CVPR 2020).

It starts as the leading directions of whitened features, so that it is ahead of where a random projection ends. Queries
and sets are then compared as in nearest_class_mean.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pan_model.scoring.baselines.class_means import whitened_features
from pan_model.scoring.baselines.setting import TRAINING_SEED, Setting
from pan_model.scoring.baselines.untrained import nearest_class_mean, unit_rows
from pan_model.shapes import Float, Int
from pan_model.tasks.task import SetScorer, Task

SETTINGS: tuple[Setting, ...] = tuple(
    {"learning_rate": learning_rate, "epochs": epochs} for learning_rate in (3e-5, 1e-4, 1e-3) for epochs in (2, 8)
)
"""Learning rate of the projection and epochs; settings that differ in epochs only share a training."""

FEATURE_POWER, SHRINKAGE = 0.5, 0.9
EMBEDDING_DIM = 256
BATCH_SIZE = 180
PROXY_RATE_FACTOR = 100.0
"""The learning rate of the proxies, relative to the projection's, as in the paper."""

WEIGHT_DECAY = 1e-4
SCALE, MARGIN = 32.0, 0.1
"""The paper's alpha and delta."""


def fit_proxy_anchor(
    task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /
) -> Iterator[SetScorer]:
    """Train the projection on the training items and their classes with AdamW."""
    whitened = whitened_features(task, inputs, feature_power=FEATURE_POWER, shrinkage=SHRINKAGE)
    features = torch.from_numpy(unit_rows(whitened))
    first = leading_directions(features[torch.from_numpy(task.training_items)])
    training: ProxyAnchorTraining | None = None
    for setting in settings:
        rate, epochs = float(setting["learning_rate"]), int(setting["epochs"])
        if training is None or training.rate != rate or training.epoch > epochs:
            training = ProxyAnchorTraining(task, features, first, rate)
        while training.epoch < epochs:
            training.run_epoch()
        yield nearest_class_mean(training.embed())


def proxy_anchor_loss(
    embeddings: Float[Tensor, "R E"], labels: Int[Tensor, "R"], proxies: Float[Tensor, "C E"]
) -> Float[Tensor, ""]:
    """Return the Proxy-Anchor loss of a batch, equation 4 of the paper.

    With s the cosine of item and proxy: the mean over the proxies of the batch's classes of
    log(1 + sum exp(-alpha (s - delta))) over items of the class, plus the mean over all proxies of
    log(1 + sum exp(alpha (s + delta))) over the others.
    """
    cosines = F.normalize(embeddings, dim=1) @ F.normalize(proxies, dim=1).T
    of_class = F.one_hot(labels, len(proxies)).bool()
    one = cosines.new_zeros(1, len(proxies))  # the exponent of the 1 in log(1 + ..)
    near = (-SCALE * (cosines - MARGIN)).masked_fill(~of_class, -torch.inf)
    far = (SCALE * (cosines + MARGIN)).masked_fill(of_class, -torch.inf)
    num_present = of_class.any(dim=0).sum()
    return torch.cat([one, near]).logsumexp(dim=0).sum() / num_present + torch.cat([one, far]).logsumexp(dim=0).mean()


class ProxyAnchorTraining:
    """A training, epoch by epoch, in random batches.

    Attributes:
        rate: The learning rate of the projection.
        epoch: The number of epochs so far.
        losses: The mean loss of each.
    """

    def __init__(self, task: Task, features: Float[Tensor, "N D"], first: Float[Tensor, "D E"], rate: float) -> None:
        self.rate, self.epoch = rate, 0
        self.losses = list[float]()
        self._features = features
        self._training = features[torch.from_numpy(task.training_items)]
        classes = task.featured.classes[task.training_items]
        self._labels = torch.from_numpy(np.unique(classes, return_inverse=True)[1])
        self._projection = first.clone().requires_grad_()
        self._proxies = self._class_means().requires_grad_()
        self._generator = torch.Generator().manual_seed(TRAINING_SEED)
        self._optimiser = torch.optim.AdamW(
            [
                {"params": [self._projection], "lr": rate, "weight_decay": WEIGHT_DECAY},
                {"params": [self._proxies], "lr": rate * PROXY_RATE_FACTOR, "weight_decay": 0.0},
            ]
        )

    def run_epoch(self) -> None:
        """Train on every item once."""
        losses = list[float]()
        for batch in torch.randperm(len(self._labels), generator=self._generator).split(BATCH_SIZE):
            loss = proxy_anchor_loss(self._training[batch] @ self._projection, self._labels[batch], self._proxies)
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            losses.append(loss.item())
        self.losses.append(sum(losses) / len(losses))
        self.epoch += 1

    @torch.no_grad()
    def embed(self) -> Float[np.ndarray, "N E"]:
        """Project all features."""
        return (self._features @ self._projection).numpy()

    @torch.no_grad()
    def _class_means(self) -> Float[Tensor, "C E"]:
        embeddings = F.normalize(self._training @ self._projection, dim=1)
        sums = embeddings.new_zeros(int(self._labels.max()) + 1, embeddings.shape[1])
        return F.normalize(sums.index_add_(0, self._labels, embeddings), dim=1)


def leading_directions(features: Float[Tensor, "n D"]) -> Float[Tensor, "D E"]:
    """Return the directions of the largest variance; all of them if there are few."""
    centred = features - features.mean(dim=0)
    return torch.linalg.eigh(centred.T @ centred)[1].flip(1)[:, :EMBEDDING_DIM]
