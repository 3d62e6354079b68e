"""The cache of a process that runs trials: what is kept, for how long, and that nothing depends on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer
from pan_model.training.trial_cache import TrialCache


def test_a_value_is_computed_once_for_each_key():
    cache, computed = TrialCache(), list[str]()

    def compute(name: str) -> str:
        computed.append(name)
        return name

    assert [cache.get(("kind", name), lambda name=name: compute(name)) for name in ("a", "b", "a")] == ["a", "b", "a"]
    assert computed == ["a", "b"]


def test_the_values_used_least_recently_are_dropped():
    cache, computed = TrialCache(kept_bytes=1000), list[str]()

    def get(name: str, size: int) -> None:
        def compute() -> dict[str, Any]:
            computed.append(name)
            return {"array": np.zeros(size, dtype=np.uint8), "tensors": (torch.zeros(0), None)}

        cache.get(name, compute)

    for name, size in (("a", 400), ("b", 400), ("a", 400), ("c", 400)):
        get(name, size)
    assert cache.num_bytes == 800
    get("a", 400)
    get("b", 400)
    assert computed == ["a", "b", "c", "b"]
    get("too large", 1001)
    assert cache.num_bytes == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"normalisation": "none"},
        {"normalisation": "standardise"},
        {"normalisation": "l2", "feature_power": 0.5},
        {"normalisation": "whiten", "whitening_shrinkage": 0.3, "feature_power": 0.5},
        {"normalisation": "whiten", "whitening_shrinkage": 0.3},
        {"first_weights": "distance"},
    ],
)
def test_a_trainer_after_others_equals_one_in_a_new_process(
    featured: FeaturedItems, configure: Callable[..., TrialConfig], changes: dict[str, Any]
):
    """The cache holds what trials of other, of nearly the same and of the same normalisation have left."""
    cache, cpu = TrialCache(), torch.device("cpu")
    before = [
        {"normalisation": "standardise"},
        {"normalisation": "whiten", "whitening_shrinkage": 0.7, "feature_power": 0.5},
        {"normalisation": "whiten", "whitening_shrinkage": 0.7},
        changes,
        changes,
    ]
    task = FewShotTask(featured, seed=3)
    *_, last = (Trainer(task, configure(**trial), cpu, cache=cache) for trial in before)
    alone = Trainer(FewShotTask(featured, seed=3), configure(**changes), cpu)
    for trainer in (last, alone):
        trainer.train_epoch()
    ours, theirs = last.model.state_dict(), alone.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert np.array_equal(last.normalised_features(), alone.normalised_features())


def test_trials_that_whiten_share_the_decomposition_of_the_covariance(
    featured: FeaturedItems, configure: Callable[..., TrialConfig], monkeypatch: pytest.MonkeyPatch
):
    decomposed = list[int]()
    decompose = torch.linalg.eigh

    def count(covariance: torch.Tensor) -> Any:
        decomposed.append(len(covariance))
        return decompose(covariance)

    monkeypatch.setattr(torch.linalg, "eigh", count)
    cache, task = TrialCache(), FewShotTask(featured, seed=3)
    for shrinkage, power in ((0.1, 1.0), (0.2, 1.0), (0.3, 1.0), (0.3, 0.5), (0.4, 0.5)):
        changes = {"normalisation": "whiten", "whitening_shrinkage": shrinkage, "feature_power": power}
        Trainer(task, configure(**changes), torch.device("cpu"), cache=cache)
    assert decomposed == [featured.feature_dim] * 2
