"""Evaluation on val: the reduced questions beside the full ones.

Compares the different pairs of images, the standard error of the metric over redraws of the questions (few-shot; the
truth is the mean of many random episodes of the same images), the seconds of one evaluation, and the part that
evaluation takes of a trial. Without data, features are Gaussian, with the sizes of the birds in docs/measurements.md.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --data-root DATA --weights WEIGHTS.pth   # CUB-200-2011, mobilenet_v2
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import Row, alternate, parser, run_benchmark

from pan_model.backbones.config import FeaturesConfig
from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions, few_shot_split
from pan_model.shapes import Float, Int
from pan_model.tasks.few_shot import FewShotTask, draw_episodes
from pan_model.tasks.metrics import episode_accuracy
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.task import SetScorer, Task
from pan_model.training.trainer import Trainer
from search_spaces import SPACES
from study.config.study_config import DEFAULT_CACHE
from study.trials.preparation import Preparation, prepare_dataset

NUM_CLASSES, NUM_IMAGES, NUM_FEATURES, NUM_ATTRIBUTES = 50, 59, 1280, 312
SPREAD = 0.17
"""Distance of the classes of a kind, in units of the noise."""

REDRAWS = 300
TRUE_EPISODES = 6000
EPOCHS = 4
"""Epochs of the trial whose time is measured, after one that is not."""

TARGET_PAIRS, TARGET_ERROR, TARGET_SHARE = 3.0, 1 / 1.1, 0.25


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows of few-shot and retrieval."""
    featured = _birds(arguments) if arguments.data_root else gaussian(NUM_CLASSES, NUM_IMAGES)
    name = f"{len(featured.splits[Split.VAL])} images of val"
    few_shot, retrieval = (
        {rule: task_class(featured, seed=0, val_questions=rule) for rule in ValQuestions}
        for task_class in (FewShotTask, RetrievalTask)
    )
    return [
        _row_of_pairs(f"few-shot, {name}: different pairs of images", few_shot),
        _row_of_errors(f"few-shot, {name}: standard error over {REDRAWS} redraws", featured),
        _row_of_pairs(f"retrieval, {name}: different pairs of images", retrieval),
        *(_row_of_seconds(f"few-shot, one evaluation, {scoring}", few_shot, scoring) for scoring in SCORINGS),
        _row_of_share(f"few-shot: evaluation's part of {EPOCHS} epochs of a trial", few_shot),
    ]


SCORINGS = ("pair_mean", "support_mean")


def gaussian(num_classes: int, num_images: int) -> FeaturedItems:
    """Draw Gaussian features of classes, of which those of a kind are similar, and some of whose images are hard.

    Args:
        num_classes: The number of classes.
        num_images: The images of each class.
    """
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(num_classes), num_images)
    kinds = generator.normal(size=(num_classes // 4 + 1, NUM_FEATURES))  # classes of a kind are similar
    centres = 0.2 * kinds[np.arange(num_classes) // 12]  # accuracy is about that of the birds, .955
    centres += SPREAD * generator.normal(size=centres.shape)
    noise = np.sqrt(generator.gamma(2.0, 0.5, size=(len(classes), 1)))  # some images are hard
    features = centres[classes] + noise * generator.normal(size=(len(classes), NUM_FEATURES))
    attributes = generator.random((num_classes, NUM_ATTRIBUTES))[classes] < 0.3
    items = FeaturedItems(
        features=features.astype(np.float32),
        classes=classes,
        attributes=attributes,
        certain=np.ones_like(attributes),
        attribute_names=tuple(f"attribute {number}" for number in range(NUM_ATTRIBUTES)),
        splits={},
    )
    return replace(items, splits=few_shot_split(items))


def _birds(arguments: argparse.Namespace) -> FeaturedItems:
    features = FeaturesConfig(backbone="mobilenet_v2", weights=arguments.weights, image_size=224)
    preparation = Preparation(
        dataset="cub", data_root=arguments.data_root, cache_dir=arguments.cache_dir, features=features
    )
    return prepare_dataset(preparation).featured


def _row_of_pairs(what: str, tasks: dict[ValQuestions, Task]) -> Row:
    counts = {rule: float(count_pairs(task)) for rule, task in tasks.items()}
    return Row.less(what, counts[ValQuestions.REDUCED], counts[ValQuestions.FULL], TARGET_PAIRS)


def count_pairs(task: Task) -> int:
    """Return the number of different pairs of images that are compared in one evaluation on val."""
    is_compared = np.zeros((len(task.featured.classes),) * 2, dtype=bool)

    def note(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        is_compared[queries[:, :, None, None], sets[:, None]] = True
        return np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)

    task.evaluate(note, Split.VAL)
    return int(np.triu(is_compared | is_compared.T, k=1).sum())


def _row_of_errors(what: str, featured: FeaturedItems) -> Row:
    scorer, items = cosine_scorer(featured.features), featured.splits[Split.VAL]
    many = draw_episodes(items, featured.classes[items], TRUE_EPISODES, np.random.default_rng(1))
    truth = episode_accuracy(scorer(many.queries, many.support), many.answers, many.asked).mean()

    def error(rule: ValQuestions) -> float:
        tasks = (FewShotTask(featured, seed=seed, val_questions=rule) for seed in range(REDRAWS))
        values = [task.evaluate(scorer, Split.VAL)[task.objective.name].mean() for task in tasks]
        return float(np.sqrt(((np.array(values) - truth) ** 2).mean()))

    return Row.less(what, error(ValQuestions.REDUCED), error(ValQuestions.FULL), TARGET_ERROR)


def cosine_scorer(features: Float[np.ndarray, "N D"]) -> SetScorer:
    """Return a scorer by the summed cosine of centred features with the images of a set."""
    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = unit @ unit.T

    def score(queries: Int[np.ndarray, "B Q"], sets: Int[np.ndarray, "B C S"]) -> Float[np.ndarray, "B Q C"]:
        total = np.zeros((*queries.shape, sets.shape[1]), dtype=np.float32)
        for place in range(sets.shape[2]):
            total += cosine[queries[:, :, None], sets[:, None, :, place]]
        return total

    return score


def _trainer(task: Task, **changes: str) -> Trainer:
    setting = {**SPACES["cub"].paper_setting, "pairs_per_epoch": 8192, "max_epochs": 20, "seed": 0}
    config = TrialConfig.from_flat({**setting, "num_conditions": 50, **changes})
    return Trainer(task, config, torch.device("cpu"))


def _row_of_seconds(what: str, tasks: dict[ValQuestions, Task], scoring: str) -> Row:
    trainers = {rule: _trainer(task, scoring=scoring) for rule, task in tasks.items()}

    def evaluate(rule: ValQuestions) -> Callable[[], object]:
        return lambda: trainers[rule].evaluate(Split.VAL)

    return Row.less(what, *alternate(evaluate(ValQuestions.REDUCED), evaluate(ValQuestions.FULL), repeats=3))


def _row_of_share(what: str, tasks: dict[ValQuestions, Task]) -> Row:
    """Return the part with reduced questions, and with full ones; every second epoch is the best so far.

    With full questions as in earlier releases, train is evaluated in every epoch.
    """
    parts: dict[ValQuestions, float] = {}
    for rule, task in tasks.items():
        trainer = _trainer(task)
        trainer.train_epoch()
        trainer.evaluate(Split.VAL)
        train_s = evaluate_s = 0.0
        for epoch in range(EPOCHS):
            train_s += float(trainer.train_epoch()["time/train_s"])
            evaluate_s += trainer.evaluate(Split.VAL).time_s
            if rule is ValQuestions.FULL or epoch % 2 == 0:
                evaluate_s += trainer.evaluate(Split.TRAIN).time_s
        parts[rule] = evaluate_s / (train_s + evaluate_s)
    reduced, full = parts[ValQuestions.REDUCED], parts[ValQuestions.FULL]
    return Row(f"{what} (ratio: {TARGET_SHARE} / ours)", reduced, full, TARGET_SHARE / reduced, 1.0)


if __name__ == "__main__":
    flags = parser(__doc__)
    flags.add_argument("--data-root", type=Path, help="use the birds of CUB_200_2011/ below this folder")
    flags.add_argument("--weights", default="imagenet", help="weights of mobilenet_v2, with --data-root")
    flags.add_argument("--cache-dir", type=Path, default=DEFAULT_CACHE, help="cache of features, with --data-root")
    run_benchmark(flags, measure)
