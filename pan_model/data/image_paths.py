"""Paths of images as datasets list them: what is no image, what leads elsewhere, what is missing."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pan_model.errors import UserError

HIDDEN = "._"
"""macOS leaves files with this prefix beside the images it copies; they are no images."""

HIDDEN_REASON = f"file name starts with {HIDDEN}"


def is_hidden(name: str) -> bool:
    """Whether the file is one that macOS left.

    >>> is_hidden("birds/._a.jpg"), is_hidden("birds/a.jpg")
    (True, False)
    """
    return PurePosixPath(name).name.startswith(HIDDEN)


def stays_inside(path: PurePosixPath) -> bool:
    """Whether a listed path, taken from a folder, stays in it.

    >>> stays_inside(PurePosixPath("a/b.jpg")), stays_inside(PurePosixPath("a/../../b.jpg"))
    (True, False)
    """
    return not path.is_absolute() and ".." not in path.parts


def require_images(root: Path, names: Sequence[str], listing: str) -> None:
    """Raise UserError that names the first image of `listing` that is missing under `root`, and counts them all."""
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise UserError(
            f"{root / missing[0]}: no such image; {len(missing)} of the {len(names)} files of {listing} are missing."
        )
