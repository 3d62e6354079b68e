from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.polyvore.outfits import Outfit, Outfits
from pan_model.data.polyvore.questions import CompatQuestion, FitbQuestion, QuestionFiles, QuestionSource
from pan_model.data.splits import Split
from pan_model.errors import UserError
from pan_model.objective import Objective
from pan_model.scoring.baselines.untrained import cosine_baseline, mean_cosine, untrained_baselines
from pan_model.scoring.pan_scorer import embedding_scorer, pan_scorer
from pan_model.tasks.outfits import OutfitTask, outfit_scores
from pan_model.tasks.pairs import PairSampling, PairsConfig
from pan_model.tasks.task import SetScorer, Task
from pan_model.training.trainer import Trainer

NUM_STYLES, NUM_CATEGORIES, NUM_ITEMS = 4, 3, 96
STYLES = np.arange(NUM_ITEMS) // NUM_CATEGORIES % NUM_STYLES
CATEGORIES = np.arange(NUM_ITEMS) % NUM_CATEGORIES
NUM_OUTFITS = {Split.TRAIN: 150, Split.VAL: 40, Split.TEST: 40}
METRICS = ["score", "fitb_accuracy", "compat_auc"]


def dress(generator: np.random.Generator) -> Outfit:
    """One item of two or all three categories, all of a style."""
    style = generator.integers(NUM_STYLES)
    chosen = [generator.choice(np.flatnonzero((style == STYLES) & (c == CATEGORIES))) for c in range(NUM_CATEGORIES)]
    return tuple(int(item) for item in chosen[: generator.integers(2, 4)])


@pytest.fixture(scope="module")
def worn() -> FeaturedItems:
    """Items whose features tell their style; items are in several splits."""
    generator = np.random.default_rng(0)
    outfits = {split: tuple(dress(generator) for _ in range(number)) for split, number in NUM_OUTFITS.items()}
    blank, compat = FitbQuestion((0,), (1, 4), 0), (CompatQuestion((0, 1), True), CompatQuestion((0, 4), False))
    original, harder = (QuestionSource.ORIGINAL, Split.TEST), (QuestionSource.HARDER, Split.TEST)
    files = QuestionFiles(fitb={original: (blank,), harder: (blank, blank)}, compat={original: compat})
    relations = Outfits(
        outfits=outfits,
        set_ids={split: tuple(map(str, range(len(of_split)))) for split, of_split in outfits.items()},
        categories=CATEGORIES,
        category_names=("bags", "coats", "shoes"),
        files=files,
    )
    features = np.concatenate([np.eye(NUM_STYLES)[STYLES], np.eye(NUM_CATEGORIES)[CATEGORIES]], axis=1)
    return FeaturedItems(
        features=(features + 0.3 * generator.normal(size=features.shape)).astype(np.float32),
        classes=CATEGORIES,
        attributes=np.eye(NUM_STYLES, dtype=bool)[STYLES],
        certain=np.ones((NUM_ITEMS, NUM_STYLES), dtype=bool),
        attribute_names=tuple("abcd"),
        splits={split: relations.items_of(split) for split in outfits},
        relations=relations,
    )


@pytest.fixture(scope="module")
def outfit_task(worn: FeaturedItems) -> OutfitTask:
    return OutfitTask(worn, seed=0)


def relations_of(featured: FeaturedItems) -> Outfits:
    assert isinstance(featured.relations, Outfits)
    return featured.relations


def knows_styles(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
    return (STYLES[queries][:, :, None, None] == STYLES[sets][:, None]).mean(axis=3)


def doubtful(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(NUM_ITEMS, NUM_ITEMS))
    return noise[queries[:, :, None, None], sets[:, None]].mean(axis=3)


def constant(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
    return np.zeros((*queries.shape, sets.shape[1]))


def test_outfits_are_a_task(outfit_task: OutfitTask):
    as_task: Task = outfit_task
    assert as_task.objective == Objective("score", "max")


@pytest.mark.parametrize("sampling", [PairSampling.FIXED, PairSampling.FRESH])
@pytest.mark.parametrize("train_on", [(Split.TRAIN,), (Split.TRAIN, Split.VAL)])
def test_pairs_share_an_outfit_of_the_training_splits_or_none(
    worn: FeaturedItems, sampling: PairSampling, train_on: tuple[Split, ...]
):
    task = OutfitTask(worn, seed=0, train_on=train_on)
    outfits = [outfit for split in train_on for outfit in relations_of(worn).outfits[split]]
    items = sorted({item for outfit in outfits for item in outfit})
    assert task.training_items.tolist() == items
    edges = {frozenset(pair) for outfit in outfits for pair in combinations(outfit, 2)}
    config = PairsConfig(pairs=sampling, pairs_per_epoch=0, steps_per_epoch=3)
    steps = task.draw_steps(config, np.random.default_rng(0))
    assert len(steps) == 3
    drawn = [(frozenset((int(i), int(j))), same) for step in steps for i, j, same in zip(*step, strict=True)]
    assert all((pair in edges) == same and len(pair) == 2 and pair <= set(items) for pair, same in drawn)
    positives = [pair for pair, same in drawn if same]
    assert len(set(positives)) == len(positives) == len(edges) // 2  # the paper's rule
    assert len(drawn) == 2 * len(positives)
    some = task.draw_steps(PairsConfig(pairs=sampling, pairs_per_epoch=50, steps_per_epoch=2), np.random.default_rng(1))
    assert [len(step.same) for step in some] == [25, 25]


def test_balanced_pairs_are_refused(outfit_task: OutfitTask):
    config = PairsConfig(pairs=PairSampling.BALANCED, classes_per_step=2, images_per_class=2)
    with pytest.raises(UserError, match="pairs balanced needs classes; outfits have none"):
        outfit_task.draw_steps(config, np.random.default_rng(0))


@pytest.mark.parametrize("scorer", [knows_styles, doubtful, constant])
@pytest.mark.parametrize("split", [Split.VAL, Split.TEST])
def test_the_score_is_the_mean_of_both_metrics(outfit_task: OutfitTask, scorer: SetScorer, split: Split):
    scores = outfit_task.evaluate(scorer, split)
    assert list(scores) == METRICS
    assert len(scores["score"]) == len(scores["fitb_accuracy"]) + len(scores["compat_auc"])
    both = (scores["fitb_accuracy"].mean() + scores["compat_auc"].mean()) / 2
    assert scores["score"].mean() == pytest.approx(both, abs=1e-12)


def test_who_knows_the_styles_is_ahead_of_who_knows_nothing(outfit_task: OutfitTask):
    known, guessed = (outfit_task.evaluate(scorer, Split.VAL) for scorer in (knows_styles, constant))
    assert known["compat_auc"].mean() > 0.8
    assert known["fitb_accuracy"].mean() > 0.25
    assert guessed["fitb_accuracy"].tolist() == [0.1] * 40
    assert guessed["compat_auc"].tolist() == [0.5] * len(guessed["compat_auc"])


@pytest.mark.parametrize("split", [Split.VAL, Split.TEST])
def test_questions_are_of_their_split_only(outfit_task: OutfitTask, worn: FeaturedItems, split: Split):
    asked: list[np.ndarray] = []

    def note(queries: np.ndarray, sets: np.ndarray) -> np.ndarray:
        asked.extend([queries.ravel(), sets.ravel()])
        return constant(queries, sets)

    outfit_task.evaluate(note, split)
    assert np.isin(np.concatenate(asked), worn.splits[split]).all()


def test_questions_are_drawn_once_from_the_seed_and_are_those_of_final_training(worn: FeaturedItems):
    def score(task: OutfitTask, split: Split) -> list[float]:
        return task.evaluate(doubtful, split)["score"].tolist()

    one, again, other = (OutfitTask(worn, seed=seed) for seed in (3, 3, 4))
    final = OutfitTask(worn, seed=3, train_on=(Split.TRAIN, Split.VAL))
    assert score(one, Split.VAL) == score(one, Split.VAL) == score(again, Split.VAL)
    assert score(one, Split.VAL) != score(other, Split.VAL)
    assert score(one, Split.TEST) == score(final, Split.TEST)


def test_fresh_questions_on_val_are_others_on_the_same_outfits(outfit_task: OutfitTask, worn: FeaturedItems):
    usual, fresh, again, other = (
        task.evaluate(doubtful, Split.VAL)
        for task in (outfit_task, *(outfit_task.with_fresh_val(3, part) for part in (0, 0, 1)))
    )
    assert {name: len(scores) for name, scores in fresh.items()} == {name: len(usual[name]) for name in usual}
    for metric in METRICS:
        assert fresh[metric].tolist() == again[metric].tolist()
        assert fresh[metric].tolist() not in (usual[metric].tolist(), other[metric].tolist())
    blanks = outfit_task.with_fresh_val(3, 0).sample_blanks(Split.VAL, 10**6)
    completed = {frozenset((*blank.question, blank.answers[blank.right])) for blank in blanks}
    assert completed <= {frozenset(outfit) for outfit in relations_of(worn).outfits[Split.VAL]}


def test_fresh_questions_on_val_leave_the_task_and_the_training_pairs(outfit_task: OutfitTask):
    before = [outfit_task.evaluate(doubtful, split)["score"].tolist() for split in Split]
    fresh = outfit_task.with_fresh_val(3, 0)
    fresh.evaluate(doubtful, Split.VAL)
    assert [outfit_task.evaluate(doubtful, split)["score"].tolist() for split in Split] == before
    one, two = (
        task.draw_steps(PairsConfig(pairs_per_epoch=64), np.random.default_rng(0)) for task in (outfit_task, fresh)
    )
    assert [pairs.index_1.tolist() for pairs in one] == [pairs.index_1.tolist() for pairs in two]


def test_on_train_at_most_100_outfits_are_watched(outfit_task: OutfitTask):
    scores = outfit_task.evaluate(doubtful, Split.TRAIN)
    assert len(scores["fitb_accuracy"]) == len(scores["compat_auc"]) == 100
    assert outfit_task.evaluate(doubtful, Split.TRAIN)["score"].tolist() == scores["score"].tolist()


def test_a_full_evaluation_adds_the_questions_of_the_files(outfit_task: OutfitTask):
    scores = outfit_task.evaluate_fully(knows_styles, Split.TEST)
    added = ["original_fitb_accuracy", "original_compat_auc", "harder_fitb_accuracy"]
    assert list(scores) == METRICS + added
    assert [scores[name].tolist() for name in added] == [[1.0], [1.0], [1.0, 1.0]]
    assert list(outfit_task.evaluate_fully(knows_styles, Split.VAL)) == METRICS


def with_outfits(featured: FeaturedItems, **outfits: tuple[Outfit, ...]) -> FeaturedItems:
    relations = relations_of(featured)
    changed = {split: outfits.get(str(split), of_split) for split, of_split in relations.outfits.items()}
    set_ids = {split: tuple(map(str, range(len(of_split)))) for split, of_split in changed.items()}
    relations = replace(relations, outfits=changed, set_ids=set_ids)
    return replace(featured, relations=relations, splits={split: relations.items_of(split) for split in changed})


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(
    ("outfits", "kind"), [(((0, 1),), "fill-in-the-blank"), (((0, 1), (3, 1), (0, 4), (3, 4)), "compatibility")]
)
def test_a_split_without_questions_is_refused(worn: FeaturedItems, split: str, outfits: tuple[Outfit, ...], kind: str):
    with pytest.raises(UserError, match=rf"split {split}: expected outfits that allow {kind} questions, got \d that"):
        OutfitTask(with_outfits(worn, **{split: outfits}), seed=0)


def test_a_training_split_without_questions_is_not_watched(worn: FeaturedItems):
    task = OutfitTask(with_outfits(worn, train=((0, 1), (1, 2))), seed=0)
    assert task.evaluate(constant, Split.TRAIN) == {}


def test_items_of_classes_are_refused(featured: FeaturedItems):
    with pytest.raises(TypeError, match="an outfit task needs items with outfits, got"):
        OutfitTask(featured, seed=0)


def test_normalisation_sees_every_item_once_for_each_outfit(worn: FeaturedItems, outfit_task: OutfitTask):
    items, groups = outfit_task.normalisation_groups()
    outfits = relations_of(worn).outfits[Split.TRAIN]
    assert [tuple(items[groups == number].tolist()) for number in range(len(outfits))] == list(outfits)


def test_the_first_baseline_is_the_mean_cosine(worn: FeaturedItems, outfit_task: OutfitTask):
    expected = outfit_task.evaluate(mean_cosine(worn.features), Split.VAL)["score"].tolist()
    first = untrained_baselines(outfit_task)["nearest_class_mean"]
    assert outfit_task.evaluate(first, Split.VAL)["score"].tolist() == expected
    assert outfit_task.evaluate(cosine_baseline(outfit_task, worn.features), Split.VAL)["score"].tolist() == expected


RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"pairs": "fixed", "steps_per_epoch": 1, "supervision": "supervised", "gate": "OR", "lambda_": 1.0},
    "distance": {"first_weights": "distance", "joint": "product", "normalisation": "whiten", "scoring": "support_mean"}
    | {"whitening_shrinkage": 0.5, "projection": "residual"},
}


@pytest.mark.parametrize(("recipe", "least"), [("paper", 0.7), ("distance", 0.8)])
def test_training_learns_what_goes_together(
    outfit_task: OutfitTask, configure: Callable[..., TrialConfig], recipe: str, least: float
):
    trainer = Trainer(outfit_task, configure(pairs_per_epoch=0, **RECIPES[recipe]), torch.device("cpu"))
    before = trainer.evaluate(Split.VAL).means()["compat_auc"]
    for _ in range(100):
        trainer.train_epoch()
    assert trainer.evaluate(Split.VAL).means()["compat_auc"] > max(least, before)


def test_pan_s_outfit_score_is_the_mean_of_its_pair_scores(
    outfit_task: OutfitTask, configure: Callable[..., TrialConfig]
):
    trainer = Trainer(outfit_task, configure(scoring="pair_mean"), torch.device("cpu"))
    embeddings = torch.randn(NUM_ITEMS, trainer.model.encoder.embedding_dim)
    trainer.model.eval()
    (score,) = outfit_scores(embedding_scorer(trainer.model, embeddings), [(5, 2, 9)])
    with torch.inference_mode():
        pairs = [
            trainer.model.similarity(embeddings[[i]], embeddings[[j]]).score.item() for i, j in ((5, 2), (5, 9), (2, 9))
        ]
    assert score == pytest.approx(np.mean(pairs), abs=1e-6)


def pairs_of(outfits: Iterable[Outfit]) -> set[frozenset[int]]:
    return {frozenset(pair) for outfit in outfits for pair in combinations(outfit, 2)}


def as_pairs(edges: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in edges.T.tolist()}


def test_half_of_the_positives_are_edges_and_negatives_share_no_outfit_at_all(
    worn: FeaturedItems, outfit_task: OutfitTask
):
    learning, edges = outfit_task.split_edges(3)
    everything, carried = pairs_of(relations_of(worn).outfits[Split.TRAIN]), as_pairs(edges)
    config = PairsConfig(pairs=PairSampling.FIXED, pairs_per_epoch=10**6, steps_per_epoch=1)
    (pairs,) = learning.draw_steps(config, np.random.default_rng(0))
    learned, negatives = (
        as_pairs(np.stack([pairs.index_1[kind], pairs.index_2[kind]])) for kind in (pairs.same, ~pairs.same)
    )
    assert carried | learned == everything
    assert not carried & learned
    assert len(carried) == edges.shape[1] == len(everything) // 2
    assert not negatives & everything
    again, other = (outfit_task.split_edges(seed)[1] for seed in (3, 4))
    assert np.array_equal(edges, again)
    assert not np.array_equal(edges, other)


GRAPH: dict[str, Any] = {"encoder": "graph", "graph_width": 16, "layer_dropout": 0.1, "pairs_per_epoch": 0}


@pytest.mark.parametrize("context", [0, 4])
def test_a_graph_encoder_learns_what_goes_together(
    outfit_task: OutfitTask, configure: Callable[..., TrialConfig], context: int
):
    trainer = Trainer(outfit_task, configure(graph_context=context, **GRAPH), torch.device("cpu"))
    assert trainer.model.graph_context == context
    for _ in range(60):
        trainer.train_epoch()
    assert trainer.evaluate(Split.VAL).means()["compat_auc"] > 0.65


def test_a_score_is_the_same_when_the_asked_outfit_was_never_there(
    worn: FeaturedItems, outfit_task: OutfitTask, configure: Callable[..., TrialConfig]
):
    """Every question on val is asked of a task that has all outfits and of one that lacks the one asked about."""
    trainer = Trainer(outfit_task, configure(graph_context=3, **GRAPH), torch.device("cpu"))
    trainer.train_epoch()
    outfits = relations_of(worn).outfits[Split.VAL]
    num_edges = 0
    for asked, (right, *items) in enumerate(outfits[:12]):
        candidates = np.array([right, (right + NUM_CATEGORIES) % NUM_ITEMS])
        less = OutfitTask(with_outfits(worn, val=outfits[:asked] + outfits[asked + 1 :]), seed=0)
        num_edges += outfit_task.edges_around(Split.VAL, candidates, np.array([items]), context=3).shape[1]
        scores = [pan_scorer(trainer.model, task, Split.VAL, torch.device("cpu")) for task in (outfit_task, less)]
        one, other = (scorer(candidates[None], np.array([[items]])) for scorer in scores)
        assert one.tolist() == other.tolist()
        one, other = (outfit_scores(scorer, [outfits[asked]]) for scorer in scores)
        assert one.tolist() == other.tolist()
    assert num_edges > 0


def test_compatibility_and_several_sets_are_asked_without_edges(outfit_task: OutfitTask):
    for queries, sets in ((np.array([5]), np.array([[0, 1]])), (np.array([5, 8]), np.array([[0, 1], [3, 4]]))):
        assert outfit_task.edges_around(Split.VAL, queries, sets, context=9).shape == (2, 0)
