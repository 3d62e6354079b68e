"""Requirements of the disk of the output, and of nodes that join after the preflight.

The disk is checked before any work. The first trial on a node that joins checks the node before it writes.
"""

import hashlib
import shutil
import time
from dataclasses import dataclass

from pan_model.backbones.architectures import build_backbone_shapes
from pan_model.errors import UserError
from pan_model.files import existing_parent, file_size
from study.config.choices import Regime
from study.config.dataset_plan import DatasetPlan
from study.config.study_config import StudyConfig
from study.nodes.node_probe import ABSENT, code_digest, gpu_problem
from study.storage.files import read_if_exists
from study.storage.location import local_path
from study.storage.paths import StudyPaths
from study.trials.ledger import count_ended, read_ledger
from study.trials.selection.confirmation import count_most_runs

REQUIREMENT_FAILURE = "requirement_failure"
"""Key, in the result of a trial, of the reason why its node must not run trials."""

MOUNT_TIMEOUT_S = 30.0
"""Time until a shared folder is mounted on a node that has just started, at most."""

LEDGER_BYTES = 10**6
"""Disk space that a trial on frozen features needs; half of such trials need more."""

BYTES_PER_PARAMETER = 12
"""Checkpoint bytes for each trained parameter: its value and two moments in 32 bits."""


@dataclass(frozen=True, kw_only=True)
class NodeRequirements:
    """The requirements that a node must meet to run trials.

    Attributes:
        results: The paths of the study, which the node must share.
        study: SHA-256 (hex) of study.json.
        code: SHA-256 (hex) of the driver's code, see `node_probe.code_digest`.
        gpu: Whether torch must be able to use a GPU.
        mount_timeout_s: Seconds to wait for study.json.
    """

    results: StudyPaths
    study: str
    code: str
    gpu: bool
    mount_timeout_s: float


def node_requirements(results: StudyPaths, *, gpu: bool) -> NodeRequirements:
    """Return the requirements of a study: the code of this machine and the study.json that has been written.

    Args:
        results: The paths of the study.
        gpu: Whether nodes must be able to use a GPU.
    """
    return NodeRequirements(
        results=results,
        study=_study_digest(results),
        code=code_digest(),
        gpu=gpu,
        mount_timeout_s=MOUNT_TIMEOUT_S,
    )


def check_requirements(requirements: NodeRequirements) -> str:
    """Return why this node must not run trials, and the way out; empty if it meets the requirements."""
    if code_digest() != requirements.code:
        return "runs other code than the study; bring it to the same state (`ray up` again, or `make setup`)"
    end_s = time.monotonic() + requirements.mount_timeout_s
    while (digest := _study_digest(requirements.results)) != requirements.study and time.monotonic() < end_s:
        time.sleep(0.5)
    if digest != requirements.study:
        reason = "it is not there" if digest == ABSENT else "another one is there"
        file = requirements.results.study
        return f"does not share {file}, {reason}; give --output on a file system that all nodes share"
    if requirements.gpu and (problem := gpu_problem()):
        return f"has a GPU that cannot be used: {problem}; fix it, or give --gpus-per-trial 0"
    return ""


def _study_digest(results: StudyPaths) -> str:
    try:
        content = read_if_exists(results.study, "look at its rights")
    except UserError:  # an object store that does not answer raises OSError instead, and the trial starts again
        return ABSENT
    return ABSENT if content is None else hashlib.sha256(content).hexdigest()


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
    """Return the number of trials that have not ended, and of runs that may confirm the winner."""
    trials = config.results.dataset(plan.dataset).trials
    confirming = count_most_runs(config.num_confirmed, plan.num_trials, len(plan.space.first_trials))
    return max(0, plan.num_trials - count_ended(read_ledger(trials, best=False))) + confirming


def _trial_bytes(config: StudyConfig, plan: DatasetPlan) -> int:
    """Return the least number of bytes that a trial writes."""
    if config.regime is Regime.FROZEN:
        return LEDGER_BYTES
    backbone = build_backbone_shapes(plan.features.backbone, plan.features.pooling)
    return LEDGER_BYTES + BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in backbone.parameters())
