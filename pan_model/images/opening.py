"""A quick check that a file is an image. It imports no torch, so that a command can refuse a wrong file at once."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pan_model.errors import UserError


def check_image(path: Path) -> None:
    """Check that a file exists and begins as an image. Its pixels are not decoded, so that it may still be damaged.

    Raises:
        UserError: It is missing, a folder or no image.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give an image file.")
    if not path.is_file():
        raise UserError(f"{path}: no such image file.")
    try:
        with Image.open(path):
            pass
    except Exception as error:  # PIL raises errors of many types on damaged files
        raise UserError(f"{path}: not a readable image ({unreadable_reason(error)}).") from error


def unreadable_reason(error: Exception) -> str:
    """Return in a few words why an image could not be opened or decoded."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown format or damaged header"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
