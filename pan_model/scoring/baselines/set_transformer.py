"""A set transformer that scores how an item fits the others of an outfit, after Lee et al. (ICML 2019).

The items of a set attend to each other. The candidate attends to the result, which pools the set from the candidate's
point of view, and its vector is scored. The model is trained to tell the missing item of a training outfit from others
of the same category: the questions of val and test, drawn from the training outfits. Features are frozen, as for PAN.
It uses no attribute labels.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pan_model.data.polyvore.question_drawing import FillInBlanks, draw_fill_in_blanks
from pan_model.scoring.baselines.principal_components import principal_components
from pan_model.scoring.baselines.setting import TRAINING_SEED, Setting
from pan_model.shapes import Bool, Float, Int
from pan_model.tasks.outfits import OutfitTask
from pan_model.tasks.task import SetScorer, Task

SETTINGS: tuple[Setting, ...] = tuple(
    {"width": width, "learning_rate": learning_rate, "epochs": epochs}
    for width, learning_rate, epochs in ((64, 2e-3, 8), (64, 2e-3, 16), (64, 2e-3, 32), (128, 1e-3, 8), (128, 1e-3, 16))
)
"""Width of the vectors, learning rate of AdamW, and epochs; settings that differ in epochs only share a training."""

NUM_COMPONENTS = 256
NUM_HEADS = 4
NUM_CANDIDATES = 10
OUTFITS_PER_STEP = 64
MIN_STEPS = 16
"""Fewest steps of an epoch; if there are few outfits, a step has fewer than OUTFITS_PER_STEP."""

ITEM_DROPOUT = 0.2
WEIGHT_DECAY = 1e-2
WARM_UP_STEPS = 50
AVERAGING = 0.99
"""Share of the averaged weights that a step keeps: the model that scores is a moving average of those trained."""

SETS_BATCH_SIZE = 8192
"""Sets of items that are scored at a time."""

PADDING = -1


def fit_set_transformer(
    task: Task, settings: Sequence[Setting], inputs: Float[np.ndarray, "N D"], /
) -> Iterator[SetScorer]:
    """Train on the training outfits, on the leading principal components of the standardised features."""
    assert isinstance(task, OutfitTask)
    features = principal_components(inputs, task.training_items, NUM_COMPONENTS)
    training: _Training | None = None
    for setting in settings:
        width, rate, epochs = int(setting["width"]), float(setting["learning_rate"]), int(setting["epochs"])
        if training is None or (training.width, training.rate) != (width, rate) or training.epoch > epochs:
            training = _Training(task, features, width, rate)
        while training.epoch < epochs:
            training.run_epoch()
        yield _SetScorer(deepcopy(training.averaged), features)


class SetTransformer(nn.Module):
    """Scores candidates for sets of items: two blocks of self-attention, one of the candidates' attention, a score.

    Args:
        feature_dim: D, the length of an item's features.
        width: The length of vectors inside.
    """

    def __init__(self, feature_dim: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(feature_dim, width), nn.LayerNorm(width))
        self.blocks = nn.ModuleList([_AttentionBlock(width) for _ in range(2)])
        self.pool = _AttentionBlock(width)
        self.score = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def forward(
        self,
        features: Float[Tensor, "n D"],
        candidates: Int[Tensor, "B Q"],
        sets: Int[Tensor, "B S"],
        is_item: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B Q"]:
        """Score Q candidates for each of B sets, all rows of `features`. Slots of sets without item are ignored."""
        projected = self.project(features)
        hidden = projected[sets]
        for block in self.blocks:
            hidden = block(hidden, hidden, is_item)
        return self.score(self.pool(projected[candidates], hidden, is_item))[:, :, 0]


class _AttentionBlock(nn.Module):
    """Queries attend to the items of a set; then a layer on each (the block MAB of the paper, normalised first)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_queries, self.norm_items = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, NUM_HEADS, batch_first=True)
        self.layer = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, queries: Tensor, items: Tensor, is_item: Tensor) -> Tensor:
        keys = self.norm_items(items)
        attended = self.attention(
            self.norm_queries(queries), keys, keys, key_padding_mask=~is_item, need_weights=False
        )[0]
        hidden = queries + attended
        return hidden + self.layer(hidden)


class _Training:
    """A training, epoch by epoch; each draws a question for every outfit."""

    def __init__(self, task: OutfitTask, features: Float[Tensor, "N D"], width: int, rate: float) -> None:
        self.width, self.rate, self.epoch = width, rate, 0
        self.losses = list[float]()
        self._task, self._features = task, features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(TRAINING_SEED)
            self._model = SetTransformer(features.shape[1], width)
        self.averaged = deepcopy(self._model)
        self._optimiser = torch.optim.AdamW(self._model.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
        self._step = 0
        self._generator = np.random.default_rng(TRAINING_SEED)
        self._dropout = torch.Generator().manual_seed(TRAINING_SEED)

    def run_epoch(self) -> None:
        """Train on a question for each outfit; note the mean loss."""
        questions = draw_fill_in_blanks(
            self._task.training_outfits,
            self._task.categories,
            pool=self._task.training_items,
            num_candidates=NUM_CANDIDATES,
            generator=self._generator,
        )
        order = self._generator.permutation(len(questions))
        steps = np.array_split(order, max(MIN_STEPS, -(-len(order) // OUTFITS_PER_STEP)))
        losses = [self._train(_pad(questions, step.tolist())) for step in steps if len(step)]
        self.losses.append(sum(losses) / max(len(losses), 1))
        self.epoch += 1

    def _train(self, questions: "_Padded") -> float:
        """Take a step on some questions, and return the loss."""
        items, rows = np.unique(np.concatenate([questions.candidates, questions.sets], axis=1), return_inverse=True)
        features = self._features[torch.from_numpy(items)]
        kept = torch.rand(features.shape, generator=self._dropout) >= ITEM_DROPOUT
        candidates, sets = torch.from_numpy(rows.reshape(len(questions.sets), -1)).split(
            [questions.candidates.shape[1], questions.sets.shape[1]], dim=1
        )
        is_item = torch.from_numpy(questions.sets != PADDING)
        scores = self._model(features * kept / (1 - ITEM_DROPOUT), candidates, sets, is_item)
        scores = scores.masked_fill(torch.from_numpy(questions.candidates == PADDING), -torch.inf)
        loss = F.cross_entropy(scores, torch.from_numpy(questions.answers))
        self._step += 1
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate * min(1.0, self._step / WARM_UP_STEPS)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        decay = min(AVERAGING, self._step / (self._step + 10))
        with torch.no_grad():
            for average, value in zip(self.averaged.parameters(), self._model.parameters(), strict=True):
                average.lerp_(value, 1 - decay)
        return float(loss.detach())


class _Padded(NamedTuple):
    """B questions: candidates, the other items of the outfit, and the position of the right candidate."""

    candidates: Int[np.ndarray, "B C"]
    sets: Int[np.ndarray, "B S"]
    answers: Int[np.ndarray, "B"]


def _pad(questions: FillInBlanks, places: Sequence[int]) -> _Padded:
    """Return some of the questions as arrays, padded."""
    longest = max(len(questions.questions[place]) for place in places)
    candidates = np.full((len(places), questions.num_candidates), PADDING, dtype=np.int64)
    sets = np.full((len(places), longest), PADDING, dtype=np.int64)
    for row, place in enumerate(places):
        candidates[row, : len(questions.candidates[place])] = questions.candidates[place]
        sets[row, : len(questions.questions[place])] = questions.questions[place]
    return _Padded(candidates, sets, questions.answers[places])


class _SetScorer:
    """A `SetScorer` of queries as candidates for sets."""

    def __init__(self, model: SetTransformer, features: Float[Tensor, "N D"]) -> None:
        self._model, self._features = model.eval(), features

    @torch.inference_mode()
    def __call__(self, queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        num_questions, num_sets, num_items = sets.shape
        candidates = np.repeat(queries, num_sets, axis=0)
        items, rows = np.unique(np.concatenate([candidates, sets.reshape(-1, num_items)], axis=1), return_inverse=True)
        features = self._features[torch.from_numpy(items)]
        scores: list[Tensor] = []
        for piece in torch.from_numpy(rows.reshape(len(candidates), -1)).split(SETS_BATCH_SIZE):
            of_sets = piece[:, queries.shape[1] :]
            is_item = torch.ones_like(of_sets, dtype=torch.bool)
            scores.append(self._model(features, piece[:, : queries.shape[1]], of_sets, is_item))
        return torch.cat(scores).view(num_questions, num_sets, -1).mT.contiguous().numpy()
