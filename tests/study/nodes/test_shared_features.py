"""Trials of a node share one copy of the features, in the object store's memory."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray import tune

from pan_model.config import TrialConfig
from pan_model.data.featured_items import FeaturedItems
from pan_model.tasks.few_shot import FewShotTask
from pan_model.training.trainer import Trainer

WIDTH = 2048
TRIAL = {
    "encoder": "siamese",
    "supervision": "unsupervised",
    "num_conditions": 4,
    "learning_rate": 1e-2,
    "pairs": "fresh",
    "pairs_per_epoch": 64,
    "steps_per_epoch": 1,
    "max_epochs": 1,
    "seed": 0,
}


@pytest.fixture
def one_node() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


class Looking(tune.Trainable):
    """Trains an epoch on the features, then says in which memory they lie."""

    def setup(self, config: dict[str, Any], featured: FeaturedItems | None = None) -> None:
        assert featured is not None
        self._features = featured.features
        self._trainer = Trainer(FewShotTask(featured, seed=0), TrialConfig.from_flat(TRIAL), torch.device("cpu"))

    def step(self) -> dict[str, Any]:
        self._trainer.train_epoch()
        features, seen = self._features, self._trainer._inputs._features
        start, file = shared_memory_at(features.ctypes.data)
        return {
            "writeable": features.flags.writeable,
            "file": file,
            "place": features.ctypes.data - start,
            "copied": seen.data_ptr() != features.ctypes.data,
            "sum": float(features.sum()),
            "done": True,
        }


def shared_memory_at(address: int) -> tuple[int, str]:
    """Where the mapping of shared memory that holds an address begins, and which file it is of."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        ends, _, offset, device, inode, *path = line.split()
        start, stop = (int(end, 16) for end in ends.split("-"))
        if start <= address < stop:
            assert path
            assert path[0].startswith("/dev/shm/plasma"), f"{path} is not the object store's"
            return start - int(offset, 16), f"{device} {inode}"
    raise AssertionError("not mapped")


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("one_node")
def test_trials_map_the_same_features_and_copy_none(featured: FeaturedItems, tmp_path: Path):
    features = np.random.default_rng(0).normal(size=(len(featured.classes), WIDTH)).astype(np.float32)
    trainable = tune.with_parameters(Looking, featured=replace(featured, features=features))
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"number": tune.grid_search([0, 1])},
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False), verbose=0
        ),
    )
    one, two = [trial.metrics for trial in tuner.fit()]
    assert one["pid"] != two["pid"]
    for name in ("writeable", "file", "place", "copied", "sum"):
        assert one[name] == two[name], name
    assert not one["writeable"]
    assert not one["copied"]
    assert one["sum"] == float(features.sum())
