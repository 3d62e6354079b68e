"""A trial in the straight form: pair by pair with autograd, and the questions of an evaluation one after another.

It is what a competent user of torch writes from the formulas of PAN: embed the items of a step, write out the joint
representation of all pairs, and backpropagate. It takes the same configurations and draws the same pairs as a trial of
a study.
"""

from typing import Any

import numpy as np
import torch
from judge import RandomEpisodes, accuracies_of, draw_random_episodes
from torch import Tensor
from torch.nn import functional as F

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.model.conditions import choose_conditions
from pan_model.model.initialisation import start_as_distance
from pan_model.model.pan import Scoring
from pan_model.model.similarity import DROPPED, FirstWeights, Joint
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig
from pan_model.training.optimisation import TrainConfig, share_of_learning_rate
from pan_model.training.trainer import new_pan


class StraightTrial:
    """Trains PAN on a few-shot task, and evaluates it on episodes.

    Attributes:
        config: The configuration of the trial.
        epoch: The number of finished epochs.
    """

    def __init__(self, items: FeaturedItems, config: TrialConfig, device: torch.device) -> None:
        self.config, self.epoch, self._device, self._items = config, 0, device, items
        self._task = FewShotTask(items, seed=config.train.seed)
        train = self._task.training_items
        self._conditions = choose_conditions(
            config.conditions, items.attributes[train], items.certain[train], items.attribute_names
        )
        self._attributes = self._conditions.columns(items.attributes, device)
        self._certain = self._conditions.columns(items.certain, device)
        labels, classes = np.unique(items.classes[train], return_inverse=True)
        self._classes = torch.full((len(items.classes),), -1, device=device)
        self._classes[torch.from_numpy(train)] = torch.from_numpy(classes).to(device)
        self._model = new_pan(config, self._conditions, feature_dim=items.feature_dim, num_classes=len(labels)).to(
            device
        )
        features = torch.from_numpy(np.array(items.features)).to(device)
        varied, groups = (torch.from_numpy(indices).to(device) for indices in self._task.normalisation_groups())
        self._model.normalisation.fit(features, groups, varied)
        with torch.no_grad():
            self._normalised = self._model.normalisation(features)
        torch.manual_seed(config.train.seed)
        if config.similarity.first_weights is FirstWeights.DISTANCE:
            self._start_as_distance()
        self._optimiser = Optimiser(
            self._model.parameter_groups(config.train.learning_rate), config.train, config.pairs.steps_per_epoch
        )

    def train_epoch(self) -> float:
        """Train for one epoch and return the mean loss of its steps."""
        self.epoch += 1
        self._model.train()
        draw = 0 if self.config.pairs.pairs is PairSampling.FIXED else self.epoch
        steps = self._task.draw_steps(self.config.pairs, np.random.default_rng([self.config.train.seed, 1, draw]))
        return float(np.mean([self._train_step(pairs) for pairs in steps]))

    @torch.no_grad()
    def evaluate(self, episodes: RandomEpisodes) -> np.ndarray:
        """Return the accuracy of each episode."""
        self._model.eval()
        h = self._model.encode(self._normalised)
        by_mean = self._model.scoring is Scoring.SUPPORT_MEAN
        scores: list[np.ndarray] = []
        for support, queries in zip(episodes.support, episodes.queries, strict=True):
            sets = h[torch.from_numpy(support).to(self._device)]  # (C, S, E)
            sets = sets.mean(dim=1, keepdim=True) if by_mean else sets
            h1 = h[torch.from_numpy(queries).to(self._device)]
            num_queries, num_members = len(h1), sets.shape[0] * sets.shape[1]
            h2 = sets.flatten(0, 1).repeat(num_queries, 1)
            logits, log_relevance = self._compare(h1.repeat_interleave(num_members, dim=0), h2)
            if self._model.scoring is Scoring.PAIR_MEAN:
                of_pairs = (log_relevance.exp() * logits.sigmoid()).sum(dim=1)
            else:
                of_pairs = log_score(logits, log_relevance) - log_score(-logits, log_relevance)
            scores.append(of_pairs.view(num_queries, *sets.shape[:2]).mean(dim=2).cpu().numpy())
        return accuracies_of(np.stack(scores), episodes.answers)

    def _train_step(self, pairs: Pairs) -> float:
        index_1, index_2, same = (torch.from_numpy(column).to(self._device) for column in pairs)
        share = self.config.pairs.hard_pair_share
        if share < 1:
            self._model.eval()
            with torch.no_grad():
                losses = self._pair_losses(index_1, index_2, same)[0]
            self._model.train()
            kept = torch.cat([_largest(losses, same, share), _largest(losses, ~same, share)])
            index_1, index_2, same = index_1[kept], index_2[kept], same[kept]
        self._optimiser.zero_grad()
        losses, logits, embeddings, items = self._pair_losses(index_1, index_2, same)
        positive = self.config.pairs.positive_weight
        if same.all() or not same.any():
            loss = losses.mean()
        else:
            loss = positive * losses[same].mean() + (1 - positive) * losses[~same].mean()
        loss = loss + self._model.encoder.own_loss(embeddings, self._classes[items])
        if self._conditions.num_labelled:
            targets, certain = self._conditions.targets(self._attributes, self._certain, index_1, index_2)
            of_conditions = F.binary_cross_entropy_with_logits(
                logits[:, : targets.shape[1]], targets.float(), weight=certain.float(), reduction="none"
            )
            means = of_conditions.sum(dim=1) / (certain.float().sum(dim=1) + 1e-6)
            loss = loss + (self.config.conditions.lambda_ or 0.0) * means.mean()
        loss.backward()
        self._optimiser.step()
        return loss.item()

    def _pair_losses(self, index_1: Tensor, index_2: Tensor, same: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the losses and similarity logits of pairs, the embeddings of their items, and the items."""
        items, places = torch.cat([index_1, index_2]).unique(return_inverse=True)
        h = self._model.encode(self._normalised[items])
        place_1, place_2 = places.split(len(index_1))
        logits, log_relevance = self._compare(h[place_1], h[place_2])
        losses = -torch.where(same, log_score(logits, log_relevance), log_score(-logits, log_relevance))
        return losses, logits, h, items

    def _compare(self, h1: Tensor, h2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the similarity logits and log relevances of pairs of embeddings."""
        csm = self._model.similarity
        match csm.joint:
            case Joint.ABSDIFF:
                j = (h1 - h2).abs()
            case Joint.PRODUCT:
                j = F.normalize(h1, dim=1) * F.normalize(h2, dim=1) * h1.shape[1]
            case Joint.CONCAT:
                j = torch.cat([h1, h2], dim=1)
        j = F.dropout(j, self.config.similarity.dropout, self._model.training)
        relevance = csm.relevance(j)
        share = self.config.similarity.condition_dropout
        if self._model.training and share:
            drawn = torch.rand_like(relevance) < share
            relevance = relevance.masked_fill(drawn & ~drawn.all(dim=1, keepdim=True), DROPPED)
        return csm.similarity(j), torch.log_softmax(relevance, dim=1)

    @torch.no_grad()
    def _start_as_distance(self) -> None:
        config = PairsConfig(pairs=PairSampling.FRESH, pairs_per_epoch=4096, steps_per_epoch=1)
        (pairs,) = self._task.draw_steps(config, np.random.default_rng([self.config.train.seed, 3]))
        index_1, index_2, same = (torch.from_numpy(column).to(self._device) for column in pairs)
        self._model.eval()
        self._model.encoder.keep_distances()
        h1, h2 = (self._model.encode(self._normalised[index]) for index in (index_1, index_2))
        start_as_distance(self._model.similarity, h1, h2, same, num_labelled=self._conditions.num_labelled)


class Optimiser:
    """torch's AdamW with a schedule, and decay towards the initial weights after each step."""

    def __init__(self, groups: list[dict[str, Any]], config: TrainConfig, steps_per_epoch: int) -> None:
        groups = [{"start_decay": config.start_decay, **group} for group in groups]
        self._adam = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
        num_steps = config.max_epochs * steps_per_epoch
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adam, lambda step: share_of_learning_rate(config.schedule, step / num_steps)
        )
        self._first = [[weight.detach().clone() for weight in group["params"]] for group in self._adam.param_groups]

    def zero_grad(self) -> None:
        """Reset the gradients."""
        self._adam.zero_grad()

    @torch.no_grad()
    def step(self) -> None:
        """Take a step."""
        self._adam.step()
        for group, first in zip(self._adam.param_groups, self._first, strict=True):
            if pull := min(1.0, group["lr"] * group["start_decay"]):
                for weight, start in zip(group["params"], first, strict=True):
                    weight.lerp_(start, pull)
        self._schedule.step()


def log_score(logits: Tensor, log_relevance: Tensor) -> Tensor:
    """Return log sum_m r_m sigmoid(logit_m)."""
    return torch.logsumexp(log_relevance + F.logsigmoid(logits), dim=1)


def val_episodes(items: FeaturedItems) -> RandomEpisodes:
    """Return the 100 episodes of val that the straight recipe evaluates, drawn once."""
    return draw_random_episodes(items, 100, [0, 2, 100])


def _largest(losses: Tensor, chosen: Tensor, share: float) -> Tensor:
    """Return the positions of the largest share of the chosen losses."""
    places = chosen.nonzero()[:, 0]
    count = min(len(places), max(1, round(share * len(places))))
    return places[losses[places].topk(count).indices]
