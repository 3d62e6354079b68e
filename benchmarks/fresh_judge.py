"""Judge configurations on val questions that no search has seen, and on test, with training seeds of its own.

What a study leaves is a configuration and an epoch, so these are judged, not the weights of the study's own trial:

- on val: trained from each of VAL_SEEDS and judged as a run of a confirmation is, with other classes of train and val
  held out (`Task.with_fresh_val`), from seeds that neither studies nor confirmations have.
- on test: trained on train + val with each of TEST_SEEDS.

All configurations have the same questions. Each is judged once: the values are kept in a file, which is named by
everything that they depend on, except this code.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rule_outcomes import QUESTION_SEED, TEST_SEEDS, VAL_SEEDS, Judged

from pan_model.config import TrialConfig
from pan_model.data.splits import Split, TaskName
from pan_model.files import atomic_write
from pan_model.reproducibility import computing_threads, deterministic_arithmetic
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer
from pan_model.training.trial_cache import TrialCache
from study.config.study_config import StudyConfig
from study.trials.preparation import Preparation, PreparedDataset, prepare_dataset


def prepare(study: Path, dataset: str) -> PreparedDataset:
    """Return the dataset of a finished study with its features, which are in its cache."""
    config = json.loads((study / "study.json").read_text(encoding="utf-8"))["config"]
    chosen = StudyConfig(
        datasets=(dataset,),
        output=study / "unused",
        data_root=Path(config["data_root"]),
        cache_dir=Path(config["cache_dir"]),
        backbone=config["backbone"],
        weights=config["weights"],
        task=None if config["task"] is None else TaskName(config["task"]),
    )
    (plan,) = chosen.plans
    return prepare_dataset(
        Preparation(
            dataset=dataset,
            data_root=chosen.data_root,
            cache_dir=chosen.cache_dir,
            features=plan.features,
            options=plan.options,
        )
    )


class Judge:
    """Trains and scores configurations of one dataset.

    Args:
        prepared: The dataset with its features.
    """

    def __init__(self, prepared: PreparedDataset) -> None:
        row, featured = prepared.row, prepared.featured
        searched = row.make_task(featured, seed=QUESTION_SEED)
        self._fresh = [searched.with_fresh_val(QUESTION_SEED, part) for part in range(len(VAL_SEEDS))]
        self._train_and_val = row.make_task(featured, seed=QUESTION_SEED, train_on=(Split.TRAIN, Split.VAL))
        self._start = prepared.start
        self._caches = {task: TrialCache() for task in (*self._fresh, self._train_and_val)}

    def judge(self, config: Mapping[str, Any], epoch: int, file: Path) -> Judged:
        """Return the values of a configuration trained for a number of epochs, and write them to a file."""
        typed = TrialConfig.from_flat(dict(config))
        with computing_threads(1), deterministic_arithmetic():
            judged = Judged(
                val=[
                    self._evaluate(task, Split.VAL, typed, epoch, seed)
                    for task, seed in zip(self._fresh, VAL_SEEDS, strict=True)
                ],
                test=[self._evaluate(self._train_and_val, Split.TEST, typed, epoch, seed) for seed in TEST_SEEDS],
            )
        content = {**asdict(judged), "epoch": epoch, "config": dict(config)}
        with atomic_write(file) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return judged

    def _evaluate(self, task: Task, split: Split, config: TrialConfig, epoch: int, seed: int) -> float:
        """Train on a task from a seed, and return the objective on a split."""
        config = replace(config, train=replace(config.train, seed=seed))
        trainer = Trainer(task, config, torch.device("cpu"), self._start, self._caches[task])
        while trainer.epoch < epoch:
            trainer.train_epoch()
        return float(task.evaluate(trainer.scorer(split), split)[task.objective.name].mean())
