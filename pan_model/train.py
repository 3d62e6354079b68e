"""Training: one epoch after another, each depending on the configuration, the seed and the weights before it alone."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pan_model.conditions import choose_conditions
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.losses import condition_loss, pair_loss
from pan_model.model import new_pan
from pan_model.pairs import Pairs, PairSampling
from pan_model.scoring import features_on, pan_scorer
from pan_model.shapes import Int
from pan_model.tasks import Task

EpochRecord = dict[str, int | float]
"""One line of history: epoch, metrics, loss/<what> and time/<what>_s."""

TRAINED_AT_ONCE = 8192
"""Pairs of an optimiser step that are in memory at a time: bounds it at (P, E) floats a few times over."""

PAIRS_PURPOSE = 1
"""Keeps the random numbers of pairs apart from those of episodes drawn from the same seed."""

LOSSES = ("loss/total", "loss/pairs", "loss/conditions", "loss/encoder")
"""What training reports of an epoch; loss/conditions is before lambda, loss/total after."""


class Trainer:
    """Trains one PAN on a task's training pairs.

    Every random draw of epoch e comes from (seed, e), so that a run continued from `state_dict` equals one that was
    never interrupted: bit for bit on one machine with the same number of threads.
    """

    def __init__(self, task: Task, config: TrialConfig, device: torch.device) -> None:
        self.task = task
        self.config = config
        self.device = device
        self.epoch = 0
        featured, items = task.featured, task.training_items
        self._features = features_on(device, featured.features)
        self._conditions = choose_conditions(
            config.conditions, featured.attributes[items], featured.certain[items], featured.attribute_names
        )
        self._attributes = self._conditions.columns(featured.attributes, device)
        self._certain = self._conditions.columns(featured.certain, device)
        class_labels, training_classes = np.unique(featured.classes[items], return_inverse=True)
        self._training_class = torch.full((len(featured.classes),), -1, device=device)
        self._training_class[torch.from_numpy(items)] = torch.from_numpy(training_classes).to(device)
        self.model = new_pan(
            config, self._conditions, feature_dim=featured.feature_dim, num_classes=len(class_labels)
        ).to(device)
        self.model.normalisation.fit(self._features[torch.from_numpy(items).to(device)])
        self._optimiser = torch.optim.AdamW(
            [
                {"params": list(self.model.similarity.parameters()), "lr": config.train.learning_rate},
                *self.model.encoder.parameter_groups(config.train.learning_rate),
            ],
            weight_decay=config.train.weight_decay,
        )

    def train_epoch(self) -> EpochRecord:
        """Train for one epoch; gives the epoch's number, its losses (means over pairs) and its time."""
        start = time.perf_counter()
        self.epoch += 1
        seeds = np.random.SeedSequence([self.config.train.seed, self.epoch])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        self.model.train()
        pairs = self._pairs_of_epoch()
        losses = torch.zeros(len(LOSSES), dtype=torch.float64)
        for step in _slices(len(pairs.same), self.config.pairs.batch_size):
            self._optimiser.zero_grad()
            losses += self._accumulate(pairs, step)
            self._optimiser.step()
        means = (losses / len(pairs.same)).tolist()
        return {
            "epoch": self.epoch,
            **dict(zip(LOSSES, means, strict=True)),
            "time/train_s": time.perf_counter() - start,
        }

    def evaluate(self, split: Split) -> EpochRecord:
        """The objective's value on a split, and the time it took."""
        start = time.perf_counter()
        scores = self.task.evaluate(pan_scorer(self.model, self.task.featured, self.device), split)
        values: EpochRecord = {name: float(questions.mean()) for name, questions in scores.items()}
        return values | {"time/evaluate_s": time.perf_counter() - start}

    def state_dict(self) -> dict[str, Any]:
        """All that the next epoch depends on, beside the configuration and the data."""
        return {"epoch": self.epoch, "model": self.model.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the end of another trainer's epoch."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _pairs_of_epoch(self) -> Pairs:
        draw = 0 if self.config.pairs.pairs is PairSampling.FIXED else self.epoch
        generator = np.random.default_rng([self.config.train.seed, PAIRS_PURPOSE, draw])
        return self.task.draw_pairs(self.config.pairs.pairs_per_epoch, generator)

    def _accumulate(self, pairs: Pairs, step: slice) -> Tensor:
        """Add up the gradient of one step, in pieces that fit in memory; gives the losses' sums over pairs."""
        sums = torch.zeros(len(LOSSES), dtype=torch.float64)
        num_pairs = step.stop - step.start
        for piece in _slices(num_pairs, TRAINED_AT_ONCE, offset=step.start):
            share = piece.stop - piece.start
            losses = self._losses(*(torch.from_numpy(part[piece]).to(self.device) for part in pairs))
            (losses[0] * (share / num_pairs)).backward()
            sums += torch.stack([loss.detach().double().cpu() for loss in losses]) * share
        return sums

    def _losses(self, index_1: Int[Tensor, "P"], index_2: Int[Tensor, "P"], same: Tensor) -> tuple[Tensor, ...]:
        """Total, pair, condition and encoder loss of P pairs; every item among them is embedded once.

        The encoder's own loss is the mean over these items, not over the pairs.
        """
        items, places = torch.cat([index_1, index_2]).unique(return_inverse=True)
        embeddings = self.model.embed(self._features[items])
        place_1, place_2 = places.split(len(index_1))
        pairs = self.model.similarity(embeddings[place_1], embeddings[place_2])
        of_pairs = pair_loss(pairs, same)
        of_encoder = self.model.encoder.own_loss(embeddings, self._training_class[items])
        of_conditions = of_pairs.new_zeros(())
        if self._conditions.num_labelled > 0:
            targets, certain = self._conditions.targets(self._attributes, self._certain, index_1, index_2)
            of_conditions = condition_loss(
                pairs.similarity_logits[:, : self._conditions.num_labelled], targets, certain
            )
        total = of_pairs + (self.config.conditions.lambda_ or 0.0) * of_conditions + of_encoder
        return total, of_pairs, of_conditions, of_encoder


def _slices(length: int, size: int, offset: int = 0) -> Iterator[slice]:
    """Cut offset..offset + length into slices of at most `size`, 0 for one slice."""
    for start in range(0, length, size or length):
        yield slice(offset + start, offset + min(start + (size or length), length))


def use_deterministic_arithmetic() -> None:
    """Ask torch for algorithms that repeat exactly, where it has them; call it before CUDA is first used."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
