"""Unpacks a tar archive that may be hostile: looked through first, then unpacked aside and renamed when whole."""

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
"""What tarfile raises on garbage; OSError is gzip's word for it."""


class ArchiveError(UserError):
    """The archive itself is at fault, not the disk."""


def unpack(archive: Path, folder: Path, *, needs: str, beside: dict[str, str] | None = None) -> None:
    """Unpack the archive's folder of this name to `folder`, which must not exist; it appears whole or not at all.

    `needs` is a file that it must hold. `beside` moves files that the archive has beside its folder into it: name to
    place in the folder. All else in the archive is left out.

    Raises ArchiveError for an archive that is truncated, garbage, lacks `needs`, or holds more than files and folders
    below its own root; UserError when the disk is too small or cannot be written.
    """
    _check_room(archive, folder.parent, _check_members(archive))
    try:
        with scratch_folder(folder) as scratch:
            _extract(archive, scratch)
            made = scratch / folder.name
            if not (made / needs).is_file():
                raise ArchiveError(f"{archive}: expected an archive that holds {folder.name}/{needs}, got none.")
            for name, place in (beside or {}).items():
                _move_in(scratch / name, made / place)
            made.rename(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({first_line(error)}); nothing was left there.") from error


def _check_members(archive: Path) -> int:
    """Look the archive through without writing anything; gives the bytes that it will take."""
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
    """Why a member is refused; empty where it is not."""
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
    """Extract all; errors of the archive and of the disk look alike, so a disk's are known by their number."""
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
