"""Which code runs, and whether it is the code that was sent to the machine.

`ray submit` copies study/run.py alone. What it runs was brought by the last `ray up` or `ray rsync-up`, so code may be
older than that of the laptop: what can be known of it from here is checked, and the code that runs is named.
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
"""Of the environment: the version that a cluster's YAML asks for."""

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Of the environment: Ray sets it for what `ray job submit` runs."""


def check_code(
    script: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    package: Path = PACKAGE,
    prefix: Path = Path(sys.prefix),
) -> None:
    """UserError when the package is not the one that the script, the cluster's YAML or the lock is about."""
    _check_script(script, package)
    _check_version(environment.get(VERSION))
    if is_submitted(script, environment, package):
        _check_lock(package.parent / LOCK, prefix / ".installed")


def describe_code() -> str:
    """Version, place and commit of the code that runs."""
    return f"the code is PAN Study {version('pan-study')} of {PACKAGE.parent}, commit {git_commit()}"


def is_submitted(script: Path | None, environment: Mapping[str, str] = os.environ, package: Path = PACKAGE) -> bool:
    """Return whether `ray submit` or `ray job submit` started this process.

    `ray submit` runs a copy of study/run.py that is not in the package. `ray job submit` sets an environment variable.
    """
    return IN_A_JOB in environment or (script is not None and script.resolve() != package / "run.py")


def use_all_threads(script: Path | None, environment: Mapping[str, str] = os.environ) -> int | None:
    """Undo Ray's limit of one thread for work of the driver: features and baselines.

    Ray exports OMP_NUM_THREADS=1 to what it runs on a head node. A limit in a process that Ray did not start is the
    user's, as in a Slurm script, and stays. Trials set their own number of threads.

    Args:
        script: The file that runs.
        environment: The environment variables of the process.

    Returns:
        The new number of threads, or None if the limit stays.
    """
    if not is_submitted(script, environment) or environment.get("OMP_NUM_THREADS") != "1":
        return None
    import torch  # takes a second, which --help need not wait for

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    return cores


def check_output_stays(output: Location, environment: Mapping[str, str] = os.environ) -> None:
    """UserError for a relative output in a Ray job: its working folder goes away with it."""
    if IN_A_JOB in environment and (path := local_path(output)) is not None and not path.is_absolute():
        raise UserError(
            f"output must be absolute in a Ray job, whose working folder is thrown away, got '{output}'; "
            "give --output or set PAN_STUDY_OUTPUT on the head node."
        )


def _check_script(script: Path | None, package: Path) -> None:
    own = package / "run.py"
    if script is None or script.resolve() == own or script.read_text("utf-8") == own.read_text("utf-8"):
        return
    raise UserError(
        f"{script}: is not the study/run.py of {package.parent}, which it would run: one of them is older; "
        "from the checkout, `ray rsync-up cluster/FILE.yaml` brings its code to a cluster."
    )


def _check_version(wanted: str | None) -> None:
    installed = version("pan-study")
    if wanted and wanted != installed:
        raise UserError(
            f"{VERSION} must be the version that is installed, {installed} at {PACKAGE.parent}, got '{wanted}'; "
            "from the checkout, `ray up cluster/FILE.yaml` brings its code and installs it anew."
        )


def _check_lock(lock: Path, installed: Path) -> None:
    """`make setup` notes what it installed, the lock at the end."""
    if not (lock.is_file() and installed.is_file()):
        return
    if not installed.read_text("utf-8").endswith(lock.read_text("utf-8")):
        raise UserError(
            f"{lock}: is not what was installed in {installed.parent}; from the checkout, `ray up cluster/FILE.yaml` "
            "installs it on all nodes."
        )
