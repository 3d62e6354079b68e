"""What is planted in the items is found again."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.model.encoders import ENCODERS
from pan_model.model.encoders.proxynca import ProxyNCAEncoder
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
Configure = Callable[..., TrialConfig]
Run = Callable[[Trainer, int], list[EpochRecord]]


def test_proxies_find_the_clusters_of_their_classes(task: FewShotTask, configure: Configure):
    config = configure(encoder="proxynca", temperature=1 / 9, proxy_learning_rate_factor=10.0)
    trainer = Trainer(task, config, CPU)
    history = [trainer.train_epoch() for _ in range(25)]
    assert history[-1]["loss/encoder"] < 0.3 * history[0]["loss/encoder"]
    encoder = trainer.model.encoder
    assert isinstance(encoder, ProxyNCAEncoder)
    items = task.training_items
    with torch.inference_mode():
        embeddings = trainer.model.eval().embed(torch.tensor(task.featured.features[items]))
        cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(encoder.proxies).T
    assert (cosines.argmax(dim=1).numpy() == task.featured.classes[items] // 2).mean() > 0.95


def area_under_curve(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of (positive, negative) couples that are scored in the right order."""
    difference = scores[labels][:, None] - scores[~labels][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


RULES = {"XNOR": np.equal, "XOR": np.not_equal, "AND": np.logical_and}


@pytest.mark.parametrize("gate", ["XNOR", "AND_XOR"])
def test_planted_conditions_are_found_again_by_name(task: FewShotTask, configure: Configure, gate: str):
    joint = "absdiff" if gate == "XNOR" else "concat"
    config = configure(
        supervision="supervised",
        gate=gate,
        lambda_=10.0,
        num_conditions=14,
        pairs_per_epoch=2048,
        steps_per_epoch=32,
        joint=joint,
    )
    trainer = Trainer(task, config, CPU)
    for _ in range(15):
        trainer.train_epoch()
    featured, model = task.featured, trainer.model.eval()
    index_1, index_2 = np.random.default_rng(0).choice(featured.splits[Split.TEST], size=(2, 1500))
    features = torch.tensor(featured.features)
    with torch.inference_mode():
        similarity = model(features[index_1], features[index_2]).similarity.numpy()
    labelled = [name for name in model.condition_names if not name.startswith("unsupervised")]
    assert len(labelled) == (7 if gate == "XNOR" else 14)
    assert not any("(a3)" in name for name in labelled)  # never certain
    for m, name in enumerate(labelled):
        rule, attribute = name.removesuffix(")").split("(")
        bits = featured.attributes[:, featured.attribute_names.index(attribute)]
        truth = RULES[rule](bits[index_1], bits[index_2])
        if not (joint == "concat" and rule == "XOR"):  # no linear layer on [h1, h2] is an exclusive or
            assert area_under_curve(similarity[:, m], truth) > 0.9, name


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_learns_the_classes_of_unseen_items(task: FewShotTask, configure: Configure, run: Run, encoder: str):
    trainer = Trainer(task, configure(encoder=encoder, embedding_dim=16) if encoder == "proxynca" else configure(), CPU)
    before = trainer.evaluate(Split.VAL).means()[task.objective.name]
    history = run(trainer, 15)
    assert history[-1]["loss/pairs"] < 0.5 * math.log(2)
    assert history[-1][task.objective.name] > max(0.8, before)


def test_the_recipe_learns_without_forgetting_the_metric_that_it_starts_as(
    noisy_task: FewShotTask, configure: Configure, run: Run, recipe: dict[str, Any]
):
    learned_from_all = recipe | {"hard_pair_share": 1.0, "learning_rate": 2e-3, "max_epochs": 15}
    changes = []
    for seed in range(3):  # few pairs a step make the losses of a single training noisy
        trainer = Trainer(noisy_task, configure(**learned_from_all, seed=seed), CPU)
        before = trainer.evaluate(Split.VAL).means()[noisy_task.objective.name]
        history = run(trainer, 15)
        assert 0.4 < before < 0.9
        assert history[-1][noisy_task.objective.name] > before - 0.02
        of_conditions = [record["loss/conditions"] for record in history]
        changes.append(sum(of_conditions[-5:]) - sum(of_conditions[:5]))
    assert sum(changes) < 0


@pytest.mark.parametrize("sampling", [{}, {"pairs": "balanced", "classes_per_step": 6, "images_per_class": 6}])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_residual_projection_learns_from_all_pairs_or_the_hardest(
    task: FewShotTask, configure: Configure, run: Run, sampling: dict[str, Any], share: float
):
    """Plain weights on random directions of the features know little at first."""
    config = configure(projection="residual", hard_pair_share=share, scoring="log_odds", **sampling)
    trainer = Trainer(task, config, CPU)
    before = trainer.evaluate(Split.VAL).means()[task.objective.name]
    history = run(trainer, 15)
    assert history[-1][task.objective.name] > max(0.7, before)
