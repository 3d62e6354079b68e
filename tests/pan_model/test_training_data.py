"""What training looks at, and what it leaves alone."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.model.encoders.proxynca import ProxyNCAEncoder
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
Configure = Callable[..., TrialConfig]
Plant = Callable[..., FeaturedItems]
Run = Callable[[Trainer, int], list[EpochRecord]]


def test_training_does_not_look_at_other_splits(case: dict[str, Any], planted: Plant, configure: Configure):
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        others = arrays["classes"] % 2 == 1
        arrays["features"][others] *= -50
        arrays["attributes"][others] ^= True
        arrays["certain"][others] ^= True

    config = configure(**case)
    clean, spoilt = (
        Trainer(FewShotTask(planted(change=change), seed=0), config, CPU) for change in (lambda _: None, spoil)
    )
    for trainer in (clean, spoilt):
        trainer.train_epoch()
    weights, of_spoilt = clean.model.state_dict(), spoilt.model.state_dict()
    assert all(torch.equal(weight, of_spoilt[name]) for name, weight in weights.items())
    assert clean.model.condition_names == spoilt.model.condition_names


def test_uncertain_attributes_play_no_part_in_training(planted: Plant, configure: Configure, run: Run):
    def flip(arrays: dict[str, np.ndarray]) -> None:
        arrays["attributes"] ^= ~arrays["certain"]

    config = configure(supervision="supervised", gate="XNOR", lambda_=1.0)
    clean, flipped = (
        run(Trainer(FewShotTask(planted(change=change), seed=0), config, CPU), 2) for change in (lambda _: None, flip)
    )
    assert clean == flipped


def test_labels_reach_their_own_conditions_only(task: FewShotTask, configure: Configure):
    """With a tiny learning rate the first step's direction is the gradient's: lambda moves only labelled rows of W1."""
    moved = []
    for lambda_ in (0.0, 5.0):
        config = configure(supervision="hybrid", gate="XNOR", lambda_=lambda_, steps_per_epoch=1, weight_decay=0.0)
        trainer = Trainer(task, config, CPU)
        trainer.train_epoch()
        moved.append(
            {key: value["exp_avg"] for key, value in trainer.state_dict()["optimiser"]["adam"]["state"].items()}
        )
    of_similarity = (moved[1][0] - moved[0][0]).abs().amax(dim=1)
    assert len(of_similarity) == 6
    assert (of_similarity[:3] > 1e-4).all()
    assert (of_similarity[3:] < 1e-7).all()
    assert torch.allclose(moved[1][2], moved[0][2], atol=1e-7)  # the relevances'


def test_proxies_move_faster_by_their_factor(task: FewShotTask, configure: Configure):
    config = configure(encoder="proxynca", steps_per_epoch=1, learning_rate=1e-3, proxy_learning_rate_factor=50.0)
    trainer = Trainer(task, config, CPU)
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train_epoch()
    moved = {name: (weight - before[name]).abs() for name, weight in trainer.model.state_dict().items()}
    # Adam's first step moves every weight by its learning rate.
    assert moved["encoder.proxies"].median().item() == pytest.approx(0.05, rel=1e-2)
    assert moved["encoder.embedding.weight"].median().item() == pytest.approx(0.001, rel=1e-2)
    assert moved["similarity.similarity.weight"].median().item() == pytest.approx(0.001, rel=1e-2)


def test_proxies_without_a_loss_stay_where_they_are_under_decay(task: FewShotTask, configure: Configure):
    trainer = Trainer(
        task, configure(encoder="proxynca", proxy_loss_weight=0.0, weight_decay=0.1, start_decay=0.1), CPU
    )
    before = copy.deepcopy(trainer.model.state_dict())
    trainer.train_epoch()
    after = trainer.model.state_dict()
    assert torch.equal(after["encoder.proxies"], before["encoder.proxies"])
    assert not torch.equal(after["encoder.embedding.weight"], before["encoder.embedding.weight"])


def test_proxies_are_those_of_the_training_classes(featured: FeaturedItems, configure: Configure):
    task = FewShotTask(featured, seed=0, train_on=(Split.TRAIN, Split.VAL))
    encoder = Trainer(task, configure(encoder="proxynca"), CPU).model.encoder
    assert isinstance(encoder, ProxyNCAEncoder)
    assert len(encoder.proxies) == 18


def test_shared_read_only_arrays_are_trained_on_without_a_copy_or_a_warning(
    case: dict[str, Any], task: FewShotTask, featured: FeaturedItems, configure: Configure, run: Run
):
    arrays = [featured.features, featured.classes, featured.attributes, featured.certain, *featured.splits.values()]
    assert not any(array.flags.writeable for array in arrays)
    before = [array.copy() for array in arrays]
    run(Trainer(task, configure(**case), CPU), 1)
    assert all((array == copied).all() for array, copied in zip(arrays, before, strict=True))


def test_a_feature_that_is_no_number_shows_in_loss_and_metric(planted: Plant, configure: Configure, run: Run):
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays["features"][0, 0] = math.nan

    (record,) = run(Trainer(FewShotTask(planted(change=spoil), seed=0), configure(pairs_per_epoch=0), CPU), 1)
    assert math.isnan(record["loss/total"])
    assert math.isnan(record["few_shot_accuracy"])
