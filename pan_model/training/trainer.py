"""The trainer: one epoch after another. Each depends only on the configuration, the seed and the weights before it."""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.model.conditions import Conditions, Followed, choose_conditions
from pan_model.model.encoders.attribute_start import AttributeStart
from pan_model.model.encoders.siamese import SiameseEncoder
from pan_model.model.initialisation import start_as_distance
from pan_model.model.pair_scores import PairScorer
from pan_model.model.pan import Pan
from pan_model.model.similarity import FirstWeights
from pan_model.reproducibility import seeded
from pan_model.scores import EpochRecord, QuestionScores
from pan_model.scoring.followed import find_followed
from pan_model.scoring.pan_scorer import EMBEDDING_BATCH_SIZE, edges_around, embedding_scorer, features_on, graph_scorer
from pan_model.shapes import Float, Int
from pan_model.tasks.pairs import Pairs, PairSampling, PairsConfig
from pan_model.tasks.task import SetScorer, Task, score_rows
from pan_model.training.finetuning import FinetuneStart
from pan_model.training.inputs import FrozenInputs, Inputs, StepInputs, fit_and_normalise
from pan_model.training.learned_inputs import LearnedInputs
from pan_model.training.loss import pair_weights
from pan_model.training.optimisation import Optimisation
from pan_model.training.training_loss import Losses, TrainingLoss
from pan_model.training.trial_cache import TrialCache

PAIRS_PURPOSE = 1
FIRST_WEIGHTS_PURPOSE = 3
"""Separate random numbers of different purposes, and of episodes, that are drawn from the same seed."""

RELEVANCE_PURPOSE = 4
RELEVANCE_ITEMS = 512
RELEVANCE_PAIRS = 4096
"""Pairs, and the most images that they are drawn from, over which the relevance of conditions is averaged."""

CALIBRATION_PAIRS = 4096
"""Training pairs that calibrate the initial weights of kind distance."""

FITTED = "normalisation."
"""The prefix of state that the training items determine, so that checkpoints need not hold it."""


class Evaluation(NamedTuple):
    """The score of each question, by metric, and the time that evaluation took, in seconds."""

    questions: QuestionScores
    time_s: float

    def means(self, prefix: str = "") -> EpochRecord:
        """Return the value of each metric, the mean over its questions."""
        return {f"{prefix}{name}": float(questions.mean()) for name, questions in self.questions.items()}


class Trainer:
    """Trains a PAN on a task's training pairs.

    Every random draw of epoch e depends on (seed, e), so that a run resumed from `state_dict` equals an uninterrupted
    one bit for bit, on the same machine with the same number of threads. On a GPU this holds inside
    `deterministic_arithmetic`. Torch's random state is kept.

    Attributes:
        task: The training pairs and the metrics.
        config: The trial's configuration.
        device: The device that trains and evaluates.
        epoch: The number of finished epochs.
        model: The model with its current weights.
    """

    def __init__(
        self,
        task: Task,
        config: TrialConfig,
        device: torch.device,
        start: FinetuneStart | None = None,
        cache: TrialCache | None = None,
    ) -> None:
        """Build the model, fit its normalisation, and set its initial weights.

        Args:
            task: The training pairs and the metrics.
            config: The trial's configuration.
            device: The device that trains and evaluates.
            start: The backbone and images; required if, and only if, the configuration trains the backbone.
            cache: What trials on the task's items compute alike; by default, nothing is kept.

        Raises:
            UserError: `start` does not match the configuration, or the task does not support it.
        """
        self.task = task
        self.config = config
        self.device = device
        self.epoch = 0
        featured, items = task.featured, task.training_items
        features = features_on(device, featured.features)
        conditions = choose_conditions(
            config.conditions, featured.attributes[items], featured.certain[items], featured.attribute_names
        )
        classes = featured.classes[items]
        self.model = new_pan(
            config, conditions, feature_dim=featured.feature_dim, num_classes=len(np.unique(classes))
        ).to(device)
        varied, groups = (torch.from_numpy(indices).to(device) for indices in task.normalisation_groups())
        # Tables on a GPU are not kept: its memory was divided among trials by what a single trial needs.
        kept = cache if cache is not None and device.type == "cpu" else TrialCache()
        self._normalised = fit_and_normalise(
            self.model.normalisation,
            features,
            groups,
            varied,
            at_once=self.model.encoder.uses_graph,  # embeds all training items in every step
            cache=kept,
        )
        self._inputs = self._make_inputs(FrozenInputs(features, self._normalised), start)
        held_out = self._start_attributes()
        if config.similarity.first_weights is FirstWeights.DISTANCE:
            self._start_as_distance(conditions.num_labelled, held_out)
        edges = None
        if self.model.encoder.uses_graph:
            self.task, edges = task.split_edges(config.train.seed)
        self._loss = TrainingLoss(
            self.model, conditions, featured, items, config.conditions.lambda_ or 0.0, device, edges
        )
        self._optimisation = Optimisation(
            [*self.model.parameter_groups(config.train.learning_rate), *self._inputs.parameter_groups()],
            config.train,
            steps_per_epoch=config.pairs.steps_per_epoch,
        )

    def train_epoch(self) -> EpochRecord:
        """Train for one epoch, and return its number, its losses (means over steps) and its time in seconds."""
        start = time.perf_counter()
        self.epoch += 1
        seeds = np.random.SeedSequence([self.config.train.seed, self.epoch])
        self.model.train()
        steps = self._steps_of_epoch()
        with seeded(int(seeds.generate_state(1)[0]), self.device):
            inputs = self._inputs.of_steps(steps, epoch=self.epoch, seed=self.config.train.seed)
            losses = [self._train_step(*of_step) for of_step in zip(steps, inputs, strict=True)]
        means = torch.stack(losses).double().mean(dim=0).tolist()
        return {
            "epoch": self.epoch,
            **{f"loss/{name}": float(mean) for name, mean in zip(Losses._fields, means, strict=True)},
            "time/train_s": time.perf_counter() - start,
        }

    def evaluate(self, split: Split) -> Evaluation:
        """Score the questions of the objective on a split."""
        start = time.perf_counter()
        questions = self.task.evaluate(self._scorer(split, self.task.scored_items(split)), split)
        return Evaluation(questions, time.perf_counter() - start)

    def scorer(self, split: Split, items: Int[np.ndarray, "n"] | None = None) -> SetScorer:
        """Return a scorer of a split's items, or of some of them (ascending), by the current model and backbone."""
        return self._scorer(split, self.task.featured.splits[split] if items is None else items)

    @torch.inference_mode()
    def embed(self, items: Int[np.ndarray, "n"]) -> Float[Tensor, "n E"]:
        """Embed some items by the current model and backbone, in evaluation mode and without a graph."""
        self.model.eval()
        rows = torch.tensor(items, device=self.device)  # a copy: the array may be read-only
        return torch.cat([self.model.encode(self._inputs.of(piece)) for piece in rows.split(EMBEDDING_BATCH_SIZE)])

    @torch.inference_mode()
    def mean_relevance(self, splits: tuple[Split, ...]) -> dict[str, float]:
        """Return the mean relevance of each condition over random pairs of images of some splits.

        The pairs are the same in every call. Conditions of the same name are added up.
        """
        generator = np.random.default_rng(RELEVANCE_PURPOSE)
        items = np.sort(generator.permutation(self.task.featured.items_of(splits))[:RELEVANCE_ITEMS])
        first = generator.integers(0, len(items), RELEVANCE_PAIRS)
        second = (first + generator.integers(1, max(len(items), 2), RELEVANCE_PAIRS)) % len(items)
        embeddings = self.embed(items)
        pairs = torch.from_numpy(np.stack([first, second], axis=1)).to(self.device)
        relevance = PairScorer(self.model.similarity, log_odds=False).mean_relevance(embeddings, pairs)
        means: dict[str, float] = {}
        for name, mean in zip(self.model.condition_names, relevance.tolist(), strict=True):
            means[name] = means.get(name, 0.0) + mean
        return means

    def find_followed(self, splits: tuple[Split, ...]) -> dict[str, Followed]:
        """Return which labels the conditions follow on images of some splits, see `find_followed`."""
        featured = self.task.featured
        gate = self.config.conditions.gate
        return find_followed(self.model, self.embed, featured, featured.items_of(splits), gate)

    @torch.inference_mode()
    def normalised_features(self, split: Split | None = None) -> Float[np.ndarray, "n D"]:
        """Return normalised frozen features of a split's items, or of all items, on the CPU."""
        num_items = len(self._normalised)
        items = np.arange(num_items) if split is None else self.task.featured.splits[split]
        return self._normalised[torch.tensor(items, device=self.device)].cpu().numpy()

    @torch.inference_mode()
    def features_of(self, split: Split) -> Float[np.ndarray, "N D"]:
        """Return the features of a split's items by the current backbone, on the CPU; rows of other items are 0.

        They differ from the task's features if the backbone is trained.
        """
        items = torch.tensor(self.task.featured.splits[split], device=self.device)
        features = torch.zeros(len(self._normalised), self.task.featured.feature_dim, device=self.device)
        features[items] = self._inputs.features(items)
        return features.cpu().numpy()

    @property
    def backbone(self) -> Backbone | None:
        """The backbone that is trained, None if it is frozen. Further training changes it."""
        return self._inputs.backbone

    def state_dict(self) -> dict[str, Any]:
        """Return what the next epoch depends on, besides the configuration and the data."""
        weights = {name: value for name, value in self.model.state_dict().items() if not name.startswith(FITTED)}
        state = {"epoch": self.epoch, "model": weights, "optimiser": self._optimisation.state_dict()}
        return state | self._inputs.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume after the last epoch of another trainer."""
        self.epoch = state["epoch"]
        fitted = {name: value for name, value in self.model.state_dict().items() if name.startswith(FITTED)}
        self.model.load_state_dict(state["model"] | fitted)
        self._inputs.load_state_dict(state)
        self._optimisation.load_state_dict(state["optimiser"])

    def close(self) -> None:
        """Stop the processes that load images, if any; the next epoch or evaluation starts new ones."""
        self._inputs.close()

    def _make_inputs(self, frozen: FrozenInputs, start: FinetuneStart | None) -> Inputs:
        finetune, num_items = self.config.finetune, len(self._normalised)
        if finetune is None and start is None:
            return frozen
        if finetune is None:
            raise UserError("a backbone that is trained needs backbone_learning_rate in the configuration, got none.")
        if start is None:
            raise UserError("backbone_learning_rate needs a backbone and images to train it on, got none.")
        if len(start.images) != num_items:
            raise UserError(f"a trained backbone needs the images of all {num_items} items, got {len(start.images)}.")
        return LearnedInputs(start, finetune, frozen, self.model.normalisation, self.device)

    def _scorer(self, split: Split, items: Int[np.ndarray, "n"]) -> SetScorer:
        if isinstance(self._normalised, Tensor) and self.model.encoder.uses_graph:
            return graph_scorer(self.model, self._normalised, edges_around(self.model, self.task, split))
        return score_rows(embedding_scorer(self.model, self.embed(items)), items)

    @torch.no_grad()
    def _start_attributes(self) -> Float[Tensor, "n K"] | None:
        """Set the initial weights that predict attributes, if any, and predict those of held-out training items."""
        encoder = self.model.encoder
        if not isinstance(encoder, SiameseEncoder) or encoder.attributes is None:
            return None
        featured, items = self.task.featured, self.task.training_items
        labels, certain = (
            torch.from_numpy(table[items]).to(self.device) for table in (featured.attributes, featured.certain)
        )
        inputs = self._normalised[torch.tensor(items, device=self.device)]
        start = AttributeStart(inputs, labels, certain, num_directions=encoder.attributes.out_features)
        encoder.attributes.weight.copy_(start.weight)
        encoder.attributes.bias.copy_(start.bias)
        return start.held_out(featured.classes[items], self.config.train.seed)

    def _start_as_distance(self, num_labelled: int, held_out: Float[Tensor, "n K"] | None) -> None:
        """Calibrate the conditions on training pairs, whose attributes are predicted from other items."""
        seed = self.config.train.seed
        config = PairsConfig(pairs=PairSampling.FRESH, pairs_per_epoch=CALIBRATION_PAIRS, steps_per_epoch=1)
        (pairs,) = self.task.draw_steps(config, np.random.default_rng([seed, FIRST_WEIGHTS_PURPOSE]))
        index_1, index_2, same = self._on_device(pairs)
        with seeded(seed, self.device), torch.no_grad():
            self.model.eval()
            self.model.encoder.keep_distances()
            items, places = torch.cat([index_1, index_2]).unique(return_inverse=True)
            h = self.model.encode(self._normalised[items])
            if held_out is not None and isinstance(self.model.encoder, SiameseEncoder):
                inputs = self._normalised[items]  # A is 0
                predicted = held_out.new_empty(len(self._normalised), held_out.shape[1])
                predicted[torch.tensor(self.task.training_items, device=self.device)] = held_out
                h = self.model.encoder.join(inputs, inputs, predicted[items])
            h1, h2 = h[places].chunk(2)
            start_as_distance(self.model.similarity, h1, h2, same, num_labelled=num_labelled)

    def _steps_of_epoch(self) -> list[Pairs]:
        draw = 0 if self.config.pairs.pairs is PairSampling.FIXED else self.epoch
        generator = np.random.default_rng([self.config.train.seed, PAIRS_PURPOSE, draw])
        return self.task.draw_steps(self.config.pairs, generator)

    def _train_step(self, pairs: Pairs, inputs: StepInputs) -> Float[Tensor, "L"]:
        """Take an optimiser step, and return its losses without waiting for them."""
        index_1, index_2, same = self._on_device(pairs)
        embedded = None
        if self.config.pairs.hard_pair_share < 1:
            hardest, embedded = self._loss.hardest(inputs, index_1, index_2, same, self.config.pairs.hard_pair_share)
            index_1, index_2, same = index_1[hardest], index_2[hardest], same[hardest]
        self._optimisation.zero_grad()
        weights = pair_weights(same, self.config.pairs.positive_weight)
        losses = self._loss.losses(inputs, index_1, index_2, same, weights, embedded)
        losses.total.backward()
        inputs.backward()
        self._optimisation.step()
        return torch.stack(losses).detach()

    def _on_device(self, pairs: Pairs) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Tensor]:
        index_1, index_2, same = (torch.from_numpy(column).to(self.device) for column in pairs)
        return index_1, index_2, same


def new_pan(config: TrialConfig, conditions: Conditions, *, feature_dim: int, num_classes: int) -> Pan:
    """Build a model whose initial weights depend only on the trial's seed. Torch's random state is kept.

    Args:
        config: The trial's configuration.
        conditions: The conditions of the model.
        feature_dim: D, the number of features of an item.
        num_classes: The number of training classes.
    """
    with seeded(config.train.seed, torch.device("cpu")):
        return Pan(config.model, feature_dim=feature_dim, num_classes=num_classes, condition_names=conditions.names)
