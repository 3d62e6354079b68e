"""A desk for files on the driver's node: hands them to nodes of the cluster that do not see them, piece by piece."""

import zlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pan_model.shapes import UInt8

AT_ONCE = 16
"""How many questions the desk answers at a time; what lies in its memory is at most so many pieces."""


class Chunk(NamedTuple):
    """Bytes of a file, and what tells whether they arrived as they were."""

    content: UInt8[np.ndarray, "B"]
    checksum: int

    @property
    def whole(self) -> bool:
        """Whether the bytes are those that were sent."""
        return checksum_of(self.content) == self.checksum


class FileServer:
    """Reads files where it runs. It also keeps the word, for all that ask, that their work is in vain."""

    def __init__(self) -> None:
        self._given_up = False

    def read_files(self, paths: Sequence[str]) -> list[bytes | OSError]:
        """The content of whole files, or what stands in the way of reading one."""
        return [read_file(Path(path)) for path in paths]

    def size_of(self, path: str) -> int:
        """How many bytes a file has; 0 where there is none."""
        return Path(path).stat().st_size if Path(path).exists() else 0

    def read_chunk(self, path: str, start: int, size: int) -> Chunk | OSError:
        """So many bytes of a file from a place on, or what stands in the way; they may turn out fewer."""
        try:
            content = np.fromfile(path, dtype=np.uint8, count=size, offset=start)
        except OSError as error:
            return error
        return Chunk(content, checksum_of(content))

    def abort(self) -> None:
        """Say that the work is in vain."""
        self._given_up = True

    def aborted(self) -> bool:
        """Whether somebody has said so."""
        return self._given_up


def checksum_of(content: UInt8[np.ndarray, "B"]) -> int:
    """What tells whether bytes are those that were sent (CRC-32)."""
    return zlib.crc32(content.data)


def read_file(path: Path) -> bytes | OSError:
    """A file's content, or what stands in the way of reading it."""
    try:
        return path.read_bytes()
    except OSError as error:
        return error


@contextmanager
def file_server() -> Generator[Any]:
    """An actor that is a desk on this process's own node, for as long as the block runs; it holds no CPU."""
    options: dict[str, Any] = {"num_cpus": 0, "max_concurrency": AT_ONCE, "scheduling_strategy": this_node()}
    desk: Any = ray.remote(FileServer).options(**options).remote()
    try:
        yield desk
    finally:
        ray.kill(desk)


def this_node() -> NodeAffinitySchedulingStrategy:
    """Where something has to run that sees this process's files."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
