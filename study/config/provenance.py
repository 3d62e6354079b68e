"""Provenance: which code and which libraries made a result."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "ray", "optuna", "numpy")


def provenance() -> dict[str, str]:
    """When, from which commit, and with which versions."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "pan_study": version("pan-study"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }


def git_commit() -> str:
    """The commit of the code that runs, with "+changes" when files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        # What was copied to a cluster may belong to its owner on the laptop; git then looks only when it is told to.
        command = ["git", "-c", "safe.directory=*", *words]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a checkout of this code, not one around its library
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
