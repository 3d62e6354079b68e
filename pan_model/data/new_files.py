"""Files that are written all together, and never over what is there."""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import uuid4

from pan_model.errors import UserError


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise UserError, with the first of them, when a file is already there."""
    for path in paths:
        if path.exists() or path.is_symlink():
            raise UserError(f"{path}: is already there; move it away or give another --output.")


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Write all files, UTF-8, under temporary names, then rename them; what goes wrong leaves none of them.

    Raises UserError for a file that is already there or cannot be written.
    """
    refuse_existing(texts)
    parts = {path: path.with_name(f".{path.name}.{uuid4().hex}") for path in texts}
    renamed: list[Path] = []
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            parts[path].write_text(text, encoding="utf-8", newline="")
        for path, part in parts.items():
            part.rename(path)
            renamed.append(path)
    except BaseException as error:
        for path in (*parts.values(), *renamed):
            with contextlib.suppress(OSError):  # it was not written, and perhaps its folder was not made
                path.unlink()
        if isinstance(error, OSError):
            place = error.filename or next(iter(texts)).parent  # a full disk comes without a name
            raise UserError(f"{place}: cannot be written ({error.strerror}).") from error
        raise
