"""Judge configurations on random 5-way 5-shot episodes of val, independent of how a search evaluates its trials.

As a command it prints the accuracy of each episode as JSON, and runs with the Python of any checkout:

    OTHER/.venv/bin/python benchmarks/judge.py ITEMS best_config.json

ITEMS is a folder that `prepared.save_items` wrote. The model is trained again for as many epochs as best_config.json
says, which repeats the trial, since every random number depends on its configuration only.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from prepared import load_items

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

NUM_WAYS, NUM_SUPPORT, NUM_QUERIES = 5, 5, 16
NUM_EPISODES = 600
SEED = 1_000_003
"""Seed of the episodes, which no trial is selected on."""


class RandomEpisodes(NamedTuple):
    """B episodes of C classes: their support items (B, C, S), queries (B, Q) and answers (B, Q), -1 without query."""

    support: np.ndarray
    queries: np.ndarray
    answers: np.ndarray


def draw_random_episodes(items: FeaturedItems, num_episodes: int, seed: int | list[int] = SEED) -> RandomEpisodes:
    """Draw episodes of val, each with 5 of its classes, 5 support items and up to 16 queries of each class."""
    generator = np.random.default_rng(seed)
    of_val = items.splits[Split.VAL]
    groups = [of_val[items.classes[of_val] == label] for label in np.unique(items.classes[of_val])]
    groups = [group for group in groups if len(group) > NUM_SUPPORT]
    support = np.empty((num_episodes, NUM_WAYS, NUM_SUPPORT), dtype=np.int64)
    queries = np.full((num_episodes, NUM_WAYS, NUM_QUERIES), groups[0][0], dtype=np.int64)
    answers = np.full(queries.shape, -1, dtype=np.int64)
    for episode in range(num_episodes):
        for way, label in enumerate(generator.choice(len(groups), NUM_WAYS, replace=False)):
            chosen = generator.permutation(groups[label])[: NUM_SUPPORT + NUM_QUERIES]
            support[episode, way] = chosen[:NUM_SUPPORT]
            asked = chosen[NUM_SUPPORT:]
            queries[episode, way, : len(asked)] = asked
            answers[episode, way, : len(asked)] = way
    return RandomEpisodes(support, queries.reshape(num_episodes, -1), answers.reshape(num_episodes, -1))


def accuracies_of(scores: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the accuracy of each episode, given the scores (B, Q, C)."""
    right = scores.argmax(axis=2) == answers
    return right.sum(axis=1) / (answers >= 0).sum(axis=1)


def interval(values: np.ndarray) -> str:
    """Return mean and 95% confidence interval."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.4f} [{values.mean() - half:.4f}, {values.mean() + half:.4f}]"


def judge(items: FeaturedItems, config: dict[str, Any], epoch: int, episodes: RandomEpisodes) -> np.ndarray:
    """Train a configuration for some epochs as its trial did, and return the accuracy of each episode."""
    torch.set_num_threads(1)
    typed = TrialConfig.from_flat(config)
    trainer = Trainer(FewShotTask(items, seed=typed.train.seed), typed, torch.device("cpu"))
    while trainer.epoch < epoch:
        trainer.train_epoch()
    return accuracies_of(trainer.scorer(Split.VAL)(episodes.queries, episodes.support), episodes.answers)


def main() -> None:
    """Judge one configuration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=Path, metavar="ITEMS", help="folder with features.npy and labels.npz")
    parser.add_argument("best_config", type=Path, metavar="best_config.json")
    parser.add_argument("--episodes", type=int, default=NUM_EPISODES)
    parser.add_argument("--seed", type=int, nargs="+", default=[SEED], help="seed of the episodes")
    arguments = parser.parse_args()
    items, best = load_items(arguments.items), json.loads(arguments.best_config.read_text(encoding="utf-8"))
    episodes = draw_random_episodes(items, arguments.episodes, arguments.seed)
    print(json.dumps(judge(items, best["config"], best["metric"]["epoch"], episodes).tolist()))


if __name__ == "__main__":
    main()
