"""A cluster of several Ray nodes on this machine, each with an address, an environment and mounts of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from study.nodes.ray_address import check_ray_address

RAY = Path(sys.executable).with_name("ray")
STARTS_WITHIN_S = 150.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@dataclass(frozen=True)
class RayNode:
    """A node: the address that it is known by, and the processes that are it."""

    address: str
    started: Any

    def processes(self, name: str) -> list[int]:
        """Process ids of those below it whose command line has a name in it."""
        return [pid for pid, words in self.started.descendants().items() if name in words]

    def kill(self) -> None:
        """SIGKILL to all its processes, as when a machine goes."""
        for pid in [self.started.process.pid, *self.started.descendants()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # ended by itself since it was listed
                continue
        self.started.process.communicate()


@dataclass
class RayCluster:
    """Nodes that are started one by one; the first is the head."""

    commands: Any
    port: int = field(default_factory=free_port)
    nodes: list[RayNode] = field(default_factory=list[RayNode])

    @property
    def address(self) -> str:
        """What --ray-address takes."""
        return f"127.0.0.1:{self.port}"

    def add(self, *more: str, wrap: Sequence[str] = (), **environment: str) -> RayNode:
        """Start a node of one CPU, with more flags of `ray start`, by a program that wraps it, with an environment."""
        head = not self.nodes
        address = f"127.0.0.{len(self.nodes) + 1}"
        place = ["--head", f"--port={self.port}"] if head else [f"--address={self.address}"]
        ports = [f"--{name}={free_port()}" for name in ("dashboard-agent-listen-port", "metrics-export-port")]
        ports += [f"--ray-client-server-port={free_port()}", "--include-dashboard=false"] if head else []
        words = [RAY, "start", "--block", *place, f"--node-ip-address={address}", "--num-cpus=1", *ports]
        words += ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"]
        words += [f"--temp-dir={os.environ['RAY_TMPDIR']}/{self.port}-{len(self.nodes)}"]  # or their sockets collide
        started = self.commands.launch(*wrap, *words, *more, **environment)
        self.nodes.append(RayNode(address, started))
        if head:
            started.wait_until(self.answers)
        return self.nodes[-1]

    def answers(self) -> bool:
        """Whether the head listens."""
        try:
            check_ray_address(self.address)
        except Exception:  # not yet
            time.sleep(0.5)
            return False
        return True

    def stop(self) -> None:
        """End all processes of all nodes, the head's last."""
        for node in reversed(self.nodes):
            node.kill()


@pytest.fixture(scope="module")
def make_cluster(commands: Any) -> Generator[Callable[..., RayCluster]]:
    """Make a cluster with nothing but a head, of one CPU, with an environment."""
    all_made: list[RayCluster] = []

    def make(**environment: str) -> RayCluster:
        all_made.append(RayCluster(commands))
        all_made[-1].add(**environment)
        return all_made[-1]

    yield make
    for made in all_made:
        made.stop()


@pytest.fixture(scope="module")
def cluster(make_cluster: Callable[..., RayCluster]) -> RayCluster:
    """A cluster with nothing but a head, of one CPU."""
    return make_cluster()


@pytest.fixture(scope="session")
def joined() -> Callable[[str], Any]:
    """Join a cluster from here, for as long as a block runs; gives the addresses of its nodes when asked."""
    import ray

    @contextmanager
    def join(address: str) -> Generator[Callable[[], list[str]]]:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        try:
            yield lambda: sorted(node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"])
        finally:
            ray.shutdown()

    return join


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Look again and again until something is so."""

    def wait(is_so: Callable[[], bool], what: str, within_s: float = STARTS_WITHIN_S) -> None:
        end_s = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < end_s, f"{what}: not within {within_s:g} s"
            time.sleep(0.1)

    return wait


@pytest.fixture(scope="session")
def once() -> Callable[[Path, str], list[str]]:
    """Words that start a program once a file below a folder matches a pattern, while a study runs in this process."""
    search = 'until [ -n "$(find "$0" -path "$1" -print -quit)" ]; do sleep 0.1; done; shift; exec "$@"'
    return lambda folder, pattern: ["sh", "-c", search, str(folder), pattern]


@pytest.fixture(scope="session")
def apart() -> Callable[[Path], list[str]]:
    """Words that start a program which sees an empty disk where others see a folder; skips where none can be had."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare is not permitted here, so no node can have a disk of its own")

    def words(folder: Path) -> list[str]:
        return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]

    return words
