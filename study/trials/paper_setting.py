"""The baseline paper_setting: the paper's supervised setting of a dataset, trained once and kept in the cache.

The number of epochs is chosen on val, as that of PAN is. The model is evaluated on val in up to 20 epochs, evenly
spaced and including the last epoch. The best of these epochs is kept.

In a search, the comparison is quick: the model trains on train, with the epochs and the pairs of the study's trials. In
most studies it is a first trial; it is trained apart from them only if the search space leaves it out.

In a final training, the comparison is as in the paper: each epoch has all pairs of the training images, and the number
of epochs is the paper's. Two rules limit the time to minutes instead of days:

1. The number of epochs is at most 100, or as many as contain 5e6 pairs if these are more.
2. The training ends after 5 evaluations in a row that were not better than the best one.

The model is then trained again on train + val for the best number of epochs.

If no attribute of any training image is certain, the setting is trained without labels.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import numpy as np
import torch
from optuna.trial import FixedTrial

from pan_model.config import TrialConfig
from pan_model.data.splits import Split, ValQuestions
from pan_model.errors import UserError
from pan_model.files import atomic_write, check_writable
from pan_model.flat import Scalar
from pan_model.model.encoders.graph import GraphConfig
from pan_model.model.pan import Pan
from pan_model.tasks.task import Task
from pan_model.training.optimisation import Schedule
from pan_model.training.trainer import Trainer
from search_spaces import SPACES
from study.config.identity import content_of, digest
from study.terminal import Show
from study.trials.preparation import PreparedDataset

SEED = 0
NUM_EVALUATIONS = 20
"""Largest number of evaluations on val while the number of epochs is chosen."""

FINAL_PATIENCE = NUM_EVALUATIONS // 4
"""Number of evaluations without a better value on val that ends a final training."""

FINAL_MAX_PAIRS = 5_000_000
"""Number of pairs, over all epochs, that limits the epochs of a final training to more than FINAL_MIN_EPOCHS."""

FINAL_MIN_EPOCHS = 100
"""Number of epochs that the limit on pairs never reduces: the paper's number on CUB."""

TRAIN_AND_VAL = (Split.TRAIN, Split.VAL)

CACHE_VERSION = 5
"""Part of the cache key. Increase it when a change of the code changes the result of a training."""


class PaperSetting(NamedTuple):
    """A trained baseline.

    Attributes:
        config: The configuration of the model.
        model: The trained model.
        device: The device of the model.
        epoch: The number of epochs of its training.
        max_epochs: The largest number of epochs that was considered.
    """

    config: TrialConfig
    model: Pan
    device: torch.device
    epoch: int
    max_epochs: int


def setting_of_search(dataset: str, max_epochs: int) -> dict[str, Scalar]:
    """Return the configuration of paper_setting in a search, without the seed: that of a first trial.

    Args:
        dataset: The name of the dataset.
        max_epochs: The epochs of the study's trials.
    """
    space = SPACES[dataset]
    suggested = space.suggest(FixedTrial(space.paper_setting))
    return {key: value for key, value in suggested.items() if key != "schedule_epochs"} | {"max_epochs": max_epochs}


def is_setting(config: Mapping[str, Scalar], setting: Mapping[str, Scalar]) -> bool:
    """Return whether a trial's configuration is a setting, whatever its seed and its precision are."""
    others = {"seed", "schedule_epochs", "precision"}
    return {key: value for key, value in config.items() if key not in others} == setting


def paper_setting_of_search(
    prepared: PreparedDataset, setting: Mapping[str, Scalar], *, cache_dir: Path, show: Show
) -> PaperSetting:
    """Train on train and keep the epoch that is best on val, or read the result from the cache.

    Args:
        prepared: The dataset with its features.
        setting: What `setting_of_search` returns.
        cache_dir: The cache folder of the trained model.
        show: Shows the progress.

    Raises:
        UserError: If the cache cannot be written, or the value on val is never a finite number.
    """
    config = _configure(prepared, setting)
    return _best_on_val(prepared, config, NUM_EVALUATIONS, cache_dir, show)


Announce = Callable[[int, float], None]
"""Called after the first epoch with the largest number of epochs, and the seconds that the first one took."""


def paper_setting_of_final(
    prepared: PreparedDataset,
    setting: Mapping[str, Scalar],
    *,
    paper_epochs: int,
    cache_dir: Path,
    show: Show,
    announce: Announce,
) -> PaperSetting:
    """Choose the number of epochs on val with all pairs, then train that number of epochs on train + val.

    Args:
        prepared: The dataset with its features.
        setting: The paper's setting, as a flat configuration.
        paper_epochs: The number of epochs in the paper.
        cache_dir: The cache folder of the trained models.
        show: Shows the progress.
        announce: Called after the first epoch; not called if the model is in the cache.

    Returns:
        The model trained on train + val. Its max_epochs is the number of epochs after the limits of this module.

    Raises:
        UserError: If the cache cannot be written, or the value on val is never a finite number.
    """
    epochs = choose_epochs(
        prepared, setting, paper_epochs=paper_epochs, cache_dir=cache_dir, show=show, announce=announce
    )
    return train_on_train_and_val(prepared, setting, [(epochs, True)], cache_dir=cache_dir, show=show)


class ChosenEpochs(NamedTuple):
    """The number of epochs that was best on val, and the largest number that was considered."""

    best: int
    considered: int


def choose_epochs(
    prepared: PreparedDataset,
    setting: Mapping[str, Scalar],
    *,
    paper_epochs: int,
    cache_dir: Path,
    show: Show,
    announce: Announce,
    improved: Callable[[ChosenEpochs], None] = lambda _epochs: None,
) -> ChosenEpochs:
    """Choose the number of epochs of a final training on val, with all pairs of the training images.

    Args:
        prepared: The dataset with its features.
        setting: The paper's setting, as a flat configuration.
        paper_epochs: The number of epochs in the paper.
        cache_dir: The cache folder of the trained models.
        show: Shows the progress.
        announce: Called after the first epoch; not called if the model is in the cache.
        improved: Called whenever an evaluation is better than all before; the numbers of epochs ascend.

    Raises:
        UserError: If the cache cannot be written, or the value on val is never a finite number.
    """
    config = _configure(prepared, setting, pairs_per_epoch=0, max_epochs=paper_epochs)
    task = prepared.row.make_task(prepared.featured, seed=SEED)
    max_epochs = min(paper_epochs, max(FINAL_MIN_EPOCHS, FINAL_MAX_PAIRS // count_pairs(task, config)))
    best = _best_on_val(
        prepared,
        _with_epochs(config, max_epochs),
        FINAL_PATIENCE,
        cache_dir,
        show,
        announce,
        improved=lambda epoch: improved(ChosenEpochs(epoch, max_epochs)),
    )
    return ChosenEpochs(best.epoch, max_epochs)


def train_on_train_and_val(
    prepared: PreparedDataset,
    setting: Mapping[str, Scalar],
    epochs: Iterable[tuple[ChosenEpochs, bool]],
    *,
    cache_dir: Path,
    show: Show,
) -> PaperSetting:
    """Train on train + val for the chosen number of epochs, or read the result from the cache.

    The training may begin while the number is still being chosen: the best number so far only grows, and with a
    constant learning rate the first epochs of a training do not depend on their number.

    Args:
        prepared: The dataset with its features.
        setting: The paper's setting, as a flat configuration.
        epochs: Ascending numbers of epochs, each with whether it is the chosen one, which is the last.
        cache_dir: The cache folder of the trained models.
        show: Shows the progress.

    Returns:
        The model. Its max_epochs is the largest number of epochs that was considered.

    Raises:
        UserError: If the cache cannot be written.
    """
    begun: Trainer | None = None
    chosen = ChosenEpochs(0, 0)
    for chosen, is_final in epochs:
        config = _configure(prepared, setting, pairs_per_epoch=0, max_epochs=chosen.best)
        if not is_final and config.train.schedule is Schedule.CONSTANT:
            begun = begun or _new_trainer(prepared, config, TRAIN_AND_VAL)
            _train_to(begun, chosen.best, show)

    def train(trainer: Trainer) -> None:
        if begun is not None:
            trainer.load_state_dict(begun.state_dict())
        _train_to(trainer, chosen.best, show)

    config = _configure(prepared, setting, pairs_per_epoch=0, max_epochs=chosen.best)
    return _cached(prepared, config, cache_dir, TRAIN_AND_VAL, train)._replace(max_epochs=chosen.considered)


def count_pairs(task: Task, config: TrialConfig) -> int:
    """Return the number of training pairs in an epoch."""
    if isinstance(config.encoder, GraphConfig):
        task, _ = task.split_edges(config.train.seed)
    return sum(len(step.same) for step in task.draw_steps(config.pairs, np.random.default_rng(config.train.seed)))


def _with_epochs(config: TrialConfig, max_epochs: int) -> TrialConfig:
    return replace(config, train=replace(config.train, max_epochs=max_epochs))


def _configure(prepared: PreparedDataset, setting: Mapping[str, Scalar], **changes: Scalar) -> TrialConfig:
    featured = prepared.featured
    if not featured.certain[featured.items_of((Split.TRAIN,))].any():
        unlabelled = {key: value for key, value in setting.items() if key not in {"gate", "lambda"}}
        setting = unlabelled | {"supervision": "unsupervised"}
    return TrialConfig.from_flat({**setting, **changes, "seed": SEED})


def _best_on_val(
    prepared: PreparedDataset,
    config: TrialConfig,
    patience: int,
    cache_dir: Path,
    show: Show,
    announce: Announce = lambda _epochs, _epoch_s: None,
    improved: Callable[[int], None] = lambda _epoch: None,
) -> PaperSetting:
    def train(trainer: Trainer) -> None:
        started_s = time.monotonic()
        _train_to(trainer, 1, show)
        announce(trainer.config.train.max_epochs, time.monotonic() - started_s)
        _train_to_best(trainer, patience, show, improved)

    return _cached(prepared, config, cache_dir, (Split.TRAIN,), train)


def _cached(
    prepared: PreparedDataset,
    config: TrialConfig,
    cache_dir: Path,
    train_on: tuple[Split, ...],
    train: Callable[[Trainer], None],
) -> PaperSetting:
    """Return the model from the cache, or train and cache it; `train` leaves the trainer at the epoch to keep."""
    task_name = prepared.options.get("task")
    key = digest(
        [
            CACHE_VERSION,
            prepared.fingerprint,
            content_of(prepared.features),
            config.to_flat(),
            [str(split) for split in train_on],
            *([task_name] if task_name else []),
            *([questions.value] if (questions := prepared.val_questions) is not ValQuestions.FULL else []),
        ]
    )
    file = cache_dir / "paper_setting" / f"{key}.pt"
    trainer = _new_trainer(prepared, config, train_on)
    is_cached = file.exists()
    if not (is_cached and _restore(trainer, file)):
        check_writable(file.parent, "the baseline paper_setting")
        if is_cached:  # a damaged file may have been restored in part
            trainer = _new_trainer(prepared, config, train_on)
        train(trainer)
        _save(trainer, file)
    return PaperSetting(config, trainer.model, trainer.device, trainer.epoch, config.train.max_epochs)


def _new_trainer(prepared: PreparedDataset, config: TrialConfig, train_on: tuple[Split, ...]) -> Trainer:
    task = prepared.row.make_task(prepared.featured, seed=SEED, train_on=train_on)
    return Trainer(task, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def _restore(trainer: Trainer, file: Path) -> bool:
    """Return whether the trainer was restored from the file; a damaged file counts as missing."""
    try:
        trainer.load_state_dict(torch.load(file, weights_only=True, map_location=trainer.device))
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, UnpicklingError):
        return False
    return True


def _save(trainer: Trainer, file: Path) -> None:
    try:
        with atomic_write(file) as temporary:
            torch.save(trainer.state_dict(), temporary)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
        raise UserError(f"{file}: cannot be written ({error}); give another --cache-dir.") from error


def _train_to(trainer: Trainer, epoch: int, show: Show) -> None:
    while trainer.epoch < epoch:
        trainer.train_epoch()
        show(lambda: f"baseline paper_setting: epoch {trainer.epoch}/{trainer.config.train.max_epochs}")


def _train_to_best(trainer: Trainer, patience: int, show: Show, improved: Callable[[int], None]) -> None:
    """Leave the trainer at the epoch that is best on val; stop after `patience` evaluations that were not better."""
    epochs, task = trainer.config.train.max_epochs, trainer.task
    best, state, num_worse = None, None, 0
    for epoch in sorted({round(epochs * number / NUM_EVALUATIONS) for number in range(1, NUM_EVALUATIONS + 1)} - {0}):
        _train_to(trainer, epoch, show)
        value = float(trainer.evaluate(Split.VAL).means()[task.objective.name])
        num_worse += 1
        if math.isfinite(value) and task.objective.is_better(value, than=best):
            best, state, num_worse = value, deepcopy(trainer.state_dict()), 0
            improved(epoch)
        if state is not None and num_worse >= patience:
            break
    if state is None:
        raise UserError(
            f"baseline paper_setting: {task.objective.name} on val must be a finite number in at least one epoch, got "
            f"none in {epochs}; check the images and the backbone's weights for extreme values."
        )
    trainer.load_state_dict(state)
