"""Disk need: whether the output's disk holds the least that a study's trials leave there."""

import os
import shutil
from pathlib import Path

import torch

from pan_model.backbones.architectures import build_backbone
from pan_model.files import existing_parent
from study.config.regime import Regime
from study.config.study_config import DatasetPlan, StudyConfig
from study.nodes.finding import Finding

LEDGER_BYTES = 10**6
"""What a trial on frozen features leaves on disk; half of them leave more."""

BYTES_PER_PARAMETER = 12
"""What a checkpoint holds of each parameter that is trained: itself and two moments, in 32 bits."""


def short_disk(config: StudyConfig) -> list[Finding]:
    """That the output's disk is too small for the least that all trials leave there."""
    if not isinstance(config.output, Path):
        return []
    free = shutil.disk_usage(existing_parent(config.output.absolute())).free
    needed = sum(plan.num_trials * _ledger_bytes(config, plan) for plan in config.plans)
    if free >= needed:
        return []
    what = f"has {free / 1e9:.1f} GB free for --output {config.output}, and {needed / 1e9:.1f} GB will go there"
    return [Finding(os.uname().nodename, what, "give another --output or fewer --num-trials")]


def _ledger_bytes(config: StudyConfig, plan: DatasetPlan) -> int:
    if config.regime is Regime.FROZEN:
        return LEDGER_BYTES
    with torch.device("meta"):
        backbone = build_backbone(plan.features.backbone, plan.features.pooling)
    return LEDGER_BYTES + BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in backbone.parameters())
