"""Stderr kept aside: libraries in C++ write there by themselves, and a command's errors are one line."""

import os
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def stderr_aside() -> Generator[Callable[[], str]]:
    """Keep from the screen what this process writes to its stderr while the block lasts; gives it when called."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as aside:
        screen = os.dup(2)
        os.dup2(aside.fileno(), 2)
        try:
            yield lambda: os.pread(aside.fileno(), os.fstat(aside.fileno()).st_size, 0).decode(errors="replace")
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
