"""Errors that are no defects: wrong input, and faults of the machine such as a full disk or a share that went away.

`find_machine_fault` finds such a fault in an exception of any library, and `faults_at` names the file that was written.
"""

import errno
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile


class UserError(ValueError):
    """Wrong input from the user.

    The message is one line. It names the file, field or flag, the rule, the value, and a way to fix it. Commands print
    it on stderr and exit with code 2. Library users can catch it as a ValueError.
    """


WAYS_OUT = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "make it writable (mount -o remount,rw)",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EIO: "check the disk or the share",
    errno.EREMOTEIO: "check the share",
    errno.ESTALE: "mount the share again",
    errno.ENODEV: "mount the share again",
    errno.ENXIO: "mount the share again",
    errno.ENOTCONN: "mount the share again",
    errno.EHOSTDOWN: "mount the share again",
    errno.ENOENT: "mount it again",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit of open files (sysctl fs.file-max)",
}
"""What to do, by error number. ENOENT is a fault only if a study's own folder is gone."""

_NUMBERS = frozenset(WAYS_OUT) - {errno.ENOENT}

_TEXTS = {os.strerror(number): number for number in _NUMBERS} | {
    "database or disk is full": errno.ENOSPC,  # SQLite
    "disk I/O error": errno.EIO,  # SQLite
    "Local disk is full": errno.ENOSPC,  # Ray's OutOfDiskError
    "out of shared memory": errno.ENOSPC,  # a DataLoader of torch whose worker died of SIGBUS
}
"""How libraries that raise no OSError describe a fault."""

_NUMBER = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)")
_SHORT_WRITE = re.compile(
    r"PytorchStreamWriter failed|inline_container\.cc|iostream error|^\d+ requested and \d+ written"
)
"""Errors of torch and numpy after a write that failed for a reason that they do not give."""

PROBE_BYTES = 2**20


class MachineFault(OSError):
    """A file cannot be read or written because of the machine. The message is one line: where, what, and the way out.

    Args:
        number: The error number, such as errno.ENOSPC.
        place: The file or folder; empty if it is unknown.
        node: The name of the node if it is not the one that prints the message.
    """

    def __init__(self, number: int, place: str = "", node: str = "") -> None:
        super().__init__(number, os.strerror(number), *([place] if place else []))
        self.place = place
        self.node = node

    def __reduce__(self) -> tuple[type["MachineFault"], tuple[int, str, str]]:
        """Pickle the three arguments, not those of OSError."""
        return type(self), (self.errno or errno.EIO, self.place, self.node)

    def __str__(self) -> str:
        """Return one line: the node, the place, the fault and the way out."""
        node = f"node {self.node}: " if self.node else ""
        place = f"{self.place}: " if self.place else ""
        return f"{node}{place}{self.strerror}; {WAYS_OUT.get(self.errno or 0, 'check the machine')}"


def find_machine_fault(error: BaseException, place: Path | str = "") -> MachineFault | None:
    """Return the fault of the machine that an exception is, or was raised from; None if there is none.

    Args:
        error: The exception. Exceptions that it was raised from, or while handling, are considered as well.
        place: The file that was written or read, for faults that do not name one.
    """
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, MachineFault):
            return link
        if isinstance(link, OSError) and link.errno is not None and link.strerror is None:
            return None  # an error of a service, such as an object store, which has an error number all the same
        if number := _number_of(link):
            named = link.filename if isinstance(link, OSError) else None
            return MachineFault(number, str(named if isinstance(named, str | Path) else place))
    if place and any(_SHORT_WRITE.search(str(link)) for link in chain):
        return MachineFault(_probe(Path(place).parent), str(place))
    return None


def is_fault_text(text: str) -> bool:
    """Return whether the text of an error describes a fault of the machine.

    >>> is_fault_text("given up after 3 failures: OSError: [Errno 28] No space left on device: 'a/b'")
    True
    >>> is_fault_text("loss is nan in epoch 3")
    False
    """
    return _number_in(text) != 0 or "PytorchStreamWriter failed" in text or "inline_container.cc" in text


def fault_of_text(text: str) -> MachineFault | None:
    """Return the fault that the text of an error describes, such as a traceback; None if it describes none.

    >>> str(fault_of_text("OSError: [Errno 28] No space left on device: 'a/b'"))
    'a/b: No space left on device; make room there'
    """
    if not is_fault_text(text):
        return None
    number = _number_in(text) or errno.EIO
    words = re.escape(os.strerror(number))
    named = re.search(rf"{words}: '(.+)'", text) or re.search(rf"MachineFault: (?:node .+?: )?(.+): {words};", text)
    node = re.search(r"MachineFault: node (.+?): ", text)
    return MachineFault(number, named[1] if named else "", node[1] if node else "")


@contextmanager
def faults_at(path: Path) -> Generator[None]:
    """Convert faults of the machine in a block that writes or reads `path` to MachineFault, which names the file."""
    try:
        yield
    except Exception as error:
        fault = find_machine_fault(error, path)
        if fault is None or fault is error:
            raise
        if fault.place and Path(fault.place).parent == path.parent:  # a temporary file
            fault = MachineFault(fault.errno or errno.EIO, str(path), fault.node)
        raise fault from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number_of(error: BaseException) -> int:
    """Return the number of the fault that one exception is; 0 if it is none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _NUMBERS else 0
    return _number_in(str(error))


def _number_in(text: str) -> int:
    numbers = [int(match[1] or match[2]) for match in _NUMBER.finditer(text)]
    known = [number for number in numbers if number in _NUMBERS]
    return known[0] if known else next((number for words, number in _TEXTS.items() if words in text), 0)


def _probe(folder: Path) -> int:
    """Return the number of the error with which a file in a folder cannot be written; EIO if it can be now."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"\0" * PROBE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno if error.errno in _NUMBERS else errno.EIO
    return errno.EIO
