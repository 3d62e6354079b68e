"""What differs where `ray submit` or `ray job submit` runs a study: threads are few, and a job's folder goes away."""

import os
from collections.abc import Mapping
from pathlib import Path

from pan_model.errors import UserError
from study.nodes.deployment import IN_A_JOB, is_sent
from study.storage.location import Location


def use_all_threads(environment: Mapping[str, str] = os.environ) -> int | None:
    """Let the driver's own work, features and baselines, use every core again; gives how many, if it had to.

    Ray exports OMP_NUM_THREADS=1 for all that it runs on a head node. Trials set their threads themselves.
    """
    if not is_sent(environment) or environment.get("OMP_NUM_THREADS") != "1":
        return None
    import torch  # takes a second, which --help need not wait for

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    return cores


def check_output_stays(output: Location, environment: Mapping[str, str] = os.environ) -> None:
    """UserError for a relative output in a Ray job: its working folder goes away with it."""
    if IN_A_JOB in environment and isinstance(output, Path) and not output.is_absolute():
        raise UserError(
            f"output must be absolute in a Ray job, whose working folder is thrown away, got '{output}'; "
            "give --output or set PAN_STUDY_OUTPUT on the head node."
        )
