"""Disk space: check that the trials which a study lacks fit on the disk of its output, before any work begins."""

import shutil

from pan_model.backbones.architectures import build_backbone_shapes
from pan_model.errors import UserError
from pan_model.files import existing_parent, file_size
from study.config.choices import Regime
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.storage.location import local_path
from study.trials.ledger import count_ended, read_ledger

LEDGER_BYTES = 10**6
"""Disk space that a trial on frozen features needs; half of such trials need more."""

BYTES_PER_PARAMETER = 12
"""Checkpoint bytes for each trained parameter: its value and two moments in 32 bits."""


def check_disk_space(config: StudyConfig) -> None:
    """Raise UserError if the disk of the output has less free space than the missing trials need at least.

    Args:
        config: The study. An object store is not checked.
    """
    path = local_path(config.output)
    if path is None:
        return
    free = shutil.disk_usage(existing_parent(path.absolute())).free
    needed = sum(_num_missing(config, plan) * _trial_bytes(config, plan) for plan in config.plans)
    if free < needed:
        raise UserError(
            f"--output {config.output}: {file_size(free)} are free there, but the trials need at least "
            f"{file_size(needed)}; make room there, or give another --output or fewer --num-trials."
        )


def _num_missing(config: StudyConfig, plan: DatasetPlan) -> int:
    trials = config.results.dataset(plan.dataset).trials
    return max(0, plan.num_trials - count_ended(read_ledger(trials, best=False)))


def _trial_bytes(config: StudyConfig, plan: DatasetPlan) -> int:
    """Return the least number of bytes that a trial writes."""
    if config.regime is Regime.FROZEN:
        return LEDGER_BYTES
    backbone = build_backbone_shapes(plan.features.backbone, plan.features.pooling)
    return LEDGER_BYTES + BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in backbone.parameters())
