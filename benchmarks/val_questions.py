"""Are the reduced questions on val as good as the full ones? The tables of docs/measurements.md on val.

Few-shot, for a scorer by the cosine of features: the different pairs of images, the standard error over redraws of the
questions (the truth is the mean of many random episodes of the same images), the share of redraws whose 95% interval
contains the truth, and the standard error of a lead over a scorer that has a part of the features. Retrieval, over 24
scorers: the rank correlation of recall@1, in parts of the gallery or asked for every image, with that of the queries in
the whole gallery, beside that of two halves of these queries, and the mean standard error. "ours" is reduced, "peer" is
full.

    python benchmarks/val_questions.py
    python benchmarks/val_questions.py --data-root DATA --weights WEIGHTS.pth   # CUB-200-2011 and In-Shop as well
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from evaluation import cosine_scorer, count_pairs, gaussian
from measure import Row, parser, run_benchmark

from pan_model.backbones.config import FeaturesConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split, ValQuestions
from pan_model.scores import mean_interval
from pan_model.shapes import Float
from pan_model.tasks.few_shot import Episodes, FewShotTask, draw_episodes
from pan_model.tasks.metrics import episode_accuracy
from pan_model.tasks.retrieval import RetrievalTask
from pan_model.tasks.task import SetScorer
from study.config.study_config import DEFAULT_CACHE
from study.trials.preparation import Preparation, prepare_dataset

TRUE_EPISODES = 10_000
HALVINGS = 200
WHITENINGS, NUM_DIMS, NOISES = (0.0, 0.5, 1.0), (16, 64, 256, 1024), (0.0, 0.5)
"""The 24 retrieval scorers: power of whitening, number of principal components, noise in units of their spread."""

REDUCED, FULL = ValQuestions.REDUCED, ValQuestions.FULL


def measure(arguments: argparse.Namespace) -> list[Row]:
    """Return the rows of few-shot, then those of retrieval."""
    few_shot = {
        f"{num_classes} classes x {num_images} Gaussian images": gaussian(num_classes, num_images)
        for num_classes, num_images in ((50, 60), (6, 12))
    }
    retrieval = {"400 products x 6 Gaussian images": gaussian(400, 6)}
    if arguments.data_root:
        birds, shop = (read(dataset, arguments) for dataset in ("cub", "inshop"))
        few_shot = {"birds": items_of(birds, Split.VAL)} | few_shot
        retrieval |= {f"In-Shop, {split} as val": items_of(shop, split) for split in Split}
    rows = [few_shot_rows(name, as_val(whole), arguments.redraws) for name, whole in few_shot.items()]
    rows += [retrieval_rows(name, as_val(whole)) for name, whole in retrieval.items()]
    return [row for of_images in rows for row in of_images]


def read(dataset: str, arguments: argparse.Namespace) -> FeaturedItems:
    """Read a dataset with features of mobilenet_v2."""
    features = FeaturesConfig(backbone="mobilenet_v2", weights=arguments.weights, image_size=224)
    preparation = Preparation(
        dataset=dataset, data_root=arguments.data_root, cache_dir=arguments.cache_dir, features=features
    )
    return prepare_dataset(preparation).featured


def items_of(featured: FeaturedItems, split: Split) -> FeaturedItems:
    """Return the features and the classes of a split alone."""
    items = featured.splits[split]
    return as_val(replace(featured, features=featured.features[items], classes=featured.classes[items]))


def as_val(featured: FeaturedItems) -> FeaturedItems:
    """Return all items as those of val, and of the other splits, which a task must have; without attributes."""
    every = np.arange(len(featured.classes))
    none = np.empty((len(every), 0), dtype=bool)
    splits = dict.fromkeys(Split, every)
    return replace(featured, attributes=none, certain=none, attribute_names=(), splits=splits, relations=None)


class Redraws(NamedTuple):
    """Statistics over redraws of the questions: root mean square errors, and the share of intervals that are right."""

    error: float
    coverage: float
    error_of_lead: float


def few_shot_rows(name: str, val: FeaturedItems, num_redraws: int) -> list[Row]:
    """Return the rows of one set of images."""
    whole, part = cosine_scorer(val.features), cosine_scorer(val.features[:, : val.features.shape[1] // 2])
    episodes = draw_episodes(val.splits[Split.VAL], val.classes, TRUE_EPISODES, np.random.default_rng(1))
    truth, other = (true_accuracy(scorer, episodes) for scorer in (whole, part))

    def redraw(rule: ValQuestions) -> Redraws:
        tasks = (FewShotTask(val, seed=seed, val_questions=rule) for seed in range(num_redraws))
        scores = [[task.evaluate(scorer, Split.VAL)["few_shot_accuracy"] for scorer in (whole, part)] for task in tasks]
        intervals = [mean_interval(own) for own, _ in scores]
        leads = [(own - others).mean() - (truth - other) for own, others in scores]
        return Redraws(
            error=float(np.sqrt(np.mean([(interval.mean - truth) ** 2 for interval in intervals]))),
            coverage=float(np.mean([interval.low <= truth <= interval.high for interval in intervals])),
            error_of_lead=float(np.sqrt(np.mean(np.square(leads)))),
        )

    reduced, full = redraw(REDUCED), redraw(FULL)
    pairs = [float(count_pairs(FewShotTask(val, seed=0, val_questions=rule))) for rule in (REDUCED, FULL)]
    name = f"few-shot, {name} (accuracy {truth:.3f})"
    return [
        Row.less(f"{name}: different pairs of images", *pairs),
        Row.less(f"{name}: standard error", reduced.error, full.error),
        Row.more(f"{name}: coverage of the interval", reduced.coverage, full.coverage),
        Row.less(f"{name}: standard error of a lead", reduced.error_of_lead, full.error_of_lead),
    ]


def true_accuracy(scorer: SetScorer, episodes: Episodes) -> float:
    """Return the mean accuracy of many episodes, scored in batches that fit in memory."""
    arrays = (episodes.queries, episodes.support, episodes.answers, episodes.asked)
    batches = zip(*(np.array_split(array, 100) for array in arrays), strict=True)
    return float(
        np.concatenate(
            [episode_accuracy(scorer(q, sets), answers, asked) for q, sets, answers, asked in batches]
        ).mean()
    )


def retrieval_rows(name: str, val: FeaturedItems) -> list[Row]:
    """Return the rows of one gallery."""
    parts, whole = (RetrievalTask(val, seed=0, val_questions=rule) for rule in (REDUCED, FULL))
    generator = np.random.default_rng(2)
    in_parts, in_whole = list[Float[np.ndarray, "Q"]](), list[Float[np.ndarray, "Q"]]()
    for power, num_dims, noise in product(WHITENINGS, NUM_DIMS, NOISES):
        features = components(val.features, power, num_dims)
        features += noise * features.std() * generator.normal(size=features.shape)
        scorer = cosine_scorer(features)
        in_parts.append(parts.evaluate(scorer, Split.VAL)["recall@1"])
        in_whole.append(whole.evaluate(scorer, Split.VAL)["recall@1"])
    by_parts, by_whole = np.array(in_parts), np.array(in_whole)
    halves = (np.array_split(generator.permutation(by_whole.shape[1]), 2) for _ in range(HALVINGS))
    between = [rank_correlation(by_whole[:, one].mean(axis=1), by_whole[:, two].mean(axis=1)) for one, two in halves]
    errors = [float(recall.std(axis=1, ddof=1).mean()) / recall.shape[1] ** 0.5 for recall in (by_parts, by_whole)]
    num_images = len(whole.questions(Split.VAL).gallery)
    is_divided = len(parts.parts(Split.VAL)[0].gallery) < num_images
    name = f"retrieval, {name}, gallery of {num_images}, {'in parts' if is_divided else 'every image asked'}"
    agreement = rank_correlation(by_parts.mean(axis=1), by_whole.mean(axis=1))
    return [
        Row.less(f"{name}: different pairs of images", *(float(count_pairs(task)) for task in (parts, whole))),
        Row.more(
            f"{name}: rank correlation with the whole; of halves of the queries",
            agreement,
            float(np.mean(between)),
        ),
        Row.less(f"{name}: standard error", *errors),
    ]


def components(features: Float[np.ndarray, "N D"], power: float, num_dims: int) -> Float[np.ndarray, "N d"]:
    """Return the first principal components, divided by a power of their standard deviations."""
    left, scale, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    return left[:, :num_dims] * scale[:num_dims] ** (1 - power)


def rank_correlation(first: Float[np.ndarray, "n"], second: Float[np.ndarray, "n"]) -> float:
    """Return Spearman's rank correlation; equal values share their mean rank."""
    ranks = [[(values < value).sum() + (values == value).sum() / 2 for value in values] for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])


if __name__ == "__main__":
    flags = parser(__doc__)
    flags.add_argument("--data-root", type=Path, help="also use CUB_200_2011/ and In-shop/ below this folder")
    flags.add_argument("--weights", default="imagenet", help="weights of mobilenet_v2, with --data-root")
    flags.add_argument("--cache-dir", type=Path, default=DEFAULT_CACHE, help="cache of features, with --data-root")
    flags.add_argument("--redraws", type=int, default=400, help="how often few-shot questions are drawn")
    run_benchmark(flags, measure)
