"""Images that cannot be read: why, and whether that ends the work."""

from pathlib import Path

from pan_model.data.items import Items
from pan_model.errors import UserError


def reason_without_path(error: UserError, path: Path) -> str:
    """What is wrong with the image at `path`, in words that stay true when the dataset is moved.

    >>> reason_without_path(UserError("data/a.jpg: not a readable image (truncated)."), Path("data/a.jpg"))
    'not a readable image (truncated).'
    """
    return str(error).removeprefix(f"{path}: ")


def check_readable(items: Items, unreadable: dict[str, str], *, skip_bad_images: bool) -> None:
    """Raise UserError when all images are unreadable, or any that shall not be skipped; reasons by image name."""
    if not unreadable:
        return
    if len(unreadable) == len(items):
        raise UserError(f"{items.image_root}: none of the {len(items)} images can be read, {_first(items, unreadable)}")
    if not skip_bad_images:
        raise UserError(
            f"{items.image_root}: {len(unreadable)} of {len(items)} images cannot be read, {_first(items, unreadable)} "
            "Mend them, or leave them out with --skip-bad-images."
        )


def _first(items: Items, unreadable: dict[str, str]) -> str:
    name, reason = next(iter(unreadable.items()))
    return f"the first is {items.image_root / name}: {reason}"
