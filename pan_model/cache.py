"""The cache folder: files named by all that they depend on, that are there whole or not at all."""

import hashlib
import json
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pan_model.errors import UserError


def content_key(*content: Any) -> str:
    """Name a file by the sha256 of all that it depends on, given as JSON values.

    >>> content_key("pan-study/features/1", 224)[:8]
    '4e879f54'
    """
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@contextmanager
def written_whole(path: Path, what: str) -> Generator[Path]:
    """Give a name of its own to write under, which becomes `path` when the block ends, or goes when it fails.

    Whoever reads or writes at the same time sees whole files only. Raises UserError that says what cannot be cached.
    """
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{what} cannot be cached in {path.parent} ({error}); give another --cache-dir.") from error
    finally:
        with suppress(OSError):  # it has its name by now, or its folder could not be made
            temporary.unlink()
