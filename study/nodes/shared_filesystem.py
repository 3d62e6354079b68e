"""Shared places: whether nodes see what this machine writes, by a marker, or by the kind of file system it lies on."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pan_model.files import existing_parent
from study.storage.files import remove, write_text
from study.storage.location import Location

SHARED = {"nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "glusterfs", "beegfs", "gpfs", "9p", "virtiofs", "afs"}
"""File systems that machines share; all that FUSE mounts may be shared, too."""


class Marker(NamedTuple):
    """A file that only those see who share its place."""

    path: str
    content: str


@contextmanager
def marker_beside(output: Location) -> Generator[Marker]:
    """Put a small file where an output goes, in the nearest folder there is, while nodes look for it.

    Raises StoreError where a store does not take it, or does not let go of it.
    """
    folder = existing_parent(output.absolute()) if isinstance(output, Path) else output
    path, content = folder / f".pan-study-{secrets.token_hex(8)}", secrets.token_hex(16)
    try:
        write_text(path, content)
        yield Marker(str(path), content)
    finally:
        remove(path)


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a folder lies on, such as ext4 or nfs4; empty where the system does not tell."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    place = folder.resolve()
    around = [(len(row[1]), row[2]) for row in rows if place.is_relative_to(row[1].replace("\\040", " "))]
    return max(around, default=(0, ""), key=lambda one: one[0])[1]
