"""Safe unpacking of tar archives: check all members first, then unpack to a temporary folder and rename it."""

import lzma
import re
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from pan_model.errors import UserError
from pan_model.fetch import first_line, megabytes
from pan_model.files import scratch_folder

_CORRUPT = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
"""Errors that tarfile raises on damaged archives. gzip raises OSError."""


class ArchiveError(UserError):
    """The archive is damaged or has members that are not allowed. Not raised for errors of the disk."""


def unpack(archive: Path, folder: Path, *, needs: str, moves: dict[str, str] | None = None) -> None:
    """Unpack the folder of the archive that has the name of `folder`, atomically.

    Args:
        archive: The archive.
        folder: The new folder; it must not exist.
        needs: A file that the folder must hold.
        moves: Files next to the folder in the archive, and their places in the folder. All other files are ignored.

    Raises:
        ArchiveError: The archive is truncated, damaged, lacks `needs`, or holds anything other than files and folders
            below its root.
        UserError: The disk is too small or cannot be written.
    """
    _check_room(archive, folder.parent, _check_members(archive))
    try:
        with scratch_folder(folder) as scratch:
            _extract(archive, scratch)
            made = scratch / folder.name
            if not (made / needs).is_file():
                raise ArchiveError(f"{archive}: expected an archive that holds {folder.name}/{needs}, got none.")
            for name, place in (moves or {}).items():
                _move_in(scratch / name, made / place)
            made.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({first_line(error)}); nothing was left there.") from error


def _check_members(archive: Path) -> int:
    """Check all members of the archive. Return their total size, bytes."""
    size = 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if fault := _fault(member):
                    raise ArchiveError(
                        f"{archive}: expected files and folders, got {member.name!r}, {fault}; nothing was unpacked."
                    )
                size += member.size
    except _CORRUPT as error:
        raise _corrupt(archive, error) from error
    return size


def _fault(member: tarfile.TarInfo) -> str:
    """Return why a member is not allowed, an empty string if it is."""
    parts = PurePosixPath(member.name).parts
    if PurePosixPath(member.name).is_absolute() or re.match(r"[A-Za-z]:|\\", member.name):
        return "an absolute path"
    if ".." in parts:
        return "a path that leads out of the folder"
    if member.issym() or member.islnk():
        return "a link"
    return "" if member.isreg() or member.isdir() else "neither a file nor a folder"


def _check_room(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: the disk must have {megabytes(needed)} free to unpack {archive.name}, got {megabytes(free)}."
        )


def _extract(archive: Path, folder: Path) -> None:
    """Extract all members. Only OSErrors of the disk have an error number; those of the archive have none."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except _CORRUPT as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _corrupt(archive, error) from error


def _corrupt(archive: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f"{archive}: cannot be read ({first_line(error)}).")
    return ArchiveError(f"{archive}: truncated, or not a tar archive ({' '.join(first_line(error).split())}).")


def _move_in(source: Path, target: Path) -> None:
    if source.is_file() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
