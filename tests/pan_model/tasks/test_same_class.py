"""Tasks of same-class pairs as graphs: which pairs are edges, which are learned from, which a question may know."""

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.scoring.pan_scorer import graph_scorer
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.pairs import PairSampling, PairsConfig
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
ALL = PairsConfig(pairs=PairSampling.FIXED, pairs_per_epoch=10**6, steps_per_epoch=1)


def unordered(index_1: np.ndarray, index_2: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in zip(index_1.tolist(), index_2.tolist(), strict=True)}


def positives_of(task: FewShotTask) -> set[frozenset[int]]:
    (pairs,) = task.draw_steps(ALL, np.random.default_rng(0))
    return unordered(pairs.index_1[pairs.same], pairs.index_2[pairs.same])


def test_half_of_the_positives_are_edges_and_the_others_are_learned_from(task: FewShotTask):
    learning, edges = task.split_edges(seed=3)
    carried, learned, everything = unordered(*edges), positives_of(learning), positives_of(task)
    assert carried | learned == everything
    assert not carried & learned
    assert len(carried) == edges.shape[1] == len(everything) // 2


def test_the_parting_follows_from_the_seed(task: FewShotTask):
    one, again, other = (task.split_edges(seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_question_s_edges_lie_within_its_sets(task: FewShotTask):
    edges = task.edges_around(Split.TEST, np.array([0, 9]), np.array([[1, 2, 3], [6, 5, 4]]))
    assert unordered(*edges) == {frozenset(pair) for pair in [(1, 2), (1, 3), (2, 3), (4, 5), (4, 6), (5, 6)]}
    assert task.edges_around(Split.TEST, np.array([0]), np.array([[1], [2]])).shape == (2, 0)


@pytest.fixture(scope="module")
def trained(task: FewShotTask) -> Trainer:
    flat = {"supervision": "hybrid", "gate": "XNOR", "lambda": 0.1, "num_conditions": 12, "learning_rate": 1e-2}
    graph = {"encoder": "graph", "graph_width": 32, "layer_dropout": 0.2, "edge_dropout": 0.1}
    config = TrialConfig.from_flat(
        {**flat, **graph, "steps_per_epoch": 4, "pairs_per_epoch": 512, "max_epochs": 15, "seed": 0}
    )
    trainer = Trainer(task, config, CPU)
    for _ in range(15):
        record = trainer.train_epoch()
    assert record["loss/pairs"] < 0.4
    return trainer


def test_a_graph_encoder_learns_the_classes_of_unseen_items(trained: Trainer):
    assert trained.evaluate(Split.VAL).means()["few_shot_accuracy"] > 0.4  # chance is 0.2


def test_questions_scored_together_are_as_if_alone(trained: Trainer, task: FewShotTask):
    inputs = torch.from_numpy(trained.normalised_features())
    scorer = graph_scorer(trained.model, inputs, lambda queries, sets: task.edges_around(Split.VAL, queries, sets))
    queries, sets = np.array([[0, 5], [7, 3]]), np.array([[[1, 2], [3, 4]], [[8, 9], [0, 1]]])
    alone = np.concatenate([scorer(queries[[b]], sets[[b]]) for b in (0, 1)])
    np.testing.assert_allclose(scorer(queries, sets), alone, rtol=1e-5)


def test_another_question_s_answer_changes_nothing(trained: Trainer, task: FewShotTask):
    """A query hears of no other query, whatever class that is of."""
    inputs = torch.from_numpy(trained.normalised_features())
    scorer = graph_scorer(trained.model, inputs, lambda queries, sets: task.edges_around(Split.VAL, queries, sets))
    sets = np.array([[[1, 2, 3], [6, 5, 4]]])
    together, apart = scorer(np.array([[0, 9]]), sets), scorer(np.array([[0, 50]]), sets)
    np.testing.assert_allclose(together[0, 0], apart[0, 0], rtol=1e-5)
