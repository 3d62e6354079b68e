"""File server: send files of the driver's node, in chunks, to nodes of the cluster that cannot read them."""

import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.shapes import UInt8

MAX_CONCURRENT_REQUESTS = 16
"""Number of requests that the server answers concurrently, and of chunks that it holds in memory."""


class Chunk(NamedTuple):
    """Bytes of a file, and their checksum."""

    content: UInt8[np.ndarray, "B"]
    checksum: int

    @property
    def is_intact(self) -> bool:
        """Whether the bytes match the checksum."""
        return checksum_of(self.content) == self.checksum


class FileServer:
    """Serve the driver's files to other nodes, and hold a shared abort flag."""

    def __init__(self) -> None:
        self._aborted = False

    def read_files(self, paths: Sequence[str]) -> list[bytes | OSError]:
        """Return the content of each file, or the error from reading it."""
        return [read_file(Path(path)) for path in paths]

    def size_of(self, path: str) -> int:
        """Return the size of a file in bytes; 0 if it does not exist."""
        return Path(path).stat().st_size if Path(path).exists() else 0

    def read_chunk(self, path: str, start: int, size: int) -> Chunk | OSError:
        """Return a chunk of a file, or the error from reading it.

        Args:
            path: The file.
            start: The first byte.
            size: The number of bytes; the chunk is smaller at the end of the file.
        """
        try:
            content = np.fromfile(path, dtype=np.uint8, count=size, offset=start)
        except OSError as error:
            return error
        return Chunk(content, checksum_of(content))

    def abort(self) -> None:
        """Set the abort flag: the result of all nodes is no longer needed."""
        self._aborted = True

    def aborted(self) -> bool:
        """Return whether the abort flag is set."""
        return self._aborted


def checksum_of(content: UInt8[np.ndarray, "B"]) -> int:
    """Return the CRC-32 checksum of bytes."""
    return zlib.crc32(content.data)


def read_file(path: Path) -> bytes | OSError:
    """Return the content of a file, or the error from reading it."""
    try:
        return path.read_bytes()
    except OSError as error:
        return error


@contextmanager
def file_server() -> Generator[Any]:
    """Run a FileServer as an actor on this process's node while the block runs; it holds no CPU."""
    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_concurrency": MAX_CONCURRENT_REQUESTS,
        "scheduling_strategy": this_node(),
    }
    server: Any = ray.remote(FileServer).options(**options).remote()
    try:
        yield server
    finally:
        ray.kill(server)


def this_node() -> NodeAffinitySchedulingStrategy:
    """Return the scheduling strategy of tasks and actors that must read this process's files."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
