"""An object whose arrays several processes map, so that there is one copy of them in memory."""

import os
import pickle
import sys
import tempfile
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from multiprocessing import reduction
from typing import IO, Any

ALIGNMENT = 64
"""Bytes to whose multiples the shared arrays are aligned."""


class SharedObject:
    """An object that is pickled to workers, and its arrays, in an unnamed file that the workers map.

    The file disappears with the last process that has it open, however the processes end.
    """

    def __init__(self, content: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self._pickled = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
        self._file, self._slices = _unnamed_file(), list[tuple[int, int]]()
        for buffer in buffers:
            with buffer.raw() as raw:
                start = -(-self._file.tell() // ALIGNMENT) * ALIGNMENT
                self._file.seek(start)
                self._file.write(raw)
                self._slices.append((start, start + raw.nbytes))
        self._file.flush()

    def __enter__(self) -> "SharedObject":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __reduce__(self) -> Any:
        return Mapped, (reduction.DupFd(self._file.fileno()), self._pickled, self._slices)


@dataclass(frozen=True)
class Mapped:
    """A `SharedObject` as a worker has it; its arrays are read-only."""

    descriptor: Any
    pickled: bytes
    slices: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def load(self) -> Any:
        """Build the object over the mapped file."""
        with os.fdopen(self.descriptor.detach(), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            mapped = memoryview(mmap(file.fileno(), size, access=ACCESS_READ) if size else b"")
        return pickle.loads(self.pickled, buffers=[mapped[slice(*ends)] for ends in self.slices])


def _unnamed_file() -> IO[bytes]:
    """Open a file without a name: in memory where the system has such files, else in the temporary folder."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("pan-study"), "w+b")
    return tempfile.TemporaryFile()
