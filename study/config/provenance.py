"""Provenance: the versions of the code and of the libraries that made a result."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "ray", "optuna", "numpy")

OPTIONAL_LIBRARIES = ("timm",)
"""Libraries that are imported only if the study uses them."""


def provenance() -> dict[str, str]:
    """Return the current time, the commit of the code, and the versions of Python and of the libraries."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "pan_study": version("pan-study"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        **{library: version(library) for library in OPTIONAL_LIBRARIES if library in sys.modules},
    }


def git_commit() -> str:
    """Return the commit of the code, with "+changes" if files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        # Files copied to a cluster may belong to another user; git refuses such a checkout without this setting.
        command = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # Fails in a checkout that only contains the environment in which this code is installed.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
