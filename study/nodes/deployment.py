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
    if IN_A_JOB in environment or (script is not None and script.resolve() != package / "run.py"):
        _check_lock(package.parent / LOCK, prefix / ".installed")


def describe_code() -> str:
    """Version, place and commit of the code that runs."""
    return f"the code is PAN Study {version('pan-study')} of {PACKAGE.parent}, commit {git_commit()}"


def is_sent(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `ray submit` or `ray job submit` runs this process, by what they put into its environment."""
    by_submit = environment.get("OMP_NUM_THREADS") == "1" and environment.get("PYTHONWARNINGS") == "ignore"
    return by_submit or IN_A_JOB in environment


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
