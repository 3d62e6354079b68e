"""An epoch depends on the configuration, the seed and the weights before it alone: runs repeat, and can be resumed."""

import copy
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.data.splits import Split
from pan_model.scores import EpochRecord
from pan_model.tasks.few_shot import FewShotTask
from pan_model.tasks.pairs import Pairs, PairsConfig
from pan_model.training.trainer import Trainer

CPU = torch.device("cpu")
Configure = Callable[..., TrialConfig]
Run = Callable[[Trainer, int], list[EpochRecord]]


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return copy.deepcopy(trainer.model.state_dict())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """What a file gives back, read as from a stranger."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("pairs", ["as the case has them", "fixed"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    task: FewShotTask, configure: Configure, run: Run, case: dict[str, Any], pairs: str
):
    if pairs == "fixed":
        balanced = ("classes_per_step", "images_per_class")
        case = {key: value for key, value in case.items() if key not in balanced} | {"pairs": pairs}
    config = configure(**case)
    whole = Trainer(task, config, CPU)
    history = run(whole, 4)

    first = Trainer(task, config, CPU)
    records = run(first, 2)
    state = saved(first.state_dict())
    torch.manual_seed(12345)
    second = Trainer(task, config, CPU)
    second.load_state_dict(state)
    records += run(second, 2)

    assert records == history
    assert second.epoch == 4
    assert equal(weights(second), weights(whole))
    assert not equal(weights(first), weights(whole))
    rates = [group["lr"] for group in second.state_dict()["optimiser"]["adam"]["param_groups"]]
    assert all((rate == 0) == (config.train.schedule == "cosine") for rate in rates)


def test_what_the_training_items_determine_is_no_part_of_a_checkpoint(
    task: FewShotTask, configure: Configure, case: dict[str, Any]
):
    trainer = Trainer(task, configure(**case), CPU)
    names = trainer.model.state_dict().keys()
    saved_names = trainer.state_dict()["model"].keys()
    assert {name.split(".")[0] for name in names - saved_names} == {"normalisation"}
    assert saved_names == dict(trainer.model.named_parameters()).keys()


def test_same_seed_gives_the_same_numbers_whatever_was_drawn_before(
    task: FewShotTask, configure: Configure, run: Run, case: dict[str, Any]
):
    config = configure(**case)
    torch.manual_seed(1)
    one = run(Trainer(task, config, CPU), 2)
    torch.manual_seed(2)
    trainer = Trainer(task, config, CPU)
    torch.rand(77)
    np.random.default_rng().random(7)
    assert run(trainer, 2) == one
    assert run(Trainer(task, configure(**case | {"seed": 1}), CPU), 2) != one


class NotedTask(FewShotTask):
    """The task itself, noting the steps that it drew."""

    def draw_steps(self, config: PairsConfig, generator: np.random.Generator) -> list[Pairs]:
        steps = super().draw_steps(config, generator)
        self.noted = [*getattr(self, "noted", []), json.dumps([[part.tolist() for part in step] for step in steps])]
        return steps


@pytest.mark.parametrize(("pairs", "num_different"), [("fixed", 1), ("fresh", 3), ("balanced", 3)])
def test_pairs_are_drawn_once_a_trial_or_once_an_epoch(
    featured: FeaturedItems, configure: Configure, run: Run, pairs: str, num_different: int
):
    task = NotedTask(featured, seed=0)
    sizes = {"classes_per_step": 4, "images_per_class": 4} if pairs == "balanced" else {}
    run(Trainer(task, configure(pairs=pairs, **sizes), CPU), 3)
    assert len(task.noted) == 3
    assert len(set(task.noted)) == num_different


def test_another_seed_has_other_pairs_too(featured: FeaturedItems, configure: Configure):
    task = NotedTask(featured, seed=0)
    for seed in (0, 1):
        Trainer(task, configure(seed=seed), CPU).train_epoch()
    assert task.noted[0] != task.noted[1]


def test_first_weights_distance_are_calibrated_on_pairs_of_their_own(featured: FeaturedItems, configure: Configure):
    task = NotedTask(featured, seed=0)
    trainer = Trainer(task, configure(first_weights="distance", pairs="fixed", pairs_per_epoch=4096), CPU)
    trainer.train_epoch()
    calibration, epoch = task.noted
    assert calibration != epoch


def test_evaluating_does_not_change_training(task: FewShotTask, configure: Configure, run: Run, case: dict[str, Any]):
    config = configure(**case)
    evaluated, quiet = Trainer(task, config, CPU), Trainer(task, config, CPU)
    run(evaluated, 3)
    evaluated.evaluate(Split.TRAIN)
    for _ in range(3):
        quiet.train_epoch()
    assert equal(weights(evaluated), weights(quiet))
