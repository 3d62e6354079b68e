"""The baseline paper_setting: the paper's supervised setting of a dataset, trained once and kept in the cache.

Its epoch is chosen on val, as a study chooses PAN's; a final training then trains it again on train + val, as PAN is.
In a final training the paper's own epochs, with all its pairs, are cut in two ways, so that they take minutes and not
days: they end when val has not improved for a quarter of the looks at it, and there are at most 100 of them, or
as many as have 5e6 pairs where these are more.
Where no attribute of the training images is certain, the same setting without labels stands in for it.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
import torch

from pan_model.config import TrialConfig
from pan_model.data.splits import Split
from pan_model.datasets import find_dataset
from pan_model.errors import UserError
from pan_model.files import check_writable
from pan_model.flat import Scalar
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.pan import Pan
from pan_model.tasks.task import Task
from pan_model.training.trainer import Trainer
from study.config.identity import content_of, digest
from study.storage.files import write_whole
from study.terminal import Show
from study.trials.preparation import PreparedDataset

SEED = 0
LOOKS = 20
"""How often val is looked at, at most, while an epoch is chosen; always in the last one."""

SEARCH_PAIRS = 8192
"""Pairs of an epoch in a search; the final training takes as many as the paper."""

PATIENT_LOOKS = LOOKS // 4
"""In a final training, looks without a better value on val after which no epoch is tried any more."""

MOST_PAIRS = 5_000_000
"""Pairs that a final training sees in all epochs together, where these are more than LEAST_EPOCHS."""

LEAST_EPOCHS = 100
"""Epochs that are never cut: as many as the paper has on CUB."""

VERSION = 4
"""Part of the key in the cache: raise it when the same setting comes to train differently."""


class PaperSetting(NamedTuple):
    """What was trained, the model and where it is, and after how many epochs, chosen of max_epochs."""

    config: TrialConfig
    model: Pan
    device: torch.device
    epoch: int
    max_epochs: int


def paper_setting_of_search(
    prepared: PreparedDataset, setting: Mapping[str, Scalar], *, max_epochs: int, cache_dir: Path, show: Show
) -> PaperSetting:
    """Train on train for a study's epochs, of at most 8192 pairs each, and keep the epoch that val likes best."""
    config = _configure(prepared, setting, pairs_per_epoch=SEARCH_PAIRS, max_epochs=max_epochs)
    return _best_on_val(prepared, config, LOOKS, cache_dir, show)


def paper_setting_of_final(
    prepared: PreparedDataset, setting: Mapping[str, Scalar], *, paper_epochs: int, cache_dir: Path, show: Show
) -> PaperSetting:
    """Choose the best of the paper's epochs on val, with all its pairs; train so many again on train + val.

    Of the paper's epochs there are 100, or as many as have 5e6 pairs where these are more: max_epochs of the result. No
    more are tried when val has not improved for a quarter of the looks.
    """
    config = _configure(prepared, setting, pairs_per_epoch=0, max_epochs=paper_epochs)
    task = find_dataset(prepared.dataset).task(prepared.featured, seed=SEED)
    max_epochs = min(paper_epochs, max(LEAST_EPOCHS, MOST_PAIRS // count_pairs(task, config)))
    config = _with_epochs(config, max_epochs)
    epoch = _best_on_val(prepared, config, PATIENT_LOOKS, cache_dir, show).epoch
    paper = _cached(
        prepared,
        _with_epochs(config, epoch),
        cache_dir,
        (Split.TRAIN, Split.VAL),
        lambda trainer: _train_to(trainer, epoch, show),
    )
    return paper._replace(max_epochs=max_epochs)


def count_pairs(task: Task, config: TrialConfig) -> int:
    """The pairs that an epoch has."""
    if isinstance(config.encoder, GraphConfig):
        task, _ = task.split_edges(config.train.seed)
    return sum(len(step.same) for step in task.draw_steps(config.pairs, np.random.default_rng(config.train.seed)))


def _with_epochs(config: TrialConfig, max_epochs: int) -> TrialConfig:
    return replace(config, train=replace(config.train, max_epochs=max_epochs))


def _configure(
    prepared: PreparedDataset, setting: Mapping[str, Scalar], *, pairs_per_epoch: int, max_epochs: int
) -> TrialConfig:
    featured = prepared.featured
    if not featured.certain[featured.items_of((Split.TRAIN,))].any():
        unlabelled = {key: value for key, value in setting.items() if key not in {"gate", "lambda"}}
        setting = unlabelled | {"supervision": "unsupervised"}
    return TrialConfig.from_flat(
        {**setting, "pairs_per_epoch": pairs_per_epoch, "max_epochs": max_epochs, "seed": SEED}
    )


def _best_on_val(
    prepared: PreparedDataset, config: TrialConfig, patience: int, cache_dir: Path, show: Show
) -> PaperSetting:
    return _cached(prepared, config, cache_dir, (Split.TRAIN,), lambda trainer: _train_to_best(trainer, patience, show))


def _cached(
    prepared: PreparedDataset,
    config: TrialConfig,
    cache_dir: Path,
    train_on: tuple[Split, ...],
    train: Callable[[Trainer], None],
) -> PaperSetting:
    """The model in the cache, or a new one that goes there; `train` leaves the trainer at the epoch that counts."""
    key = digest(
        [
            VERSION,
            prepared.fingerprint,
            content_of(prepared.features),
            config.to_flat(),
            [str(split) for split in train_on],
        ]
    )
    file = cache_dir / "paper_setting" / f"{key}.pt"
    task = find_dataset(prepared.dataset).task(prepared.featured, seed=SEED, train_on=train_on)
    trainer = Trainer(task, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    if not _restore(trainer, file):
        check_writable(file.parent, "the baseline paper_setting")
        trainer = Trainer(task, config, trainer.device)  # a damaged file may have been restored in part
        train(trainer)
        _save(trainer, file)
    return PaperSetting(config, trainer.model, trainer.device, trainer.epoch, config.train.max_epochs)


def _restore(trainer: Trainer, file: Path) -> bool:
    """Whether the file was there and whole; a damaged one counts as missing."""
    try:
        trainer.load_state_dict(torch.load(file, weights_only=True, map_location=trainer.device))
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, UnpicklingError):
        return False
    return True


def _save(trainer: Trainer, file: Path) -> None:
    try:
        write_whole(file, lambda path: torch.save(trainer.state_dict(), path))
    except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
        raise UserError(f"{file}: cannot be written ({error}); give another --cache-dir.") from error


def _train_to(trainer: Trainer, epoch: int, show: Show) -> None:
    while trainer.epoch < epoch:
        trainer.train_epoch()
        show(lambda: f"baseline paper_setting: epoch {trainer.epoch}/{trainer.config.train.max_epochs}")


def _train_to_best(trainer: Trainer, patience: int, show: Show) -> None:
    """Train to the epoch that val likes best; ends after so many looks in a row that brought nothing better."""
    epochs, task = trainer.config.train.max_epochs, trainer.task
    best, state, in_vain = None, None, 0
    for epoch in sorted({round(epochs * look / LOOKS) for look in range(1, LOOKS + 1)} - {0}):
        _train_to(trainer, epoch, show)
        value = float(trainer.evaluate(Split.VAL).means()[task.objective.name])
        in_vain += 1
        if math.isfinite(value) and task.objective.is_better(value, than=best):
            best, state, in_vain = value, deepcopy(trainer.state_dict()), 0
        if state is not None and in_vain >= patience:
            break
    if state is None:
        raise UserError(
            f"baseline paper_setting: {task.objective.name} on val must be a finite number in some epoch, but was in "
            f"none of {epochs}; look for extreme values in the images and the backbone's weights."
        )
    trainer.load_state_dict(state)
