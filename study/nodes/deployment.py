"""Deployment: check that this machine runs the code that the user submitted, and undo limits that Ray sets.

`ray submit` copies study/run.py only. The package comes from the last `ray up` or `ray rsync-up`, so it may be older
than the user's checkout.
"""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from pan_model.errors import UserError
from study.config.provenance import git_commit
from study.storage.location import Location, local_path

PACKAGE = Path(__file__).resolve().parents[1]
LOCK = "requirements.lock"
VERSION = "PAN_STUDY_VERSION"
"""Environment variable with the version that a cluster's YAML requires."""

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Environment variable that Ray sets in jobs of `ray job submit`."""


def check_code(
    script: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    package: Path = PACKAGE,
    prefix: Path = Path(sys.prefix),
) -> None:
    """Raise UserError if the package does not match the script, the version of the cluster's YAML, or the lock.

    Args:
        script: The script that runs.
        environment: The environment variables of the process.
        package: The folder of the package `study`.
        prefix: The virtual environment. Its file .installed is compared with the lock if the process was submitted; on
            a user's machine `make setup` compares them.
    """
    _check_script(script, package)
    _check_version(environment.get(VERSION))
    if is_submitted(script, environment, package):
        _check_lock(package.parent / LOCK, prefix / ".installed")


def describe_code() -> str:
    """Return a line with the version, the folder and the commit of the code."""
    return f"the code is PAN Study {version('pan-study')} of {PACKAGE.parent}, commit {git_commit()}"


def is_submitted(script: Path | None, environment: Mapping[str, str] = os.environ, package: Path = PACKAGE) -> bool:
    """Return whether `ray submit` or `ray job submit` started this process.

    `ray submit` runs a copy of study/run.py that is not in the package. `ray job submit` sets an environment variable.
    """
    return IN_A_JOB in environment or (script is not None and script.resolve() != package / "run.py")


def use_all_threads(script: Path | None, environment: Mapping[str, str] = os.environ) -> int | None:
    """Undo Ray's limit of one thread for the work of the driver: features and baselines.

    Ray exports OMP_NUM_THREADS=1 to the processes that it runs on a head node. In other processes the user has set the
    limit, as in a Slurm script, and it stays. Trials set their own number of threads.

    Args:
        script: The script that runs.
        environment: The environment variables of the process.

    Returns:
        The new number of threads, or None if the limit stays.
    """
    if not is_submitted(script, environment) or environment.get("OMP_NUM_THREADS") != "1":
        return None
    import torch  # here, since importing torch takes a second

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    return cores


def check_output_stays(output: Location, environment: Mapping[str, str] = os.environ) -> None:
    """Raise UserError for a relative output in a Ray job, whose working folder is deleted when the job ends."""
    if IN_A_JOB in environment and (path := local_path(output)) is not None and not path.is_absolute():
        raise UserError(
            f"output must be absolute in a Ray job, whose working folder is deleted, got '{output}'; "
            "give --output or set PAN_STUDY_OUTPUT on the head node."
        )


def _check_script(script: Path | None, package: Path) -> None:
    packaged = package / "run.py"
    if script is None or script.resolve() == packaged or script.read_text("utf-8") == packaged.read_text("utf-8"):
        return
    raise UserError(
        f"{script}: is not the study/run.py of {package.parent}, which it would run: one of them is older; "
        "in the checkout, run `ray rsync-up cluster/FILE.yaml` to copy its code to the cluster."
    )


def _check_version(wanted: str | None) -> None:
    installed = version("pan-study")
    if wanted and wanted != installed:
        raise UserError(
            f"{VERSION} must be the version that is installed, {installed} at {PACKAGE.parent}, got '{wanted}'; "
            "in the checkout, run `ray up cluster/FILE.yaml` to copy and install its code."
        )


def _check_lock(lock: Path, installed: Path) -> None:
    """Compare the lock with the end of .installed, where `make setup` copies the lock that it installed."""
    if not (lock.is_file() and installed.is_file()):
        return
    if not installed.read_text("utf-8").endswith(lock.read_text("utf-8")):
        raise UserError(
            f"{lock}: is not what was installed in {installed.parent}; in the checkout, run `ray up cluster/FILE.yaml` "
            "to install it on all nodes."
        )
