"""What one node answers when it is asked what it has; the question travels with its code, so a stale node answers, too.

Nothing beyond the standard library is imported at the top: a node may lack it.
"""

import hashlib
import importlib.util
import os
import platform
import socket
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

PACKAGES = ("study", "pan_model", "search_spaces")
"""The packages that a trial imports."""

LIBRARIES = ("ray", "torch", "torchvision", "optuna", "numpy", "pan-study")
"""The distributions whose versions must be the same everywhere."""

ABSENT = "absent"

SHARED_WITHIN_S = 10.0
"""How long a new file may take until every node of a shared file system sees it."""


class ProbeRequest(TypedDict):
    """What to look for: a marker (path or URL) with its content, a GPU that works."""

    marker: str
    content: str
    gpu: bool


class ProbeResult(TypedDict):
    """What a node has: versions and digests of packages by name, whether its Ray asks for a token, what is not good.

    marker and gpu are empty when all is well.
    """

    versions: dict[str, str]
    code: dict[str, str]
    token: bool
    marker: str
    gpu: str


def answer(question: ProbeRequest) -> ProbeResult:
    """Look at this node."""
    return {
        "versions": {"Python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "code": {name: code_digest((name,)) for name in PACKAGES},
        "token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        "marker": find_marker(question["marker"], question["content"]) if question["marker"] else "",
        "gpu": why_no_gpu() if question["gpu"] else "",
    }


def code_digest(packages: Sequence[str] = PACKAGES) -> str:
    """SHA-256 (hex) of the sources of packages as this process would import them; "absent" when one is not there."""
    total = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            return ABSENT
        root = Path(spec.submodule_search_locations[0])
        for file in sorted(path for kind in ("*.py", "*.json") for path in root.rglob(kind)):
            total.update(f"{file.relative_to(root)}\n".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def find_marker(marker: str, content: str) -> str:
    """Why a marker is not there with its content, or cannot be joined by another file; empty when all is well."""
    try:
        return _find_remote(marker, content) if "://" in marker else _find_local(Path(marker), content)
    except Exception as error:  # a store raises what it likes
        return f"{type(error).__name__}: {error}"


def why_no_gpu() -> str:
    """Why torch has no GPU here; empty when it has one."""
    try:
        import torch
    except ImportError as error:
        return str(error)
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    return f"torch {torch.__version__} finds none; its CUDA {torch.version.cuda} needs a driver as new"


def node_name(address: str) -> str:
    """How this node is named to people: its address and its host's name."""
    return f"{address} ({socket.gethostname()})"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ABSENT


def _find_local(marker: Path, content: str) -> str:
    end_s = time.monotonic() + SHARED_WITHIN_S
    while not marker.exists():
        if time.monotonic() > end_s:
            return "not there"
        time.sleep(0.1)
    if marker.read_text(encoding="utf-8") != content:
        return "another file"
    return "" if os.access(marker.parent, os.W_OK | os.X_OK) else "not to be written"


def _find_remote(marker: str, content: str) -> str:
    import fsspec

    store, path = fsspec.core.url_to_fs(marker)
    if store.cat_file(path) != content.encode():
        return "another file"
    mine = f"{path}.{socket.gethostname()}.{os.getpid()}"
    store.pipe_file(mine, b"")
    store.rm_file(mine)
    return ""
