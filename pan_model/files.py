"""Whether a folder can be written: seen before the work that would be lost, without leaving anything."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from pan_model.errors import UserError


def check_writable(folder: Path, what: str, flag: str = "--cache-dir") -> None:
    """Raise UserError where a folder cannot be made or written; it says what was to go there, and which flag helps."""
    existing = existing_parent(folder)
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK) and _takes_files(existing)):
        raise UserError(
            f"{what} cannot be written to {folder}: {existing} is no folder that can be written; give another {flag}."
        )


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made there, which the permissions alone do not tell; it is gone again at once."""
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def existing_parent(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
