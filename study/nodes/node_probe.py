"""Node probe: report the versions, the code, the output and the GPU of the node that runs it.

The driver sends the source of this module to every node, so that nodes with other code can run it. At its top the
module imports only the standard library, since a node may lack everything else.
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
from typing import NotRequired, TypedDict

PACKAGES = ("study", "pan_model", "search_spaces")
"""The packages that a trial imports."""

LIBRARIES = ("ray", "torch", "torchvision", "optuna", "numpy", "pan-study")
"""The distributions whose versions must be the same on all nodes."""

ABSENT = "absent"


class ProbeRequest(TypedDict):
    """The request of a probe.

    Attributes:
        marker: Path or URL of a file that the node must be able to read; empty for none.
        content: The content of that file.
        marker_timeout_s: Seconds to wait for that file.
        gpu: Whether to test the GPU.
        libraries: Distributions besides `LIBRARIES` whose versions must be the same on all nodes.
    """

    marker: str
    content: str
    marker_timeout_s: float
    gpu: bool
    libraries: NotRequired[tuple[str, ...]]


class ProbeResult(TypedDict):
    """The result of a probe.

    Attributes:
        versions: Versions of Python and of distributions, by name.
        code: Digests of packages, by name.
        token: Whether Ray on the node requires a token.
        marker: Why the marker cannot be read; empty if it can.
        gpu: Why the GPU cannot be used; empty if it can.
    """

    versions: dict[str, str]
    code: dict[str, str]
    token: bool
    marker: str
    gpu: str


def probe(request: ProbeRequest) -> ProbeResult:
    """Probe this node."""
    return {
        "versions": {
            "Python": platform.python_version(),
            **{name: _version(name) for name in (*LIBRARIES, *request.get("libraries", ()))},
        },
        "code": {name: code_digest((name,)) for name in PACKAGES},
        "token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        "marker": marker_problem(request) if request["marker"] else "",
        "gpu": gpu_problem() if request["gpu"] else "",
    }


def code_digest(packages: Sequence[str] = PACKAGES) -> str:
    """Return the SHA-256 (hex) of the sources of the packages that this process imports; ABSENT if one is missing."""
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


def marker_problem(request: ProbeRequest) -> str:
    """Return why the marker cannot be read, or why its folder cannot be written; empty if both are possible."""
    try:
        if "://" in request["marker"]:
            return _remote_problem(request["marker"], request["content"])
        return _local_problem(Path(request["marker"]), request["content"], request["marker_timeout_s"])
    except Exception as error:  # object stores raise errors of many classes
        return f"{type(error).__name__}: {error}"


def gpu_problem() -> str:
    """Return why torch cannot use a GPU on this node; empty if it can."""
    try:
        import torch
    except ImportError as error:
        return str(error)
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA"
    return f"torch {torch.__version__} finds no GPU; its CUDA {torch.version.cuda} needs a driver as new"


def node_name(address: str) -> str:
    """Return the name of this node for messages: the address and the host name."""
    return f"{address} ({socket.gethostname()})"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ABSENT


def _local_problem(marker: Path, content: str, timeout_s: float) -> str:
    end_s = time.monotonic() + timeout_s
    while not marker.exists():
        if time.monotonic() > end_s:
            return "not there"
        time.sleep(0.1)
    if marker.read_text(encoding="utf-8") != content:
        return "another file"
    return "" if os.access(marker.parent, os.W_OK | os.X_OK) else "not writable"


def _remote_problem(marker: str, content: str) -> str:
    import fsspec

    store, path = fsspec.core.url_to_fs(marker)
    if store.cat_file(path) != content.encode():
        return "another file"
    own_file = f"{path}.{socket.gethostname()}.{os.getpid()}"
    store.pipe_file(own_file, b"")
    store.rm_file(own_file)
    return ""
